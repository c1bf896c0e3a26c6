"""What stories do with a pool and its pods, whatever agent these run."""

import json
from collections.abc import Callable, Iterable, Sequence

from tests.e2e.conftest import Story
from tests.harness.agents import AGENT, status_of
from tests.harness.kubectl import Manifest, until
from tests.harness.resources import POOL, SERVER, resource
from tests.harness.watching import Seen

_VERSION = "livekit-operator.dev/revision"
_TRACK = "livekit-operator.dev/track"


def room(name: str, pool: str = POOL, *, dispatch: str = "OnFirstParticipant") -> Manifest:
    """Return a room that one pool serves, with a token for alice."""
    agents = [{"poolRef": {"name": pool}, "dispatch": dispatch}]
    spec = {"serverRef": {"name": SERVER}, "agents": agents, "tokens": [{"identity": "alice"}]}
    return resource("MeetingRoom", name, spec)


async def change(story: Story, spec: Manifest, name: str = POOL) -> None:
    """Merge fields into a pool's spec; None takes one away."""
    patch = json.dumps({"spec": spec})
    await story.kubectl("patch", "voiceagentpool", name, "--type", "merge", "--patch", patch)


async def delete_rooms(story: Story, names: Iterable[str]) -> None:
    """Delete rooms and wait until they are gone."""
    await story.kubectl("delete", "meetingroom", *names, "--wait", "--timeout", "60s")


async def pods(story: Story, name: str = POOL, *, track: str = "") -> list[Manifest]:
    """Return a pool's pods that are not leaving, the oldest first."""
    selector = f"{AGENT},app.kubernetes.io/instance={name}" + (f",{_TRACK}={track}" if track else "")
    found = await story.kubectl.find("pods", selector)
    staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return sorted(staying, key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), str(pod["metadata"]["name"])))


def names_of(pods: Sequence[Manifest]) -> list[str]:
    """Return the pods' names."""
    return [pod["metadata"]["name"] for pod in pods]


async def gone(story: Story, *names: str, seconds: float = 60) -> None:
    """Wait until agents' pods no longer exist."""

    async def look() -> bool:
        return not set(names) & set(names_of(await story.kubectl.find("pods", AGENT)))

    await until(f"the pods {', '.join(names)} to be gone", look, seconds=seconds)


async def draining(story: Story, pod: str, *, seconds: float = 30) -> None:
    """Wait until a worker knows that its pod is to leave, or is gone: until then it may be given calls."""

    async def look() -> bool:
        found = [each for each in await story.kubectl.find("pods", AGENT) if each["metadata"]["name"] == pod]
        return not found or bool((await status_of(story.kubectl, found[0]))["draining"])

    await until(f"{pod} to drain", look, seconds=seconds)


def revision(pod: Manifest) -> str:
    """Return the version that a pod is of."""
    return str(pod["metadata"]["labels"][_VERSION])


def version_of(state: Seen | Manifest, revision: str) -> Manifest:
    """Return the line of a revision in a pool's `status.versions`, empty when it is not there."""
    status = state.status if isinstance(state, Seen) else state.get("status") or {}
    return next((line for line in status.get("versions") or () if line["revision"] == revision), {})


def on_track(state: Seen | Manifest, track: str) -> str:
    """Return the newest revision that a pool's status says is on this track, empty when none is."""
    status = state.status if isinstance(state, Seen) else state.get("status") or {}
    return next((str(line["revision"]) for line in status.get("versions") or () if line["track"] == track), "")


def rolled_out(state: Seen) -> bool:
    """Return whether every pod that is wanted serves and is as wanted; older ones may still end their calls."""
    status = state.status
    counts = {status.get(name) for name in ("replicas", "readyReplicas", "updatedReplicas", "desiredReplicas")}
    current = status.get("observedGeneration") == state.manifest["metadata"].get("generation")
    return bool(current and len(counts) == 1 and state.condition("Ready").get("status") == "True")


def has_come_to(replicas: int) -> Callable[[Seen], bool]:
    """Return a condition for a watched pool: so many pods, ready and of the wanted version."""

    def condition(state: Seen) -> bool:
        status = state.status
        current = status.get("observedGeneration") == state.manifest["metadata"].get("generation")
        counts = {status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")}
        return bool(current and counts == {replicas})

    return condition
