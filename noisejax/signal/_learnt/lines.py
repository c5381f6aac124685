"""Gain and offset of each recording by generalized least squares, given how the errors are correlated."""

from typing import NamedTuple

import numpy as np

from noisejax.signal._learnt.estimates import Error


class Line(NamedTuple):
    """The gain and the offset of one recording, as sums of the readings with weights."""

    gain: float
    offset: float
    weights: np.ndarray  # (2, T), of the gain and of the offset
    varied: bool  # whether the reference varies: a constant shows no gain
    used: bool


def lines(clean: list, faulty: list, use: list, error: Error | None, step: float) -> list[Line]:
    """Lines through the readings in use. A recording of a constant has the gain of the others.

    The steps of a random walk with white noise have a covariance with three diagonals, also where readings are missing.
    The noise counts as white, of its power at low frequencies.
    """
    walk, level = (0.0, 1.0) if error is None else (error.walk**2, float(error.power[0]) + step**2 / 12)
    level = max(level, 1e-3 * walk) or 1.0
    scale = max((np.abs(a[u]).max() for a, u in zip(clean, use, strict=True) if u.any()), default=0.0)
    varied = [u.sum() > 2 and a[u].std() > 1e-5 * scale for a, u in zip(clean, use, strict=True)]
    given = list(zip(clean, faulty, use, strict=True))
    found = [_line(*series, walk, level, None) if good else None for series, good in zip(given, varied, strict=True)]
    gains = [line.gain for line in found if line is not None]
    usual = float(np.mean(gains)) if gains else 1.0
    return [own or _line(*series, walk, level, usual) for own, series in zip(found, given, strict=True)]


def _line(a: np.ndarray, b: np.ndarray, use: np.ndarray, walk: float, level: float, gain: float | None) -> Line:
    from scipy.linalg import solveh_banded  # jax depends on SciPy

    place = np.flatnonzero(use)
    weights = np.zeros((2, len(a)))
    if not len(place):
        return Line(1.0 if gain is None else gain, 0.0, weights, False, False)
    columns = np.stack([a[place], np.ones(len(place))], 1)[:, 0 if gain is None else 1 :]
    # The first reading, and the steps between the readings: the walk is 0 at the start.
    steps = np.diff(columns, axis=0, prepend=0)
    banded = np.zeros((2, len(place)))
    banded[0, 1:] = -level
    banded[1] = walk * np.diff(place, prepend=0) + 2 * level
    banded[1, 0] -= level
    solved = solveh_banded(banded, steps).reshape(steps.shape)
    each = np.linalg.pinv(steps.T @ solved) @ solved.T  # of the steps
    of_readings = each - np.concatenate([each[:, 1:], np.zeros((len(each), 1))], 1)
    weights[2 - len(each) :, place] = of_readings
    readings = b[place] if gain is None else b[place] - gain * a[place]
    values = of_readings @ readings
    return Line(float(values[0]) if gain is None else gain, float(values[-1]), weights, gain is None, True)


def means(found: list[Line], error: Error) -> tuple[tuple[float, float], tuple[float, float]]:
    """The means and the standard deviations of gains and offsets. Chance alone makes some of their spread."""
    varied = [line for line in found if line.varied]
    used = [line for line in found if line.used]
    gain = _beyond_chance([line.gain for line in varied], [_variance(line.weights[0], error) for line in varied])
    if not varied:
        gain = (1.0, 0.0)
    offset = _beyond_chance([line.offset for line in used], [_variance(line.weights[1], error) for line in used])
    return gain, offset


def _variance(weights: np.ndarray, error: Error) -> float:
    """The variance of a weighted sum of errors: of the steps of a walk, and of noise with a spectrum."""
    later = np.cumsum(weights[::-1])[::-1]
    kernel = np.fft.fftshift(np.fft.irfft(np.sqrt(error.power), 2 * len(error.power) - 1))
    return float(error.walk**2 * (later**2).sum() + (np.convolve(weights, kernel) ** 2).sum())


def _beyond_chance(values: list[float], variances: list[float]) -> tuple[float, float]:
    """The mean and the standard deviation of normal values of which each is known up to an error of its own."""
    if not values:
        return 0.0, 0.0
    value = np.array(values)
    own = np.array(variances) + 1e-12 * (np.abs(value).max() ** 2 + 1e-12)
    weight = 1 / own
    centre = (weight * value).sum() / weight.sum()
    excess = (weight * (value - centre) ** 2).sum() - (len(value) - 1)
    between = excess / (weight.sum() - (weight**2).sum() / weight.sum()) if len(value) > 1 else 0.0
    between = max(between, 0.0)
    weight = 1 / (own + between)
    return float((weight * value).sum() / weight.sum()), float(np.sqrt(between))
