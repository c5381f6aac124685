"""How the faults of a sensor are fitted to recordings: with a clean reference, or to gaps and quiet parts alone."""

from typing import Any

import numpy as np

from noisejax import _checks
from noisejax.signal._learnt.estimates import Error, error_of, grid, stretches
from noisejax.signal._learnt.gaps import chains
from noisejax.signal._learnt.lines import lines, means
from noisejax.signal._learnt.model import FaultModel
from noisejax.signal._learnt.recordings import masks, paired, recordings


def fit(clean: Any, faulty: Any, *, size: int = 64) -> FaultModel:
    """Learns the faults of sensors from recordings with a clean reference, for the noise `faults`.

    A reading is modelled as ``gain * clean + offset + drift + noise``, limited to a range, rounded to a grid, and lost
    in gaps. Gain and offset are fitted to each recording by generalized least squares, and the model has their means
    and how much more they vary than by chance. The drift is a random walk. Its rate, and the power of the noise at low
    frequencies, maximize Whittle's likelihood of the steps of the error. The spectrum of the noise is Welch's. A range
    has a limit where the reference predicts readings beyond the largest (or the smallest) one by more than three
    standard deviations of the noise. The grid is found if all readings lie on one. Gaps are fitted as by `fit_bursts`.

    Args:
      clean: the reference: recordings of shape (N, T, C) or (N, T), one of shape (T,), or a list of (T, C) or (T,) of
        different lengths. NaN where the reference is missing.
      faulty: the readings at the same times. NaN where a reading is lost.
      size: over how many steps noise is correlated, at least 8: the resolution of the spectrum. Shorter recordings
        lower it.

    Returns:
      The fitted model: a pytree, whose fields can be read, and whose `str` is a table.

    Raises:
      TypeError: recordings that are not arrays of numbers.
      ValueError: recordings of different shapes, shorter than 16 steps, infinite, or without readings in common.

    References:
      Whittle, "Estimation and information in stationary time series", Arkiv för Matematik 2, 1953; Welch, IEEE
      Transactions on Audio and Electroacoustics 15(2), 1967; DerSimonian and Laird, "Meta-analysis in clinical trials",
      Controlled Clinical Trials 7, 1986 (the variation between recordings).

    Example:
      >>> import numpy as np, noisejax as nj
      >>> rng = np.random.default_rng(0)
      >>> clean = np.sin(np.arange(4000) / 30)
      >>> readings = np.round((1.2 * clean + 0.5 + rng.normal(0, 0.05, 4000)) / 0.05) * 0.05
      >>> model = nj.signal.fit(clean, np.minimum(readings, 1.5))
      >>> [round(float(part[0]), 2) for part in (model.gain, model.offset, model.noise, model.high, model.step)]
      [1.2, 0.5, 0.05, 1.5, 0.05]
    """
    size = _checks.count("fit", "size", size, least=8)
    pairs = paired(clean, faulty)
    channels = pairs[0][0].shape[1]
    parts = [_sensor([a[:, c] for a, _ in pairs], [b[:, c] for _, b in pairs], size, c) for c in range(channels)]
    lost = [np.isnan(after) & ~np.isnan(before) for before, after in pairs]
    gaps = _gaps(lost, [~np.isnan(before) for before, _ in pairs]) if any(mask.any() for mask in lost) else {}
    return _model(parts, **gaps)


