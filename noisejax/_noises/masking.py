"""Noise that removes: elements, features, pixels, channels and whole branches."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._calls.fitted import Fitted
from noisejax._contract import Amount, Hit, Mask, array_noise, wide
from noisejax._random import sample
from noisejax._random.stream import all_but, along, fold, positions, words, words_like

_SELU_FLOOR = -1.7580993408473766  # -lambda * alpha of SELU: its limit at minus infinity


def _broadcast_dims(x: jax.Array, broadcast_dims: tuple[int, ...]) -> None:
    _checks.axes("dropout", "broadcast_dims", broadcast_dims, x.ndim)


@array_noise(_checks.floats, sees="element", options=_broadcast_dims, ranges={"rate": _checks.rate})
def dropout(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    broadcast_dims: tuple[int, ...] = (),
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Inverted dropout: each element is set to 0 with probability `rate`, and otherwise divided by 1 - rate.

    Args:
      key: a JAX key.
      x: floats of any shape.
      rate: the probability that an element is dropped, in [0, 1], broadcastable to x; traced values are clamped. 0 is
        the identity.
      broadcast_dims: axes along which one draw is shared, as in Flax: ``(1,)`` drops features of a (batch, time,
        feature) array at all times at once. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype, whose expectation is x for every rate below 1.

    References:
      Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> sorted(set(nj.dropout(jax.random.key(0), jnp.ones(100), 0.5).tolist()))
      [0.0, 2.0]
    """
    hit = sample.bernoulli(words(key, "dropout", **all_but(x, broadcast_dims)), rate)
    return Hit(hit, 0.0, _rescaled(x, rate))


@array_noise(_checks.floats, sees="element", ranges={"rate": _checks.rate})
def spatial_dropout(key: jax.Array, x: jax.Array, rate: Amount, *, where: Mask = None, lengths: Mask = None) -> Hit:
    """Spatial dropout: whole channels of each example are set to 0 with probability `rate`.

    All other channels are divided by 1 - rate.

    Args:
      key: a JAX key.
      x: floats, examples first and channels last: (B, ..., C), with any axes in between.
      rate: the probability that a channel is dropped, in [0, 1], broadcastable to x; traced values are clamped. 0 is
        the identity.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype, whose expectation is x for every rate below 1.

    References:
      Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.spatial_dropout(jax.random.key(0), jnp.ones((2, 8, 8, 16)), 0.5)
      >>> bool((y == y[:, :1, :1]).all())
      True
    """
    return Hit(sample.bernoulli(words(key, "spatial_dropout", **along(x, (0, -1))), rate), 0.0, _rescaled(x, rate))


