"""Which operation made a wrong number: a value is scaled, moved by an offset, converted or replaced.

Every operation is ``scale * x + offset``. A replaced value has the scale 0. One pair of numbers is explained by many
operations, so an operation is recognized by its repetition over different clean values.
"""

import numpy as np

from noisejax.tabular._cells import UNITS

_MOST, _TRIED = 8, 12
_CONVERSIONS = tuple(pair for pair in UNITS.values() if pair[1] != 0)


def operations(clean: np.ndarray, dirty: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """The scale and the offset that made each wrong number, (N, 2).

    Args:
      clean, dirty: the numbers before and after, (N,), none of them missing.
      usual: all clean values of the column. A value that is often the result is a constant only if it is rarer here.
    """
    result = np.zeros((len(clean), 2))
    left = np.ones(len(clean), bool)
    found: list[tuple[float, float]] = []
    while len(found) < _MOST and left.sum() > 3:
        best = max(_candidates(clean[left], dirty[left], usual), default=None)
        if best is None:
            break
        found.append(best[1])
        left &= ~_explained(clean, dirty, best[1])
    _share_out(result, clean, dirty, found)
    _rest(result, clean, dirty, left)
    return result


def _explained(clean: np.ndarray, dirty: np.ndarray, operation: tuple[float, float]) -> np.ndarray:
    scale, offset = operation
    return np.abs(scale * clean + offset - dirty) <= 2e-6 * (np.abs(scale * clean) + abs(offset) + np.abs(dirty))


def _candidates(clean: np.ndarray, dirty: np.ndarray, usual: np.ndarray):
    """Operations with the number of pairs that they explain beyond chance, if that number is a lot."""
    n = len(clean)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios = dirty / clean
    tried = {(scale, 0.0) for scale in _frequent(ratios[np.isfinite(ratios) & (ratios != 0)])}
    tried |= {(1.0, offset) for offset in _frequent(dirty - clean)} | {(0.0, value) for value in _frequent(dirty)}
    values, places = np.unique(dirty, return_inverse=True)
    often = np.bincount(places)
    for scale, offset in sorted(tried | set(_CONVERSIONS)):
        hit = _explained(clean, dirty, (scale, offset))
        count = hit.sum()
        if count < 4 or len(np.unique(clean[hit])) < 3:
            continue
        if scale == 0:
            chance = n * np.mean(usual == offset)
        else:  # the pairs that it would explain if the dirty values were dealt to the clean ones at random
            results = scale * clean + offset
            place = np.clip(np.searchsorted(values, results), 1, len(values) - 1) if len(values) > 1 else 0
            place = np.where(
                np.abs(values[np.maximum(place - 1, 0)] - results) < np.abs(values[place] - results), place - 1, place
            )
            near = np.abs(values[place] - results) <= 2e-6 * (np.abs(results) + np.abs(values[place]))
            chance = np.sum(often[place] * near) / n
        if count - chance > 3 * np.sqrt(chance) + 3 and count > 0.01 * n:
            yield count - chance, (scale, offset)


def _frequent(values: np.ndarray) -> list[float]:
    """The most frequent values, which may differ by rounding."""
    if not len(values):
        return []
    values = np.sort(values)
    gaps = np.diff(values) > 2e-6 * np.maximum(np.abs(values[1:]), np.abs(values[:-1]))
    starts = np.concatenate([[0], np.flatnonzero(gaps) + 1])
    sizes = np.diff(np.append(starts, len(values)))
    order = np.argsort(-sizes, kind="stable")[:_TRIED]
    middle = values[starts[order] + sizes[order] // 2]
    return [_short(value) for value, size in zip(middle, sizes[order], strict=True) if size > 1]


def _short(value: float) -> float:
    """The shortest decimal that is the value up to rounding: 0.1 for 0.09999999."""
    return next(short for digits in range(1, 18) if np.isclose(short := float(f"{value:.{digits}g}"), value, 1e-6, 0))


def _share_out(result: np.ndarray, clean: np.ndarray, dirty: np.ndarray, found: list[tuple[float, float]]) -> None:
    """Pairs that several operations explain go to each of them in proportion to the pairs that it alone explains."""
    if not found:
        return
    explains = np.stack([_explained(clean, dirty, operation) for operation in found])
    alone = explains & (explains.sum(0) == 1)
    weights = alone.sum(1) + 1e-9
    for pattern in np.unique(explains.T, axis=0):
        rows = np.flatnonzero((pattern == explains.T).all(1))
        if not pattern.any():
            continue
        ends = np.cumsum(weights * pattern)
        # Multiples of the golden ratio are spread evenly over [0, 1), in any number.
        spread = (np.arange(len(rows)) * 0.6180339887498949 + 0.5) % 1
        which = np.searchsorted(ends, spread * ends[-1], side="right")
        result[rows] = np.array(found)[np.minimum(which, len(found) - 1)]


def _rest(result: np.ndarray, clean: np.ndarray, dirty: np.ndarray, left: np.ndarray) -> None:
    """The pairs without a repeated operation: the form whose parameter varies least, relative to what is usual."""
    if not left.any():
        return
    a, b = clean[left], dirty[left]
    offsets = b - a
    forms = {"offset": np.stack([np.ones(len(a)), offsets], 1), "value": np.stack([np.zeros(len(a)), b], 1)}
    widths = {"offset": _width(offsets), "value": _width(b) / 0.9}
    if np.all(a * b > 0):
        forms["scale"] = np.stack([b / a, np.zeros(len(a))], 1)
        # In the units of the values that it makes. An offset is the form of a different one only by a clear margin.
        widths["scale"] = _width(b / a) * np.median(np.abs(a)) / 0.8
    result[left] = forms[min(widths, key=lambda form: widths[form])]


def _width(values: np.ndarray) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low)
