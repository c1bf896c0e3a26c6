"""Signalling is led to a server by a URL, an Ingress, a Gateway, with certificates: the objects and URLs are right.

Kinds of other projects are those that these publish, in a cluster of the test's own, without their controllers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from livekit_operator.manifests.metadata import COMPONENT_SERVER
from tests.fakes import manifests
from tests.fakes.manifests import Manifest, decoded
from tests.harness import crds
from tests.harness.api import Api
from tests.harness.certificates import make_authority, tls_secret
from tests.harness.target import Target
from tests.integration.conftest import create_namespace
from tests.integration.operated import Operated, operated
from tests.integration.own_cluster import own_cluster

HOST = "voice.example.test"
SERVICE = "voice-livekit"
PEOPLE = ("alice", "bob")
ROOM = manifests.room("call", tokens=[{"identity": identity} for identity in PEOPLE])


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[tuple[Target, Operated]]:
    """Run an operator in a cluster of its own."""
    async with own_cluster(folder) as (plane, api):
        await create_namespace(api, "team")
        async with operated(api, "team") as operator:
            yield plane.target, operator


async def test_a_url_and_an_ingress_lead_to_the_signalling(api: Api, namespace: str) -> None:
    url = "wss://calls.example.test/livekit"
    ingress: Manifest = {
        "className": "nginx",
        "host": HOST,
        "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"},
        "tls": {"secretName": "voice-certificate"},
    }
    async with operated(api, namespace) as operator:
        await operator.create(ROOM)
        await operator.create(manifests.server(signal={"externalUrl": url}))
        await urls(operator, url)
        assert (await operator.get("Service", SERVICE))["spec"]["type"] == "ClusterIP"

        await lead(operator, externalUrl=None, ingress=ingress)
        await urls(operator, f"wss://{HOST}")
        made = await operator.get("Ingress", SERVICE)
        backend = {"service": {"name": SERVICE, "port": {"name": "signal"}}}
        assert made["spec"] == {
            "ingressClassName": "nginx",
            "rules": [{"host": HOST, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
            "tls": [{"hosts": [HOST], "secretName": "voice-certificate"}],
        }
        assert ingress["annotations"].items() <= made["metadata"]["annotations"].items()

        await lead(operator, ingress={"tls": None})
        await urls(operator, f"ws://{HOST}")
        assert "tls" not in (await operator.get("Ingress", SERVICE))["spec"]

        await lead(operator, ingress=None, externalUrl=url)
        await urls(operator, url)
        await operator.gone("Ingress", SERVICE)


async def test_a_gateway_route_waits_for_the_gateway_api(tmp_path: Path) -> None:
    parents = [{"name": "edge", "namespace": "gateways", "sectionName": "https"}]
    signal = {"externalUrl": None, "gateway": {"host": HOST, "parentRefs": parents}}
    async with alone(tmp_path) as (target, operator):
        await operator.create(ROOM)
        await operator.create(manifests.server(signal=signal))
        await operator.server_runs()
        assert "spec.signal.gateway" in await operator.reason("LiveKitServer", "voice", "GatewayApiMissing")

        await crds.install_gateway_api(target)
        # What a Gateway's controller would say.
        await gateway_says(operator, "False", "NotAllowedByListeners", "no listener is for this namespace")
        message = await operator.reason("LiveKitServer", "voice", "RouteNotAccepted")
        assert "Gateway edge: Accepted is False, NotAllowedByListeners: no listener is for this namespace." in message
        await gateway_says(operator, "True", "Accepted", "")
        await urls(operator, f"wss://{HOST}")
        route = await operator.get("HTTPRoute", SERVICE)
        assert route["spec"]["hostnames"] == [HOST]
        (parent,) = route["spec"]["parentRefs"]
        assert parents[0].items() <= parent.items()
        (rule,) = route["spec"]["rules"]
        (backend,) = rule["backendRefs"]
        assert (backend["name"], backend["port"]) == (SERVICE, 7880)
        assert rule["timeouts"] == {"request": "0s"}
        await lead(operator, gateway=None)
        await operator.gone("HTTPRoute", SERVICE)


async def test_certificates_are_requested_of_cert_manager(tmp_path: Path) -> None:
    issuer = {"issuerRef": {"name": "authority", "kind": "ClusterIssuer"}}
    turn = {"domain": "turn.example.test", "tls": {"certificate": issuer}}
    signal = {"externalUrl": None, "ingress": {"host": HOST, "tls": issuer}}
    async with alone(tmp_path) as (target, operator):
        await operator.create(ROOM)
        await operator.create(manifests.server(signal=signal, turn=turn))
        assert "issuerRef" in await operator.reason("LiveKitServer", "voice", "CertManagerMissing")
        await crds.install_cert_manager(target)
        assert "voice-turn-tls" in await operator.reason("LiveKitServer", "voice", "SecretNotFound")
        for name, host in (("voice-turn-tls", "turn.example.test"), ("voice-signal-tls", HOST)):
            certificate = await operator.get("Certificate", name)
            assert certificate["spec"] == {
                "secretName": name,
                "dnsNames": [host],
                "issuerRef": {"name": "authority", "kind": "ClusterIssuer", "group": "cert-manager.io"},
            }
        # What cert-manager would do then.
        await operator.create(tls_secret("voice-turn-tls", make_authority("of the test"), names=["turn.example.test"]))
        for name in ("voice-turn-tls", "voice-signal-tls"):
            well = said("Ready", "True", "Ready", "Certificate is up to date and has not expired")
            await operator.patch("Certificate", name, {"status": {"conditions": [well]}}, "status")
        await urls(operator, f"wss://{HOST}")
        made = await operator.get("Ingress", SERVICE)
        assert made["spec"]["tls"] == [{"hosts": [HOST], "secretName": "voice-signal-tls"}]


async def lead(operator: Operated, **signal: Any) -> None:
    """Change how clients come to the server."""
    await operator.patch("LiveKitServer", "voice", {"spec": {"signal": signal}})


def said(kind: str, status: str, reason: str, message: str) -> Manifest:
    """Return a condition as another controller writes it."""
    condition = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}


async def gateway_says(operator: Operated, accepted: str, reason: str, message: str) -> None:
    """Write what a Gateway's controller says of the route."""
    parent = {
        "parentRef": {"name": "edge", "namespace": "gateways"},
        "controllerName": "example.test/gateway",
        "conditions": [said("Accepted", accepted, reason, message)],
    }
    await operator.get("HTTPRoute", SERVICE)
    await operator.patch("HTTPRoute", SERVICE, {"status": {"parents": [parent]}}, "status")


async def urls(operator: Operated, external: str) -> None:
    """Wait until the server is ready, and its status and every token Secret name both URLs."""
    internal = f"ws://{SERVICE}.{operator.namespace}.svc:7880"

    async def told() -> bool:
        await operator.run_pods(COMPONENT_SERVER)
        await operator.pass_checks()
        status = (await operator.get("LiveKitServer", "voice")).get("status") or {}
        found = [(status.get("externalUrl"), status.get("internalUrl"))]
        for identity in PEOPLE:
            if (secret := await operator.find("Secret", f"call-{identity}")) is not None:
                values = decoded(secret)
                found.append((values["url"], values["internalUrl"]))
        return found == [(external, internal)] * 3

    await operator.until(f"status and tokens to name {external}", told, seconds=60)
    await operator.reason("LiveKitServer", "voice")
