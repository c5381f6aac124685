"""The noise that applies a learnt model of faults."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, saturate
from noisejax._random import sample
from noisejax._random.stream import all_but, words, words_like
from noisejax._sharding import automatic
from noisejax.tabular._cells import real
from noisejax.tabular._learnt.model import ErrorModel

_WHOLE = ("integer", "ordinal", "datetime")


@array_noise(_checks.floats, ranges={"strength": _checks.nonnegative}, widen=False)
def errors(
    key: jax.Array,
    x: jax.Array,
    model: ErrorModel,
    strength: Amount = 1.0,
    *,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Faults that are learnt from the user's own data: it imitates the dirty table to which the model was fitted.

    With donor rows, each row takes the faults of a random pair of rows: the cells that are hit together, and the
    offsets, factors and values of its wrong numbers. The probability of a fault follows the clean cell: its class, or
    whether it is missing. With a copula, the hits of a row have the fitted correlation, and each wrong cell its own
    operation.

    Args:
      key: a JAX key.
      x: a table (..., rows, C) of numbers and codes, with NaN for missing values, of the model's schema.
      model: the result of `fit_errors` or `fit_shift`.
      strength: how much more often faults occur than in the fitted pairs, at least 0: a scalar, or one value for each
        row, of shape (..., 1). 0 is the identity and 1 as fitted. Rows with a fault are `strength` times as frequent,
        up to all rows. With a copula, this holds for cells. Above 1, donor rows raise faults less that depend on the
        class of the cell.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit. A missing value is NaN. Columns
      of kind `'integer'`, `'ordinal'` and `'datetime'` stay whole.

    Raises:
      ValueError: x has a different number of columns than the model, or `strength` differs between columns.

    References:
      Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1), 1979 (donor rows); Nelsen,
      "An introduction to copulas", Springer, 2006.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, noisejax as nj
      >>> clean = np.arange(100.0)[:, None] + np.zeros((1, 2))
      >>> dirty = np.where(np.arange(100)[:, None] % 5 == 0, np.nan, clean)  # both columns are missing together
      >>> model = nj.tabular.fit_errors(clean, dirty, nj.tabular.Schema({"start": "number", "end": "number"}))
      >>> y = nj.tabular.errors(jax.random.key(0), jnp.ones((1000, 2)), model)
      >>> lost = jnp.isnan(y)
      >>> bool((lost[:, 0] == lost[:, 1]).all()), bool(0.16 < lost.mean() < 0.24)
      (True, True)
    """
    if not isinstance(model, ErrorModel):
        raise TypeError(f"errors: model must be fitted, nj.tabular.fit_errors(clean, dirty, schema), got {model!r}.")
    if x.ndim == 0 or x.shape[-1] != len(model.schema):
        raise ValueError(
            f"errors: the model was fitted to {len(model.schema)} columns, and x of shape {x.shape} must have as many "
            "along its last axis. Give it the whole table, also inside nj.on_columns."
        )
    if jnp.ndim(strength) and jnp.shape(strength)[-1] != 1:
        raise ValueError(f"errors: strength is that of rows: give it shape (..., 1), got {jnp.shape(strength)}.")
    each_row = all_but(x, (-1,))
    drawn = [words(key, f"tabular.errors{part}", **each_row) for part in ("", ".donor", ".donor.low")]
    drawn += [words_like(key, f"tabular.errors.{part}", x) for part in ("cell", "wrong", "operation")]

    def noisy(x, row, donor, donor_low, cell, other, operation, strength):
        values = real(x)
        state = _states(values, model)
        missing, wrong = (_in_state(_number(table), state) for table in (model.missing, model.wrong))
        if model.dependence == "donors":
            latent, own = _of_donors(values, model, strength, row, donor, donor_low, cell)
            lost = latent < missing
            hit = ~lost & (latent < missing + wrong)
        else:
            first, second = _of_copula(model, cell, other)
            missing, wrong = jnp.minimum(strength * missing, 1), jnp.minimum(strength * wrong, 1)
            lost, own = first < missing, None
            hit = ~lost & (second * (1 - missing) < wrong)
        value = _operated(values, model, state, own, sample.uniform(operation))
        value = jnp.where(lost, jnp.nan, jnp.where(hit, value, values))
        return jnp.where(lost | hit, saturate(value, x.dtype), x)

    value = automatic(noisy, x, *drawn, jnp.asarray(strength, jnp.float32))
    return Hit((value != x) & ((value == value) | (x == x)), value)


def _number(values: Any) -> jax.Array:
    return jnp.asarray(values, jnp.float32)


