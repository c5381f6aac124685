"""Verbs that leave it to chance which noise is applied, and to which example."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks, _noise, _sample
from noisejax._noise import Noise, combinator
from noisejax._stream import along, stage, words


def choose(*noises: Callable, weights: Sequence[float] | jax.Array | None = None, mode: str = "example") -> Noise:
    """Applies one of several noises, drawn for each example.

    Args:
      *noises: what is drawn from.
      weights: one nonnegative number per noise, normalised to sum to 1; None for equal ones. May be traced, or a
        schedule (see `at_step`).
      mode: `'example'` draws along the leading axis, runs every noise and selects; `'batch'` draws once and runs
        only the drawn one.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.choose(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1), weights=(0.8, 0.2))
      >>> noise(jax.random.key(0), jnp.ones((8, 3))).shape
      (8, 3)
    """
    _checks.one_of("choose", "mode", mode, ("example", "batch"))
    stages = _noise.stages("choose", noises)
    amounts: dict[str, Any] = {"noises": stages}
    if callable(weights):
        amounts["weights"] = _noise.Schedule(weights)
    elif weights is not None:
        if np.shape(weights) != (len(stages),):
            raise ValueError(f"choose: weights must be {len(stages)} numbers, one per noise, got {weights!r}.")
        if isinstance(weights, jax.Array):
            amounts["weights"] = weights
        else:
            amounts["weights"] = known = np.asarray(weights, np.float32)
            if not (np.all(known >= 0) and known.sum() > 0):
                raise ValueError(f"choose: weights must be nonnegative and not all 0, got {known!r}.")
    return Noise(_choose, amounts, (("mode", mode),), learn=True)


@combinator
def _choose(run, key, x, noises, weights=None, *, mode):
    shares = jnp.ones(len(noises)) if weights is None else jnp.asarray(weights, jnp.float32)
    ends = jnp.cumsum(shares)[:-1] / jnp.sum(shares)
    if mode == "batch":
        u = _sample.uniform(words(key, "choose", ()))
        index = jnp.sum(u >= ends)
        return jax.lax.switch(index, [_branch(run, noise, stage(key, n)) for n, noise in enumerate(noises)], x)
    u = _sample.uniform(words(key, "choose", **_examples("choose", x)))
    chosen, chosen_hit = run(noises[0], stage(key, 0), x)
    for n, noise in enumerate(noises[1:]):
        y, hit = run(noise, stage(key, n + 1), x)
        later = u >= ends[n]
        chosen = _select("choose", later, y, chosen)
        chosen_hit = None if hit is None else _select("choose", later, hit, chosen_hit)
    return chosen, chosen_hit


def sometimes(noise: Callable, p: float | jax.Array, *, mode: str = "example") -> Noise:
    """Applies a noise with probability p, drawn for each example (or with ``mode='batch'`` once).

    p may be traced, of shape (B,), or a schedule (see `at_step`). In batch mode the noise does not run at all where it
    is not drawn.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.sometimes(nj.bind(nj.gaussian, std=0.1), 0.5)
      >>> noise(jax.random.key(0), jnp.ones((8, 3))).shape
      (8, 3)
    """
    _checks.one_of("sometimes", "mode", mode, ("example", "batch"))
    p = _noise.amount("sometimes", "p", p, _checks.rate)
    (noise,) = _noise.stages("sometimes", (noise,))
    return Noise(_sometimes, {"noises": (noise,), "p": p}, (("mode", mode),), learn=True)


@combinator
def _sometimes(run, key, x, noises, p, *, mode):
    branch = _branch(run, noises[0], stage(key, 0))
    p = jnp.asarray(p, jnp.float32)
    if mode == "batch":
        drawn = _sample.bernoulli(words(key, "sometimes", ()), p)
        hits = jax.eval_shape(branch, x)[1] is not None
        return jax.lax.cond(drawn, branch, lambda x: (x, jnp.zeros(x.shape, bool) if hits else None), x)
    examples = _examples("sometimes", x)
    p = p.reshape(p.shape + (1,) * (len(examples["shape"]) - p.ndim)) if p.ndim else p
    drawn = _sample.bernoulli(words(key, "sometimes", **examples), p)
    y, hit = branch(x)
    return _select("sometimes", drawn, y, x), None if hit is None else hit & drawn


def _branch(run, noise, key):
    return lambda x: run(noise, key, x)


def _examples(function: str, x: Any) -> dict:
    """Shape and sharding of a draw per example of an array, or of a batch whose entries share a leading axis."""
    if not (hasattr(x, "ndim") and x.ndim == 0):
        _noise.batch_size(function, x)
    return along(jax.tree.leaves(x)[0], (0,))


def _select(function: str, drawn: jax.Array, y: Any, x: Any) -> Any:
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (x, y)]
    if jax.tree.structure(x) != jax.tree.structure(y) or shapes[0] != shapes[1]:
        raise ValueError(
            f"{function}: what is selected between must have one structure and shape, got {shapes[0]} and {shapes[1]}. "
            "Where a noise makes soft labels of integer ones, make them soft before it."
        )

    def pick(a, b):
        return jnp.where(drawn.reshape(drawn.shape[:1] + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, y, x)
