"""Faults of whole rows and columns: swapped, permuted, duplicated and reweighted."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount, Hit, Mask, Spec, array_noise, saturate
from noisejax._random import sample
from noisejax._random.stream import all_but, enter, words, words_like
from noisejax._sharding import automatic, computed_once
from noisejax.tabular._cells import real
from noisejax.tabular._hit import drawn, grouped, options, rows, smallest
from noisejax.tabular._probability import Bursty, Mechanism


def _pairs(x, pairs, **shared) -> None:
    options("swap_columns")(x, **shared)
    integers = isinstance(pairs, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(c, (int, np.integer)) for c in pair)
        for pair in pairs
    )
    if not integers or not pairs:
        raise TypeError(f"swap_columns: pairs must be pairs of columns, such as ((0, 3),), got {pairs!r}.")
    if x.ndim == 0 or any(not -x.shape[-1] <= c < x.shape[-1] for pair in pairs for c in pair):
        raise IndexError(f"swap_columns: pairs must name columns of x, of shape {x.shape}, got {pairs!r}.")
    named = [int(c) % x.shape[-1] for pair in pairs for c in pair]
    if len(set(named)) < len(named):
        raise ValueError(f"swap_columns: each column may be in one of the pairs only, got {pairs!r}.")


@array_noise(_checks.numbers, options=_pairs, ranges={"rate": _checks.rate}, widen=False)
def swap_columns(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    mechanism: Mechanism | None = None,
    *,
    pairs: tuple[tuple[int, int], ...],
    exact: bool = False,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Values in the wrong field: in the rows that are hit, two columns exchange their values.

    Each pair is drawn separately. A row whose two values are equal, or of which one is missing, is not eligible.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns).
      rate: the probability that a row is hit, in [0, 1], a scalar or one value per row, (rows, 1); traced values are
        clamped. 0 is the identity.
      mechanism: where hits fall: `at_random`, or `block` with a conditioning column; None is completely at random.
      pairs: the pairs of columns that exchange their values; each column in at most one. Static.
      exact: whether each pair is exchanged in exactly round(rate * n) of its n eligible rows. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit.

    References:
      Jung et al., "tab-err" (Permutate, for the parts of one field).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.tabular.swap_columns(jax.random.key(0), jnp.array([[1.0, 2.0, 3.0]]), 1.0, pairs=((0, 2),)).tolist()
      [[3.0, 2.0, 1.0]]
    """
    size = x.shape[-1]
    if jnp.ndim(rate) and jnp.shape(rate)[-1] != 1:
        raise ValueError(f"swap_columns: rate is that of rows: give it shape (..., 1), got {jnp.shape(rate)}.")
    partner = np.arange(size)
    number = np.full(size, -1)
    for n, (a, b) in enumerate(pairs):
        partner[a], partner[b] = b % size, a % size
        number[a] = number[b] = n
    other = jnp.take(x, partner, axis=-1, mode="clip")
    paired = (number >= 0).reshape((1,) * (x.ndim - 1) + (-1,))
    eligible = paired & (other != x) & (x == x) & (other == other)
    if where is not None:
        where = jnp.broadcast_to(where, x.shape)
        eligible = eligible & where & jnp.take(where, partner, axis=-1, mode="clip")
    if mechanism is not None and getattr(mechanism, "on", 0 if isinstance(mechanism, Bursty) else None) is None:
        raise ValueError(
            "swap_columns: mechanism must give one probability per row: at_random(...), block(columns, on=...) or "
            f"bursty(...), got {mechanism!r}."
        )
    stream, draw = grouped(key, x, tuple(number))
    hit = drawn(stream, key, "swap_columns", "tabular.swap_columns", draw, x, rate, mechanism, exact, eligible)
    return Hit(hit, other)


def _permuted(x, keep, **shared) -> None:
    options("permute_rows")(x, **shared)
    if x.ndim < 2:
        raise ValueError(f"permute_rows: x must have an axis of rows, (..., rows, columns), got shape {x.shape}.")
    if keep is not None and (not isinstance(keep, (int, np.integer)) or not -x.shape[-1] <= keep < x.shape[-1]):
        raise ValueError(f"permute_rows: keep must be a column of x, of shape {x.shape}, or None, got {keep!r}.")


