"""Recordings that users hand to a fit: arrays or lists of them, as series of steps and channels on the host."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from noisejax import _checks

SHORTEST = 16


def recordings(function: str, name: str, value: Any) -> list[np.ndarray]:
    """Series (T, C) of float64, NaN where a reading is missing."""
    found = []
    for series in _listed(function, name, value):
        if isinstance(series, Tracer):
            raise TypeError(
                f"{function}: {name} is traced, and recordings are fitted on the host. Call it outside of jit."
            )
        _checks.native(function, name, series)
        _checks.array(function, series, _checks.numbers, name)
        series = np.asarray(series)
        if series.ndim not in (1, 2) or len(series) < SHORTEST or not series.size:
            raise ValueError(
                f"{function}: {name} must be recordings (N, T, C) or (N, T), one (T,), or a list of (T, C) or (T,), of "
                f"at least {SHORTEST} steps, got a recording of shape {series.shape}. A single recording of several "
                f"channels is {name}[None]."
            )
        series = series.astype(np.float64).reshape(len(series), -1)
        if np.isinf(series).any():
            raise ValueError(f"{function}: {name} must not be infinite. A missing reading is NaN.")
        found.append(series)
    if not found or len({series.shape[1] for series in found}) > 1:
        got = "none" if not found else f"recordings of {sorted({s.shape[1] for s in found})} channels"
        raise ValueError(f"{function}: {name} must hold recordings with the same channels, got {got}.")
    return found


def _listed(function: str, name: str, value: Any) -> Sequence[Any]:
    if isinstance(value, (jax.Array, np.ndarray)):
        return [value] if value.ndim == 1 else list(np.asarray(value)) if _whole(value) else [value]
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(
            f"{function}: {name} must be an array of recordings or a list of them, got {_checks.shown(value)}."
        )
    return value


def _whole(value: Any) -> bool:
    """An array of recordings of numbers, and not a tracer, or an array that is refused as a whole."""
    return value.ndim in (2, 3) and not isinstance(value, Tracer)


def paired(clean: Any, faulty: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    before, after = (recordings("fit", name, value) for name, value in (("clean", clean), ("faulty", faulty)))
    if [series.shape for series in before] != [series.shape for series in after]:
        raise ValueError(
            f"fit: clean and faulty must have the same recordings, of equal shapes, got {len(before)} and {len(after)} "
            f"recordings, the first of shape {before[0].shape} and {after[0].shape}."
        )
    return list(zip(before, after, strict=True))


def masks(missing: Any) -> list[np.ndarray]:
    """Masks (T, C), True where a step is lost, from masks or from recordings with NaN."""
    found = recordings("fit_bursts", "missing", missing)
    given = _listed("fit_bursts", "missing", missing)
    if all(np.asarray(series).dtype == bool for series in given):
        return [series > 0 for series in found]
    if not all(np.issubdtype(np.asarray(series).dtype, np.floating) for series in given):
        raise TypeError(
            "fit_bursts: missing must be a mask of booleans, True where a step is lost, or recordings of floats in "
            f"which it is NaN, got {np.asarray(given[0]).dtype}. Convert it: missing.astype(bool)."
        )
    return [np.isnan(series) for series in found]
