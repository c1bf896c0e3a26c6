"""When a limit of a call asks for a warning or the end, and what then happens."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api, rtc
from livekit.agents import NOT_GIVEN, AgentSession, JobContext
from livekit.rtc import EventEmitter

from voice_agent import limits as module
from voice_agent.config import LimitsConfig
from voice_agent.ending import end_call
from voice_agent.limits import Course, Keeper, Step, is_quiet, next_step, somebody_is_there

WHOLE = LimitsConfig(maxCallSeconds=100, warnBeforeSeconds=20, maxSilenceSeconds=30)
LENGTH = LimitsConfig(maxCallSeconds=100)
SILENCE = LimitsConfig(maxSilenceSeconds=30)


@pytest.mark.parametrize(
    ("limits", "course", "now", "step"),
    [
        pytest.param(WHOLE, Course(quiet_since=0), 500, None, id="nobody has come yet"),
        pytest.param(LENGTH, Course(10), 11, 99.0, id="it has just begun"),
        pytest.param(LENGTH, Course(10), 109, 1.0, id="a second is left"),
        pytest.param(LENGTH, Course(10), 110, Step.END, id="time is over"),
        pytest.param(LENGTH, Course(10, quiet_since=0), 11, 99.0, id="silence is not limited"),
        pytest.param(WHOLE, Course(10), 20, 80.0, id="somebody speaks: at the latest ten seconds before the end"),
        pytest.param(WHOLE, Course(10), 90, 10.0, id="no pause yet"),
        pytest.param(WHOLE, Course(10), 100, Step.WARN, id="no pause at all"),
        pytest.param(WHOLE, Course(10, quiet_since=80), 85, 5.0, id="a pause before its time"),
        pytest.param(WHOLE, Course(10, quiet_since=80), 90, Step.WARN, id="quiet when the time comes"),
        pytest.param(WHOLE, Course(10, quiet_since=92), 92.5, 0.5, id="a pause that may be none"),
        pytest.param(WHOLE, Course(10, quiet_since=92), 93, Step.WARN, id="a pause"),
        pytest.param(WHOLE, Course(10, quiet_since=92, warned=True), 93, 17.0, id="warned before"),
        pytest.param(WHOLE, Course(10, quiet_since=70, warned=True), 100, Step.END_OF_SILENCE, id="silence after that"),
        pytest.param(WHOLE, Course(10, warned=True), 110, Step.END, id="the end after the warning"),
        pytest.param(WHOLE, Course(10), 110, Step.END, id="no warning at the end"),
        pytest.param(WHOLE, Course(10, quiet_since=80), 110, Step.END, id="both at once"),
        pytest.param(SILENCE, Course(10), 500, None, id="somebody speaks, for however long"),
        pytest.param(SILENCE, Course(10, quiet_since=20), 49, 1.0, id="quiet"),
        pytest.param(SILENCE, Course(10, quiet_since=20), 50, Step.END_OF_SILENCE, id="quiet for too long"),
        pytest.param(SILENCE, Course(10, quiet_since=0), 39, 1.0, id="what was quiet before anybody came"),
    ],
)
def test_what_a_limit_asks_for(limits: LimitsConfig, course: Course, now: float, step: Any) -> None:
    assert next_step(limits, course, now) == step


@pytest.mark.parametrize(
    ("agent", "user", "quiet"),
    [
        ("listening", "listening", True),
        ("listening", "away", True),
        ("initializing", "listening", True),
        ("listening", "speaking", False),
        ("thinking", "listening", False),
        ("speaking", "listening", False),
    ],
)
def test_when_nobody_speaks(agent: str, user: str, quiet: bool) -> None:
    assert is_quiet(SimpleNamespace(agent_state=agent, user_state=user)) is quiet


def person(status: str | None = None, kind: Any = rtc.ParticipantKind.PARTICIPANT_KIND_SIP) -> Any:
    return SimpleNamespace(kind=kind, attributes={} if status is None else {"sip.callStatus": status})


@pytest.mark.parametrize(
    ("people", "there"),
    [
        ([], False),
        ([person()], True),
        ([person("dialing")], False),
        ([person("ringing")], False),
        ([person("active")], True),
        ([person("ringing"), person()], True),
        ([person(kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT)], False),
    ],
)
def test_who_counts_as_there(people: list[Any], there: bool) -> None:
    room: Any = SimpleNamespace(remote_participants=dict(enumerate(people)))
    assert somebody_is_there(room) is there


class Room(EventEmitter[str]):
    """A room that people join."""

    name = "support"

    def __init__(self) -> None:
        super().__init__()
        self.remote_participants: dict[str, Any] = {}

    def isconnected(self) -> bool:
        return True

    def join(self, status: str | None = None) -> None:
        self.remote_participants["alice"] = person(status)
        self.emit("participant_connected", self.remote_participants["alice"])


def spoken() -> asyncio.Future[None]:
    """Return words that have been said."""
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


class Session(EventEmitter[str]):
    """A session whose people speak as a test says, and what its agent said."""

    tts = object()
    current_speech = None

    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self.agent_state = self.user_state = "listening"
        self.closed = False
        self._done = done

    def become(self, **states: str) -> None:
        for name, state in states.items():
            setattr(self, name, state)
            self.emit(f"{name}_changed", SimpleNamespace(new_state=state))

    def say(self, words: str, *, allow_interruptions: Any) -> Any:
        if self.closed:
            raise RuntimeError("AgentSession isn't running")
        self._done.append(words if allow_interruptions is NOT_GIVEN else f"{words}!")
        return spoken()

    def interrupt(self, *, force: bool) -> Any:
        assert force
        self._done.append("interrupted")
        return spoken()


class Call:
    """A kept call, and what became of it, by a clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
        self.done: list[str] = []
        self.room, self.session = Room(), Session(self.done)
        self.now = 1000.0
        self.over = asyncio.Event()
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        words = {"maxCallWords": "time is over", "warnWords": "soon", "maxSilenceWords": "anybody?"}
        server = SimpleNamespace(room=SimpleNamespace(delete_room=self._delete_room))
        made = SimpleNamespace(room=self.room, api=server, shutdown=self._shut_down)
        self.context, agent_session = cast(JobContext, made), cast(AgentSession[Any], self.session)
        Keeper(self.context, agent_session, LimitsConfig(**{**words, **limits})).watch()

    async def _delete_room(self, request: api.DeleteRoomRequest) -> None:
        self.done.append(f"closed {request.room}")

    def _shut_down(self, reason: str) -> None:
        assert reason in (Step.END.value, Step.END_OF_SILENCE.value)
        self.done.append("left")
        self.over.set()

    async def after(self, seconds: float, **states: str) -> None:
        """Let time pass and then something change."""
        self.now += seconds
        self.session.become(**(states or {"agent_state": self.session.agent_state}))
        for _ in range(20):
            await asyncio.sleep(0)


