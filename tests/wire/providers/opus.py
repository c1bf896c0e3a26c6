"""Sends sound through the Opus codec, as a call does."""

from fractions import Fraction

import av
import numpy as np

from tests.providers.audio import Samples, from_pcm16, to_pcm16

RATE = 48000
_FRAME = RATE // 50


def through_opus(samples: Samples, bitrate: int = 24000) -> Samples:
    """Encode and decode 48 kHz sound in 20 ms packets, as WebRTC does for speech."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, "mono", "s16", bitrate
    encoder.options = {"application": "voip", "frame_duration": "20"}
    encoder.open()
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = RATE, "mono"
    decoder.open()
    heard: list[Samples] = []
    for begin in range(0, len(samples) - _FRAME + 1, _FRAME):
        pcm = np.frombuffer(to_pcm16(samples[begin : begin + _FRAME]), dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
        for packet in encoder.encode(frame):
            for decoded in decoder.decode(packet):
                sound = decoded.to_ndarray().reshape(-1)
                heard.append(from_pcm16(sound.tobytes()) if sound.dtype == np.int16 else sound.astype(np.float32))
    return np.concatenate(heard)
