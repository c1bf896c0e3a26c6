"""A server as those that refer to it find it: what they wait for, and what they need not wait for."""

from contextlib import suppress

from livekit_operator.errors import KubernetesError
from livekit_operator.servers import memory as servers_memory
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE
from tests.fakes.world import World


async def test_pools_wait_for_the_service_of_a_server(world: World) -> None:
    world.kubernetes.put(manifests.server())
    refused = KubernetesError(403, "Forbidden", "exceeded quota")
    for verb in ("apply", "create"):
        world.kubernetes.fail(verb, "Service", refused)
    with suppress(KubernetesError):
        await world.reconcile("LiveKitServer", "voice")
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert world.agent_pods() == []
    assert world.ready("VoiceAgentPool", "front-desk") == ("False", "ServerNotReady")
    world.kubernetes.heal()
    await world.reconcile("LiveKitServer", "voice")
    assert ("VoiceAgentPool", (NAMESPACE, "front-desk")) in world.woken
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert len(world.agent_pods()) == 1


async def test_a_pool_of_a_server_that_was_made_need_not_wait_for_its_pass(world: World) -> None:
    await world.with_server()
    await servers_memory.close(world.context)  # as after a start of the operator
    world.kubernetes.put(manifests.providers_secret())
    world.kubernetes.put(manifests.pool())
    await world.reconcile("VoiceAgentPool", "front-desk")
    assert len(world.agent_pods()) == 1
