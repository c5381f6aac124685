"""Poisson counts of whole pictures by one table of distribution functions.

The table has the distribution functions of 256 means, those of the grey levels of a uint8 picture, and a count is found
by bisection. A mean between two entries is that of the sum of two counts: the one of the entry below it, and one of the
rest, whose mean is so small that a few terms hold it. Means above the table are rare, and use the expansion of
`sample.poisson`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._random import sample

LARGEST = np.float32(60)  # the largest mean in the table
_MEANS, _COUNTS, _REST = 256, 128, 8  # a mean of 60 exceeds 127, and one of 60 / 255 exceeds 8, less than once in 2**32


def table_of(photons: jax.Array) -> jax.Array:
    """P(count <= k) for k below 128, one row per mean, as one line."""
    mean = (lax.iota(jnp.float32, _MEANS) * _step(photons)).reshape(-1, 1)
    k = np.arange(_COUNTS, dtype=np.float32).reshape(1, -1)
    log_factorial = np.cumsum(np.log(np.maximum(np.arange(_COUNTS), 1))).astype(np.float32).reshape(1, -1)
    logarithm = jnp.log(jnp.maximum(mean, np.float32(1e-30)))
    terms = jnp.where((mean == 0) & (k > 0), 0, jnp.exp(k * logarithm - mean - log_factorial))
    return jnp.cumsum(terms, 1).reshape(-1)


def _step(photons: jax.Array) -> jax.Array:
    """The distance of two means in the table."""
    return jnp.minimum(photons, LARGEST) * np.float32(1 / (_MEANS - 1))


def counts(w: jax.Array, w2: jax.Array, mean: jax.Array, photons: jax.Array, table: jax.Array) -> jax.Array:
    """Poisson counts as float32, one for each pair of words; for means from 0 to `photons`, a scalar."""
    step = jnp.maximum(_step(photons), np.float32(1e-30))
    scaled = mean / step
    nearest = jnp.round(scaled)
    # A grey level that went through float32 is a little off its entry.
    scaled = jnp.where(jnp.abs(scaled - nearest) < np.float32(1e-3), nearest, scaled)
    entry = jnp.clip(jnp.floor(jnp.nan_to_num(scaled)), 0, _MEANS - 1)
    rest = jnp.clip(scaled - entry, 0, 1) * step
    found = _bisected(sample.open_uniform(w), entry, table) + _of_small_mean(sample.open_uniform(w2), rest)

    def with_large_means():
        return jnp.where(mean > LARGEST + 1, sample.poisson(w, mean), found)

    return lax.cond(photons > LARGEST + 1, with_large_means, lambda: found)


def _bisected(u: jax.Array, entry: jax.Array, table: jax.Array) -> jax.Array:
    start = entry.astype(jnp.int32) * _COUNTS
    place, step = start, _COUNTS // 2
    while step:
        below = table.at[place + (step - 1)].get(mode="promise_in_bounds") < u
        place = place + jnp.where(below, step, 0)
        step //= 2
    return (place - start).astype(jnp.float32)


def _of_small_mean(u: jax.Array, mean: jax.Array) -> jax.Array:
    term = jnp.exp(-mean)
    total, found = term, (u > term).astype(jnp.float32)
    for k in range(1, _REST):
        term = term * mean * np.float32(1 / k)
        total = total + term
        found = found + (u > total).astype(jnp.float32)
    return found
