"""When the agent leaves."""

from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

from voice_agent.presence import RETURN_GRACE, people, seconds_to_wait


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        (rtc.DisconnectReason.CLIENT_INITIATED, 0.0),
        (rtc.DisconnectReason.ROOM_DELETED, 0.0),
        (rtc.DisconnectReason.SIGNAL_CLOSE, RETURN_GRACE),
        (rtc.DisconnectReason.CONNECTION_TIMEOUT, RETURN_GRACE),
        (None, RETURN_GRACE),
    ],
)
def test_only_a_broken_connection_is_waited_for(reason: int | None, seconds: float) -> None:
    assert seconds_to_wait(reason) == seconds


def test_agents_and_recorders_are_no_company() -> None:
    kinds = rtc.ParticipantKind
    room: Any = SimpleNamespace(
        remote_participants={
            str(kind): SimpleNamespace(kind=kind)
            for kind in (
                kinds.PARTICIPANT_KIND_STANDARD,
                kinds.PARTICIPANT_KIND_SIP,
                kinds.PARTICIPANT_KIND_AGENT,
                kinds.PARTICIPANT_KIND_EGRESS,
            )
        }
    )
    assert [person.kind for person in people(room)] == [kinds.PARTICIPANT_KIND_STANDARD, kinds.PARTICIPANT_KIND_SIP]
