"""The reasons of a VoiceAgentPool, as docs/operations.md tells them."""

from livekit_operator import reasons
from livekit_operator.reasons.tables import EVENT, Row, Table

READY = Table(
    doc="docs/operations.md",
    name="pools",
    kinds=("VoiceAgentPool",),
    columns=("reason of `Ready`", "meaning", "what to do"),
    rows=(
        Row(
            (reasons.READY,),
            "at least the pods that must always be there are warm and registered, or none is needed now",
        ),
        Row(
            (reasons.SCALED_TO_ZERO,),
            "`spec.replicas` is 0 and nothing scales the pool",
            "raise it, or set `spec.autoscaling`",
        ),
        Row(
            (reasons.PROGRESSING,),
            "pods start; the message says what a slow one waits for",
            "wait; a pod takes about 6 s. A slow one: its log, `startupTimeoutSeconds`, `initializeTimeoutSeconds`",
        ),
        Row(
            (reasons.ROLLING_OUT,),
            "older pods serve until new ones are warm",
            "wait",
        ),
        Row(
            (reasons.ROLLED_BACK,),
            "the wanted version never became ready, or its calls failed as a canary; the one that served before runs",
            "the message says why; what could not start goes on by itself once it can; otherwise change the spec",
        ),
        Row(
            (reasons.ROLLOUT_FAILED,),
            "the same, and no version served before",
            "change the spec",
        ),
        Row(
            (reasons.REVISION_NOT_FOUND,),
            "`rollout.rollbackTo` names no version of `status.versions`",
            "name one, or remove it",
        ),
        Row(
            (reasons.PODS_FAILING,),
            "a pod does not start; the message quotes the scheduler, the kubelet (also of a volume or a network that "
            "does not come) or the agent",
            "the field or command that the message names: nodes and `resources`, image, log",
        ),
        Row(
            (reasons.PROVIDER_REJECTED,),
            "a provider answers 401 or 403 to its key",
            "correct the Secret; the pool rolls by itself",
        ),
        Row(
            (reasons.PROVIDER_FAILING,),
            "a provider cannot be reached, or fails otherwise",
            "network, `baseUrl`, model name",
        ),
        Row(
            (reasons.AGENT_FAILING,),
            "pods are ready, and the last three calls or more failed, in whichever rooms. The message has how many, "
            "the pod, and its last words. It is over when a call has lasted 60 s or ended well, ten minutes after the "
            "last one, or with the pods",
            "the agent's code, or `resources`; the pod's log",
        ),
        Row(
            (reasons.KUBERNETES_REFUSED,),
            "the API server refused a pod or what it needs: a quota, a policy; what serves goes on, and it is tried "
            "again, at the latest after 30 s; the message names and quotes it",
            "the spec, or what refuses it",
        ),
        Row(
            (reasons.POD_TEMPLATE_REJECTED,),
            "`podTemplate` collides with what the operator needs, or asks for more than `restricted` allows; what "
            "serves goes on",
            "another name, path or type of volume",
        ),
        Row(
            (reasons.POOL_TOO_LARGE,),
            "`agent` and `podTemplate` are longer than a ConfigMap can be; what serves goes on",
            "shorten them",
        ),
        Row(
            (reasons.NOT_ALLOWED,),
            "the chart's values do not allow the PriorityClass of `podTemplate`; what serves goes on",
            "another one, or the chart's value that the message names",
        ),
        Row(
            (reasons.SERVICE_ACCOUNT_NOT_ALLOWED,),
            "the ServiceAccount of `podTemplate.serviceAccountName` is missing or does not allow agents; what serves "
            "goes on",
            'annotate it with `livekit-operator.dev/allow-agents: "true"`, or name another one',
        ),
        Row(
            (reasons.INVALID_SCHEDULE,),
            "a schedule names a time zone that there is not; the others hold",
            "a name such as `Europe/Berlin`",
        ),
        Row(
            (reasons.SECRET_NOT_FOUND, reasons.SECRET_KEY_MISSING),
            "a provider's Secret or its key is missing; what serves goes on",
            "create it; it is looked for every 3 s",
        ),
        Row(
            (reasons.SERVER_NOT_FOUND, reasons.SERVER_NOT_READY),
            "the LiveKitServer is missing, or is not ready, for the reason that the message gives",
            "as that reason says",
        ),
        Row(
            (reasons.SERVER_NOT_ALLOWED,),
            "the LiveKitServer of another namespace does not list this one in `allowedPoolNamespaces`, or is not "
            "there; a pool that served loses its Secret at once and its pods as their calls end, at the latest at the "
            "time in the message",
            "who has the server adds the namespace",
        ),
        Row(
            (
                reasons.AGENT_NAME_MISMATCH,
                reasons.DEPLOYMENT_MISMATCH,
                reasons.TARGET_LOAD_TOO_LOW,
                reasons.NO_WORKER_REGISTERED,
            ),
            "pods are ready and no room can have their agents",
            "[why](pools.md#why-is-there-no-agent)",
        ),
    ),
)