@array_noise(_checks.numbers, sees="batch", options=_permuted, ranges={"rate": _checks.rate}, widen=False)
def permute_rows(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    keep: int | None = None,
    windows: int = 20,
    exact: bool = False,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Permuted rows: in each column, the cells that are drawn exchange their values among themselves.

    Each column's values are preserved to the bit, and its relation to the other columns is destroyed. The drawn cells
    of a column form one random cycle, so each takes the value of a different cell. If that value happens to be equal,
    the cell is no hit.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns). The whole batch is read.
      rate: the probability that an observed cell is drawn, in [0, 1], broadcastable to x; traced values are clamped. 0
        is the identity.
      keep: a column whose relation to the permuted columns is preserved roughly: cells are exchanged only within one of
        `windows` windows of equally many drawn rows in the order of this column, which itself is unchanged. Static.
      windows: the number of windows, at least 1. Static.
      exact: whether exactly round(rate * n) of the n observed cells of each column are drawn. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit.

    References:
      Breiman, "Random forests", Machine Learning 45, 2001 (permuted columns); Sattolo, "An algorithm to generate a
      random cyclic permutation", Information Processing Letters 22(6), 1986.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(8.0).reshape(4, 2)
      >>> y = nj.tabular.permute_rows(jax.random.key(0), x, 1.0)
      >>> bool((jnp.sort(y, 0) == jnp.sort(x, 0)).all()), bool((y != x).all())
      (True, True)
    """
    if not isinstance(windows, (int, np.integer)) or windows < 1:
        raise ValueError(f"permute_rows: windows must be an integer of at least 1, got {windows!r}.")
    observed = x == x
    if where is not None:
        observed = observed & where
    if keep is not None:
        others = np.arange(x.shape[-1]) != keep % x.shape[-1]
        observed = observed & others.reshape((1,) * (x.ndim - 1) + (-1,))
    w = words_like(key, "tabular.permute_rows", x)
    if exact:
        hit = automatic(smallest, w, observed, jnp.clip(jnp.asarray(rate, jnp.float32), 0, 1))
    else:
        hit = observed & sample.bernoulli(w, rate)
    order = words_like(key, "tabular.permute_rows.order", x)
    low = words_like(key, "tabular.permute_rows.order.low", x)
    like = x[..., :1] * 0 if keep is None else lax.slice_in_dim(x, keep % x.shape[-1], keep % x.shape[-1] + 1, axis=-1)

    def exchanged(x, hit, order, low, like):
        window = _windows(hit, like, windows if keep is not None else 1)
        return _cycled(x, hit, window, order, low)

    value = automatic(exchanged, computed_once(x), hit, order, low, like)
    return Hit(hit & (value != x), value)


def _windows(hit: jax.Array, like: jax.Array, windows: int) -> jax.Array:
    """The window of each drawn cell: its rank among the drawn cells of its column, in the order of `like`."""
    if windows == 1:
        return jnp.zeros(hit.shape, jnp.int32)
    rows = hit.ndim - 2
    order = jnp.argsort(jnp.broadcast_to(like, hit.shape), axis=rows, stable=True)
    sorted_hits = jnp.take_along_axis(hit, order, axis=rows)
    rank = jnp.cumsum(sorted_hits, axis=rows) - 1
    total = jnp.maximum(sorted_hits.sum(rows, keepdims=True), 1)
    window = jnp.minimum((rank * windows) // total, windows - 1).astype(jnp.int32)
    return _placed(window, order, rows)


def _placed(values: jax.Array, order: jax.Array, axis: int) -> jax.Array:
    """Values in an order, each put back where it comes from. A scatter is 30 times as fast as a second sort."""
    return jnp.put_along_axis(jnp.zeros_like(values), order, values, axis=axis, inplace=False)


def _cycled(x: jax.Array, hit: jax.Array, window: jax.Array, order: jax.Array, low: jax.Array) -> jax.Array:
    """Each drawn cell takes the value of the next drawn cell of its window, in a random order."""
    axis = x.ndim - 2
    size = x.shape[axis]
    if size == 0:
        return x
    row = lax.broadcasted_iota(jnp.int32, x.shape, axis)
    group = jnp.where(hit, window, jnp.int32(np.iinfo(np.int32).max))
    group, _, _, source = lax.sort((group, order, low, row), dimension=axis, num_keys=3)
    first = jnp.concatenate(
        [jnp.ones_like(lax.slice_in_dim(group, 0, 1, axis=axis), bool), jnp.diff(group, axis=axis) != 0], axis=axis
    )
    start = lax.cummax(jnp.where(first, row, 0), axis=axis)  # where the window begins, for each place of the order
    last = jnp.concatenate([jnp.diff(group, axis=axis) != 0, jnp.ones_like(first[..., :1, :])], axis=axis)
    following = jnp.where(last, start, row + 1)
    taken = jnp.take_along_axis(source, following, axis=axis)
    taken = jnp.where(group == np.iinfo(np.int32).max, source, taken)
    return jnp.take_along_axis(x, _placed(taken, source, axis), axis=axis)


def _duplicated(x, exact=False, **_) -> None:
    options("duplicate")(x, exact=exact)
    if x.ndim < 2:
        raise ValueError(f"duplicate: x must have an axis of rows, (..., rows, columns), got shape {x.shape}.")


@array_noise(
    _checks.numbers,
    sees="batch",
    options=_duplicated,
    ranges={"rate": _checks.rate, "std": _checks.nonnegative},
    widen=False,
)
def duplicate(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    std: Amount = 0.0,
    *,
    exact: bool = False,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Duplicated rows: a row that is hit becomes a copy of a random other row. The number of rows stays the same.

    To append copies to a table, use `noisejax.frame`.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns). The whole batch is read.
      rate: the probability that a row is hit, in [0, 1], a scalar or one value per row, (rows, 1); traced values are
        clamped. 0 is the identity.
      std: the standard deviation of the normal noise that is added to a copy, in the units of x, broadcastable to x,
        such as ``0.01 * columns.std`` for near duplicates. Integers are rounded.
      exact: whether exactly round(rate * n) of the n rows are hit. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Copies are taken only from rows that hold data in
        every column that is copied.

    Returns:
      An array of x's shape and dtype. The hits are the cells that change.

    References:
      Christen and Pudjijono, "Accurate synthetic generation of realistic personal information", PAKDD 2009 (generated
      duplicates); Elmagarmid, Ipeirotis and Verykios, "Duplicate record detection: a survey", TKDE 19(1), 2007.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.tabular.duplicate(jax.random.key(0), jnp.arange(6.0)[:, None], 0.5, exact=True)
      >>> len(set(y[:, 0].tolist())) < 6
      True
    """
    if jnp.ndim(rate) and jnp.shape(rate)[-1] != 1:
        raise ValueError(f"duplicate: rate is that of rows: give it shape (..., 1), got {jnp.shape(rate)}.")
    data = jnp.ones((*x.shape[:-1], 1), bool)
    if where is not None:
        # A column that is padding in every row is not copied, so it does not count.
        used = where.any(-2, keepdims=True)
        data = (where | ~used).all(-1, keepdims=True) & used.any(-1, keepdims=True)
        data = jnp.broadcast_to(data, (*x.shape[:-1], 1))
    hit = rows(key, "duplicate", x, rate, exact, data)
    draw = all_but(x, (-1,))
    w, low = (words(key, f"tabular.duplicate.row{part}", **draw) for part in ("", ".low"))

    def copied(x, data, w, low):
        axis = x.ndim - 2
        if x.shape[axis] == 0:
            return x
        count = data.sum(axis, keepdims=True, dtype=jnp.int32)
        rank = jnp.cumsum(data, axis=axis, dtype=jnp.int32) - 1
        other = (rank + 1 + sample.integers(w, low, jnp.maximum(count - 1, 1))) % jnp.maximum(count, 1)
        places = jnp.argsort(~data, axis=axis, stable=True)  # the rows that hold data, in order
        source = jnp.take_along_axis(places, jnp.maximum(other, 0), axis=axis)
        return jnp.take_along_axis(x, source, axis=axis)

    value = automatic(copied, computed_once(x), data, w, low)
    near = real(value)
    noise = sample.normal(words_like(key, "tabular.duplicate.noise", x)).astype(near.dtype)
    near = saturate(near + jnp.asarray(std, near.dtype) * noise, x.dtype)
    value = jnp.where(std > 0, near, value)
    different = (value != x) & ~((value != value) & (x != x))
    return Hit(hit & different, value)


