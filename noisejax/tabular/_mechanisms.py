"""Where faults hit: at random given a column, not at random, in a block of values, in bursts, together.

A mechanism is a pytree that is passed to a fault as its last amount. It turns the rate, which is the mean probability
over the fitted distribution, into the probability of each cell.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri

from noisejax import _checks
from noisejax._checks import Amount
from noisejax._contract import Fitted, host_amount
from noisejax._random import sample
from noisejax._random.stream import all_but, layout_of, words
from noisejax.tabular._columns import Columns, level_of, per_column

SHAPES = ("right", "left", "mid", "tail")


class Mechanism(Fitted):
    """Base class of the values that `at_random`, `not_at_random`, `block`, `bursty` and `copula` return."""

    def probability(self, key: jax.Array, x: jax.Array, rate: Amount) -> jax.Array:
        """The probability that each cell of x is hit, broadcastable to x.

        Args:
          key: the key of the fault. Only `block` uses it, to draw its window.
          x: the clean table.
          rate: the mean probability over the fitted distribution, broadcastable to x.
        """
        raise NotImplementedError

    def drawn(self, key: Any, tag: str, draw: dict, x: jax.Array, rate: jax.Array) -> jax.Array:
        """The cells that are hit."""
        return sample.bernoulli(words(key, tag, **draw), self.probability(key, x, rate))


class Logistic(Mechanism):
    """A probability that follows a logistic curve in a column's standardized value."""

    slope: Any
    mean: Any
    std: Any
    points: Any  # standardized values, and their shares: the fitted distribution; shape (2 Q,) or (C, 2 Q)
    shares: Any
    on: int | None = dataclasses.field(metadata={"static": True})
    shape: str = dataclasses.field(metadata={"static": True})
    names: tuple = dataclasses.field(default=(), metadata={"static": True})  # of the fitted columns, for data frames

    def probability(self, key, x, rate):
        rate = _rate(rate, x)
        slope = jnp.asarray(self.slope, jnp.float32)
        fitted = np.shape(self.points)[:-1]
        points, shares = (jnp.asarray(v, jnp.float32) for v in (self.points, self.shares))
        points, shares = (v.reshape((1,) * (x.ndim + 1 - v.ndim) + v.shape) for v in (points, shares))
        curve = slope * _shaped(points, self.shape)
        shift = _shift(curve, shares, rate[..., None] if rate.ndim else rate)
        values = _columns_of("at_random", x, self.on, fitted)
        mean, std = per_column(self.mean, x, values.dtype), per_column(self.std, x, values.dtype)
        z = (values - mean) / jnp.where(std > 0, std, 1)
        p = jax.nn.sigmoid(slope * _shaped(z.astype(jnp.float32), self.shape) + shift)
        p = jnp.where(jnp.isnan(z), rate, p)  # a missing value says nothing: the mean probability
        return jnp.where((rate > 0) & (rate < 1), p, rate)

    def __repr__(self):
        name = "not_at_random" if self.on is None else "at_random"
        return f"<nj.tabular.{name}: {self.shape}, slope {self.slope}>"


class Window(Mechanism):
    """Hits of all values between two quantiles of a column: a window drawn for each key, or one end."""

    knots: Any
    below: Any
    upto: Any
    on: int | None = dataclasses.field(metadata={"static": True})
    side: str | None = dataclasses.field(metadata={"static": True})
    names: tuple = dataclasses.field(default=(), metadata={"static": True})  # of the fitted columns, for data frames

    def probability(self, key, x, rate):
        rate = _rate(rate, x, "block")
        rate = rate.reshape((1,) * (x.ndim - rate.ndim) + rate.shape)
        if self.side is None:
            # One window for each column and table: the draw is shared along the rows.
            start = sample.uniform(words(key, "tabular.block", **all_but(x, (-2,) if x.ndim > 1 else ()))) * (1 - rate)
        else:
            start = (1 - rate) if self.side == "upper" else jnp.zeros_like(rate)
        stop = start + rate
        values = _columns_of("block", x, self.on, np.shape(self.knots)[:-1])
        low, high = level_of(self, start), level_of(self, stop)
        # A value that occurs often is hit with the share of it that lies in the window. Otherwise the rate of a
        # column with few values would be wrong by up to a half.
        part_low, part_high = (_overlap(below, upto, start, stop) for _, below, upto in (low, high))
        low, high = low[0].astype(values.dtype), high[0].astype(values.dtype)
        p = ((values > low) & (values < high)).astype(jnp.float32)
        p = jnp.where(values == high, part_high, p)
        p = jnp.where(values == low, part_low, p)
        p = jnp.where(jnp.isnan(values), rate, p)
        return jnp.where((rate > 0) & (rate < 1), p, rate)

    def __repr__(self):
        return f"<nj.tabular.block: {self.side or 'random window'}>"