OTHERS = Table(
    doc="docs/operations.md",
    name="pools: other conditions",
    kinds=("VoiceAgentPool",),
    columns=("condition", "reason", "meaning", "what to do"),
    rows=(
        Row(
            (reasons.STARTING, reasons.ROLLING_OUT, reasons.CANARY, reasons.DRAINING, reasons.SCALING_DOWN),
            "pods start; pods of other versions, leaving ones, or more than are wanted end their calls; there is a "
            "canary",
            condition="Progressing",
        ),
        Row(
            (reasons.NOT_DRAINING,),
            "a pod was told to leave 30 s ago and its worker goes on, as SIGTERM does not reach it",
            "`exec` before the program in the start script; `kubectl delete pod --grace-period=1` ends it with its "
            "calls",
            condition="Progressing",
        ),
        Row(
            (reasons.RETRYING,),
            "a version that could not start is still tried",
            "what its message in `status.versions` says",
            condition="Progressing",
        ),
        Row(
            (reasons.UP_TO_DATE,),
            "every pod is as wanted; where it is False for another reason, that keeps the pool from it",
            condition="Progressing",
        ),
        Row(
            (reasons.AVAILABLE,),
            "a call can be taken; otherwise the [reason why not](pools.md#why-is-there-no-agent)",
            condition="AgentsAvailable",
        ),
        Row(
            (reasons.WITHIN_LIMITS,),
            "",
            condition="ScalingLimited",
        ),
        Row(
            (reasons.MAX_REPLICAS_REACHED,),
            "`maxReplicas` keeps pods from coming",
            "raise it",
            condition="ScalingLimited",
        ),
        Row(
            (reasons.ACCEPTED, reasons.NOT_ASKED, reasons.OWN_AGENT),
            "every provider takes its key; nobody has asked them; your own agent does",
            condition="ProvidersAccepted",
        ),
        Row(
            (reasons.FALLBACK_SERVES,),
            "a provider fails and another one of its role does its work, so that calls go on",
            "what the message says of the one that fails",
            condition="ProvidersAccepted",
        ),
        Row(
            (reasons.TOOLS_UNAVAILABLE,),
            "an MCP server of `agent.tools` does not answer or refuses; calls go on without its tools",
            "check what the message names: its `url`, the network, the Secrets of its `headers`",
            condition="ProvidersAccepted",
        ),
        Row(
            (reasons.WORKERS_UNREACHABLE,),
            "no pod answers the operator on port 8082",
            "a NetworkPolicy that lets the operator in",
            condition="ProvidersAccepted",
        ),
        Row(
            (reasons.APPLIED, reasons.RUNNER_NOT_INJECTED),
            "the runner does everything in your image; it is not in it",
            condition="RunnerApplied",
        ),
        Row(
            (reasons.PARTLY_APPLIED,),
            "something could not be done in this image, which the message says",
            "have your code do it, or another version of livekit-agents",
            condition="RunnerApplied",
        ),
        Row(
            (reasons.WORKER_REFUSED,),
            "the runner lets no worker run in your image, where its calls would have no limit; the message quotes it",
            "livekit-agents 1.3 or newer, for Node.js 1.2 or newer, or `runner: None`",
            condition="RunnerApplied",
        ),
        Row(
            (reasons.NOT_HEARD,),
            "no pod of this version says anything",
            "a `command` that runs livekit-agents on Python or Node.js and keeps PYTHONPATH or NODE_OPTIONS; otherwise "
            "`runner: None`",
            condition="RunnerApplied",
        ),
        Row(
            (reasons.ACCEPTED,),
            "which rooms the pool serves for their names",
            condition="RoomPrefixAccepted",
        ),
        Row(
            (reasons.ROOM_PREFIX_TAKEN,),
            "an older pool has the same prefix",
            "another `roomPrefix`",
            condition="RoomPrefixAccepted",
        ),
        Row(
            (reasons.ROLLOUT_FAILED,),
            "a version never became ready, or its calls failed as a canary",
            "as above",
            condition=EVENT,
        ),
        Row(
            (reasons.OOM_KILLED,),
            "the kernel has killed the process of a call for lack of memory; the message has the container's limit",
            "raise `resources.limits.memory`",
            condition=EVENT,
        ),
        Row(
            (reasons.WORKER_ENDS,),
            "a worker ended without having been told to, by its own code or a library's: its calls go on, and another "
            "pod takes its place at once",
            "`kubectl logs` of the pod",
            condition=EVENT,
        ),
    ),
)
