"""What must hold after a soak, whatever went wrong: pure functions of what there is then.

`gather` reads it all once; each rule returns a sentence for each thing that does not hold.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import jwt

from tests.e2e import rooms
from tests.e2e.conftest import MANAGED, Story
from tests.harness.api import Api
from tests.harness.contents import OWN_KINDS
from tests.harness.kubectl import Manifest, is_ready
from tests.harness.redis import Redis
from tests.harness.servers import Key, key_in_use
from tests.soak.calling import Record
from tests.soak.memory import Growth

CHILDREN = "pods,services,secrets,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets"
# Source: livekit-server pkg/service/redisstore.go
_DISPATCHES = "agent_dispatch:"


@dataclass(frozen=True)
class Facts:
    """What there is once everything has healed."""

    wanted: Sequence[str]
    """The names of the rooms that should be there."""
    rooms: Mapping[str, Manifest]
    listed: Sequence[tuple[str, str]]
    """Name and id of each room on the server, those included that its Redis has forgotten."""
    secrets: Mapping[str, Manifest]
    key: Key
    children: Sequence[Manifest]
    owners: Sequence[Manifest]
    dispatches: Sequence[str]
    """The names of the rooms that Redis has dispatches for."""


@dataclass(frozen=True)
class Course:
    """What happened on the way."""

    records: Sequence[Record] = ()
    unhealed: Sequence[str] = ()
    contradictions: Sequence[str] = ()
    growth: Growth | None = None
    left: Sequence[str] = field(default=())
    """What stayed when everything had been deleted."""


async def gather(story: Story, api: Api, redis: Redis, names: Sequence[str]) -> Facts:
    """Read what there is."""
    livekit, found = await story.rooms(), await rooms.rooms(story, api)
    listed = await livekit.listed()
    # A room that Redis has forgotten is there and not listed (livekit-server pkg/service/roommanager.go).
    unlisted = await livekit.made(*sorted(found.keys() - {name for name, _ in listed}))
    return Facts(
        wanted=names,
        rooms=found,
        listed=[*listed, *unlisted],
        secrets=await rooms.secrets(story, api),
        key=await key_in_use(story.kubectl),
        children=await story.kubectl.find(CHILDREN, MANAGED),
        owners=await story.kubectl.find(OWN_KINDS),
        dispatches=[key.removeprefix(_DISPATCHES) for key in await redis.keys() if key.startswith(_DISPATCHES)],
    )


def every_room_ready(facts: Facts) -> Iterator[str]:
    """Every room that is wanted is there and ready, and no other is there."""
    for name in facts.wanted:
        if name not in facts.rooms:
            yield f"MeetingRoom {name} is gone"
        elif not is_ready(facts.rooms[name]):
            yield f"MeetingRoom {name} is not ready"
    for name in sorted(facts.rooms.keys() - set(facts.wanted)):
        yield f"MeetingRoom {name} was deleted and is there"


def one_secret_for_each_identity(facts: Facts) -> Iterator[str]:
    """Each room has the one Secret of its one identity, and the token in it lets alice in now."""
    expected = {f"{name}-alice": name for name in facts.wanted}
    for secret in sorted(facts.secrets.keys() - expected.keys()):
        yield f"Secret {secret} is nobody's"
    for secret, room in expected.items():
        if secret not in facts.secrets:
            yield f"Secret {secret} is missing"
        elif problem := _refused(facts.secrets[secret], room, facts.key):
            yield f"Secret {secret}: {problem}"


def _refused(secret: Manifest, room: str, key: Key) -> str:
    try:
        found = rooms.lets_in(secret, key)
    except (KeyError, jwt.InvalidTokenError) as error:
        return f"its token is no good: {error}"
    return "" if found == ("alice", room) else f"its token is for {found}"


def no_child_without_owner(facts: Facts) -> Iterator[str]:
    """Whatever the operator made has an owner that is there."""
    uids = {owner["metadata"]["uid"] for owner in facts.owners}
    for child in facts.children:
        owners = {owner["uid"] for owner in child["metadata"].get("ownerReferences") or ()}
        if not owners & uids:
            yield f"{child['kind']} {child['metadata']['name']} has no owner"


def rooms_as_declared(facts: Facts) -> Iterator[str]:
    """The server has each room once, the one that its resource tells of, and no other."""
    told = {name: (room.get("status") or {}).get("sid") for name, room in facts.rooms.items()}
    for name, times in sorted(Counter(name for name, _ in facts.listed).items()):
        if name not in told:
            yield f"room {name} on the server has no resource"
        if times > 1:
            yield f"room {name} is on the server {times} times"
    there = dict(facts.listed)
    for name, sid in sorted(told.items()):
        if name not in there:
            yield f"room {name} is not on the server"
        elif there[name] != sid:
            yield f"room {name} is {there[name]} on the server, and {sid} in its status"


def no_dispatch_without_room(facts: Facts) -> Iterator[str]:
    """No agent is asked for where there is no room."""
    there = {name for name, _ in facts.listed}
    for name in sorted(set(facts.dispatches) - there):
        yield f"an agent is asked for in room {name}, which is not there"


def no_memory_growing(course: Course) -> Iterator[str]:
    """The operator needs no more while it does the same again and again."""
    if course.growth is None:
        yield "too little was seen of the operator's memory"
    elif course.growth.grows:
        yield f"the operator's memory grows: {course.growth}"


def no_call_cut(course: Course) -> Iterator[str]:
    """No call is cut but those on a pod that was killed."""
    for record in course.records:
        if record.cut and not record.cause:
            yield f"{record.name} was cut and nothing was killed that it was on: {record.cut}"


def every_call_served(course: Course) -> Iterator[str]:
    """Every caller had an agent, and another one when theirs was killed."""
    for record in course.records:
        if record.failed:
            yield f"{record.name}: {record.failed}"


def healed_in_time(course: Course) -> Iterator[str]:
    """After each fault everything is well within the time that is stated for it."""
    yield from course.unhealed


def no_contradiction(course: Course) -> Iterator[str]:
    """No status ever said what cannot be."""
    yield from course.contradictions


def nothing_left(course: Course) -> Iterator[str]:
    """Nothing stays of what is deleted."""
    yield from course.left


_OF_FACTS: Mapping[str, Callable[[Facts], Iterator[str]]] = {
    "every room is ready": every_room_ready,
    "one Secret for each identity": one_secret_for_each_identity,
    "no child without owner": no_child_without_owner,
    "the server's rooms are those declared": rooms_as_declared,
    "no dispatch without room": no_dispatch_without_room,
}
_OF_COURSE: Mapping[str, Callable[[Course], Iterator[str]]] = {
    "healed in time after each fault": healed_in_time,
    "no call cut but on a killed pod": no_call_cut,
    "every call had an agent": every_call_served,
    "no status contradicts": no_contradiction,
    "no memory growing": no_memory_growing,
    "nothing left when all is deleted": nothing_left,
}


def settled(facts: Facts) -> list[str]:
    """Return what does not hold of what there is."""
    return [problem for rule in _OF_FACTS.values() for problem in rule(facts)]


def judged(facts: Facts, course: Course) -> dict[str, list[str]]:
    """Return each invariant with what does not hold."""
    found = {name: list(rule(facts)) for name, rule in _OF_FACTS.items()}
    return found | {name: list(rule(course)) for name, rule in _OF_COURSE.items()}
