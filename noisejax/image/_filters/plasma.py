"""Fractal clouds by the diamond-square algorithm on a torus."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._sharding import own_loop_on_cpus


def diamond_square(u: jax.Array, decay: jax.Array) -> jax.Array:
    """A fractal of u's size, a square whose side is a power of two, scaled to [0, 1].

    ``u`` has a draw from U(-1, 1) for every pixel. The first pixel is 0. Each level halves the distance of the known
    pixels, and its draws are scaled by ``decay ** -2`` more.
    """
    size = u.shape[0]
    # The first half of the levels is small and would take half of the time of compiling. So it is one product with a
    # matrix, which is no larger than the fractal.
    coarse = 2 ** ((size.bit_length() - 1) // 2)
    levels, matrix = _coarse(coarse)
    step, less = size // coarse, 1 / (decay * decay)
    scaled = (less**levels * u[::step, ::step]).reshape(-1)
    known = jnp.matmul(matrix, scaled, precision=lax.Precision.HIGHEST).reshape(coarse, coarse)
    scale = less ** (coarse.bit_length() - 1)
    while step > 1:
        half = step // 2
        known = _finer(known, u[half::step, half::step], u[::step, half::step], u[half::step, ::step], scale)
        scale, step = scale * less, half
    low, high = known.min(), known.max()
    return (known - low) / jnp.maximum(high - low, np.float32(1e-30))


def _finer(known, inside, right, below, scale, to=jnp):
    """Twice as many pixels along both axes: each new one is the mean of four neighbours and a draw at its place."""
    # Loops of their own: as parts of their readers they would be computed again for each, and take twice the time of
    # compiling.
    known = own_loop_on_cpus(known, always=True)
    ahead = known + to.roll(known, -1, 0)
    middle = own_loop_on_cpus((ahead + to.roll(ahead, -1, 1)) / 4 + scale * inside, always=True)
    top = (middle + to.roll(middle, 1, 0) + known + to.roll(known, -1, 1)) / 4 + scale * right
    left = (middle + to.roll(middle, 1, 1) + known + to.roll(known, -1, 0)) / 4 + scale * below
    even = to.stack([known, top], 2).reshape(known.shape[0], -1, *known.shape[2:])
    odd = to.stack([left, middle], 2).reshape(known.shape[0], -1, *known.shape[2:])
    return to.stack([even, odd], 1).reshape(2 * known.shape[0], -1, *known.shape[2:])


@functools.cache
def _coarse(size: int) -> tuple[np.ndarray, np.ndarray]:
    """For a fractal of few pixels: the level of each pixel (size, size), from 0, and what each draw adds to each pixel.

    The first pixel draws nothing.
    """
    draws = np.eye(size * size).reshape(size, size, -1)
    levels, known, step, level = np.zeros((size, size)), np.zeros((1, 1, size * size)), size, 0
    while step > 1:
        half = step // 2
        places = [np.s_[half::step, half::step], np.s_[::step, half::step], np.s_[half::step, ::step]]
        inside, right, below = (draws[place] for place in places)
        known = _finer(known, inside, right, below, 1.0, np)
        for place in places:
            levels[place] = level
        level, step = level + 1, half
    return levels.astype(np.float32), known.reshape(size * size, -1).astype(np.float32)
