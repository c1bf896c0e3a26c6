"""The reasons that kinds have in common, as docs/operations.md and docs/pools.md tell them."""

from livekit_operator import reasons
from livekit_operator.reasons.tables import Row, Table

SLOWED = Table(
    doc="docs/operations.md",
    name="what is slowed down",
    kinds=("LiveKitServer", "VoiceAgentPool", "MeetingRoom"),
    columns=("reason", "meaning", "the most", "what to do"),
    rows=(
        Row(
            (reasons.BACKING_OFF,),
            "pods ended, or servers were let go, soon after they were made; the message quotes the last one, which "
            "stays to be looked at",
            "the pods' Events and logs; a change of the spec begins anew",
            most="each place is filled again once at once, then after 10 s, 20 s … 5 min; a pod that lived 10 min is "
            "replaced at once",
        ),
        Row(
            (reasons.TOO_MANY_PODS,),
            "pods were made again and again, though none failed: something removes them, or changes what they are "
            "made of",
            "find what removes pods, or changes them or their Secrets",
            most="10 and 3 for each wanted one in a minute, 20 and 10 for each in ten minutes",
        ),
        Row(
            (reasons.CHILD_CHANGED,),
            "an object is not kept as the operator writes it (an admission policy, a webhook), or is put back again "
            "and again (another controller); the message names object and field, and who owns it where the API server "
            "says so",
            "have the policy or controller leave that field alone",
            most="what a person changes is put right at once, up to ten times; then, and where it is not kept, after "
            "10 s, 20 s … 5 min; what is wanted otherwise by then is written at once, up to five times in ten "
            "minutes, then every 30 s",
        ),
        Row(
            (reasons.STATUS_CHANGED,),
            "the API server does not keep a field of the status",
            "install the CRDs of the operator's version, or change the policy",
            most="as above",
        ),
        Row(
            (reasons.TOO_MANY_WRITES,),
            "this resource needed more writes than it should",
            "find which policies and controllers write to objects of this namespace",
            most="120 and 12 for each child in a minute, and 60 of its status",
        ),
        Row(
            (reasons.NAMESPACE_TERMINATING,),
            "the namespace is being deleted; what is in it ends",
            "nothing; [what takes its time](servers.md#changing-a-server-drops-no-call)",
        ),
    ),
)

NO_AGENT = Table(
    doc="docs/pools.md",
    name="why there is no agent",
    kinds=("VoiceAgentPool", "MeetingRoom"),
    columns=("reason", "what it is", "what to do"),
    rows=(
        Row(
            (reasons.PROVIDER_REJECTED,),
            "a provider answers 401 or 403 to its key",
            "correct the Secret; pods follow by themselves",
        ),
        Row(
            (reasons.WORKER_CRASHED,),
            "the agent's process ends by itself",
            "the message quotes its last words; `kubectl logs --previous`, `spec.agent`",
        ),
        Row(
            (reasons.AGENT_NAME_MISMATCH,),
            "workers registered under a name that nobody asks for",
            "leave the name out of the code, or say it in `spec.agentName`",
        ),
        Row(
            (reasons.DEPLOYMENT_MISMATCH,),
            "workers registered for another deployment",
            "take `LIVEKIT_AGENT_DEPLOYMENT` out of image and code",
        ),
        Row(
            (reasons.TARGET_LOAD_TOO_LOW,),
            "with `runner: None`: the server offers calls only to workers below a load of 1, and none of the free "
            "ones is",
            "another load function (`load_fnc`) in your code, or the runner",
        ),
        Row(
            (reasons.NO_WORKER_REGISTERED,),
            "no pod is there, or none is ready and registered",
            "wait for the first pod; `kubectl describe pod`; a NetworkPolicy between agents and server",
        ),
        Row(
            (reasons.AGENT_NOT_CONNECTED,),
            "an agent joined and was not connected within 10 s: signalling reaches the server, media does not",
            "from where the agents run, the address in the server's `status.servers` (`media.nodeIp`) must answer on "
            "the ports in `status.ports`: firewall, NetworkPolicy; without `media.iceLite` the server tries "
            "its own way to them as well; with `media.discoverExternalIp` they may need `media.advertiseInternalIp`",
        ),
        Row(
            (reasons.ALL_WORKERS_FULL,),
            "every place is taken",
            "raise `maxReplicas`, or `bufferSessions` (`replicas` where that is fixed)",
        ),
        Row(
            (reasons.DISPATCH_PENDING,),
            "an agent was asked for and has not come yet",
            "it is asked for again by itself; if that repeats, `kubectl logs` of the pods",
        ),
    ),
)
