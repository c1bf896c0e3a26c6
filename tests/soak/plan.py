"""What a soak will do, all of it decided by a seed: nothing here knows a cluster or a clock."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What goes wrong."""

    OPERATOR = "operator killed"
    SERVER = "server killed"
    WORKER = "worker killed"
    NODE = "node killed"
    API_SERVER = "API server restarted"
    REDIS = "Redis flushed"
    LINK = "slow link"
    EVICTION = "pod evicted"
    CLOCK = "clock moved"
    CPU = "CPU taken"


@dataclass(frozen=True)
class Character:
    """What is known of a kind of fault, in seconds.

    How long one lasts, `least` to `most`; within what time everything is healed after it; how long that takes usually,
    from which follows how many faults a plan has.
    """

    least: float
    most: float
    heals_within: float
    usually: float


CHARACTERS = {
    # Another pod starts, and has everything looked at.
    Kind.OPERATOR: Character(0, 0, 60, 12),
    # The kubelet waits before it starts again what ends often, 40 s after the third time. Then each room is made again.
    Kind.SERVER: Character(0, 0, 120, 25),
    Kind.WORKER: Character(0, 0, 120, 20),
    # A node is called lost after 30 s and its pods are moved 30 s later; a whole node starts again on busy cores.
    Kind.NODE: Character(5, 60, 240, 90),
    Kind.API_SERVER: Character(0, 0, 60, 15),
    # Each room is made again.
    Kind.REDIS: Character(0, 0, 90, 20),
    Kind.LINK: Character(15, 45, 60, 12),
    # A pod with calls leaves when they are over.
    Kind.EVICTION: Character(0, 0, 120, 15),
    # The operator sees within ten seconds that its clock was moved.
    Kind.CLOCK: Character(12, 30, 60, 15),
    Kind.CPU: Character(15, 45, 60, 12),
}
# Without those that take minutes.
QUICK = tuple(kind for kind in Kind if kind is not Kind.NODE)

_PAUSE = (2.0, 8.0)
_CALL = (8.0, 40.0)
# From what a clock is corrected by to more than a token lives.
_CLOCK_SECONDS = (10.0, 9 * 3600.0)


@dataclass(frozen=True)
class Sizes:
    """How much a soak does: rooms and how often the operator is killed while they come, calls, minutes of faults."""

    rooms: int = 2000
    kills: int = 10
    calls: int = 200
    minutes: float = 60.0
    kinds: tuple[Kind, ...] = tuple(Kind)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong after a pause, for so many seconds; `chance` in [0, 1) says to whom, or how much."""

    number: int
    kind: Kind
    pause: float
    lasts: float
    chance: float

    @property
    def clock_seconds(self) -> int:
        """By how much a clock is moved, forward or back: as often by seconds as by minutes or hours."""
        least, most = _CLOCK_SECONDS
        size: float = least * (most / least) ** abs(2 * self.chance - 1)
        return round(size if self.chance >= 0.5 else -size)


@dataclass(frozen=True)
class Call:
    """A call that begins so many seconds after faults begin, and lasts so many after its agent came."""

    number: int
    begins: float
    lasts: float


@dataclass(frozen=True)
class Plan:
    """All that a soak does: at how many rooms the operator is killed, the faults in their order, and the calls."""

    seed: int
    sizes: Sizes
    kills: tuple[int, ...]
    faults: tuple[Fault, ...]
    calls: tuple[Call, ...]


def make_plan(seed: int, sizes: Sizes) -> Plan:
    """Return the plan of a seed. A longer one begins with the faults of a shorter one of the same kinds."""
    return Plan(
        seed,
        sizes,
        kills=tuple(_kills(random.Random(f"{seed} kills"), sizes)),
        faults=tuple(_faults(random.Random(f"{seed} faults"), sizes)),
        calls=tuple(_calls(random.Random(f"{seed} calls"), sizes)),
    )


def choose(candidates: Sequence[str], chance: float) -> str:
    """Return the one of some names that a chance in [0, 1) stands for, whatever their order; there must be one."""
    return sorted(candidates)[int(chance * len(candidates))]


def _kills(luck: random.Random, sizes: Sizes) -> Iterator[int]:
    """Yield a number of rooms within each of as many equal parts."""
    for number in range(sizes.kills):
        yield int(sizes.rooms * (number + luck.random()) / sizes.kills)


def _faults(luck: random.Random, sizes: Sizes) -> Iterator[Fault]:
    """Yield faults for as long as they usually take the time there is; each kind comes once before any comes again."""
    left, number, deck = sizes.minutes * 60, 0, list[Kind]()
    while sizes.kinds:
        deck = deck or sorted(sizes.kinds)
        kind = deck.pop(int(luck.random() * len(deck)))
        character = CHARACTERS[kind]
        pause, lasts = _between(luck, *_PAUSE), _between(luck, character.least, character.most)
        left -= pause + lasts + character.usually
        if left < 0:
            return
        number += 1
        yield Fault(number, kind, pause, lasts, luck.random())


def _calls(luck: random.Random, sizes: Sizes) -> Iterator[Call]:
    """Yield calls that come at random over the time of the faults."""
    begins = sorted(luck.random() * sizes.minutes * 60 for _ in range(sizes.calls))
    for number, moment in enumerate(begins, 1):
        yield Call(number, round(moment, 1), _between(luck, *_CALL))


def _between(luck: random.Random, least: float, most: float) -> float:
    return round(least + luck.random() * (most - least), 1)
