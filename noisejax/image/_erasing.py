"""Noise that removes parts of images: boxes, grids, pixels and channels.

Axis 0 holds the examples, and regions are drawn for each example separately. `axes` are the axes that a region extends
over. Along all other axes, such as channels and the frames of a video, the region is the same.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._noises.regions import (
    check_count,
    check_interval,
    draw_integers,
    draw_of_examples,
    plane_axes,
    union_of,
    within,
)
from noisejax._random import sample
from noisejax._random.stream import all_but, along, positions, words


def _erasing_options(x, noise, area, aspect, axes) -> None:
    plane_axes("random_erasing", x, axes)
    _checks.one_of("random_erasing", "noise", noise, (None, "channel", "element"))
    check_interval("random_erasing", "area", area, 0, 1)
    check_interval("random_erasing", "aspect", aspect, 1e-6, 1e6)


@array_noise(
    _checks.images,
    values=("fill",),
    options=_erasing_options,
    ranges={"rate": _checks.rate, "fill": _checks.real, "std": _checks.nonnegative},
)
def random_erasing(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
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
    """Random erasing: with probability `rate` a rectangle of the image is replaced.

    The area of the rectangle as a share of the image is uniform in `area`. Its height over width is log-uniform in
    `aspect`, and its position is uniform among those where it fits. If a rectangle does not fit, the published form
    draws again, and finally gives up. Here the aspect is drawn from the part of its range that fits (if there is none,
    it is the nearest one that does).

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of shape (B, H, W, C). Results for images are rounded and saturate.
      rate: the probability that an image is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      fill: the value of the replaced elements, in the units of x, broadcastable to x: a number, or one per channel.
      std: the standard deviation of the normal noise added to `fill`, in the units of x; at least 0. Without `noise` it
        has no effect.
      noise: None for no noise, `'channel'` for one draw per channel, `'element'` for one per pixel and channel (timm's
        modes `'const'`, `'rand'` and `'pixel'`). Static.
      area: the range of the rectangle's area, as a share of the image. Static.
      aspect: the range of the rectangle's height over its width. Static.
      axes: the axes of height and width. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Zhong et al., "Random erasing data augmentation", AAAI 2020; defaults as in `RandomErasing` of timm.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.random_erasing(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 0.5).shape
      (4, 32, 32, 3)
    """
    (height, width), like = plane_axes("random_erasing", x, axes), draw_of_examples(x, axes)

    def uniform(what, low, high):
        return low + (high - low) * sample.uniform(words(key, f"random_erasing.{what}", **like))

    pixels = uniform("area", *area) * (x.shape[height] * x.shape[width])
    fits = jnp.log(pixels / x.shape[width] ** 2), jnp.log(x.shape[height] ** 2 / pixels)
    ratio = jnp.exp(uniform("aspect", *(jnp.clip(math.log(end), *fits) for end in aspect)))
    hit = sample.bernoulli(words(key, "random_erasing", **like), rate)
    for name, axis, length in (("top", height, pixels * ratio), ("left", width, pixels / ratio)):
        length = _side(jnp.sqrt(length), x.shape[axis])
        hit = hit & within(
            x, axis, draw_integers(key, f"random_erasing.{name}", like, x.shape[axis] - length + 1), length
        )
    if noise is None:
        return Hit(hit, fill)
    places = range(x.ndim) if noise == "element" else [n for n in range(x.ndim) if n not in (height, width)]
    normal = sample.normal(words(key, "random_erasing.fill", **along(x, places)))
    return Hit(hit, fill + std * normal.astype(x.dtype))


def _cutout_options(x, axes) -> None:
    plane_axes("cutout", x, axes, None)


@array_noise(_checks.values, like_x=("fill",), options=_cutout_options, ranges={"size": _checks.nonnegative})
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
    """Cutout: a square is replaced by `fill`. Its centre is any pixel, so it may extend beyond the image.

    Args:
      key: a JAX key.
      x: images of shape (B, H, W, C).
      size: the side of the square in pixels, rounded to an integer; at least 0, broadcastable to x: of shape
        (B, 1, 1, 1) for one size per example. 0 is the identity.
      fill: the value of the replaced elements, broadcastable to x.
      axes: the axes that the square extends over: one for an interval of a series, three for a cube. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017 (whose code
      makes an odd side one pixel shorter).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.cutout(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 16)
      >>> bool(((y == 0).sum((1, 2, 3)) <= 16 * 16 * 3).all())
      True
    """
    like, hit = draw_of_examples(x, axes), True
    size = jnp.round(size).astype(jnp.int32)
    for n, axis in enumerate(plane_axes("cutout", x, axes, None)):
        hit = hit & within(x, axis, draw_integers(key, f"cutout.{n}", like, x.shape[axis]) - size // 2, size)
    return Hit(hit, fill)


def _number_of_holes(holes, max_holes, **_) -> None:
    check_count("coarse_dropout", "max_holes", max_holes)
    if isinstance(holes, np.ndarray) and np.any(holes > max_holes):
        most = holes.max()
        raise ValueError(
            f"coarse_dropout: holes must be at most max_holes, got {most:g} and max_holes={max_holes}. Pass "
            f"max_holes={math.ceil(most)}."
        )


def _side(share: jax.Array, size: int) -> jax.Array:
    """A share of a side in pixels: at least one pixel, so that regions do not vanish on small images."""
    return jnp.minimum(jnp.where(share > 0, jnp.maximum(jnp.round(share), 1), 0).astype(jnp.int32), size)


def _holes(x, max_holes, height, width, axes) -> None:
    plane_axes("coarse_dropout", x, axes)
    check_count("coarse_dropout", "max_holes", max_holes)
    check_interval("coarse_dropout", "height", height, 0, 1)
    check_interval("coarse_dropout", "width", width, 0, 1)


@array_noise(
    _checks.values,
    like_x=("fill",),
    options=_holes,
    amounts=_number_of_holes,
    ranges={"holes": _checks.nonnegative},
)
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
    """Coarse dropout: several rectangles inside the image are replaced by `fill`; they may overlap.

    Args:
      key: a JAX key.
      x: images of shape (B, H, W, C).
      holes: the number of rectangles; at least 0, broadcastable to x: of shape (B, 1, 1, 1) for one number per example.
        The fractional part is the probability of one more. Host values must not exceed `max_holes`; traced ones are
        limited to it. 0 is the identity.
      fill: the value of the replaced elements, broadcastable to x.
      max_holes: the largest number of rectangles, which determines the cost. Static.
      height: the range of a rectangle's height, as a share of the image's; drawn uniformly. Static.
      width: the range of a rectangle's width, as a share of the image's; drawn uniformly. Static.
      axes: the axes of height and width. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      DeVries and Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017;
      `CoarseDropout` of albumentations.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.coarse_dropout(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 5).shape
      (4, 32, 32, 3)
    """
    like, (rows, columns), expected = (
        draw_of_examples(x, axes),
        plane_axes("coarse_dropout", x, axes),
        jnp.asarray(holes),
    )

    def hole(stream, n):
        hit = sample.bernoulli(words(stream, "coarse_dropout", **like), expected - n.astype(expected.dtype))
        for name, axis, (low, high) in (("height", rows, height), ("width", columns, width)):
            share = low + (high - low) * sample.uniform(words(stream, f"coarse_dropout.{name}", **like))
            length = _side(share * x.shape[axis], x.shape[axis])
            start = draw_integers(stream, f"coarse_dropout.{name}.start", like, x.shape[axis] - length + 1)
            hit = hit & within(x, axis, start, length)
        return hit

    return Hit(union_of(hole, key, max_holes), fill)


def _grid_options(x, unit, axes) -> None:
    plane_axes("grid_mask", x, axes, None)
    check_interval("grid_mask", "unit", unit, 0, 1)


@array_noise(_checks.values, like_x=("fill",), options=_grid_options, ranges={"rate": _checks.rate})
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

    d is a uniform integer in the range `unit`, and the offset of the grid is uniform. The side of the squares is
    ``d * sqrt(rate)``, rounded up or down at random so that each pixel is hit with probability `rate` exactly. In the
    notation of the paper the rate is (1 - r)**2.

    Args:
      key: a JAX key.
      x: images of shape (B, H, W, C).
      rate: the probability that a pixel is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity. The paper's r = 0.6 is a rate of 0.16.
      fill: the value of the replaced elements, broadcastable to x.
      unit: the range of d, as a share of the image's shorter side. The default is close to the paper's range of 96 to
        224 pixels for images of 224. Static.
      axes: the axes that the grid extends over. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Chen et al., "GridMask data augmentation", 2020, without its optional rotation.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.grid_mask(jax.random.key(0), jnp.ones((4, 32, 32, 3)), 0.16).shape
      (4, 32, 32, 3)
    """
    spatial, like, hit = plane_axes("grid_mask", x, axes, None), draw_of_examples(x, axes), True
    low, high = (max(1, round(end * min(x.shape[axis] for axis in spatial))) for end in unit)
    d = low + draw_integers(key, "grid_mask.unit", like, high - low + 1)
    share = jnp.clip(rate, 0, 1) ** (1 / len(spatial))
    side = d.astype(share.dtype) * share
    for n, axis in enumerate(spatial):
        up = sample.uniform(words(key, f"grid_mask.{n}.side", **like)).astype(side.dtype)
        place = (positions(x, axis) + draw_integers(key, f"grid_mask.{n}", like, d)) % d
        hit = hit & (place < jnp.floor(side + up).astype(jnp.int32))
    return Hit(hit, fill)


