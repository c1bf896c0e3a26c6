"""The reasons of a LiveKitServer, as docs/operations.md tells them."""

from livekit_operator import reasons
from livekit_operator.reasons.tables import Row, Table

FAULTS = Table(
    doc="docs/operations.md",
    name="servers",
    kinds=("LiveKitServer",),
    columns=("reason", "meaning", "what to do"),
    rows=(
        Row(
            (reasons.READY,),
            "a server answers at `status.externalUrl`",
        ),
        Row(
            (reasons.PROGRESSING,),
            "pods start",
            "wait",
        ),
        Row(
            (reasons.SCALED_TO_ZERO,),
            "`spec.replicas` is 0",
        ),
        Row(
            (reasons.SECRET_NOT_FOUND, reasons.SECRET_KEY_MISSING),
            "a Secret that the message names is missing, or a key in it",
            "create it; it is looked for every 3 s",
        ),
        Row(
            (reasons.KEYS_INVALID,),
            "the Secret of `keysSecretRef` lacks a key, or its secret is shorter than 32 characters",
            "put it right; the key used so far goes on working",
        ),
        Row(
            (reasons.CONFIG_REJECTED,),
            "livekit-server does not take the configuration, or `extraConfig` says what it must not; the message "
            "quotes it",
            "correct it; what runs goes on",
        ),
        Row(
            (reasons.VERSION_TOO_OLD,),
            "`spec.version` is older than the configuration needs; the message names field and version "
            "([table](servers.md#which-livekit-server))",
            "a newer version",
        ),
        Row(
            (reasons.REDIS_UNREACHABLE,),
            "Redis does not answer the servers, refuses their password, or, a managed one, does not start; the "
            "message quotes the scheduler, the kubelet or the policy",
            "address, password, network; `podTemplate`'s node selector and tolerations",
        ),
        Row(
            (reasons.REDIS_SHARED,),
            "another LiveKitServer uses the same Redis, with whatever `db`",
            "a Redis of its own",
        ),
        Row(
            (reasons.REDIS_REFUSED,),
            "Redis answers and takes no writes, or refuses a command; the message quotes it and says what to do",
            "the master's address, the user's rights (`~* &* +@all`), Redis' memory",
        ),
        Row(
            (reasons.PORT_FORBIDDEN,),
            "a port below 1024 of the node",
            "the fields that the message names, or the nodes' sysctl",
        ),
        Row(
            (reasons.EXTERNAL_URL_MISSING,),
            "nothing says which URL clients use",
            "`signal.externalUrl`",
        ),
        Row(
            (reasons.EXTERNAL_URL_REFUSED,),
            "a node port or a load balancer has refused the operator's connections for 30 s though the servers answer "
            "(`Degraded`; until then `Ready` waits with `Progressing`)",
            "kube-proxy on that node, the load balancer; a firewall or policy that is about the operator alone harms "
            "no call",
        ),
        Row(
            (reasons.NODE_IP_SHARED,),
            "servers on several nodes advertise one `media.nodeIp` (`Degraded`)",
            "`media.discoverExternalIp`",
        ),
        Row(
            (reasons.SECRET_INVALID,),
            "a value of `media.turnServers` cannot stand in a configuration",
            "the message says which characters can",
        ),
        Row(
            (reasons.PORT_CONFLICT,),
            "another LiveKitServer with a pod on a node, or one that came earlier and is not five minutes old, or "
            "something else on the node, has a port of this one",
            "other ports, other nodes, or `NodePort`",
        ),
        Row(
            (reasons.NODE_PORTS_EXHAUSTED,),
            "`media.nodePorts` is too small; the message says how many are needed",
            "widen it",
        ),
        Row(
            (reasons.NO_EXTERNAL_ADDRESS,),
            "a load balancer has no address yet, or a name that cannot be resolved",
            "the cloud's load balancer controller",
        ),
        Row(
            (reasons.IMAGE_NOT_FOUND,),
            "the image cannot be pulled",
            "`version`, `image`, `podTemplate.imagePullSecrets`",
        ),
        Row(
            (reasons.UNSCHEDULABLE,),
            "the scheduler finds no node; the message quotes it",
            "room on the nodes, `resources`, `podTemplate`'s node selector, tolerations, affinity",
        ),
        Row(
            (reasons.TURN_REJECTED,),
            "TURN's certificate, domain or ports are refused",
            "correct `spec.turn`",
        ),
        Row(
            (reasons.GATEWAY_API_MISSING, reasons.CERT_MANAGER_MISSING),
            "the cluster lacks the CRDs that `signal.gateway` or an `issuerRef` needs",
            "install them",
        ),
        Row(
            (reasons.ROUTE_NOT_ACCEPTED,),
            "a Gateway does not take `signal.gateway`'s route, leads it nowhere or does not listen; the message has "
            "its words, or says that none has looked at the route for two minutes",
            "the Gateway's listeners and allowed routes; `signal.gateway.parentRefs`",
        ),
        Row(
            (reasons.CERTIFICATE_NOT_READY,),
            "cert-manager does not get a certificate; the message has its words",
            "`kubectl describe certificate`, the issuer",
        ),
        Row(
            (reasons.POD_TEMPLATE_REJECTED,),
            "`podTemplate` collides with what the operator needs, or asks for more than `restricted` allows",
            "another name, path or type of volume",
        ),
        Row(
            (reasons.POD_NOT_STARTING,),
            "a pod has had a node for ten seconds and none of its containers started: a volume, the network; the "
            "message quotes the kubelet",
            "what it names",
        ),
        Row(
            (reasons.POD_FAILING,),
            "a server ends again and again, for a reason of its own",
            "its log",
        ),
        Row(
            (reasons.SERVER_UNREACHABLE,),
            "a server runs and does not answer, and gets no new clients; or it lists its rooms and lets requests for "
            "them run out of time, and is then asked by one room at a time, after pauses of 5 to 60 s",
            "its log, its node; delete a pod that hangs",
        ),
        Row(
            (reasons.NOT_ALLOWED,),
            "the chart's values do not allow what the message names; it is not made, an Ingress, a route or a "
            "certificate goes, and what runs goes on",
            "another value of the field, or the chart's value that the message names",
        ),
        Row(
            (reasons.KUBERNETES_REFUSED,),
            "the API server refused a child: a quota, a LimitRange, a policy; the message quotes it, and names the "
            "container and the field",
            "the spec, or what refuses it",
        ),
        Row(
            (reasons.NOT_UNDERSTOOD, reasons.LIVEKIT_SERVER_NOT_UNDERSTOOD, reasons.VOICE_AGENT_POOL_NOT_UNDERSTOOD),
            "this resource, or one that it refers to, has a field that this operator's version does not know or take; "
            "also of pools and rooms",
            "the field that the message names; CRDs and operator of one version",
            also=("VoiceAgentPool", "MeetingRoom"),
        ),
        Row(
            (reasons.NOT_OWNED,),
            "an object with a child's name belongs to somebody else (also of pools); the message says why it is not "
            "taken over. Under another's ServiceAccount no server starts",
            "remove it, or choose another name; [what is taken over](security.md#children-without-an-owner)",
            also=("VoiceAgentPool",),
        ),
        Row(
            (reasons.DELETING,),
            "it waits for its calls; the message names rooms and deadline",
            "wait, or force it",
        ),
    ),
)

QUIET = Table(
    doc="docs/operations.md",
    name="servers: nothing to be done",
    kinds=("LiveKitServer",),
    columns=("reason", "meaning"),
    rows=(
        Row(
            (reasons.UP_TO_DATE, reasons.AS_EXPECTED),
            "every server is as wanted; nothing is wrong",
        ),
        Row(
            (reasons.STARTING, reasons.ROLLING_OUT, reasons.SCALING_DOWN, reasons.DRAINING),
            "servers come, are replaced, leave; an Event `Draining` tells which one leaves and what it waits for",
        ),
        Row(
            (reasons.WAITING_FOR_ROOMS,),
            "a change waits until the rooms that the message names are empty, and says until when at most",
        ),
        Row(
            (reasons.ROTATING_KEYS,),
            "`status.keys` tells how far the rotation is",
        ),
        Row(
            (reasons.ADOPTED,),
            "an Event: an object that a former resource of this name left is taken over; also of pools and rooms",
            also=("VoiceAgentPool", "MeetingRoom"),
        ),
    ),
)
