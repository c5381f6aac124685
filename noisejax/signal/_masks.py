"""The masks of SpecAugment: bands of time and of frequency."""

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._noises.regions import check_count, check_interval, draw_integers, draw_of_examples, union_of
from noisejax._random.stream import positions


def _band_options(function: str):
    def check(x, count, limit, axis) -> None:
        _checks.short(function, x.shape, _checks.axes(function, "axis", (axis,), x.ndim))
        check_count(function, "count", count)
        check_interval(function, "limit", (0, limit), 0, 1)

    return check


@array_noise(
    _checks.values, like_x=("fill",), options=_band_options("time_mask"), ranges={"width": _checks.nonnegative}
)
def time_mask(
    key: jax.Array,
    x: jax.Array,
    width: Amount,
    fill: Amount = 0.0,
    *,
    count: int = 1,
    limit: float = 1.0,
    axis: int = -2,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Time masking: a band of consecutive steps of each example is replaced by `fill`, in all channels.

    The number of steps t is a uniform integer from 0 to the largest width that `width` and `limit` allow. The first
    step is a uniform integer from 0 to tau - t, where tau is the number of valid steps of the example.

    Args:
      key: a JAX key.
      x: series or spectrograms of shape (B, T, F).
      width: the largest width of a band in steps, rounded down; at least 0, broadcastable to x: of shape (B, 1, 1) for
        one width per example. 0 is the identity.
      fill: the value of the replaced elements, broadcastable to x: a number, or the mean of each channel.
      count: the number of bands, which may overlap. Static.
      limit: the largest width of a band as a share of the valid steps (the paper's p). Static.
      axis: the axis of time; -1 for an x of shape (B, T). Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Bands lie within the valid steps.

    Returns:
      An array of x's shape and dtype.

    References:
      Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", 2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.ones((2, 100, 80))
      >>> y = nj.signal.time_mask(jax.random.key(0), x, 30, count=2, lengths=jnp.array([100, 60]))
      >>> bool((y[1, 60:] == 1).all())
      True
    """
    return Hit(_bands(key, "time_mask", x, width, where, count, limit, axis), fill)


@array_noise(
    _checks.values, like_x=("fill",), options=_band_options("freq_mask"), ranges={"width": _checks.nonnegative}
)
def freq_mask(
    key: jax.Array,
    x: jax.Array,
    width: Amount,
    fill: Amount = 0.0,
    *,
    count: int = 1,
    limit: float = 1.0,
    axis: int = -1,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Frequency masking: a band of consecutive channels of each example is replaced by `fill`, at all times.

    The number of channels f is a uniform integer from 0 to the largest width that `width` and `limit` allow. The first
    channel is a uniform integer from 0 to nu - f, where nu is the number of channels of x.

    Args:
      key: a JAX key.
      x: spectrograms of shape (B, T, F).
      width: the largest width of a band in channels, rounded down; at least 0, broadcastable to x: of shape (B, 1, 1)
        for one width per example. 0 is the identity.
      fill: the value of the replaced elements, broadcastable to x: a number, or the mean of each channel.
      count: the number of bands, which may overlap. Static.
      limit: the largest width of a band as a share of the channels. Static.
      axis: the axis of the channels. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", 2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.signal.freq_mask(jax.random.key(0), jnp.ones((2, 100, 80)), 27, count=2).shape
      (2, 100, 80)
    """
    return Hit(_bands(key, "freq_mask", x, width, where, count, limit, axis), fill)


def _bands(key, name: str, x, width, where, count: int, limit: float, axis: int) -> jax.Array:
    axis = axis % x.ndim
    like, place, extent = draw_of_examples(x, (axis,)), positions(x, axis), x.shape[axis]
    if where is not None:  # positions count valid steps only, wherever the padding is
        shared = tuple(n for n in range(1 if axis else 0, x.ndim) if n != axis)
        valid = (place >= 0) & jnp.any(where, axis=shared, keepdims=True)
        place = jnp.cumsum(valid.astype(jnp.int32), axis=axis) - 1
        extent = jnp.sum(valid, axis=axis, keepdims=True, dtype=jnp.int32)
    widest = jnp.minimum(jnp.maximum(width, 0), limit * jnp.asarray(extent).astype(width.dtype)).astype(jnp.int32)

    def band(stream, _):
        length = draw_integers(stream, name, like, widest + 1)
        start = draw_integers(stream, f"{name}.start", like, extent - length + 1)
        return (place >= start) & (place < start + length)

    return union_of(band, key, count)
