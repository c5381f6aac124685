"""How the noise of a camera is fitted to pairs of pictures."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._noise import Noise, address
from noisejax.image._learnt.before import noise_before, root
from noisejax.image._learnt.model import LEVELS, SensorModel


def fit_sensor(
    clean: Any,
    noisy: Any,
    *,
    size: int = 64,
    brightness: bool = False,
    after: Callable[..., Any] | None = None,
) -> SensorModel:
    """Learns the noise of a camera from pairs of pictures, clean and noisy, for the noise `sensor`. A few are enough.

    A clean picture is a mean of many shots of one scene, or one shot at low sensitivity. What is learnt: the size of
    the noise in each picture, its power spectrum, which demosaicing, denoising and compression shape, and the
    correlation of its channels. The signal dependence of developed pictures, whose tone curve is not linear, is a free
    curve over the brightness; it is off by default.

    JPEG files need `after`. Compression removes the weak frequencies of each block together with the noise in them,
    which no Gaussian field does. With ``after=nj.keyless(nj.image.jpeg, quality=75)`` the model is that of the noise
    before compression, found by simulation, and ``nj.chain(nj.bind(nj.image.sensor, model=model), after)`` imitates the
    pairs.

    Args:
      clean, noisy: pictures of shape (N, H, W, C), floats in [0, 1] or uint8/uint16 images; or two lists of pictures
        (H, W, C), whose sizes may differ from pair to pair. Both of a pair must be aligned to the pixel.
      size: the number of frequencies along each axis: noise is correlated over up to half as many pixels. Smaller
        pictures lower it.
      brightness: whether to fit the curve over the brightness.
      after: what happens to pictures after the noise: a noise, or a function (key, x) -> x of pictures (1, H, W, C),
        floats in [0, 1] with noise. It runs on the host, outside of jit. None for nothing.

    Returns:
      The fitted model: a pytree, whose fields can be read.

    Raises:
      TypeError: pictures that are not arrays of floats or uint8/uint16.
      ValueError: no pair; pairs of different shapes or fewer than 8 pixels along an axis; values that are not finite,
        or floats outside of [0, 1]; equal pictures, which have no noise; an `after` that returns pictures of another
        shape, or that removes all noise.

    References:
      Welch, "The use of fast Fourier transform for the estimation of power spectra", IEEE Transactions on Audio and
      Electroacoustics 15(2), 1967.

    Example:
      >>> import numpy as np, noisejax as nj
      >>> clean = np.full((2, 64, 64, 3), 0.5, np.float32)
      >>> noise = np.random.default_rng(0).normal(size=clean.shape).astype(np.float32)
      >>> model = nj.image.fit_sensor(clean, clean + 0.05 * noise)
      >>> [round(float(size), 2) for size in model.sizes]
      [0.05, 0.05]
    """
    size = _checks.count("fit_sensor", "size", size, least=8)
    brightness = _checks.flag("fit_sensor", "brightness", brightness)
    if after is not None:
        _checks.function("fit_sensor", "after", after, "(key, x) -> x, or a noise")
        if hasattr(after, "__noise__") and not isinstance(after, Noise):
            raise TypeError(f"fit_sensor: after must be a bound noise: nj.bind({address(after)}, ...).")
    pairs = _pairs(clean, noisy)
    size = min(size, *(n for before, _ in pairs for n in before.shape[:2]))
    found = measured(pairs, size, brightness)
    if not np.all(found.sizes > 0):
        raise ValueError(
            f"fit_sensor: noisy must differ from clean, but pair {int(np.argmin(found.sizes))} is equal. Leave it out."
        )
    if after is not None:
        found = noise_before(after, [a for a, _ in pairs], found, lambda pairs: measured(pairs, size, brightness))
    return SensorModel(
        *(part.astype(np.float32) for part in (found.sizes, found.spectrum, found.channels, found.curve))
    )


def measured(pairs: list[tuple[np.ndarray, np.ndarray]], size: int, brightness: bool) -> SensorModel:
    """The noise in pairs, in float64. Where a pair is equal, its size is 0 and the other fields mean nothing."""
    residuals = [after - before for before, after in pairs]
    residuals = [r - r.mean((0, 1)) for r in residuals]
    curve = np.ones(LEVELS)
    if brightness:
        curve = _curve(pairs, residuals)
        residuals = [r / _read(curve, before) for r, (before, _) in zip(residuals, pairs, strict=True)]
    sizes = np.array([np.sqrt((r**2).mean()) for r in residuals])
    units = [r / max(s, 1e-12) for r, s in zip(residuals, sizes, strict=True)]
    spectrum = np.mean([_spectrum(unit, size) for unit in units], axis=0)
    spectrum = spectrum / max(spectrum.mean(), 1e-30)
    covariance = np.mean([np.einsum("hwc,hwd->cd", u, u) / (u.shape[0] * u.shape[1]) for u in units], axis=0)
    return SensorModel(sizes, spectrum, root(covariance), curve)  # pyright: ignore[reportArgumentType]


def _pairs(clean: Any, noisy: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    before, after = (_list("fit_sensor", name, value) for name, value in (("clean", clean), ("noisy", noisy)))
    if len(before) != len(after) or not before:
        raise ValueError(
            f"fit_sensor: clean and noisy must have the same number of pictures, at least 1, got {len(before)} and "
            f"{len(after)}."
        )
    for n, (a, b) in enumerate(zip(before, after, strict=True)):
        if a.shape != b.shape or a.shape[-1] != before[0].shape[-1]:
            raise ValueError(
                f"fit_sensor: pair {n} has shapes {a.shape} and {b.shape}. Both must be equal, and all pairs must have "
                "as many channels."
            )
    return list(zip(before, after, strict=True))


def _list(function: str, name: str, value: Any) -> list[np.ndarray]:
    """Pictures (H, W, C) in [0, 1] as float64."""
    if (
        not isinstance(value, (Sequence, jax.Array, np.ndarray))
        or isinstance(value, (str, bytes))
        or getattr(value, "ndim", 1) == 0
    ):
        raise TypeError(
            f"{function}: {name} must be an array of pictures or a list of them, got {_checks.shown(value)}."
        )
    found = []
    for picture in value:
        if isinstance(picture, Tracer):
            raise TypeError(
                f"{function}: {name} is traced, and pictures are fitted on the host. Call it outside of jit."
            )
        _checks.native(function, name, picture)
        _checks.array(function, picture, _checks.images, name)
        picture = np.asarray(picture)
        if picture.ndim != 3 or min(picture.shape[:2]) < 8 or not picture.size:
            raise ValueError(
                f"{function}: {name} must be pictures (N, H, W, C), or a list of (H, W, C), with H and W at least 8, "
                f"got a picture of shape {picture.shape}. Give a single picture as {name}[None]."
            )
        white = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
        picture = picture.astype(np.float64) / white
        if not np.isfinite(picture).all():
            raise ValueError(f"{function}: {name} must be finite, got NaN or infinite values. Leave such pictures out.")
        if np.abs(picture).max() > 2:
            raise ValueError(
                f"{function}: {name} must lie in [0, 1], got {np.abs(picture).max():g}. Divide grey levels by 255, or "
                "pass uint8."
            )
        found.append(picture)
    return found


def _spectrum(unit: np.ndarray, size: int) -> np.ndarray:
    """The mean power of half-overlapping windows with Hann's taper, over all channels."""
    taper = np.hanning(size + 2)[1:-1]
    step = max(size // 2, 1)
    windows = np.lib.stride_tricks.sliding_window_view(unit, (size, size), axis=(0, 1))[::step, ::step]
    total = np.zeros((size, size))
    for row in windows:  # one row of windows at a time, to bound the memory
        total += (np.abs(np.fft.fft2(row * taper[:, None] * taper)) ** 2).sum((0, 1))
    return total


def _curve(pairs: list, residuals: list) -> np.ndarray:
    """The root mean square of unit residuals at each level of brightness, with weights of linear interpolation."""
    square, weight = np.zeros(LEVELS), np.zeros(LEVELS)
    for (before, _), residual in zip(pairs, residuals, strict=True):
        place = np.clip(before, 0, 1).reshape(-1) * (LEVELS - 1)
        relative = (residual / max(np.sqrt((residual**2).mean()), 1e-12)).reshape(-1) ** 2
        low = np.minimum(place.astype(int), LEVELS - 2)
        for index, share in ((low, low + 1 - place), (low + 1, place - low)):
            square += np.bincount(index, share * relative, LEVELS)
            weight += np.bincount(index, share, LEVELS)
    known = weight > 1e-3 * weight.sum()  # levels that hardly occur take the value of their neighbours
    levels = np.arange(LEVELS)
    found = np.interp(levels, levels[known], np.sqrt(square[known] / weight[known]))
    mean = np.sqrt((weight * found**2).sum() / weight.sum())
    return np.maximum(found / max(mean, 1e-12), 1e-3)


def _read(curve: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.interp(values, np.linspace(0, 1, LEVELS), curve)
