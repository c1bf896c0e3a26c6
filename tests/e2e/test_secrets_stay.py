"""No secret leaves its Secret: not into a manifest, a status, an Event or a log."""

import pytest

from tests.caller.call import place_call
from tests.e2e.conftest import Story
from tests.harness.install import TEST_KEYS
from tests.harness.resources import POOL, QUICKSTART, ROOM, SERVER

# A conversation of real sound, and the quickstart's server has the host ports that everybody's has.
pytestmark = pytest.mark.alone

KINDS = "pods,configmaps,deployments,replicasets,services,events,livekitservers,voiceagentpools,meetingrooms"


@pytest.mark.timeout(240)
async def test_no_secret_is_seen_outside_its_secret(story: Story) -> None:
    await story.kubectl("apply", "--filename", str(QUICKSTART))
    await story.ready("voiceagentpool", POOL)
    await story.ready("meetingroom", ROOM)
    token_secret = await story.kubectl.secret(f"{ROOM}-alice")
    await place_call(token_secret)

    keys = await story.kubectl.secret(f"{SERVER}-livekit-keys")
    secrets = {"token": token_secret["token"], "API key": keys["apiKey"], "API secret": keys["apiSecret"], **TEST_KEYS}
    places = {
        "a manifest, a status or an Event": await story.kubectl("get", KINDS, "--output", "yaml"),
        "the server's log": await _log(story, "app.kubernetes.io/component=server"),
        "the agent's log": await _log(story, "app.kubernetes.io/component=agent"),
        "the operator's log": await story.platform.operator(
            "logs", "--selector", "app.kubernetes.io/name=livekit-operator", "--tail", "-1"
        ),
    }
    assert all(places.values()), f"nothing to search in: {[name for name, text in places.items() if not text]}"
    seen = [(what, where) for what, value in secrets.items() for where, text in places.items() if value in text]
    # livekit-server logs the key's id when it assigns a job (pkg/service/agentservice.go); the id alone opens nothing.
    assert [found for found in seen if found != ("API key", "the server's log")] == []


async def _log(story: Story, selector: str) -> str:
    return await story.kubectl("logs", "--selector", selector, "--tail", "-1")
