"""Runs a predictor on clean and noisy examples: compiled for JAX, called as it is on the host."""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
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
    """Scores (models, n) of the metrics of examples, and what `fault` needs besides them.

    Reductions over the examples are left to the host: XLA takes 0.2 s to compile a few of them for a CPU.
    """
    n = jax.tree.leaves(y)[0].shape[0]
    host = all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(outputs))
    xp: Any = np if host else jnp
    found, wrong = {}, None
    for metric in plan.metrics:
        known = KNOWN.get(metric.name) is metric
        given = outputs
        if known and metric.name in PROBABILITIES:
            given = softmax(outputs) if plan.probabilities is False else outputs
        if known and metric.name in CLASSES and hasattr(outputs, "dtype") and len(jax.tree.leaves(y)) == 1:
            wrong = examples.impossible(outputs, y)
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
    floats = [v for v in jax.tree.leaves(outputs) if jnp.issubdtype(v.dtype, jnp.floating)]
    finite = [xp.isfinite(v).all(tuple(a for a, size in enumerate(v.shape) if size != n)) for v in floats]
    return found, (finite, wrong)


def fault(scores: dict[str, Any], flags: Any) -> int:
    """The fault of a part, on the host."""
    finite, wrong = flags
    if not all(np.asarray(v).all() for v in finite) or not all(np.isfinite(v).all() for v in scores.values()):
        return NOT_FINITE
    return IMPOSSIBLE if wrong is not None and np.asarray(wrong).any() else 0


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


class Scores:
    """The compiled program of predictions and their scores, which all families share."""

    def __init__(self, plan: Plan, fixed: Any = None):
        self.plan, self.fixed = plan, fixed
        self.run = jax.jit(self._run)

    def _run(self, predict, x, y):
        """Scores and flags as of `scored`, and for metrics of sets the outputs."""
        outputs = called(self.fixed if predict is None else predict, x)
        scores, flags = scored(self.plan, outputs, y)
        sets = any(metric.over == "set" for metric in self.plan.metrics)
        return scores, flags, by_model(outputs, jax.tree.leaves(y)[0].shape[0]) if sets else None


class ActsOnAll(ValueError):
    """A noise that cannot act on a part of the examples."""


class Noisy:
    """The compiled program of the noise of one family.

    Predictions are a program of their own: both in one took four times as long to compile, once for each family.
    """

    def __init__(self, family: Family, fixed: Any = None):
        self.family, self.fixed = family, fixed
        self.run = jax.jit(self._run, static_argnames="n")

    def _run(self, model, key, x, y, rows, level, n):
        """The noisy x, and y where it changes. `rows` are the numbers of these examples among n; None for all."""
        noise = self.family.noise_at(level)
        if rows is not None:
            if not amounts.acts_in_parts(noise, n):
                raise ActsOnAll
            key = dataclasses.replace(stream(key), rows=rows)
        predict = self.fixed if model is None else model
        x, y = applied(self.family, noise, key, lambda v: called(predict, v), x, y)
        return x, y if self.family.on == "batch" else None


scores_of = functools.lru_cache(maxsize=64)(Scores)
noisy_of = functools.lru_cache(maxsize=64)(Noisy)  # bounded: a family may hold a table of marginals


@dataclasses.dataclass
class Ready:
    """A family whose noise is compiled, or is being compiled by a thread."""

    program: Noisy
    attack: bool
    whole: bool  # whether the noise acts on all examples at once
    compiling: threading.Thread | None = None


