"""TURN: how clients behind strict firewalls reach a LiveKitServer."""

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import Port
from livekit_operator.api.server.media import Cidr, MediaPortRange, ServiceSettings
from livekit_operator.api.server.signal import Hostname, Tls


class TurnTls(ApiModel):
    """TURN over TLS. Clients are always told port 443 of the domain; livekit-server has no setting for it."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "has(self.certificate) != self.external",
                "set exactly one of certificate and external: true",
            )
        )
    )

    port: Port = Field(default=5349, description="Port that the server listens on; 443 of the Service forwards to it.")
    certificate: Tls | None = Field(default=None, description="Certificate of the domain.")
    external: bool = Field(
        default=False, description="Whether a load balancer in front ends TLS, so that the server speaks plain TCP."
    )
    service: ServiceSettings | None = Field(
        default=None,
        description="A Service of type LoadBalancer that forwards port 443 to the servers. When left out, something of "
        "your own must forward port 443 of the domain there.",
    )


class Turn(ApiModel):
    """TURN over UDP, over TLS, or both."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("self.udp || has(self.tls)", "set udp, tls, or both"),
            rule("!has(self.tls) || has(self.domain)", "TURN over TLS needs a domain", ".domain"),
            rule(
                "!has(self.tls) || !has(self.domain) || self.domain.contains('.')",
                "for TURN over TLS livekit-server takes only a domain with a dot",
                ".domain",
            ),
            rule("!has(self.udpPort) || self.udp", "udpPort is for udp", ".udpPort"),
        )
    )

    domain: Hostname | None = Field(default=None, description="Domain of the certificate, which clients get.")
    udp: bool = Field(default=True, description="Whether TURN over UDP is offered.")
    udp_port: Port | None = Field(
        default=None, description="Port of TURN over UDP; 3478 when left out, with NodePort a node port."
    )
    tls: TurnTls | None = Field(default=None, description="TURN over TLS.")
    relay_range: MediaPortRange = Field(
        default=MediaPortRange(start=40000, end=49999),
        description="UDP ports between TURN and the media server, on the server itself.",
    )
    ttl_seconds: int = Field(default=300, description="How long credentials can be used to begin with.", ge=1, le=86400)
    allowed_peer_cidrs: list[Cidr] = Field(
        default_factory=list,
        description="Private addresses that TURN may relay to beside the server's own. Several servers with private "
        "addresses need each other's here, or clients behind the TURN of one do not reach rooms of another.",
        max_length=64,
    )
    denied_peer_cidrs: list[Cidr] = Field(
        default_factory=list, description="Addresses that TURN may not relay to.", max_length=64
    )
