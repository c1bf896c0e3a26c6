"""After a clock was set back no moment that is remembered lies ahead: what waits for one would wait for hours."""

import dataclasses
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from livekit_operator import reasons
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.errors import Problem
from livekit_operator.pools.memory import PoolMemory
from livekit_operator.pools.told import ToldSessions
from livekit_operator.process.wiring import TABLE, set_back
from livekit_operator.reconciling.braking import counted
from livekit_operator.reconciling.context import Context as KitContext
from livekit_operator.reconciling.context import HangingPod
from livekit_operator.reconciling.decisions.brakes import Brakes, Held
from livekit_operator.reconciling.event_series import Told
from livekit_operator.reconciling.refusals import Refusal
from livekit_operator.rooms.context import Context
from livekit_operator.rooms.decisions.asked import AskedAgent
from livekit_operator.rooms.memory import KeptTokens, RoomsMemory, Tokens
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.memory import Connection, Dialed, PodMemory, ServersMemory
from livekit_operator.views import EndedCall, EndedJob
from tests.fakes import manifests
from tests.fakes.world import World

KEY = ("team", "a")
ROOM = ("team", "room")
PROBLEM = Problem(reasons.BACKING_OFF, "it waits")
MEMORIES = (
    KitContext,
    ServersMemory,
    Connection,
    PodMemory,
    Dialed,
    PoolMemory,
    ToldSessions,
    RoomsMemory,
    AskedAgent,
    EndedCall,
)


def fill(context: Context, ahead: datetime) -> None:
    """Have every memory hold a moment in each place that takes one."""
    context.foreign_secrets[KEY] = ahead, None
    context.hanging["uid"] = HangingPod(ahead, None)
    context.brakes["MeetingRoom", KEY] = Brakes("uid", holds={"pods": Held(PROBLEM, ahead)})
    context.events.next(Told("uid", "Warning", "Reason", "it failed"), ahead)
    context.unanswered[KEY] = ahead
    context.kept_tokens[KEY] = KeptTokens((), (), Tokens((), None), ahead)
    context.gateways[KEY] = ahead, None
    context.dialed[KEY] = Dialed("ws://a", ahead)
    keys = ServerKeys("key", "secret", "ws://a", "wss://a")
    access = Connection(context.connect("ws://a", "key", "secret"), keys, "ws://a", missed=ahead, answered=ahead)
    access.rooms.lonely_seconds("a", people=0, now=ahead)
    context.servers[KEY] = access
    context.server_pods[KEY] = {"uid": PodMemory(deserted_since=ahead, withdrawn=ahead, log_read=ahead)}
    pool = context.pool_memory(KEY)
    pool.lost["job"] = pool.silent["uid"] = pool.looked = ahead
    pool.ended["job"] = EndedCall(EndedJob("job", "a", failed=True), ahead, "pod")
    asked = AskedAgent(
        last_failure=pool.ended["job"],
        left_at=ahead,
        vanished_at=ahead,
        missing_since=ahead,
        asked_for=(("alice", ahead),),
    )
    context.asked_agents[ROOM] = {"agent": asked}
    pool.wanted = {3: ahead}
    pool.waiting[ROOM] = pool.unanswered[ROOM] = pool.unconnected[ROOM] = ahead
    pool.promised[ROOM] = ("a", "", ahead)
    pool.refusals.current["pod"] = Refusal("", ahead, PROBLEM)
    pool.told = ToldSessions(ahead, frozenset(), ())


def moments(thing: Any, path: str = "") -> Iterator[tuple[str, datetime]]:
    """Yield every moment that something of the operator's holds, with the way there."""
    if isinstance(thing, datetime):
        yield path, thing
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from moments(value, f"{path}[{key}]")
    elif isinstance(thing, list | tuple | set | frozenset):
        for number, value in enumerate(thing):
            yield from moments(value, f"{path}[{number}]")
    elif dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield from moments(getattr(thing, field.name), f"{path}.{field.name}")
    elif type(thing).__module__.startswith("livekit_operator.") and hasattr(thing, "__dict__"):
        for name, value in vars(thing).items():
            yield from moments(value, f"{path}.{name}")


def fields_of_moments() -> set[str]:
    """Return the names of the fields of all memories that hold moments."""
    fields = [field for memory in MEMORIES for field in dataclasses.fields(memory)]
    return {field.name for field in fields if re.search(r"\bdatetime\b", str(field.type)) and field.name != "now"}


def test_no_moment_lies_ahead() -> None:
    context = World().context
    now = context.now()
    fill(context, now + timedelta(hours=9))
    there = dict(moments(context))
    assert fields_of_moments() <= {re.findall(r"\.(\w+)", path)[-1] for path in there}, "one is not tried here"
    assert {moment for moment in there.values() if moment > now} == {now + timedelta(hours=9)}
    set_back(context, TABLE)
    assert [path for path, moment in moments(context) if moment > now] == []


def test_what_is_known_otherwise_stays() -> None:
    context = World().context
    before = context.now() - timedelta(seconds=3)
    fill(context, before)
    access, pool = context.servers[KEY], context.pools[KEY]
    set_back(context, TABLE)
    assert (context.servers, context.pools) == ({KEY: access}, {KEY: pool})
    assert access.answered == context.server_pods[KEY]["uid"].withdrawn == before
    assert (pool.promised, pool.lost, pool.wanted) == ({ROOM: ("a", "", before)}, {"job": before}, {3: before})
    assert pool.waiting == {ROOM: before}
    assert access.rooms.lonely_seconds("a", people=0, now=context.now()) == 3.0


def test_passes_that_run_meanwhile_note_what_they_find_where_others_look() -> None:
    """They have a copy of the context, whose memories must be the context's own."""
    world = World()
    context, ahead = world.context, world.context.now() + timedelta(hours=9)
    fill(context, ahead)
    of_a_pass = counted(context, MeetingRoom.model_validate(manifests.stored(manifests.room())))
    set_back(context, TABLE)
    of_a_pass.unanswered["team", "b"] = context.now()
    assert context.unanswered == {KEY: context.now(), ("team", "b"): context.now()}
    apart = [name for name, value in vars(context).items() if vars(of_a_pass)[name] is not value]
    assert apart == ["kubernetes"], "a pass counts its writes, and has all the rest in common"
