"""How clients reach a LiveKitServer's signalling WebSocket: Service, Ingress, Gateway API."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra
from livekit_operator.api.common import Annotations, NamespaceName, ObjectName, Port
from livekit_operator.api.server.media import IpAddress, ServiceSettings

Hostname = ObjectName


class IssuerRef(ApiModel):
    """An issuer of cert-manager."""

    name: ObjectName = Field(description="Name of the issuer.")
    kind: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        default="Issuer", description="`Issuer` or `ClusterIssuer`, or the kind of an external issuer."
    )
    group: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        default="cert-manager.io", description="API group of the issuer."
    )


class Tls(ApiModel):
    """A certificate: from a Secret, or requested of cert-manager."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("has(self.secretName) != has(self.issuerRef)", "set exactly one of secretName and issuerRef")
        )
    )

    secret_name: ObjectName | None = Field(
        default=None, description="A Secret of type `kubernetes.io/tls` with `tls.crt` and `tls.key`."
    )
    issuer_ref: IssuerRef | None = Field(default=None, description="cert-manager's issuer to request a certificate of.")


class SignalIngress(ApiModel):
    """An Ingress for the signalling."""

    class_name: ObjectName | None = Field(
        default=None, description="IngressClass; the cluster's default one when left out."
    )
    host: Hostname = Field(description="Host name that clients use.")
    annotations: Annotations = Field(
        default_factory=dict,
        description="Annotations, read by the ingress controller. Its read timeout must be longer than calls are.",
    )
    tls: Tls | None = Field(default=None, description="Certificate of the host; without it clients use plain `ws://`.")


class GatewayParentRef(ApiModel):
    """A Gateway that the route attaches to."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: NamespaceName | None = Field(default=None, description="Its namespace; this one when left out.")
    section_name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="Listener of the Gateway; every one that fits when left out."
    )
    port: Port | None = Field(default=None, description="Port of the listener.")


class SignalGateway(ApiModel):
    """An HTTPRoute of the Gateway API for the signalling."""

    parent_refs: list[GatewayParentRef] = Field(
        description="Gateways that the route attaches to.", min_length=1, max_length=32
    )
    host: Hostname = Field(description="Host name that clients use.")
    tls: bool = Field(
        default=True, description="Whether the listener ends TLS, so that clients use `wss://`; else plain `ws://`."
    )
    annotations: Annotations = Field(default_factory=dict, description="Annotations of the route.")


class SignalService(ServiceSettings):
    """The Service of the signalling."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = Field(
        default=None,
        description="Type of the Service. When left out: `ClusterIP` behind an Ingress, a Gateway, an `externalUrl` or "
        "on the host network, else as `media.exposure`.",
    )
    port: Port | None = Field(
        default=None,
        description="Port of the Service; `signal.port` when left out. 443 for a load balancer that ends TLS itself. "
        "Pods in the cluster use it too.",
    )


class Signal(ApiModel):
    """How clients reach the signalling WebSocket."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule("!(has(self.ingress) && has(self.gateway))", "set at most one of ingress and gateway", ".gateway")
        )
    )

    port: Port = Field(default=7880, description="Port of the signalling WebSocket and of the server's HTTP API.")
    bind_addresses: list[IpAddress] = Field(
        default_factory=list,
        description="Addresses to listen on; all when left out. Kubelet's probes and the operator must reach them.",
        max_length=8,
    )
    external_url: str | None = Field(
        default=None,
        description="URL that clients outside the cluster use, normally `wss://…`; it goes into every token Secret. "
        "When left out it is that of the ingress or gateway, else `ws://` with an address of a node or load balancer, "
        "which is for trying out: browsers want `wss://`.",
        max_length=2048,
        pattern=r"^wss?://([-_A-Za-z0-9.]+|\[[0-9a-fA-F:.]+\])(:[1-9][0-9]{0,4})?([/?#][^\x00-\x20]*)?$",
        json_schema_extra=schema_extra(
            rule(
                "isURL(self) && (url(self).getPort() == '' || int(url(self).getPort()) <= 65535)",
                "must be a URL with a port that can be",
            )
        ),
    )
    service: SignalService = Field(default=SignalService(), description="The Service of the signalling.")
    ingress: SignalIngress | None = Field(default=None, description="An Ingress of any class.")
    gateway: SignalGateway | None = Field(default=None, description="An HTTPRoute of the Gateway API.")
