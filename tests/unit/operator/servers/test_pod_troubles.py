"""Why a server does not start or ends again and again, in the words of those who know."""

from typing import Any

import pytest

from livekit_operator import reasons
from livekit_operator.errors import KubernetesError
from livekit_operator.servers.memory import PodMemory
from livekit_operator.servers.pod_troubles import explain, has_ended, last_line, last_words, start_trouble
from tests.fakes import manifests
from tests.fakes.manifests import NAMESPACE, Manifest
from tests.fakes.world import World


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("unable to connect to redis: dial tcp 10.0.0.9:6379: connect: connection refused", "RedisUnreachable"),
        ("unable to connect to redis: WRONGPASS invalid username-password pair", "RedisUnreachable"),
        ("listen tcp :7880: bind: address already in use", "PortConflict"),
        (
            "could not parse config: yaml: unmarshal errors:\n  line 1: field x not found in type Config",
            "ConfigRejected",
        ),
        ("key file others permissions must be set to 0", "KeysInvalid"),
        ("TURN tls cert required: tls: private key does not match public key", "TurnRejected"),
        ("Segmentation fault", "PodFailing"),
    ],
)
async def test_why_a_server_does_not_start_is_said_in_its_own_words(world: World, output: str, reason: str) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.crash_server(output)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", reason)
    if reason != "PodFailing":
        assert output.splitlines()[-1].strip() in world.message("LiveKitServer", "voice")
    world.run_server_pod(world.server_pods()[0])
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("could not register node: READONLY You can't write against a read only replica.", "RedisRefused"),
        ("NOPERM User lk has no permissions to run the 'hset' command", "RedisRefused"),
        ("unable to connect to redis: WRONGPASS invalid username-password pair", "RedisUnreachable"),
        ("listen udp4 0.0.0.0:443: bind: permission denied", "PortForbidden"),
        ("could not listen on TURN TCP port: listen tcp4 0.0.0.0:443: bind: permission denied", "PortForbidden"),
    ],
)
async def test_what_a_server_ends_with_names_what_to_do(world: World, output: str, reason: str) -> None:
    world.kubernetes.put(manifests.server(redis={"address": "redis.example.com:6379"}))
    await world.settle()
    world.crash_server(output)
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", reason)
    assert output.rstrip(".") in world.message("LiveKitServer", "voice")
    assert "spec." in world.message("LiveKitServer", "voice") or "ACL SETUSER" in world.message(
        "LiveKitServer", "voice"
    )


