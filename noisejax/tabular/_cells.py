"""Faults of single cells: missing values, outliers, offsets, wrong units, rounding and signs."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.tabular._columns import Columns, match, per_column
from noisejax.tabular._hit import cells, options
from noisejax.tabular._probability import Mechanism

NUMBERS = ("floats", "uint8 or uint16 images", "integers")  # no booleans: they are codes


def real(x: jax.Array) -> jax.Array:
    """x in the dtype of the arithmetic: float64 for float64 and int64, else float32."""
    return x.astype(jnp.float64 if x.dtype in (jnp.float64, jnp.int64, jnp.uint64) else jnp.float32)


@array_noise(_checks.numbers, options=options("missing"), like_x=("fill",), ranges={"rate": _checks.rate}, widen=False)
def missing(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    mechanism: Mechanism | None = None,
    fill: Amount = np.nan,
    *,
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Missing values: cells become NaN, or a value that means "missing" in a table of codes.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns), or an array of any shape without a mechanism.
      rate: the probability that an observed cell is hit, in [0, 1], broadcastable to x, such as one for each column;
        traced values are clamped. 0 is the identity.
      mechanism: where hits fall: `at_random`, `not_at_random`, `block`, `bursty` or `copula`. None is completely at
        random.
      fill: the value of a missing cell, broadcastable to x. For integers give a value they can hold, such as -1.
      exact: whether each column has exactly round(rate * n) hits among its n observed cells. This reads the whole
        batch. With a mechanism the probabilities are then approximate. Static.
      together: the group number of each column. The columns of a group are hit in the same rows, as in a form left
        half empty. They should have the same rate. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit. NaN in x stays NaN and is no
      hit.

    References:
      Rubin, "Inference and missing data", Biometrika 63(3), 1976; Efraimidis and Spirakis, "Weighted random sampling
      with a reservoir", 2006 (exact counts with a mechanism).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.tabular.missing(jax.random.key(0), jnp.ones((100, 2)), jnp.array([0.1, 0.5]), exact=True)
      >>> jnp.isnan(y).sum(0).tolist()
      [10, 50]
    """
    if not jnp.issubdtype(x.dtype, jnp.floating) and isinstance(fill, float) and np.isnan(fill):
        raise ValueError(f"missing: fill must be a value that x of {x.dtype} can hold, got nan. Give one, such as -1.")
    return cells(key, "missing", x, rate, fill, mechanism, exact, together, where)


_coefficient = _checks.Range("at least 0 and finite", lambda v: (v >= 0) & (v < np.inf), "It scales the distance.")


