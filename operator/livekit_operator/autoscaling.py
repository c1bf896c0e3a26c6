"""How many pods a pool should have: a pure decision on sessions, never on CPU."""

from math import ceil

from livekit_operator.api.voiceagentpool import VoiceAgentPoolSpec


def desired_replicas(spec: VoiceAgentPoolSpec, *, active_sessions: int) -> int:
    """Return the number of pods wanted while `active_sessions` calls are held by pods that stay.

    With autoscaling: enough pods for the active sessions and the free buffer, within the limits. Without: the number
    that was asked for, 1 when none was.
    """
    if spec.autoscaling is None:
        return 1 if spec.replicas is None else spec.replicas
    wanted = ceil((active_sessions + spec.autoscaling.buffer_sessions) / spec.sessions_per_pod)
    return max(spec.autoscaling.min_replicas, min(wanted, spec.autoscaling.max_replicas))
