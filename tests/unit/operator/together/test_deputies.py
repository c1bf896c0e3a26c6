"""What the operator does not do for whoever may write its resources, and how it says so."""

import json
from typing import Any

import pytest

from livekit_operator.settings import Allowed, Settings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition, decoded
from tests.fakes.world import World

INGRESS = {"ingress": {"host": "voice.example.com"}, "externalUrl": None}
ROOM = "support-42"


def allowing(**allowed: Any) -> Settings:
    return Settings(agent_image="agent:1", webhook_url="http://operator:8080", allowed=Allowed(**allowed))


async def served(world: World, **spec: Any) -> None:
    world.kubernetes.put(manifests.server(**spec))
    await world.settle()
    world.run_server()
    await world.settle()


def degraded(world: World) -> tuple[str, str]:
    found = condition(world.get("LiveKitServer", "voice"), "Degraded")
    return found["reason"], found["message"]


# --- Servers ----------------------------------------------------------------------------------------------------------


async def test_an_ingress_that_is_not_allowed_is_not_made_and_said(world: World) -> None:
    annotations = {"nginx.ingress.kubernetes.io/configuration-snippet": "return 200;"}
    await served(world, signal={"ingress": {"host": "voice.example.com", "annotations": annotations}})
    assert world.kubernetes.names("Ingress") == []
    assert len(world.server_pods()) == 1, "calls inside the cluster go on"
    message = (
        "spec.signal.ingress.annotations: nginx.ingress.kubernetes.io/configuration-snippet is not allowed; "
        "the chart's value allowed.deniedAnnotations says what is: choose that, or change it."
    )
    assert degraded(world) == ("NotAllowed", message)
    assert world.ready("LiveKitServer", "voice") == ("False", "NotAllowed"), "nobody outside gets in"


async def test_an_ingress_that_is_allowed_no_more_goes() -> None:
    world = World(allowing())
    await served(world, signal={"ingress": {"host": "voice.example.com"}})
    assert world.kubernetes.names("Ingress") == ["voice-livekit"]
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    world.context.settings = allowing(hosts={"*": ["*.example.org"]})
    await world.settle()
    assert world.kubernetes.names("Ingress") == []
    assert "spec.signal.ingress.host: voice.example.com in namespace team is not allowed" in degraded(world)[1]
    assert await world.writes_of_another_round() == []


@pytest.mark.parametrize(
    ("allowed", "spec", "field"),
    [
        ({"host_network": False}, {}, "spec.media.exposure"),
        ({}, {"podTemplate": {"priorityClassName": "system-node-critical"}}, "spec.podTemplate.priorityClassName"),
    ],
)
async def test_pods_that_are_not_allowed_are_not_started_and_those_that_run_go_on(
    allowed: dict[str, Any], spec: dict[str, Any], field: str
) -> None:
    world = World(allowing(**allowed))
    await served(world, **spec)
    assert world.server_pods() == []
    assert world.ready("LiveKitServer", "voice") == ("False", "NotAllowed")
    assert degraded(world)[1].startswith(f"{field}: ")
    world.context.settings = allowing(priority_classes=["*", "system-node-critical"])
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    world.context.settings = allowing(**allowed)
    await world.settle()
    assert len(world.server_pods()) == 1
    assert degraded(world)[0] == "NotAllowed"


async def test_a_load_balancer_that_is_allowed_no_more_keeps_who_is_on_it() -> None:
    world = World(allowing())
    signal = {"service": {"type": "LoadBalancer"}, "externalUrl": "wss://voice.example.com"}
    await served(world, signal=signal)
    assert world.get("Service", "voice-livekit")["spec"]["type"] == "LoadBalancer"
    world.context.settings = allowing(load_balancer_classes=[])
    await world.settle()
    assert world.get("Service", "voice-livekit")["spec"]["type"] == "LoadBalancer"
    assert degraded(world)[0] == "NotAllowed"


async def test_a_load_balancer_that_is_not_allowed_is_not_made() -> None:
    world = World(allowing(load_balancer_classes=[]))
    await served(world, signal={"service": {"type": "LoadBalancer"}})
    assert world.kubernetes.names("Service") == []
    assert world.ready("LiveKitServer", "voice") == ("False", "NotAllowed")
    assert "spec.signal.service.loadBalancerClass" in world.message("LiveKitServer", "voice")


