"""The distribution of each column of a training table, fitted once and passed to faults as an amount."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._calls.fitted import Fitted
from noisejax.tabular._schema import Schema

MOST_QUANTILES = 2**20


class Columns(Fitted):
    """The distribution of each of C columns, made by `fit`.

    Faults never measure the batch that they corrupt: what they need to know of a column is here. The distribution
    function is known exactly at up to Q values of each column, the knots, and is interpolated between them. A column
    with at most Q different values is known exactly.

    Args:
      mean, std: of the observed values, shape (C,). The standard deviation is the population's.
      lower, upper: the quartiles, shape (C,).
      knots: the values, ascending, shape (C, Q). The last one is repeated to fill a row.
      below, upto: the shares of values below each knot, and up to and including it, shape (C, Q).
      between: the mean of the values between a knot and the next one, shape (C, Q).
      missing: the share of values that are missing, shape (C,).
      frequencies: the share of each class among the observed values, shape (C, K), with K the largest number of
        classes. It is 0 for columns without classes.
      correlation: Pearson's correlation of the columns, over the rows in which both are observed, shape (C, C).
      schema: the schema of the columns. Static.
    """

    mean: Any
    std: Any
    lower: Any
    upper: Any
    knots: Any
    below: Any
    upto: Any
    between: Any
    missing: Any
    frequencies: Any
    correlation: Any
    schema: Schema = dataclasses.field(metadata={"static": True})

    def __repr__(self):
        return f"nj.tabular.fit(float64[...,{len(self.schema)}])"


def fit(
    table: jax.Array | np.ndarray,
    schema: Schema | None = None,
    *,
    quantiles: int = 257,
    where: jax.Array | np.ndarray | None = None,
) -> Columns:
    """Fits the distribution of each column of a training table, on the host.

    Args:
      table: numbers and codes of shape (N, C). NaN is a missing value.
      schema: the columns' kinds and classes. None means that all columns are numbers, named by their index.
      quantiles: the largest number of values of a column at which its distribution is stored, at least 3. They are
        denser in the tails, and at most 2**20. More make interpolation finer.
      where: True for the values that count, broadcastable to the table.

    Returns:
      The fitted columns. Fit them on training rows only.

    Raises:
      TypeError: the table does not hold real numbers.
      ValueError: the table has no rows or does not fit the schema, a code is not one of its column's classes, or an
        integer is too large for float32, in which faults are computed unless x64 is enabled.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> columns = nj.tabular.fit(jnp.array([[1.0, 0.0], [2.0, 1.0], [3.0, jnp.nan]]))
      >>> columns.mean.tolist(), columns.missing.round(2).tolist()
      ([2.0, 0.5], [0.0, 0.33])
    """
    _checks.native("fit", "table", table)
    if isinstance(table, Tracer):
        raise TypeError("fit: table must not be traced, since it is fitted on the host. Fit it outside of jax.jit.")
    if isinstance(table, jax.Array) and not jnp.issubdtype(table.dtype, jnp.number):
        raise TypeError(f"fit: table must hold numbers, got {_checks.shown(table)}.")
    try:
        given = np.asarray(table)
    except ValueError:
        raise ValueError(f"fit: the rows of table must have one length, got {_checks.shown(table)}.") from None
    if not (np.issubdtype(given.dtype, np.number) or jnp.issubdtype(given.dtype, jnp.floating)):
        raise TypeError(f"fit: table must hold numbers, got {given.dtype}. For data frames use noisejax.frame.encode.")
    if np.iscomplexobj(given):
        raise TypeError(f"fit: table must hold real numbers, got {given.dtype}.")
    if given.ndim != 2 or not given.size:
        raise ValueError(f"fit: table must have shape (N, C) with at least one row and column, got {given.shape}.")
    if not isinstance(quantiles, (int, np.integer)) or not 3 <= quantiles <= MOST_QUANTILES:
        raise ValueError(f"fit: quantiles must be an integer in [3, {MOST_QUANTILES}], got {quantiles!r}.")
    schema = Schema(dict.fromkeys(range(given.shape[1]), "number")) if schema is None else schema
    if not isinstance(schema, Schema):
        raise TypeError(f"fit: schema must be a Schema, got {schema!r}. Write nj.tabular.Schema({{'age': 'number'}}).")
    if len(schema) != given.shape[1]:
        raise ValueError(f"fit: the schema has {len(schema)} columns and the table {given.shape[1]}.")
    single = not jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    values = _survives(given, schema) if single else given.astype(np.float64)
    if where is not None:
        values = np.where(_mask(where, values.shape), values, np.nan)
    infinite = np.isinf(values)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise ValueError(
            f"fit: the table is infinite in row {row} of column {schema.names[column]!r}. Replace infinities by "
            "NaN, which is a missing value."
        )
    _check_codes(values, schema)
    rows = [_distribution(column[~np.isnan(column)], quantiles) for column in values.T]
    fields = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    seen = ~np.isnan(values)
    return Columns(
        **fields,
        missing=1 - seen.mean(0),
        frequencies=_frequencies(values, schema),
        correlation=_correlation(np.where(seen, values, 0.0), seen.astype(np.float64)),
        schema=schema,
    )


def _survives(given: np.ndarray, schema: Schema) -> np.ndarray:
    """The table in float32 and back, in which faults see it. Integers must not change on the way."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = given.astype(np.float32).astype(np.float64)
    for place, column in enumerate(schema):
        if column.kind == "number" or not np.any(lost := values[:, place] != given[:, place].astype(np.float64)):
            continue
        lost = lost & ~np.isnan(values[:, place])
        if lost.any():
            row = np.flatnonzero(lost)[0]
            raise ValueError(
                f"fit: in table, the column {column.name!r} of kind {column.kind!r} holds {given[row, place]} in row "
                f"{row}, which float32 cannot hold: it is exact for integers up to 2**24. Subtract an offset, leave "
                "the column out, or enable x64: jax.config.update('jax_enable_x64', True)."
            )
    return values


