"""Keys and URLs of a server without a pass: of what others write nothing is believed, and nothing is read twice."""

from collections.abc import Callable
from typing import Any

import pytest

from livekit_operator.engine.cache import Manifest
from livekit_operator.reconciling import references
from livekit_operator.servers import credentials
from livekit_operator.servers.credentials import credentials_of
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World

VOICE = (NAMESPACE, "voice")
NOT_A_FILE = manifests.secret("x", **{"keys.yaml": "[not, a, table]"})["data"]
NOT_UNDERSTOOD = {"spec": {"replicas": "many"}}


def counting(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Return what a function is called with from now on."""
    calls: list[Any] = []
    real: Callable[..., Any] = getattr(module, name)

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, name, counted)
    return calls


def of_another_process(world: World) -> None:
    """Forget what passes know of keys, as a process does that has just started or that follows."""
    world.context.key_states.clear()
    world.context.stored_keys.clear()
    world.context.credentials.clear()


def change_keys(world: World, data: dict[str, str | None]) -> None:
    world.kubernetes.edit("Secret", NAMESPACE, "voice-livekit-keys", {"data": data})


async def test_the_keys_of_a_server_that_is_not_understood_any_more_stay_known(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", NOT_UNDERSTOOD, checked=False)
    known = credentials_of(world.context, VOICE)
    assert known is not None
    assert known.keys.api_key == world.context.key_states[VOICE][1].in_use.id


async def test_the_keys_of_a_former_server_are_not_those_of_one_that_is_not_understood(world: World) -> None:
    server = await world.with_server()
    assert credentials_of(world.context, VOICE) is not None
    other: Manifest = {**server, **NOT_UNDERSTOOD, "metadata": {**server["metadata"], "uid": "another"}}
    world.context.resources["LiveKitServer"].doubt()
    world.context.resources["LiveKitServer"].put(other)
    assert credentials_of(world.context, VOICE) is None


async def test_keys_that_cannot_be_read_are_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.with_server()
    before = world.get("Secret", "voice-livekit-keys")["data"]
    of_another_process(world)
    change_keys(world, NOT_A_FILE)
    reads = counting(monkeypatch, credentials, "read_stored_keys")
    assert [credentials_of(world.context, VOICE) for _ in range(3)] == [None, None, None]
    assert len(reads) == 1
    change_keys(world, before)
    assert credentials_of(world.context, VOICE) is not None


async def test_a_server_that_is_not_understood_is_parsed_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.kubernetes.put(manifests.server())
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", NOT_UNDERSTOOD, checked=False)
    parses = counting(monkeypatch, references, "parse")
    assert [credentials_of(world.context, VOICE) for _ in range(3)] == [None, None, None]
    assert len(parses) == 1
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 1}})
    await world.settle()
    assert credentials_of(world.context, VOICE) is not None


async def test_keys_that_servers_refuse_reach_no_pool_after_a_start(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    of_another_process(world)
    change_keys(world, {"keys.yaml": None, **manifests.secret("x", apiKey="APIx", apiSecret="short")["data"]})
    world.forget()
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.written() == []
    assert credentials_of(world.context, VOICE) is None
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "KeysInvalid")
    assert world.message("LiveKitServer", "voice") == (
        "apiSecret in Secret voice-livekit-keys is shorter than 32 characters: take a longer one."
    )


async def test_keys_without_a_file_that_servers_take_are_used_after_a_start(world: World) -> None:
    await world.with_server()
    before = credentials_of(world.context, VOICE)
    of_another_process(world)
    change_keys(world, {"keys.yaml": None})
    assert credentials_of(world.context, VOICE) == before
