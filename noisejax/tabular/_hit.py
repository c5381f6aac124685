"""Which cells a fault hits: drawn, eligible and changed. The same rule serves all faults of cells."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, saturate
from noisejax._random import sample
from noisejax._random.stream import all_but, along, fold, words
from noisejax._sharding import automatic
from noisejax.tabular._probability import Bursty, Mechanism

_FEWEST = 2**31  # rows from which an index no longer fits into 31 bits


def options(function: str):
    """The check of the options that all faults of cells share."""

    def check(x, exact=False, together=None, **_) -> None:
        if not isinstance(exact, bool):
            raise TypeError(f"{function}: exact must be True or False, got {exact!r}.")
        if exact and x.ndim < 2:
            raise ValueError(f"{function}: exact=True needs an axis of rows, (..., rows, columns), got x of {x.shape}.")
        if exact and x.shape[-2] >= _FEWEST:
            raise ValueError(f"{function}: exact=True counts at most 2**31 - 1 rows, got {x.shape[-2]}. Split x.")
        if together is not None:
            if not isinstance(together, tuple):
                raise TypeError(f"{function}: together must be a tuple, one group number per column, got {together!r}.")
            _checks.groups(function, x.shape, together)

    return check


def cells(
    key: Any,
    function: str,
    x: jax.Array,
    rate: Amount,
    value: Any,
    mechanism: Mechanism | None,
    exact: bool,
    together: tuple[int, ...] | None,
    where: Mask,
) -> Hit:
    """A fault that replaces each cell that is hit by its value.

    A cell is eligible if it is not missing, is data, and would change. With `exact`, the number of hits of each column
    is the rate times the number of eligible cells, rounded half to even.
    """
    value = saturate(value, x.dtype)
    eligible = (value != x) & (x == x)
    if where is not None:
        eligible = eligible & where
    tag = f"tabular.{function}"
    stream, draw = (key, along(x, range(x.ndim))) if together is None else grouped(key, x, together)
    return Hit(drawn(stream, key, function, tag, draw, x, rate, mechanism, exact, eligible), value)


def rows(key: Any, function: str, x: jax.Array, rate: Amount, exact: bool, eligible: Any) -> jax.Array:
    """The rows that a fault hits, of shape (..., rows, 1), of those that are eligible."""
    draw = all_but(x, (-1,) if x.ndim else ())
    return drawn(key, key, function, f"tabular.{function}", draw, x, rate, None, exact, eligible)


def grouped(key: Any, x: jax.Array, together: tuple[int, ...]) -> tuple[Any, dict]:
    """A word that depends on the group and not on the column."""
    each = along(x, (-1,))
    ids = lax.broadcast_in_dim(jnp.asarray(together), each["shape"], (x.ndim - 1,), out_sharding=each["sharding"])
    return fold(key, ids), all_but(x, (-1,))


def drawn(
    stream: Any,
    key: Any,
    function: str,
    tag: str,
    draw: dict,
    x: jax.Array,
    rate: Amount,
    mechanism: Mechanism | None,
    exact: bool,
    eligible: Any,
) -> jax.Array:
    """The cells that are hit: with the probabilities of the mechanism, or as many as the rate says."""
    if mechanism is not None and not isinstance(mechanism, Mechanism):
        raise TypeError(
            f"{function}: mechanism must be None, at_random(...), not_at_random(...), block(...), bursty(...) or "
            f"copula(...), got {mechanism!r}."
        )
    if not exact:
        if mechanism is None:
            return eligible & sample.bernoulli(words(stream, tag, **draw), rate)
        return eligible & mechanism.drawn(stream, tag, draw, x, rate)
    if isinstance(mechanism, Bursty):
        raise ValueError(f"{function}: exact=True has no bursts. Leave out exact, or choose a different mechanism.")
    if jnp.ndim(rate) > 1 and jnp.shape(rate)[-2] != 1:
        raise ValueError(f"{function}: with exact=True rate must be the same in all rows, got shape {jnp.shape(rate)}.")
    w = words(stream, tag, **draw)
    if mechanism is not None:
        w = _weighted(w, mechanism.probability(key, x, rate))
    w = jnp.broadcast_to(w, eligible.shape)
    return automatic(smallest, w, eligible, jnp.clip(jnp.asarray(rate, jnp.float32), 0, 1))


def _weighted(w: jax.Array, weight: jax.Array) -> jax.Array:
    """Words whose smallest ones are a draw without replacement, with the given weights (Efraimidis and Spirakis)."""
    priority = sample.exponential(w) / jnp.maximum(weight.astype(jnp.float32), 1e-30)
    return lax.bitcast_convert_type(priority, jnp.uint32)  # nonnegative floats are in the order of their bits


def smallest(w: jax.Array, eligible: jax.Array, rate: jax.Array) -> jax.Array:
    """The cells with the smallest words of each column, as many as the rate says, without a sort.

    Each step counts the eligible words below a threshold, along the rows. Equal words are taken in the order of rows.
    """
    rows = w.shape[-2]
    if w.size == 0:
        return eligible
    # Rows last: counting along neighbours in memory is several times as fast.
    w, eligible = jnp.moveaxis(w, -2, -1), jnp.moveaxis(eligible, -2, -1)
    rate = jnp.moveaxis(rate.reshape((1,) * (w.ndim - rate.ndim) + rate.shape), -2, -1)
    wanted = _rounded_share(rate, eligible.sum(-1, keepdims=True, dtype=jnp.int32))
    # Words that are not eligible become the largest, which is below no threshold.
    threshold, found = _cut(jnp.where(eligible, w, jnp.uint32(2**32 - 1)), wanted)
    row = lax.broadcasted_iota(jnp.uint32, w.shape, w.ndim - 1)
    tied = eligible & (w == threshold)
    last, _ = _cut(jnp.where(tied, row, jnp.uint32(2**32 - 1)), wanted - found, jnp.uint32(rows))
    return jnp.moveaxis(eligible & ((w < threshold) | (tied & (row < last))), -1, -2)


def _cut(values: jax.Array, wanted: jax.Array, most: Any = 2**32 - 1) -> tuple[jax.Array, jax.Array]:
    """The largest threshold, up to `most`, below which at most `wanted` values lie, and how many do.

    Steps alternate between interpolation, which needs only a few for uniform words, and bisection, which needs at most
    32 for any. They end as soon as the count is right.
    """

    def count(threshold):
        return jnp.sum(values < threshold, axis=-1, keepdims=True, dtype=jnp.int32)

    def unfinished(state):
        _, low, high, below, _ = state
        return jnp.any((below != wanted) & (high - low > 1))

    def narrow(state):
        step, low, high, below, above = state
        share = (wanted - below).astype(jnp.float32) / jnp.maximum(above - below, 1).astype(jnp.float32)
        width = high - low
        part = jnp.where(step % 2 == 0, share, 0.5) * width.astype(jnp.float32)
        # float32 holds 24 bits of the width, so the part is kept inside it.
        part = jnp.clip(part, 0, np.nextafter(np.float32(2**32), np.float32(0))).astype(jnp.uint32)
        middle = low + jnp.clip(part, jnp.uint32(1), jnp.maximum(width, 2) - 1)
        found = count(middle)
        open_ = (below != wanted) & (width > 1)
        take, leave = open_ & (found <= wanted), open_ & (found > wanted)
        low, below = jnp.where(take, middle, low), jnp.where(take, found, below)
        high, above = jnp.where(leave, middle, high), jnp.where(leave, found, above)
        return step + 1, low, high, below, above

    none = jnp.zeros(wanted.shape, jnp.uint32)
    top = jnp.full(wanted.shape, most, jnp.uint32)
    all_of_them = count(top)
    # If even the largest threshold leaves at most `wanted` below it, it is the answer.
    enough = all_of_them <= wanted
    low, below = jnp.where(enough, top, none), jnp.where(enough, all_of_them, 0)
    _, low, _, below, _ = lax.while_loop(unfinished, narrow, (jnp.int32(0), low, top, below, all_of_them))
    return low, below


def _rounded_share(rate: jax.Array, count: jax.Array) -> jax.Array:
    """round(rate * count), half to even, exact for all counts: float32 alone would lose the last bits."""
    high, low = count >> 12, count & 4095
    whole = rate * high.astype(jnp.float32) * 4096  # both products are rounded once, to 24 bits
    floor = jnp.floor(whole)
    rest = (whole - floor) + rate * low.astype(jnp.float32)
    wanted = floor.astype(jnp.int32) + jnp.round(rest).astype(jnp.int32)
    return jnp.clip(wanted, 0, count)
