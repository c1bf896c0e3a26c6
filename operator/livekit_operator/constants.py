"""Names that live in the cluster: the API group, labels, annotations, ports and condition vocabulary.

Everything another program may match on stands here once, with the reason for its form.
"""

from typing import Final

GROUP: Final = "livekit-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# One field manager for every server-side apply, so that a removed field is really removed.
FIELD_MANAGER: Final = "livekit-operator"

# A MeetingRoom has something outside Kubernetes to clean up: the room on the LiveKit server.
ROOM_FINALIZER: Final = f"{GROUP}/room"
# A LiveKitServer that is deleted stays until its calls have ended.
SERVER_FINALIZER: Final = f"{GROUP}/server"
# What the API server puts on a resource that is deleted with `--cascade=orphan`, until the garbage collector has taken
# the owner off its children (k8s.io/apimachinery/pkg/apis/meta/v1 FinalizerOrphanDependents).
ORPHAN_FINALIZER: Final = "orphan"
# On a LiveKitServer that is being deleted: do not wait for its calls.
ANNOTATION_FORCE_DELETE: Final = f"{GROUP}/force-delete"

# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "livekit-operator"
MANAGED_SELECTOR: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

# A digest of the manifest last applied: a field that is no longer wanted cannot be seen by comparing values.
ANNOTATION_APPLIED: Final = f"{GROUP}/applied"
# A digest of what a pod reads only at its start (configuration, key Secret): when it changes, the pod must be replaced.
ANNOTATION_INPUTS: Final = f"{GROUP}/inputs"
# The version of a pool's pod: a digest of its template and inputs.
LABEL_REVISION: Final = f"{GROUP}/revision"
# Which calls a pool's pod is for: the version that serves, or the one that is tried with some of them.
LABEL_TRACK: Final = f"{GROUP}/track"
TRACK_STABLE: Final = "stable"
TRACK_CANARY: Final = "canary"
# On a pool's pod with calls: what selects it for the disruption budget, and keeps autoscalers of nodes from it.
# https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md,
# https://karpenter.sh/docs/concepts/disruption/
LABEL_BUSY: Final = f"{GROUP}/busy"
ANNOTATION_SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
ANNOTATION_DO_NOT_DISRUPT: Final = "karpenter.sh/do-not-disrupt"
# On a version of a pool: that a pod of it was ready once, when a rollout to it came to its end, and why it must not be
# rolled out again.
ANNOTATION_SERVED: Final = f"{GROUP}/served"
ANNOTATION_PROVEN: Final = f"{GROUP}/proven"
ANNOTATION_FAILED: Final = f"{GROUP}/failed"
# The number that a server keeps its ports, Service and address by.
LABEL_SLOT: Final = f"{GROUP}/slot"
# Servers that the signalling's Service leads new clients to.
LABEL_SERVING: Final = f"{GROUP}/serving"
# A digest of what a server's pod has for itself: its ports and its address.
ANNOTATION_SLOT_INPUTS: Final = f"{GROUP}/slot-inputs"
# What a server's pod was started with, as far as looking at it needs that: whether servers share their rooms by Redis,
# and the port of its own metrics.
ANNOTATION_SHARED: Final = f"{GROUP}/shared"
ANNOTATION_METRICS_PORT: Final = f"{GROUP}/metrics-port"
# A digest of the keys that a server's pod accepts, and of the key that an agent's pod uses.
ANNOTATION_KEYS: Final = f"{GROUP}/keys"
# How far a rotation of keys has come, on the Secret that holds them.
ANNOTATION_ROTATION: Final = f"{GROUP}/rotation"
ANNOTATION_KEY_IN_USE_SINCE: Final = f"{GROUP}/key-in-use-since"
ANNOTATION_KEY_USERS_MOVED: Final = f"{GROUP}/key-users-moved"
# Facts of a token Secret that its token also holds, readable without decoding the token.
ANNOTATION_EXPIRES_AT: Final = f"{GROUP}/expires-at"
ANNOTATION_TOKEN_INPUTS: Final = f"{GROUP}/token-inputs"
# On a token Secret: whom to remove from the room when its entry is gone from the spec.
ANNOTATION_REVOKES: Final = f"{GROUP}/revokes"
# On a token Secret: names of the labels and annotations that its entry gave it, to take them off again.
ANNOTATION_GIVEN: Final = f"{GROUP}/given"
# On a MeetingRoom: that the operator made, or took over, the room of this name for this very resource (a keyed digest).
ANNOTATION_CLAIM: Final = f"{GROUP}/claim"
# On the Secret that holds a server's keys: since when its rooms have claims.
ANNOTATION_CLAIMS_SINCE: Final = f"{GROUP}/claims-since"
# On a ServiceAccount, by whoever may write it: pods of agents may run under it.
ANNOTATION_ALLOW_AGENTS: Final = f"{GROUP}/allow-agents"
# On a MeetingRoom: re-create the room now, whoever is in it; once for each new value.
ANNOTATION_RECREATE: Final = f"{GROUP}/recreate"
ANNOTATION_CALL_AGENTS: Final = f"{GROUP}/call-agents"

# Keys of the Secret that holds a server's API key.
KEY_API_KEY: Final = "apiKey"
KEY_API_SECRET: Final = "apiSecret"  # noqa: S105 - the name of a key, not a secret
# All keys that servers accept, as the file that livekit-server reads.
KEY_KEY_FILE: Final = "keys.yaml"
# What digests of secrets are made with, in the same Secret.
KEY_SALT: Final = "digestSalt"
# livekit-server only logs an error below this length (pkg/config/config.go ValidateKeys); we refuse.
MIN_API_SECRET_LENGTH: Final = 32

# The agent image's ports: the worker's own (livekit-agents worker.py) and the stock agent's status server.
WORKER_PORT: Final = 8081
AGENT_STATUS_PORT: Final = 8082

# How the runner begins its last words where it lets no worker run (agent_image runner/settings.py).
RUNNER_REFUSES: Final = "The runner starts no worker: "

# The operator's own ports.
OPERATOR_HTTP_PORT: Final = 8080
OPERATOR_LIVENESS_PORT: Final = 8090

# livekit-agents allows running jobs `drain_timeout`, then 300 s for session_end callbacks, then closes (worker.py).
DRAIN_MARGIN_SECONDS: Final = 330

CONDITION_READY: Final = "Ready"
CONDITION_PROGRESSING: Final = "Progressing"
CONDITION_DEGRADED: Final = "Degraded"
# Of a pool.
CONDITION_PROVIDERS_ACCEPTED: Final = "ProvidersAccepted"
CONDITION_SCALING_LIMITED: Final = "ScalingLimited"
CONDITION_RUNNER_APPLIED: Final = "RunnerApplied"
CONDITION_ROOM_PREFIX: Final = "RoomPrefixAccepted"
# Whether rooms get agents, with the reason when they do not.
CONDITION_AGENTS_AVAILABLE: Final = "AgentsAvailable"
# The same of a room.
CONDITION_AGENTS_READY: Final = "AgentsReady"

# A provider's endpoint, without query and fragment: paths are put behind it. `\s` is spelled out, which means more to
# Python than to the API server.
BASE_URL_PATTERN = r"^(https?|wss?)://([-._A-Za-z0-9]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^\x00-\x20\x7f?#]*)?$"
