"""Distributions that drift along the rows of a table."""

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount, Hit, Mask, array_noise, fault
from noisejax._random import sample
from noisejax._random.stream import all_but, row_numbers, words
from noisejax.tabular._cells import NUMBERS, real

KINDS = ("sudden", "gradual", "incremental", "recurring")


def drift_weight(
    time: Amount,
    position: Amount,
    width: Amount = 0.0,
    *,
    kind: str = "incremental",
    period: float | None = None,
) -> jax.Array:
    """How far a drift has come at each time: ``f(t) = 1 / (1 + exp(-4 (t - position) / width))``, from 0 to 1.

    Use it as the rate of a different noise: with `noisejax.labels.flip_by` it makes concepts drift, and with
    `missing` it makes a sensor fail gradually.

    Args:
      time: the times, such as row numbers, of any shape.
      position: the time at which f is 1/2.
      width: the length of the transition, at least 0. f has the slope 1 / width at the position. 0 is a jump.
      kind: `'sudden'` ignores the width, `'gradual'` and `'incremental'` use it, and `'recurring'` replaces
        ``t - position`` by a triangle wave of the given period, which is 0 at the position and first rises. Static.
      period: the period of `'recurring'`, above 0. Static.

    Returns:
      float32 weights of the common shape.

    References:
      Bifet et al., "MOA: massive online analysis", JMLR 11, 2010 (the sigmoid).

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> nj.tabular.drift_weight(jnp.array([0.0, 50.0, 100.0]), 50.0, 20.0).round(2).tolist()
      [0.0, 0.5, 1.0]
    """
    _drift_options("drift_weight", kind, period)
    time, position, width = (
        arithmetic_amount("drift_weight", name, amount, inside)
        for name, amount, inside in (
            ("time", time, _checks.real), ("position", position, _checks.real), ("width", width, _checks.nonnegative)
        )
    )  # fmt: skip
    shapes = [jnp.shape(amount) for amount in (time, position, width)]
    try:
        jnp.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            "drift_weight: time, position and width must have shapes that broadcast, got "
            f"{', '.join(map(str, shapes))}."
        ) from None
    passed = jnp.asarray(time, jnp.float32) - jnp.asarray(position, jnp.float32)
    if period is not None:
        phase = passed / period + 0.25
        passed = period * (0.25 - jnp.abs(phase - jnp.floor(phase) - 0.5))
    width = jnp.asarray(0.0 if kind == "sudden" else width, jnp.float32)
    smooth = jax.nn.sigmoid(4 * passed / jnp.where(width > 0, width, 1))
    return jnp.where(width > 0, smooth, (passed >= 0).astype(jnp.float32))


def _drift_options(function: str, kind, period) -> None:
    _checks.one_of(function, "kind", kind, KINDS)
    if (kind == "recurring") != (period is not None):
        raise ValueError(f"{function}: period belongs to kind='recurring', got kind={kind!r} and period={period!r}.")
    if period is not None and not _checks.scalar(function, "period", period, 0) > 0:
        raise ValueError(f"{function}: period must be above 0, got {period!r}.")


def _check_options(x, kind, period) -> None:
    _drift_options("drift", kind, period)
    if x.ndim < 2:
        raise ValueError(f"drift: x must have an axis of rows, (..., rows, columns), got shape {x.shape}.")


@array_noise(
    NUMBERS,
    options=_check_options,
    ranges={
        "shift": _checks.real,
        "position": _checks.real,
        "width": _checks.nonnegative,
        "scale": _checks.real,
        "time": _checks.real,
    },
    widen=False,
)
def drift(
    key: jax.Array,
    x: jax.Array,
    shift: Amount,
    position: Amount,
    width: Amount = 0.0,
    scale: Amount = 1.0,
    time: Amount | None = None,
    *,
    kind: str = "sudden",
    period: float | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Covariate drift: from some row on, columns are shifted and scaled.

    The new value of a cell is ``scale * x + shift``. With ``kind="incremental"`` the values move gradually,
    ``x + f(t) * (new - x)``. With the other kinds each row is either old or new: new with probability f(t). See
    `drift_weight` for f.

    Args:
      key: a JAX key; ``kind="incremental"`` does not use it.
      x: a table (..., rows, columns) of numbers, in the order of time.
      shift: the offset of the new distribution in the units of x, broadcastable to x. 0 is the identity.
      position: the time of the middle of the transition.
      width: the length of the transition, in the unit of time, at least 0.
      scale: the factor of the new distribution, broadcastable to x.
      time: the time of each row, broadcastable to x, such as (rows, 1). None numbers the rows 0, 1, ... Give the global
        row numbers if x is a part of a table.
      kind: `'sudden'`, `'gradual'`, `'incremental'` or `'recurring'`. Static.
      period: the period of `'recurring'`, in the unit of time. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype. Integers are rounded.

    References:
      Gama et al., "A survey on concept drift adaptation", ACM Computing Surveys 46(4), 2014 (the kinds); Bifet et al.,
      "MOA: massive online analysis", JMLR 11, 2010 (the transition).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.tabular.drift(jax.random.key(0), jnp.zeros((4, 1)), 5.0, position=2)[:, 0].tolist()
      [0.0, 0.0, 5.0, 5.0]
    """
    if time is None:
        time = row_numbers(key, x)
    weight = drift_weight(time, position, width, kind=kind, period=period)
    values = real(x)
    new = jnp.asarray(scale, values.dtype) * values + jnp.asarray(shift, values.dtype)
    if kind == "incremental":
        value = values + weight.astype(values.dtype) * (new - values)
        value = jnp.where(jnp.isinf(values), new, value)
        drawn = True
    else:
        value = new
        drawn = sample.bernoulli(words(key, "tabular.drift", **all_but(x, (-1,))), weight)
    return fault(x, drawn, value)
