"""Names that live in the cluster: the API group, labels, annotations, ports and condition vocabulary.

Everything another program may match on stands here once, with the reason for its form.
"""

from typing import Final

GROUP: Final = "livekit-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# One field manager for every server-side apply, so that a removed field is really removed.
FIELD_MANAGER: Final = "livekit-operator"

# Only a MeetingRoom has something outside Kubernetes to clean up: the room on the LiveKit server.
ROOM_FINALIZER: Final = f"{GROUP}/room"

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
# Facts of a token Secret that its token also holds, readable without decoding the token.
ANNOTATION_EXPIRES_AT: Final = f"{GROUP}/expires-at"
ANNOTATION_TOKEN_INPUTS: Final = f"{GROUP}/token-inputs"

# Keys of the Secret that holds a server's API key.
KEY_API_KEY: Final = "apiKey"
KEY_API_SECRET: Final = "apiSecret"  # noqa: S105 - the name of a key, not a secret
# livekit-server only logs an error below this length (pkg/config/config.go ValidateKeys); we refuse.
MIN_API_SECRET_LENGTH: Final = 32

# The agent image's ports: the worker's own (livekit-agents worker.py) and the stock agent's status server.
WORKER_PORT: Final = 8081
AGENT_STATUS_PORT: Final = 8082

# The operator's own ports.
OPERATOR_HTTP_PORT: Final = 8080
OPERATOR_LIVENESS_PORT: Final = 8090

# livekit-agents allows running jobs `drain_timeout`, then 300 s for session_end callbacks, then closes (worker.py).
DRAIN_MARGIN_SECONDS: Final = 330

CONDITION_READY: Final = "Ready"
