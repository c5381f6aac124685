"""Corruptions of ImageNet-C-bar and CIFAR-10-C-bar, which were chosen to be unlike the common corruptions.

All are formulas of the place of a pixel and of a few draws. The published code has square pictures and one size. Here
the size is the longer side, and what belongs to an axis has the length of that axis.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import array_noise
from noisejax._random import sample
from noisejax._random.fourier import fourier
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import between, each, of_examples, pictures, row, settings
from noisejax.image._operations.photometric import grey_of

_TURN = np.float32(2 * np.pi)


def _uniform(key: jax.Array, tag: str, x: jax.Array, *shape: int) -> jax.Array:
    return sample.uniform(words(key, f"image.{tag}", **of_examples(x, *shape)))


def _amount(name: str, table: str, most: float, severity: jax.Array) -> jax.Array:
    """An amount that is linear in the severity between the published levels, of which 10 has the largest amount."""
    return between(severity, row(name, table) * np.float32(most / 10), 0)


def _places(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Columns (1, W) and rows (H, 1) of a picture, as floats."""
    return jnp.arange(shape[1], dtype=jnp.float32)[None], jnp.arange(shape[0], dtype=jnp.float32)[:, None]


@array_noise(_checks.images, **settings("single_frequency_greyscale"))
def single_frequency_greyscale(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """A plane wave of C-bar: ``x + amount * sin(a * column + b * row + phase)``, clipped to [0, 1].

    One frequency, in radians per pixel, is uniform in [-pi, pi], and the other between minus and plus its size. Which
    of them belongs to the columns is drawn as well. The amount is linear in the severity between the published values.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, the only published one. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.single_frequency_greyscale(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 1)
      >>> bool((jnp.abs(y - 0.5) <= 19.6 / 255 + 1e-6).all())
      True
    """
    seen = pictures("single_frequency_greyscale", x, severity, where)
    u = _uniform(key, "single_frequency_greyscale", x, 4, 1, 1)

    def waved(image, severity, u):
        first, second, swap, phase = u.reshape(4)
        first = np.float32(np.pi) * (2 * first - 1)
        second = jnp.abs(first) * (2 * second - 1)
        columns, rows = _places(image.shape)
        right = jnp.where(swap < 0.5, second, first) * columns + _TURN * phase
        down = jnp.where(swap < 0.5, first, second) * rows
        # The sine of the sum, from sines of one axis each.
        wave = jnp.sin(down) * jnp.cos(right) + jnp.cos(down) * jnp.sin(right)
        return image + _amount("single_frequency_greyscale", table, 196 / 255, severity) * wave[..., None]

    return each(waved, seen, u)


@array_noise(_checks.images, **settings("cocentric_sine_waves"))
def cocentric_sine_waves(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Rings of C-bar around a random pixel, which are added: sawtooth waves with a wavy edge, clipped to [0, 1].

    At the distance r and the angle t from the centre, ``amount * (((r + a * sin(f * t)) mod w) / w - 1 / 2)`` is added
    to all channels. The frequency f is uniform in [0, 10], and the amplitude a and the width w of a ring in [0, size /
    10]. The amount is linear in the severity between the published values. The name is spelt as published.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, the only published one. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.cocentric_sine_waves(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 5)
      >>> bool((jnp.abs(y - 0.5) <= 64 / 255 + 1e-6).all())
      True
    """
    seen = pictures("cocentric_sine_waves", x, severity, where)
    u = _uniform(key, "cocentric_sine_waves", x, 5, 1, 1)

    def ringed(image, severity, u):
        left, top, frequency, amplitude, width = u.reshape(5)
        height, wide = image.shape[:2]
        size = np.float32(max(height, wide) / 10)
        columns, rows = _places(image.shape)
        right, down = columns - wide * left, rows - height * top
        angle = 10 * frequency * jnp.arctan2(right, down)
        width = size * jnp.maximum(width, np.float32(2**-24))
        along = jnp.sqrt(right * right + down * down) + size * amplitude * jnp.sin(angle)
        ring = along / width
        ring = ring - jnp.floor(ring) - np.float32(0.5)
        return image + _amount("cocentric_sine_waves", table, 128 / 255, severity) * ring[..., None]

    return each(ringed, seen, u)


@array_noise(_checks.images, **settings("plasma_noise"))
def plasma_noise(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Coloured plasma of C-bar: ``(1 - amount) * x + amount * plasma``, clipped to [0, 1].

    Places are divided by a random scale and then moved four to six times by sines and cosines of growing frequency. The
    channels of the plasma are sines of the new places, in [-1, 1]. The amount is linear in the severity between the
    published values. With one channel, the colours become grey.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'`, the only published one. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.plasma_noise(jax.random.key(0), jnp.full((1, 32, 32, 3), 0.5), 3).shape
      (1, 32, 32, 3)
    """
    seen = pictures("plasma_noise", x, severity, where)
    u = _uniform(key, "plasma_noise", x, 4, 1, 1)

    def clouded(image, severity, u):
        time, times, sharpness, scale = u.reshape(4)
        time, times = 3 * _TURN * time, 4 + (3 * times).astype(jnp.int32)
        damping = np.float32(2.25) - (np.float32(0.5) + sharpness / 2)
        scale = max(image.shape[:2]) * (np.float32(0.075) + np.float32(0.125) * scale)
        right, down = (jnp.broadcast_to(place / scale, image.shape[:2]) for place in _places(image.shape))

        def moved(n, places):
            right, down, frequency, slowness, strength = places
            a = jnp.cos(down * frequency + time / slowness) / strength
            b = jnp.sin(right * frequency + time / slowness) / strength
            step = jnp.where(n < times, np.float32(1), 0)
            right = right + step * (a - np.float32(0.3) * b)
            down = down + step * (b + np.float32(0.3) * a)
            return right, down, frequency * np.float32(1.93), slowness * np.float32(1.15), strength * damping

        # The numbers start from a draw, so that inside shard_map they vary over the mesh as the places do.
        one = jnp.ones_like(time)
        right, down = lax.fori_loop(0, 6, moved, (right, down, one, one, one))[:2]
        angles = right - time, (right + down + jnp.sin(time)) / 2, down + time
        plasma = jnp.stack([jnp.sin(angle) for angle in angles], -1)
        if image.shape[-1] == 1:
            plasma = grey_of(plasma)
        amount = _amount("plasma_noise", table, 64 / 255, severity)
        return image + amount * (plasma - image)

    return each(clouded, seen, u)


@array_noise(_checks.images, **settings("checkerboard_cutout"))
def checkerboard_cutout(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Grey fields of C-bar: some of the black fields of a turned chessboard become 128/255.

    The board is turned by a random angle about the first pixel. The side of a field is uniform between 0.1 and 0.25 of
    the size, and at least a pixel. A black field is covered with a probability that is linear in the severity between
    the published values. Fields that touch the axes through the first pixel share their draw, as published.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'` or `'cifar'`, the published ones. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.checkerboard_cutout(jax.random.key(0), jnp.ones((1, 64, 64, 3)), 5)
      >>> sorted(set((255 * y).round().ravel().tolist()))
      [128.0, 255.0]
    """
    seen = pictures("checkerboard_cutout", x, severity, where)
    fields = board(x.shape[-3:-1])
    u = _uniform(key, "checkerboard_cutout", x, 2, 1, 1)
    covers = _uniform(key, "checkerboard_cutout.fields", x, fields, fields, 1)

    def covered(image, severity, u, covers):
        angle, side = _TURN * u[0, 0, 0], np.float32(0.1) + np.float32(0.15) * u[1, 0, 0]
        side = jnp.maximum(side * max(image.shape[:2]), 1)
        columns, rows = _places(image.shape)
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        down, right = (cosine * rows + sine * columns) / side, (cosine * columns - sine * rows) / side
        black = (jnp.floor(down) - jnp.floor(right)) % 2 == 0
        # Numbers are cut towards 0, and negative ones count from the end.
        i, j = (place.astype(jnp.int32) % fields for place in (down, right))
        drawn = covers.reshape(-1).at[i * fields + j].get(mode="promise_in_bounds")
        hit = black & (drawn < _amount("checkerboard_cutout", table, 1, severity))
        return jnp.where(hit[..., None], np.float32(128 / 255), image)

    return each(covered, seen, u, covers)


def board(shape: tuple[int, ...]) -> int:
    """How many fields a board needs along each axis, on both sides of the first pixel."""
    return 2 * int(np.hypot(shape[0], shape[1]) / max(0.1 * max(shape), 1)) + 3


@array_noise(_checks.images, moves=True, **settings("ripple"))
def ripple(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "cifar", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Ripples of C-bar: rows and columns are read at ``i + amount * sin(2 pi i / wavelength + phase)``.

    Interpolation is linear, and the picture is black beyond its edges. The wavelength of each axis is uniform between
    0.1 and 0.3 of its length. The amount, in pixels, is linear in the severity between the published values. Padding
    has the mean of the data.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'cifar'`, the only published one. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.image.ripple(jax.random.key(0), jnp.ones((1, 32, 32, 3)), 5)[0, 8, 8].round(4).tolist()
      [1.0, 1.0, 1.0]
    """
    seen = pictures("ripple", x, severity, where)
    u = _uniform(key, "ripple", x, 4, 1, 1)

    def read(values, axis, amount, wavelength, phase):
        n = values.shape[axis]
        i = jnp.arange(n, dtype=jnp.float32)
        moved = n * amount * jnp.sin(_TURN * (i / (n * (np.float32(0.1) + np.float32(0.2) * wavelength)) + phase))
        whole = jnp.floor(moved)
        first = jnp.arange(n, dtype=jnp.int32) + whole.astype(jnp.int32)
        total, column = 0, (-1, 1, 1) if axis == 0 else (1, -1, 1)
        for place, share in ((first, 1 - (moved - whole)), (first + 1, moved - whole)):
            share = jnp.where((place >= 0) & (place < n), share, 0).reshape(column)
            place = jnp.clip(place, 0, n - 1)
            line = values.at[place] if axis == 0 else values.at[:, place]
            total = total + share * line.get(mode="promise_in_bounds")
        return total

    def rippled(image, severity, u):
        down, right, phase_down, phase_right = u.reshape(4)
        amount = _amount("ripple", table, 0.025, severity)
        return read(read(image, 0, amount, down, phase_down), 1, amount, right, phase_right)

    return each(rippled, seen, u)


@array_noise(_checks.images, **settings("brownish_noise"))
def brownish_noise(
    key: jax.Array, x: jax.Array, severity: Amount, *, table: str = "imagenet", where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Noise of C-bar with the amplitudes ``1 / (f * f + 1)`` at the frequencies f and random phases, clipped to [0, 1].

    Frequencies count waves along the size. Each channel has a field of its own, divided by its standard deviation and
    multiplied by an amount that is linear in the severity between the published values.

    Args:
      key: a JAX key.
      x: pictures (..., H, W, C) of 1 or 3 channels: floats in [0, 1], or uint8/uint16 images.
      severity: as in `gaussian_noise`.
      table: `'imagenet'` or `'cifar'`, the published ones. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Mintun, Kirillov and Xie, "On interaction between augmentations and corruptions in natural corruption robustness",
      NeurIPS 2021.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.image.brownish_noise(jax.random.key(0), jnp.full((1, 64, 64, 3), 0.5), 1)
      >>> [round(float(std), 1) for std in 255 * y.std((1, 2))[0]]
      [6.4, 6.4, 6.4]
    """
    seen = pictures("brownish_noise", x, severity, where)
    height, width, channels = x.shape[-3:]
    u = _uniform(key, "brownish_noise", x, height, (width + 1) // 2, channels)
    i, j = ((np.arange(n) - n / 2) * (max(height, width) / max(n, 1)) for n in (height, width))
    power = (1 / (i[:, None] ** 2 + j[None, :] ** 2 + 1)).astype(np.float32)

    def grained(image, severity, u):
        phases = _TURN * turned(jnp.moveaxis(u, -1, 0), width)
        # The frequency 0 is in the middle, and moves to the front.
        real, imaginary = (
            jnp.roll(power[None] * part, (height // 2, width // 2), (-2, -1))
            for part in (jnp.cos(phases), jnp.sin(phases))
        )
        lines = fourier(lax.complex(real, imaginary))
        field = jnp.moveaxis(fourier(jnp.swapaxes(lines, -1, -2)).real, 0, -1).swapaxes(0, 1)
        centred = field - field.mean((0, 1), keepdims=True)
        std = jnp.sqrt(jnp.square(centred).mean((0, 1), keepdims=True))
        amount = _amount("brownish_noise", table, 64 / 255, severity)
        return image + amount * (field / jnp.maximum(std, np.float32(1e-30)))

    return each(grained, seen, u) if x.size else x


def turned(half: jax.Array, width: int) -> jax.Array:
    """Draws (C, H, (W + 1) // 2) and the same turned by 180 degrees, side by side; 0 where a pixel meets itself."""
    height, side = half.shape[1], width // 2
    first = half[..., :side]
    parts = [first, first[:, ::-1, ::-1]]
    if width % 2:
        upper = half[:, : height // 2, side:]
        middle = jnp.zeros_like(half[:, : height % 2, side:])
        parts.insert(1, jnp.concatenate([upper, middle, upper[:, ::-1]], 1))
    return jnp.concatenate(parts, -1)