def imbalance(key: jax.Array, batch: Any, shares: Amount) -> Any:
    """Shifted class shares: examples are drawn again from the batch so that classes have the given shares.

    The number of examples stays the same. Each new example has a class drawn by the shares and is a random example of
    that class, with replacement. Classes that the batch does not have are left out, and the other shares grow.

    Args:
      key: a JAX key.
      batch: a pair (x, y): any arrays with a leading axis of examples, and integer labels of shape (B,).
      shares: the new share of each class, of shape (K,), at least 0. They are divided by their sum.

    Returns:
      A pair (x, y) of the batch's structure.

    Raises:
      ValueError: shares that are negative or all 0, or labels that are no classes, where they are known on the host.

    References:
      Lipton, Wang and Smola, "Detecting and correcting for label shift with black box predictors", ICML 2018.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> batch = jnp.arange(1000), jnp.arange(1000) % 2
      >>> x, y = nj.tabular.imbalance(jax.random.key(0), batch, jnp.array([0.9, 0.1]))
      >>> 0.87 < float((y == 0).mean()) < 0.93
      True
    """
    stream = enter("imbalance", key)
    if not (isinstance(batch, tuple) and len(batch) == 2):
        raise TypeError(f"imbalance: batch must be a pair (x, y), got a {type(batch).__name__}.")
    x, y = batch
    _checks.native("imbalance", "y", y)
    if getattr(y, "ndim", None) != 1 or not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(
            f"imbalance: y must be integer labels of shape (B,), got {getattr(y, 'dtype', type(y).__name__)}"
            f"{list(np.shape(y))}."
        )
    size = _checks.batch_size("imbalance", (x, y))
    shares = arithmetic_amount("imbalance", "shares", shares, _shares)
    if jnp.ndim(shares) != 1:
        raise TypeError(f"imbalance: shares must have shape (K,), one share per class, got {jnp.shape(shares)}.")
    classes = np.shape(shares)[0]
    cure = f"There is one class for each of the {classes} shares: give shares one entry for every class."
    _checks.labels("imbalance", "y", y, classes, missing="remove them first.", cure=cure)
    return _redrawn(stream, x, y, jnp.asarray(shares, jnp.float32), size)


