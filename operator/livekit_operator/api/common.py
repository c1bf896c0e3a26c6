"""Parts that more than one resource uses: references, durations, names, compute resources, conditions."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError
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


def _without_exponent(value: Any) -> Any:
    """Return a number as Kubernetes writes quantities."""
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else value


# A Pod takes numbers such as 0.5 as well, for which a structural schema has no type. So it names none, and what is
# neither a number nor a text can have neither no parts nor any; only true and false pass it, and are refused here.
Quantity = Annotated[
    str,
    BeforeValidator(_without_exponent),
    Field(
        json_schema_extra={
            "type": None,
            "x-kubernetes-preserve-unknown-fields": True,
            "maxLength": 32,
            "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$",
            "minimum": 0,
            "maximum": 10**15,
            "minItems": 1,
            "maxItems": 0,
            "minProperties": 1,
            "maxProperties": 0,
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
        default=None, description="Generation of the spec that this status is about; -1 before the first pass."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Conditions; `Ready` is always among them.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    read: ClassVar[tuple[str, ...]] = ()
    """The fields that passes read back, beside the conditions, as YAML has them."""

    @classmethod
    def last(cls, written: Mapping[str, Any]) -> Self:
        """Return what passes read of a status that this operator, an older or a newer one has written.

        What another version wrote in a way that is not understood counts as not written, entry by entry of a list.
        """
        told = {name: _bounded(written[name]) for name in ("conditions", *cls.read) if name in written}
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            places = [one["loc"] for one in error.errors(include_url=False, include_input=False, include_context=False)]
        entries = {(place[0], place[1]) for place in places if len(place) > 1 and isinstance(told[str(place[0])], list)}
        wrong = {place[0] for place in places} - {name for name, _ in entries}
        return cls.model_validate(
            {
                name: [one for number, one in enumerate(value) if (name, number) not in entries]
                if isinstance(value, list)
                else value
                for name, value in told.items()
                if name not in wrong
            }
        )

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type, None when there is none."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def reason(self, kind: str) -> str | None:
        """Return the reason of a condition, None when there is none."""
        found = self.condition(kind)
        return found.reason if found else None

    def holds(self, kind: str) -> bool:
        """Return whether a condition is there and true."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


S = TypeVar("S", bound=Status)
# Entries of a list of a status that are read; none of those that are has more.
_MOST_READ = 256


def _bounded(value: Any) -> Any:
    return value[:_MOST_READ] if isinstance(value, list) else value


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
    """As it was written: to write another one. Passes read `last`."""
    _last: tuple[dict[str, Any], Status] | None = PrivateAttr(None)

    @property
    def last(self) -> Status:
        """Return the status last written, as far as passes read it."""
        return self._read(Status)

    def _read(self, model: type[S]) -> S:
        """Return the status as a model, which is made once for each status."""
        known = self._last
        if known is not None and known[0] is self.status and isinstance(known[1], model):
            return known[1]
        read = model.last(self.status)
        self._last = self.status, read
        return read

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return self.metadata.namespace, self.metadata.name

    @property
    def standing(self) -> tuple[str, ...]:
        """Return the conditions that its status always has, beside `Ready`."""
        return ()
