"""What a weight noise measures: the largest value, the spread or the ends of a tensor, or of each of its channels.

Measures are of what is finite and no padding, and carry no gradient: a noisy weight's gradient goes straight to the
clean one.
"""

import jax
import jax.numpy as jnp
from jax import lax

from noisejax import _checks
from noisejax._checks import Mask


def axes(function: str, x: jax.Array, channel_axis: int | None) -> tuple[int, ...]:
    """The axes over which a measure runs."""
    if channel_axis is None:
        return tuple(range(x.ndim))
    (kept,) = _checks.axes(function, "channel_axis", (channel_axis,), x.ndim)
    return tuple(axis for axis in range(x.ndim) if axis != kept)


def absmax(x: jax.Array, over: tuple[int, ...], where: Mask) -> jax.Array:
    return jnp.max(jnp.abs(_valid(x, where)[0]), axis=over, keepdims=True, initial=0)


def ends(x: jax.Array, over: tuple[int, ...], where: Mask) -> tuple[jax.Array, jax.Array]:
    """The least and the largest value; (0, 0) where there is none."""
    x, valid = _valid(x, where)
    some = jnp.any(valid, axis=over, keepdims=True)
    low = jnp.min(jnp.where(valid, x, jnp.inf), axis=over, keepdims=True, initial=jnp.inf)
    high = jnp.max(jnp.where(valid, x, -jnp.inf), axis=over, keepdims=True, initial=-jnp.inf)
    return jnp.where(some, low, 0), jnp.where(some, high, 0)


def spread(x: jax.Array, over: tuple[int, ...], where: Mask) -> jax.Array:
    """The standard deviation, of the population."""
    x, valid = _valid(x, where)
    count = jnp.maximum(jnp.sum(valid, axis=over, keepdims=True, dtype=x.dtype), 1)
    deviation = jnp.where(valid, x - jnp.sum(x, axis=over, keepdims=True) / count, 0)
    return jnp.sqrt(jnp.sum(deviation * deviation, axis=over, keepdims=True) / count)


def _valid(x: jax.Array, where: Mask) -> tuple[jax.Array, jax.Array]:
    x = lax.stop_gradient(x)
    valid = jnp.isfinite(x) if where is None else jnp.isfinite(x) & where
    return jnp.where(valid, x, 0), valid
