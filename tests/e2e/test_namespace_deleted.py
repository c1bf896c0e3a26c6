"""A namespace that is deleted as a whole goes, with servers and rooms in it, whatever goes first."""

import re
import time

import pytest

from tests.e2e.conftest import Story
from tests.e2e.servers import ROOM, meeting, node_ports, parties, server
from tests.harness.kubectl import until
from tests.harness.resources import SERVER
from tests.media import Talk

_REDIS = "app.kubernetes.io/component=redis"
# How often Redis' pod asks twice a second, which is longer than it waits where nobody leaves.
_LONG = 40
# An hour, as where nothing is said of it.
_DRAINS = {"drainTimeoutSeconds": 3600}


@pytest.mark.timeout(180)
async def test_an_empty_server_waits_for_nothing_however_long_it_may_drain(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports(redis={"managed": {}}, **_DRAINS)), meeting())
    # One that never had keys to begin with.
    await story.kubectl.apply(server("keyless", **node_ports(keysSecretRef={"name": "no-such-secret"})))
    await story.ready("livekitserver", SERVER)
    await story.ready("meetingroom", ROOM)
    await story.reason("livekitserver", "keyless", "SecretNotFound")
    began = time.monotonic()
    await story.kubectl("delete", "namespace", story.kubectl.namespace, "--wait=false")
    await story.reason("livekitserver", SERVER, "NamespaceTerminating")
    # Without its Redis the server would take minutes.
    await until("all pods to be gone", lambda: _no_pods(story), seconds=45)
    print(f"pods gone after {time.monotonic() - began:.1f} s")
    await _look_again(story)
    print(f"gone after {time.monotonic() - began:.1f} s")


@pytest.mark.timeout(240)
async def test_redis_stays_with_a_call_in_a_namespace_that_is_deleted(story: Story) -> None:
    await story.kubectl.apply(server(**node_ports(redis={"managed": {}}, **_DRAINS)), meeting())
    await story.ready("livekitserver", SERVER)
    async with Talk(*await parties(story)) as talk:
        await talk.both_hear()
        await story.kubectl("delete", "namespace", story.kubectl.namespace, "--wait=false")
        await story.reason("livekitserver", SERVER, "NamespaceTerminating")
        await until("Redis to wait on", lambda: _has_asked(story, _LONG), seconds=90, every=1)
        await talk.both_hear()
        heard = await talk.look()
        assert [side.disconnected for side in heard] == [(), ()]
        assert [pod["status"]["phase"] for pod in await story.kubectl.find("pods", _REDIS)] == ["Running"]
    left = time.monotonic()
    await until("all pods to be gone", lambda: _no_pods(story), seconds=40)
    print(f"pods gone {time.monotonic() - left:.1f} s after the call")
    await _look_again(story)


# What the hook of Redis does, once more: the password is in no argument.
_STATISTICS = "{ sed -n 's/^requirepass/auth/p' /etc/redis/redis.conf; echo info commandstats; } | redis-cli"


async def _has_asked(story: Story, times: int) -> bool:
    """Return whether Redis' pod has asked itself so often who is there."""
    said = await story.kubectl("exec", f"deployment/{SERVER}-redis", "--", "sh", "-c", _STATISTICS)
    found = re.search(r"^cmdstat_eval:calls=([0-9]+)", said, re.MULTILINE)
    return found is not None and int(found[1]) > times


async def _look_again(story: Story) -> None:
    """Have Kubernetes look whether the pods are gone, and wait until their namespace is.

    It looks by itself ten seconds after the deletion, too early on a busy machine, and then after half an hour.
    """
    await story.kubectl("annotate", "namespace", story.kubectl.namespace, "look=again")
    await story.kubectl("wait", "namespace", story.kubectl.namespace, "--for", "delete", "--timeout", "60s")


async def _no_pods(story: Story) -> bool:
    return not await story.kubectl.find("pods")
