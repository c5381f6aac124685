"""Procedural frost: ridges and clouds, as numbers measured on photographs of frost say."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._random.fourier import fourier, smooth

# Power at frequencies in cycles per 224 pixels of a photograph of frost: of the clouds, and of the field whose zeros
# are the ridges.
_FREQUENCY = np.array([1.4, 2.4, 3.9, 6.3, 10.0, 16.5, 27.0, 44.0, 70.0, 100.0])
_CLOUDS = np.array([9.25e-1, 2e-3, 6.8e-2, 1.77e-2, 8.78e-3, 3.31e-3, 1.3e-3, 6.37e-4, 2.79e-4, 7.39e-5])
_RIDGE_WIDTH, _RIDGE_MEAN, _RIDGE_STD = np.float32(0.25), np.float32(0.1887), np.float32(0.2502)
_SHARE = np.float32(0.2)  # of the variance, in ridges

# Of grey levels in [0, 1], by channel: the mean, its deviation from photograph to photograph, and that within one.
MEAN, BETWEEN, WITHIN = (
    np.array(v, np.float32) for v in ((0.564, 0.647, 0.693), (0.195, 0.137, 0.131), (0.104, 0.098, 0.099))
)
TINT = np.array([0.52, 0.0, 0.0], np.float32)  # red has a part of its own


def torus(n: int) -> int:
    return smooth(n + n // 4)


def _amplitudes(shape: tuple[int, int], scale: float) -> np.ndarray:
    """The roots of both spectra on a torus, (2, H, W), for photographs that are scaled."""
    i, j = (np.fft.fftfreq(n) for n in shape)
    cycles = np.hypot(i[:, None], j) * 224 * scale
    slope = np.log(_CLOUDS[-1] / _CLOUDS[-2]) / np.log(_FREQUENCY[-1] / _FREQUENCY[-2])
    above = np.maximum(cycles / _FREQUENCY[-1], 1) ** slope
    clouds = above * np.exp(np.interp(np.log(np.maximum(cycles, 0.5)), np.log(_FREQUENCY), np.log(_CLOUDS)))
    ridges = cycles**2 / (1 + (cycles / 8) ** 2) ** 3
    found = np.stack([clouds, ridges])
    found[:, 0, 0] = 0
    return np.sqrt(found / found.sum((1, 2), keepdims=True)).astype(np.float32)


def fields(real: jax.Array, imaginary: jax.Array, scale: float) -> jax.Array:
    """Clouds of unit variance, and the field of the ridges: from normal draws (..., 2, H, W)."""
    amplitude = _amplitudes((real.shape[-2], real.shape[-1]), scale)
    amplitude = amplitude.reshape((1,) * (real.ndim - 3) + amplitude.shape)
    lines = fourier(lax.complex(amplitude * real, amplitude * imaginary))
    return jnp.swapaxes(fourier(jnp.swapaxes(lines, -1, -2)), -1, -2).real


def crystals(clouds: jax.Array, field: jax.Array) -> jax.Array:
    """A layer of unit variance."""
    ridges = (jnp.exp(-jnp.abs(field) / _RIDGE_WIDTH) - _RIDGE_MEAN) / _RIDGE_STD
    return jnp.sqrt(1 - _SHARE) * clouds + jnp.sqrt(_SHARE) * ridges
