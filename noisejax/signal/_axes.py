"""What faults of signals share: the axis of time, draws for examples and channels, and steps that are read again.

A draw for each step belongs to the number of the step. It does not depend on how many steps there are, so a recording
that is cut into windows, or padded to a different length, has the draws of the whole.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from noisejax import _checks
from noisejax._checks import Amount
from noisejax._contract import Mask
from noisejax._random import sample
from noisejax._random.stream import Stream, along, fold, numbers_along, positions, words
from noisejax._sharding import automatic, computed_once

MODES = ("example", "channel")


def time_axis(function: str, x: jax.Array, axis: int | None) -> int:
    """The axis of time: by default the second one, or the only one of a single signal."""
    axis = min(1, x.ndim - 1) if axis is None else axis
    if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"{function}: axis must be an axis of x, the axis of time, got {axis!r} for x of shape {x.shape}."
        )
    return axis % x.ndim


def channel_axes(x: jax.Array, axis: int) -> tuple[int, ...]:
    """All axes but those of examples, which is the first one, and of time."""
    return tuple(n for n in range(1 if axis else 0, x.ndim) if n != axis)


def one_each(function: str, x: jax.Array, axis: int, mode: str) -> dict:
    """The draw of one word for each example, or for each channel of each example."""
    _checks.one_of(function, "mode", mode, MODES)
    channels = channel_axes(x, axis)
    return along(x, [n for n in range(x.ndim) if n != axis and (mode == "channel" or n not in channels)])


def steps(key: Any, x: jax.Array, axis: int, offset: Any = 0) -> Stream:
    """A stream for each step, to be used with a draw that `one_each` makes."""
    return fold(key, numbers_along(key, x, axis) + offset)


def chosen(key: Any, function: str, x: jax.Array, axis: int, mode: str, rate: Amount) -> jax.Array:
    """The examples or channels that are hit as a whole."""
    rate = jnp.asarray(rate)
    same_at_all_times(function, "rate", rate, axis)
    return sample.bernoulli(words(key, f"signal.{function}", **one_each(function, x, axis, mode)), rate)


def same_at_all_times(function: str, name: str, value: Any, axis: int) -> None:
    value = jnp.asarray(value)
    if value.ndim and value.shape[axis] != 1:
        raise ValueError(f"{function}: {name} must not vary along axis {axis}, that of time, got shape {value.shape}.")


def same_in_all_channels(function: str, name: str, value: Any, x: jax.Array, axis: int) -> None:
    value = jnp.asarray(value)
    if value.ndim and any(value.shape[n] != 1 for n in channel_axes(x, axis)):
        raise ValueError(
            f"{function}: {name} is shared by all channels of an example, got shape {value.shape} for x of {x.shape}. "
            "Give it one channel, or pass mode='channel' where the function has it."
        )


def extent(x: jax.Array, axis: int, where: Mask) -> jax.Array:
    """The number of steps up to the last one that is data, for each example: int32."""
    if where is None:
        return jnp.int32(x.shape[axis])
    valid = jnp.any(where, axis=channel_axes(x, axis), keepdims=True)
    return jnp.max(jnp.where(valid, positions(x, axis) + 1, 0), axis=axis, keepdims=True, initial=0)


def latest(mask: jax.Array, axis: int) -> jax.Array:
    """The last step so far at which the mask is True, and -1 before the first: of bits, not by a scan.

    The mask of 32 steps is one word, whose highest bit up to a step tells which step of them was the last.
    """
    return automatic(lambda mask: _latest(mask, None, axis), mask)


def latest_flag(mask: jax.Array, flag: jax.Array, axis: int) -> jax.Array:
    """``2 * latest(mask) + flag``, with the flag at that step, and -1 before the first; for fewer than 2**30 steps."""
    return automatic(lambda mask, flag: _latest(mask, flag, axis), mask, flag)


def _latest(mask: jax.Array, flag: jax.Array | None, axis: int) -> jax.Array:
    steps = mask.shape[axis]
    count = -(-steps // _WORD)
    ones = (1,) * (mask.ndim + 1)
    lane = lax.broadcasted_iota(jnp.uint32, (*ones[: axis + 1], _WORD, *ones[axis + 2 :]), axis + 1)
    block = lax.broadcasted_iota(jnp.int32, (*ones[:axis], count, *ones[axis + 1 :]), axis) * _WORD

    def word_of(bits):
        bits = jnp.pad(bits, [(0, count * _WORD - steps if n == axis else 0) for n in range(bits.ndim)])
        bits = bits.reshape(*bits.shape[:axis], count, _WORD, *bits.shape[axis + 1 :])
        return jnp.sum(bits.astype(jnp.uint32) << lane, axis=axis + 1, keepdims=True, dtype=jnp.uint32)

    def highest(word):
        place = (_WORD - 1) - lax.clz(word).astype(jnp.int32)
        found = block + place
        if flag is not None:
            found = 2 * found + ((flags >> (place & (_WORD - 1)).astype(jnp.uint32)) & 1).astype(jnp.int32)
        return jnp.where(word > 0, found, -1)

    word, flags = word_of(mask), jnp.uint32(0) if flag is None else word_of(flag)
    before = lax.cummax(highest(word), axis=axis)
    before = jnp.pad(before, [(1, 0) if n == axis else (0, 0) for n in range(before.ndim)], constant_values=-1)
    before = lax.slice_in_dim(before, 0, count, axis=axis)
    so_far = word & ((jnp.uint32(2) << lane) - 1)  # a shift by 32 gives 0, and so all bits
    found = jnp.where(so_far > 0, highest(so_far), before)
    found = found.reshape(*mask.shape[:axis], count * _WORD, *mask.shape[axis + 1 :])
    return lax.slice_in_dim(found, 0, steps, axis=axis)


_WORD = 32


def read(x: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    """The values of x at other steps, which all channels share, or which each channel has its own."""
    x = computed_once(x)
    return automatic(lambda x, index: jnp.take_along_axis(x, index, axis=axis, mode="clip"), x, index)


def running(increments: jax.Array, factor: Any, axis: int) -> jax.Array:
    """``y[t] = factor * y[t - 1] + increments[t]``, in blocks: two loops as long as the root of the number of steps.

    A sum by doubling has fewer steps, but XLA fuses them, and then computes each one again for the next.
    """
    steps = increments.shape[axis]
    long = max(1, math.isqrt(steps - 1) + 1)
    count = -(-steps // long)
    series = jnp.moveaxis(increments, axis, 0)
    series = lax.pad(
        series, jnp.zeros((), series.dtype), [(0, count * long - steps, 0)] + [(0, 0, 0)] * (series.ndim - 1)
    )
    factor = jnp.asarray(factor, series.dtype)
    factor = jnp.moveaxis(factor, axis, 0)[0] if factor.ndim else factor
    # The position in a block first, then the block.
    blocks = jnp.moveaxis(series.reshape(count, long, *series.shape[1:]), 1, 0)

    def add(total, new):
        total = factor * total + new
        return total, total

    ends, inside = lax.scan(add, jnp.zeros_like(blocks[0]), blocks)
    powers = jnp.broadcast_to(factor, (long, *factor.shape))
    powers = lax.associative_scan(jnp.multiply, powers)
    whole = powers[-1]

    def carry(total, end):
        return whole * total + end, total  # what enters a block is all that came before it

    _, enters = lax.scan(carry, jnp.zeros_like(ends[0]), ends)
    powers = powers[:, None] if powers.ndim > 1 else powers.reshape((long,) + (1,) * (blocks.ndim - 1))
    total = inside + powers * enters[None]
    total = jnp.moveaxis(total, 0, 1).reshape(series.shape)
    return jnp.moveaxis(lax.slice_in_dim(total, 0, steps, axis=0), 0, axis)
