"""From scores of examples and outputs of a set to what a report keeps, at bounded size."""

from typing import Any

import numpy as np

from noisejax import _checks
from noisejax._random import host
from noisejax.robustness._metrics import sets
from noisejax.robustness._metrics.metric import KNOWN, PROBABILITIES, Metric

UNITS = 4096  # examples beyond that share units: example number n is in unit n modulo UNITS
PART_UNITS = 256  # the same for each class and group
LEFT_OUT = 50  # parts of the set for the acceleration of bootstrap intervals


class Cell:
    """The scores of one level, collected part by part."""

    def __init__(self, setup: "Setup"):
        self.setup = setup
        self.sums: dict[str, Any] = {}
        self.parts: dict[str, Any] = {}
        self.outputs: list[tuple[Any, Any]] = []  # by draw: outputs (models, n, ...) and y

    def add(self, start: int, scores: dict[str, np.ndarray]) -> None:
        """Scores of examples from `start`, averaged over draws: (models, n) by metric."""
        setup = self.setup
        for name, values in scores.items():
            values = np.asarray(values, np.float64)
            at = np.arange(start, start + values.shape[1])
            if name not in self.sums:
                self.sums[name] = np.zeros((len(values), len(setup.counts)))
                self.parts[name] = {p: np.zeros((len(values), *c.shape)) for p, (_, _, c) in setup.parts.items()}
            unit = at % len(setup.counts)
            for model, row in enumerate(values):
                self.sums[name][model] += np.bincount(unit, row, len(setup.counts))
                for part, (_, codes, counts) in setup.parts.items():
                    place = codes[at] * counts.shape[1] + at % counts.shape[1]
                    self.parts[name][part][model] += np.bincount(place, row, counts.size).reshape(counts.shape)

    def finish(self) -> dict[str, np.ndarray]:
        """The arrays of this level, by metric and kind."""
        found: dict[str, np.ndarray] = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, sums in self.sums.items():
                found[f"{name}/values"] = (sums / self.setup.counts).astype(np.float32)
                for part, (_, _, counts) in self.setup.parts.items():
                    found[f"{name}/part/{part}"] = (self.parts[name][part] / counts).astype(np.float32)
        for metric in self.setup.metrics:
            if KNOWN.get(metric.name) is metric and metric.name == "calibration_error":
                every = [self._bounded(*draw) for draw in self.outputs]
                for kind, values in zip(("values", "above", "below"), zip(*every, strict=True), strict=True):
                    found[f"{metric.name}/{kind}"] = np.mean(values, 0).astype(np.float32)
            elif metric.over == "set":
                values = np.mean([self._resampled(metric, *draw) for draw in self.outputs], 0)
                value, rest = values[:, 0], values[:, 1:]
                resamples = self.setup.resamples
                found[f"{metric.name}/values"] = value.astype(np.float32)
                found[f"{metric.name}/replicates"] = rest[:, :resamples].astype(np.float32)
                found[f"{metric.name}/left_out"] = rest[:, resamples:].astype(np.float32)
        return found

    def _bounded(self, outputs: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """The calibration error and the bounds of its deviations, by model."""
        logits = self.setup.probabilities is False
        setup = self.setup
        rows = [
            sets.calibration_bounds(softmax(out) if logits else out, y, setup.weights(), setup.normals())
            for out in outputs
        ]
        return [np.stack(of) for of in zip(*rows, strict=True)]

    def _resampled(self, metric: Metric, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(models, 1 + resamples + left out)."""
        rows = []
        for out in outputs:
            if metric.name in PROBABILITIES and self.setup.probabilities is False:
                out = softmax(out)
            if KNOWN.get(metric.name) is metric:
                blocks = [metric.function(out, y, w) for w in self.setup.weights()]
            else:
                blocks = [[_one(metric, out, y, row) for row in w] for w in self.setup.weights()]
            rows.append(np.concatenate(blocks))
        return np.stack(rows)


def _one(metric: Metric, outputs: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    rows = np.repeat(np.arange(len(y)), w.astype(int))
    value = metric.function(outputs[rows], y[rows])
    found = np.asarray(value)
    if found.dtype.kind not in "fiub":
        raise TypeError(f"sweep: metric {metric.name!r} must return one number, got {_checks.shown(value)}.")
    if found.size != 1:
        raise ValueError(f"sweep: metric {metric.name!r} must return one number, got shape {found.shape}.")
    return float(found.reshape(()))


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Setup:
    """What all levels of a sweep share: metrics, units, classes and groups, resamples.

    `parts` has, for each way to divide the examples, the names, the code of each example, and how many examples are in
    each part and unit.
    """

    def __init__(self, metrics: tuple[Metric, ...], n: int, parts: dict[str, Any], resamples: int):
        self.metrics, self.n, self.resamples = metrics, n, resamples
        self.probabilities: bool | None = None  # whether outputs are probabilities
        self.counts = np.bincount(np.arange(n) % min(n, UNITS))
        self.parts = {}
        for part, (names, codes) in parts.items():
            units = min(n, PART_UNITS)
            counts = np.bincount(codes * units + np.arange(n) % units, minlength=len(names) * units)
            self.parts[part] = (names, codes, counts.reshape(len(names), units))
        self._kept: list[np.ndarray] | None = None

    def weights(self):
        """Blocks of rows of weights: all examples once, the resamples, and all but one part each."""
        if self._kept is not None:
            yield from (block.astype(np.float64) for block in self._kept)
            return
        keep = self.n * self.resamples <= 2**27
        kept = []
        for block in self._drawn():
            if keep:
                kept.append(block)
            yield block.astype(np.float64)
        self._kept = kept if keep else None

    def normals(self) -> np.ndarray:
        """For each resample a normal number for each bin of calibration, the same in all sweeps."""
        from scipy import special

        stream = host.HostStream(np.zeros(1, np.uint32), np.zeros(1, np.uint32))
        words = host.words(stream, "resample.normal", np.arange(self.resamples * sets.BINS, dtype=np.uint64))
        return special.ndtri((words + 0.5) / 2**32).reshape(self.resamples, sets.BINS)

    def _drawn(self):
        n = self.n
        yield np.ones((1, n), np.uint16)
        # One key for all sweeps, so that the resamples of two reports on the same examples are the same, and paired.
        stream = host.HostStream(np.zeros(1, np.uint32), np.zeros(1, np.uint32))
        at_once = int(np.clip(2**21 // n, 1, 200))
        for first in range(0, self.resamples, at_once):
            rows = []
            for number in range(first, min(first + at_once, self.resamples)):
                index = np.arange(n, dtype=np.uint64) + np.uint64(number) * np.uint64(n)
                first_word, second = (host.words(stream, tag, index) for tag in ("resample", "resample.2"))
                drawn = host.integers(first_word, second, n)
                rows.append(np.bincount(drawn, minlength=n).astype(np.uint16))
            yield np.stack(rows)
        parts = min(n, LEFT_OUT)
        part = np.arange(n) % parts
        for first in range(0, parts, at_once):
            numbers = np.arange(first, min(first + at_once, parts))
            yield (part[None] != numbers[:, None]).astype(np.uint16)
