"""Which server has the ports that another one wants."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from livekit_operator.servers.decisions.port_conflicts import (
    HostServer,
    HostServers,
    PortConflict,
    PortSpan,
    find_conflict,
)

SIGNAL, MEDIA = PortSpan("TCP", 7880, 7880), PortSpan("UDP", 50100, 50200)
NODES = [{"zone": "a"}, {"zone": "b"}]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def server(name: str, created: str = "2026-01-01T00:00:00Z", *ports: PortSpan, **selector: str) -> HostServer:
    return HostServer(("team", name), datetime.fromisoformat(created), ports or (SIGNAL, MEDIA), selector)


FIRST = replace(server("first"), holds=True)
LATER = "2026-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        pytest.param(server("b", LATER), SIGNAL, id="the same ports"),
        pytest.param(
            server("b", LATER, PortSpan("UDP", 50200, 50300)), PortSpan("UDP", 50200, 50300), id="one in common"
        ),
        pytest.param(server("b", LATER, PortSpan("UDP", 50201, 50300)), None, id="neighbours"),
        pytest.param(server("b", LATER, PortSpan("UDP", 7880, 7880)), None, id="another protocol"),
        pytest.param(server("b", LATER, zone="c"), None, id="no node fits"),
        pytest.param(server("b", LATER, zone="b"), SIGNAL, id="a node of both"),
        pytest.param(replace(server("a", "2025-01-01T00:00:00Z"), holds=True), None, id="earlier"),
        pytest.param(
            replace(server("a", "2026-01-01T00:00:00Z"), holds=True), None, id="of the same second, the first by name"
        ),
        pytest.param(server("a", "2025-01-01T00:00:00Z"), SIGNAL, id="earlier, but the later one has the ports"),
        pytest.param(FIRST, None, id="itself"),
    ],
)
def test_the_later_one_is_told(later: HostServer, expected: PortSpan | None) -> None:
    conflict = find_conflict(later, [FIRST, later], NODES, NOW)
    assert conflict == (PortConflict(FIRST.key, expected) if expected else None)


def test_selectors_that_exclude_each_other_keep_servers_apart() -> None:
    first = replace(server("first", zone="a"), holds=True)
    assert find_conflict(server("b", LATER, zone="b"), [first], NODES, NOW) is None
    assert find_conflict(server("b", LATER, zone="b"), [first], [], NOW) is None
    assert find_conflict(server("b", LATER, zone="a"), [first], [], NOW) == PortConflict(first.key, SIGNAL)


@pytest.mark.parametrize(("span", "shown"), [(SIGNAL, "7880/TCP"), (MEDIA, "50100-50200/UDP")])
def test_ports_are_shown_as_people_write_them(span: PortSpan, shown: str) -> None:
    assert str(span) == shown


@pytest.mark.parametrize(
    ("age", "holds", "waits"),
    [
        pytest.param(299, False, True, id="on its way"),
        pytest.param(300, False, False, id="it never came"),
        pytest.param(10_000, True, True, id="it is there"),
    ],
)
def test_a_server_that_never_runs_keeps_nobody_for_long(age: int, holds: bool, waits: bool) -> None:
    created = datetime.fromtimestamp(NOW.timestamp() - age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    first = replace(server("first", created), holds=holds)
    later = server("later", "2026-03-01T00:00:00Z")
    assert (find_conflict(later, [first, later], NODES, NOW) is not None) is waits
    assert find_conflict(first, [first, later], NODES, NOW) is None or not holds


def test_servers_are_found_by_their_ports() -> None:
    known = HostServers()
    many = [server(f"s{n}", LATER, PortSpan("TCP", 10_000 + 100 * n, 10_000 + 100 * n)) for n in range(500)]
    for one in (FIRST, *many):
        known.put(one)
    assert [one.key[1] for one in known.near(server("new"))] == ["first"]
    assert [one.key[1] for one in known.near(many[7])] == []
    known.put(server("first", LATER, PortSpan("TCP", 20_000, 20_000)))
    assert known.near(server("new")) == []
    known.remove(("team", "first"))
    assert known.near(server("new", LATER, PortSpan("TCP", 20_000, 20_000))) == [many[100]]
