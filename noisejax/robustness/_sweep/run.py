"""Runs a predictor on clean and noisy examples: compiled for JAX, called as it is on the host."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._random.stream import stream
from noisejax.robustness._families import Family
from noisejax.robustness._metrics import examples
from noisejax.robustness._metrics.metric import CLASSES, KNOWN, PROBABILITIES, Metric
from noisejax.robustness._sweep import amounts, collect
from noisejax.robustness._sweep.collect import Cell

NOT_FINITE, IMPOSSIBLE = 1, 2
SHOWN = 3  # rows that a report shows before and after noise
COMPARED = 1000  # rows whose distributions a report compares


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a program depends on besides the family. Hashable: programs are found by it."""

    metrics: tuple[Metric, ...]
    probabilities: bool | None = None  # whether outputs are probabilities; None if no metric needs them
    head: int = SHOWN


def scored(plan: Plan, outputs: Any, y: Any) -> tuple[dict[str, Any], Any]:
    """Scores (models, n) of the metrics of examples, and the fault."""
    n = jax.tree.leaves(y)[0].shape[0]
    host = all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(outputs))
    xp: Any = np if host else jnp
    found, fault = {}, xp.zeros((), xp.int32)
    floats = [v for v in jax.tree.leaves(outputs) if jnp.issubdtype(v.dtype, jnp.floating)]
    for metric in plan.metrics:
        known = KNOWN.get(metric.name) is metric
        given = outputs
        if known and metric.name in PROBABILITIES:
            given = softmax(outputs) if plan.probabilities is False else outputs
        if known and metric.name in CLASSES and hasattr(outputs, "dtype") and len(jax.tree.leaves(y)) == 1:
            fault = xp.where(examples.impossible(outputs, y), IMPOSSIBLE, fault)
        if metric.over == "set":
            continue
        scores = metric.function(given, y)
        if not hasattr(scores, "shape"):
            raise TypeError(f"sweep: metric must return an array of scores, got {scores!r} from {metric.name!r}.")
        scores = xp.asarray(scores)
        if scores.shape[-1:] != (n,):
            raise ValueError(
                f"sweep: metric must return one score per example, of shape (..., {n}), got {tuple(scores.shape)} from "
                f"{metric.name!r}. Do not average over examples, or pass robustness.Metric(..., over='set')."
            )
        found[metric.name] = scores.astype(xp.float32).reshape(-1, n)
        floats.append(found[metric.name])
    finite = functools.reduce(xp.logical_and, [xp.isfinite(v).all() for v in floats], xp.ones((), bool))
    return found, xp.where(finite, fault, NOT_FINITE)


def softmax(outputs: Any) -> Any:
    if isinstance(outputs, np.ndarray):
        return collect.softmax(outputs)
    return jax.nn.softmax(outputs.astype(jnp.float32), axis=-1)


def by_model(outputs: Any, n: int) -> Any:
    """Outputs of a set as (models, n, ...)."""
    if not hasattr(outputs, "shape"):
        raise TypeError(f"sweep: for a metric of a set, predict must return one array, got {type(outputs).__name__}.")
    wide = outputs.ndim >= 2 and outputs.shape[-2] == n and outputs.shape[-1] != n
    wide = wide or (outputs.ndim >= 2 and outputs.shape[-2] == n and jnp.issubdtype(outputs.dtype, jnp.floating))
    if wide:
        return outputs.reshape(-1, *outputs.shape[-2:])
    if outputs.shape[-1:] != (n,):
        raise ValueError(
            f"sweep: predict must return (..., {n}) or (..., {n}, classes) for {n} examples, got "
            f"{tuple(outputs.shape)}."
        )
    return outputs.reshape(-1, n)


def called(predict: Callable, x: Any) -> Any:
    try:
        return predict(x)
    except Exception as error:
        if type(error).__name__ != "TraceContextError":  # Flax's, which this module does not import
            raise
        raise TrainMode(
            "sweep: predict must not change its own state, got a model in train mode, which updates its statistics or "
            f"its random streams. Call model.eval() before the sweep. ({error})"
        ) from error


class TrainMode(ValueError):
    """A model in train mode, which no sweep can measure."""


def applied(family: Any, noise: Any, key: Any, predict: Callable, x: Any, y: Any) -> tuple[Any, Any]:
    """The noisy (x, y)."""
    if family.on == "attack":
        return noise(key, predict, (x, y)), y
    if family.on != "batch":
        return noise(key, x), y
    batch = noise(key, (x, y))
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(f"sweep: the noise of {family.name!r} must return (x, y), got {_checks.shown(batch)}.")
    return batch[0], batch[1]


class Program:
    """The compiled program of one family; without a family, of clean examples."""

    def __init__(self, plan: Plan, family: Family | None, fixed: Any = None):
        self.plan, self.fixed = plan, fixed
        self.family: Any = family
        self.run = jax.jit(self._run)
        self.noisy = jax.jit(self._noisy)

    def _run(self, predict, x, y, keys, rows, level):
        """Scores averaged over draws, the faults of draws, outputs and y of draws for metrics of sets, first rows."""
        predict = self.fixed if predict is None else predict
        sets = any(metric.over == "set" for metric in self.plan.metrics)
        n = jax.tree.leaves(y)[0].shape[0]

        def evaluated(x_, y_):
            outputs = called(predict, x_)
            scores, fault = scored(self.plan, outputs, y_)
            return scores, fault, (by_model(outputs, n), y_) if sets else ()

        if self.family is None:
            scores, fault, outputs = evaluated(x, y)
            return scores, fault[None], jax.tree.map(lambda v: v[None], outputs), ()
        noise = self.family.noise_at(level)

        def one(key):
            key = key if rows is None else dataclasses.replace(stream(key), rows=rows)
            x_, y_ = applied(self.family, noise, key, lambda v: called(predict, v), x, y)
            return *evaluated(x_, y_), jax.tree.map(lambda v: v[: self.plan.head], x_)

        scores, fault, outputs, first = jax.lax.map(one, keys)
        return jax.tree.map(lambda v: v.mean(0), scores), fault, outputs, jax.tree.map(lambda v: v[0], first)

    def _noisy(self, key, x, y, level):
        return applied(self.family, self.family.noise_at(level), key, lambda v: v, x, y)


