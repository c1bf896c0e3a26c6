"""A namespace that is deleted as a whole goes, with servers and rooms in it, whatever goes first."""

import time

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import ROOM, meeting, node_ports, server
from tests.harness.resources import SERVER

# An hour, as where nothing is said of it.
_DRAINS = {"drainTimeoutSeconds": 3600}


@pytest.mark.timeout(180)
async def test_a_namespace_goes_with_all_that_is_in_it(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports(redis={"managed": {}})), meeting())
    # One that never had keys to begin with.
    await story.kubectl.apply(server("keyless", **node_ports(keysSecretRef={"name": "no-such-secret"})))
    await story.ready("livekitserver", SERVER)
    await story.reason("livekitserver", "keyless", "SecretNotFound")
    await story.kubectl("delete", "namespace", story.kubectl.namespace, "--wait", "--timeout", "90s")


@pytest.mark.timeout(180)
async def test_an_empty_server_waits_for_nothing_however_long_it_may_drain(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports(redis={"managed": {}}, **_DRAINS)), meeting())
    await story.ready("livekitserver", SERVER)
    await story.ready("meetingroom", ROOM)
    began = time.monotonic()
    await story.kubectl("delete", "namespace", story.kubectl.namespace, "--wait=false")
    await story.reason("livekitserver", SERVER, "NamespaceTerminating")
    await story.kubectl("wait", "namespace", story.kubectl.namespace, "--for", "delete", "--timeout", "60s")
    print(f"gone after {time.monotonic() - began:.1f} s")
