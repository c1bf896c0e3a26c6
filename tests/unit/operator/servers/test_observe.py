"""What a pass finds of a server, and that what is wrong with it changes nothing of what runs."""

from typing import Any

import pytest

from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, condition
from tests.fakes.world import World

PASSWORD = "hunter-2-of-turn"


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        pytest.param(
            {"extraConfig": {"rtc": {"udp_port": 7882}}},
            "ConfigRejected",
            ("rtc.udp_port", "spec.media.udp.muxPorts"),
            id="what a field is for",
        ),
        pytest.param(
            {"extraConfig": {"rtc": {"turn_servers": [{"host": "a.example", "credential": PASSWORD}]}}},
            "ConfigRejected",
            ("extraConfig.rtc.turn_servers[0].credential", "no secrets"),
            id="a secret",
        ),
        pytest.param(
            {"podTemplate": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}},
            "PodTemplateRejected",
            ("hostPath",),
            id="a volume of the host",
        ),
        pytest.param(
            {"keysSecretRef": {"name": "no-such-secret"}},
            "SecretNotFound",
            ("no-such-secret", "spec.keysSecretRef"),
            id="keys that are not there",
        ),
    ],
)
async def test_what_is_wrong_before_any_check_is_named_and_changes_no_server(
    world: World, change: dict[str, Any], reason: str, words: tuple[str, ...]
) -> None:
    await world.with_server()
    before = world.server_pods()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": change})
    await world.settle()
    told = condition(world.get("LiveKitServer", "voice"), "Degraded")
    assert (told["status"], told["reason"]) == ("True", reason)
    assert all(word in told["message"] for word in words), told
    assert PASSWORD not in told["message"]
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": dict.fromkeys(change)})
    world.clock.advance(30)
    await world.settle()
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("False", "AsExpected")
    assert world.condition("LiveKitServer", "voice", "Progressing") == ("False", "UpToDate")
    assert world.server_pods() == before


async def test_a_server_that_runs_is_not_told_of_another_on_its_ports(world: World) -> None:
    for zone in ("a", "b"):
        metadata = {"name": f"node-{zone}", "labels": {"zone": zone}}
        world.kubernetes.put({"kind": "Node", "metadata": metadata, "spec": {}})
    for name, zone in (("voice", "a"), ("video", "b")):
        world.kubernetes.put(manifests.server(name, podTemplate={"nodeSelector": {"zone": zone}}))
        await world.settle()
        for pod in world.server_pods(name):
            world.run_server_pod(pod, node=f"node-{zone}")
        world.clock.advance(1)
    await world.settle()
    moved = {"spec": {"podTemplate": {"nodeSelector": {"zone": "a"}}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "video", moved)
    await world.settle()
    assert world.ready("LiveKitServer", "video") == ("True", "Ready")
    assert world.condition("LiveKitServer", "video", "Degraded") == ("False", "AsExpected")
    world.stop_server("video")
    await world.reconcile("LiveKitServer", "video")
    assert world.condition("LiveKitServer", "video", "Degraded") == ("True", "PortConflict")


async def test_what_redis_says_comes_before_what_else_is_wrong(world: World) -> None:
    there: dict[str, Any] = {"redis": {"address": "redis:6379"}, "media": {"exposure": "NodePort"}}
    world.kubernetes.put(manifests.server(**there))
    world.clock.advance(1)
    world.kubernetes.put(manifests.server("video", keysSecretRef={"name": "my-keys"}, **there))
    world.kubernetes.put(manifests.keys_secret())
    await world.settle()
    wrong = {"spec": {"extraConfig": {"rtc": {"udp_port": 7882}}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "video", wrong)
    await world.settle()
    assert world.ready("LiveKitServer", "video") == ("False", "RedisShared")
