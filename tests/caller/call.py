"""Places a call and holds a conversation, measuring what the person at this end notices."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from types import TracebackType
from typing import Self

import numpy as np
from livekit import rtc

from tests.providers.audio import Samples, resample
from tests.providers.script import INTERRUPTION, LONG_QUESTION
from tests.providers.speech import CALLER_VOICE, speak

from .heard import recognise
from .hearing import RATE, Ear
from .microphone import RATE as MICROPHONE_RATE
from .microphone import Microphone, Spoken
from .report import Audio, CallReport, Event, Transcript, Turn
from .secret import CallerSecret, RedactTokens
from .transcripts import Transcripts
from .transport import Path, Reception, measure
from .waiting import Changes, NotSeenError

# livekit-agents 1.8.9 (voice/agent_session.py, aec_warmup_duration) hears nothing for 3 s after it first speaks.
_WARM_UP = 3.2
_SILENCE = 1.0  # a pause this long is the end of what the agent says
_INTO_THE_ANSWER = 2.0  # seconds of an answer that is then interrupted
_CONNECT_SECONDS = 30.0


class CallError(RuntimeError):
    """The call did not go as it should; the message says what was waited for, `report` what happened until then."""

    def __init__(self, message: str, report: CallReport | None = None) -> None:
        super().__init__(message)
        self.report = report


class Call:
    """One call: `async with Call(secret) as call:` joins, publishes the microphone and hangs up at the end.

    Whoever begins as a listener publishes it when first speaking, and costs far less until then.
    """

    def __init__(
        self,
        secret: Mapping[str, str] | CallerSecret,
        *,
        url_key: str = "url",
        rtc_config: rtc.RtcConfiguration | None = None,
        listener: bool = False,
    ) -> None:
        self._secret = secret if isinstance(secret, CallerSecret) else CallerSecret.of(secret, url_key)
        self._rtc_config = rtc_config
        self._listener = listener
        self._changes = Changes()
        self._ear = Ear(self._changes.notify)
        self._transcripts = Transcripts(self._changes.notify)
        self._room = rtc.Room()
        self._microphone: Microphone | None = None
        self._placed = time.monotonic()
        self._placed_at_ms = time.time_ns() / 1e6
        self._joined: float | None = None
        self._agent_present: float | None = None
        self._ended: float | None = None
        self._disconnect_reason: str | None = None
        self._events: list[Event] = []
        self._turns: list[Turn] = []
        self._paths: tuple[Path, ...] = ()
        self._reception: Reception | None = None
        self._hanging_up = False
        self._listened_to = False

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    async def join(self) -> None:
        """Connect and publish the microphone."""
        redact_logs()
        self._observe()
        self._placed = time.monotonic()
        self._placed_at_ms = time.time_ns() / 1e6
        options = rtc.RoomOptions(rtc_config=self._rtc_config)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._room.connect(self._secret.url, self._secret.token, options)
        except rtc.ConnectError as error:
            # The SDK echoes the URL with the whole token; the original error must not be chained either.
            raise CallError(f"cannot join: {self._secret.redact(error.message)}") from None
        except TimeoutError:
            raise CallError(f"waited {_CONNECT_SECONDS:g} s for the connection to {self._secret.url}") from None
        self._joined = time.monotonic()
        self._note("connected", f"after {(self._joined - self._placed) * 1000:.0f} ms")
        for participant in self._room.remote_participants.values():
            self._participant_came(participant)
        if not self._room.local_participant.permissions.can_publish:
            # A refused publish is silent and would only time out.
            self._note("may not publish")
        elif not self._listener:
            await self._turn_on_microphone()

    async def hang_up(self) -> None:
        """Leave the room and let go of everything."""
        if self._ended is not None:
            return
        if self._room.isconnected():
            await self.measure_transport()
        self._hanging_up = True
        if self._room.isconnected():
            await self._room.disconnect()
        self._ended = time.monotonic()
        if self._microphone is not None:
            await self._microphone.close()
        await self._ear.close()
        await self._transcripts.close()

    # What a caller waits for

    async def agent_present(self, seconds: float = 20) -> None:
        """Wait for an agent to be in the room."""
        await self._until(lambda: self._agent_present is not None, seconds, "an agent to join the room")

    async def agent_gone(self, seconds: float = 60) -> None:
        """Wait for every agent to have left the room."""
        await self._until(lambda: not self._agents(), seconds, "the agent to leave the room")

    async def agent_joins_again(self, after: Sequence[str], seconds: float = 60) -> str:
        """Wait for an agent other than those named; returns its identity."""
        await self._until(lambda: bool(set(self._agents()) - set(after)), seconds, "another agent to join the room")
        return next(iter(set(self._agents()) - set(after)))

    def agents(self) -> list[str]:
        """Identities of the agents in the room now."""
        return self._agents()

    async def sound(self, after: float, seconds: float, what: str) -> float:
        """Wait for the agent to begin to sound after a moment; returns when it did."""
        await self._until(lambda: self._ear.first_sound_after(after) is not None, seconds, what)
        begun = self._ear.first_sound_after(after)
        assert begun is not None
        return begun

    async def greeting(self, seconds: float = 20, *, after: float | None = None) -> float:
        """Wait for the greeting, its end, and the time after it in which the agent does not listen yet.

        That is the greeting after having joined, or after a moment; returns when it began.
        """
        assert self._joined is not None, "not joined"
        begun = await self.sound(after or self._joined, seconds, "the first sound of the greeting")
        await self.silence(60, "the end of the greeting")
        await self._until(lambda: time.monotonic() >= begun + _WARM_UP, 10, "the agent's echo-cancellation warm-up")
        # Read now as well as at the end: a call the server ends can no longer be asked.
        await self.measure_transport()
        return begun

    async def silence(self, seconds: float = 60, what: str = "the agent to finish") -> None:
        """Wait for a second without a sound of the agent."""
        await self._until(lambda: self._ear.silent_for(_SILENCE), seconds, what)

    async def disconnected(self, seconds: float = 60) -> str:
        """Wait for the server to end the call; returns its reason."""
        await self._until(lambda: self._disconnect_reason is not None, seconds, "the server to end the call")
        assert self._disconnect_reason is not None
        return self._disconnect_reason

    async def hold(self, seconds: float) -> None:
        """Stay on the line; raises as soon as the call is over."""
        until = time.monotonic() + seconds
        await self._until(lambda: time.monotonic() >= until, seconds + 10, "the end of the hold")

    # What a caller does

    async def say(self, text: str, samples: Samples | None = None) -> Spoken:
        """Say a text (or other 48 kHz sound under that name); returns when the last of it was sent."""
        if samples is None:
            samples = (await asyncio.to_thread(speak, text, MICROPHONE_RATE, CALLER_VOICE)).samples
        self._alive("speak")
        if self._microphone is None and self._listener:
            await self._turn_on_microphone()
            await self._until(lambda: self._listened_to, 10, "somebody to listen to this caller")
        if self._microphone is None:
            raise CallError("this caller may not publish", self.report())
        return await self._microphone.say(samples)

    async def ask(self, text: str, seconds: float = 15, samples: Samples | None = None) -> Turn:
        """Say something, wait for the reply's first sound and for its end."""
        turn = await self.ask_and_hear_begin(text, seconds, samples)
        await self.silence(60, f"the end of the reply to {text!r}")
        return turn

    async def ask_and_hear_begin(self, text: str, seconds: float = 15, samples: Samples | None = None) -> Turn:
        """Say something and wait for the reply's first sound only."""
        spoken = await self.say(text, samples)
        index = self._add_turn(Turn(text, self._ms(spoken.start), self._ms(spoken.end)))
        begun = await self.sound(spoken.end, seconds, f"a reply to {text!r}")
        return self._complete(index, reply_ms=(begun - spoken.end) * 1000)

    async def interrupt(self, text: str = INTERRUPTION, seconds: float = 15, samples: Samples | None = None) -> Turn:
        """Speak while the agent does, until it is silent; measures to its last sound, then waits for the reply."""
        if not self._ear.sounding():
            raise CallError("nothing to interrupt: the agent is silent", self.report())
        saying = asyncio.create_task(self.say(text, samples))
        try:
            await self.silence(seconds, f"the agent to fall silent after {text!r}")
            last = self._ear.last_sound
            spoken = await saying
        finally:
            saying.cancel()
        assert last is not None
        index = self._add_turn(
            Turn(text, self._ms(spoken.start), self._ms(spoken.end), silenced_ms=(last - spoken.start) * 1000)
        )
        begun = await self.sound(max(last, spoken.start) + 0.001, seconds, f"a reply to {text!r}")
        turn = self._complete(index, reply_ms=(begun - spoken.end) * 1000)
        await self.silence(60, f"the end of the reply to {text!r}")
        return turn

    async def measure_transport(self) -> tuple[Path, ...]:
        """Read how the media travels now."""
        self._paths, self._reception = await measure(self._room)
        return self._paths

    def report(self) -> CallReport:
        """What happened so far."""
        now = time.monotonic() if self._ended is None else self._ended
        agent = self._ear.recording.mixed(self._placed, now)
        stretches = [(sound.start - self._placed, sound.end - self._placed) for sound in self._ear.sounds]
        return CallReport(
            room=self._secret.room,
            identity=self._secret.identity,
            url=self._secret.url,
            placed_at_ms=self._placed_at_ms,
            connected_ms=None if self._joined is None else self._ms(self._joined),
            agent_present_ms=self._since_joined(self._agent_present),
            greeting_ms=self._since_joined(self._ear.sounds[0].start if self._ear.sounds else None),
            ended_ms=self._ms(now),
            turns=tuple(self._turns),
            heard=recognise(agent, RATE, stretches),
            sounds_ms=tuple((self._ms(sound.start), self._ms(sound.end)) for sound in self._ear.sounds),
            stalls_ms=tuple((self._ms(stall.start), self._ms(stall.end)) for stall in self._ear.stalls),
            transcripts=tuple(
                Transcript(self._ms(segment.first), segment.identity, segment.text, segment.final)
                for segment in self._transcripts.segments.values()
            ),
            paths=self._paths,
            reception=self._reception,
            events=tuple(self._events),
            disconnect_reason=self._disconnect_reason,
            microphone_late_frames=0 if self._microphone is None else self._microphone.late_frames,
            audio=Audio(RATE, agent, self._own_voice(len(agent))),
        )

    # What happens in the room

    def _observe(self) -> None:
        room = self._room
        room.on("participant_connected", self._participant_came)
        room.on("participant_disconnected", self._participant_left)
        room.on("track_subscribed", self._track_came)
        room.on("track_unsubscribed", lambda track, *_: self._ear.ignore(track.sid))
        room.on("reconnecting", lambda: self._note("reconnecting"))
        room.on("reconnected", lambda: self._note("reconnected"))
        room.on("disconnected", self._disconnected)
        room.on("local_track_subscribed", self._begin_to_be_heard)
        self._transcripts.follow(room)

    def _participant_came(self, participant: rtc.RemoteParticipant) -> None:
        agent = is_agent(participant)
        if agent and self._agent_present is None:
            self._agent_present = time.monotonic()
        self._note("agent joined" if agent else "participant joined", participant.identity)

    def _participant_left(self, participant: rtc.RemoteParticipant) -> None:
        reason = participant.disconnect_reason
        why = "" if reason is None else f" ({rtc.DisconnectReason.Name(reason)})"
        self._note("agent left" if is_agent(participant) else "participant left", f"{participant.identity}{why}")

    def _track_came(
        self, track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO and is_agent(participant):
            self._ear.listen(track)
            self._note("agent's audio subscribed", participant.identity)

    async def _turn_on_microphone(self) -> None:
        self._microphone = Microphone()
        await self._microphone.publish(self._room.local_participant)

    def _begin_to_be_heard(self, _track: rtc.LocalTrack) -> None:
        self._listened_to = True
        self._changes.notify()

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if not self._hanging_up:
            self._disconnect_reason = rtc.DisconnectReason.Name(reason)
            self._note("disconnected", self._disconnect_reason)

    def _agents(self) -> list[str]:
        return [name for name, participant in self._room.remote_participants.items() if is_agent(participant)]

    # Bookkeeping

    async def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            await self._changes.until(lambda: condition() or self._disconnect_reason is not None, seconds, what)
        except NotSeenError as error:
            raise CallError(str(error), await asyncio.to_thread(self.report)) from None
        if not condition():
            message = f"the server ended the call ({self._disconnect_reason}) while waiting for {what}"
            raise CallError(message, await asyncio.to_thread(self.report))

    def _alive(self, what: str) -> None:
        if self._disconnect_reason is not None or self._ended is not None:
            raise CallError(f"cannot {what}: the call is over ({self._disconnect_reason or 'hung up'})", self.report())

    def _note(self, what: str, detail: str = "") -> None:
        self._events.append(Event(self._ms(time.monotonic()), what, detail))
        self._changes.notify()

    def _ms(self, moment: float) -> float:
        return (moment - self._placed) * 1000

    def _since_joined(self, moment: float | None) -> float | None:
        return None if moment is None or self._joined is None else max(0.0, (moment - self._joined) * 1000)

    def _add_turn(self, turn: Turn) -> int:
        self._turns.append(turn)
        return len(self._turns) - 1

    def _complete(self, index: int, *, reply_ms: float) -> Turn:
        turn = self._turns[index]
        self._turns[index] = Turn(turn.said, turn.start_ms, turn.end_ms, reply_ms, turn.silenced_ms)
        return self._turns[index]

    def _own_voice(self, length: int) -> Samples:
        out = np.zeros(length, dtype=np.float32)
        for spoken in self._microphone.spoken if self._microphone else ():
            sound = resample(spoken.samples, MICROPHONE_RATE, RATE)
            room = out[max(0, round((spoken.start - self._placed) * RATE)) :][: len(sound)]
            room += sound[: len(room)]
        return out


async def place_call(
    secret: Mapping[str, str],
    *,
    say: Sequence[str] = ("What are your opening hours?",),
    interrupt: bool = False,
    wav: FilePath | None = None,
    url_key: str = "url",
    patience: float = 20,
    rtc_config: rtc.RtcConfiguration | None = None,
) -> CallReport:
    """Call, wait for the greeting, ask each question in turn, interrupt a long answer if asked to, and hang up."""
    call = Call(secret, url_key=url_key, rtc_config=rtc_config)
    try:
        async with call:
            await call.agent_present(patience)
            await call.greeting(patience)
            for text in say:
                await call.ask(text, patience)
            if interrupt:
                await call.ask_and_hear_begin(LONG_QUESTION, patience)
                await call.hold(_INTO_THE_ANSWER)
                await call.interrupt(seconds=patience)
    finally:
        if wav is not None:
            (await asyncio.to_thread(call.report)).write_wav(wav)
    return await asyncio.to_thread(call.report)


def is_agent(participant: rtc.RemoteParticipant) -> bool:
    """Return whether a participant is an agent."""
    return participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


def redact_logs() -> None:
    """Keep tokens out of what the SDK logs, from now on."""
    logger = logging.getLogger("livekit")
    if not any(isinstance(existing, RedactTokens) for existing in logger.filters):
        logger.addFilter(RedactTokens())
