"""What stories of VoiceAgentPool share: pools of light agents, people in rooms, and the server's word on who is where.

A light agent is a worker of a user's own, with a few lines of code and no sound. It says in its attributes which pod it
came from and which version that is, so that LiveKit itself tells who serves a room.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from livekit import api

from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.agents import status_of
from tests.harness.calls import Guest, Guests
from tests.harness.install import find_images
from tests.harness.kubectl import CommandError, Manifest, until
from tests.harness.resources import SERVER
from tests.harness.servers import Key
from tests.harness.watching import Seen

POOL = "desk"
CODE = "agent-code"
# LiveKit waits three seconds for a worker to take a job. Where both are so busy that the answer gets lost, the agent
# comes without being on any list, and so does the one asked for in its place, until that is seen.
DOUBLED_SECONDS = 5.0
AGENTS = "app.kubernetes.io/component=agent"
# Leaves its last words where the kubelet finds them, as any program may.
CRASHES = ("sh", "-c", "echo 'no model file' > /dev/termination-log; exit 3")
# Begins its work once a name can be resolved, as one that needs something which is away.
WAITS_FOR = "model-store"
WAITS = (
    "sh",
    "-c",
    f"trap exit TERM; until getent hosts {WAITS_FOR}; do sleep 0.5; done; exec python /code/agent.py start",
)
# Runs for ever, and ends when it is told to.
NEVER_REGISTERS = ("sh", "-c", "trap exit TERM; sleep infinity & wait")
# What an AgentSession does as well: it says that it listens when it is connected. An agent that ends while it connects
# takes its whole worker with it where calls are threads, as the LiveKit library panics.
LISTENS = """await ctx.connect()
    await ctx.room.local_participant.set_attributes({"lk.agent.state": "listening"})"""
_VERSION = "livekit-operator.dev/revision"
_TRACK = "livekit-operator.dev/track"


def code(*, first: str = "", options: str = "", session: str = LISTENS, request: str = "") -> str:
    """Return an agent's code: what it does `first`, more options of its worker, and what it does with a call."""
    return f"""\
import os

from livekit.agents import AgentServer, JobContext, JobExecutorType, JobRequest, cli

{first}


async def answer(request: JobRequest) -> None:
    {request or 'await request.accept(attributes={"pod": os.environ["HOSTNAME"], "version": os.environ["VERSION"]})'}


# Threads instead of processes: a call without sound needs none of its own.
server = AgentServer(job_executor_type=JobExecutorType.THREAD, num_idle_processes=1{options})


@server.rtc_session(on_request=answer, agent_name=os.environ.get("AGENT_NAME", ""))
async def entrypoint(ctx: JobContext) -> None:
    {session}


if __name__ == "__main__":
    cli.run_app(server)
"""


def code_map(**files: str) -> Manifest:
    """Return the ConfigMap with agents' code: name of a file without `.py` -> code."""
    data = {f"{name}.py": text for name, text in (files or {"agent": code()}).items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CODE}, "data": data}


def agent(story: Story, version: str = "1", file: str = "agent", **fields: Any) -> Manifest:
    """Return `spec.agent` for code of `code_map`, run by the stock image as if it were the user's own."""
    return {
        "image": find_images(story.platform.target).agent,
        "command": ["python", f"/code/{file}.py", "start"],
        "env": [{"name": "VERSION", "value": version}],
        **fields,
    }


def command(story: Story, *words: str) -> Manifest:
    """Return `spec.agent` that runs something else than an agent."""
    return agent(story, command=list(words))


def pool(story: Story, name: str = POOL, **spec: Any) -> Manifest:
    """Return a pool of light agents, changed at will; None takes a field away."""
    mount = {"name": "code", "mountPath": "/code", "readOnly": True}
    fields = {
        "serverRef": {"name": SERVER},
        "agent": agent(story),
        "sessionsPerPod": 4,
        "idleProcesses": 1,
        "drainTimeoutSeconds": 120,
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "podTemplate": {"volumes": [{"name": "code", "configMap": {"name": CODE}}], "volumeMounts": [mount]},
        **spec,
    }
    return _resource("VoiceAgentPool", name, {key: value for key, value in fields.items() if value is not None})


