"""Fractal clouds by the diamond-square algorithm on a torus."""

import jax
import jax.numpy as jnp
import numpy as np


def diamond_square(u: jax.Array, decay: jax.Array) -> jax.Array:
    """A fractal of u's size, a square whose side is a power of two, scaled to [0, 1].

    ``u`` has a draw from U(-1, 1) for every pixel. The first pixel is 0. Each level halves the distance of the known
    pixels, and its draws are scaled by ``decay ** -2`` more.
    """
    size = u.shape[0]
    known, scale, step = jnp.zeros((1, 1), u.dtype), jnp.ones((), u.dtype), size
    while step > 1:
        half = step // 2
        ahead = known + jnp.roll(known, -1, 0)
        middle = (ahead + jnp.roll(ahead, -1, 1)) / 4 + scale * u[half::step, half::step]
        top = (middle + jnp.roll(middle, 1, 0) + known + jnp.roll(known, -1, 1)) / 4 + scale * u[::step, half::step]
        left = (middle + jnp.roll(middle, 1, 1) + known + jnp.roll(known, -1, 0)) / 4 + scale * u[half::step, ::step]
        even = jnp.stack([known, top], -1).reshape(known.shape[0], -1)
        odd = jnp.stack([left, middle], -1).reshape(known.shape[0], -1)
        known = jnp.stack([even, odd], 1).reshape(2 * known.shape[0], -1)
        scale, step = scale / (decay * decay), half
    low, high = known.min(), known.max()
    return (known - low) / jnp.maximum(high - low, np.float32(1e-30))