async def test_a_server_runs_under_no_account_of_somebody_else(world: World) -> None:
    """With its name a server's writer would choose any account of the namespace, and run an image with its rights."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "voice-livekit", "namespace": NAMESPACE},
    }
    world.kubernetes.put(account)
    await served(world)
    assert world.server_pods() == []
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert "ServiceAccount team/voice-livekit" in world.message("LiveKitServer", "voice")
    world.kubernetes.vanish("ServiceAccount", NAMESPACE, "voice-livekit")
    await world.settle()
    assert len(world.server_pods()) == 1


# --- Pools ------------------------------------------------------------------------------------------------------------


async def test_agents_have_no_priority_that_is_not_allowed(world: World) -> None:
    await world.with_server()
    await world.with_pool(podTemplate={"priorityClassName": "system-cluster-critical"})
    assert world.agent_pods() == []
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NotAllowed")
    assert "allowed.priorityClasses" in world.message("VoiceAgentPool", "front-desk")


# --- Token Secrets ----------------------------------------------------------------------------------------------------


async def with_tokens(world: World, *tokens: dict[str, Any], **spec: Any) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=list(tokens), **spec))
    await world.settle()


async def test_a_token_secret_has_a_name_of_its_room(world: World) -> None:
    await with_tokens(world, {"identity": "alice", "secretName": "database"}, {"identity": "bob"})
    assert "database" not in world.kubernetes.names("Secret")
    assert "support-42-bob" in world.kubernetes.names("Secret"), "the others have theirs"
    assert world.ready("MeetingRoom", ROOM) == ("False", "SecretNameNotAllowed")
    message = world.message("MeetingRoom", ROOM)
    assert message.startswith("spec.tokens[0].secretName: database does not begin with support-42-.")
    world.context.settings = allowing(secret_names=["team/*"])
    await world.settle()
    assert decoded(world.get("Secret", "database"))["identity"] == "alice"
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")


async def test_a_secret_that_a_room_has_is_kept_under_its_name_and_told_of() -> None:
    """Apps read it by that name since before there was such a rule."""
    world = World(allowing(secret_names=["*"]))
    await with_tokens(world, {"identity": "alice", "secretName": "lobby"})
    before = decoded(world.get("Secret", "lobby"))["token"]
    world.context.settings = allowing()
    world.context.kept_tokens.clear()  # the operator starts with other settings
    world.clock.advance(21600)
    await world.settle()
    assert decoded(world.get("Secret", "lobby"))["token"] != before, "it is renewed"
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
    message = world.message("MeetingRoom", ROOM)
    assert "Secret lobby is kept, but would not be made again: spec.tokens[0].secretName" in message
    world.kubernetes.vanish("Secret", NAMESPACE, "lobby")
    await world.settle()
    assert world.ready("MeetingRoom", ROOM) == ("False", "SecretNameNotAllowed")


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        ({"labels": {"argocd.argoproj.io/secret-type": "cluster"}}, "NotAllowed", "argocd.argoproj.io/secret-type"),
        ({"annotations": {"replicator.v1.mittwald.de/replicate-to": "*"}}, "NotAllowed", "deniedAnnotations"),
        ({"keys": {"token": ".dockerconfigjson"}}, "InvalidSecret", ".dockerconfigjson"),
        ({"keys": {"token": "token", "identity": "kubeconfig"}}, "InvalidSecret", "kubeconfig"),
    ],
)
async def test_a_token_secret_is_not_made_up_as_another_kind(
    world: World, secret: dict[str, Any], reason: str, words: str
) -> None:
    await with_tokens(world, {"identity": "alice", "secret": secret})
    assert world.kubernetes.names("Secret") == ["voice-livekit-keys"]
    assert world.ready("MeetingRoom", ROOM) == ("False", reason)
    message = world.message("MeetingRoom", ROOM)
    assert message.startswith("spec.tokens[0].secret")
    assert words in message


async def test_the_texts_of_a_rooms_tokens_have_a_bound_together(world: World) -> None:
    """500 tokens with 64 KiB each would be 64 MB of Secrets, all of which the operator remembers."""
    many = {"count": 500, "metadata": "x" * 65536}
    await with_tokens(world, {"identity": "alice"}, generateTokens=many)
    secrets = [name for name in world.kubernetes.names("Secret") if name.startswith(ROOM)]
    assert len(secrets) == 17
    assert "support-42-alice" in secrets
    size = sum(len(json.dumps(world.get("Secret", name))) for name in secrets)
    assert size < 2.5 * 1024 * 1024
    assert world.ready("MeetingRoom", ROOM) == ("False", "TokensTooLarge")
    assert "spec.generateTokens: " in world.message("MeetingRoom", ROOM)


@pytest.mark.parametrize(
    "options",
    [
        {"attributes": {"k": "x" * 16384, "l": "x" * 16384}},
        {"roomConfiguration": {"metadata": "x" * 32768}},
        {"secret": {"annotations": {f"a{n}": "x" * 4096 for n in range(8)}}},
    ],
    ids=["attributes", "configuration", "annotations"],
)
async def test_every_text_counts(world: World, options: dict[str, Any]) -> None:
    await with_tokens(world, generateTokens={"count": 100, **options})
    assert world.ready("MeetingRoom", ROOM) == ("False", "TokensTooLarge")
    assert 30 < len(world.kubernetes.names("Secret")) < 35


async def test_five_hundred_guests_with_texts_of_usual_size_are_fine(world: World) -> None:
    await with_tokens(world, generateTokens={"count": 500, "metadata": "x" * 1024, "attributes": {"team": "support"}})
    assert world.ready("MeetingRoom", ROOM) == ("True", "Ready")
