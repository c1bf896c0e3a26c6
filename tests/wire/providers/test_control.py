"""Turning delays and faults at run time, and reading the log."""

import pytest

from tests.providers.control import Control, ControlError
from tests.wire.providers.conftest import StandIn


async def test_controls_are_changed_and_shown_over_http(stand_in: StandIn) -> None:
    control_url = stand_in.url.removesuffix("/v1") + "/control"
    change = {"delays": {"llm_first_token_ms": 300}, "faults": {"stt": {"status": 429}}}
    async with stand_in.session.put(control_url, json=change) as response:
        assert response.status == 200
    async with stand_in.session.get(control_url) as response:
        state = await response.json()
    assert state["delays"]["llm_first_token_ms"] == 300
    assert state["faults"]["stt"]["status"] == 429
    assert state["faults"]["llm"]["status"] is None


async def test_a_wrong_change_is_refused_and_changes_nothing(stand_in: StandIn) -> None:
    control_url = stand_in.url.removesuffix("/v1") + "/control"
    async with stand_in.session.put(control_url, json={"delays": {"nothing_ms": 1}}) as response:
        assert response.status == 400
        assert "nothing_ms" in (await response.json())["error"]
    assert stand_in.control.state() == Control().state()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"what": {}}, "what"),
        ({"faults": {"dns": {}}}, "dns"),
        ({"delays": {"llm_token_ms": -1}}, "llm_token_ms"),
        ({"delays": 3}, "delays"),
        ({"calls": {"Hello?": {"arguments": {}}}}, "calls"),
    ],
)
def test_nonsense_is_named(change: dict[str, object], name: str) -> None:
    with pytest.raises(ControlError, match=rf"\b{name}\b"):
        Control().change(change)


def test_a_fault_lasts_as_many_times_as_asked() -> None:
    control = Control()
    control.change({"faults": {"llm": {"status": 500, "times": 2}}})
    assert [control.fault("llm").status for _ in range(3)] == [500, 500, None]
    control.change({"faults": {"llm": {"status": 500, "times": 1}}})
    assert control.fault("llm").status == 500


def test_the_log_counts_and_can_be_read_from_a_point() -> None:
    control = Control()
    for event in ("asked", "answered"):
        control.log("llm", event, "1")
    assert [event["event"] for event in control.events()] == ["asked", "answered"]
    assert [event["event"] for event in control.events(since=1)] == ["answered"]