def room(name: str, pool: str = POOL, *, dispatch: str = "OnFirstParticipant") -> Manifest:
    """Return a room that one pool serves, with a token for alice."""
    agents = [{"poolRef": {"name": pool}, "dispatch": dispatch}]
    spec = {"serverRef": {"name": SERVER}, "agents": agents, "tokens": [{"identity": "alice"}]}
    return _resource("MeetingRoom", name, spec)


def _resource(kind: str, name: str, spec: object) -> Manifest:
    return {
        "apiVersion": "livekit-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


async def serve(
    story: Story, *manifests: Manifest, code: Manifest | None = None, server_spec: Manifest | None = None
) -> None:
    """Apply a server, agents' code and what else there is, and wait until pools and rooms are ready."""
    await story.kubectl.apply(server(**node_ports(**(server_spec or {}))), code or code_map(), *manifests)
    for kind, resource in (("VoiceAgentPool", "voiceagentpool"), ("MeetingRoom", "meetingroom")):
        if names := [m["metadata"]["name"] for m in manifests if m["kind"] == kind]:
            await story.ready(resource, *names)


async def change(story: Story, spec: Manifest, name: str = POOL) -> None:
    """Merge fields into a pool's spec; None takes one away."""
    patch = json.dumps({"spec": spec})
    await story.kubectl("patch", "voiceagentpool", name, "--type", "merge", "--patch", patch)


async def delete_rooms(story: Story, names: Iterable[str]) -> None:
    """Delete rooms and wait until they are gone."""
    await story.kubectl("delete", "meetingroom", *names, "--wait", "--timeout", "60s")


async def pods(story: Story, name: str = POOL, *, track: str = "") -> list[Manifest]:
    """Return a pool's pods that are not leaving, the oldest first."""
    selector = f"{AGENTS},app.kubernetes.io/instance={name}" + (f",{_TRACK}={track}" if track else "")
    found = await story.kubectl.find("pods", selector)
    staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return sorted(staying, key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), str(pod["metadata"]["name"])))


async def gone(story: Story, pod: str, *, seconds: float = 60) -> None:
    """Wait until a pod no longer exists."""

    async def look() -> bool:
        return pod not in [found["metadata"]["name"] for found in await story.kubectl.find("pods", AGENTS)]

    await until(f"pod {pod} to be gone", look, seconds=seconds)


async def draining(story: Story, pod: str, *, seconds: float = 30) -> None:
    """Wait until a worker knows that its pod is to leave, or is gone: until then it may be given calls."""

    async def look() -> bool:
        found = [each for each in await story.kubectl.find("pods", AGENTS) if each["metadata"]["name"] == pod]
        return not found or bool((await status_of(story.kubectl, found[0]))["draining"])

    await until(f"{pod} to drain", look, seconds=seconds)


def revision(pod: Manifest) -> str:
    """Return the version that a pod is of."""
    return str(pod["metadata"]["labels"][_VERSION])


async def condition(
    story: Story,
    kind: str,
    name: str,
    type_: str,
    reason: str,
    *,
    status: str = "",
    words: Sequence[str] = (),
    seconds: float = 60,
) -> str:
    """Wait until a condition has this reason, and a status and words if given, for the current spec.

    Return its message.
    """

    async def look() -> str:
        manifest = await story.kubectl.get(kind, name)
        for found in (manifest.get("status") or {}).get("conditions") or ():
            if found.get("observedGeneration") != manifest["metadata"]["generation"] or found["type"] != type_:
                continue
            message = str(found["message"])
            told.append(f"{found['status']} {found['reason']}: {message}")
            if found["reason"] == reason and status in ("", found["status"]) and all(w in message for w in words):
                return message
        return ""

    told: list[str] = []
    try:
        message: str = await until(f"{kind}/{name} to say {type_} {reason}", look, seconds=seconds)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; it says {told[-1:]}") from None
    return message


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


