"""What becomes of a room, from what was observed alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from livekit_operator import reasons
from livekit_operator.constants import ANNOTATION_RECREATE
from livekit_operator.errors import Blocked
from livekit_operator.moments import timestamp
from livekit_operator.rooms.decide import Plan, decide
from livekit_operator.rooms.decide_tokens import SecretPlan
from livekit_operator.rooms.decisions.entries import entries
from livekit_operator.rooms.decisions.lifecycle import OpenRoom
from livekit_operator.rooms.decisions.limits import Limits
from livekit_operator.rooms.decisions.settings import AgentNames, room_settings, settings_hash
from livekit_operator.rooms.observe import Observation
from livekit_operator.rooms.observe_tokens import TokenSecrets
from livekit_operator.servers.manifests.keys import ServerKeys
from livekit_operator.servers.memory import ServerAccess
from livekit_operator.views import ParticipantView, RoomView
from tests.fakes import models

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = room_settings(models.room())
VIEW = RoomView("RM_1", SETTINGS)
KNOWN = {"sid": "RM_1", "settingsHash": settings_hash(SETTINGS)}
OTHER_SETTINGS = {**KNOWN, "settingsHash": "another"}
MADE = OpenRoom(VIEW, KNOWN["settingsHash"])
OUTDATED = OpenRoom(VIEW, "another")
PERSON, AGENT = ParticipantView("guest"), ParticipantView("agent-1", "agent")
EMPTY = {"sid": "RM_1", "settingsHash": KNOWN["settingsHash"], "emptySince": timestamp(NOW - timedelta(seconds=60))}
DELETED = {
    "type": "Ready",
    "status": "False",
    "reason": reasons.RECREATING,
    "message": "Room support-42 was deleted to be made anew.",
    "lastTransitionTime": timestamp(NOW),
}
RECREATING = {**KNOWN, "conditions": [DELETED]}
NO_AGENTS = AgentNames("team/")
NO_TOKENS = TokenSecrets(
    ServerKeys("key", "secret", "ws://a", "wss://a"), ("secret",), Limits.of(models.server()), AgentNames()
)


def observed(view: RoomView | None, **fields: Any) -> Observation:
    given: dict[str, Any] = {
        "now": NOW,
        "server": models.server(),
        "access": cast(ServerAccess, None),
        "claimed": True,
        "verified": True,
        "participants": (),
        "names": AgentNames(),
        "agents": (),
        "agents_problem": None,
        "server_problem": None,
        "tokens": NO_TOKENS,
        **fields,
    }
    return Observation(view=view, **given)


PLANS = [
    pytest.param({}, {}, observed(None, claimed=False), Plan(), id="a new one is made"),
    pytest.param({}, KNOWN, observed(VIEW), Plan(keep=MADE), id="at rest"),
    pytest.param({}, KNOWN, observed(None), Plan(), id="a persistent one is made again"),
    pytest.param({}, KNOWN, observed(VIEW, verified=False), Plan(), id="its server was lost: made again to be sure"),
    pytest.param(
        {"persistent": False}, KNOWN, observed(None), Plan(over="The server closed the room."), id="closed, and over"
    ),
    pytest.param({}, RECREATING, observed(None), Plan(former="RM_1"), id="deleted to be made anew"),
    pytest.param(
        {}, OTHER_SETTINGS, observed(VIEW), Plan(delete=OUTDATED, former="RM_1"), id="other settings, nobody there"
    ),
    pytest.param(
        {},
        OTHER_SETTINGS,
        observed(VIEW, participants=[AGENT]),
        Plan(delete=OUTDATED, former="RM_1"),
        id="an agent does not keep it",
    ),
    pytest.param(
        {}, OTHER_SETTINGS, observed(VIEW, participants=[PERSON]), Plan(keep=OUTDATED), id="a person has just come"
    ),
    pytest.param(
        {"ttlSecondsAfterEmpty": 60},
        EMPTY,
        observed(VIEW),
        Plan(over="Nobody was in the room for 60 s."),
        id="empty for too long",
    ),
    pytest.param(
        {"ttlSecondsAfterEmpty": 60},
        EMPTY,
        observed(VIEW, participants=[PERSON]),
        Plan(keep=MADE),
        id="not empty after all",
    ),
    pytest.param({"ttlSecondsAfterEmpty": 61}, EMPTY, observed(VIEW), Plan(keep=MADE), id="not for long enough"),
    pytest.param({"adopt": True}, {}, observed(VIEW, claimed=False), Plan(keep=OpenRoom(VIEW, None)), id="adopted"),
]


@pytest.mark.parametrize(("spec", "status", "seen", "expected"), PLANS)
def test_what_becomes_of_a_room(
    spec: dict[str, Any], status: dict[str, Any], seen: Observation, expected: Plan
) -> None:
    assert decide(models.room(**spec).model_copy(update={"status": status}), seen) == expected


def test_people_may_have_a_room_made_anew_in_use() -> None:
    room = models.room().model_copy(update={"status": KNOWN})
    room.metadata.annotations[ANNOTATION_RECREATE] = "now"
    used = RoomView("RM_1", SETTINGS, participants=2)
    assert decide(room, observed(used)).former == "RM_1"
    handled = room.model_copy(update={"status": {**KNOWN, "lastHandledRecreate": "now"}})
    assert decide(handled, observed(used)).keep is not None


def test_anothers_room_is_left_alone() -> None:
    with pytest.raises(Blocked) as blocked:
        decide(models.room(), observed(VIEW, claimed=False))
    assert blocked.value.problem.reason == reasons.ROOM_EXISTS


def test_a_room_whose_new_spec_is_refused_goes_on_as_it_is_and_no_new_one_is_made() -> None:
    room = models.room(agentDispatches=[{"agentName": "others"}]).model_copy(update={"status": KNOWN})
    plan = decide(room, observed(VIEW, names=NO_AGENTS))
    assert (plan.keep, plan.unchanged) == (MADE, True)
    assert plan.problem is not None
    with pytest.raises(Blocked) as blocked:
        decide(room, observed(None, names=NO_AGENTS))
    assert blocked.value.problem == plan.problem


def test_the_plan_has_the_tokens_of_a_room_that_stays_and_of_none_that_is_over() -> None:
    room = models.room(tokens=[{"identity": "alice"}], persistent=False).model_copy(update={"status": KNOWN})
    wanted = entries(room)
    seen = replace(NO_TOKENS, entries=wanted)
    assert decide(room, observed(VIEW, tokens=seen)).tokens.secrets == (SecretPlan(wanted[0], mint=True),)
    assert decide(room, observed(None, tokens=seen)).tokens.secrets == ()
