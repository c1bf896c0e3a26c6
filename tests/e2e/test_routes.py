"""Signalling is led to a server by a URL, an Ingress, a Gateway, with certificates: the objects and URLs are right."""

import json

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import PEOPLE, ROOM, condition, meeting, node_ports, server
from tests.harness import crds
from tests.harness.certificates import make_authority, tls_secret
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import SERVER

# They install and remove kinds of other projects.
pytestmark = pytest.mark.xdist_group("optional-kinds")

HOST = "voice.example.test"
SERVICE = f"{SERVER}-livekit"


@pytest.mark.timeout(180)
async def test_a_url_and_an_ingress_lead_to_the_signalling(story: Story) -> None:
    url = "wss://calls.example.test/livekit"
    await story.kubectl.apply(server(**node_ports(signal={"externalUrl": url})), meeting())
    await _urls(story, url)
    service = await story.kubectl.get("service", SERVICE)
    assert service["spec"]["type"] == "ClusterIP"

    ingress: Manifest = {
        "className": "nginx",
        "host": HOST,
        "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"},
        "tls": {"secretName": "voice-certificate"},
    }
    await _change(story, {"externalUrl": None, "ingress": ingress})
    await _urls(story, f"wss://{HOST}")
    made = await story.kubectl.get("ingress", SERVICE)
    backend = {"service": {"name": SERVICE, "port": {"name": "signal"}}}
    assert made["spec"] == {
        "ingressClassName": "nginx",
        "rules": [{"host": HOST, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        "tls": [{"hosts": [HOST], "secretName": "voice-certificate"}],
    }
    assert ingress["annotations"].items() <= made["metadata"]["annotations"].items()

    await _change(story, {"ingress": {"tls": None}})
    await _urls(story, f"ws://{HOST}")
    assert "tls" not in (await story.kubectl.get("ingress", SERVICE))["spec"]

    await _change(story, {"ingress": None, "externalUrl": url})
    await _urls(story, url)
    await _gone(story, "ingress", SERVICE)


@pytest.mark.timeout(180)
async def test_a_gateway_route_waits_for_the_gateway_api(story: Story) -> None:
    gateway: Manifest = {
        "host": HOST,
        "parentRefs": [{"name": "edge", "namespace": "gateways", "sectionName": "https"}],
    }
    await crds.remove_gateway_api(story.platform.target)
    await story.kubectl.apply(server(**node_ports(signal={"gateway": gateway})), meeting())
    message = await condition(story, SERVER, "Degraded", "GatewayApiMissing")
    assert "spec.signal.gateway" in message

    await crds.install_gateway_api(story.platform.target)
    try:
        await condition(story, SERVER, "Degraded", "AsExpected")
        # What a Gateway's controller would say.
        await _gateway_says(story, "False", "NotAllowedByListeners", "no listener is for this namespace")
        message = await story.reason("livekitserver", SERVER, "RouteNotAccepted")
        assert "Gateway edge: Accepted is False, NotAllowedByListeners: no listener is for this namespace." in message
        await _gateway_says(story, "True", "Accepted", "")
        await _urls(story, f"wss://{HOST}")
        route = await story.kubectl.get("httproute", SERVICE)
        assert route["spec"]["hostnames"] == [HOST]
        (parent,) = route["spec"]["parentRefs"]
        assert gateway["parentRefs"][0].items() <= parent.items()
        (rule,) = route["spec"]["rules"]
        (backend,) = rule["backendRefs"]
        assert (backend["name"], backend["port"]) == (SERVICE, 7880)
        assert rule["timeouts"] == {"request": "0s"}
        await _change(story, {"gateway": None})
        await _gone(story, "httproute", SERVICE)
    finally:
        await crds.remove_gateway_api(story.platform.target)


@pytest.mark.timeout(180)
async def test_certificates_are_requested_of_cert_manager(story: Story) -> None:
    issuer = {"issuerRef": {"name": "authority", "kind": "ClusterIssuer"}}
    turn = {"domain": "turn.example.test", "tls": {"certificate": issuer}}
    signal = {"ingress": {"host": HOST, "tls": issuer}}
    await crds.remove_cert_manager(story.platform.target)
    await story.kubectl.apply(server(**node_ports(signal=signal, turn=turn)), meeting())
    assert "issuerRef" in await story.reason("livekitserver", SERVER, "CertManagerMissing")
    await crds.install_cert_manager(story.platform.target)
    try:
        assert f"{SERVER}-turn-tls" in await story.reason("livekitserver", SERVER, "SecretNotFound")
        await until("both Certificates", lambda: _certificates(story), seconds=30)
        for name, host in ((f"{SERVER}-turn-tls", "turn.example.test"), (f"{SERVER}-signal-tls", HOST)):
            certificate = await story.kubectl.get("certificate", name)
            assert certificate["spec"] == {
                "secretName": name,
                "dnsNames": [host],
                "issuerRef": {"name": "authority", "kind": "ClusterIssuer", "group": "cert-manager.io"},
            }
        # What cert-manager would do then.
        await story.kubectl.apply(
            tls_secret(f"{SERVER}-turn-tls", make_authority("of the story"), names=["turn.example.test"])
        )
        for name in (f"{SERVER}-turn-tls", f"{SERVER}-signal-tls"):
            well = _said("Ready", "True", "Ready", "Certificate is up to date and has not expired")
            await _write_status(story, "certificate", name, {"conditions": [well]})
        await story.ready("livekitserver", SERVER)
        made = await story.kubectl.get("ingress", SERVICE)
        assert made["spec"]["tls"] == [{"hosts": [HOST], "secretName": f"{SERVER}-signal-tls"}]
        await _urls(story, f"wss://{HOST}")
    finally:
        await crds.remove_cert_manager(story.platform.target)


async def _change(story: Story, signal: Manifest) -> None:
    patch = json.dumps({"spec": {"signal": signal}})
    await story.kubectl("patch", "livekitserver", SERVER, "--type", "merge", "--patch", patch)


async def _gateway_says(story: Story, accepted: str, reason: str, message: str) -> None:
    parent = {
        "parentRef": {"name": "edge", "namespace": "gateways"},
        "controllerName": "example.test/gateway",
        "conditions": [_said("Accepted", accepted, reason, message)],
    }
    await _write_status(story, "httproute", SERVICE, {"parents": [parent]})


def _said(kind: str, status: str, reason: str, message: str) -> Manifest:
    said = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**said, "lastTransitionTime": "2026-01-01T00:00:00Z"}


async def _write_status(story: Story, kind: str, name: str, status: Manifest) -> None:
    await until(f"{kind} {name}", lambda: _there(story, kind, name), seconds=30)
    patch = json.dumps({"status": status})
    await story.kubectl("patch", kind, name, "--subresource", "status", "--type", "merge", "--patch", patch)


async def _there(story: Story, kind: str, name: str) -> bool:
    return name in [found["metadata"]["name"] for found in await story.kubectl.find(kind)]


async def _urls(story: Story, external: str) -> None:
    """Wait until the status and every token Secret name both URLs."""
    internal = f"ws://{SERVICE}.{story.kubectl.namespace}.svc:7880"

    async def told() -> bool:
        (manifest,) = await story.ready("livekitserver", SERVER)
        secrets = [await story.kubectl.secret(f"{ROOM}-{identity}") for identity in PEOPLE]
        found = [(manifest["status"]["externalUrl"], manifest["status"]["internalUrl"])]
        found += [(secret["url"], secret["internalUrl"]) for secret in secrets]
        return found == [(external, internal)] * 3

    await until(f"status and tokens to name {external}", told, seconds=60)


async def _certificates(story: Story) -> bool:
    return len(await story.kubectl.find("certificates")) == 2


async def _gone(story: Story, kind: str, name: str) -> None:
    async def gone() -> bool:
        return name not in [found["metadata"]["name"] for found in await story.kubectl.find(kind)]

    await until(f"{kind} {name} to go", gone, seconds=30)
