"""The corruptions of weather: fog, frost and snow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.blurs import path, path_weights
from noisejax.image._corruptions.severity import (
    between,
    branches,
    each,
    mixed,
    of_examples,
    pairs,
    pictures,
    row,
    settings,
)
from noisejax.image._filters import crystals
from noisejax.image._filters.plasma import diamond_square
from noisejax.image._filters.smoothing import Reach, along_path
from noisejax.image._filters.zooming import enlarged
from noisejax.image._operations.photometric import grey_of

_GREY = (0.2989, 0.5870, 0.1140)  # of frost, to four digits as ITU-R BT.601 is often written


@array_noise(_checks.images, **settings("fog"))
def fog(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Fog of the common corruptions: a fractal cloud is added, and the picture is scaled to its former maximum.

    The cloud is a diamond-square fractal. Its weight and its roughness are linear in the severity between the published
    values; below 1 the weight falls to 0. Padding has the mean of the data.


    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.fog(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 3).shape
      (1, 32, 32, 3)
    """
    seen = pictures("fog", x, severity, where)
    levels = row("fog", table)
    height, width = x.shape[-3:-1]
    size = 2 ** (max(height, width, 2) - 1).bit_length()
    u = sample.symmetric_uniform(words(key, "image.fog", **of_examples(x, size, size, 1)))

    def foggy(image, severity, u):
        weight, decay = between(severity, levels[:, 0], 0), between(severity, levels[:, 1], levels[0, 1])
        cloud = diamond_square(u[..., 0], decay)[:height, :width, None]
        most = image.max()
        return (image + weight * cloud) * (most / jnp.maximum(most + weight, np.float32(1e-30)))

    return each(foggy, seen, u)