@array_noise(
    NUMBERS,
    options=options("outlier"),
    ranges={"rate": _checks.rate, "coefficient": _coefficient, "noise": _checks.nonnegative},
    widen=False,
)
def outlier(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    columns: Columns,
    coefficient: Amount = 1.0,
    noise: Amount = 0.1,
    mechanism: Mechanism | None = None,
    *,
    kind: str = "iqr",
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Outliers: cells move beyond the whiskers of their column's box plot.

    With ``kind="iqr"``, values above the column's mean grow by ``coefficient * (Q3 + 1.5 IQR - mean)``, values below it
    shrink by ``coefficient * (mean - Q1 + 1.5 IQR)``, and values equal to it do either. With ``kind="z"``, a cell
    becomes ``mean + coefficient * std`` or ``mean - coefficient * std``. In both kinds normal noise is added, of the
    standard deviation ``noise * IQR`` or ``noise * std``.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns) of numbers.
      rate: the probability that a cell is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      columns: the fitted distribution of the table, from `fit`.
      coefficient: the distance in the unit of its kind, at least 0, broadcastable to x.
      noise: the size of the normal noise, at least 0, broadcastable to x.
      mechanism: where hits fall, as in `missing`.
      kind: `'iqr'` or `'z'`. Static.
      exact, together: as in `missing`.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit. Integers are rounded.

    References:
      Jung et al., "tab-err" (Outlier); Tukey, "Exploratory data analysis", 1977 (the whiskers).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(10.0)[:, None]
      >>> columns = nj.tabular.fit(x)
      >>> y = nj.tabular.outlier(jax.random.key(0), x, 1.0, columns, noise=0.0)
      >>> y[:, 0].tolist()
      [-9.0, -8.0, -7.0, -6.0, -5.0, 14.0, 15.0, 16.0, 17.0, 18.0]
    """
    _checks.one_of("outlier", "kind", kind, ("iqr", "z"))
    match("outlier", columns, x)
    values = real(x)
    mean, std, lower, upper = (
        per_column(v, x, values.dtype) for v in (columns.mean, columns.std, columns.lower, columns.upper)
    )
    sign = sample.bernoulli(words_like(key, "tabular.outlier.sign", x), 0.5)
    unit = (upper - lower) if kind == "iqr" else std
    coefficient, noise = jnp.asarray(coefficient, values.dtype), jnp.asarray(noise, values.dtype)
    spread = noise * unit * sample.normal(words_like(key, "tabular.outlier.noise", x)).astype(values.dtype)
    if kind == "iqr":
        up = (values > mean) | ((values == mean) & sign)
        shift = jnp.where(up, upper + 1.5 * unit - mean, -(mean - lower + 1.5 * unit))
        moved = values + coefficient * shift + spread
    else:
        moved = mean + jnp.where(sign, coefficient, -coefficient) * std + spread
    return cells(
        key, "outlier", x, rate, jnp.where(jnp.isnan(values), values, moved), mechanism, exact, together, where
    )


@array_noise(NUMBERS, options=options("add_delta"), ranges={"rate": _checks.rate, "delta": _checks.real}, widen=False)
def add_delta(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    delta: Amount,
    mechanism: Mechanism | None = None,
    *,
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """A constant offset: cells become ``x + delta``, as from a sensor whose zero has moved.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns) of numbers, or an array of any shape without a mechanism.
      rate: the probability that a cell is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      delta: the offset in the units of x, broadcastable to x: one for each column, or
        ``2 * columns.std`` for two standard deviations. For integers it is rounded, and the sum saturates.
      mechanism: where hits fall, as in `missing`.
      exact, together: as in `missing`.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit. A cell that the offset does not
      change is no hit.

    References:
      Jung et al., "tab-err" (AddDelta).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.tabular.add_delta(jax.random.key(0), jnp.array([[1.0, 2.0]]), 1.0, jnp.array([0.5, 0.0])).tolist()
      [[1.5, 2.0]]
    """
    if jnp.issubdtype(x.dtype, jnp.integer):
        info = jnp.iinfo(x.dtype)
        step = jnp.round(jnp.nan_to_num(delta)) if jnp.issubdtype(jnp.result_type(delta), jnp.floating) else delta
        bound = float(np.nextafter(np.float32(info.max), np.float32(0)))
        size = jnp.clip(jnp.abs(step), 0, bound).astype(x.dtype)
        least, most = (jnp.asarray(np.asarray(end, x.dtype)) for end in (info.min, info.max))  # uint64's is no int64
        up = jnp.where(x > most - size, most, x + size)
        down = jnp.where(x < least + size, least, x - size)
        moved = jnp.where(step >= 0, up, down)
    else:
        moved = real(x) + delta
    return cells(key, "add_delta", x, rate, moved, mechanism, exact, together, where)


@array_noise(
    NUMBERS,
    options=options("wrong_unit"),
    ranges={"rate": _checks.rate, "scale": _checks.real, "offset": _checks.real},
    widen=False,
)
def wrong_unit(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    scale: Amount = 10.0,
    offset: Amount = 0.0,
    mechanism: Mechanism | None = None,
    *,
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Values in the wrong unit: cells become ``scale * x + offset``.

    Common conversions are in `UNITS`, as pairs of scale and offset: pounds to kilograms, inches to centimetres, Celsius
    to Fahrenheit, and so on. A scale of 10, 100 or 0.1 is a shifted decimal point.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns) of numbers, or an array of any shape without a mechanism.
      rate: the probability that a cell is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      scale, offset: the conversion, each broadcastable to x, such as one for each column.
      mechanism: where hits fall, as in `missing`.
      exact, together: as in `missing`.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit. Integers are rounded and
      saturate.

    References:
      Jung et al., "tab-err" (WrongUnit).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> scale, offset = nj.tabular.UNITS["celsius", "fahrenheit"]
      >>> nj.tabular.wrong_unit(jax.random.key(0), jnp.array([[20.0]]), 1.0, scale, offset).tolist()
      [[68.0]]
    """
    values = real(x)
    value = jnp.asarray(scale, values.dtype) * values + jnp.asarray(offset, values.dtype)
    return cells(key, "wrong_unit", x, rate, value, mechanism, exact, together, where)


_UNITS = {
    ("pound", "kilogram"): (0.45359237, 0.0),
    ("ounce", "gram"): (28.349523125, 0.0),
    ("inch", "centimetre"): (2.54, 0.0),
    ("foot", "metre"): (0.3048, 0.0),
    ("mile", "kilometre"): (1.609344, 0.0),
    ("gallon", "litre"): (3.785411784, 0.0),
    ("celsius", "fahrenheit"): (1.8, 32.0),
    ("celsius", "kelvin"): (1.0, 273.15),
}
UNITS = {
    **_UNITS,
    **{(b, a): (1 / scale, -offset / scale) for (a, b), (scale, offset) in _UNITS.items()},
}


