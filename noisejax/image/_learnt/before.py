"""The noise before what a camera does to its pictures afterwards, found by simulation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax.image._learnt.model import SensorModel
from noisejax.image._learnt.sensor import sensor

# The first rounds correct the whole ratio. Later ones average, since each simulation has errors of its own.
STEPS = (1.0, 1.0, 1.0, 1.0, 1.0, 0.7, 0.5, 0.4, 0.3, 0.25)
MOST = 4.0  # the largest correction of a power in one round, either way


def noise_before(
    after: Callable[..., Any],
    clean: list[np.ndarray],
    target: SensorModel,
    measured: Callable[[list[tuple[np.ndarray, np.ndarray]]], SensorModel],
) -> SensorModel:
    """The noise which, with `after` behind it, is measured as `target` on these clean pictures.

    A fixed point: add the noise, apply `after`, measure, and correct each part by what is missing.
    """

    found = target
    for turn, step in enumerate(STEPS):
        keys = jax.random.split(jax.random.key(turn), len(clean))
        pairs = []
        for n, picture in enumerate(clean):
            own = SensorModel(found.sizes[n : n + 1], found.spectrum, found.channels, found.curve)
            x = jnp.asarray(picture, jnp.float32)
            drawn, other = jax.random.split(keys[n])
            with_noise = sensor(drawn, x[None], jax.tree.map(lambda part: jnp.asarray(part, jnp.float32), own))
            pairs.append((picture, _checked(after(other, with_noise), x)))
        now = measured(pairs)
        if not np.all(now.sizes > 0):
            raise ValueError(
                "fit_sensor: after must leave some of the noise, but it removes all of it from pair "
                f"{int(np.argmin(now.sizes))}. Leave out such pairs, or pass what really happens to the pictures."
            )
        found = _corrected(found, now, target, step)
    return found


def _corrected(found: SensorModel, now: SensorModel, target: SensorModel, step: float) -> SensorModel:
    """The parts of `found`, times the ratios of what is wanted to what is measured."""

    def ratio(wanted, got, most):
        return np.clip(wanted / np.maximum(got, 1e-12), 1 / most, most) ** step

    sizes = found.sizes * ratio(target.sizes, now.sizes, MOST**0.5)
    spectrum = found.spectrum * np.exp(_smooth(np.log(ratio(target.spectrum, now.spectrum, MOST))))
    curve = found.curve * ratio(target.curve, now.curve, MOST**0.5)
    # The map that takes the measured correlation to the wanted one, applied to the noise before.
    change = np.asarray(target.channels) @ np.linalg.pinv(now.channels)
    change = (1 - step) * np.eye(len(change)) + step * change
    covariance = change @ found.channels @ np.transpose(found.channels) @ change.T
    covariance *= len(change) / max(np.trace(covariance), 1e-12)
    return SensorModel(sizes, spectrum / spectrum.mean(), root(covariance), curve)  # pyright: ignore[reportArgumentType]


def _smooth(values: np.ndarray) -> np.ndarray:
    """A map of frequencies without its scatter: the blocks of a compression are 8 pixels wide, 1/16 of its width."""
    frequency = np.fft.fftfreq(len(values), 1 / len(values))
    taper = np.exp(-0.5 * (2 * np.pi * frequency / 32) ** 2)  # a Gaussian of 1/32 of the width
    return np.fft.ifft2(np.fft.fft2(values) * taper[:, None] * taper).real


def root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root, which exists also where one channel repeats another."""
    value, vector = np.linalg.eigh(covariance)
    return (vector * np.sqrt(np.maximum(value, 0))) @ vector.T


def _checked(noisy: Any, x: jax.Array) -> np.ndarray:
    """The picture that `after` returned, as float64."""
    if not isinstance(noisy, (jax.Array, np.ndarray)) or noisy.shape != (1, *x.shape):
        raise ValueError(
            f"fit_sensor: after must return pictures of the shape that it is given, {(1, *x.shape)}, got "
            f"{_checks.shown(noisy)}."
        )
    if isinstance(noisy, Tracer):
        raise TypeError("fit_sensor: after is traced, and pictures are fitted on the host. Call it outside of jit.")
    found = np.asarray(noisy[0], np.float64)
    if not np.isfinite(found).all():
        raise ValueError("fit_sensor: after must return finite pictures, got NaN or infinite values.")
    return found
