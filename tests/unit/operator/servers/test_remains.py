"""What is told of a server's pods while its namespace ends."""

import pytest

from livekit_operator.errors import NamespaceTerminating
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


@pytest.mark.parametrize("kind", ["Pod", "Service", "Secret"])
async def test_what_is_left_of_a_server_is_counted_while_its_namespace_ends(world: World, kind: str) -> None:
    await world.with_server()
    for verb in ("create", "apply"):
        world.kubernetes.fail(verb, kind, NamespaceTerminating(403, "Forbidden", "m"))
    for gone in {"Service": "voice-livekit", "Secret": "voice-livekit-keys"}.items():
        if gone[0] == kind:
            world.kubernetes.vanish(kind, NAMESPACE, gone[1])
    world.context.key_states.clear()  # the operator has started anew

    def told() -> list[int]:
        status = world.get("LiveKitServer", "voice")["status"]
        return [status[name] for name in ("replicas", "readyReplicas", "updatedReplicas", "drainingReplicas")]

    world.kubernetes.ask_to_delete("Pod", NAMESPACE, "voice-livekit-0")
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "NamespaceTerminating")
    assert told() == [0, 0, 0, 1]
    assert [line["state"] for line in world.get("LiveKitServer", "voice")["status"]["servers"]] == ["Draining"]
    world.kubernetes.vanish("Pod", NAMESPACE, "voice-livekit-0")
    await world.reconcile("LiveKitServer", "voice")
    assert told() == [0, 0, 0, 0]
    assert not {"rooms", "participants"} & world.get("LiveKitServer", "voice")["status"].keys()


async def test_pods_that_a_former_server_left_are_counted_too(world: World) -> None:
    await world.with_server()
    world.kubernetes.ask_to_orphan("LiveKitServer", NAMESPACE, "voice")
    world.kubernetes.orphan_children("LiveKitServer", NAMESPACE, "voice")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"metadata": {"finalizers": None}})
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-livekit-keys")
    world.kubernetes.fail("apply", "Secret", NamespaceTerminating(403, "Forbidden", "m"))
    world.kubernetes.put(manifests.server())
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "NamespaceTerminating")
    (line,) = world.get("LiveKitServer", "voice")["status"]["servers"]
    assert line["name"] == "voice-livekit-0"
