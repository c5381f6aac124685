"""The corruptions that blur: Gaussian, defocus, glass, motion and zoom."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import (
    LEVELS,
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
from noisejax.image._filters.shuffling import offsets, shuffled
from noisejax.image._filters.smoothing import (
    Reach,
    along_path,
    banded,
    by_disk,
    disk_edge,
    gaussian,
    gaussian_matrix,
    mirrored,
)
from noisejax.image._filters.zooming import mean_of_enlargements


@array_noise(_checks.images, **settings("gaussian_blur"))
def gaussian_blur(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Gaussian blur of the common corruptions, with the kernel cut at four standard deviations and repeated edges.

    The standard deviation is linear in the severity between the published values. Padding has the mean of the data.

    Args:
      key: a JAX key, which has no effect: this corruption draws nothing.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, `'tiny'` or `'cifar'`. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019; `gaussian` of scikit-image.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1, 33, 33, 1)).at[0, 16, 16].set(1.0)
      >>> (1000 * nj.image.gaussian_blur(jax.random.key(0), x, 1).max()).round().item()
      159.0
    """
    seen = pictures("gaussian_blur", x, severity, where)
    points = row("gaussian_blur", table)
    most = int(4 * points.max() + 0.5)

    def matrices(severity):
        std = between(severity, points, 0)
        return tuple(gaussian_matrix(n, std, most) for n in x.shape[-3:-1])

    def blurred(image, severity, *shared):
        vertical, horizontal = shared or matrices(severity)
        return banded(vertical, horizontal, image, most)

    return each(blurred, seen, shared=matrices(seen.severity) if seen.scalar else ())


