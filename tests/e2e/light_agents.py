"""Pools of light agents: workers of a user's own, of a few lines of code and without sound.

Each says in its attributes which pod it came from and which version that is, so that LiveKit itself tells who serves a
room.
"""

from typing import Any

from tests.e2e.conftest import Story
from tests.e2e.servers import node_ports, server
from tests.harness.install import find_images
from tests.harness.kubectl import Manifest
from tests.harness.resources import POOL, SERVER, resource
from tests.light_agent import NO_PROVIDER

CODE = "agent-code"
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


def code(*, first: str = "", options: str = "", session: str = LISTENS, request: str = "") -> str:
    """Return an agent's code: what it does `first`, more options of its worker, and what it does with a call."""
    return f"""\
import os

# Read by the library: no loop is watched for being blocked, which costs 100 wake-ups a second each.
os.environ.setdefault("LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS", "0")

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


def code_map(*, providers: bool = False, **files: str) -> Manifest:
    """Return the ConfigMap with agents' code: name of a file without `.py` -> code.

    Without `providers` they start in three quarters of the time, as LiveKit's library imports nobody else's.
    """
    data = {f"{name}.py": text for name, text in (files or {"agent": code()}).items()}
    if not providers:
        data["openai.py"] = NO_PROVIDER.read_text()
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
    return resource("VoiceAgentPool", name, {key: value for key, value in fields.items() if value is not None})


async def serve(
    story: Story, *manifests: Manifest, code: Manifest | None = None, server_spec: Manifest | None = None
) -> None:
    """Apply a server, agents' code and what else there is, and wait until pools and rooms are ready."""
    await story.kubectl.apply(server(**node_ports(**(server_spec or {}))), code or code_map(), *manifests)
    for kind, singular in (("VoiceAgentPool", "voiceagentpool"), ("MeetingRoom", "meetingroom")):
        if names := [m["metadata"]["name"] for m in manifests if m["kind"] == kind]:
            await story.ready(singular, *names)
