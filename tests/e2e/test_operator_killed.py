"""The operator is killed while it makes rooms: afterwards each exists once, with one Secret."""

import pytest

from tests.e2e.conftest import Story
from tests.harness.kubectl import is_ready, until
from tests.harness.processes import sigkill
from tests.harness.resources import SERVER, quickstart, room

COUNT = 20
OPERATOR = "app.kubernetes.io/name=livekit-operator"


@pytest.mark.timeout(240)
async def test_no_room_is_lost_or_doubled(story: Story) -> None:
    server, _, _ = quickstart()
    await story.kubectl.apply(server)
    await story.ready("livekitserver", SERVER)
    names = [f"room-{number:02}" for number in range(COUNT)]
    (pod,) = await story.platform.operator.find("pods", OPERATOR)
    restarts = _restarts(pod)

    await story.kubectl.apply(*(room(name, "alice") for name in names))
    await until("some rooms to be made", lambda: _some_ready(story), seconds=30, every=0.02)
    await sigkill(story.platform.operator, pod)

    async def restarted() -> bool:
        pods = await story.platform.operator.find("pods", OPERATOR)
        return any(p["metadata"]["uid"] != pod["metadata"]["uid"] or _restarts(p) > restarts for p in pods)

    await until("the operator to start again", restarted, seconds=60)
    manifests = await story.ready("meetingroom", *names, seconds=60)
    assert await (await story.rooms()).names() == names
    secrets = [m["metadata"]["name"] for m in await story.kubectl.find("secrets", "app.kubernetes.io/component=room")]
    assert sorted(secrets) == [f"{name}-alice" for name in names]
    assert len({manifest["status"]["sid"] for manifest in manifests}) == COUNT


async def _some_ready(story: Story) -> bool:
    return any(is_ready(manifest) for manifest in await story.kubectl.find("meetingroom"))


def _restarts(pod: dict[str, dict[str, list[dict[str, int]]]]) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses") or ())
