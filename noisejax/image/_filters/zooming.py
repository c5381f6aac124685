"""Enlargements of a picture about its centre, by interpolation along one axis after the other."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def places(n: int, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where n enlarged pixels lie: two neighbouring pixels, and the weight of the second.

    A central piece of ceil(n / factor) pixels becomes round(piece * factor) pixels, the first and the last at the same
    places, and the central n of them remain.
    """
    piece = math.ceil(n / factor)
    first = (n - piece) // 2
    enlarged = round(piece * factor)
    trim = (enlarged - n) // 2
    place = first + (np.arange(n) + trim) * ((piece - 1) / max(enlarged - 1, 1))
    low = np.clip(np.floor(place).astype(np.int32), 0, n - 1)
    return low, np.minimum(low + 1, n - 1), (place - low).astype(np.float32)


def interpolated(x: jax.Array, low: jax.Array, high: jax.Array, share: jax.Array) -> jax.Array:
    """Linear interpolation along the first axis."""
    share = share.reshape(-1, *(1,) * (x.ndim - 1))
    below, above = (x.at[index].get(mode="promise_in_bounds") for index in (low, high))
    return below + share * (above - below)


def enlarged(x: jax.Array, factor: float) -> jax.Array:
    """One picture (H, W, C), enlarged about its centre."""
    rows, columns = (tuple(map(jnp.asarray, places(n, factor))) for n in x.shape[:2])
    tall = interpolated(x, *rows)
    return jnp.swapaxes(interpolated(jnp.swapaxes(tall, 0, 1), *columns), 0, 1)


def mean_of_enlargements(x: jax.Array, factors: Sequence[float]) -> jax.Array:
    """The mean of a picture (H, W, C) and its enlargements."""
    rows, columns = (
        tuple(jnp.asarray(np.stack(part)) for part in zip(*(places(n, f) for f in factors), strict=True))
        for n in x.shape[:2]
    )

    def add(total, places):
        (low, high, share), (left, right, weight) = places
        tall = interpolated(x, low, high, share)
        weight = weight.reshape(1, -1, 1)
        before, after = (tall.at[:, index].get(mode="promise_in_bounds") for index in (left, right))
        return total + before + weight * (after - before), None

    return lax.scan(add, x, (rows, columns))[0] / (len(factors) + 1)
