"""Objects of other projects that lead to a server, and what these say of them."""

from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import started


async def test_a_route_that_its_gateway_refuses_is_said_in_its_words(world: World) -> None:
    gateway = {"parentRefs": [{"name": "public", "namespace": "edge"}], "host": "voice.example.com"}
    await started(world, signal={"gateway": gateway})
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    refused = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "not from team"}
    parents = [{"parentRef": {"name": "public"}, "conditions": [refused]}]
    world.kubernetes.edit("HTTPRoute", NAMESPACE, "voice-livekit", {"parents": parents}, status=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "RouteNotAccepted")
    assert "Gateway public: Accepted is False, NotAllowedByListeners: not from team." in world.message(
        "LiveKitServer", "voice"
    )
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "RouteNotAccepted")
    world.take_routes()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_gateway_that_does_not_listen_is_said(world: World) -> None:
    programmed = {"type": "Programmed", "status": "False", "reason": "AddressNotAssigned", "message": "none is left"}
    metadata = {"name": "public", "namespace": "edge", "generation": 1}
    world.kubernetes.put({"kind": "Gateway", "metadata": metadata, "status": {"conditions": [programmed]}})
    await started(world, signal={"gateway": {"parentRefs": [{"name": "public", "namespace": "edge"}], "host": "a.b"}})
    assert world.ready("LiveKitServer", "voice") == ("False", "RouteNotAccepted")
    assert "Gateway public: Programmed is False, AddressNotAssigned: none is left." in world.message(
        "LiveKitServer", "voice"
    )
    well = {"conditions": [{**programmed, "status": "True"}]}
    world.kubernetes.edit("Gateway", "edge", "public", well, status=True)
    world.forget()
    for _ in range(4):
        await world.reconcile("LiveKitServer", "voice")
    assert "get Gateway/public" not in world.kubernetes.reads, "it is looked at now and then"
    world.clock.advance(30)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_a_gateway_that_has_not_taken_the_route_is_not_read(world: World) -> None:
    refs = [{"name": "public"}, {"name": "secret", "namespace": "others"}]
    await started(world, signal={"gateway": {"parentRefs": refs, "host": "a.b"}})
    taken = {"parentRef": refs[0], "conditions": [{"type": "Accepted", "status": "True"}]}
    world.kubernetes.edit("HTTPRoute", NAMESPACE, "voice-livekit", {"parents": [taken]}, status=True)
    world.clock.advance(60)
    world.forget()
    await world.settle()
    assert "get Gateway/public" in world.kubernetes.reads
    assert "get Gateway/secret" not in world.kubernetes.reads


async def test_a_certificate_that_its_authority_denies_is_said(world: World) -> None:
    await started(world, signal={"ingress": {"host": "a.b", "tls": {"issuerRef": {"name": "i"}}}})
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    denied = [
        {"type": "Ready", "status": "False", "reason": "Expired", "message": "it has expired"},
        {"type": "Issuing", "status": "False", "reason": "Failed", "message": "urn:ietf:params:acme:error:caa"},
    ]
    world.kubernetes.edit("Certificate", NAMESPACE, "voice-signal-tls", {"conditions": denied}, status=True)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "CertificateNotReady")
    assert "acme:error:caa" in world.message("LiveKitServer", "voice")
    world.take_routes()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
