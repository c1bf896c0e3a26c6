"""The agent ends a call: last words, then nobody is left in the room, and the job has not failed."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from livekit import api, rtc
from livekit.agents import NOT_GIVEN, AgentSession, JobContext

from voice_agent import ending
from voice_agent.ending import end_call, is_ending, utter

LOST = api.ServerError(api.ServerErrorCode.NOT_FOUND, "no such room", status=404)
BUSY = api.ServerError(api.ServerErrorCode.UNAVAILABLE, "busy", status=503)


class Call:
    """A call with one person, and what became of it, in order."""

    tts: Any = object()

    def __init__(self, *answers: Exception | None, speech: float | None = 0.0) -> None:
        self.done: list[str] = []
        self.answers = list(answers)
        self.speech = speech
        """Seconds that anything said takes; None: it never ends."""
        self.connected = True
        self.closed = False
        self.interruptible: list[Any] = []
        person = SimpleNamespace(kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD)
        self.people = {"alice": person}
        self.current_speech: Any = None

    @property
    def context(self) -> JobContext:
        """Return the job's context, as far as it is used."""
        room = SimpleNamespace(name="support", remote_participants=self.people, isconnected=lambda: self.connected)
        server = SimpleNamespace(room=SimpleNamespace(delete_room=self._delete_room))
        return cast(JobContext, SimpleNamespace(room=room, api=server, shutdown=self._note("shutdown")))

    @property
    def session(self) -> AgentSession[Any]:
        """Return itself."""
        return cast(AgentSession[Any], self)

    async def _delete_room(self, request: api.DeleteRoomRequest) -> None:
        self.done.append(f"close {request.room}")
        if self.answers and (answer := self.answers.pop(0)):
            raise answer

    def _note(self, what: str) -> Any:
        return lambda words: self.done.append(f"{what} {words}")

    async def _spoken(self, words: str) -> None:
        if self.speech is None:
            await asyncio.Future[None]()
        self.done.append(words)

    def say(self, words: str, *, allow_interruptions: Any) -> Any:
        """Take words to say."""
        self.interruptible.append(allow_interruptions)
        if self.closed:
            raise RuntimeError("AgentSession isn't running")
        return self._spoken(f"say {words}" + (" !" if allow_interruptions is False else ""))

    def generate_reply(self, *, instructions: str) -> Any:
        """Take what a realtime model is asked."""
        return self._spoken(f"ask {instructions}")

    def interrupt(self, *, force: bool) -> Any:
        """Stop what is being said."""
        assert force
        return self._spoken("interrupt")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(ending, "PATIENCE", 0.05)
    monkeypatch.setattr(ending, "SLOW_SPEECH", 1000)


@pytest.mark.parametrize(
    ("words", "interrupt", "done"),
    [
        ("", False, ["close support", "shutdown done"]),
        ("Bye.", False, ["say Bye. !", "close support", "shutdown done"]),
        ("Bye.", True, ["interrupt", "say Bye. !", "close support", "shutdown done"]),
    ],
)
async def test_last_words_then_nobody_is_left(words: str, interrupt: bool, done: list[str]) -> None:
    call = Call()
    await end_call(call.context, call.session, "done", words, interrupt=interrupt)
    assert call.done == done


async def test_what_is_being_said_is_said_to_its_end() -> None:
    call = Call()
    call.current_speech = call._spoken("an answer")
    await end_call(call.context, call.session, "done", "Bye.")
    assert call.done == ["an answer", "say Bye. !", "close support", "shutdown done"]


async def test_a_realtime_model_is_asked_to_say_them() -> None:
    call = Call()
    call.tts = None
    await end_call(call.context, call.session, "done", "Bye.")
    assert call.done[0] == "ask Say exactly these words and nothing else: Bye."


async def test_a_call_ends_once() -> None:
    call, another = Call(), Call()
    assert not is_ending(call.session)
    first = end_call(call.context, call.session, "first", "Bye.")
    assert is_ending(call.session)
    assert end_call(call.context, call.session, "second", "Good night.") is first
    await first
    assert call.done == ["say Bye. !", "close support", "shutdown first"]
    assert not is_ending(another.session)


async def test_words_that_never_end_do_not_keep_the_call(caplog: pytest.LogCaptureFixture) -> None:
    call = Call(speech=None)
    await end_call(call.context, call.session, "done", "Bye.")
    assert call.done == ["close support", "shutdown done"]
    assert "the last words took too long" in caplog.messages


async def test_long_words_have_the_time_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "PATIENCE", 0.0)
    monkeypatch.setattr(ending, "SLOW_SPEECH", 1)
    call = Call()
    await end_call(call.context, call.session, "done", "Good night.")
    assert call.done[0] == "say Good night. !"


async def test_a_session_that_is_over_has_no_last_words() -> None:
    call = Call()
    call.closed = True
    await end_call(call.context, call.session, "done", "Bye.")
    assert call.done == ["close support", "shutdown done"]


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        pytest.param([None], 1, id="at once"),
        pytest.param([LOST], 1, id="it is gone already"),
        pytest.param([BUSY, None], 2, id="the server is busy"),
        pytest.param([aiohttp.ClientConnectionError(), TimeoutError(), None], 3, id="the server is away"),
        pytest.param([BUSY, BUSY, BUSY], 3, id="the server never does"),
    ],
)
async def test_the_room_is_closed_as_soon_as_the_server_does(answers: list[Exception | None], asked: int) -> None:
    call = Call(*answers)
    await end_call(call.context, call.session, "done")
    assert call.done == ["close support"] * asked + ["shutdown done"]


async def test_a_room_that_everybody_has_left_stays() -> None:
    call = Call()
    call.people = {}
    await end_call(call.context, call.session, "done")
    lost = Call()
    lost.connected = False
    await end_call(lost.context, lost.session, "done")
    assert (call.done, lost.done) == (["shutdown done"], ["shutdown done"])


async def test_only_last_words_cannot_be_interrupted() -> None:
    call = Call()
    await utter(call.session, "Hello?")
    await utter(call.session, "Bye.", interruptible=False)
    assert call.interruptible == [NOT_GIVEN, False]
