"""Parts of more than one resource; a status read back goes on, whatever another version of the operator wrote."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from livekit_operator.api.common import AllowedNamespaces, ObjectRef, Resources, SecretKeyRef
from livekit_operator.api.livekitserver import LiveKitServerStatus
from livekit_operator.api.meetingroom import MeetingRoomStatus
from livekit_operator.api.voiceagentpool import VoiceAgentPoolStatus
from tests.fakes import models

READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Ready",
    "message": "Room lobby is open.",
    "lastTransitionTime": "2026-03-01T12:00:00Z",
}
DESK = {"pool": "desk", "agentName": "agent", "state": "Joined"}


def test_what_passes_read_is_read_and_nothing_else() -> None:
    told = MeetingRoomStatus.last(
        {"sid": "RM_1", "conditions": [READY], "agents": [DESK], "tokens": [{"identity": "x"}]}
    )
    assert (told.sid, told.reason("Ready"), told.holds("Ready")) == ("RM_1", "Ready", True)
    assert [agent.pool for agent in told.agents] == ["desk"]
    assert told.tokens == []
    assert (told.condition("Degraded"), told.reason("Degraded"), told.holds("Degraded")) == (None, None, False)


@pytest.mark.parametrize(
    ("written", "sid", "agents", "ready"),
    [
        pytest.param({"sid": "RM_1", "phase": {"is": "new"}}, "RM_1", 0, False, id="a field of a newer one"),
        pytest.param({"sid": ["RM_1"], "agents": [DESK], "conditions": [READY]}, None, 1, True, id="another type"),
        pytest.param({"sid": "RM_1", "agents": {"desk": DESK}}, "RM_1", 0, False, id="a map that was a list"),
        pytest.param(
            {"sid": "RM_1", "agents": [{**DESK, "state": {"is": "new"}}, DESK, "desk", {"pool": "x"}]},
            "RM_1",
            1,
            False,
            id="entries that are not understood",
        ),
        pytest.param({"conditions": [{"type": "Ready"}, READY]}, None, 0, True, id="half a condition"),
        pytest.param({"conditions": "Ready", "sid": "RM_1"}, "RM_1", 0, False, id="no conditions at all"),
        pytest.param({}, None, 0, False, id="none"),
    ],
)
def test_what_is_not_understood_counts_as_not_written(
    written: dict[str, Any], sid: str | None, agents: int, ready: bool
) -> None:
    told = MeetingRoomStatus.last(written)
    assert (told.sid, len(told.agents), told.holds("Ready")) == (sid, agents, ready)


def test_a_list_without_end_is_read_to_a_bound() -> None:
    assert len(MeetingRoomStatus.last({"agents": [DESK] * 100_000}).agents) == 256


@pytest.mark.parametrize("model", [MeetingRoomStatus, LiveKitServerStatus, VoiceAgentPoolStatus])
def test_fields_that_are_read_are_fields(model: type[MeetingRoomStatus]) -> None:
    aliases = {field.alias for field in model.model_fields.values()}
    assert set(model.read) <= aliases


def test_a_status_is_read_once_and_again_when_it_is_another() -> None:
    room = models.room().model_copy(update={"status": {"sid": "RM_1"}})
    assert room.last is room.last
    other = room.model_copy(update={"status": {"sid": "RM_2"}})
    assert (room.last.sid, other.last.sid) == ("RM_1", "RM_2")


def test_a_resource_is_known_by_namespace_and_name() -> None:
    assert models.room("lobby", "team-a").key == ("team-a", "lobby")


@pytest.mark.parametrize("name", ["a", "0", "a-b.c-d"])
def test_a_name_that_an_object_can_have(name: str) -> None:
    assert ObjectRef.model_validate({"name": name}).name == name


@pytest.mark.parametrize("name", ["", "V_V", "-a", "a-", "a..b", "a" * 254])
def test_a_name_that_none_can_have(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        ObjectRef.model_validate({"name": name})


@pytest.mark.parametrize(
    ("key", "taken"), [("deepgram", True), ("a.B_c-1", True), ("a b", False), ("a/b", False), ("", False)]
)
def test_a_key_of_a_secret(key: str, taken: bool) -> None:
    if taken:
        assert SecretKeyRef.model_validate({"name": "providers", "key": key}).key == key
        return
    with pytest.raises(ValidationError, match="key"):
        SecretKeyRef.model_validate({"name": "providers", "key": key})


@pytest.mark.parametrize(("names", "taken"), [(["*"], True), (["team-a", "team-b"], True), (["a.b"], False)])
def test_namespaces_are_named_or_all(names: list[str], taken: bool) -> None:
    allowed: TypeAdapter[list[str]] = TypeAdapter(AllowedNamespaces)
    if taken:
        assert allowed.validate_python(names) == names
        return
    with pytest.raises(ValidationError):
        allowed.validate_python(names)


@pytest.mark.parametrize(
    ("written", "quantity"),
    [
        (1, "1"),
        (0.5, "0.5"),
        (1.0, "1.0"),
        (0.00001, "0.00001"),
        (1e9, "1000000000.0"),
        (1e15, "1000000000000000.0"),
        ("250m", "250m"),
    ],
)
def test_a_quantity_may_be_written_as_a_number(written: float | str, quantity: str) -> None:
    said = {"cpu": written, "nvidia.com/gpu": written}
    assert Resources.model_validate({"limits": said}).limits == {"cpu": quantity, "nvidia.com/gpu": quantity}


@pytest.mark.parametrize("written", [True, None, [], ["1"], {}, {"a": 1}])
def test_what_is_neither_a_number_nor_a_text_is_no_quantity(written: object) -> None:
    with pytest.raises(ValidationError, match=r"requests\.cpu"):
        Resources.model_validate({"requests": {"cpu": written}})
