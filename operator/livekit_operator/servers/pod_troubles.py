"""Why a server does not start or ends again and again: in the kubelet's, the scheduler's or its own words."""

from livekit_operator import reasons
from livekit_operator.conditions import find
from livekit_operator.containers import container_status, other_statuses, waiting
from livekit_operator.engine.cache import Manifest
from livekit_operator.errors import KubernetesError, Problem
from livekit_operator.manifests.pod_remedies import NO_IMAGE, UNSCHEDULABLE, look_at, remedy, waiting_remedy
from livekit_operator.outside import said
from livekit_operator.servers.context import Context
from livekit_operator.servers.decisions.redis_refusals import find_last
from livekit_operator.servers.manifests.pod import CONTAINER
from livekit_operator.servers.memory import PodMemory

_PORT_FORBIDDEN = (
    "Servers may not listen on ports below 1024 of their nodes. Choose others in spec.signal.port, spec.media, "
    "spec.turn and spec.prometheus, let a load balancer lead 443 to them (spec.turn.tls.service), or set "
    "net.ipv4.ip_unprivileged_port_start of the nodes. livekit-server said"
)
_IMAGE = "spec.version, spec.image"


def start_trouble(pod: Manifest) -> Problem | None:
    """Return why a pod does not start, None when nothing is known to keep it."""
    name, pod_status = pod["metadata"]["name"], pod.get("status") or {}
    own = container_status(pod, CONTAINER)
    if why := waiting(own):
        return _container_trouble(name, None, *why)
    if has_ended(pod):
        return Problem(reasons.POD_FAILING, f"Pod {name} has ended: see its log.")
    for status in other_statuses(pod, CONTAINER):
        if why := waiting(status):
            return _container_trouble(name, str(status.get("name")), *why)
    scheduled = find(pod_status.get("conditions"), "PodScheduled")
    if scheduled.get("status") == "False":
        words = said(scheduled.get("message") or "").rstrip(". ")
        return Problem(reasons.UNSCHEDULABLE, f"Pod {name}: {words}. {remedy(words, UNSCHEDULABLE)}")
    return None


def has_ended(pod: Manifest) -> bool:
    """Return whether the server has ended, and perhaps restarted."""
    own = container_status(pod, CONTAINER)
    return (own.get("restartCount") or 0) > 0 or "terminated" in (own.get("state") or {})


def hanging_trouble(name: str, words: str) -> Problem:
    """Return what to say of a pod whose containers do not start, in the words of `hanging_pods`."""
    todo = remedy(words, look_at(name))
    return Problem(reasons.POD_NOT_STARTING, f"Pod {name} does not start: {words.rstrip('. ')}. {todo}")


def _container_trouble(pod: str, container: str | None, reason: str, message: str) -> Problem:
    """Return what to say of a container that waits; None is the server's own."""
    which = f"Pod {pod}, container {container}" if container else f"Pod {pod}"
    if reason == "CrashLoopBackOff":
        return Problem(reasons.POD_FAILING, f"{which} ends again and again: see its log.")
    kind = reasons.IMAGE_NOT_FOUND if reason in NO_IMAGE else reasons.POD_FAILING
    words = f"{said(reason, 64)}: {said(message)}".rstrip(":. ")
    todo = remedy(words, waiting_remedy(pod, reason, None if container else _IMAGE, container))
    return Problem(kind, f"{which}: {words}. {todo}")


async def last_words(context: Context, pod: Manifest, memory: PodMemory) -> Problem | None:
    """Return why a server ends again and again, in its own words, read once for each end."""
    own = container_status(pod, CONTAINER)
    restarts = int(own.get("restartCount") or 0)
    if memory.trouble[0] != restarts:
        running = "running" in (own.get("state") or {})
        try:
            output = await context.kubernetes.log(
                pod["metadata"]["namespace"], pod["metadata"]["name"], CONTAINER, previous=running
            )
        except KubernetesError:
            return None
        memory.trouble = restarts, output
    return explain(memory.trouble[1])


def explain(output: str) -> Problem | None:
    """Return what livekit-server's last words mean, None when they are not known to mean anything.

    Sources: pkg/config/config.go, pkg/service/server.go, protocol redis/redis.go
    """
    last = last_line(output)
    words = last.rstrip(". ")
    if refused := find_last(last):
        unknown = "NOAUTH" in last or "WRONGPASS" in last
        return Problem(
            reasons.REDIS_UNREACHABLE if unknown else reasons.REDIS_REFUSED,
            f"Redis does not do as it should: {refused}",
        )
    if "permission denied" in last and ("listen" in last or "bind" in last):
        return Problem(reasons.PORT_FORBIDDEN, f"{_PORT_FORBIDDEN}: {last}")
    if "redis" in last.lower() or "NOAUTH" in last or "WRONGPASS" in last:
        return Problem(
            reasons.REDIS_UNREACHABLE,
            f"Redis does not answer as it should: {words}. Check address and password in spec.redis, and the network.",
        )
    if "address already in use" in last:
        return Problem(
            reasons.PORT_CONFLICT,
            f"A port of this server is taken on its node: {words}. Choose other ports or nodes, or exposure NodePort.",
        )
    if "key file" in last or "keys must be provided" in last:
        return Problem(
            reasons.KEYS_INVALID,
            f"livekit-server cannot use its keys: {words}. Correct the Secret of spec.keysSecretRef.",
        )
    if "TURN" in last or "tls" in last:
        return Problem(
            reasons.TURN_REJECTED,
            f"TURN cannot be offered: {words}. Correct domain, ports and certificate in spec.turn.",
        )
    if "could not parse config" in last or "could not validate" in last or "field " in last or "yaml" in last:
        return Problem(reasons.CONFIG_REJECTED, not_taken(last))
    return None


def not_taken(last: str) -> str:
    """Return that livekit-server does not take a configuration, by its last words."""
    return (
        f"livekit-server does not take this configuration: {last.rstrip('. ')}. Correct the fields of the spec that it "
        f"names, or spec.extraConfig."
    )


def last_line(output: str) -> str:
    """Return the last line of an output that says something; a stack trace is not worth reading."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wanted = [line for line in lines if not line.startswith(("github.com/", "main.", "runtime.", "goroutine "))]
    # The error itself may take two lines: "could not parse config: yaml: unmarshal errors:" and the field.
    tail = wanted[-2:] if len(wanted) > 1 and wanted[-2].endswith(":") else wanted[-1:]
    return said(" ".join(tail))
