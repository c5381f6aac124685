"""How the length of a text changes under static shapes: slots for each entry, of which the used ones are written."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Mask, Moved
from noisejax._padded import Padded
from noisejax._random.stream import multiply_wide, words_like

INTEGERS: tuple[str, ...] = ("integers",)
SPACES = " \t\n\r\xa0"
OF = ("eligible", "all")  # what a rate counts


class Slot(NamedTuple):
    """One place in which each entry of a text may emit an entry of the result, in the order of the slots."""

    used: jax.Array
    values: jax.Array
    source: jax.Array | None = None  # the place that the emitted entry came from; None for an inserted one


def check_integers(function: str, x: Any) -> None:
    """Requires integers with no axes after the one that lengths count along."""
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(
            f"{function}: x must hold integers, code points or token ids, got {x.dtype}{list(x.shape)}. "
            "For strings: nj.text.encode(strings)."
        )


def check_shape(function: str) -> Callable:
    """The check of the shape of a text, by the name of the function."""

    def check(shape, batch_ndim, **_) -> None:
        if len(shape) != batch_ndim + 1:
            raise ValueError(
                f"{function}: x must have one number for each place, so values of shape (*batch, L), got shape {shape} "
                f"with {batch_ndim} batch axes."
            )

    return check


def emit(x: Padded, slots: list[Slot], capacity: int | None = None) -> Moved:
    """The entries of all used slots, one after the other, cut at the capacity. Places beyond the length are 0.

    The capacity is that of x unless it is given. Each used slot is written to the number of used ones before it, row by
    row, so a device that holds whole texts communicates with no other.
    """
    capacity = x.values.shape[-1] if capacity is None else capacity
    count = sum((slot.used.astype(jnp.int32) for slot in slots), jnp.zeros_like(x.values, jnp.int32))
    end = lax.cumsum(count, axis=count.ndim - 1)
    total = end[..., -1] if end.shape[-1] else jnp.zeros(end.shape[:-1], jnp.int32)
    place = end - count
    values = jnp.zeros((*total.shape, capacity), x.values.dtype)
    source = jnp.full(values.shape, -1, jnp.int32)
    for slot in slots:
        where = jnp.where(slot.used, place, capacity)
        values = written(values, where, slot.values)
        if slot.source is not None:
            source = written(source, where, slot.source)
        place = place + slot.used.astype(jnp.int32)
    lengths = jnp.minimum(total, capacity)
    return Moved(Padded(values, lengths, x.lost + (total - lengths)), source)


def written(onto: jax.Array, place: jax.Array, entries: jax.Array) -> jax.Array:
    """Entries written at places along the last axis; places beyond it are dropped."""

    def write(onto, place, entries):
        return onto.at[place].set(entries, mode="drop")

    for _ in range(onto.ndim - 1):
        write = jax.vmap(write)
    return write(onto, place, jnp.broadcast_to(entries, place.shape))


def _left(x: jax.Array, n: int) -> jax.Array:
    """Each entry's n-th neighbour on the right along the last axis; 0 at the end."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * (x.ndim - 1) + [(-n, n, 0)])


def following(x: jax.Array) -> jax.Array:
    """The next entry of each along the last axis; 0 at the end."""
    return _left(x, 1) if x.shape[-1] else x


def preceding(x: jax.Array) -> jax.Array:
    """The entry before each along the last axis; 0 at the start."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * (x.ndim - 1) + [(1, -1, 0)]) if x.shape[-1] else x


def blank(codes: jax.Array) -> jax.Array:
    """Where code points are spaces, tabs, line breaks and non-breaking spaces, which separate words."""
    return jnp.isin(codes, jnp.asarray([*map(ord, SPACES)], codes.dtype))


def places(x: jax.Array) -> jax.Array:
    """The index of every entry along the last axis, of x's shape."""
    return jnp.zeros_like(x, jnp.int32) + lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)