POD = "voice-livekit-0"
SIDECAR: Manifest = {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such proxy"}}}


def pod(*statuses: Manifest, **status: Any) -> Manifest:
    """Return a server's pod with the statuses of its containers."""
    return {
        "metadata": {"name": POD, "namespace": NAMESPACE},
        "status": {"containerStatuses": list(statuses), **status},
    }


def own(restarts: int = 0, **state: Manifest) -> Manifest:
    """Return the status of a server's own container."""
    return {"name": "livekit-server", "restartCount": restarts, "state": state}


def waits(reason: str, message: str = "") -> Manifest:
    return {"waiting": {"reason": reason, "message": message}}


def unscheduled(message: str | None) -> Manifest:
    return {"type": "PodScheduled", "status": "False", **({"message": message} if message else {})}


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        pytest.param(
            pod(own(**waits("ErrImagePull", "not found."))),
            reasons.IMAGE_NOT_FOUND,
            f"Pod {POD}: ErrImagePull: not found. Check spec.version, spec.image and "
            "spec.podTemplate.imagePullSecrets.",
            id="no image",
        ),
        pytest.param(
            pod(own(**waits("CreateContainerConfigError", 'secret "x" not found'))),
            reasons.POD_FAILING,
            f'Pod {POD}: CreateContainerConfigError: secret "x" not found. Create it, or name another one in the spec.',
            id="what it is made of is not there",
        ),
        pytest.param(
            pod(own(**waits("CrashLoopBackOff", "back-off 5m0s"))),
            reasons.POD_FAILING,
            f"Pod {POD} ends again and again: see its log.",
            id="it ends again and again",
        ),
        pytest.param(
            pod(own(terminated={"exitCode": 1})), reasons.POD_FAILING, f"Pod {POD} has ended: see its log.", id="ended"
        ),
        pytest.param(
            pod(own(1, running={})), reasons.POD_FAILING, f"Pod {POD} has ended: see its log.", id="and came back"
        ),
        pytest.param(
            pod(own(**waits("ContainerCreating")), SIDECAR),
            reasons.IMAGE_NOT_FOUND,
            f"Pod {POD}, container proxy: ImagePullBackOff: no such proxy. See `kubectl describe pod {POD}`.",
            id="a sidecar has no image, which no field of the spec is about",
        ),
        pytest.param(
            pod(own(terminated={"exitCode": 1}), SIDECAR),
            reasons.POD_FAILING,
            f"Pod {POD} has ended: see its log.",
            id="its own end comes before a sidecar",
        ),
    ],
)
def test_why_a_pod_does_not_start(found: Manifest, reason: str, message: str) -> None:
    problem = start_trouble(found)
    assert problem is not None
    assert (problem.reason, problem.message) == (reason, message)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("0/2 nodes are available. ", f"Pod {POD}: 0/2 nodes are available. Make room"),
        (None, f"Pod {POD}: . Make room"),
    ],
)
def test_a_pod_without_a_node_is_told_in_the_schedulers_words(message: str | None, words: str) -> None:
    problem = start_trouble(pod(conditions=[unscheduled(message)]))
    assert problem is not None
    assert problem.reason == reasons.UNSCHEDULABLE
    assert problem.message.startswith(words)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param({"metadata": {"name": POD}}, id="nothing is known"),
        pytest.param(pod(own(**waits("ContainerCreating"))), id="it is being made"),
        pytest.param(pod(own(running={})), id="it runs"),
        pytest.param(pod(conditions=[{"type": "PodScheduled", "status": "True"}]), id="it has a node"),
    ],
)
def test_a_pod_that_is_on_its_way_has_no_trouble(found: Manifest) -> None:
    assert start_trouble(found) is None
    assert not has_ended(found)


@pytest.mark.parametrize(
    ("output", "last"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("could not parse config: yaml: unmarshal errors:\n  line 1: field x not found\n",
         "could not parse config: yaml: unmarshal errors: line 1: field x not found"),
        ("panic: no\ngoroutine 1 [running]:\nmain.main()\nruntime.main()\ngithub.com/livekit/x()\n", "panic: no"),
        ("only this:", "only this:"),
        (f"{'x' * 1000}", f"{'x' * 299}…"),
    ],
)  # fmt: skip
def test_the_last_line_that_says_something(output: str, last: str) -> None:
    assert last_line(output) == last


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("one of key-file or keys must be provided", reasons.KEYS_INVALID),
        ("could not validate port range", reasons.CONFIG_REJECTED),
        ("unable to connect to Redis: i/o timeout", reasons.REDIS_UNREACHABLE),
        ("NOAUTH Authentication required.", reasons.REDIS_UNREACHABLE),
        ("the port 443 needs permission denied", None),
        ("goodbye", None),
        ("", None),
    ],
)
def test_what_last_words_mean(output: str, reason: str | None) -> None:
    problem = explain(output)
    assert (problem.reason if problem else None) == reason


async def test_last_words_are_read_once_for_each_end(world: World) -> None:
    memory = PodMemory()
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.kubernetes.logs[POD] = "key file others permissions must be set to 0"
    ended, again = pod(own(1, **waits("CrashLoopBackOff"))), pod(own(2, running={}))
    for found in (ended, ended, again, again):
        problem = await last_words(world.context, found, memory)
        assert problem is not None
        assert problem.reason == reasons.KEYS_INVALID
    reads = [read for read in world.kubernetes.reads if read.startswith("log ")]
    assert len(reads) == 2
    assert ["of before" in read for read in reads] == [False, True], "one that runs again has said it before"


async def test_words_that_cannot_be_read_are_read_at_the_next_pass(world: World) -> None:
    memory, ended = PodMemory(), pod(own(1, **waits("CrashLoopBackOff")))
    world.kubernetes.put(manifests.server())
    await world.settle()
    world.kubernetes.logs[POD] = "key file others permissions must be set to 0"
    world.kubernetes.fail("log", "Pod", KubernetesError(500, "InternalError", "etcd"), once=True)
    assert await last_words(world.context, ended, memory) is None
    assert await last_words(world.context, ended, memory) is not None