END = ["interrupted", "time is over!", "closed support", "left"]
END_OF_SILENCE = ["anybody?!", "closed support", "left"]


async def test_a_call_is_warned_of_its_end_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100, warnBeforeSeconds=20)
    await call.after(500)
    call.room.join()
    await call.after(79)
    assert call.done == []
    await call.after(1)
    assert call.done == ["soon"]
    await call.after(19)
    assert call.done == ["soon"]
    await call.after(1)
    assert call.done == ["soon", *END]
    await call.after(500)
    assert call.done == ["soon", *END]


async def test_nobody_is_warned_in_the_middle_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100, warnBeforeSeconds=20)
    call.room.join()
    await call.after(79, user_state="speaking")
    await call.after(5)
    assert call.done == []
    await call.after(1, user_state="listening")
    assert call.done == []
    await call.after(module.PAUSE)
    assert call.done == ["soon"]


async def test_who_never_pauses_is_warned_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100, warnBeforeSeconds=20)
    call.room.join()
    await call.after(50, user_state="speaking")
    await call.after(40)
    assert call.done == ["soon!"]


async def test_silence_ends_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxSilenceSeconds=30)
    call.room.join()
    await call.after(29, agent_state="thinking")
    await call.after(60, agent_state="speaking")
    await call.after(60, agent_state="listening")
    await call.after(29, user_state="speaking")
    await call.after(60, user_state="listening")
    await call.after(29)
    call.session.emit("user_input_transcribed", SimpleNamespace(is_final=False))  # voice activity missed it
    await call.after(29)
    assert call.done == []
    await call.after(1)
    assert call.done == END_OF_SILENCE


async def test_a_phone_that_rings_is_no_call_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxSilenceSeconds=30)
    call.room.join("ringing")
    await call.after(500)
    assert call.done == []
    call.room.remote_participants["alice"].attributes["sip.callStatus"] = "active"
    call.room.emit("participant_attributes_changed", {}, None)
    await call.after(29)
    assert call.done == []
    await call.after(1)
    assert call.done == END_OF_SILENCE


async def test_nobody_is_warned_when_everybody_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100, warnBeforeSeconds=20)
    call.room.join()
    call.room.remote_participants.clear()
    await call.after(80)
    assert call.done == []


async def test_nobody_is_warned_while_the_call_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100, warnBeforeSeconds=20)
    call.room.join()
    end_call(call.context, cast(AgentSession[Any], call.session), Step.END.value, "bye")
    await call.after(80)
    assert call.done == ["bye!", "closed support", "left"]


async def test_nobody_is_warned_by_a_session_that_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100, warnBeforeSeconds=20)
    call.room.join()
    call.session.closed = True
    await call.after(80)
    call.session.closed = False
    await call.after(1)
    assert call.done == []


async def test_a_warning_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100, warnBeforeSeconds=20, warnWords="")
    call.room.join()
    await call.after(80)
    assert call.done == []


async def test_a_closed_session_is_kept_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100)
    call.room.join()
    call.session.emit("close", None)
    await call.after(500)
    assert call.done == []


async def test_a_limit_is_kept_when_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(monkeypatch, maxCallSeconds=100)
    call.room.join()
    await call.after(99.99)
    call.now += 0.01
    async with asyncio.timeout(5):
        await call.over.wait()
    assert call.done == END
