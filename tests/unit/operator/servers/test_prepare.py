"""What is made before a server is observed."""

from typing import Any

import pytest

from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import KubernetesError
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World
from tests.unit.operator.servers.replicas import started


@pytest.mark.parametrize("redis", [None, {"managed": {}}], ids=["without Redis", "with a managed Redis"])
async def test_a_refused_account_is_asked_for_once_a_pass_and_nothing_runs_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch, redis: dict[str, Any] | None
) -> None:
    tried: list[str] = []
    spec: dict[str, Any] = {"redis": redis} if redis else {}
    apply = world.kubernetes.apply

    async def applied(manifest: Manifest) -> Manifest:
        tried.append(manifest["kind"])
        if manifest["kind"] == "ServiceAccount":
            raise KubernetesError(403, "Forbidden", "exceeded quota")
        return await apply(manifest)

    with monkeypatch.context() as patched:
        patched.setattr(world.kubernetes, "apply", applied)
        world.kubernetes.put(manifests.server(**spec))
        for _ in range(2):
            tried.clear()
            await world.reconcile("LiveKitServer", "voice")
            assert tried.count("ServiceAccount") == 1
    assert world.ready("LiveKitServer", "voice") == ("False", "KubernetesRefused")
    assert world.kubernetes.names("Deployment") == []
    assert world.server_pods() == []
    await world.settle()
    assert world.get("ServiceAccount", "voice-livekit", NAMESPACE)
    assert len(world.kubernetes.names("Deployment")) == bool(redis)
    assert len(world.server_pods()) == 1


async def test_a_managed_redis_that_is_refused_stops_nothing_else(world: World) -> None:
    world.kubernetes.fail("apply", "Deployment", KubernetesError(403, "Forbidden", "exceeded quota: deployments"))
    world.kubernetes.put(manifests.server(redis={"managed": {}}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "KubernetesRefused")
    assert "exceeded quota: deployments" in world.message("LiveKitServer", "voice")
    assert world.get("Service", "voice-livekit")


async def test_a_server_runs_under_no_account_of_somebody_else(world: World) -> None:
    """With its name a server's writer would choose any account of the namespace, and run an image with its rights."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "voice-livekit", "namespace": NAMESPACE},
    }
    world.kubernetes.put(account)
    await started(world)
    assert world.server_pods() == []
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert "ServiceAccount team/voice-livekit" in world.message("LiveKitServer", "voice")
    world.kubernetes.vanish("ServiceAccount", NAMESPACE, "voice-livekit")
    await world.settle()
    assert len(world.server_pods()) == 1


async def test_a_server_under_its_own_account_goes_on_while_that_cannot_be_changed(world: World) -> None:
    await started(world)
    world.kubernetes.edit("ServiceAccount", NAMESPACE, "voice-livekit", {"automountServiceAccountToken": True})
    world.kubernetes.fail("apply", "ServiceAccount", KubernetesError(403, "Forbidden", "exceeded quota"))
    world.kubernetes.vanish("Pod", NAMESPACE, "voice-livekit-0")
    await world.settle()
    assert len(world.server_pods()) == 1
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "KubernetesRefused")


async def test_while_the_account_is_refused_nothing_is_checked_and_nothing_hurries(world: World) -> None:
    await world.with_server()
    for verb in ("apply", "create"):
        world.kubernetes.fail(verb, "ServiceAccount", KubernetesError(403, "Forbidden", "exceeded quota"))
    world.kubernetes.vanish("ServiceAccount", NAMESPACE, "voice-livekit")
    before = world.server_pods()
    changed = {"spec": {"podTemplate": {"nodeSelector": {"disk": "ssd"}}}}
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", changed)
    again = [await world.reconcile("LiveKitServer", "voice") for _ in range(3)]
    assert again == [world.context.settings.server_poll_seconds] * 3
    assert world.server_pods() == before
    assert not [name for name in world.kubernetes.names("Pod") if "-check-" in name]
    assert world.condition("LiveKitServer", "voice", "Degraded") == ("True", "KubernetesRefused")
    world.kubernetes.heal()
    await world.reconcile("LiveKitServer", "voice")
    assert [name for name in world.kubernetes.names("Pod") if "-check-" in name]
