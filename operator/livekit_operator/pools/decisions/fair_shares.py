"""Whose turn it is when namespaces share the places of a pool: pure decisions.

    below its share               -> a free place is taken
    at or beyond it               -> one is borrowed, while enough stay free for those below theirs:
                                     as many as they wait for, and of the pool's own namespace a tenth of all places

A share is an equal part of all places there are, taken and free, for each namespace that has one or waits for one; the
pool's own namespace always counts. No call is ended to give somebody else a place, so lent places come back only as
calls end: that is why not all are lent. A pool that no other namespace uses is all its own namespace's.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from heapq import heapify, heappop, heappush
from math import ceil

RoomKey = tuple[str, str]

# Part of a pool's places that is not lent while its own namespace has less than its share.
_KEPT_FOR_OWN = 0.1


def may_take(namespace: str, own: str, held: Mapping[str, int], waiting: Mapping[str, int], free: int) -> bool:
    """Return whether a namespace may take one of the `free` places of a pool.

    `held` and `waiting` are namespace -> places it has, and rooms of it that wait for one; `own` is the pool's
    namespace, empty when nothing is kept for it.
    """
    if free <= 0:
        return False
    places = free + sum(held.values())
    users = {own, namespace, *(n for n, number in (*held.items(), *waiting.items()) if number)} - {""}
    share = max(1, places // len(users))
    if held.get(namespace, 0) < share:
        return True
    kept = {own: ceil(places * _KEPT_FOR_OWN)} if own else {}
    others = {other: share - held.get(other, 0) for other in users - {namespace}}
    owed = sum(min(left, max(waiting.get(other, 0), kept.get(other, 0))) for other, left in others.items() if left > 0)
    return free > owed


def next_in_line(
    waiting: Mapping[RoomKey, datetime], namespaces: Mapping[RoomKey, str], held: Mapping[str, int], places: int
) -> list[RoomKey]:
    """Return the rooms that the next `places` places are for: of the namespace with the fewest, who waits longest.

    `waiting` is room -> since when, `namespaces` whose room each is.
    """
    lines: defaultdict[str, list[tuple[datetime, RoomKey]]] = defaultdict(list)
    for room, since in waiting.items():
        lines[namespaces[room]].append((since, room))
    turns: list[tuple[int, datetime, str]] = []
    for namespace, line in lines.items():
        line.sort(reverse=True)
        turns.append((held.get(namespace, 0), line[-1][0], namespace))
    heapify(turns)
    found: list[RoomKey] = []
    while turns and len(found) < places:
        number, _, namespace = heappop(turns)
        line = lines[namespace]
        found.append(line.pop()[1])
        if line:
            heappush(turns, (number + 1, line[-1][0], namespace))
    return found
