"""What users may change about the pods of a pool beside what every pod of the operator's takes."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import ObjectName
from livekit_operator.api.containers import Containers, InitContainers, PodSecurity
from livekit_operator.api.pods import PodTemplate

_Address = Annotated[str, Field(min_length=2, max_length=45, pattern=r"^[0-9A-Fa-f.:]+$")]
_Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^\x00-\x20\x7f]+$")]


class HostAlias(ApiModel):
    """An entry of the pods' /etc/hosts."""

    ip: _Address = Field(description="The address.")
    hostnames: Annotated[list[_Host], Field(min_length=1, max_length=32)] = Field(description="Its names.")


class DnsOption(ApiModel):
    """An option of the resolver."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Its name, such as `ndots`.")
    value: Annotated[str, Field(max_length=64)] | None = Field(default=None, description="Its value.")


class DnsConfig(ApiModel):
    """Where and how names are looked up, as in a Pod."""

    nameservers: Annotated[list[_Address], Field(max_length=3)] | None = Field(default=None, description="Servers.")
    searches: Annotated[list[_Host], Field(max_length=32)] | None = Field(
        default=None, description="Domains in which short names are looked up."
    )
    options: Annotated[list[DnsOption], Field(max_length=16)] | None = Field(default=None, description="Options.")


class AgentPodTemplate(PodTemplate):
    """Overrides for the agents' pods. They are added to what the operator sets, and win where nothing depends on it."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.runAsUser) || !has(self.securityContext) || !has(self.securityContext.runAsUser)",
                "set runAsUser here or in securityContext, not both",
                ".runAsUser",
            ),
            rule(
                "!has(self.dnsPolicy) || self.dnsPolicy != 'None' || (has(self.dnsConfig) "
                "&& has(self.dnsConfig.nameservers) && size(self.dnsConfig.nameservers) > 0)",
                "dnsPolicy None needs dnsConfig.nameservers",
                ".dnsConfig",
            ),
        )
    )

    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount of the pods, for a cloud's workload identity; one of the pool's own, without "
        'rights, when left out. It allows that by its annotation `livekit-operator.dev/allow-agents: "true"`.',
    )
    automount_service_account_token: bool | None = Field(
        default=None, description="Whether the pods get a token of their ServiceAccount; false when left out."
    )
    init_containers: InitContainers | None = Field(
        default=None, description="Containers that start before the agent, also native sidecars."
    )
    containers: Containers | None = Field(default=None, description="Containers beside the agent's.")
    host_aliases: Annotated[list[HostAlias], Field(max_length=64)] | None = Field(
        default=None, description="Entries of /etc/hosts."
    )
    dns_policy: Literal["ClusterFirst", "Default", "None"] | None = Field(
        default=None, description="As in a Pod. The agents must find the LiveKit server's name all the same."
    )
    dns_config: DnsConfig | None = Field(default=None, description="Where and how names are looked up.")
    security_context: PodSecurity | None = Field(
        default=None, description="Rights of all containers, as far as `restricted` allows."
    )
