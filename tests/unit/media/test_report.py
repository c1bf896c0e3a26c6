"""A side's report survives the way out of its process, and its gaps can be asked about for a part of the talk."""

import json
from dataclasses import asdict

from tests.caller.transport import Path, Reception
from tests.media.report import Gap, Heard, Relay

HEARD = Heard(
    identity="alice",
    joined=10.0,
    first=10.2,
    now=30.0,
    gaps=(Gap(12.0, 12.1), Gap(20.0, 22.0)),
    reconnecting=1,
    reconnected=1,
    disconnected=(),
    paths=(Path("both ways", "udp", "10.0.0.1", 50100, "relay", "host", "udp", 1.5),),
    relays=(Relay("10.0.0.1", 30001, "turn:10.0.0.1:3478?transport=udp"),),
    reception=Reception(100, 0, 0, 0.0, 1.0),
    late_frames=0,
)


def test_a_report_is_read_as_it_was_written() -> None:
    assert Heard.of(json.loads(json.dumps(asdict(HEARD)))) == HEARD


def test_the_longest_gap_of_a_part() -> None:
    assert HEARD.longest_gap_ms() == 2000.0
    assert HEARD.longest_gap_ms(until=15.0) == 100.0
    assert HEARD.longest_gap_ms(since=21.5) == 500.0
    assert HEARD.longest_gap_ms(since=25.0) == 0.0


def test_a_person_reads_the_way_and_the_relay() -> None:
    text = HEARD.to_text()
    assert "longest gap 2000 ms" in text
    assert "UDP to 10.0.0.1:50100 through TURN over udp (relay to host)" in text
    assert "turn:10.0.0.1:3478" in text
