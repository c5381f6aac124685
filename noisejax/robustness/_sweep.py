"""The sweep: scores of every example under families of noise, at each of their levels."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._noise import Combinator, Noise, is_noise
from noisejax._random.stream import keys, stage
from noisejax.robustness._accuracy import accuracy, are_impossible, classes_of
from noisejax.robustness._checkpoint import Checkpoint
from noisejax.robustness._report import Report, fingerprint


class _OnBatch:
    """A noise that acts on (x, y), recognized by its type."""

    def __init__(self, noise: Callable):
        self.noise = noise

    def __call__(self, key, batch):
        return self.noise(key, batch)


def on_batch(noise: Callable) -> Callable:
    """Marks a noise that acts on the batch (x, y) instead of x alone: label noise, mixing, attacks.

    Args:
      noise: a function ``(key, (x, y)) -> (x, y)``.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> flip = lambda rate: nj.bind(nj.labels.flip, rate=rate, num_classes=2)
      >>> flips = lambda rate: robustness.on_batch(nj.on_entries((None, flip(rate))))
      >>> x = jnp.arange(1000.0)
      >>> report = robustness.sweep(
      ...     jax.random.key(0), lambda x: x % 2 > 0, (x, (x % 2).astype(int)), {"flipped labels": (flips, [0.0, 0.2])}
      ... )
      >>> report.interval("flipped labels").mean.round(1).tolist()
      [1.0, 0.8]
    """
    if not callable(noise):
        raise TypeError(f"on_batch: noise must be a function (key, (x, y)) -> (x, y), got {noise!r}.")
    return _OnBatch(noise)


def sweep(
    key: jax.Array,
    predict: Callable,
    data: tuple[Any, Any],
    families: Mapping[str, tuple[Callable, Sequence[float]]],
    *,
    draws: int = 1,
    batch_size: int | None = None,
    metric: str | Callable = "accuracy",
    checkpoint: str | os.PathLike | None = None,
) -> Report:
    """Measures a model, or several models at once, under increasing noise.

    The draws depend only on the key, the family's name and the example. They are the same at every level and for every
    model, so curves are smooth and the reports of two models can be compared example by example. Levels are traced: a
    family compiles once, whatever the number of its levels.

    Args:
      key: a JAX key.
      predict: a function of x. For accuracy it returns class probabilities or logits of shape (..., B, C), or class
        numbers (integers or booleans) of shape (..., B). Leading axes are separate models, for instance from `jax.vmap`
        over the parameters of several seeds. If `predict` is a pytree of arrays
        (``jax.tree_util.Partial(apply, params)``, a Flax nnx module), different parameters of the same shapes cost no
        new compilation.
      data: (x, y), arrays or pytrees of arrays with a common leading axis of B examples. y holds class numbers, or
        rows whose largest entry is the class.
      families: a mapping from names to pairs of a function from a level to a noise ``(key, x) -> x``, and its levels in
        increasing order. The function is called with a traced level. Mark a noise that acts on (x, y) with `on_batch`.
      draws: the number of noise draws that are averaged for each example.
      batch_size: the number of examples that are predicted at a time, to bound memory. It changes no draw, because the
        noise acts on all examples at once.
      metric: `'accuracy'`, or a function of (outputs, y) that returns a score per example, of shape (..., B), where
        higher is better; use it for regression. It must not mix examples.
      checkpoint: the path of a file that keeps every family as soon as it is measured, so that a sweep that was killed
        continues with the next family when it is run again. The file is a report for `Report.from_json`. A file of a
        different key, data, metric, number of draws or model raises. A family is measured again if its levels have
        changed; the noise itself is not compared, so choose a new path if you change it.

    Returns:
      A `Report` with the scores of every family, level, model and example, in NumPy.

    Raises:
      FloatingPointError: an output or a score is not finite; the message says where. Otherwise a broken model would be
        scored as a model that noise does not affect.
      ValueError: a level gives an amount outside its range, or a label is not a class of the model.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((2000, 2)), 1.0)
      >>> y = (x[:, 0] > 0).astype(int)
      >>> gaussian = lambda std: nj.bind(nj.gaussian, std=std)
      >>> report = robustness.sweep(
      ...     jax.random.key(1), lambda x: x[:, 0] > 0, (x, y), {"gaussian": (gaussian, [0.0, 0.3, 2.0])}
      ... )
      >>> report.interval("gaussian").mean.round(1).tolist()
      [1.0, 0.9, 0.6]
    """
    _checks.key("sweep", key)
    x, y = _examples(data)
    if not isinstance(families, Mapping):
        raise TypeError(f"sweep: families must be a mapping from names to pairs, got {_checks.shown(families)}.")
    checked = {name: _family(name, value) for name, value in families.items()}
    for name, count in (("draws", draws), ("batch_size", batch_size)):
        if not (isinstance(count, (int, np.integer)) and count >= 1) and not (name == "batch_size" and count is None):
            raise ValueError(f"sweep: {name} must be an integer of at least 1, got {count!r}.")
    if not callable(predict):
        raise TypeError(f"sweep: predict must be a function of x, got {predict!r}.")
    plain = isinstance(metric, str) and metric == "accuracy"
    if not plain and not callable(metric):
        raise ValueError(f"sweep: metric must be 'accuracy' or a function of (outputs, y), got {metric!r}.")
    score: Any = accuracy if plain else metric

    if _is_data(predict):
        model, program = predict, functools.partial(_compiled, score, batch_size)
    else:  # not cached: the parameters are constants of the program and may be large
        model, program = None, functools.partial(_Program, score, batch_size, fixed=predict)
    measured = program(None)
    clean, faults = measured.run(model, x, y)
    _refuse(measured, np.asarray(faults), "without noise", y)
    kept = Checkpoint(
        checkpoint,
        Report(
            levels={},
            scores={},
            clean_scores=np.asarray(clean),
            metric="accuracy" if plain else getattr(metric, "__name__", "score"),
            draws=int(draws),
            pairing=fingerprint(
                jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key, x, y
            ),
        ),
    )
    scores = {}
    for name, (level_to_noise, at) in checked.items():
        scores[name] = kept.scores(name, at)
        if scores[name] is not None:
            continue
        of_draws = keys(stage(key, name), jnp.arange(draws))
        measured = program(level_to_noise)
        result, faults, ends = measured.run(model, x, y, of_draws, jnp.asarray(at, jnp.float32))
        _check_levels(measured, key, name, at, ends, (x, y))
        faults = np.asarray(faults)
        if faults.any():
            level, draw = np.argwhere(faults)[0]
            where = f"under {name!r} at level {at[level]:g}, draw {draw} ({faults.any(1).sum()} of {len(at)} levels)"
            _refuse(measured, faults[level], where, y)
        scores[name] = np.asarray(result)
        kept.keep(name, at, scores[name])
    levels = {name: at for name, (_, at) in checked.items()}
    return dataclasses.replace(kept.report, levels=levels, scores=scores)


_NOT_FINITE, _IMPOSSIBLE = 1, 2  # faults of outputs and scores, and of labels


class _Program:
    """The compiled ``run(predict, x, y, keys, levels)``, and what its trace tells about the model and the noise.

    It returns scores (levels, models, examples), faults (levels, draws), and the smallest and the largest value of
    every amount that depends on the level. Without level_to_noise, it is ``run(predict, x, y)``, which returns scores
    (models, examples) and one fault.
    """

    def __init__(self, score: Callable, batch_size: int | None, level_to_noise: Callable | None, fixed: Any = None):
        self.score, self.batch_size, self.level_to_noise, self.fixed = score, batch_size, level_to_noise, fixed
        self.classes: int | None = None  # of the model, if its outputs tell
        self.amounts: list[tuple[str, str, Callable]] = []  # function, name and range, in the order of the values
        self.opaque = False  # whether a noise is a function that hides its amounts
        self.run = jax.jit(self._clean if level_to_noise is None else self._swept)

    def _clean(self, predict, x, y):
        predict = predict if self.fixed is None else self.fixed
        n = jax.tree.leaves(y)[0].shape[0]
        if self.batch_size is None or self.batch_size >= n:
            return self._some(predict, (x, y))
        whole = n - n % self.batch_size
        parts = jax.tree.map(lambda v: v[:whole].reshape(-1, self.batch_size, *v.shape[1:]), (x, y))
        scores, faults = jax.lax.map(functools.partial(self._some, predict), parts)
        scores, fault = jnp.moveaxis(scores, 0, 1).reshape(scores.shape[1], whole), faults.max()
        if whole < n:
            rest, rest_fault = self._some(predict, jax.tree.map(lambda v: v[whole:], (x, y)))
            scores, fault = jnp.concatenate([scores, rest], axis=1), jnp.maximum(fault, rest_fault)
        return scores, fault

    def _swept(self, predict, x, y, keys, levels):
        level_to_noise: Any = self.level_to_noise

        def at_level(level):
            noise = level_to_noise(level)
            amounts = _amounts(noise.noise if isinstance(noise, _OnBatch) else noise)
            self.opaque = None in amounts
            amounts = [amount for amount in amounts if amount is not None]
            self.amounts = [names for names, _ in amounts]

            def one(key):
                return self._clean(predict, *_noisy(noise, key, x, y))

            scores, faults = jax.lax.map(one, keys)
            return scores.mean(0), faults, [(value.min(), value.max()) for _, value in amounts]

        return jax.lax.map(at_level, levels)

    def _some(self, predict, batch):
        """Scores (models, examples), and the fault of these examples."""
        x, y = batch
        outputs = _predicted(predict, x)
        n = jax.tree.leaves(y)[0].shape[0]
        scores = jnp.asarray(self.score(outputs, y))
        if scores.shape[-1:] != (n,):
            raise ValueError(
                f"sweep: metric must return one score per example, of shape (..., {n}), got {scores.shape}. "
                "Do not average over examples: the report does that."
            )
        scores = scores.astype(jnp.float32).reshape(-1, n)
        floats = [v for v in jax.tree.leaves((outputs, scores)) if jnp.issubdtype(jnp.asarray(v).dtype, jnp.floating)]
        finite = functools.reduce(jnp.logical_and, [jnp.isfinite(v).all() for v in floats])
        fault = jnp.where(finite, 0, _NOT_FINITE)
        if self.score is accuracy:
            self.classes = classes_of(outputs)
            fault = jnp.where(finite & are_impossible(y, self.classes, outputs.dtype), _IMPOSSIBLE, fault)
        return scores, fault


_compiled = functools.lru_cache(maxsize=32)(_Program)  # bounded: a family may hold a table of marginals


def _predicted(predict, x):
    try:
        return predict(x)
    except Exception as error:
        if type(error).__name__ != "TraceContextError":  # Flax's, which this module does not import
            raise
        raise ValueError(
            "sweep: predict must not change its own state, got a model in train mode, which updates its statistics or "
            f"its random streams. Call model.eval() before the sweep. ({error})"
        ) from error


def _noisy(noise, key, x, y):
    if not callable(noise):
        raise TypeError(f"sweep: level_to_noise must return a noise, got {_checks.shown(noise)}.")
    if not isinstance(noise, _OnBatch):
        return noise(key, x), y
    batch = noise(key, (x, y))
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(f"on_batch: the noise must return (x, y), got {_checks.shown(batch)}.")
    return batch


def _amounts(noise: Any) -> list:
    """The traced amounts that have a range, as ((function, name, range), value); None for a noise that hides them."""
    if not isinstance(noise, Noise):
        return [None]
    found, spec = [], getattr(noise.function, "__noise__", None)
    ranges: Any = {}
    if spec is not None:
        ranges = spec.ranges
    elif isinstance(noise.function, Combinator):
        ranges = {"rate": _checks.rate}  # of `sometimes`
    else:
        found.append(None)
    for name, value in noise.amounts.items():
        for leaf in jax.tree.leaves(value, is_leaf=is_noise):
            if isinstance(leaf, Noise):
                found += _amounts(leaf)
            elif isinstance(leaf, Tracer) and name in ranges:
                found.append(((noise.function.__name__.lstrip("_"), name, ranges[name]), leaf))
    return found


def _check_levels(program: _Program, key, family: str, levels: np.ndarray, ends, data) -> None:
    """Requires amounts within their ranges, as `bind` does of numbers; traced ones are silently clamped by noises."""
    for (function, name, inside), of in zip(program.amounts, ends, strict=True):
        for level, *both in zip(levels, *map(np.asarray, of), strict=True):
            for value in both:
                _within(family, level, inside, function, name, float(value))
    if not program.opaque:
        return
    for level in (levels[0], levels[-1]):  # a function is asked itself; ranges are intervals, so two levels suffice
        _within(family, level, _ask, program.level_to_noise, np.float32(level), key, *data)


def _within(family, level, check, *arguments) -> None:
    try:
        check(*arguments)
    except ValueError as error:
        raise ValueError(f"sweep: the level {level:g} of {family!r} is not valid. {error}") from None


def _ask(level_to_noise, level, key, x, y) -> None:
    try:
        jax.eval_shape(lambda key, x, y: _noisy(level_to_noise(level), key, x, y), key, x, y)
    except ValueError:
        raise
    except Exception:
        pass


def _examples(data):
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"sweep: data must be (x, y), got a {type(data).__name__}.")
    x, y = jax.tree.map(jnp.asarray, tuple(data))
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves((x, y))}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        shapes = [leaf.shape for leaf in jax.tree.leaves((x, y))]
        raise ValueError(f"sweep: x and y must share a leading axis of at least one example, got shapes {shapes}.")
    return x, y


def _family(name, value):
    if not isinstance(name, str) or not isinstance(value, (tuple, list)) or len(value) != 2 or not callable(value[0]):
        raise TypeError(
            f"sweep: families must be {{'name': (level_to_noise, levels)}}, got {name!r}: {value!r}. "
            "level_to_noise is a function such as lambda std: nj.bind(nj.gaussian, std=std)."
        )
    levels = np.asarray(value[1], np.float64)
    if levels.ndim != 1 or not levels.size or not np.all(np.isfinite(levels)) or np.any(np.diff(levels) <= 0):
        raise ValueError(f"sweep: the levels of {name!r} must be finite and increasing, got {value[1]!r}.")
    return value[0], levels


def _is_data(predict) -> bool:
    """Whether predict is a pytree of arrays, which a compiled program can take as an argument."""
    arrays = (jax.Array, np.ndarray, np.generic)
    return not jax.tree_util.all_leaves([predict]) and all(isinstance(v, arrays) for v in jax.tree.leaves(predict))


def _refuse(program: _Program, faults: np.ndarray, where: str, y) -> None:
    if np.any(faults == _IMPOSSIBLE):
        wanted = "class numbers" if program.classes is None else f"classes of predict, from 0 to {program.classes - 1}"
        known = np.asarray(y)
        got = f"from {known.min()} to {known.max()} in data" if known.ndim == 1 else "rows with NaN"
        raise ValueError(
            f"sweep: labels must be {wanted}, got others {where} (labels {got}). They would count as errors. Leave out "
            "examples without a label: keep = y >= 0 and data=(x[keep], y[keep]). If a noise changes labels, fix its "
            "num_classes."
        )
    if np.any(faults == _NOT_FINITE):
        raise FloatingPointError(
            f"sweep: predict or the metric returned values that are not finite {where}. Such a model would be scored "
            "as if it always chose one class. To score such outputs anyway, replace them in predict: "
            "jnp.nan_to_num(model(x))."
        )
