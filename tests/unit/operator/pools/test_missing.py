"""What a pool's pods refer to and is not there is named, with what to do."""

from typing import Any

import pytest

from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.pods import observe_pods
from tests.fakes import manifests
from tests.fakes.world import World
from tests.unit.operator.pools.test_pods import a_manifest

REASON = "CreateContainerConfigError"
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
NO_CLAIM = '0/2 nodes: persistentvolumeclaim "models" not found.'


def waits(name: str, words: str) -> list[dict[str, Any]]:
    return [{"name": name, "state": {"waiting": {"reason": REASON, "message": words}}}]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"containerStatuses": waits("agent", 'secret "keys" not found')}, f'{REASON}: secret "keys" not found'),
        (
            {"initContainerStatuses": waits("models", 'configmap "settings" not found')},
            f'container models: {REASON}: configmap "settings" not found',
        ),
        ({"conditions": [{**NO_NODE, "message": NO_CLAIM}]}, f"Unschedulable: {NO_CLAIM[:-1]}"),
    ],
)
async def test_what_is_missing_is_named(status: dict[str, Any], told: str) -> None:
    world = World()
    pool = VoiceAgentPool.model_validate(world.kubernetes.put(manifests.pool()))
    world.kubernetes.put(a_manifest(pool, status=status))
    [found] = (await observe_pods(world.context, pool, PoolMemory())).every
    assert found.trouble is not None
    assert f"{told}. Create it, or name another one in the spec." in found.trouble
