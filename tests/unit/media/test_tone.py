"""Tones are told apart, and times without them are measured by the sound and not by when it arrived."""

import numpy as np
import pytest

from tests.media.tone import WINDOW, Hearing, sounds, tone
from tests.providers.audio import Samples

RATE = 24000
FRAME = round(RATE * WINDOW)


def frames(samples: Samples) -> list[Samples]:
    return [samples[at : at + FRAME] for at in range(0, len(samples), FRAME)]


def silence(seconds: float) -> Samples:
    return np.zeros(round(RATE * seconds), dtype=np.float32)


def test_a_tone_has_no_seam_and_no_quiet_edge() -> None:
    once = tone(440, RATE, 1)
    step = np.abs(np.diff(once)).max()
    assert abs(once[-1] - once[0]) <= step
    assert abs(once[0]) > 0.2
    assert abs(once[-1]) > 0.2


@pytest.mark.parametrize(("made", "wanted", "found"), [(440, 440, True), (440, 660, False), (660, 440, False)])
def test_tones_are_told_apart(made: int, wanted: int, found: bool) -> None:
    assert set(sounds(tone(made, RATE, 1), RATE, wanted)) == {np.bool_(found)}


def test_a_tone_is_heard_through_noise_and_noise_is_none() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, RATE).astype(np.float32)
    assert sounds(tone(440, RATE, 1) + noise, RATE, 440).all()
    assert not sounds(noise, RATE, 440).any()
    assert not sounds(silence(1), RATE, 440).any()


def test_a_gap_is_as_long_as_the_silence() -> None:
    hearing = Hearing(440, RATE)
    once = tone(440, RATE, 1)
    now = 100.0
    for frame in frames(np.concatenate([once, silence(0.3), once])):
        hearing.take("track", frame, now)
        now += WINDOW
    (gap,) = hearing.all_gaps(now)
    assert gap.ms == pytest.approx(300, abs=1)
    assert hearing.first == pytest.approx(100.0 - WINDOW)


def test_sound_that_comes_late_and_in_a_burst_is_no_gap() -> None:
    hearing = Hearing(440, RATE)
    for index, frame in enumerate(frames(tone(440, RATE, 2))):
        due = 100.0 + index * WINDOW
        late = 100.8 if 100.6 <= due < 100.8 else due
        hearing.take("track", frame, late)
    assert hearing.all_gaps(102.0) == ()


def test_sound_that_never_came_is_a_gap() -> None:
    hearing = Hearing(440, RATE)
    for index, frame in enumerate(frames(tone(440, RATE, 2))):
        due = 100.0 + index * WINDOW
        hearing.take("track", frame, due if due < 101.0 else due + 1.5)
    (gap,) = hearing.all_gaps(103.5)
    assert gap.ms == pytest.approx(1500, abs=50)


def test_another_track_goes_on_where_the_first_ended() -> None:
    hearing = Hearing(440, RATE)
    for index, frame in enumerate(frames(tone(440, RATE, 1))):
        hearing.take("first" if index < 25 else "second", frame, 100.0 + index * WINDOW + (0.4 if index >= 25 else 0))
    (gap,) = hearing.all_gaps(101.4)
    assert gap.ms == pytest.approx(400, abs=1)


def test_a_silence_that_lasts_is_a_gap_until_now() -> None:
    hearing = Hearing(440, RATE)
    assert hearing.all_gaps(100.0) == ()
    for index, frame in enumerate(frames(tone(440, RATE, 1))):
        hearing.take("track", frame, 100.0 + index * WINDOW)
    assert hearing.sounding(101.0)
    assert hearing.all_gaps(101.0) == ()
    assert not hearing.sounding(104.0)
    (gap,) = hearing.all_gaps(104.0)
    assert gap.ms == pytest.approx(3000, abs=50)
