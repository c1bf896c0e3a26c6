"""What a status must never say: conditions that contradict each other, the counts beside them, or the world.

docs/operations.md has the same as a table. Each rule is a generator of sentences, one for each violation: those of
`_OWN` hold of every status that is ever written, those of `_SETTLED` once the operator had time to see the world.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
# Kind -> all objects of it that count.
World = Mapping[str, Sequence[Manifest]]

OWN_KINDS = ("LiveKitServer", "VoiceAgentPool", "MeetingRoom")
_ALWAYS = {
    "LiveKitServer": ("Ready", "Progressing", "Degraded"),
    "VoiceAgentPool": ("Ready", "Progressing", "AgentsAvailable", "ProvidersAccepted"),
    "MeetingRoom": ("Ready",),
}
# Reasons of a server's Ready=False beside which nothing is wrong.
_UNDEGRADED = ("Progressing", "ScaledToZero", "Deleting", "NamespaceTerminating")
# Reasons of AgentsAvailable=False that say that no agent at all can be called, however many are ready.
_UNSERVED = ("AgentNameMismatch", "DeploymentMismatch", "TargetLoadTooLow", "ProviderRejected")
# Reasons of ProvidersAccepted=False beside which calls go on.
_CALLS_GO_ON = ("FallbackServes", "ToolsUnavailable")
_COMPONENT = "app.kubernetes.io/component"
_REVISION = "livekit-operator.dev/revision"
_SERVED, _PROVEN = "livekit-operator.dev/served", "livekit-operator.dev/proven"


@dataclass(frozen=True)
class Told:
    """A resource as it tells of itself."""

    kind: str
    manifest: Manifest

    @property
    def spec(self) -> Manifest:
        """Its spec."""
        found: Manifest = self.manifest.get("spec") or {}
        return found

    @property
    def status(self) -> Manifest:
        """Its status."""
        found: Manifest = self.manifest.get("status") or {}
        return found

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return _key(self.manifest)

    @property
    def current(self) -> bool:
        """Whether the status is of the spec as it is."""
        return bool(self.status.get("observedGeneration") == self.manifest["metadata"].get("generation"))

    def count(self, field: str) -> int:
        """A number of the status; 0 when it is not there."""
        return int(self.status.get(field) or 0)

    def condition(self, kind: str) -> Manifest:
        """A condition, empty when it is not there."""
        return next((c for c in self.status.get("conditions") or () if c["type"] == kind), {})

    def says(self, kind: str, status: str) -> bool:
        """Whether a condition has a status."""
        return bool(self.condition(kind).get("status") == status)

    def reason(self, kind: str) -> str:
        """The reason of a condition, empty when it is not there."""
        return str(self.condition(kind).get("reason", ""))

    @property
    def scaling(self) -> Manifest:
        """A pool's own autoscaling, empty when it has none of its own."""
        found: Manifest = self.spec.get("autoscaling") or {}
        return found if found.get("mode", "Internal") == "Internal" else {}


def violations(kind: str, manifest: Manifest, world: World | None = None) -> list[str]:
    """Return what a resource's status says that cannot be, a sentence each.

    Without a world only what the status says of itself; with one also what the world says otherwise, which is fair only
    once the operator had time to see it.
    """
    told = Told(kind, manifest)
    if not told.status.get("conditions"):
        return []
    rules: list[Iterator[str]] = [_form(told), *(rule(told) for rule in _OWN[kind])]
    if world is not None and told.current and "deletionTimestamp" not in manifest["metadata"]:
        rules += [rule(told, world) for rule in _SETTLED[kind]]
    place = f"{kind} {'/'.join(told.key)}"
    return [f"{place}: {sentence} ({_shown(told)})" for rule in rules for sentence in rule]


def all_violations(world: World, *, settled: bool) -> list[str]:
    """Return the violations of all our resources in a world."""
    seen = world if settled else None
    return [found for kind in OWN_KINDS for one in world.get(kind, ()) for found in violations(kind, one, seen)]


