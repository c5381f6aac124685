"""Noises that drop weights, change their signs, or leave them stuck at a value."""

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.weights import _scale


@array_noise(_checks.floats, sees="element", ranges={"rate": _checks.rate})
def drop_connect(
    key: jax.Array, x: jax.Array, rate: Amount, *, rescale: bool = True, where: Mask = None, lengths: Mask = None
) -> Hit:
    """DropConnect: each weight is 0 with probability `rate`.

    By default the other weights are divided by 1 - rate, as in inverted dropout. The expectation is then w, and
    inference needs no correction. With ``rescale=False`` the other weights are unchanged, as in the paper: the result
    is ``M * w``, where M has mean 1 - rate, and the correction is made at inference.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      rate: the probability that a weight is dropped, in [0, 1], broadcastable to x; traced values are clamped. 0 is
        the identity.
      rescale: whether the remaining weights are divided by 1 - rate. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Wan et al., "Regularization of neural networks using DropConnect", ICML 2013.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> w = nj.weights.drop_connect(jax.random.key(0), jnp.ones(100), 0.5, rescale=False)
      >>> sorted(set(w.tolist()))
      [0.0, 1.0]
    """
    hit = sample.bernoulli(words_like(key, "drop_connect", x), rate)
    keep = 1 - jnp.clip(rate, 0, 1)
    return Hit(hit, 0.0, x / jnp.where(keep > 0, keep, 1) if rescale else None)


@array_noise(_checks.floats, sees="element", ranges={"rate": _checks.rate, "flip": _checks.rate})
def ternary_mask(
    key: jax.Array, x: jax.Array, rate: Amount, flip: Amount = 0.0, *, where: Mask = None, lengths: Mask = None
) -> Hit:
    """A mask of -1, 0 and 1 on the weights: 0 with probability `rate`; of the rest, -1 with probability `flip`.

    The expectation is ``(1 - rate) (1 - 2 flip) x``.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      rate: the probability that a weight becomes 0, in [0, 1], broadcastable to x; traced values are clamped. 0 with a
        `flip` of 0 is the identity.
      flip: the probability that a remaining weight changes its sign, in [0, 1], broadcastable to x; traced values are
        clamped.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      The masks of Zhou et al., "Deconstructing lottery tickets: zeros, signs, and the supermask", NeurIPS 2019, drawn
      at random.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> sorted(set(nj.weights.ternary_mask(jax.random.key(0), jnp.ones(100), 0.5, 0.2).tolist()))
      [-1.0, 0.0, 1.0]
    """
    zero = sample.bernoulli(words_like(key, "ternary_mask", x), rate)
    negative = sample.bernoulli(words_like(key, "ternary_mask.flip", x), flip)
    return Hit(zero | negative, jnp.where(zero, 0, -x))


_STUCK = ("zero", "min", "max")


def _stuck(x: jax.Array, value, channel_axis) -> None:
    for each in value if isinstance(value, tuple) and value else (value,):
        _checks.one_of("stuck_at", "value", each, _STUCK)
    _scale.axes("stuck_at", x, channel_axis)


@array_noise(_checks.floats, sees="batch", options=_stuck, ranges={"rate": _checks.rate})
def stuck_at(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    value: str | tuple[str, ...] = "zero",
    channel_axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Stuck cells: with probability `rate`, a weight is replaced by a fixed value.

    The gradient is 0 for stuck weights and unchanged for the others. The same key gives the same defects: keep it for
    the life of a device, and use a new key for each device. For defects with different rates, chain several `stuck_at`.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      rate: the probability that a weight is stuck, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      value: `'zero'`, or `'min'` or `'max'` of the weights. With a tuple such as ``('min', 'max')``, each stuck weight
        takes one of its values, all equally likely. Static.
      channel_axis: the axis of channels that have separate minima and maxima; None for one of each. Static.
      where, lengths: padding, neither changed nor measured; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Chen et al., "RRAM defect modeling and failure analysis based on march test and a novel squeeze-search scheme",
      IEEE Trans. Computers 64(1), 2015, which measured 1.75% of cells stuck at 0 and 9.04% stuck at 1.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> w = nj.weights.stuck_at(jax.random.key(0), jnp.linspace(-1, 1, 5), 1.0, value="max")
      >>> w.tolist()
      [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    kinds = value if isinstance(value, tuple) else (value,)
    low, high = (0.0, 0.0)
    if {"min", "max"} & set(kinds):
        low, high = _scale.ends(x, _scale.axes("stuck_at", x, channel_axis), where)
    values = [{"zero": 0.0, "min": low, "max": high}[kind] for kind in kinds]
    stuck = jnp.asarray(values[0]).astype(x.dtype)
    if len(values) > 1:
        chosen = sample.uniform(words_like(key, "stuck_at.value", x)) * len(values)
        for n, other in enumerate(values[1:], 1):
            stuck = jnp.where(chosen >= n, other, stuck)
    return Hit(sample.bernoulli(words_like(key, "stuck_at", x), rate), stuck)
