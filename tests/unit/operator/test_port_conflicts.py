"""Which server has the ports that another one wants."""

import pytest

from livekit_operator.port_conflicts import HostServer, PortConflict, PortSpan, find_conflict

SIGNAL, MEDIA = PortSpan("TCP", 7880, 7880), PortSpan("UDP", 50100, 50200)
NODES = [{"zone": "a"}, {"zone": "b"}]


def server(name: str, created: str = "2026-01-01T00:00:00Z", *ports: PortSpan, **selector: str) -> HostServer:
    return HostServer(("team", name), created, ports or (SIGNAL, MEDIA), selector)


FIRST = server("first")
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
        pytest.param(server("a", "2025-01-01T00:00:00Z"), None, id="earlier"),
        pytest.param(server("a", "2026-01-01T00:00:00Z"), None, id="of the same second, the first by name stays"),
        pytest.param(FIRST, None, id="itself"),
    ],
)
def test_the_later_one_is_told(later: HostServer, expected: PortSpan | None) -> None:
    conflict = find_conflict(later, [FIRST, later], NODES)
    assert conflict == (PortConflict(FIRST.key, expected) if expected else None)


def test_selectors_that_exclude_each_other_keep_servers_apart() -> None:
    first = server("first", zone="a")
    assert find_conflict(server("b", LATER, zone="b"), [first], NODES) is None
    assert find_conflict(server("b", LATER, zone="b"), [first], []) is None
    assert find_conflict(server("b", LATER, zone="a"), [first], []) == PortConflict(first.key, SIGNAL)


@pytest.mark.parametrize(("span", "shown"), [(SIGNAL, "7880/TCP"), (MEDIA, "50100-50200/UDP")])
def test_ports_are_shown_as_people_write_them(span: PortSpan, shown: str) -> None:
    assert str(span) == shown