@array_noise(_checks.images, **settings("defocus_blur", least=lambda table: 2))
def defocus_blur(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Defocus of the common corruptions: the mean over a disk with a soft edge, as of a lens out of focus.

    Pictures are mirrored at their edges. Between the levels, the two neighbouring kernels are mixed. Padding has the
    mean of the data.

    Args:
      key: a JAX key, which has no effect: this corruption draws nothing.
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
      >>> x = jnp.zeros((1, 33, 33, 1)).at[0, 16, 16].set(1.0)
      >>> int((nj.image.defocus_blur(jax.random.key(0), x, 1) > 0.01).sum())  # pixels in a disk of radius 3
      29
    """
    seen = pictures("defocus_blur", x, severity, where)
    disks = [(float(r), float(a)) for r, a in row("defocus_blur", table)]
    edge = max(disk_edge(radius) for radius, _ in disks)
    levels = [
        functools.partial(by_disk, shape=x.shape[-3:], edge=edge, radius=radius, alias=alias) for radius, alias in disks
    ]

    def blurred(image, severity):
        wider = mirrored(image, edge)
        return mixed(image, severity, lambda level: branches(levels, level, wider))

    return each(blurred, seen)


@array_noise(_checks.images, **settings("glass_blur"))
def glass_blur(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Glass blur of the common corruptions: pixels take the values of random neighbours, between two Gaussian blurs.

    The published code exchanges neighbours, but its exchange is a copy: both sides are views of one array. Pixels are
    visited from the last to the first, so a value may move through several pixels. This is what the published pictures
    show, and what is computed here. Before the copies, values are truncated to multiples of 1/255. Between the levels,
    the two neighbouring results are mixed. Padding has the mean of the data.

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
      >>> nj.image.glass_blur(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.4), 3).std().round(4).item()
      0.0
    """
    seen = pictures("glass_blur", x, severity, where)
    levels = row("glass_blur", table)
    passes, most = int(levels[:, 2].max()), int(4 * levels[:, 0].max() + 0.5)
    w = words(key, "image.glass_blur", **of_examples(x, passes, *x.shape[-3:-1]))

    def moved(reach, times, image, w):
        for n in range(times):
            image = shuffled(image, *offsets(w[n], reach), reach)
        return image

    shuffles = {(int(d), int(n)): functools.partial(moved, int(d), int(n)) for _, d, n in levels}

    def at(image, level, w):
        std = jnp.asarray(levels[:, 0])[level - 1]
        # The tolerance keeps a flat picture, whose blur is off by rounding, on its grey level.
        grey = jnp.floor(gaussian(image, std, most) * 255 + np.float32(1e-3)) / 255
        grey = branches([shuffles[int(d), int(n)] for _, d, n in levels], level, grey, w)
        return gaussian(grey, std, most)

    def shattered(image, severity, w):
        return mixed(image, severity, lambda level: at(image, level, w))

    return each(shattered, seen, w)


@array_noise(_checks.images, **settings("motion_blur"))
def motion_blur(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Motion blur of the common corruptions: the mean along a path in a random direction within 45 degrees.

    The weights along the path are half of a normal density, so the picture also moves. Offsets are whole pixels, and
    edges are repeated. Each picture has its own direction. Between the levels, the two neighbouring kernels are mixed.
    Padding has the mean of the data.

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
      2019; `MotionBlurImage` of ImageMagick.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1, 64, 64, 1)).at[0, 32, 32].set(1.0)
      >>> y = nj.image.motion_blur(jax.random.key(0), x, 1)
      >>> bool((y[0, :, 33:] == 0).all()), y.sum().round(3).item()  # it moves to the left
      (True, 1.0)
    """
    seen = pictures("motion_blur", x, severity, where)
    u = sample.uniform(words(key, "image.motion_blur", **of_examples(x)))
    levels = row("motion_blur", table)
    taps = [2 * int(r) + 1 for r, _ in levels]
    kernels = np.zeros((LEVELS + 1, max(taps)), np.float32)
    kernels[0, 0] = 1
    for n, (_, std) in enumerate(levels):
        kernels[n + 1, : taps[n]] = path_weights(taps[n], std)

    def along(count, image, weights, angle):
        reach = Reach(count, count, 0, count)
        return along_path(image, weights[:count], *path(count, angle), reach)

    paths = {count: functools.partial(along, count) for count in taps}

    def moved(image, severity, u):
        angle = (u.reshape(()) - np.float32(0.5)) * np.float32(np.pi / 2)
        share = jnp.clip(1 - jnp.abs(severity - np.arange(LEVELS + 1, dtype=np.float32)), 0, 1)
        weights = (share[:, None] * kernels).sum(0)
        level = jnp.ceil(severity).astype(jnp.int32)
        return branches([paths[count] for count in taps], level, image, weights, angle)

    return each(moved, seen, u)


def path_weights(taps: int, std: float) -> np.ndarray:
    """Half of a normal density, normalized."""
    weights = np.exp(-0.5 * (np.arange(taps) / std) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def path(taps: int, angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The offsets of the taps, in rows and columns."""
    i = np.arange(taps, dtype=np.float32)
    rows, columns = (jnp.ceil(i * f(angle) - np.float32(0.5)).astype(jnp.int32) for f in (jnp.sin, jnp.cos))
    return rows, columns


@array_noise(_checks.images, **settings("zoom_blur"))
def zoom_blur(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Zoom blur of the common corruptions: the mean of the picture and its enlargements about the centre.

    The enlargements are by 1, 1 + step, and so on, each with linear interpolation. Between the levels, the two
    neighbouring results are mixed. Padding has the mean of the data.

    Args:
      key: a JAX key, which has no effect: this corruption draws nothing.
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
      >>> nj.image.zoom_blur(jax.random.key(0), jnp.ones((1, 32, 48, 3)), 3).min().item()
      1.0
    """
    seen = pictures("zoom_blur", x, severity, where)
    levels = [
        functools.partial(mean_of_enlargements, factors=[1 + n * ((1 + step) - 1) for n in range(int(count))])
        for count, step in pairs("zoom_blur", table)
    ]

    def zoomed(image, severity):
        return mixed(image, severity, lambda level: branches(levels, level, image))

    return each(zoomed, seen)
