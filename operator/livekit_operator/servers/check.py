"""The short-lived pods in which livekit-server reads a new configuration: what they say, made and deleted."""

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import LABEL_REVISION
from livekit_operator.containers import container_status
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import Blocked, Conflict, KubernetesError, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER_CHECK
from livekit_operator.moments import parse_timestamp
from livekit_operator.reconciling import children
from livekit_operator.reconciling.braking import note_failed, observe_pods, report_held
from livekit_operator.reconciling.hanging_pods import why_it_hangs
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.configuration_check import Check, CheckPlan, CheckPod
from livekit_operator.servers.manifests.pod import CONTAINER, ServerInputs, build_check_pod, check_passed, revision
from livekit_operator.servers.memory import Checked
from livekit_operator.servers.pod_troubles import explain, hanging_trouble, last_line, not_taken, start_trouble
from livekit_operator.servers.pods import pods_of


async def observe_check(context: Context, server: LiveKitServer, inputs: ServerInputs | None) -> Check:
    """Return what is known of the check of a configuration; without inputs none is wanted."""
    wanted = revision(server, inputs) if inputs else None
    pods = [await _observe_pod(context, server, pod, wanted) for pod in _checks(context, server)]
    last = context.checked.get(server.key)
    accepted = last is not None and last.revision == wanted and check_passed(last.output)
    return Check(pods, accepted, observe_pods(context, server, COMPONENT_SERVER_CHECK, ()))


async def _observe_pod(context: Context, server: LiveKitServer, pod: Manifest, wanted: str | None) -> CheckPod:
    metadata = pod["metadata"]
    name, created = metadata["name"], parse_timestamp(metadata["creationTimestamp"])
    if wanted is None or metadata["labels"].get(LABEL_REVISION) != wanted:
        return CheckPod(name, created, wanted=False)
    ended = "terminated" in (container_status(pod, CONTAINER).get("state") or {})
    finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if not ended and not finished:
        trouble = start_trouble(pod)
        if trouble is None and (hangs := await why_it_hangs(context, [pod])):
            trouble = hanging_trouble(*hangs)
        return CheckPod(name, created, wanted=True, problem=trouble)
    output = await _read_output(context, server, pod, wanted)
    if check_passed(output):
        return CheckPod(name, created, wanted=True, verdict="Accepted", finished=finished)
    if not output.strip():
        return CheckPod(name, created, wanted=True, verdict="Silent", finished=finished)
    refused = explain(output) or Problem(reasons.CONFIG_REJECTED, not_taken(last_line(output)))
    return CheckPod(name, created, wanted=True, verdict="Refused", finished=finished, problem=refused)


async def _read_output(context: Context, server: LiveKitServer, pod: Manifest, wanted: str) -> str:
    """Return what a pod that has ended said, which is read once."""
    known = context.checked.get(server.key)
    if known is None or known.pod != pod["metadata"]["uid"]:
        try:
            output = await context.kubernetes.log(server.metadata.namespace, pod["metadata"]["name"], CONTAINER)
        except KubernetesError:
            output = ""  # it was evicted before it started, or its node is gone
        known = context.checked[server.key] = Checked(pod["metadata"]["uid"], wanted, output)
    return known.output


async def apply_check(context: Context, server: LiveKitServer, inputs: ServerInputs | None, plan: CheckPlan) -> None:
    """Delete and create the pods of a check as planned; raises Blocked when one is refused."""
    for pod in _checks(context, server):
        if pod["metadata"]["name"] in plan.remove:
            await children.remove(context, "Pod", pod, grace_seconds=0)
        if pod["metadata"]["name"] in plan.in_vain:
            note_failed(context, server, COMPONENT_SERVER_CHECK, pod)
    if plan.ends:
        context.checked.pop(server.key, None)
    if plan.braked:
        report_held(context, server, COMPONENT_SERVER_CHECK, plan.held)
    if plan.start and inputs is not None:
        await _start_check(context, server, inputs)


async def end_check(context: Context, server: LiveKitServer) -> None:
    """Delete the pods of any check, for the server is being deleted."""
    everything = tuple(pod["metadata"]["name"] for pod in _checks(context, server))
    await apply_check(context, server, None, CheckPlan(remove=everything, ends=True))


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
