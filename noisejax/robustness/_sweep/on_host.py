"""Predictors that run on the host: scikit-learn, XGBoost, torch, ONNX Runtime and any other function."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from noisejax.robustness._families import Family
from noisejax.robustness._sweep import programs
from noisejax.robustness._sweep.collect import Cell


class OnHost:
    """A predictor that takes NumPy arrays or data frames."""

    host = True

    def __init__(self, predict: Callable, x: Any, y: Any, plan: programs.Plan, batch: int, classes: Any = None):
        self.predict, self.x, self.y, self.plan, self.batch, self.classes = predict, x, y, plan, batch, classes
        self.n = len(y)

    def ahead(self, family: Family, keys: Any) -> None:
        """Nothing is compiled ahead."""

    def groups(self, family: Family, keys: Any, levels: Sequence[float]) -> list[list[float]]:
        """Levels are measured one after another."""
        return [[level] for level in levels]

    def measure(
        self, family: Family | None, levels: Sequence[float], keys: Sequence[Any], cells: Sequence[Cell], meanwhile=None
    ):
        return [self._measured(family, level, keys, cell) for level, cell in zip(levels, cells, strict=True)]

    def _measured(self, family: Family | None, level: float, keys: Sequence[Any], cell: Cell):
        faults, first = 0, None
        draws = [None] if family is None else keys
        for key in draws:
            x, y = self.x, self.y
            if family is not None:
                x, y = self._noisy(family, level, key)
            if first is None:
                first = part(x, 0, self.plan.head)
            sets = []
            for start in range(0, self.n, self.batch):
                stop = min(start + self.batch, self.n)
                outputs, of_part = self.outputs(part(x, start, stop)), y[start:stop]
                scores, flags = programs.scored(self.plan, outputs, of_part)
                faults = max(faults, programs.fault(scores, flags, of_part))
                cell.add(start, {name: v / len(draws) for name, v in scores.items()})
                if any(metric.over == "set" for metric in self.plan.metrics):
                    sets.append((programs.by_model(outputs, stop - start), of_part))
            if sets:
                cell.outputs.append((np.concatenate([s[0] for s in sets], 1), np.concatenate([s[1] for s in sets])))
        return faults, first

    def _noisy(self, family: Family, level: float, key: Any):
        if family.on == "host":
            return family.noise_at(float(level))(key, self.x), self.y
        if family.on == "attack":
            x = family.noise_at(float(level))(key, self.outputs, (self.x, self.y))
            return (np.asarray(x) if isinstance(x, jax.Array) else x), self.y
        if not all(isinstance(v, (np.ndarray, jax.Array)) for v in jax.tree.leaves(self.x)):
            raise TypeError(
                f"sweep: the noise of {family.name!r} acts on arrays, got x as a {type(self.x).__name__}. For data "
                "frames and strings use Family(..., on='host')."
            )
        x, y = programs.noisy_of(family).run(None, key, self.x, self.y, None, np.float32(level), len(self.y))
        return jax.tree.map(np.asarray, x), self.y if y is None else np.asarray(y)

    def outputs(self, x: Any) -> np.ndarray:
        """Predictions as a NumPy array; names of classes become their numbers."""
        found = as_array(self.predict(x))
        if found.dtype.kind in "OSU":
            if self.classes is None:
                raise TypeError(
                    f"sweep: predict must return numbers, got {found.dtype}. Names of classes need a y of names."
                )
            known = {name: code for code, name in enumerate(self.classes)}
            found = np.array([known.get(name, -1) for name in found.reshape(-1)], np.int64).reshape(found.shape)
        return found


def as_array(found: Any) -> np.ndarray:
    """What a predictor returned, in NumPy; a torch tensor may still have gradients, or be on a GPU."""
    return np.asarray(found.detach().cpu().numpy() if hasattr(found, "detach") else found)


def part(x: Any, start: int, stop: int) -> Any:
    """Some rows of an array, a pytree of arrays, a list or a data frame."""
    if hasattr(x, "iloc"):  # pandas
        return x.iloc[start:stop]
    if isinstance(x, (np.ndarray, jax.Array, list)) or type(x).__module__.split(".")[0] in ("polars", "scipy"):
        return x[start:stop]
    if hasattr(x, "slice"):  # Arrow
        return x.slice(start, stop - start)
    return jax.tree.map(lambda v: v[start:stop], x)
