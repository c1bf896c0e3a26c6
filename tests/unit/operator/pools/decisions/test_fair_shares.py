"""Places of a pool that several namespaces share."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from livekit_operator.pools.decisions.fair_shares import may_take, next_in_line

OWN = "desk"
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("namespace", "held", "waiting", "free", "taken"),
    [
        pytest.param(OWN, {}, {}, 1, True, id="a pool of its own namespace"),
        pytest.param(OWN, {OWN: 99}, {}, 1, True, id="all of it"),
        pytest.param(OWN, {OWN: 100}, {}, 0, False, id="none is free"),
        pytest.param("web", {}, {}, 100, True, id="the first of another namespace"),
        pytest.param("web", {"web": 49}, {}, 51, True, id="below its half"),
        pytest.param("web", {"web": 89}, {}, 11, True, id="what nobody wants is lent"),
        pytest.param("web", {"web": 90}, {}, 10, False, id="but for the tenth that is the pool's own namespace's"),
        pytest.param("web", {"web": 90, OWN: 0}, {OWN: 3}, 10, False, id="which it takes"),
        pytest.param(OWN, {"web": 90}, {"web": 900}, 10, True, id="at once"),
        pytest.param(OWN, {"web": 90, OWN: 9}, {"web": 900}, 1, True, id="up to its share"),
        pytest.param("web", {"web": 49, OWN: 50}, {OWN: 900}, 1, True, id="and no further while the other has less"),
        pytest.param(OWN, {"web": 49, OWN: 50}, {"web": 1}, 1, False, id="a place that the other waits for"),
        pytest.param(OWN, {"web": 49, OWN: 49}, {"web": 1}, 2, True, id="two, of which it waits for one"),
        pytest.param("shop", {"web": 95}, {"web": 900}, 5, True, id="a third one comes"),
        pytest.param("shop", {"web": 60, "shop": 33}, {"web": 900}, 7, False, id="it has its third"),
        pytest.param("web", {"web": 1}, {}, 3, True, id="a small pool: its second of four places"),
        pytest.param("web", {"web": 3}, {}, 1, False, id="the last of four"),
        pytest.param("web", {}, {}, 1, True, id="the only place of all"),
    ],
)
def test_who_may_take_a_place(
    namespace: str, held: dict[str, int], waiting: dict[str, int], free: int, taken: bool
) -> None:
    assert may_take(namespace, OWN, held, waiting, free) is taken


def test_a_flood_leaves_others_their_share() -> None:
    """One namespace asks for ever more; the other, who comes later, waits for no more calls to end than need to."""
    held: Counter[str] = Counter()
    while may_take("web", OWN, held, {"web": 1000}, 20 - held.total()):
        held["web"] += 1
    assert held == {"web": 18}
    while may_take(OWN, OWN, held, {"web": 1000, OWN: 1000}, 20 - held.total()):
        held[OWN] += 1
    assert held == {"web": 18, OWN: 2}
    for _ in range(8):
        held["web"] -= 1
        assert not may_take("web", OWN, held, {"web": 1000, OWN: 1000}, 1)
        assert may_take(OWN, OWN, held, {"web": 1000, OWN: 1000}, 1)
        held[OWN] += 1
    assert held == {"web": 10, OWN: 10}


def test_places_go_to_the_namespace_with_the_fewest_and_there_to_who_waits_longest() -> None:
    crowd = {("web", str(n)): START + timedelta(seconds=n) for n in range(1000)}
    waiting = {**crowd, (OWN, "b"): START + timedelta(hours=2), (OWN, "a"): START + timedelta(hours=1)}
    namespaces = {room: room[0] for room in waiting}
    turns = next_in_line(waiting, namespaces, {"web": 1}, 4)
    assert turns == [(OWN, "a"), ("web", "0"), (OWN, "b"), ("web", "1")]
    assert next_in_line(waiting, namespaces, {}, 0) == []
    assert len(next_in_line(waiting, namespaces, {}, 5000)) == 1002
