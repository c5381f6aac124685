"""Combinators that pick a noise at random, per example or per batch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks, _noise
from noisejax._calls.arguments import arithmetic, host_amount
from noisejax._calls.replay import pick_examples
from noisejax._contract import Amount
from noisejax._noise import Noise, Run, Schedule, combinator
from noisejax._padded import first_array
from noisejax._random import sample
from noisejax._random.stream import along, stage, words


def choose(*noises: Callable, weights: Sequence[float] | jax.Array | None = None, mode: str = "example") -> Noise:
    """Applies one of several noises, chosen at random for each example.

    Args:
      *noises: the noises to choose from.
      weights: one nonnegative number per noise, normalized to sum to 1; None for equal weights. They may be
        traced, or `scheduled`.
      mode: `'example'` chooses for each example along the leading axis: every noise runs, and the results are
        selected. `'batch'` chooses once and runs only the chosen noise.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.choose(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1), weights=(0.8, 0.2))
      >>> noise(jax.random.key(0), jnp.ones((8, 3))).shape
      (8, 3)
    """
    _checks.one_of("choose", "mode", mode, ("example", "batch"))
    stages = _noise.stages("choose", noises)
    amounts: dict[str, Any] = {"noises": stages}
    if isinstance(weights, Schedule) or callable(weights):
        amounts["weights"] = _noise.amount("choose", "weights", weights, None)
    elif weights is not None:
        given: Any = _checks.listed("choose", "weights", weights) if isinstance(weights, (list, tuple)) else weights
        if np.shape(given) != (len(stages),):
            raise ValueError(f"choose: weights must be {len(stages)} numbers, one per noise, got {weights!r}.")
        if isinstance(given, jax.Array):
            amounts["weights"] = _checks.operand("choose", "weights", given)
        else:
            known = host_amount("choose", "weights", np.asarray(given), None)
            if not (np.all(known >= 0) and 0 < known.sum(dtype=np.float64) <= np.finfo(np.float32).max):
                raise ValueError(
                    "choose: weights must be nonnegative, and their sum above 0 and in the range of float32, got "
                    f"{weights!r}. Only their proportions matter."
                )
            amounts["weights"] = known
    return Noise(_choose, amounts, (("mode", mode),))


@combinator(draws=True)
def _choose(run: Run, key, x, noises, weights=None, *, mode):
    shares = jnp.ones(len(noises), jnp.float32) if weights is None else jnp.asarray(weights, jnp.float32)
    ends = jnp.cumsum(shares)[:-1] / jnp.sum(shares)
    if mode == "batch":
        u = sample.uniform(words(key, "choose", ()))
        index = jnp.sum(u >= ends)
        return jax.lax.switch(index, [_branch(run, noise, stage(key, n)) for n, noise in enumerate(noises)], x)
    u = sample.uniform(words(key, "choose", **_examples("choose", x)))
    chosen, told = run(noises[0], stage(key, 0), x)
    for n, noise in enumerate(noises[1:]):
        y, replayed = run(noise, stage(key, n + 1), x)
        later = u >= ends[n]
        chosen, told = _select("choose", later, y, chosen), run.select(later, replayed, told)
    return chosen, told


def sometimes(noise: Callable, rate: Amount, *, mode: str = "example") -> Noise:
    """Applies a noise with probability `rate`, drawn for each example or once for the batch.

    Args:
      noise: the noise to apply.
      rate: the probability that an example is hit, in [0, 1]; a scalar, or of shape (B,). It may be traced, or
        `scheduled`.
      mode: `'example'` draws for each example along the leading axis. `'batch'` draws once, and the noise runs only if
        the batch is hit.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.sometimes(nj.bind(nj.gaussian, std=0.1), 0.5)
      >>> noise(jax.random.key(0), jnp.ones((8, 3))).shape
      (8, 3)
    """
    _checks.one_of("sometimes", "mode", mode, ("example", "batch"))
    rate = _noise.amount("sometimes", "rate", rate, _checks.rate)
    if not isinstance(rate, Schedule):
        arithmetic("sometimes", "rate", rate, False)
    (noise,) = _noise.stages("sometimes", (noise,))
    return Noise(_sometimes, {"noises": (noise,), "rate": rate}, (("mode", mode),))


@combinator(draws=True)
def _sometimes(run: Run, key, x, noises, rate, *, mode):
    branch = _branch(run, noises[0], stage(key, 0))
    rate = jnp.asarray(rate, jnp.float32)
    if mode == "batch":
        if rate.size != 1:
            raise ValueError(f"sometimes: rate must be one number with mode='batch', got shape {rate.shape}.")
        rate = rate.reshape(())
        drawn = sample.bernoulli(words(key, "sometimes", ()), rate)
        return jax.lax.cond(drawn, branch, lambda x: (x, run.alike(x, run.unchanged(x))), x)
    examples = _examples("sometimes", x)
    if rate.size != 1 and rate.shape != examples["shape"][:1]:
        raise ValueError(
            f"sometimes: rate must be one number, or one for each of {examples['shape'][:1]} examples, got shape "
            f"{rate.shape}."
        )
    if rate.size == 1:
        rate = rate.reshape(())
    else:
        rate = rate.reshape(rate.shape + (1,) * (len(examples["shape"]) - 1))
    drawn = sample.bernoulli(words(key, "sometimes", **examples), rate)
    y, replayed = branch(x)
    return _select("sometimes", drawn, y, x), run.select(drawn, replayed, run.unchanged(x))


def _branch(run, noise, key):
    def branch(x):
        y, told = run(noise, key, x)
        return y, run.alike(x, told)

    return branch


def _examples(function: str, x: Any) -> dict:
    """Shape and sharding of one draw per example, for an array or for a batch whose entries share a leading axis."""
    if not (hasattr(x, "ndim") and x.ndim == 0):
        _checks.batch_size(function, x)
    return along(first_array(x), (0,))


def _select(function: str, drawn: jax.Array, y: Any, x: Any) -> Any:
    for result in (x, y):
        if not all(isinstance(leaf, (jax.Array, np.ndarray, np.generic)) for leaf in jax.tree.leaves(result)):
            raise TypeError(f"{function}: the noises must return arrays, got {_checks.shown(result)}.")
    if jax.tree.structure(x) != jax.tree.structure(y) or any(
        a.shape != b.shape for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
    ):
        shapes = [jax.tree.map(jnp.shape, tree) for tree in (x, y)]
        raise ValueError(
            f"{function}: the noises must return one structure and shape, got {shapes[0]} and {shapes[1]}. "
            "If a noise turns integer labels into soft ones, convert them before it."
        )
    return pick_examples(drawn, y, x)
