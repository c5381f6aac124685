"""Boxes and bands: the draws and checks of noises that remove regions.

Axis 0 holds the examples, and regions are drawn for each example separately. If the axes of the region include 0, there
is no axis of examples, and one draw is made. Every region is drawn in closed form, without rejection.
"""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._random import sample
from noisejax._random.stream import along, fold, positions, words


def union_of(region, key, count: int) -> jax.Array:
    """The union of `count` regions, each drawn from its own stream."""
    numbers = jnp.arange(count)
    return jnp.any(jax.vmap(region)(fold(key, numbers), numbers), axis=0)


def draw_of_examples(x: jax.Array, axes: tuple[int, ...]) -> dict:
    return along(x, () if 0 in {axis % x.ndim for axis in axes} else (0,))


def draw_integers(key, tag: str, like: dict, n) -> jax.Array:
    return sample.integers(words(key, tag, **like), words(key, f"{tag}.low", **like), n)


def within(x: jax.Array, axis: int, start: jax.Array, length: jax.Array) -> jax.Array:
    place = positions(x, axis)
    return (place >= start) & (place < start + length)


def plane_axes(function: str, x: jax.Array, axes: tuple[int, ...], count: int | None = 2) -> tuple[int, ...]:
    if isinstance(axes, tuple) and (len(axes) == count or (count is None and axes)):
        found = _checks.axes(function, "axes", axes, x.ndim)
        _checks.short(function, x.shape, found)
        return found
    raise ValueError(f"{function}: axes must name {count or 'some'} axes of x, such as (-3, -2), got {axes!r}.")


def check_interval(function: str, name: str, value: tuple[float, float], low: float, high: float) -> None:
    pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, (int, float)) for end in value)
    if not (pair and low <= value[0] <= value[1] <= high):
        raise ValueError(f"{function}: {name} must be a pair low <= high within [{low}, {high}], got {value!r}.")


def check_count(function: str, name: str, value: int) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (whole and 1 <= value < 2**31):
        raise ValueError(f"{function}: {name} must be a positive integer, got {value!r}.")
