"""Turns samples of one rate into samples of another, and PCM bytes into samples."""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono sound as floats, full scale at -1 and 1."""

_HALF_WIDTH = 16  # zero crossings on each side of the interpolation kernel
_BLOCK = 1 << 15  # output samples worked on at once, which bounds the memory of a long recording


def from_pcm16(pcm: bytes, channels: int = 1) -> Samples:
    """Read little-endian 16-bit PCM; several channels are mixed into one."""
    whole = len(pcm) - len(pcm) % (2 * channels)
    samples = np.frombuffer(pcm[:whole], dtype="<i2").astype(np.float32) / 32768.0
    if channels > 1:
        samples = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return samples


def to_pcm16(samples: Samples) -> bytes:
    """Write little-endian 16-bit PCM, clipped at full scale."""
    return (np.clip(samples, -1.0, 32767 / 32768) * 32768.0).astype("<i2").tobytes()


def level_dbfs(samples: Samples) -> float:
    """Mean power of the samples in decibels below full scale (-120 for silence)."""
    if not len(samples):
        return -120.0
    return float(10 * np.log10(float(np.mean(np.square(samples, dtype=np.float64))) + 1e-12))


@lru_cache(maxsize=16)
def _kernel(up: int, down: int) -> NDArray[np.float32]:
    """One row of windowed-sinc taps for each of the `up` positions an output sample can take between two inputs."""
    cutoff = min(1.0, up / down) * 0.95  # below the lower of both Nyquist limits, so that nothing folds back
    half = int(np.ceil(_HALF_WIDTH / cutoff))
    offsets = np.arange(-half + 1, half + 1)[None, :] - (np.arange(up) / up)[:, None]
    window = np.where(np.abs(offsets) <= half, np.cos(np.pi * offsets / (2 * half)) ** 2, 0.0)
    taps = cutoff * np.sinc(cutoff * offsets) * window
    return np.asarray(taps / taps.sum(axis=1, keepdims=True), dtype=np.float32)


def resample(samples: Samples, rate: int, to_rate: int) -> Samples:
    """Band-limited conversion between two sample rates (espeak-ng gives 22050, callers speak 48000)."""
    if rate == to_rate or not len(samples):
        return samples
    common = gcd(rate, to_rate)
    up, down = to_rate // common, rate // common
    kernel = _kernel(up, down)
    half = kernel.shape[1] // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (half, half)), 2 * half)
    out = np.empty(len(samples) * up // down, dtype=np.float32)
    for begin in range(0, len(out), _BLOCK):
        position = np.arange(begin, min(begin + _BLOCK, len(out)), dtype=np.int64) * down
        out[begin : begin + len(position)] = np.einsum("ij,ij->i", windows[position // up + 1], kernel[position % up])
    return out