class Bursty(Mechanism):
    """Hits that come in bursts along the rows, by the two-state chain of Gilbert."""

    burst: Any
    sees = "batch"  # neighbouring rows

    def probability(self, key, x, rate):
        return _rate(rate, x, "bursty")

    def drawn(self, key, tag, draw, x, rate):
        if x.ndim < 2:
            raise ValueError(f"bursty: x must have an axis of rows, (..., rows, columns), got shape {x.shape}.")
        if (layout := layout_of(key)) is not None and layout[-2]:
            raise ValueError("bursty: bursts run along the rows, which must not be sharded inside in_shard_map.")
        if x.shape[-2] >= 2**30:
            raise ValueError(f"bursty: x must have fewer than 2**30 rows, got {x.shape[-2]}. Split the table.")
        rate = _rate(rate, x, "bursty")
        # Leaving a burst must be so rare that its mean length is `burst`, and entering one no likelier than never
        # leaving the good state: otherwise losses are independent.
        leave = jnp.minimum(1 / jnp.maximum(jnp.asarray(self.burst, jnp.float32), 1), 1 - rate)
        enter = jnp.where(rate < 1, rate * leave / jnp.maximum(1 - rate, 2**-24), 1)
        w = words(key, tag, **draw)
        bad = sample.bernoulli(w, enter)
        good = sample.bernoulli(~w, leave)  # the largest words, as enter + leave <= 1
        row = lax.broadcasted_iota(jnp.int32, w.shape, w.ndim - 2)
        first = row == 0
        bad = jnp.where(first, sample.bernoulli(w, rate), bad)
        # The state is that of the last row at which one was set: no scan, but a running maximum of row and state.
        set_at = jnp.where(bad | good | first, 2 * row + bad.astype(jnp.int32), -1)
        return lax.cummax(set_at, axis=w.ndim - 2) % 2 == 1

    def __repr__(self):
        return f"<nj.tabular.bursty: burst {self.burst}>"


class Copula(Mechanism):
    """Hits of the columns of one row that are correlated, with the probabilities of a different mechanism."""

    factor: Any  # a scalar for equal correlations, or the Cholesky factor (C, C)
    mechanism: Mechanism | None

    def probability(self, key, x, rate):
        if self.mechanism is not None:
            return self.mechanism.probability(key, x, rate)
        return _rate(rate, x)

    def drawn(self, key, tag, draw, x, rate):
        own = sample.normal(words(key, tag, **draw))
        factor = jnp.asarray(self.factor, jnp.float32)
        if factor.ndim:
            if x.ndim == 0 or factor.shape[-1] != x.shape[-1]:
                raise ValueError(
                    f"copula: correlation has {factor.shape[-1]} columns, and x of shape {x.shape} must have as many. "
                    "Give the correlation of the whole table, also inside nj.on_columns."
                )
            latent = jnp.einsum("...c,dc->...d", own, factor, precision=lax.Precision.HIGHEST)
        else:
            shared = sample.normal(words(key, f"{tag}.row", **all_but(x, (-1,) if x.ndim else ())))
            latent = jnp.sqrt(factor) * shared + jnp.sqrt(1 - factor) * own
        p = self.probability(key, x, rate)
        some = (p > 0) & (p < 1)
        return jnp.where(some, latent < ndtri(jnp.where(some, p, 0.5)), p >= 1)

    def __repr__(self):
        return f"<nj.tabular.copula: {self.mechanism or 'completely at random'}>"