@array_noise(_checks.values, sees="element", like_x=("fill",), ranges={"rate": _checks.rate})
def channel_dropout(
    key: jax.Array, x: jax.Array, rate: Amount, fill: Amount = 0.0, *, where: Mask = None, lengths: Mask = None
) -> Hit:
    """Channel dropout of images: each channel of each example is replaced by `fill` with probability `rate`.

    All other channels are unchanged: this is a fault of an image or a sensor. The regularizer, which rescales, is
    `noisejax.spatial_dropout`.

    Args:
      key: a JAX key.
      x: numbers or booleans, examples first and channels last: (B, ..., C).
      rate: the probability that a channel is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      fill: the value of the replaced elements, broadcastable to x.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      `ChannelDropout` of albumentations, which draws the number of channels instead and always keeps one.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.channel_dropout(jax.random.key(0), jnp.ones((4, 8, 8, 3)), 0.3).shape
      (4, 8, 8, 3)
    """
    return Hit(sample.bernoulli(words(key, "channel_dropout", **along(x, (0, -1))), rate), fill)


@array_noise(_checks.values, sees="element", like_x=("fill",), ranges={"rate": _checks.rate})
def pixel_dropout(
    key: jax.Array, x: jax.Array, rate: Amount, fill: Amount = 0.0, *, where: Mask = None, lengths: Mask = None
) -> Hit:
    """Pixel dropout: each pixel is replaced by `fill` with probability `rate`, in all channels at once.

    All other pixels are unchanged. A pixel is all elements along the last axis, so it may also be a token or a frame
    of a series.

    Args:
      key: a JAX key.
      x: numbers or booleans, channels last.
      rate: the probability that a pixel is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      fill: the value of the replaced elements, broadcastable to x: a number, or one per channel.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      `PixelDropout` of albumentations (``per_channel=False``; ``per_channel=True`` is `noisejax.mask`).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.pixel_dropout(jax.random.key(0), jnp.ones((4, 8, 8, 3)), 0.3)
      >>> bool((y == y[..., :1]).all())
      True
    """
    return Hit(sample.bernoulli(words(key, "pixel_dropout", **all_but(x, (-1,))), rate), fill)