compiled = functools.lru_cache(maxsize=64)(Program)  # bounded: a family may hold a table of marginals


class OnDevice:
    """A JAX predictor."""

    host = False

    def __init__(self, predict: Callable, x: Any, y: Any, plan: Plan, batch: int):
        self.x, self.y, self.plan, self.batch = x, y, plan, batch
        self.n = len(jax.tree.leaves(y)[0])
        self.model = predict if _is_data(predict) else None
        self.predict = predict
        self._parts: dict[str, bool] = {}

    def program(self, family: Family | None) -> Program:
        if self.model is not None:
            return compiled(self.plan, family)
        return Program(self.plan, family, self.predict)  # not cached: the parameters are constants and may be large

    def measure(self, family: Family | None, program: Program, level: float, keys: Any, cell: Cell):
        """Fills the cell. Returns the faults found, and the first noisy rows."""
        level_ = None if family is None else jnp.float32(level)
        whole = self.n <= self.batch
        if family is not None and not whole and family.on != "attack" and not self._in_parts(family):
            return self._whole(family, program, level_, keys, cell)
        faults, first, sets = 0, None, []
        for start, rows in self._rows():
            x, y = _taken((self.x, self.y), rows, whole)
            numbers = None if whole or family is None or family.on == "attack" else jnp.asarray(rows, jnp.uint32)
            of_part = keys if whole or family is None or family.on != "attack" else _folded(keys, start)
            scores, fault, outputs, head = program.run(self.model, x, y, of_part, numbers, level_)
            faults, first = max(faults, int(np.max(fault))), head if first is None else first
            size = min(self.batch, self.n - start)
            cell.add(start, {name: np.asarray(v)[:, :size] for name, v in scores.items()})
            if outputs:
                sets.append((np.asarray(outputs[0])[:, :, :size], np.asarray(outputs[1])[:, :size]))
        self._sets(cell, sets)
        return faults, jax.tree.map(np.asarray, first)

    def _whole(self, family, program, level, keys, cell):
        """Noise that sees other examples acts on all of them at once; predictions are made in parts."""
        clean, faults, first = self.program(None), 0, None
        for key in keys:
            x_, y_ = program.noisy(key, self.x, self.y, level)
            first = jax.tree.map(lambda v: np.asarray(v[: self.plan.head]), x_) if first is None else first
            sets = []
            for start, rows in self._rows():
                x, y = _taken((x_, y_), rows, False)
                scores, fault, outputs, _ = clean.run(self.model, x, y, None, None, None)
                size, faults = min(self.batch, self.n - start), max(faults, int(np.max(fault)))
                cell.add(start, {name: np.asarray(v)[:, :size] / len(keys) for name, v in scores.items()})
                if outputs:
                    sets.append((np.asarray(outputs[0])[:, :, :size], np.asarray(outputs[1])[:, :size]))
            self._sets(cell, sets)
        return faults, first

    def _sets(self, cell: Cell, sets: list) -> None:
        if sets:
            outputs, y = (np.concatenate([s[i] for s in sets], axis) for i, axis in ((0, 2), (1, 1)))
            cell.outputs += zip(outputs, y, strict=True)  # by draw

    def _rows(self):
        for start in range(0, self.n, self.batch):
            yield start, np.minimum(np.arange(start, start + min(self.batch, self.n)), self.n - 1)

    def _in_parts(self, family: Family) -> bool:
        if family.name not in self._parts:
            self._parts[family.name] = False
            if family.on == "x":

                def draw(level, key, rows, x):
                    noise = family.noise_at(level)
                    if not amounts.acts_in_parts(noise, self.n):
                        raise ValueError
                    return noise(dataclasses.replace(stream(key), rows=rows), x)

                x = jax.tree.map(lambda v: v[: self.batch], self.x)
                try:
                    jax.eval_shape(draw, jnp.float32(0), jax.random.key(0), jnp.arange(self.batch, dtype=jnp.uint32), x)
                    self._parts[family.name] = True
                except (ValueError, TypeError):
                    pass
        return self._parts[family.name]


def _folded(keys, start):
    return jax.vmap(lambda key: jax.random.fold_in(key, start))(keys)


def _taken(tree: Any, rows: np.ndarray, whole: bool) -> Any:
    return tree if whole else jax.tree.map(lambda v: v[rows], tree)


def _is_data(predict: Any) -> bool:
    """Whether predict is a pytree of arrays, which a compiled program can take as an argument."""
    arrays = (jax.Array, np.ndarray, np.generic)
    return not jax.tree_util.all_leaves([predict]) and all(isinstance(v, arrays) for v in jax.tree.leaves(predict))