def at_random(columns: Columns, on: int | str, slope: Amount = 1.0, *, shape: str = "right") -> Mechanism:
    """Faults at random (MAR): the probability of a hit depends on the value of one column, which is known.

    The probability of a cell is ``sigmoid(slope * g(z) + b)``. Here z is the standardized value of the column `on` in
    the same row, and b is found so that the mean over the fitted distribution is the fault's `rate`. Where the value
    itself is missing, the probability is `rate`.

    Args:
      columns: the fitted distribution of the table, from `fit`.
      on: the conditioning column: its index in the whole table, also inside `noisejax.on_columns`, or its name in the
        schema. Static.
      slope: how strongly the probability depends on z. 0 is completely at random.
      shape: `'right'`, g(z) = z; `'left'`, -z; `'mid'`, 0.75 - abs(z); `'tail'`, abs(z) - 0.75. `'upper'` and `'lower'`
        hit exactly the values beyond a quantile, and have no slope. Static.

    Returns:
      A mechanism.

    References:
      Rubin, "Inference and missing data", Biometrika 63(3), 1976; Schouten, Lugtig and Vink, "Generating missing values
      for simulation purposes", JSCS 88(15), 2018 (the shapes, as in pyampute).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jax.random.normal(jax.random.key(1), (1000, 2))
      >>> old = nj.tabular.at_random(nj.tabular.fit(x), on=0, slope=4.0)
      >>> y = nj.on_columns(nj.bind(nj.tabular.missing, rate=0.3, mechanism=old), (1,))(jax.random.key(0), x)
      >>> lost = jnp.isnan(y[:, 1])
      >>> bool(x[lost, 0].mean() > 0.5), abs(float(lost.mean()) - 0.3) < 0.05
      (True, True)
    """
    _fitted("at_random", columns)
    on = _place("at_random", columns, on)
    _checks.one_of("at_random", "shape", shape, (*SHAPES, "upper", "lower"))
    if shape in ("upper", "lower"):
        names = columns.schema.names
        return Window(columns.knots[on], columns.below[on], columns.upto[on], on=on, side=shape, names=names)
    return _logistic("at_random", columns, on, slope, shape)


def not_at_random(columns: Columns, slope: Amount = 1.0, *, shape: str = "right") -> Mechanism:
    """Faults not at random (MNAR): the probability of a hit depends on the value of the cell itself.

    As `at_random`, with z the standardized value of the cell. ``shape="upper"`` and ``"lower"`` are the threshold form:
    the largest or smallest values of each column are hit, up to the share `rate`.

    Args:
      columns: the fitted distribution of the table, from `fit`.
      slope: how strongly the probability depends on z. 0 is completely at random.
      shape: `'right'`, `'left'`, `'mid'`, `'tail'`, `'upper'` or `'lower'`, as in `at_random`. Static.

    Returns:
      A mechanism.

    References:
      Rubin, "Inference and missing data", Biometrika 63(3), 1976; Schouten, Lugtig and Vink, "Generating missing values
      for simulation purposes", JSCS 88(15), 2018.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(100.0)[:, None]
      >>> largest = nj.tabular.not_at_random(nj.tabular.fit(x), shape="upper")
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.1, mechanism=largest)
      >>> jnp.flatnonzero(jnp.isnan(y[:, 0])).tolist()
      [90, 91, 92, 93, 94, 95, 96, 97, 98, 99]
    """
    _fitted("not_at_random", columns)
    _checks.one_of("not_at_random", "shape", shape, (*SHAPES, "upper", "lower"))
    if shape in ("upper", "lower"):
        names = columns.schema.names
        return Window(columns.knots, columns.below, columns.upto, on=None, side=shape, names=names)
    return _logistic("not_at_random", columns, None, slope, shape)


def block(columns: Columns, on: int | str | None = None) -> Mechanism:
    """Faults in a block of values: all cells whose conditioning value lies in a random window of the quantiles.

    The window is [u, u + rate], with u uniform on [0, 1 - rate], drawn once for each key and column. A value that
    occurs often is hit with the share of it that lies in the window, so the expected rate is `rate` for discrete
    columns too.

    Args:
      columns: the fitted distribution of the table, from `fit`.
      on: the conditioning column: its index in the whole table, or its name in the schema; None for the column that is
        hit. Static.

    Returns:
      A mechanism.

    References:
      Jung et al., "tab-err", the mechanisms EAR (a conditioning column) and ENAR (None), to which ties are added here.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(100.0)[:, None]
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.2, mechanism=nj.tabular.block(nj.tabular.fit(x)))
      >>> lost = jnp.flatnonzero(jnp.isnan(y[:, 0]))
      >>> int(lost[-1] - lost[0] + 1 - len(lost))
      0
    """
    _fitted("block", columns)
    names = columns.schema.names
    if on is None:
        return Window(columns.knots, columns.below, columns.upto, on=None, side=None, names=names)
    on = _place("block", columns, on)
    return Window(columns.knots[on], columns.below[on], columns.upto[on], on=on, side=None, names=names)