def _mask(where: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The values that count."""
    where = _checks.mask("fit", "where", where)
    if isinstance(where, Tracer):
        raise TypeError("fit: where must not be traced, since the table is fitted on the host. Fit it outside of jit.")
    if where.dtype != np.bool_:
        raise TypeError(f"fit: where must be booleans, got {_checks.shown(where)}. Cast it: where.astype(bool).")
    try:
        return np.broadcast_to(np.asarray(where), shape)
    except ValueError:
        raise ValueError(
            f"fit: where must broadcast to the shape of table, {shape}, got shape {where.shape}. For one value for "
            "each row write where[:, None]."
        ) from None


def _check_codes(values: np.ndarray, schema: Schema) -> None:
    for place, column in enumerate(schema):
        if not column.num_classes:
            continue
        codes = values[:, place]
        wrong = ~np.isnan(codes) & ~((codes >= 0) & (codes < column.num_classes) & (codes == np.floor(codes)))
        if wrong.any():
            row = np.flatnonzero(wrong)[0]
            raise ValueError(
                f"fit: the column {column.name!r} of table must hold the codes 0 to {column.num_classes - 1}, got "
                f"{codes[row]:g} in row {row}. Encode its classes first, for instance with noisejax.frame.encode. "
                "Missing codes are NaN."
            )


def _distribution(values: np.ndarray, quantiles: int) -> dict[str, np.ndarray]:
    """The knots of one column's distribution function. A column without values is a constant 0."""
    values = np.sort(values) if values.size else np.zeros(1)
    n = len(values)
    # Levels as the zeros of Chebyshev polynomials are spaced: half the knots for the outer 15 %, where rare faults hit.
    levels = 0.5 * (1 - np.cos(np.pi * np.linspace(0, 1, quantiles)))
    starts = np.flatnonzero(np.concatenate([[True], values[1:] > values[:-1]]))
    few = len(starts) <= quantiles
    knots = values[starts] if few else np.unique(values[np.minimum((levels * n).astype(int), n - 1)])
    first, last = np.searchsorted(values, knots, "left"), np.searchsorted(values, knots, "right")
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    after = np.append(first[1:], n)
    inside = after - last
    between = np.where(inside > 0, (sums[after] - sums[last]) / np.maximum(inside, 1) + values.mean(), knots)

    def padded(row, fill):
        return np.concatenate([row, np.full(quantiles - len(row), fill)])

    return {
        "mean": values.mean(),
        "std": values.std(),
        "lower": np.quantile(values, 0.25),
        "upper": np.quantile(values, 0.75),
        "knots": padded(knots, knots[-1]),
        "below": padded(first / n, 1.0),
        "upto": padded(last / n, 1.0),
        "between": padded(between, knots[-1]),
    }


def _frequencies(values: np.ndarray, schema: Schema) -> np.ndarray:
    most = max(schema.num_classes, default=0)
    table = np.zeros((len(schema), most))
    for place, classes in enumerate(schema.num_classes):
        codes = values[:, place]
        codes = codes[~np.isnan(codes)].astype(int)
        if classes and len(codes):
            table[place, :classes] = np.bincount(codes, minlength=classes) / len(codes)
    return table


def _correlation(filled: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Pearson's correlation over the rows in which both columns are observed; 0 where it is not defined."""
    centre = filled.sum(0) / np.maximum(seen.sum(0), 1)
    filled = (filled - centre) * seen
    n = seen.T @ seen
    sums, squares = filled.T @ seen, (filled**2).T @ seen
    scatter = filled.T @ filled - sums * sums.T / np.maximum(n, 1)
    spread = np.maximum(squares - sums**2 / np.maximum(n, 1), 0)
    product = np.sqrt(spread * spread.T)
    defined = product > 1e-12 * np.sqrt(np.outer(np.diag(squares), np.diag(squares)))
    correlation = np.where(defined, scatter / np.where(defined, product, 1), 0.0)
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1, 1)


def match(function: str, columns: Columns, x: jax.Array) -> None:
    """Requires that the fitted columns are those of x, which `fit` cannot know."""
    if not isinstance(columns, Columns):
        raise TypeError(f"{function}: columns must be fitted, nj.tabular.fit(table), got {columns!r}.")
    size = columns.mean.shape[-1]
    if x.ndim == 0 or x.shape[-1] != size:
        raise ValueError(
            f"{function}: columns were fitted to {size} columns, and x of shape {x.shape} must have as many along its "
            "last axis. Fit the whole table, also inside nj.on_columns."
        )


def per_column(values: Any, x: jax.Array, dtype: Any) -> jax.Array:
    """Values of shape (C,) or (C, ...), with C on the last axis of x's rank."""
    values = jnp.asarray(values, dtype)
    return values.reshape((1,) * (x.ndim - 1) + values.shape) if values.ndim else values


def level_of(fitted: Any, level: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The values at a level of the distribution function: the value, and the shares below it and up to it.

    `fitted` has knots, below and upto of shape (..., Q), and the level has the shape (...).
    """
    knots, below, upto = (jnp.asarray(v, level.dtype) for v in (fitted.knots, fitted.below, fitted.upto))
    knots, below, upto = (v.reshape((1,) * (level.ndim + 1 - v.ndim) + v.shape) for v in (knots, below, upto))
    shape = jnp.broadcast_shapes(level.shape, knots.shape[:-1])
    knots, below, upto = (jnp.broadcast_to(v, (*shape, v.shape[-1])) for v in (knots, below, upto))
    level = jnp.broadcast_to(level, shape)
    place = jnp.sum(upto < level[..., None], axis=-1)  # the first knot up to which the share is at least the level
    place = jnp.minimum(place, knots.shape[-1] - 1)

    def at(values, index):
        return jnp.take_along_axis(values, jnp.maximum(index, 0)[..., None], axis=-1)[..., 0]

    value, low, high = at(knots, place), at(below, place), at(upto, place)
    before, share = at(knots, place - 1), at(upto, place - 1)
    gap = (level < low) & (place > 0)
    part = (level - share) / jnp.where(low > share, low - share, 1)
    inside = before + jnp.clip(part, 0, 1) * (value - before)
    return jnp.where(gap, inside, value), jnp.where(gap, level, low), jnp.where(gap, level, high)


def place_of(function: str, argument: str, columns: Columns, column: Any) -> int:
    """The index of a column of the whole table, from its index or its name in the schema."""
    names = columns.schema.names
    if isinstance(column, str):
        if column not in names:
            known = ", ".join(map(repr, names))
            raise KeyError(f"{function}: {argument} names no column: there is no column {column!r}, only {known}.")
        return columns.schema.place(column)
    if not isinstance(column, (int, np.integer)) or isinstance(column, bool):
        raise TypeError(f"{function}: {argument} must be the index or the name of a column, got {column!r}.")
    if not -len(names) <= column < len(names):
        raise IndexError(f"{function}: {argument} must be one of the {len(names)} columns, got {column}.")
    return int(column) % len(names)