@dataclass(frozen=True)
class Agent:
    """An agent in a room, in its own words; what it does not say is empty, as `state` is while it connects."""

    identity: str
    name: str
    state: str
    pod: str
    version: str

    @classmethod
    def of(cls, participant: api.ParticipantInfo) -> Self:
        """Read a participant's attributes."""
        said = participant.attributes
        words = ("lk.agent.name", "lk.agent.state", "pod", "version")
        return cls(participant.identity, *(said.get(word, "") for word in words))


def _is_served(agents: Sequence[Agent]) -> bool:
    return len(agents) == 1 and bool(agents[0].state)


class Switchboard:
    """The server's own word on which agents are in which rooms.

    `most` is the largest number ever seen in a room, `doubled` for how many seconds more than one was seen there.
    """

    def __init__(self, client: api.LiveKitAPI) -> None:
        self.client = client
        self.most: dict[str, int] = defaultdict(int)
        self.doubled: dict[str, float] = {}
        self._doubled_since: dict[str, float] = {}

    async def agents(self, room: str) -> list[Agent]:
        """Return the agents in a room."""
        asked = time.monotonic()
        try:
            answer = await self.client.room.list_participants(api.ListParticipantsRequest(room=room))
        except api.ServerError as error:
            if error.status == 404:
                self._doubled_since.pop(room, None)
                return []
            if error.status < 500:
                raise
            raise CommandError(f"the server does not answer: {error}") from error
        except aiohttp.ClientError as error:
            raise CommandError(f"the server does not answer: {error}") from error
        found = [Agent.of(p) for p in answer.participants if p.kind == api.ParticipantInfo.Kind.AGENT]
        self.most[room] = max(self.most[room], len(found))
        if len(found) > 1:
            since = self._doubled_since.setdefault(room, asked)
            self.doubled[room] = max(self.doubled.get(room, 0.0), time.monotonic() - since)
        else:
            self._doubled_since.pop(room, None)
        return found

    async def served(self, *rooms: str, seconds: float = 60) -> list[Agent]:
        """Wait until each of these rooms has one agent, which is connected, and return these."""

        async def look() -> list[Agent]:
            found = await asyncio.gather(*(self.agents(room) for room in rooms))
            odd = [(room, agents) for room, agents in zip(rooms, found, strict=True) if not _is_served(agents)]
            if odd:
                raise CommandError(f"{odd}")
            return [agents[0] for agents in found]

        agents: list[Agent] = await until(f"agents in {', '.join(rooms)}", look, seconds=seconds)
        return agents


@asynccontextmanager
async def switchboard(story: Story) -> AsyncIterator[Switchboard]:
    """Connect to the story's server."""
    url, key = await access(story)
    async with api.LiveKitAPI(url, key.id, key.secret) as client:
        yield Switchboard(client)


async def access(story: Story) -> tuple[str, Key]:
    """Return the URL of the story's server, and its key."""
    (manifest,) = await story.ready("livekitserver", SERVER)
    keys = await story.kubectl.secret(manifest["status"]["keysSecretName"])
    return manifest["status"]["externalUrl"], Key(keys["apiKey"], keys["apiSecret"])


@asynccontextmanager
async def guest(story: Story, room: str) -> AsyncIterator[Guest]:
    """Enter a MeetingRoom as alice, when her token is there."""

    async def look() -> dict[str, str]:
        return await story.kubectl.secret(f"{room}-alice")

    secret: dict[str, str] = await until(f"alice's token for {room}", look)
    async with Guests(Guest, [secret], within=0.0) as guests:
        yield guests.all[0]


async def meet(board: Switchboard, guest: Guest, *, seconds: float = 60) -> Agent:
    """Wait until a guest sees the room's only agent, and return it.

    LiveKit tells people only after some seconds of somebody who publishes nothing.
    """
    (agent,) = await board.served(guest.room, seconds=seconds)

    async def look() -> bool:
        return guest.agents == {agent.identity}

    await until(f"{agent.identity} to be seen in {guest.room}", look, seconds=20)
    return agent


@asynccontextmanager
async def guest_room(story: Story, name: str, pool: str = POOL) -> AsyncIterator[Guest]:
    """Make a MeetingRoom and enter it."""
    await story.kubectl.apply(room(name, pool))
    async with guest(story, name) as entered:
        yield entered