def fit_noise(quiet: Any, *, size: int = 64) -> FaultModel:
    """Learns the noise, the drift and the quantization of sensors from recordings of nothing, for the noise `faults`.

    Use it where there is no clean reference: on a sensor at rest, a microphone in silence, or a phantom. All that
    changes in the recordings is taken for noise or drift.

    Args:
      quiet: recordings of a constant signal: (N, T, C) or (N, T), one of shape (T,), or a list of (T, C) or (T,). NaN
        where a reading is missing.
      size: over how many steps noise is correlated, at least 8: the resolution of the spectrum.

    Returns:
      The fitted model, without gain, offset, limits and gaps.

    Raises:
      TypeError: recordings that are not arrays of numbers.
      ValueError: recordings shorter than 16 steps, infinite, or without a part of 10 readings in a row.

    References:
      Whittle, "Estimation and information in stationary time series", Arkiv för Matematik 2, 1953; Welch, IEEE
      Transactions on Audio and Electroacoustics 15(2), 1967.

    Example:
      >>> import numpy as np, noisejax as nj
      >>> quiet = np.random.default_rng(0).normal(3.0, 0.2, (4, 2000))
      >>> model = nj.signal.fit_noise(quiet)
      >>> round(float(model.noise[0]), 2), model.walk.tolist(), model.step.tolist()
      (0.2, [0.0], [0.0])
    """
    size = _checks.count("fit_noise", "size", size, least=8)
    given = recordings("fit_noise", "quiet", quiet)
    parts = []
    for c in range(given[0].shape[1]):
        series = [recording[:, c] for recording in given]
        valid = [~np.isnan(s) for s in series]
        centred = [s - s[v].mean() if v.any() else s for s, v in zip(series, valid, strict=True)]
        step, origin = grid(np.concatenate([s[v] for s, v in zip(series, valid, strict=True)]))
        parts.append({"error": _error("fit_noise", "quiet", centred, valid, size, step, c), "step": step})
        parts[-1]["origin"] = origin
    return _model(parts)


def fit_bursts(missing: Any) -> FaultModel:
    """Learns how often recordings have gaps, and how long these last, for the noise `faults`.

    Gaps are those of one chain of Gilbert and Elliott, whose lengths are geometric, or of two independent ones, a chain
    of short and one of long gaps, if the lengths show it: a sensor that skips a sample daily, and fails for days twice
    a year. If all channels are lost at the same steps, they are lost together, and otherwise each has chains of its
    own. Gaps at the ends of recordings count by what is seen of them.

    Args:
      missing: masks, True where a step is lost, or recordings in which it is NaN: (N, T, C) or (N, T), one of shape
        (T,), or a list of (T, C) or (T,).

    Returns:
      The fitted model, with gaps alone: `rate` and `burst` are those of the arguments of `bursts`.

    Raises:
      TypeError: masks that are no booleans.
      ValueError: recordings shorter than 16 steps, or without a gap that begins in them.

    References:
      Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39, 1960; Dempster, Laird and Rubin,
      "Maximum likelihood from incomplete data via the EM algorithm", Journal of the Royal Statistical Society B 39,
      1977.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> lost = jnp.isnan(nj.signal.bursts(jax.random.key(0), jnp.ones(50_000), 0.1, 8.0, jnp.nan, fill="value"))
      >>> model = nj.signal.fit_bursts(lost)
      >>> round(float(model.rate[0, 0]), 1), round(float(model.burst[0, 0]))
      (0.1, 8)
    """
    lost = masks(missing)
    gaps = _gaps(lost, [np.ones(mask.shape, bool) for mask in lost])
    if not gaps["rate"].any():
        raise ValueError(
            "fit_bursts: missing must have a gap that begins after a step that arrived, got none. A sensor without "
            "gaps needs no model."
        )
    return FaultModel(**gaps)


def _gaps(lost: list[np.ndarray], known: list[np.ndarray]) -> dict[str, Any]:
    together = all((mask == mask[:, :1]).all() for mask in (*lost, *known))
    channels = 1 if together else lost[0].shape[1]
    found = [chains([mask[:, c] for mask in lost], [mask[:, c] for mask in known]) for c in range(channels)]
    rate, burst = (np.stack(part, 1).astype(np.float32) for part in zip(*found, strict=True))
    return {"rate": rate, "burst": burst, "together": together}


def _error(function: str, name: str, series, valid, size: int, step: float, channel: int) -> Error:
    found = error_of(stretches(series, valid), size, step)
    if found is None:
        raise ValueError(
            f"{function}: {name} must have 10 readings in a row in each channel, but channel {channel} has fewer. "
            "Leave it out."
        )
    return found


