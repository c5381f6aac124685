"""What the error of one channel consists of: a random walk, noise with a spectrum, and a grid of values."""

from typing import NamedTuple

import numpy as np


class Error(NamedTuple):
    """A random walk of standard deviation `walk` per root step, and noise with a power at each frequency."""

    walk: float
    power: np.ndarray  # (F,), at k / (2 F - 1) cycles per step; its mean over all frequencies is the variance

    @property
    def variance(self) -> float:
        return float((self.power[0] + 2 * self.power[1:].sum()) / (2 * len(self.power) - 1))


def stretches(errors: list[np.ndarray], valid: list[np.ndarray]) -> list[np.ndarray]:
    """The parts of the series without a gap."""
    found = []
    for error, good in zip(errors, valid, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(np.int8)))
        found += [error[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return found


def windows(parts: list[np.ndarray], size: int) -> np.ndarray:
    """Half-overlapping windows, (N, size)."""
    cut = [np.lib.stride_tricks.sliding_window_view(p, size)[:: max(size // 2, 1)] for p in parts if len(p) >= size]
    return np.concatenate(cut) if cut else np.zeros((0, size))


def error_of(parts: list[np.ndarray], size: int, step: float) -> Error | None:
    """The walk and the noise of series of errors; None if no part is long enough. A grid of values adds white noise."""
    longest = max(map(len, parts), default=0)
    size = min(size, longest - 1) // 2 * 2 + 1
    while size > 9 and len(windows(parts, size)) < 8:
        size = (size // 2) // 2 * 2 + 1
    if size < 9 or longest <= size:
        return None
    variance, level = _walk(parts, size)
    taper = np.hanning(size + 2)[1:-1]
    taper /= np.sqrt((taper**2).sum())
    own = windows(parts, size)
    if not variance:
        power = (np.abs(np.fft.rfft(own * taper, axis=1)) ** 2).mean(0)
    else:
        # The walk moves the mean of each window, which is taken away, and with it a known share of all powers.
        power = (np.abs(np.fft.rfft((own - own.mean(1, keepdims=True)) * taper, axis=1)) ** 2).mean(0)
        centred = (np.eye(size) - 1 / size) * taper[:, None]  # rows: what each sample of the window becomes
        turns = np.fft.rfft(centred, axis=0)
        step_sums = np.cumsum(turns[:, ::-1], axis=1)[:, ::-1]  # a step of the walk moves all later samples
        white, drift = (np.abs(turns) ** 2).sum(1), (np.abs(step_sums) ** 2).sum(1)
        known = white > 0.3
        power = np.where(known, (power - variance * drift) / np.where(known, white, 1), level)
        power[0] = level
    return Error(float(np.sqrt(variance)), np.maximum(power - step**2 / 12, 0))


def _walk(parts: list[np.ndarray], size: int) -> tuple[float, float]:
    """The variance of a walk's steps and the power of the noise at low frequencies, by Whittle's likelihood.

    The steps of the error have the spectrum ``q + c * 4 sin(pi f)**2`` at low frequencies: q of the walk, and c of the
    noise, which is flat there. Windows are tapered, because the noise at high frequencies would leak into low ones.
    """
    steps = [np.diff(part) for part in parts]
    longest = max(map(len, steps))
    wide = 1 << int(np.log2(longest))
    while wide > 4 * size and len(windows(steps, wide)) < 15:
        wide //= 2
    wide = max(wide, 8)
    taper = np.hanning(wide + 2)[1:-1]
    taper /= np.sqrt((taper**2).sum())
    power = (np.abs(np.fft.rfft(windows(steps, wide) * taper, axis=1)) ** 2).mean(0)
    count = 0.95 * len(windows(steps, wide))
    last = min(max(3, wide // (2 * size)), wide // 2)
    turn = 2 * np.pi * np.arange(1, last + 1) / wide
    neighbours = (taper[1:] * taper[:-1]).sum()
    basis = np.stack([np.ones(last), 2 - 2 * np.cos(turn) * neighbours], 1)
    power = power[1 : last + 1]
    if not power.any():
        return 0.0, 0.0
    weights = 1 / np.maximum(power.mean(), 1e-300) * np.ones(last)
    found = np.zeros(2)
    for _ in range(50):
        found = _nonnegative(basis * weights[:, None], power * weights)
        fitted = basis @ found
        weights = 1 / np.maximum(fitted, 1e-6 * fitted.max() + 1e-300)
    # A walk that is not larger than its own standard error is none: every recording would have one.
    scaled = basis * weights[:, None]
    deviation = np.sqrt(np.linalg.pinv(count * scaled.T @ scaled)[0, 0])
    if found[0] < 2 * deviation:
        only = float((weights**2 * basis[:, 1] * power).sum() / (weights**2 * basis[:, 1] ** 2).sum())
        return 0.0, only
    return float(found[0]), float(found[1])


def _nonnegative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Least squares with two coefficients that are not negative."""
    free = np.linalg.lstsq(a, b, rcond=None)[0]
    if (free >= 0).all():
        return free
    each = np.maximum((a * b[:, None]).sum(0) / (a**2).sum(0), 0)
    losses = [((a[:, n] * each[n] - b) ** 2).sum() for n in range(2)]
    return np.where(np.arange(2) == np.argmin(losses), each, 0)


def grid(values: np.ndarray) -> tuple[float, float]:
    """The step and the origin of a grid on which all values lie; (0, 0) without one."""
    levels = np.unique(values)
    if len(levels) < 2:
        return 0.0, 0.0
    place = levels - levels[0]
    smallest = np.diff(levels).min()
    rounding = 2.0**-20 * np.abs(levels).max()  # floats have a grid of their own
    for parts in (1, 2, 3, 4):
        step = smallest / parts
        if step < rounding:
            break
        reach = 8.0
        while True:  # the error of the step grows with the distance: the next values are numbered by a better step
            near = place <= reach * step
            code = np.round(place[near] / step)
            if code.any():
                step = float((code * place[near]).sum() / (code**2).sum())
            if near.all():
                break
            reach *= 4
        if np.abs(place - step * np.round(place / step)).max() < max(0.05 * step, rounding / 4):
            return step, float(levels[0] % step)
    return 0.0, 0.0
