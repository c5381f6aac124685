"""What a mechanism is: a pytree that turns the rate of a fault into the probability of each cell."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri

from noisejax import _checks
from noisejax._calls.fitted import Fitted
from noisejax._checks import Amount
from noisejax._random import sample
from noisejax._random.stream import all_but, layout_of, positions, words
from noisejax._sharding import automatic
from noisejax.tabular._columns import level_of, per_column


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

    def drawn(self, key: Any, tag: str, draw: dict, x: jax.Array, rate: Amount) -> jax.Array:
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
        where = "not_at_random(columns" if self.on is None else f"at_random(columns, {self.on}"
        return f"nj.tabular.{where}, {_shown(self.slope)}, shape={self.shape!r})"


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
        if self.side is None:
            return f"nj.tabular.block(columns, {self.on})"
        where = "not_at_random(columns" if self.on is None else f"at_random(columns, {self.on}"
        return f"nj.tabular.{where}, shape={self.side!r})"


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
        _checks.broadcastable("bursty", "burst", np.shape(self.burst), x.shape)
        row = positions(x, -2)
        state = sample.gilbert(words(key, tag, **draw), rate, self.burst, row == 0)
        # The state is that of the last row at which one was set: no scan, but a running maximum of row and state.
        set_at = jnp.where(state >= 0, 2 * row + state, -1)
        return automatic(lambda states: lax.cummax(states, axis=x.ndim - 2) % 2 == 1, set_at)

    def __repr__(self):
        return f"nj.tabular.bursty({_shown(self.burst)})"


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
        return f"nj.tabular.copula({_shown(self.factor)}, {self.mechanism})"


def _rate(rate: Amount, x: jax.Array, mechanism: str = "") -> jax.Array:
    """The rate of x's rank, clamped. A mechanism that is named has one rate for all rows of a column."""
    rate = jnp.clip(jnp.asarray(rate, jnp.float32), 0, 1)
    rate = rate.reshape((1,) * (x.ndim - rate.ndim) + rate.shape) if rate.ndim else rate
    if mechanism and rate.ndim > 1 and rate.shape[-2] != 1:
        raise ValueError(f"{mechanism}: rate must be the same in all rows, got shape {rate.shape} for x of {x.shape}.")
    return rate


def _shown(value: Any) -> str:
    """A number as it is typed, and an array or a traced value by its dtype and shape."""
    if np.ndim(value) == 0 and isinstance(value, (np.generic, np.ndarray, float)):
        return f"{float(value):g}"
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"


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
