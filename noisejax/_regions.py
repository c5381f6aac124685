"""Noise that removes regions of the input: boxes of images, bands of series and spectrograms.

Axis 0 holds the examples, and each draws for itself. `axes` names the axes that a region extends over; along all
others, channels and the frames of a video, it is the same. Without an axis of examples (`axes` includes 0) there is
one draw. Every region is drawn in closed form, at the shape it has: nothing is rejected and drawn again.
"""

import math

import jax
import jax.numpy as jnp

from noisejax import _checks, _sample
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._stream import along, fold, positions, words


def _erasing_options(x, noise, area, aspect, axes) -> None:
    _plane("random_erasing", x, axes)
    _checks.one_of("random_erasing", "noise", noise, (None, "channel", "element"))
    _interval("random_erasing", "area", area, 0, 1)
    _interval("random_erasing", "aspect", aspect, 1e-6, 1e6)


@array_noise(
    _checks.images,
    options=_erasing_options,
    ranges={"p": _checks.rate, "fill": _checks.real, "std": _checks.nonnegative},
)
def random_erasing(
    key: jax.Array,
    x: jax.Array,
    p: Amount,
    fill: Amount = 0.0,
    std: Amount = 1.0,
    *,
    noise: str | None = None,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    axes: tuple[int, int] = (-3, -2),
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Random erasing: with probability p a rectangle of the image is replaced.

    Its share of the image is uniform in `area`, its height over width log-uniform in `aspect`, its place uniform
    among those where it fits. The published form draws again, and finally gives up, when a rectangle does not fit;
    here the aspect is drawn from the part of its range that fits (the nearest that does, if there is none).

    Args:
      key: a JAX key.
      x: images (B, H, W, C), floats or uint8.
      p: the probability that an image is hit, in [0, 1], broadcastable to x; traced values clamp. 0 is the identity.
      fill: what stands in the rectangle, in units of x, broadcastable to x: a number, or one for each channel.
      std: the standard deviation of the normal noise that is added to `fill` if `noise` asks for it, in units of x.
      noise: None for none, `'channel'` for one value per channel, `'element'` for one per pixel and channel (timm's
        modes `'const'`, `'rand'` and `'pixel'`). Static.
      area: the range of the rectangle's share of the image. Static.
      aspect: the range of its height over its width. Static.
      axes: the axes of height and width. Static.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      Zhong et al., "Random erasing data augmentation", AAAI 2020; defaults as in `RandomErasing` of timm.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.random_erasing(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 0.5).shape
      (4, 32, 32, 3)
    """
    (height, width), like = _plane("random_erasing", x, axes), _examples(x, axes)

    def uniform(what, low, high):
        return low + (high - low) * _sample.uniform(words(key, f"random_erasing.{what}", **like))

    pixels = uniform("area", *area) * (x.shape[height] * x.shape[width])
    fits = jnp.log(pixels / x.shape[width] ** 2), jnp.log(x.shape[height] ** 2 / pixels)
    ratio = jnp.exp(uniform("aspect", *(jnp.clip(math.log(end), *fits) for end in aspect)))
    hit = _sample.bernoulli(words(key, "random_erasing", **like), p)
    for name, axis, length in (("top", height, pixels * ratio), ("left", width, pixels / ratio)):
        length = jnp.minimum(jnp.round(jnp.sqrt(length)).astype(jnp.int32), x.shape[axis])
        hit = hit & _inside(x, axis, _integers(key, f"random_erasing.{name}", like, x.shape[axis] - length + 1), length)
    if noise is None:
        return Hit(hit, fill)
    places = range(x.ndim) if noise == "element" else [n for n in range(x.ndim) if n not in (height, width)]
    normal = _sample.normal(words(key, "random_erasing.fill", **along(x, places)))
    return Hit(hit, fill + std * normal.astype(x.dtype))


def _cutout_options(x, axes) -> None:
    _plane("cutout", x, axes, None)


@array_noise(_checks.numbers, like_x=("fill",), options=_cutout_options, ranges={"size": _checks.nonnegative})
def cutout(
    key: jax.Array,
    x: jax.Array,
    size: Amount,
    fill: Amount = 0.0,
    *,
    axes: tuple[int, ...] = (-3, -2),
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Cutout: a square of fixed size is replaced by `fill`; its centre is any pixel, so it may leave the image.

    Args:
      key: a JAX key.
      x: images (B, H, W, C).
      size: the side of the square in pixels, rounded to whole ones; at least 0, broadcastable to x: shape
        (B, 1, 1, 1) for one per example. 0 is the identity.
      fill: what stands there, broadcastable to x.
      axes: the axes that the square extends over: one for a stretch of a series, three for a cube. Static.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017 (whose code
      makes an odd side one pixel shorter).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.cutout(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 16)
      >>> bool(((y == 0).sum((1, 2, 3)) <= 16 * 16 * 3).all())
      True
    """
    like, hit = _examples(x, axes), True
    size = jnp.round(size).astype(jnp.int32)
    for n, axis in enumerate(_plane("cutout", x, axes, None)):
        hit = hit & _inside(x, axis, _integers(key, f"cutout.{n}", like, x.shape[axis]) - size // 2, size)
    return Hit(hit, fill)


def _holes(x, max_holes, height, width, axes) -> None:
    _plane("coarse_dropout", x, axes)
    _count("coarse_dropout", "max_holes", max_holes)
    _interval("coarse_dropout", "height", height, 0, 1)
    _interval("coarse_dropout", "width", width, 0, 1)


@array_noise(_checks.numbers, like_x=("fill",), options=_holes, ranges={"holes": _checks.nonnegative})
def coarse_dropout(
    key: jax.Array,
    x: jax.Array,
    holes: Amount,
    fill: Amount = 0.0,
    *,
    max_holes: int = 8,
    height: tuple[float, float] = (0.1, 0.2),
    width: tuple[float, float] = (0.1, 0.2),
    axes: tuple[int, int] = (-3, -2),
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Coarse dropout: several rectangles of the image are replaced by `fill`; they lie inside and may overlap.

    Args:
      key: a JAX key.
      x: images (B, H, W, C).
      holes: how many, at least 0, broadcastable to x: shape (B, 1, 1, 1) for one number per example. A fraction is
        the probability of one more. What exceeds `max_holes` does not count. 0 is the identity.
      fill: what stands there, broadcastable to x.
      max_holes: the largest number of holes; the cost grows with it. Static.
      height: the range of a hole's height as a share of the image's; uniform. Static.
      width: the same for its width. Static.
      axes: the axes of height and width. Static.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017;
      `CoarseDropout` of albumentations.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.coarse_dropout(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 5).shape
      (4, 32, 32, 3)
    """
    like, (rows, columns), expected = _examples(x, axes), _plane("coarse_dropout", x, axes), jnp.asarray(holes)

    def hole(stream, n):
        hit = _sample.bernoulli(words(stream, "coarse_dropout", **like), expected - n.astype(expected.dtype))
        for name, axis, (low, high) in (("height", rows, height), ("width", columns, width)):
            share = low + (high - low) * _sample.uniform(words(stream, f"coarse_dropout.{name}", **like))
            length = jnp.round(share * x.shape[axis]).astype(jnp.int32)
            start = _integers(stream, f"coarse_dropout.{name}.start", like, x.shape[axis] - length + 1)
            hit = hit & _inside(x, axis, start, length)
        return hit

    return Hit(_any(hole, key, max_holes), fill)


def _grid_options(x, unit, axes) -> None:
    _plane("grid_mask", x, axes, None)
    _interval("grid_mask", "unit", unit, 0, 1)


@array_noise(_checks.numbers, like_x=("fill",), options=_grid_options, ranges={"rate": _checks.rate})
def grid_mask(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    fill: Amount = 0.0,
    *,
    unit: tuple[float, float] = (0.4, 1.0),
    axes: tuple[int, ...] = (-3, -2),
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """GridMask: a regular grid of squares, one in each unit of d by d pixels, is replaced by `fill`.

    d is a uniform integer in the range `unit`, the grid's offset uniform, and the squares' side ``d * sqrt(rate)``,
    rounded up or down at random so that each pixel is hit with probability `rate` exactly. In the paper's words the
    rate is (1 - r)**2.

    Args:
      key: a JAX key.
      x: images (B, H, W, C).
      rate: the probability that a pixel is hit, in [0, 1], broadcastable to x; traced values clamp. 0 is the
        identity; the paper's r = 0.6 is 0.16.
      fill: what stands there, broadcastable to x.
      unit: the range of d, as a share of the image's shorter side; the default is near the paper's 96 to 224 pixels
        of 224. Static.
      axes: the axes that the grid extends over. Static.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      Chen et al., "GridMask data augmentation", 2020, without its optional rotation.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.grid_mask(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 0.16).shape
      (4, 32, 32, 3)
    """
    spatial, like, hit = _plane("grid_mask", x, axes, None), _examples(x, axes), True
    low, high = (max(1, round(end * min(x.shape[axis] for axis in spatial))) for end in unit)
    d = low + _integers(key, "grid_mask.unit", like, high - low + 1)
    share = jnp.clip(rate, 0, 1) ** (1 / len(spatial))
    side = d.astype(share.dtype) * share
    for n, axis in enumerate(spatial):
        up = _sample.uniform(words(key, f"grid_mask.{n}.side", **like)).astype(side.dtype)
        place = (positions(x, axis) + _integers(key, f"grid_mask.{n}", like, d)) % d
        hit = hit & (place < jnp.floor(side + up).astype(jnp.int32))
    return Hit(hit, fill)


def _band_options(function: str):
    def check(x, count, limit, axis) -> None:
        _checks.axes(function, "axis", (axis,), x.ndim)
        _count(function, "count", count)
        _interval(function, "limit", (0, limit), 0, 1)

    return check


@array_noise(
    _checks.numbers, like_x=("fill",), options=_band_options("time_mask"), ranges={"width": _checks.nonnegative}
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

    The number of steps t is a uniform integer from 0 to the largest width, the first step one from 0 to tau - t,
    where tau is the number of the example's valid steps.

    Args:
      key: a JAX key.
      x: series or spectrograms (B, T, F).
      width: the largest width of a band in steps, rounded down; at least 0, broadcastable to x: shape (B, 1, 1) for
        one per example. 0 is the identity.
      fill: what stands there, broadcastable to x: a number, or the mean of each channel.
      count: how many bands, which may overlap. Static.
      limit: no band is wider than this share of the valid steps (the paper's p). Static.
      axis: the axis of time: -1 for (B, T). Static.
      where, lengths: padding, see `noisejax.Noise`: bands lie within the valid steps.

    Returns:
      An array of x's shape and dtype.

    References:
      Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", 2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.ones((2, 100, 80))
      >>> y = nj.time_mask(jax.random.key(0), x, 30, count=2, lengths=jnp.array([100, 60]))
      >>> bool((y[1, 60:] == 1).all())
      True
    """
    return Hit(_bands(key, "time_mask", x, width, where, count, limit, axis), fill)


@array_noise(
    _checks.numbers, like_x=("fill",), options=_band_options("freq_mask"), ranges={"width": _checks.nonnegative}
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

    The number of channels f is a uniform integer from 0 to the largest width, the first channel one from 0 to nu - f,
    where nu is the number of channels.

    Args:
      key: a JAX key.
      x: spectrograms (B, T, F).
      width: the largest width of a band in channels, rounded down; at least 0, broadcastable to x: shape (B, 1, 1)
        for one per example. 0 is the identity.
      fill: what stands there, broadcastable to x: a number, or the mean of each channel.
      count: how many bands, which may overlap. Static.
      limit: no band is wider than this share of the channels. Static.
      axis: the axis of the channels. Static.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", 2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.freq_mask(jax.random.key(0), jnp.ones((2, 100, 80)), 27, count=2).shape
      (2, 100, 80)
    """
    return Hit(_bands(key, "freq_mask", x, width, where, count, limit, axis), fill)


def _bands(key, name: str, x, width, where, count: int, limit: float, axis: int) -> jax.Array:
    axis = axis % x.ndim
    like, place, extent = _examples(x, (axis,)), positions(x, axis), x.shape[axis]
    if where is not None:  # places are counted among the valid ones, wherever the padding is
        shared = tuple(n for n in range(1 if axis else 0, x.ndim) if n != axis)
        valid = (place >= 0) & jnp.any(where, axis=shared, keepdims=True)
        place = jnp.cumsum(valid.astype(jnp.int32), axis=axis) - 1
        extent = jnp.sum(valid, axis=axis, keepdims=True, dtype=jnp.int32)
    widest = jnp.minimum(jnp.maximum(width, 0), limit * jnp.asarray(extent).astype(width.dtype)).astype(jnp.int32)

    def band(stream, _):
        length = _integers(stream, name, like, widest + 1)
        start = _integers(stream, f"{name}.start", like, extent - length + 1)
        return (place >= start) & (place < start + length)

    return _any(band, key, count)


def _any(region, key, count: int) -> jax.Array:
    """The union of `count` regions, each drawn from a stream of its own."""
    numbers = jnp.arange(count)
    return jnp.any(jax.vmap(region)(fold(key, numbers), numbers), axis=0)


def _examples(x: jax.Array, axes: tuple[int, ...]) -> dict:
    return along(x, () if 0 in {axis % x.ndim for axis in axes} else (0,))


def _integers(key, tag: str, like: dict, n) -> jax.Array:
    return _sample.integers(words(key, tag, **like), words(key, f"{tag}.low", **like), n)


def _inside(x: jax.Array, axis: int, start: jax.Array, length: jax.Array) -> jax.Array:
    place = positions(x, axis)
    return (place >= start) & (place < start + length)


def _plane(function: str, x: jax.Array, axes: tuple[int, ...], count: int | None = 2) -> tuple[int, ...]:
    if isinstance(axes, tuple) and (len(axes) == count or (count is None and axes)):
        return _checks.axes(function, "axes", axes, x.ndim)
    raise ValueError(f"{function}: axes must name {count or 'some'} axes of x, as (-3, -2) does, got {axes!r}.")


def _interval(function: str, name: str, value: tuple[float, float], low: float, high: float) -> None:
    if not (isinstance(value, tuple) and len(value) == 2 and low <= value[0] <= value[1] <= high):
        raise ValueError(f"{function}: {name} must be a pair low <= high within [{low}, {high}], got {value!r}.")


def _count(function: str, name: str, value: int) -> None:
    if not (isinstance(value, int) and value >= 1):
        raise ValueError(f"{function}: {name} must be a positive integer, got {value!r}.")
