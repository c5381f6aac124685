"""What is compiled of a sweep: predictions with their scores, which all families share, and the noise of a family."""

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

    That is which outputs are finite, and no rows of outputs, which tell the number of classes. The rest is left to the
    host: XLA takes 0.2 s to compile a few reductions over all examples for a CPU.
    """
    n = jax.tree.leaves(y)[0].shape[0]
    host = all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(outputs))
    xp: Any = np if host else jnp
    found, like = {}, None
    for metric in plan.metrics:
        known = KNOWN.get(metric.name) is metric
        given = outputs
        if known and metric.name in PROBABILITIES:
            given = softmax(outputs) if plan.probabilities is False else outputs
        if known and metric.name in CLASSES and hasattr(outputs, "dtype") and len(jax.tree.leaves(y)) == 1:
            like = xp.zeros((0, *outputs.shape[max(outputs.ndim - 1, 1) :]), outputs.dtype)
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
    return found, (finite, like)


def fault(scores: dict[str, Any], flags: Any, y: Any) -> int:
    """The fault of a part, on the host. `y` is None where it has been found possible before."""
    finite, like = flags
    if not all(np.asarray(v).all() for v in finite) or not all(np.isfinite(v).all() for v in scores.values()):
        return NOT_FINITE
    wrong = y is not None and like is not None and examples.impossible(np.asarray(like), np.asarray(y)).any()
    return IMPOSSIBLE if wrong else 0


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
        self.run, self.several = jax.jit(self._run), jax.jit(self._several)

    def _several(self, predict, xs, y, count):
        """The results of the first `count` entries of xs, one after another; zeros for the rest."""

        def one(i):
            return self.run(predict, jax.tree.map(lambda v: jax.lax.dynamic_index_in_dim(v, i, 0, False), xs), y)

        def put(i, results):
            update = jax.lax.dynamic_update_index_in_dim
            return jax.tree.map(lambda of_all, v: update(of_all, v, i, 0), results, one(i))

        size = jax.tree.leaves(xs)[0].shape[0]
        empty = jax.tree.map(lambda v: jnp.zeros((size, *v.shape), v.dtype), jax.eval_shape(one, 0))
        return jax.lax.fori_loop(0, count, put, empty)

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
        self.several = jax.jit(self._several, static_argnames="n")

    def _several(self, model, key, x, y, rows, levels, n):
        """As `_run` at several levels, along a new first axis of x. What is drawn for all of them is drawn once."""
        return jax.vmap(lambda level: self._run(model, key, x, y, rows, level, n))(levels)

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