def every_other(hit: jax.Array) -> jax.Array:
    """The first, third, fifth, ... of each run of hits along the last axis: disjoint pairs, from left to right."""
    place = places(hit)
    # The last place without a hit, at or before each.
    missed = lax.cummax(jnp.where(hit, -1, place), axis=hit.ndim - 1)
    return hit & ((place - missed) % 2 == 1)


def per_text(function: str, name: str, amount: Amount, x: Padded) -> jax.Array:
    """An amount as float32 of x's rank, or a scalar. It may differ from text to text and from place to place."""
    value = jnp.asarray(amount, jnp.float32)
    _checks.broadcastable(function, name, value.shape, x.values.shape)
    if value.ndim > 1:
        _checks.unambiguous(function, name, value.shape, x.values.shape)
    return value.reshape((1,) * (x.values.ndim - value.ndim) + value.shape) if value.ndim else value


def other_than(key, tag: str, x: jax.Array, table: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """One entry of the table for every place, uniformly, and one that differs from x's, uniformly among the others.

    Both come from one word: the high part of its product with n is the index, and the low part chooses how far the
    index moves if it is that of x's own value.
    """
    w, n = words_like(key, tag, x), len(table)
    values = jnp.asarray(table, x.dtype)
    low, high = multiply_wide(w, jnp.uint32(n))
    first = pick(values, high.astype(jnp.int32))
    if n == 1:
        return first, first
    _, step = multiply_wide(low, jnp.uint32(n - 1))
    index = (high + step + jnp.uint32(1)).astype(jnp.int32)
    index = jnp.where(index >= n, index - n, index)
    return first, jnp.where(first == x, pick(values, index), first)


def pick(table: Any, index: jax.Array) -> jax.Array:
    """Entries of a table by an index that is within it."""
    return jnp.asarray(table).at[index].get(mode="promise_in_bounds")


def numbers_of_words(numbers: Any, x: jax.Array) -> jax.Array:
    """The number of the word of each token, as the user gives it, int32 of x's shape and in bounds."""
    return jnp.broadcast_to(jnp.clip(jnp.asarray(numbers), 0, x.shape[-1] - 1).astype(jnp.int32), x.shape)


def host_data(x: Padded) -> np.ndarray:
    """Where a text of NumPy arrays is data."""
    return np.arange(x.values.shape[-1]) < np.asarray(x.lengths)[..., None]


def of_all(rate: Amount, cost: jax.Array, data: Mask) -> jax.Array:
    """The probability of a hit at which the expected edits are a share `rate` of all characters of each text.

    Args:
      cost: float32 of the text's shape: the expected edits of a hit at each character, 0 where none is possible.
      data: where the text is data; None for everywhere.
    """
    data = jnp.ones_like(cost, bool) if data is None else jnp.broadcast_to(data, cost.shape)
    total = jnp.sum(data, axis=-1, keepdims=True, dtype=jnp.float32)
    able = jnp.sum(jnp.where(data, cost, 0), axis=-1, keepdims=True, dtype=jnp.float32)
    return jnp.asarray(rate * total / jnp.maximum(able, 2**-20))


def reaches(function: str, rate: Any, of: str, cost: Any, data: Any, what: str) -> None:
    """Requires that texts known on the host have enough eligible characters for a rate of all characters."""
    if of != "all" or not isinstance(rate, np.ndarray) or rate.size != 1:
        return
    data = np.ones(cost.shape, bool) if data is None else np.broadcast_to(data, cost.shape)
    most = np.where(data, cost, 0).sum(-1) / np.maximum(data.sum(-1), 1)
    if np.any(wrong := (most < float(rate.reshape(()))) & (data.sum(-1) > 0)):
        raise ValueError(
            f"{function}: rate must be at most the share of characters {what}, got {float(rate.reshape(()))} for a "
            f"text with a share of {most[wrong].min():.3f}. Use of='eligible' for a rate of those."
        )
