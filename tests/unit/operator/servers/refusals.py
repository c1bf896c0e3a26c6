"""What an API server answers that refuses a server's pod."""

from livekit_operator.errors import KubernetesError

LIMIT_RANGE = KubernetesError(
    403, "Forbidden", 'pods "x" is forbidden: minimum cpu usage per Container is 100m, but request is 50m'
)
