"""Noise that removes parts of activations: blocks of feature maps, patches of a token sequence."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._batch import padded_noise
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._padded import Padded
from noisejax._random import sample
from noisejax._random.stream import all_but, along, positions, words


def _drop_block_options(x, block_size, broadcast_dims, axes, scale_by_keep) -> None:
    spatial = _spatial(x, axes)
    sizes = block_size if isinstance(block_size, tuple) else (block_size,) * len(spatial)
    if len(sizes) != len(spatial) or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(
            f"drop_block: block_size must be a positive integer or one for each of axes {spatial}, got {block_size!r}."
        )
    if set(_checks.axes("drop_block", "broadcast_dims", broadcast_dims, x.ndim)) & set(spatial):
        raise ValueError(f"drop_block: broadcast_dims must lie outside of axes {spatial}, got {broadcast_dims!r}.")


def _spatial(x: jax.Array, axes: tuple[int, ...] | None) -> tuple[int, ...]:
    found = tuple(range(1, x.ndim - 1)) if axes is None else _checks.axes("drop_block", "axes", axes, x.ndim)
    if not found:
        raise ValueError(f"drop_block: x must have axes to lay blocks on, (B, ..., C), got shape {x.shape}. Pass axes.")
    _checks.short("drop_block", x.shape, found)
    return found


@array_noise(_checks.floats, options=_drop_block_options, ranges={"rate": _checks.rate})
def drop_block(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    block_size: int | tuple[int, ...] = 7,
    broadcast_dims: tuple[int, ...] = (),
    axes: tuple[int, ...] | None = None,
    scale_by_keep: bool = True,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """DropBlock: contiguous blocks of feature maps are set to 0; the rest is rescaled by total / kept.

    Each position where a block fits is the corner of one with probability
    ``gamma = rate * prod(n / (b * (n - b + 1)))``. The product is over the axes, where n is the length of an axis and b
    that of a block. This formula counts overlaps twice, so the dropped share is slightly below the rate.

    Args:
      key: a JAX key.
      x: floats of shape (B, ..., C), with one or more axes in between.
      rate: the share of elements to drop, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      block_size: the length of a block, odd or even: one for all axes, or one for each. A block longer than its axis
        covers the axis. Static.
      broadcast_dims: axes along which one draw is shared: ``(-1,)`` hits all channels at once. Static.
      axes: the axes that blocks extend over; None for all but the first and the last. Static.
      scale_by_keep: whether kept elements are rescaled. The factor is computed over the axes of the blocks, separately
        for each example and channel, so no result depends on the rest of the batch. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. The rescaling does not count padding.

    Returns:
      An array of x's shape and dtype.

    References:
      Ghiasi, Lin and Le, "DropBlock: a regularization method for convolutional networks", NeurIPS 2018.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.drop_block(jax.random.key(0), jnp.ones((2, 14, 14, 8)), 0.1, block_size=3).shape
      (2, 14, 14, 8)
    """
    spatial = _spatial(x, axes)
    sizes = block_size if isinstance(block_size, tuple) else (block_size,) * len(spatial)
    blocks = {axis: max(min(size, x.shape[axis]), 1) for axis, size in zip(spatial, sizes, strict=True)}
    gamma = jnp.clip(rate, 0, 1) * math.prod(
        x.shape[axis] / (b * max(x.shape[axis] - b + 1, 1)) for axis, b in blocks.items()
    )
    hit = sample.bernoulli(words(key, "drop_block", **all_but(x, broadcast_dims)), gamma)
    for axis, block in blocks.items():
        hit = hit & (positions(x, axis) <= x.shape[axis] - block)
    for axis, block in blocks.items():  # one axis at a time, so that the cost is the sum of the block lengths
        window = tuple(block if n == axis else 1 for n in range(x.ndim))
        hit = lax.reduce_window(hit, False, lax.max, window, (1,) * x.ndim, [(n - 1, 0) for n in window])
    if not scale_by_keep:
        return Hit(hit, 0.0)
    valid = ~jnp.zeros_like(hit) if where is None else where | jnp.zeros_like(hit)
    total, kept = (jnp.sum(m, axis=spatial, keepdims=True, dtype=x.dtype) for m in (valid, valid & ~hit))
    return Hit(hit, 0.0, x * (total / jnp.maximum(kept, 1)))


def _tokens(shape, batch_ndim, *, rate, num_prefix_tokens) -> None:
    if not isinstance(rate, (int, float, np.integer, np.floating)):
        raise TypeError(f"patch_dropout: rate sets the result's shape and must be a Python number, got {rate!r}.")
    _checks.rate("patch_dropout", "rate", rate)
    _checks.short("patch_dropout", shape, (batch_ndim,))
    if not isinstance(num_prefix_tokens, (int, np.integer)) or not 0 <= num_prefix_tokens < shape[batch_ndim]:
        raise ValueError(
            f"patch_dropout: x must have more tokens along axis {batch_ndim} than num_prefix_tokens="
            f"{num_prefix_tokens!r}, got shape {shape}."
        )


@padded_noise(arrays=True, options=_tokens)
def patch_dropout(
    key: jax.Array, x: Padded, *, rate: float = 0.5, num_prefix_tokens: int = 1, lengths: Mask = None
) -> Padded:
    """Patch dropout: keeps a random ``floor(L * (1 - rate))`` of L tokens, at least one, in their order.

    The result is shorter than x, which makes training cheaper, so the rate is static. To blank tokens in place, with a
    rate that may be traced, use `noisejax.image.pixel_dropout`.

    Args:
      key: a JAX key.
      x: numbers of shape (B, tokens, ...), or a `noisejax.Padded` of them with any batch axes. The kept tokens are
        drawn for each example.
      rate: the share of tokens to drop, in [0, 1], rounded to whole tokens. Static.
      num_prefix_tokens: the number of tokens at the start (a class token) that are always kept and not counted in L.
        Static.
      lengths: the number of valid tokens of each example, prefix included; shape (B,). Shorthand for a
        `noisejax.Padded`.

    Returns:
      An array of x's dtype and shape (B, num_prefix_tokens + kept, ...), or a `noisejax.Padded` if x is one. Padding is
      dropped first, so the new lengths are ``minimum(lengths, num_prefix_tokens + kept)``.

    Raises:
      TypeError: the rate is traced, or a mask `where` is given.
      ValueError: x has no more tokens than `num_prefix_tokens`.

    References:
      Liu et al., "PatchDropout: economizing vision transformers using patch dropout", WACV 2023; `PatchDropout` of
      timm (``ordered=True``).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.patch_dropout(jax.random.key(0), jnp.ones((2, 197, 8)), rate=0.5).shape
      (2, 99, 8)
      >>> tokens = nj.Padded(jnp.ones((2, 197, 8)), jnp.array([197, 50]))
      >>> nj.patch_dropout(jax.random.key(0), tokens, rate=0.5).lengths.tolist()
      [99, 50]
    """
    values, axis, prefix = x.values, x.lengths.ndim, num_prefix_tokens
    tokens = values.shape[axis] - prefix
    kept = max(1, tokens - math.ceil(tokens * rate - 1e-9))  # 100 * (1 - 0.9) is below 10 in floats
    like, trailing = along(values, range(axis + 1)), tuple(range(axis + 1, values.ndim))
    high, low = (lax.squeeze(words(key, f"patch_dropout.{half}", **like), trailing) for half in ("high", "low"))
    place = lax.squeeze(positions(values, axis), trailing) + jnp.zeros_like(high).astype(jnp.int32)
    padded = place >= x.lengths[..., None]
    turn = jnp.where(place < prefix, 0, jnp.where(padded, 2, 1))  # the prefix comes first, padding last
    order = lax.sort((turn, high, low, place), dimension=axis, num_keys=3)[-1][..., : prefix + kept]
    order = lax.sort(order, dimension=axis)

    def take(values, order):
        return values.at[order].get(mode="promise_in_bounds")

    for _ in range(axis):
        take = jax.vmap(take)
    return Padded(take(values, order), jnp.minimum(x.lengths, prefix + kept), x.lost)
