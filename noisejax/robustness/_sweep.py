"""The sweep: one model, families of noise, the levels of each; scores of every example."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._random.stream import keys, stage
from noisejax.robustness._report import Report, fingerprint


class _OnBatch:
    """A noise that acts on (x, y), told apart by its type."""

    def __init__(self, noise: Callable):
        self.noise = noise

    def __call__(self, key, batch):
        return self.noise(key, batch)


def on_batch(noise: Callable) -> Callable:
    """Marks a noise that acts on the batch (x, y) and not on x alone: label noise, mixing, attacks.

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
) -> Report:
    """Measures a model, or several at once, under noise of growing level.

    The draws depend on the key, the family's name and the example alone: they are the same at every level and for
    every model, so that curves are smooth and reports of two models can be compared example by example. Levels are
    traced: one family is one compilation, whatever the number of its levels.

    Args:
      key: a JAX key.
      predict: a function of x. It returns, for accuracy, class probabilities or logits of shape (..., B, C) or class
        numbers (integers or booleans) of shape (..., B); leading axes, as of `jax.vmap` over the parameters of several
        seeds, are kept apart. If it is a pytree of arrays (``jax.tree_util.Partial(apply, params)``, a Flax nnx
        module), other parameters of the same shapes cost no new compilation.
      data: (x, y), arrays or pytrees of arrays with a common leading axis of B examples; y holds class numbers, or
        rows whose largest entry is the class.
      families: by name, a function from a level to a noise ``(key, x) -> x`` and the levels, in increasing order. The
        function is called with a traced level; mark a noise of (x, y) with `on_batch`.
      draws: how many draws of the noise are averaged for each example.
      batch_size: how many examples are predicted at a time, to bound memory; the noise acts on all at once, so that
        it changes no draw.
      metric: `'accuracy'`, or a function of (outputs, y) that returns a score per example, more being better, of shape
        (..., B), as for regression. It must not mix examples.

    Returns:
      A `Report` with the scores of every family, level, model and example, in NumPy.

    Raises:
      FloatingPointError: an output or a score is not finite; the message says where. A model that is broken would
        otherwise be counted as one that is never moved.

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
    checked = {name: _family(name, value) for name, value in families.items()}
    for name, count in (("draws", draws), ("batch_size", batch_size)):
        if not (isinstance(count, (int, np.integer)) and count >= 1) and not (name == "batch_size" and count is None):
            raise ValueError(f"sweep: {name} must be an integer, at least 1, got {count!r}.")
    if not callable(predict):
        raise TypeError(f"sweep: predict must be a function of x, got {predict!r}.")
    if metric != "accuracy" and not callable(metric):
        raise ValueError(f"sweep: metric must be 'accuracy' or a function of (outputs, y), got {metric!r}.")
    score = _accuracy if metric == "accuracy" else metric

    if _is_data(predict):
        model, run = predict, functools.partial(_compiled, score, batch_size)
    else:  # not kept: the parameters are constants of the program, and may be large
        model, run = None, functools.partial(_jitted, score, batch_size, fixed=predict)
    clean, bad = run(None)(model, x, y)
    _refuse("", np.asarray(bad), None)
    scores, levels = {}, {}
    for name, (level_to_noise, at) in checked.items():
        of_draws = keys(stage(key, name), jnp.arange(draws))
        result, bad = run(level_to_noise)(model, x, y, of_draws, jnp.asarray(at, jnp.float32))
        _refuse(name, np.asarray(bad), at)
        scores[name], levels[name] = np.asarray(result), at
    return Report(
        levels=levels,
        scores=scores,
        clean_scores=np.asarray(clean),
        metric="accuracy" if metric == "accuracy" else getattr(metric, "__name__", "score"),
        draws=int(draws),
        pairing=fingerprint(jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key, x, y),
    )


def _jitted(score: Callable, batch_size: int | None, level_to_noise: Callable | None, fixed: Callable | None = None):
    """The compiled (predict, x, y, keys, levels) -> scores (levels, models, examples), and which draws are not finite.

    Without level_to_noise, (predict, x, y) -> scores (models, examples) and whether they are not finite.
    """

    def clean(predict, x, y):
        return _score(score, batch_size, predict if fixed is None else fixed, x, y)

    if level_to_noise is None:
        return jax.jit(clean)

    def swept(predict, x, y, keys, levels):
        def at_level(level):
            noise = level_to_noise(level)

            def one(key):
                if isinstance(noise, _OnBatch):
                    return clean(predict, *noise(key, (x, y)))
                return clean(predict, noise(key, x), y)

            scores, bad = jax.lax.map(one, keys)
            return scores.mean(0), bad

        return jax.lax.map(at_level, levels)

    return jax.jit(swept)


_compiled = functools.lru_cache(maxsize=32)(_jitted)  # bounded: a family may hold a table of marginals


def _score(score, batch_size, predict, x, y):
    """Scores (models, examples), and whether anything in outputs or scores is not finite."""

    def some(batch):
        x, y = batch
        outputs = predict(x)
        n = jax.tree.leaves(y)[0].shape[0]
        scores = jnp.asarray(score(outputs, y))
        if scores.shape[-1:] != (n,):
            raise ValueError(
                f"sweep: metric must return one score per example, of shape (..., {n}), got {scores.shape}. "
                "Do not average over examples: the report does."
            )
        scores = scores.astype(jnp.float32).reshape(-1, n)
        floats = [v for v in jax.tree.leaves((outputs, scores)) if jnp.issubdtype(jnp.asarray(v).dtype, jnp.floating)]
        return scores, ~functools.reduce(jnp.logical_and, [jnp.isfinite(v).all() for v in floats])

    n = jax.tree.leaves(y)[0].shape[0]
    if batch_size is None or batch_size >= n:
        return some((x, y))
    whole = n - n % batch_size
    parts = jax.tree.map(lambda v: v[:whole].reshape(-1, batch_size, *v.shape[1:]), (x, y))
    scores, bad = jax.lax.map(some, parts)
    scores, bad = jnp.moveaxis(scores, 0, 1).reshape(scores.shape[1], whole), bad.any()
    if whole < n:
        rest, rest_bad = some(jax.tree.map(lambda v: v[whole:], (x, y)))
        scores, bad = jnp.concatenate([scores, rest], axis=1), bad | rest_bad
    return scores, bad


def _accuracy(outputs, y):
    n = y.shape[0]
    if not hasattr(outputs, "dtype"):
        raise TypeError(f"sweep: for accuracy, predict must return one array, got a {type(outputs).__name__}.")
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        classes = outputs
    elif outputs.ndim >= 2 and outputs.shape[-2] == n and outputs.shape[-1] >= 2:
        classes = outputs.argmax(-1)
    else:
        raise ValueError(
            f"sweep: for accuracy, predict must return logits or probabilities of shape (..., {n}, classes), or class "
            f"numbers of shape (..., {n}); got {outputs.dtype}{list(outputs.shape)}. For one logit per example return "
            "logit > 0, and for regression give metric= a function of (outputs, y)."
        )
    if jnp.issubdtype(y.dtype, jnp.floating):
        if y.ndim != 2:
            raise ValueError(
                f"sweep: for accuracy, y must be class numbers or rows of probabilities, got {y.dtype}{list(y.shape)}. "
                "For regression give metric= a function of (outputs, y)."
            )
        y = y.argmax(-1)
    if y.shape != (n,) or classes.shape[-1:] != (n,):
        raise ValueError(
            f"sweep: predicted classes of shape {classes.shape} do not belong to labels of shape {y.shape}."
        )
    y = y.astype(jnp.int32).reshape((1,) * (classes.ndim - 1) + (n,))
    return classes.astype(jnp.int32) == y


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
            "level_to_noise is a function, as lambda std: nj.bind(nj.gaussian, std=std)."
        )
    levels = np.asarray(value[1], np.float64)
    if levels.ndim != 1 or not levels.size or not np.all(np.isfinite(levels)) or np.any(np.diff(levels) <= 0):
        raise ValueError(f"sweep: the levels of {name!r} must be finite and increasing, got {value[1]!r}.")
    return value[0], levels


def _is_data(predict) -> bool:
    """Whether predict is a pytree of arrays, that one compiled program can take as an argument."""
    arrays = (jax.Array, np.ndarray, np.generic)
    return not jax.tree_util.all_leaves([predict]) and all(isinstance(v, arrays) for v in jax.tree.leaves(predict))


def _refuse(family, bad, levels):
    if not bad.any():
        return
    where = "without noise"
    if levels is not None:
        level, draw = np.argwhere(bad)[0]
        where = f"under {family!r} at level {levels[level]:g}, draw {draw} ({bad.any(1).sum()} of {len(bad)} levels)"
    raise FloatingPointError(
        f"sweep: predict or the metric gave values that are not finite {where}. Such a model would be scored as if it "
        "always chose one class. If that is what you want to count, mend them in predict: jnp.nan_to_num(model(x))."
    )
