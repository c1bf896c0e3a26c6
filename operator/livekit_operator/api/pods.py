"""What users may change about the pods that the operator makes: placement, metadata, volumes."""

from typing import Annotated, Any

from pydantic import Field

from livekit_operator.api.base import ApiModel
from livekit_operator.api.bounds import Bounded
from livekit_operator.api.common import Annotations, ObjectName

# Parts of a Pod that go through as they are: their schema is Kubernetes' own, and the API server checks them there.
PodPart = Annotated[
    dict[str, Any],
    Field(max_length=32, json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    Bounded,
]
PodParts = Annotated[list[PodPart], Field(max_length=64), Bounded]
Labels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)]


class LocalObjectRef(ApiModel):
    """An object in the same namespace."""

    name: ObjectName = Field(description="Name of the object.")


class PodTemplate(ApiModel):
    """Overrides for pods. They are added to what the operator sets, and win only where nothing depends on it."""

    labels: Labels = Field(default_factory=dict, description="Labels added to each pod.")
    annotations: Annotations = Field(default_factory=dict, description="Annotations added to each pod.")
    node_selector: Labels = Field(default_factory=dict, description="Labels a node must have.")
    tolerations: PodParts = Field(default_factory=list, description="Taints that are tolerated, as in a Pod.")
    affinity: PodPart | None = Field(default=None, description="Affinity, as in a Pod.")
    topology_spread_constraints: PodParts = Field(
        default_factory=list,
        description="How pods are spread, as in a Pod; over nodes where possible when left out.",
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of the pods.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass of the pods.")
    image_pull_secrets: list[LocalObjectRef] = Field(
        default_factory=list, description="Secrets for pulling the image.", max_length=16
    )
    run_as_user: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None,
        description="User and group id of every container of the pods, and of those that help: checks, the runner's, "
        "the managed Redis'. 1000 when left out, or what the cluster chooses where the operator leaves ids out.",
    )
    volumes: PodParts = Field(default_factory=list, description="Volumes added to each pod, as in a Pod.")
    volume_mounts: PodParts = Field(default_factory=list, description="Mounts added to the container, as in a Pod.")
