"""What the operator does not do for whoever may write its resources, and how it says so."""

import json
from typing import Any

import pytest

from livekit_operator.settings import Allowed, Settings
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, decoded
from tests.fakes.world import World

ROOM = "support-42"


def allowing(**allowed: Any) -> Settings:
    return Settings(agent_image="agent:1", webhook_url="http://operator:8080", allowed=Allowed(**allowed))


async def test_agents_have_no_priority_that_is_not_allowed(world: World) -> None:
    await world.with_server()
    await world.with_pool(podTemplate={"priorityClassName": "system-cluster-critical"})
    assert world.agent_pods() == []
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "NotAllowed")
    assert "allowed.priorityClasses" in world.message("VoiceAgentPool", "front-desk")


def account(name: str = "booking", **annotations: str) -> dict[str, Any]:
    """Return a ServiceAccount that somebody has made."""
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


@pytest.mark.parametrize(
    ("accounts", "words"),
    [
        ([], "ServiceAccount booking of spec.podTemplate.serviceAccountName does not exist: create it"),
        ([account()], "`kubectl annotate serviceaccount booking livekit-operator.dev/allow-agents=true`"),
        ([account(**{"livekit-operator.dev/allow-agents": "false"})], "does not allow agents"),
        ([account("other", **{"livekit-operator.dev/allow-agents": "true"})], "does not exist"),
    ],
)
async def test_agents_have_no_account_that_does_not_allow_it(
    world: World, accounts: list[dict[str, Any]], words: str
) -> None:
    """Whoever may write pools need not have the rights of the namespace's accounts."""
    await world.with_server()
    for one in accounts:
        world.kubernetes.put(one)
    await world.with_pool(podTemplate={"serviceAccountName": "booking"})
    assert world.agent_pods() == []
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ServiceAccountNotAllowed")
    assert words in world.message("VoiceAgentPool", "front-desk")
    world.kubernetes.put(account(**{"livekit-operator.dev/allow-agents": "true"}))
    world.clock.advance(60)
    await world.settle()
    [pod] = world.agent_pods()
    assert pod["spec"]["serviceAccountName"] == "booking"
    assert pod["spec"]["automountServiceAccountToken"] is False


async def test_what_runs_under_an_account_goes_on_when_that_allows_it_no_more(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(account(**{"livekit-operator.dev/allow-agents": "true"}))
    await world.with_pool(podTemplate={"serviceAccountName": "booking"})
    [pod] = world.agent_pods()
    world.kubernetes.vanish("ServiceAccount", NAMESPACE, "booking")
    await world.settle()
    assert [one["metadata"]["name"] for one in world.agent_pods()] == [pod["metadata"]["name"]]
    assert world.ready("VoiceAgentPool", "front-desk") == ("True", "Ready")


async def test_the_account_of_another_pool_is_not_used(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.pool("other"))
    await world.with_pool(podTemplate={"serviceAccountName": "other-agent"})
    assert world.kubernetes.names("ServiceAccount") == ["front-desk-agent", "other-agent", "voice-livekit"]
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ServiceAccountNotAllowed")


async def test_an_account_by_the_name_of_the_pools_own_is_the_pools_own(world: World) -> None:
    await world.with_server()
    await world.with_pool(podTemplate={"serviceAccountName": "front-desk-agent"})
    assert len(world.agent_pods()) == 1


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