class OnDevice:
    """A JAX predictor."""

    host = False

    def __init__(self, predict: Callable, x: Any, y: Any, plan: Plan, batch: int):
        self.x, self.y, self.plan, self.batch = x, y, plan, batch
        self.n = len(jax.tree.leaves(y)[0])
        self.model = predict if _is_data(predict) else None
        self.predict = predict
        # Without its parameters as data, a program is not kept: they are constants in it, and may be large.
        self.scores = Scores(plan, predict) if self.model is None else scores_of(plan)
        self._ready: dict[str, Ready] = {}
        if self.n <= batch:
            self.x, self.y = jax.device_put((x, y))

    def ahead(self, family: Family, keys: Sequence[Any]) -> Ready:
        """Begins to compile the noise of a family. What fails here fails again when the noise is applied."""
        if family.name in self._ready:
            return self._ready[family.name]
        attack = family.on == "attack"
        own = attack and self.model is None
        ready = Ready(Noisy(family, self.predict) if own else noisy_of(family), attack, not attack)
        self._ready[family.name] = ready
        ways = [ready.whole] if attack or self.n <= self.batch else [False, True] if family.on == "x" else [True]
        _, rows = next(self._rows())
        for ready.whole in ways:
            x, y = (self.x, self.y) if ready.whole else self._part(rows)
            try:
                lowered = ready.program.run.lower(*self._given(ready, keys[0], x, y, rows, 0.0))
            except Exception:
                continue
            ready.compiling = threading.Thread(target=_compile, args=(lowered,))
            ready.compiling.start()
            break
        return ready

    def _given(self, ready: Ready, key: Any, x: Any, y: Any, rows: np.ndarray, level: float) -> tuple:
        numbers = None if ready.attack or ready.whole else rows.astype(np.uint32)
        return self.model if ready.attack else None, key, x, y, numbers, np.float32(level), self.n

    def measure(self, family: Family | None, level: float, keys: Sequence[Any], cell: Cell):
        """Fills the cell. Returns the faults found, and the first noisy rows."""
        faults, first, place, draws = 0, None, None, max(1, len(keys))
        sums: dict[str, Any] = {}
        sets: list[list[Any]] = [[] for _ in range(draws)]
        for draw, start, noisy, (scores, flags, outputs), y in _one_behind(self._scored(family, level, keys)):
            first = _head(noisy, self.plan.head) if first is None and noisy is not None else first
            scores = {name: np.asarray(values) for name, values in scores.items()}
            faults = max(faults, fault(scores, flags))
            size = min(self.batch, self.n - start)
            if start != place:
                self._add(cell, place, sums, draws)
                sums, place = {}, start
            for name, values in scores.items():
                sums[name] = sums.get(name, 0.0) + values[:, :size].astype(np.float64)
            if outputs is not None:
                sets[draw].append((np.asarray(outputs)[:, :size], np.asarray(y)[:size]))
        self._add(cell, place, sums, draws)
        for parts in filter(None, sets):
            cell.outputs.append((np.concatenate([p[0] for p in parts], 1), np.concatenate([p[1] for p in parts])))
        return faults, first

    def _add(self, cell: Cell, start: Any, sums: dict[str, Any], draws: int) -> None:
        if start is not None:
            cell.add(start, {name: values / draws for name, values in sums.items()})

    def _scored(self, family: Family | None, level: float, keys: Sequence[Any]) -> Iterator[Any]:
        """The number of the draw, the number of the first example, the first of all noisy parts, scores, and y."""
        shown = family is not None
        for draw, start, x, y in self._examples(family, level, keys):
            noisy, shown = (x if shown else None), False
            yield draw, start, noisy, self.scores.run(self.model, x, y), y

    def _examples(self, family: Family | None, level: float, keys: Sequence[Any]) -> Iterator[Any]:
        """The number of the draw, the number of the first example, and noisy examples: part by part, or by draw."""
        if family is None:
            for start, rows in self._rows():
                yield 0, start, *self._part(rows)
            return
        ready = self.ahead(family, keys)
        if ready.compiling is not None:
            ready.compiling.join()
            ready.compiling = None
        run, in_parts = ready.program.run, self.n > self.batch
        if ready.whole:
            x, y = jax.device_put((self.x, self.y))
            for draw, key in enumerate(keys):
                x_, y_ = run(*self._given(ready, key, x, y, np.arange(0), level))
                y_ = y if y_ is None else y_
                for start, rows in self._rows():
                    yield draw, start, *(_taken((x_, y_), rows) if in_parts else (x_, y_))
            return
        for start, rows in self._rows():
            x, y = self._part(rows)
            for draw, key in enumerate(keys):
                of_part = jax.random.fold_in(key, start) if ready.attack and in_parts else key
                x_, y_ = run(*self._given(ready, of_part, x, y, rows, level))
                yield draw, start, x_, y if y_ is None else y_

    def _rows(self) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, self.n, self.batch):
            yield start, np.minimum(np.arange(start, start + min(self.batch, self.n)), self.n - 1)

    def _part(self, rows: np.ndarray) -> Any:
        return (self.x, self.y) if self.n <= self.batch else jax.device_put(_taken((self.x, self.y), rows))


def _compile(lowered: Any) -> None:
    """Fills the cache of the jitted function. Most of it runs outside of Python's lock, while a measurement runs."""
    with contextlib.suppress(Exception):
        lowered.compile()


def _one_behind(items: Iterator[Any]) -> Iterator[Any]:
    """Each item after the next has begun, so that the device computes while the host adds up."""
    last = next(items, None)
    for item in items:
        yield last
        last = item
    if last is not None:
        yield last


def _head(tree: Any, n: int) -> Any:
    """The first rows on the host. Only what is not there already is cut by a program, which has to be compiled."""
    there = all(d.platform == "cpu" for v in jax.tree.leaves(tree) if isinstance(v, jax.Array) for d in v.devices())
    tree = tree if there else _cut(tree, n)
    return jax.tree.map(lambda v: np.array(np.asarray(v)[:n]), tree)


_cut = jax.jit(lambda tree, n: jax.tree.map(lambda v: v[:n], tree), static_argnums=1)
_gathered = jax.jit(lambda v, rows: v[rows])


def _taken(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda v: _gathered(v, rows) if isinstance(v, jax.Array) else v[rows], tree)


def _is_data(predict: Any) -> bool:
    """Whether predict is a pytree of arrays, which a compiled program can take as an argument."""
    arrays = (jax.Array, np.ndarray, np.generic)
    return not jax.tree_util.all_leaves([predict]) and all(isinstance(v, arrays) for v in jax.tree.leaves(predict))
