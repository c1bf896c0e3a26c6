"""Parts that more than one resource uses: references, durations, names, compute resources, conditions."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from livekit_operator.api.base import ApiModel, rule, schema_extra

# A DNS-1123 subdomain: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

Port = Annotated[int, Field(ge=1, le=65535)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
# Namespaces that may use a resource beside its own.
AllowedNamespaces = Annotated[
    list[NamespaceName | Literal["*"]],
    Field(
        max_length=256,
        json_schema_extra={
            "items": {"type": "string", "maxLength": 63, "pattern": r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"},
            "x-kubernetes-list-type": "set",
        },
    ),
]
SecretKeyName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
# Kubernetes takes 256 KiB of an object's annotations altogether.
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=65536)]], Field(max_length=64)]
# A moving tag would change under running pods, and a rollout would not see it.
Image = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        json_schema_extra=schema_extra(
            rule("!self.endsWith(':latest')", "name a version or a digest, not the moving tag latest"),
            rule(
                "self.contains('@') || self.matches('.*:[^/]+$')",
                "name a version or a digest: without a tag the image would be the moving latest",
            ),
        ),
    ),
]


class SecretRef(ApiModel):
    """A Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class SecretKeyRef(ApiModel):
    """One key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKeyName = Field(description="Key inside the Secret.")


class ObjectRef(ApiModel):
    """Another resource of this API group."""

    name: ObjectName = Field(description="Name of the resource.")
    namespace: NamespaceName | None = Field(
        default=None,
        description="Namespace of the resource; this resource's own when left out. Another namespace works only when "
        "the resource there lists this one: a LiveKitServer rooms in `allowedNamespaces` and pools in "
        "`allowedPoolNamespaces`, a VoiceAgentPool rooms in `allowedNamespaces`.",
    )


class PortRange(ApiModel):
    """An inclusive range of ports."""

    start: Port = Field(description="First port.")
    end: Port = Field(description="Last port, itself included.")


Quantity = Annotated[
    str,
    Field(
        json_schema_extra={
            "type": None,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$",
        }
    ),
]


class Resources(ApiModel):
    """CPU and memory of a container, as in a Pod."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", coerce_numbers_to_str=True
    )

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="What the scheduler sets aside."
    )
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="What the container may use at most."
    )


class Condition(ApiModel):
    """One observation of the resource, in the form of `metav1.Condition`."""

    type: str = Field(description="What is observed, for example `Ready`.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(description="One CamelCase word that programs may match.")
    message: str = Field(description="What happened and what to do, for people.")
    last_transition_time: str = Field(
        description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: int | None = Field(default=None, description="Generation of the spec this was observed for.")


class Status(ApiModel):
    """What every resource reports."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about; -1 before the first look."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Conditions; `Ready` is always among them.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class Metadata(ApiModel):
    """The part of an object's metadata that deciding needs."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    annotations: dict[str, str] = Field(default_factory=dict)


class Resource(ApiModel):
    """A custom resource: metadata, spec and the status last written, the latter as plain values."""

    metadata: Metadata
    status: dict[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return self.metadata.namespace, self.metadata.name

    @property
    def standing(self) -> tuple[str, ...]:
        """Return the conditions that its status always has, beside `Ready`."""
        return ()