@array_noise(_checks.images, **settings("frost"), banks=("textures",))
def frost(
    key: jax.Array,
    x: jax.Array,
    severity: Amount,
    textures: Amount,
    *,
    table: str = "imagenet",
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Frost of the common corruptions: a random piece of a photograph of frost is added to the paler picture.

    The published code has photographs of its own, which are not part of this library. For its numbers, load its first
    five photographs, scaled by 1 (ImageNet), 0.3 (Tiny ImageNet) or 0.2 (CIFAR). The factors of the picture and of the
    frost are linear in the severity between the published values.


    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      textures: photographs of frost of shape (N, h, w, 3), floats in [0, 1], at least as large as x. One is drawn for
        each picture.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> textures = jax.random.uniform(jax.random.key(1), (5, 64, 64, 3))
      >>> nj.image.frost(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 3, textures).shape
      (1, 32, 32, 3)
    """
    seen, textures = pictures("frost", x, severity, where), jnp.asarray(textures)
    if (
        textures.ndim != 4
        or textures.shape[-1] != 3
        or not textures.shape[0]
        or any(t < n for t, n in zip(textures.shape[1:], x.shape[-3:-1], strict=False))
    ):
        raise ValueError(
            f"frost: textures must have shape (N, h, w, 3), at least one of them, and be no smaller than x of shape "
            f"{x.shape}, got shape {textures.shape}. Enlarge them, or choose the table of small pictures."
        )
    levels = row("frost", table)
    height, width, channels = x.shape[-3:]
    u = sample.uniform(words(key, "image.frost", **of_examples(x, 3, 1, 1)))

    def frosted(image, severity, u, textures):
        ends = (textures.shape[0], textures.shape[1] - height, textures.shape[2] - width)
        which, top, left = ((u[n, 0, 0] * max(end, 1)).astype(jnp.int32) for n, end in enumerate(ends))
        piece = lax.dynamic_slice(textures, (which, top, left, jnp.int32(0)), (1, height, width, 3))[0]
        if channels == 1:
            piece = grey_of(piece, _GREY)
        return between(severity, levels[:, 0], 1) * image + between(severity, levels[:, 1], 0) * piece

    return each(frosted, seen, u, shared=(textures,))


@array_noise(_checks.images, **settings("frost_like"))
def frost_like(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Frost without photographs: as `frost`, with a procedural layer of clouds and ridges.

    It is not the published corruption. The layer has the means, the deviations and the radial power spectrum of the
    five published photographs, to about 10 %, but neither their shapes nor their sharp crystals. Use `frost` with the
    photographs for published numbers.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.frost_like(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 3).shape
      (1, 32, 32, 3)
    """
    seen = pictures("frost_like", x, severity, where)
    if x.size == 0:
        return x
    levels = row("frost", table)
    scale = _FROST_SCALE[table]
    sides = tuple(crystals.torus(n) for n in x.shape[-3:-1])
    real, imaginary = (
        sample.normal(words(key, f"image.frost_like.{part}", **of_examples(x, 2, *sides)))
        for part in ("real", "imaginary")
    )
    u = sample.symmetric_uniform(words(key, "image.frost_like.mean", **of_examples(x, 2, 1, 1)))
    shift = np.float32(3**0.5) * u  # of unit variance
    found = crystals.fields(real, imaginary, scale)[..., : x.shape[-3], : x.shape[-2]]
    layer = crystals.crystals(found[..., 0, :, :], found[..., 1, :, :])[..., None]
    common, own = shift[..., :1, :, :], shift[..., 1:, :, :]
    of_red = np.sqrt(1 - crystals.TINT**2)
    mean, between_photographs, within, tint, of_red = (
        v.reshape((1,) * (x.ndim - 1) + (3,))
        for v in (crystals.MEAN, crystals.BETWEEN, crystals.WITHIN, crystals.TINT, of_red)
    )
    piece = mean + between_photographs * (of_red * common + tint * own) + within * layer
    piece = jnp.clip(jnp.minimum(piece, piece[..., 2:]), 0, 1)  # frost is never reddish
    if x.shape[-1] == 1:
        piece = grey_of(piece, _GREY)
    return seen.finish(
        between(seen.severity, levels[:, 0], 1) * seen.values + between(seen.severity, levels[:, 1], 0) * piece
    )


_FROST_SCALE = {"imagenet": 1.0, "tiny": 0.3, "cifar": 0.2}  # of the photographs, as published


@array_noise(_checks.images, **settings("snow"))
def snow(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Snow of the common corruptions: enlarged specks, moved downwards, on a picture that is paler.

    Specks are cut and truncated to 8 bits before they move, in a direction within 45 degrees of the vertical, and are
    added once more turned by 180 degrees. Between the levels, the two neighbouring results are mixed. Padding has the
    mean of the data.


    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.snow(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 3).shape
      (1, 32, 32, 3)
    """
    seen = pictures("snow", x, severity, where)
    levels = pairs("snow", table)
    plane = x.shape[-3:-1]
    z = sample.normal(words(key, "image.snow", **of_examples(x, *plane, 1)))
    u = sample.uniform(words(key, "image.snow.angle", **of_examples(x)))

    def specks(mean, std, zoom, cut, radius, spread, angle, z):
        layer = enlarged(mean + std * z, zoom)
        layer = jnp.floor(jnp.clip(jnp.where(layer < cut, 0, layer), 0, 1) * 255) / 255
        taps = 2 * int(radius) + 1
        return along_path(
            layer, jnp.asarray(path_weights(taps, spread)), *path(taps, angle), Reach(taps, 0, taps, taps)
        )

    layers = [functools.partial(specks, *level[:6]) for level in levels]
    shares = np.array([level[6] for level in levels], np.float32)

    def snowy(image, severity, z, u):
        angle = (u.reshape(()) * np.float32(0.5) - np.float32(0.75)) * np.float32(np.pi)
        pale = jnp.maximum(image, 1.5 * grey_of(image) + np.float32(0.5))

        def at(level):
            layer = branches(layers, level, angle, z)
            share = jnp.asarray(shares)[level - 1]
            return jnp.clip(share * image + (1 - share) * pale + layer + layer[::-1, ::-1], 0, 1)

        return mixed(image, severity, at)

    return each(snowy, seen, z, u)