def _sensor(clean: list[np.ndarray], faulty: list[np.ndarray], size: int, channel: int) -> dict[str, Any]:
    """All parts of one channel but gaps."""
    valid = [~np.isnan(a) & ~np.isnan(b) for a, b in zip(clean, faulty, strict=True)]
    readings = np.concatenate([b[v] for b, v in zip(faulty, valid, strict=True)])
    if not len(readings):
        raise ValueError(f"fit: clean and faulty have no readings in common in channel {channel}. Leave it out.")
    step, origin = grid(readings)
    ends = (readings.min(), readings.max())
    # Readings at the ends of the range may have been limited. They are left out until the limits are known.
    inside = [v & (b > ends[0]) & (b < ends[1]) for b, v in zip(faulty, valid, strict=True)]
    found = lines(clean, faulty, inside, None, step)
    predicted = [line.gain * a + line.offset for line, a in zip(found, clean, strict=True)]
    errors = np.concatenate([(b - p)[v] for b, p, v in zip(faulty, predicted, inside, strict=True)])
    spread = 1.4826 * np.median(np.abs(errors - np.median(errors))) if len(errors) else 0.0
    margin = step / 2 + 3 * spread + 1e-6 * (ends[1] - ends[0])
    beyond = [
        sum(int((v & (side * (p - end) > margin)).sum()) for p, v in zip(predicted, valid, strict=True))
        for side, end in ((-1, ends[0]), (1, ends[1]))
    ]
    low, high = (end if n >= 5 else side * np.inf for n, end, side in zip(beyond, ends, (-1, 1), strict=True))
    # What is predicted near a limit is left out too: readings there are those whose noise happens to be small.
    inside = [
        v & (p > low + margin) & (p < high - margin) if np.isfinite([low, high]).any() else v
        for p, v in zip(predicted, valid, strict=True)
    ]
    found, error = _lines_and_error(clean, faulty, inside, None, size, step, channel)
    for _ in range(2):  # the error tells how to weight the readings, and these what the error is
        found, error = _lines_and_error(clean, faulty, inside, error, size, step, channel)
    gain, offset = means(found, error)
    return {
        "error": error,
        "step": step,
        "origin": origin,
        "low": low,
        "high": high,
        "centre": np.median(readings),
        "gain": gain,
        "offset": offset,
    }


def _lines_and_error(clean, faulty, use, error: Error | None, size: int, step: float, channel: int):
    found = lines(clean, faulty, use, error, step)
    errors = [b - line.gain * a - line.offset for line, a, b in zip(found, clean, faulty, strict=True)]
    return found, _error("fit", "faulty", errors, use, size, step, channel)


def _model(parts: list[dict[str, Any]], **gaps: Any) -> FaultModel:
    """The model of all channels, from the parts of each."""

    def row(values) -> np.ndarray:
        return np.array(list(values), np.float32)

    frequencies = min(len(part["error"].power) for part in parts)
    spectra = []
    for part in parts:
        own = part["error"].power
        at = np.arange(frequencies) / (2 * frequencies - 1) * (2 * len(own) - 1)
        resampled = np.interp(at, np.arange(len(own)), own)
        mean = Error(0.0, resampled).variance
        spectra.append(resampled / mean if mean > 0 else np.ones(frequencies))
    found: dict[str, Any] = {
        "walk": row(part["error"].walk for part in parts),
        "noise": row(np.sqrt(part["error"].variance) for part in parts),
        "spectrum": np.array(spectra, np.float32),
        "step": row(part["step"] for part in parts),
        "origin": row(part["origin"] for part in parts),
    }
    if "gain" in parts[0]:
        for name in ("gain", "offset"):
            found[name], found[f"{name}_std"] = (row(part[name][n] for part in parts) for n in range(2))
        found |= {name: row(part[name] for part in parts) for name in ("low", "high", "centre")}
    return FaultModel(**found, **gaps)