def _form(told: Told) -> Iterator[str]:
    types = [condition["type"] for condition in told.status["conditions"]]
    for kind in _ALWAYS[told.kind]:
        if kind not in types:
            yield f"the condition {kind} is missing"
    if len(types) != len(set(types)):
        yield "a condition is there twice"
    for condition in told.status["conditions"]:
        if not condition.get("message") or not condition.get("reason"):
            yield f"{condition['type']} says nothing"
        if condition.get("observedGeneration") != told.status.get("observedGeneration"):
            yield f"{condition['type']} is about another generation than the rest"
    if told.says("Ready", "True") != (told.reason("Ready") == "Ready"):
        yield "Ready has the reason of another status"
    if told.says("Ready", "Unknown"):
        yield "Ready is Unknown"


def _up_to_date(told: Told, what: str, wanted: int | None) -> Iterator[str]:
    """Say what contradicts that a resource goes nowhere; `wanted` is how many there should be, None when not known."""
    if not told.says("Progressing", "False"):
        return
    if told.reason("Progressing") != "UpToDate":
        if told.says("Ready", "True"):
            yield "it goes nowhere for a reason, and is ready"
        return
    counts = {field: told.count(field) for field in ("replicas", "readyReplicas", "updatedReplicas")}
    if len(set(counts.values())) > 1:
        yield f"every {what} is as wanted, and these differ: {counts}"
    if wanted is not None and wanted not in counts.values():
        yield f"every {what} is as wanted, and {wanted} are wanted: {counts}"
    if told.count("drainingReplicas"):
        yield f"every {what} is as wanted, and some are leaving"


def _server_degraded(told: Told) -> Iterator[str]:
    if told.says("Ready", "False") and told.says("Degraded", "False") and told.reason("Ready") not in _UNDEGRADED:
        yield "it is not ready for a reason that nobody asked for, and nothing is wrong"


def _server_ready(told: Told) -> Iterator[str]:
    if not told.says("Ready", "True"):
        return
    if not told.count("readyReplicas"):
        yield "it is ready and no server is"
    if not told.status.get("externalUrl"):
        yield "it is ready and has no URL for clients"
    if "rooms" not in told.status:
        yield "it is ready and its rooms are not known"


def _server_counts(told: Told) -> Iterator[str]:
    for field in ("readyReplicas", "updatedReplicas"):
        if told.count(field) > told.count("replicas"):
            yield f"{field} is more than replicas"


def _server_up_to_date(told: Told) -> Iterator[str]:
    return _up_to_date(told, "server", told.spec.get("replicas", 1) if told.current else None)


def _server_pods(told: Told, world: World) -> Iterator[str]:
    pods = [pod for pod in _pods(told, world, "server") if not _leaves(pod)]
    if told.count("readyReplicas") > sum(map(_is_ready, pods)):
        yield f"readyReplicas is {told.count('readyReplicas')}, and fewer pods are ready"
    if told.count("replicas") > len(pods):
        yield f"replicas is {told.count('replicas')}, and there are {len(pods)} pods"


def _pool_counts(told: Told) -> Iterator[str]:
    for field in ("readyReplicas", "updatedReplicas"):
        if told.count(field) > told.count("replicas"):
            yield f"{field} is more than replicas"
    if told.count("idleReplicas") > told.count("readyReplicas"):
        yield "more pods are idle than ready"
    if told.count("freeSessions") and not told.count("readyReplicas"):
        yield "places are free and no pod is ready"