def _rounding_options(x, decimals, significant, **shared) -> None:
    options("rounding")(x, **shared)
    for name, value, least in (("decimals", decimals, -9), ("significant", significant, 1)):
        if value is not None and (not isinstance(value, (int, np.integer)) or not least <= value <= 9):
            raise ValueError(f"rounding: {name} must be an integer from {least} to 9, got {value!r}.")


@array_noise(_checks.floats, options=_rounding_options, ranges={"rate": _checks.rate}, widen=False)
def rounding(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    mechanism: Mechanism | None = None,
    *,
    decimals: int = 0,
    significant: int | None = None,
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Values that are rounded: to a number of decimals, or of significant digits. Ties go to the even digit.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns) of floats, or an array of any shape without a mechanism.
      rate: the probability that a cell that rounding changes is hit, in [0, 1], broadcastable to x; traced values are
        clamped. 0 is the identity.
      mechanism: where hits fall, as in `missing`.
      decimals: the number of decimals, from -9 to 9. -1 rounds to tens. Static.
      significant: the number of significant digits, from 1 to 9, which overrides `decimals`. Static.
      exact, together: as in `missing`.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit. Values whose digits lie beyond
      the precision of x are unchanged and no hits.

    References:
      Heitjan and Rubin, "Ignorability and coarse data", Annals of Statistics 19(4), 1991.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.tabular.rounding(jax.random.key(0), jnp.array([12.6, 1263.0]), 1.0, decimals=-1).tolist()
      [10.0, 1260.0]
      >>> nj.tabular.rounding(jax.random.key(0), jnp.array([12.6, 1263.0]), 1.0, significant=2).tolist()
      [13.0, 1300.0]
    """
    values = real(x)
    if significant is None:
        up = decimals >= 0
        scaled = values * jnp.asarray(10.0 ** abs(decimals), values.dtype) if up else values / (10.0 ** abs(decimals))
        whole = jnp.round(scaled)
        result = whole / jnp.asarray(10.0**decimals, values.dtype) if up else whole * (10.0 ** abs(decimals))
    else:
        scaled, result = _significant(values, significant)
    fits = jnp.abs(scaled) < 1 / float(jnp.finfo(x.dtype).eps)  # beyond, every value is whole
    value = jnp.where(fits & jnp.isfinite(values), result, values)
    return cells(key, "rounding", x, rate, value, mechanism, exact, together, where)


def _significant(values: jax.Array, digits: int) -> tuple[jax.Array, jax.Array]:
    """Values scaled to `digits` digits before the point, and rounded there and scaled back."""
    size = jnp.abs(values)
    # The exponent by comparisons with the powers of ten themselves: a logarithm would be wrong next to them.
    powers = 10.0 ** np.arange(-30, 31)
    powers = jnp.asarray(powers, values.dtype)
    reached = size[..., None] >= powers.reshape((1,) * size.ndim + (-1,))
    exponent = jnp.sum(reached, axis=-1, dtype=jnp.int32) - 31  # 10**exponent <= size < 10**(exponent + 1)
    shift = digits - 1 - exponent
    shift = jnp.clip(shift, -30, 30)
    factor = jnp.take(powers, jnp.abs(shift) + 30, mode="clip")
    scaled = jnp.where(shift >= 0, values * factor, values / factor)
    whole = jnp.round(scaled)
    result = jnp.where(shift >= 0, whole / factor, whole * factor)
    return scaled, jnp.where(size >= powers[0], result, values)


@array_noise(NUMBERS, options=options("sign"), ranges={"rate": _checks.rate}, widen=False)
def sign(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    mechanism: Mechanism | None = None,
    *,
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Wrong signs: cells become ``-x``. Zeros are no hits.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns) of floats or signed integers, or an array of any shape without a mechanism.
      rate: the probability that a cell other than 0 is hit, in [0, 1], broadcastable to x; traced values are clamped. 0
        is the identity.
      mechanism: where hits fall, as in `missing`.
      exact, together: as in `missing`.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit.

    Raises:
      TypeError: x holds unsigned integers.

    References:
      Abedjan et al., "Detecting data errors: where are we and what needs to be done?", VLDB 2016 (value errors).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.tabular.sign(jax.random.key(0), jnp.array([1.0, -2.5]), 1.0).tolist()
      [-1.0, 2.5]
    """
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        raise TypeError(f"sign: x must have signs, got {x.dtype}. Cast it to a signed integer or a float first.")
    value = -x
    if jnp.issubdtype(x.dtype, jnp.integer):  # the smallest integer has no opposite
        value = jnp.where(x == jnp.iinfo(x.dtype).min, x, value)
    return cells(key, "sign", x, rate, value, mechanism, exact, together, where)