def bursty(burst: Amount) -> Mechanism:
    """Faults in bursts along the rows: runs of hit rows with a mean length of `burst`, in each column separately.

    The state follows a Gilbert chain that leaves a burst with probability 1 / burst and enters one so that the share of
    hit rows is the fault's `rate`. The first state is drawn from the stationary distribution. This needs
    ``burst >= 1 / (1 - rate)``; for shorter bursts rows are hit independently.

    Args:
      burst: the mean length of a burst in rows, at least 1, broadcastable to x but the same in all rows.

    Returns:
      A mechanism, for tables in the order of time. It reads neighbouring rows: it works neither inside
      `noisejax.per_example` nor with ``exact=True``.

    Raises:
      ValueError: a burst shorter than one row.

    References:
      Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39(5), 1960.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((10_000, 1))
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.2, mechanism=nj.tabular.bursty(10.0))
      >>> lost = jnp.isnan(y[:, 0]).astype(int)
      >>> starts = int((jnp.diff(lost) == 1).sum())
      >>> bool(7 < lost.sum() / starts < 13)
      True
    """
    return Bursty(host_amount("bursty", "burst", burst, _burst))


def copula(correlation: Amount, mechanism: Mechanism | None = None) -> Mechanism:
    """Faults whose hits are correlated between columns: a Gaussian copula, with the rate of each column unchanged.

    Each row has a Gaussian variable for every column, with the given correlation. A cell is hit if its variable lies
    below the normal quantile of its probability.

    Args:
      correlation: one correlation in [0, 1] for all pairs of columns, or a correlation matrix (C, C) of the whole table
        that is positive semidefinite, known on the host.
      mechanism: the mechanism that gives the probabilities; None for completely at random.

    Returns:
      A mechanism.

    Raises:
      ValueError: a correlation outside [0, 1], or a matrix that is no correlation matrix.

    References:
      Nelsen, "An introduction to copulas", Springer, 2006.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1000, 2))
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.3, mechanism=nj.tabular.copula(1.0))
      >>> bool((jnp.isnan(y[:, 0]) == jnp.isnan(y[:, 1])).all())
      True
    """
    if mechanism is not None and (not isinstance(mechanism, Mechanism) or isinstance(mechanism, (Bursty, Copula))):
        raise TypeError(
            "copula: mechanism must be None, at_random(...), not_at_random(...) or block(...), which give "
            f"probabilities, got {mechanism!r}."
        )
    if np.ndim(correlation) == 0:
        return Copula(host_amount("copula", "correlation", correlation, _correlation), mechanism)
    matrix = np.asarray(correlation, np.float64)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    if not square or not np.allclose(matrix, matrix.T, atol=1e-6) or not np.allclose(np.diag(matrix), 1, atol=1e-6):
        raise ValueError(
            f"copula: correlation must be a symmetric matrix with ones on its diagonal, or one number, got {matrix!r}."
        )
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-6 * len(matrix):
        raise ValueError(
            f"copula: correlation must be positive semidefinite, and its smallest eigenvalue is {values[0]:g}. "
            "Correlations of different pairs of columns contradict each other."
        )
    return Copula((vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32), mechanism)


_burst = _checks.Range("at least 1", lambda v: v >= 1, "It is the mean number of consecutive rows that are hit.")
_correlation = _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "For other signs give a matrix.")


def _fitted(function: str, columns: Any) -> None:
    if not isinstance(columns, Columns):
        raise TypeError(f"{function}: columns must be fitted, nj.tabular.fit(table), got {columns!r}.")


def _place(function: str, columns: Columns, on: Any) -> int:
    if isinstance(on, str):
        return columns.schema.place(on)
    if not isinstance(on, (int, np.integer)) or isinstance(on, bool):
        raise TypeError(f"{function}: on must be the index or the name of a column, got {on!r}.")
    size = len(columns.schema)
    if not -size <= on < size:
        raise IndexError(f"{function}: on must be one of the {size} columns, got {on}.")
    return int(on) % size


