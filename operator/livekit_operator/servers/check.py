"""The short-lived pod in which livekit-server reads a new configuration before any server is replaced."""

from dataclasses import replace
from datetime import timedelta

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import LABEL_REVISION
from livekit_operator.containers import container_status
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, Conflict, KubernetesError, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER_CHECK
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling import children
from livekit_operator.reconciling.braking import allow_pods, note_failed
from livekit_operator.reconciling.hanging_pods import why_it_hangs
from livekit_operator.servers.context import Context
from livekit_operator.servers.manifests.pod import CONTAINER, ServerInputs, build_check_pod, check_passed, revision
from livekit_operator.servers.memory import Checked
from livekit_operator.servers.pod_troubles import explain, hanging_trouble, last_line, not_taken, start_trouble
from livekit_operator.servers.pods import pods_of

# How soon a check that failed is repeated: Redis may have been down for a moment.
_CHECK_AGAIN_AFTER = timedelta(seconds=30)
_CHECK_RETRY_SECONDS = 1.0


async def check(context: Context, server: LiveKitServer, inputs: ServerInputs) -> float | None:
    """Have livekit-server itself read a new configuration before any server is replaced.

    Returns None when the rollout may go on, else in how many seconds to look again; raises Blocked when it must not.
    """
    wanted = revision(server, inputs)
    pod = await _find(context, server, wanted)
    if pod is None:
        passed = context.checked.get(server.key)
        if passed and passed.revision == wanted and check_passed(passed.output):
            return None  # its pod was deleted because another container in it was still running
        if allow_pods(context, server, COMPONENT_SERVER_CHECK, (), 1, wanted=1):
            await _start_check(context, server, inputs)
        return _CHECK_RETRY_SECONDS
    ended = "terminated" in (container_status(pod, CONTAINER).get("state") or {})
    finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if not ended and not finished:
        if trouble := start_trouble(pod):
            raise Blocked(trouble)
        if hangs := await why_it_hangs(context, [pod]):
            raise Blocked(hanging_trouble(*hangs))
        return _CHECK_RETRY_SECONDS
    output = await _read_output(context, server, pod, wanted)
    if check_passed(output):
        if not finished:
            # An injected container may never end.
            await children.remove(context, "Pod", pod, grace_seconds=0)
        return None
    began = parse_timestamp(pod["metadata"]["creationTimestamp"])
    if not output.strip() or context.now() - began >= _CHECK_AGAIN_AFTER:
        # There was no output, or the fault may have been fixed outside the spec.
        await children.remove(context, "Pod", pod, grace_seconds=0)
    if not output.strip():
        note_failed(context, server, COMPONENT_SERVER_CHECK, pod)
        return _CHECK_RETRY_SECONDS
    refused = explain(output) or Problem(reasons.CONFIG_REJECTED, not_taken(last_line(output)))
    raise Blocked(replace(refused, retry_after=_CHECK_AGAIN_AFTER.total_seconds()))


async def _find(context: Context, server: LiveKitServer, wanted: str) -> Manifest | None:
    """Return the pod that checks the configuration of a revision, and remove those of others."""
    found = []
    for pod in _checks(context, server):
        if pod["metadata"]["labels"].get(LABEL_REVISION) == wanted:
            found.append(pod)
        else:
            await children.remove(context, "Pod", pod, grace_seconds=0)
    return found[0] if found else None


async def _read_output(context: Context, server: LiveKitServer, pod: Manifest, wanted: str) -> str:
    """Return what a pod that has ended said, which is asked for once."""
    known = context.checked.get(server.key)
    if known is None or known.pod != pod["metadata"]["uid"]:
        try:
            output = await context.kubernetes.log(server.metadata.namespace, pod["metadata"]["name"], CONTAINER)
        except KubernetesError:
            output = ""  # it was evicted before it started, or its node is gone
        known = context.checked[server.key] = Checked(pod["metadata"]["uid"], wanted, output)
    return known.output


async def end_check(context: Context, server: LiveKitServer) -> None:
    """Delete pods that checked a configuration: it is in use, or no longer wanted."""
    for pod in _checks(context, server):
        await children.remove(context, "Pod", pod, grace_seconds=0)
    context.checked.pop(server.key, None)


async def _start_check(context: Context, server: LiveKitServer, inputs: ServerInputs) -> None:
    """Create the pod: a small one or, if that is refused, one of a server's size, which the namespace must accept."""
    for small in (True, False):
        pod = build_check_pod(server, inputs, small=small)
        try:
            await children.make_pod(context, server, COMPONENT_SERVER_CHECK, pod)
        except Conflict:
            return  # the one before is still going
        except Blocked:
            if not small:
                raise
        else:
            return


def _checks(context: Context, server: LiveKitServer) -> list[Manifest]:
    pods = pods_of(context, server, COMPONENT_SERVER_CHECK)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