def _index(values: Any) -> jax.Array:
    return jnp.asarray(values).astype(jnp.int32)


def _states(values: jax.Array, model: ErrorModel) -> jax.Array:
    """The state of each cell: its class, or one of the last two, observed and missing."""
    observed = np.shape(model.missing)[-1] - 2
    classes = _row(model.schema.num_classes, values).astype(values.dtype)
    valid = (values >= 0) & (values < classes) & (values == jnp.floor(values))
    state = jnp.where(valid, values, 0).astype(jnp.int32)
    return jnp.where(jnp.isnan(values), observed + 1, jnp.where(valid, state, observed))


def _row(each: Any, x: jax.Array) -> jax.Array:
    """One value for each column, of x's rank."""
    return jnp.asarray(np.asarray(each).reshape((1,) * (x.ndim - 1) + (-1,)))


def _in_state(table: jax.Array, state: jax.Array) -> jax.Array:
    """The entry of a table (C, S) for the state of each cell."""
    columns = lax.broadcasted_iota(jnp.int32, state.shape, state.ndim - 1)
    return jnp.take(table.reshape(-1), columns * table.shape[1] + state, mode="clip")


def _of_donors(values, model: ErrorModel, strength, row, pick, pick_low, cell) -> tuple[jax.Array, jax.Array]:
    """The latent values of the donor of each row, 1 where a row has none, and the donor's operations."""
    groups = np.shape(model.first)[0] - 1
    if model.group is None:
        group = jnp.full((1,) * values.ndim, groups, jnp.int32)
    else:
        code = lax.slice_in_dim(values, model.group, model.group + 1, axis=values.ndim - 1)
        known = (code >= 0) & (code < groups) & (code == jnp.floor(code))
        group = jnp.where(known, code, groups).astype(jnp.int32)
    first, faulty, sound = (jnp.take(_index(v), group, mode="clip") for v in (model.first, model.faulty, model.sound))
    empty = faulty + sound == 0  # no pair of this group: all pairs
    first, faulty, sound = (
        jnp.where(empty, _index(v)[-1], own)
        for v, own in ((model.first, first), (model.faulty, faulty), (model.sound, sound))
    )
    share = faulty.astype(jnp.float32) / (faulty + sound).astype(jnp.float32)
    some = jnp.clip(strength * share, 0, 1)
    none = jnp.minimum(jnp.clip(strength, 0, 1) * (1 - share), 1 - some)
    u = sample.uniform(row)
    with_fault = u < some
    size = jnp.where(with_fault, faulty, sound)
    number = sample.integers(pick, pick_low, jnp.maximum(size, 1))
    donor = jnp.take(_index(model.order), first + jnp.where(with_fault, 0, faulty) + number, mode="clip")[..., 0]
    low, high, own = (jnp.take(v, donor, axis=0, mode="clip") for v in (model.low, model.high, model.own))
    low, high = _number(low), _number(high)
    latent = jnp.minimum(low + sample.uniform(cell) * (high - low), _BELOW_ONE)
    return jnp.where((u < some + none) & (size > 0), latent, 1), own


_BELOW_ONE = np.float32(1 - 2**-24)


def _of_copula(model: ErrorModel, cell: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Uniform values with the correlations of missing and of wrong cells: for each column, two."""
    own = jnp.concatenate([sample.normal(cell), sample.normal(other)], axis=-1)
    latent = jnp.einsum("...c,dc->...d", own, _number(model.factor), precision=lax.Precision.HIGHEST)
    first, second = jnp.split(jnp.minimum(ndtr(latent), _BELOW_ONE), 2, axis=-1)
    return first, second


def _operated(values, model: ErrorModel, state, own, u) -> jax.Array:
    """The wrong value of each cell: by its donor's own operation if that is one, or one of those of its state."""
    if np.shape(model.scale)[0] == 0:
        return values
    start, count = (_in_state(_number(v), state) for v in (model.start, model.count))
    which = start + jnp.minimum(jnp.floor(u * count), jnp.maximum(count - 1, 0))
    if own is not None:
        observed = np.shape(model.missing)[-1] - 2
        number = jnp.asarray(own, jnp.float32)
        which = jnp.where((number >= 0) & (state == observed), number, which)
    which = which.astype(jnp.int32)
    scale, offset = (jnp.take(jnp.asarray(v, values.dtype), which, mode="clip") for v in (model.scale, model.offset))
    result = jnp.where(scale == 0, offset, scale * values + offset)
    whole = _row([kind in _WHOLE for kind in model.schema.kinds], values)
    result = jnp.where(whole, jnp.round(result), result)
    return jnp.where(count > 0, result, values)
