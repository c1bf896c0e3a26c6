"""Containers as a user may write them, and their rights: no more than the Pod Security Standard `restricted` lets them.

What it refuses is no field here, or is refused by its rule. So whoever may write our resources gets no pod through the
operator that such a namespace would not take, also where nothing checks pods.
Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import Image, ObjectName, Port
from livekit_operator.api.pods import PodPart, PodParts

# Containers that the operator makes in the pods of a pool.
OWN_CONTAINERS = ("agent", "runner")
UserId = Annotated[int, Field(ge=1, le=2147483647)]
GroupId = Annotated[int, Field(ge=0, le=2147483647)]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
_Word = Annotated[str, Field(max_length=4096)]
_Words = Annotated[list[_Word], Field(max_length=64)]
_By_name = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


def _only(value: bool, message: str) -> dict[str, Any]:
    """Return what refuses the other value of a switch: manifests that spell the only one out go through as they are."""
    return schema_extra(rule("self" if value else "!self", message))


class EnvironmentSource(ApiModel):
    """A Secret or a ConfigMap in the same namespace whose keys become variables."""

    name: ObjectName = Field(description="Name of the object.")
    optional: bool | None = Field(default=None, description="Whether a container starts without it.")


class EnvironmentFrom(ApiModel):
    """Where several variables come from, as in a Pod."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("has(self.secretRef) != has(self.configMapRef)", "set exactly one of secretRef and configMapRef")
        )
    )

    secret_ref: EnvironmentSource | None = Field(default=None, description="A Secret.")
    config_map_ref: EnvironmentSource | None = Field(default=None, description="A ConfigMap.")
    prefix: Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x20=\x7f]*$")] | None = Field(
        default=None, description="What stands before each key in the variable's name."
    )


EnvironmentFroms = Annotated[list[EnvironmentFrom], Field(max_length=16)]


class Profile(ApiModel):
    """A profile of seccomp or AppArmor."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "(self.type == 'Localhost') == has(self.localhostProfile)",
                "localhostProfile names the profile of type Localhost, and of no other",
                ".localhostProfile",
            )
        )
    )

    type: Literal["RuntimeDefault", "Localhost"] = Field(description="The container runtime's own, or one of the node.")
    localhost_profile: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="Name of the node's profile."
    )


class SeLinux(ApiModel):
    """A label of SELinux."""

    type: Literal["container_t", "container_init_t", "container_kvm_t"] | None = Field(
        default=None, description="Its type."
    )
    level: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(default=None, description="Its level.")


class Security(ApiModel):
    """What a container and a pod have in common of their rights."""

    run_as_user: UserId | None = Field(default=None, description="User id.")
    run_as_group: GroupId | None = Field(default=None, description="Group id; that of the user when left out.")
    run_as_non_root: bool | None = Field(
        default=None,
        description="Always true.",
        json_schema_extra=_only(True, "nothing runs as root: leave runAsNonRoot out, or say true"),
    )
    seccomp_profile: Profile | None = Field(default=None, description="`RuntimeDefault` when left out.")
    app_armor_profile: Profile | None = Field(default=None, description="Profile of AppArmor.")
    se_linux_options: SeLinux | None = Field(default=None, description="Label of SELinux.")


class Capabilities(ApiModel):
    """What of root's rights a container has."""

    add: list[Literal["NET_BIND_SERVICE"]] | None = Field(
        default=None, description="The one that `restricted` allows.", max_length=1
    )
    drop: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=64)] | None = Field(
        default=None, description="All are dropped, whatever it says."
    )


class ContainerSecurity(Security):
    """Rights of a container, as in a Pod, as far as `restricted` allows."""

    read_only_root_filesystem: bool | None = Field(default=None, description="Whether it writes only to its volumes.")
    allow_privilege_escalation: bool | None = Field(
        default=None,
        description="Always false.",
        json_schema_extra=_only(False, "no process gets more rights: leave allowPrivilegeEscalation out, or say false"),
    )
    privileged: bool | None = Field(
        default=None,
        description="Always false.",
        json_schema_extra=_only(False, "no container is privileged: leave privileged out, or say false"),
    )
    capabilities: Capabilities | None = Field(default=None, description="What of root's rights it has.")


class PodSecurity(Security):
    """Rights of all containers of a pod, as in a Pod, as far as `restricted` allows."""

    fs_group: GroupId | None = Field(
        default=None, description="Group of the volumes' files; that of the user when left out."
    )
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] | None = Field(
        default=None, description="When the group of a volume's files is set."
    )
    supplemental_groups: Annotated[list[GroupId], Field(max_length=32)] | None = Field(
        default=None, description="More groups of every process."
    )


class ContainerPort(ApiModel):
    """A port of a container; none of the node's."""

    name: Annotated[str, Field(min_length=1, max_length=15, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] | None = Field(
        default=None, description="Name that probes use."
    )
    container_port: Port = Field(description="Its number.")
    protocol: Literal["TCP", "UDP"] | None = Field(default=None, description="`TCP` when left out.")


class Container(ApiModel):
    """A container beside the agent's, as in a Pod."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                f"!(self.name in {list(OWN_CONTAINERS)})",
                "the containers agent and runner are the operator's: choose another name, or use the fields of agent",
                ".name",
            )
        )
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Name of the container."
    )
    image: Image = Field(description="Its image, with a tag or a digest.")
    image_pull_policy: PullPolicy | None = Field(default=None, description="When the image is pulled, as in a Pod.")
    command: _Words | None = Field(default=None, description="What runs; the image's own entry point when left out.")
    args: _Words | None = Field(default=None, description="Arguments.")
    working_dir: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None, description="Folder that it starts in."
    )
    env: PodParts | None = Field(default=None, description="Variables, as in a Pod. None are the operator's.")
    env_from: EnvironmentFroms | None = Field(default=None, description="Secrets and ConfigMaps of variables.")
    ports: Annotated[list[ContainerPort], Field(max_length=16)] | None = Field(default=None, description="Its ports.")
    resources: PodPart | None = Field(default=None, description="`requests` and `limits`, as in a Pod.")
    volume_mounts: PodParts | None = Field(
        default=None, description="Mounts of `podTemplate.volumes`, as in a Pod; none of the operator's volumes."
    )
    startup_probe: PodPart | None = Field(default=None, description="As in a Pod, without `host`.")
    readiness_probe: PodPart | None = Field(
        default=None, description="As in a Pod, without `host`. Calls come only to pods whose every container is ready."
    )
    liveness_probe: PodPart | None = Field(default=None, description="As in a Pod, without `host`.")
    lifecycle: PodPart | None = Field(default=None, description="`postStart` and `preStop`, as in a Pod.")
    security_context: ContainerSecurity | None = Field(
        default=None, description="Its rights, as far as `restricted` allows."
    )


class InitContainer(Container):
    """A container that ends before the agent starts, or one that starts before it and ends after it."""

    restart_policy: Literal["Always"] | None = Field(
        default=None,
        description="`Always` makes a native sidecar of it: it starts before the agent, and ends after the agent's "
        "last call.",
    )


Containers = Annotated[list[Container], Field(max_length=16, json_schema_extra=_By_name)]
InitContainers = Annotated[list[InitContainer], Field(max_length=16, json_schema_extra=_By_name)]