def _logistic(function: str, columns: Columns, on: int | None, slope: Any, shape: str) -> Logistic:
    slope = host_amount(function, "slope", slope, _checks.real)
    if np.ndim(slope) != 0:
        raise ValueError(f"{function}: slope must be one number, got shape {np.shape(slope)}.")
    pick = slice(None) if on is None else on
    mean, std = columns.mean[pick], columns.std[pick]
    atoms = columns.upto[pick] - columns.below[pick]
    gaps = np.append(columns.below[pick][..., 1:], np.ones_like(columns.below[pick][..., :1]), axis=-1)
    gaps = np.maximum(gaps - columns.upto[pick], 0)
    points = np.concatenate([columns.knots[pick], columns.between[pick]], axis=-1)
    points = (points - mean[..., None]) / np.where(std > 0, std, 1)[..., None]
    shares, names = np.concatenate([atoms, gaps], axis=-1), columns.schema.names
    return Logistic(slope, mean, std, points, shares, on=on, shape=shape, names=names)


def _rate(rate: Amount, x: jax.Array, mechanism: str = "") -> jax.Array:
    """The rate of x's rank, clamped. A mechanism that is named has one rate for all rows of a column."""
    rate = jnp.clip(jnp.asarray(rate, jnp.float32), 0, 1)
    rate = rate.reshape((1,) * (x.ndim - rate.ndim) + rate.shape) if rate.ndim else rate
    if mechanism and rate.ndim > 1 and rate.shape[-2] != 1:
        raise ValueError(f"{mechanism}: rate must be the same in all rows, got shape {rate.shape} for x of {x.shape}.")
    return rate


def _shaped(z: jax.Array, shape: str) -> jax.Array:
    if shape in ("mid", "tail"):
        z = jnp.abs(z) - 0.75
    return -z if shape in ("left", "mid") else z


def _shift(curve: jax.Array, shares: jax.Array, rate: jax.Array) -> jax.Array:
    """The b for which the mean of sigmoid(curve + b) over the distribution is the rate, differentiable in both."""
    fixed, level = lax.stop_gradient(curve), lax.stop_gradient(jnp.clip(rate, 1e-7, 1 - 1e-7))
    shape = jnp.broadcast_shapes(fixed.shape[:-1], level.shape[:-1] if level.ndim else ())
    level = level[..., 0] if level.ndim else level
    low = jnp.broadcast_to(-20.0 - fixed.max(-1), shape)
    high = jnp.broadcast_to(20.0 - fixed.min(-1), shape)

    def mean(shift, curve):
        return jnp.sum(shares * jax.nn.sigmoid(curve + shift[..., None]), axis=-1)

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        less = mean(middle, fixed) < level
        return jnp.where(less, middle, low), jnp.where(less, high, middle)

    low, high = lax.fori_loop(0, 40, halve, (low, high))
    shift = (low + high) / 2
    # One step of Newton's method at the solution: it changes nothing but carries the derivatives of the implicit
    # function theorem, db = (drate - dmean) / mean'.
    smooth = jax.nn.sigmoid(fixed + shift[..., None])
    steep = jnp.maximum(jnp.sum(shares * smooth * (1 - smooth), axis=-1), 1e-12)
    target = rate[..., 0] if rate.ndim else rate
    residual = target - mean(shift, curve)
    return shift + (residual - lax.stop_gradient(residual)) / steep


def _columns_of(function: str, x: jax.Array, on: int | None, fitted: tuple[int, ...]) -> jax.Array:
    """The column `on` of x as one column, or all columns, which must be as many as were fitted."""
    values = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
    if x.ndim == 0 or (on is None and fitted and fitted[0] != x.shape[-1]) or (on is not None and on >= x.shape[-1]):
        wanted = fitted[0] if fitted else (on or 0) + 1
        raise ValueError(
            f"{function}: the mechanism was fitted to a table of at least {wanted} columns, and x has shape {x.shape}. "
            "Fit the whole table, also inside nj.on_columns."
        )
    return values if on is None else lax.slice_in_dim(values, on, on + 1, axis=x.ndim - 1)


def _overlap(below: jax.Array, upto: jax.Array, start: jax.Array, stop: jax.Array) -> jax.Array:
    """The share of a value's own interval of the distribution function that lies in a window."""
    common = jnp.minimum(upto, stop) - jnp.maximum(below, start)
    return jnp.clip(common / jnp.where(upto > below, upto - below, 1), 0, 1)