def _shares(function: str, name: str, value: Any) -> None:
    value = np.asarray(value)
    if np.any(~(value >= 0)) or not 0 < value.sum() < np.inf:
        raise ValueError(f"{function}: {name} must be at least 0, one per class, and not all 0, got {value.tolist()}.")


# Combinators need to know that it is a noise of a batch, which draws from their streams.
vars(imbalance)["__noise__"] = Spec("batch", ("shares",), {"shares": _shares}, (), "batch", {})


@functools.partial(jax.jit, static_argnames="size")
def _redrawn(key: Any, x: Any, y: Any, shares: jax.Array, size: int) -> Any:
    if size == 0:
        return x, y
    label = jnp.asarray(y).astype(jnp.int32)
    valid = (label >= 0) & (label < shares.shape[0])
    label = jnp.where(valid, label, 0)
    counts = jnp.zeros(shares.shape[0], jnp.float32).at[label].add(valid.astype(jnp.float32))
    present = jnp.where(counts > 0, jnp.maximum(shares, 0), 0)
    ends = jnp.cumsum(present)
    u = sample.uniform(words(key, "tabular.imbalance.class", (size,)))
    drawn_class = jnp.sum(u[:, None] * ends[-1] >= ends[None, :-1], axis=-1, dtype=jnp.int32)
    order = jnp.argsort(jnp.where(valid, label, shares.shape[0]), stable=True)
    counts = counts.astype(jnp.int32)
    first = jnp.cumsum(counts) - counts
    w, low = (words(key, f"tabular.imbalance.row{part}", (size,)) for part in ("", ".low"))
    place = first[drawn_class] + sample.integers(w, low, jnp.maximum(counts[drawn_class], 1))
    source = order[jnp.minimum(place, size - 1)]
    return jax.tree.map(lambda leaf: jnp.take(leaf, source, axis=0, mode="clip"), (x, y))
