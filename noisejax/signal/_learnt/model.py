"""What is learnt from recordings: a fitted value, and the table that a person reads."""

import dataclasses
from typing import Any

import numpy as np

from noisejax._calls.fitted import Fitted


class FaultModel(Fitted):
    """The faults of a sensor, made by `fit`, `fit_bursts` and `fit_noise`, for the noise `faults`. `str` makes a table.

    A part that was not fitted is None. Each array has one value for each of the C channels.

    Args:
      gain, gain_std: the mean of the gain and its standard deviation between recordings, (C,).
      offset, offset_std: the same of the offset, in the units of the recordings, (C,).
      walk: the standard deviation by which the drift, a random walk, changes in one step, (C,).
      noise: the standard deviation of the noise, (C,).
      spectrum: the power of the noise at the frequencies ``k / (2 * F - 1)`` cycles per step, k = 0, ..., F - 1,
        relative to its mean, (C, F).
      low, high: the limits of the readings, infinite where there is none, (C,).
      centre: the median of the readings, about which limits widen if the strength falls, (C,).
      step, origin: the readings are ``origin`` plus multiples of ``step``, which is 0 without quantization, (C,).
      rate, burst: the share of the steps that are lost and the mean length of a gap, (2, C): two independent chains of
        Gilbert and Elliott, of short and of long gaps. A step is lost if it is in either. (2, 1) if all channels are
        lost together.
      together: whether all channels are lost together. Static.
    """

    gain: Any = None
    gain_std: Any = None
    offset: Any = None
    offset_std: Any = None
    walk: Any = None
    noise: Any = None
    spectrum: Any = None
    low: Any = None
    high: Any = None
    centre: Any = None
    step: Any = None
    origin: Any = None
    rate: Any = None
    burst: Any = None
    together: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def channels(self) -> int:
        """The number of channels; 1 for a model that fits any."""
        noise, rate = (None if part is None else np.shape(part)[-1] for part in (self.noise, self.rate))
        return max(noise or 1, rate or 1)

    def report(self) -> str:
        """The fitted faults of each channel, in plain text."""
        names = ["channel", *(str(n) for n in range(self.channels))]
        rows = [names]
        for title, text in (
            ("gain", lambda c: _spread(self.gain, self.gain_std, c)),
            ("offset", lambda c: _spread(self.offset, self.offset_std, c)),
            ("drift per root step", lambda c: _one(self.walk, c)),
            ("noise", lambda c: _one(self.noise, c)),
            ("range", lambda c: _range(self.low, self.high, c)),
            ("quantization step", lambda c: _one(self.step, c)),
            ("lost, short gaps", lambda c: _gaps(self.rate, self.burst, 0, c)),
            ("lost, long gaps", lambda c: _gaps(self.rate, self.burst, 1, c)),
        ):
            cells = [text(c) for c in range(self.channels)]
            if any(cells):
                rows.append([title, *(cell or "-" for cell in cells)])
        widths = [max(len(row[n]) for row in rows) for n in range(len(names))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)

    def __str__(self):
        return self.report()

    def __repr__(self):
        parts = {"noise": self.noise, "gain": self.gain, "gaps": self.rate}
        fitted = [name for name, part in parts.items() if part is not None]
        return f"<nj.signal.FaultModel of {self.channels} channels: {', '.join(fitted) or 'nothing'}>"


def _at(part: Any, channel: int) -> float:
    values = np.asarray(part, np.float64)
    return float(values[min(channel, len(values) - 1)])


def _one(part: Any, channel: int) -> str:
    value = 0.0 if part is None else _at(part, channel)
    return f"{value:.4g}" if value else ""


def _spread(mean: Any, std: Any, channel: int) -> str:
    return "" if mean is None else f"{_at(mean, channel):.4g} (sd {_at(std, channel):.2g})"


def _range(low: Any, high: Any, channel: int) -> str:
    if low is None or (np.isinf(_at(low, channel)) and np.isinf(_at(high, channel))):
        return ""
    return f"{_at(low, channel):.4g} to {_at(high, channel):.4g}"


def _gaps(rate: Any, burst: Any, kind: int, channel: int) -> str:
    share = 0.0 if rate is None else _at(np.asarray(rate)[kind], channel)
    return f"{share:.2%}, {_at(np.asarray(burst)[kind], channel):.3g} steps" if share else ""