def _pool_ready(told: Told) -> Iterator[str]:
    if not told.says("Ready", "True"):
        return
    wanted, starts = told.count("desiredReplicas"), told.scaling.get("minReplicas") == 0
    if not told.count("readyReplicas") and wanted and not (starts or told.scaling.get("schedules")):
        yield "it is ready and no pod is"
    if told.says("ProvidersAccepted", "False") and told.reason("ProvidersAccepted") not in _CALLS_GO_ON:
        yield "it is ready and a provider is not"
    if told.reason("AgentsAvailable") in _UNSERVED:
        yield "it is ready and none of its agents can be called"
    fixed = told.spec.get("replicas") if "autoscaling" not in told.spec else None
    if told.current and fixed == 0 and not told.count("readyReplicas"):
        yield "it is ready, has no pod and can never have one"


def _pool_available(told: Told) -> Iterator[str]:
    if not told.says("AgentsAvailable", "True"):
        return
    free, pods = told.count("freeSessions"), told.count("replicas")
    if free:
        return
    scaling = told.spec.get("autoscaling")
    if scaling is None:
        yield "agents are available, no place is free, and nothing makes more pods"
    elif told.scaling and told.count("desiredReplicas") >= scaling.get("maxReplicas", 0) > 0:
        yield "agents are available, no place is free, and no more pods may come"
    if not told.count("readyReplicas") and (pods or told.count("desiredReplicas")):
        yield "agents are available, and none of the pods that are wanted is ready"
    if told.says("Ready", "False"):
        yield "agents are available, no place is free, and it is not ready"


def _pool_up_to_date(told: Told) -> Iterator[str]:
    return _up_to_date(told, "pod", told.count("desiredReplicas"))


def _pool_providers(told: Told) -> Iterator[str]:
    if told.says("ProvidersAccepted", "True") and not told.count("readyReplicas"):
        yield "every provider answers, and no agent is there to ask"


def _pool_limited(told: Told) -> Iterator[str]:
    most = told.scaling.get("maxReplicas")
    limited = told.says("ScalingLimited", "True")
    if told.current and limited and most and told.count("desiredReplicas") < most:
        yield "it is at its limit, and fewer are wanted"


def _pool_pods(told: Told, world: World) -> Iterator[str]:
    pods = [pod for pod in _pods(told, world, "agent") if not _leaves(pod)]
    if told.count("readyReplicas") > sum(map(_is_ready, pods)):
        yield f"readyReplicas is {told.count('readyReplicas')}, and fewer pods are ready"
    if told.count("replicas") > len(pods):
        yield f"replicas is {told.count('replicas')}, and there are {len(pods)} pods"
    if told.reason("Progressing") == "UpToDate":
        wanted = {told.status.get("revision"), (told.spec.get("rollout") or {}).get("rollbackTo")}
        others = {_revision(pod) for pod in pods if not _has_ended(pod)} - wanted
        if others:
            yield f"every pod is of the wanted version, and some are of {', '.join(sorted(others))}"


def _pool_server(told: Told, world: World) -> Iterator[str]:
    server = _find(world, "LiveKitServer", _target(told, told.spec["serverRef"]))
    if server is None and (told.says("Ready", "True") or told.says("AgentsAvailable", "True")):
        yield "its LiveKitServer does not exist"


def _room_agents(told: Told) -> Iterator[str]:
    agents = told.status.get("agents") or []
    if told.says("AgentsReady", "False") and told.says("Ready", "True"):
        yield "its agents are not ready, and it is"
    if told.says("Ready", "True") and told.says("AgentsReady", "Unknown"):
        yield "it is ready, and of its agents nothing is known"
    if told.says("AgentsReady", "True"):
        for agent in agents:
            if agent["state"] in ("Unavailable", "Failing", "Paused", "Failed"):
                yield f"its agents are ready, and one is {agent['state']}"
        if not agents:
            yield "its agents are ready, and it has none"
    if told.current and told.spec.get("agents") and not told.condition("AgentsReady"):
        yield "nothing is said of its agents"
    joined = sum(agent["state"] == "Joined" for agent in agents)
    if told.says("Ready", "True") and told.count("agentsJoined") != joined:
        yield f"{told.count('agentsJoined')} agents have joined, and {joined} say so"