@array_noise(_checks.floats, sees="element", ranges={"rate": _checks.rate}, widen=False)
def gaussian_dropout(
    key: jax.Array, x: jax.Array, rate: Amount, *, where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Gaussian dropout: ``x * (1 + sqrt(rate / (1 - rate)) * n)``, with n standard normal for each element.

    The factor has the same mean and variance as that of dropout.

    Args:
      key: a JAX key.
      x: floats of any shape.
      rate: the rate of the equivalent dropout, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity. At 1 the formula is infinite; the standard deviation is then 4096, that of the largest float32 below
        1.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype, whose expectation is x.

    References:
      Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014, section
      10; Kingma, Salimans and Welling, "Variational dropout and the local reparameterization trick", 2015.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> bool((nj.gaussian_dropout(jax.random.key(0), jnp.zeros(3), 0.5) == 0).all())
      True
    """
    some = rate > 0
    ratio = jnp.where(some, rate / jnp.maximum(1 - rate, 2**-24), 1)
    std = jnp.where(some, jnp.sqrt(jnp.minimum(ratio, 2**24)), 0)  # double where: the root's slope at 0 is infinite
    noise = sample.normal(words_like(key, "gaussian_dropout", x), into=x.dtype)
    x = wide(x)
    return x * (1 + std * noise.astype(x.dtype))


@array_noise(_checks.floats, sees="element", ranges={"rate": _checks.rate})
def alpha_dropout(key: jax.Array, x: jax.Array, rate: Amount, *, where: Mask = None, lengths: Mask = None) -> Hit:
    """Alpha dropout: dropped elements become the floor of SELU; an affine map restores mean 0 and variance 1.

    The result is ``a * where(dropped, f, x) + b``, with q = 1 - rate, the floor f = -lambda alpha = -1.7581,
    ``a = (q + f**2 q (1 - q))**(-1/2)`` and ``b = -a (1 - q) f``.

    Args:
      key: a JAX key.
      x: floats of any shape: activations of SELU, with mean 0 and variance 1.
      rate: the probability that an element is dropped, in [0, 1], broadcastable to x; traced values are clamped. 0 is
        the identity. At 1 all elements are 0, which is the limit.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> len(set(nj.alpha_dropout(jax.random.key(0), jnp.zeros(100), 0.5).tolist()))
      2
    """
    hit = sample.bernoulli(words_like(key, "alpha_dropout", x), rate)
    keep = 1 - jnp.clip(rate, 0, 1)
    some = keep > 0
    root = jnp.sqrt(jnp.where(some, keep, 1))  # double where: a is infinite at rate 1
    curve = lax.rsqrt(1 + _SELU_FLOOR**2 * (1 - keep))
    a = curve / root
    kept = jnp.where(keep < 1, a * x - a * (1 - keep) * _SELU_FLOOR, x)  # to the bit: 0 - 0.0 would be +0.0
    return Hit(hit, jnp.where(some, _SELU_FLOOR * curve * root, 0), kept)  # a f + b, with 1 - (1 - q) simplified to q


class Marginals(Fitted):
    """Rows of a training set, from which `mask` draws values; returned by `marginals`."""

    table: jax.Array

    def __repr__(self):
        return f"nj.marginals({self.table.dtype}[{','.join(map(str, self.table.shape))}])"


def marginals(table: jax.Array | np.ndarray, *, rows: int | None = 4096) -> Marginals:
    """Fits the marginal distributions of a training set, as a `fill` for `mask`.

    Args:
      table: the training set, of shape (N, ...). The axes after the first are the last axes of the x that will be
        noised.
      rows: the number of rows to keep, evenly spaced in the order of the table; None keeps all. Shuffle a table whose
        order is periodic.

    Returns:
      A pytree that holds the rows.

    Raises:
      TypeError: the table does not hold numbers.
      ValueError: the table has no rows.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> table = jnp.array([[1.0, 10.0], [2.0, 20.0]])
      >>> y = nj.mask(jax.random.key(0), jnp.zeros((50, 2)), 0.5, nj.marginals(table))
      >>> sorted(set(y[:, 1].tolist()))
      [0.0, 10.0, 20.0]
    """
    if not isinstance(table, jax.Array) and not _is_table(table):
        raise TypeError(f"marginals: table must hold numbers, got {_checks.shown(table)}. Encode categories first.")
    table = table if isinstance(table, jax.Array) else np.asarray(table)
    if not (jnp.issubdtype(table.dtype, jnp.number) or table.dtype == jnp.bool_):
        raise TypeError(f"marginals: table must hold numbers, got {table.dtype}. Encode categories first.")
    table = table if isinstance(table, jax.Array) else _checks.number("marginals", "table", table, complex_too=True)
    if not table.shape[:1] > (0,):
        raise ValueError(f"marginals: table must have rows, shape (N, ...), got shape {table.shape}.")
    rows = None if rows is None else _checks.count("marginals", "rows", rows, 1, "Or None for all rows.")
    if rows is not None and rows < len(table):
        table = table[np.arange(rows) * len(table) // rows]
    return Marginals(jnp.asarray(table))


def _is_table(value) -> bool:
    """Whether NumPy can make an array of a table: a list of rows of one length, an array or a data frame."""
    try:
        np.asarray(value)
    except (TypeError, ValueError):
        return False
    return True


def _groups(x: jax.Array, groups: tuple[int, ...] | None) -> None:
    if groups is not None:
        _checks.groups("mask", x.shape, groups)


@array_noise(_checks.values, sees="element", like_x=("fill",), options=_groups, ranges={"rate": _checks.rate})
def mask(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    fill: Amount | Marginals = 0.0,
    *,
    groups: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Masking noise: each element is replaced by `fill` with probability `rate`; the rest is unchanged.

    Args:
      key: a JAX key.
      x: numbers or booleans of any shape, features last.
      rate: the probability that an element is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      fill: the value of the replaced elements: a number, an array broadcastable to x (such as the mean of each
        feature), or the `marginals` of a training set. With `marginals`, each hit element takes the value of the same
        feature in a random training row.
      groups: the group number of each feature. The features of a group are hit together and take their values from one
        training row, as the columns of a one-hot category must. They should have the same rate. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008 (fill 0); Yoon
      et al., "VIME", NeurIPS 2020, and Bahri et al., "SCARF", ICLR 2022 (marginal draws).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.array([[0.3, 1.0, 0.0, 0.0], [0.1, 0.0, 0.0, 1.0]])  # a number and a category of three
      >>> nj.mask(jax.random.key(1), x, 0.5, groups=(0, 1, 1, 1)).shape
      (2, 4)
    """
    if groups is None:
        stream, like = key, along(x, range(x.ndim))
    else:  # the word depends on the group and not on the feature: no gather along the features
        each = along(x, (-1,))
        ids = lax.broadcast_in_dim(jnp.asarray(groups), each["shape"], (x.ndim - 1,), out_sharding=each["sharding"])
        stream, like = fold(key, ids), all_but(x, (-1,))
    hit = sample.bernoulli(words(stream, "mask", **like), rate)
    if not isinstance(fill, Marginals):
        return Hit(hit, fill)
    row = sample.integers(words(stream, "mask.row", **like), words(stream, "mask.row.low", **like), len(fill.table))
    return Hit(hit, _values_at(row, fill.table, x))


def _values_at(row: jax.Array, table: jax.Array, x: jax.Array) -> jax.Array:
    """For each element of x, the value of the same feature in the given row of the table."""
    if jnp.issubdtype(table.dtype, jnp.complexfloating) and not jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(
            f"mask: fill must hold real numbers for x of {x.dtype}, got marginals of a {table.dtype} table."
        )
    features = table.shape[1:]
    if len(features) > x.ndim or any(a not in (1, b) for a, b in zip(features[::-1], x.shape[::-1], strict=False)):
        raise ValueError(
            f"mask: each row of fill must broadcast to x of shape {x.shape}, got rows of shape {features}. Fit "
            "marginals on all columns of x, also inside nj.on_columns."
        )
    first = x.ndim - len(features)
    places = [positions(x, first + axis) if n > 1 else 0 for axis, n in enumerate(features)]
    # Every device holds the whole table, so that it can look up its own part of x.
    return table.at[(row, *places)].get(mode="promise_in_bounds", out_sharding=jax.typeof(x).sharding)


def _mode(x: jax.Array, mode: str, scale_by_keep: bool) -> None:
    _checks.one_of("drop_path", "mode", mode, ("example", "batch"))


@array_noise(_checks.floats, sees="element", options=_mode, ranges={"rate": _checks.rate})
def drop_path(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    mode: str = "example",
    scale_by_keep: bool = True,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Stochastic depth: each example is set to 0 with probability `rate`, and otherwise divided by 1 - rate.

    Apply it to the branch of a residual block, ``x + drop_path(key, block(x), rate)``, with rates that grow linearly
    with depth. In torchvision it is `stochastic_depth`, whose mode `'row'` is `'example'` here.

    Args:
      key: a JAX key.
      x: floats, examples first.
      rate: the probability that a branch is dropped, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      mode: `'example'` draws for each example (axis 0), `'batch'` once for the batch. Static.
      scale_by_keep: whether kept branches are divided by 1 - rate. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Huang et al., "Deep networks with stochastic depth", ECCV 2016 (which rescales at test time instead); `DropPath`
      of timm.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.drop_path(jax.random.key(0), jnp.ones((6, 1)), 0.5).shape
      (6, 1)
    """
    hit = sample.bernoulli(words(key, "drop_path", **along(x, (0,) if mode == "example" else ())), rate)
    return Hit(hit, 0.0, _rescaled(x, rate) if scale_by_keep else None)


def _rescaled(x: jax.Array, rate: Amount) -> jax.Array:
    """x / (1 - rate), with the rate clamped. At rate 1, where nothing is kept, the result is finite."""
    # Multiplied by the reciprocal, exact to an ulp: a division costs three more instructions per element.
    return x * (1 / jnp.where(rate < 1, 1 - jnp.where(rate > 0, rate, 0), 1))