def _room_ready(told: Told) -> Iterator[str]:
    if told.says("Ready", "True") and not (told.status.get("sid") and told.status.get("roomName")):
        yield "it is open, and has no id"


def _room_server(told: Told, world: World) -> Iterator[str]:
    if not told.says("Ready", "True"):
        return
    server = _find(world, "LiveKitServer", _target(told, told.spec["serverRef"]))
    if server is None:
        yield "it is open, and its LiveKitServer does not exist"
        return
    found = Told("LiveKitServer", server)
    if not found.says("Ready", "True"):
        yield f"it is open, and its LiveKitServer is not ready: {found.reason('Ready')}"


def _room_pools(told: Told, world: World) -> Iterator[str]:
    if not told.says("AgentsReady", "True"):
        return
    for agent in told.status.get("agents") or ():
        if agent["state"] == "Joined":
            continue
        namespace, _, name = agent["pool"].rpartition("/")
        manifest = _find(world, "VoiceAgentPool", (namespace or told.key[0], name))
        if manifest is None:
            yield f"its agents are ready, and pool {agent['pool']} does not exist"
            continue
        pool = Told("VoiceAgentPool", manifest)
        stuck = pool.says("Ready", "False") and pool.reason("Ready") not in ("Progressing", "RollingOut")
        if (
            not pool.count("readyReplicas")
            and pool.says("AgentsAvailable", "False")
            and (stuck or _is_unborn(pool, world))
        ):
            yield f"its agents are ready, and pool {agent['pool']} has none: {pool.reason('AgentsAvailable')}"


def _is_unborn(pool: Told, world: World) -> bool:
    """Return whether a pool wants pods and none of any version was ever ready."""
    uid = pool.manifest["metadata"]["uid"]
    notes = [
        (kept["metadata"].get("annotations") or {}).keys() & {_SERVED, _PROVEN}
        for kept in world.get("ConfigMap", ())
        if any(owner["uid"] == uid for owner in kept["metadata"].get("ownerReferences") or ())
    ]
    return bool(pool.count("desiredReplicas")) and not any(notes)


_OWN: dict[str, Sequence[Callable[[Told], Iterator[str]]]] = {
    "LiveKitServer": (_server_degraded, _server_ready, _server_counts, _server_up_to_date),
    "VoiceAgentPool": (
        _pool_counts,
        _pool_ready,
        _pool_available,
        _pool_up_to_date,
        _pool_providers,
        _pool_limited,
    ),
    "MeetingRoom": (_room_agents, _room_ready),
}
_SETTLED: dict[str, Sequence[Callable[[Told, World], Iterator[str]]]] = {
    "LiveKitServer": (_server_pods,),
    "VoiceAgentPool": (_pool_pods, _pool_server),
    "MeetingRoom": (_room_server, _room_pools),
}


def _key(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def _find(world: World, kind: str, key: tuple[str, str]) -> Manifest | None:
    return next((manifest for manifest in world.get(kind, ()) if _key(manifest) == key), None)


def _target(told: Told, reference: Mapping[str, str]) -> tuple[str, str]:
    return reference.get("namespace") or told.key[0], reference["name"]


def _pods(told: Told, world: World, component: str) -> list[Manifest]:
    uid = told.manifest["metadata"]["uid"]
    return [
        pod
        for pod in world.get("Pod", ())
        if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or ())
        and (pod["metadata"].get("labels") or {}).get(_COMPONENT) == component
    ]


def _leaves(pod: Manifest) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _has_ended(pod: Manifest) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _revision(pod: Manifest) -> str:
    return str((pod["metadata"].get("labels") or {}).get(_REVISION, ""))


def _shown(told: Told) -> str:
    conditions = [f"{c['type']}={c['status']} {c.get('reason')}: {c.get('message')}" for c in told.status["conditions"]]
    counts = [f"{field}={value}" for field, value in told.status.items() if isinstance(value, int)]
    return "; ".join([*conditions, *counts])
