"""The noise that applies a learnt model of a sensor."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Mask, array_noise, saturate, straight_through, wide
from noisejax._random import sample
from noisejax._random.stream import fold, stage, words
from noisejax.signal._audio import convolved
from noisejax.signal._axes import channel_axes, one_each, same_at_all_times, same_in_all_channels, time_axis
from noisejax.signal._events import wandering
from noisejax.signal._gaps import FILLS, filled, losses
from noisejax.signal._learnt.model import FaultModel


def _options(x, fill, **_) -> None:
    _checks.one_of("faults", "fill", fill, FILLS)


@array_noise(_checks.floats, options=_options, like_x=("value",), ranges={"strength": _checks.nonnegative}, widen=False)
def faults(
    key: jax.Array,
    x: jax.Array,
    model: FaultModel,
    strength: Amount = 1.0,
    value: Amount = np.nan,
    *,
    fill: str = "value",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """The faults of a sensor, learnt from recordings by `fit`, `fit_noise` or `fit_bursts`.

    The readings are ``gain * x + offset``, with a gain and an offset for each example, plus a random walk from 0 and
    Gaussian noise with the fitted spectrum. They are limited to the fitted range, rounded to the fitted grid, and lost
    in the fitted gaps. Channels differ in their amounts and draws, but for gaps that all channels share.

    Args:
      key: a JAX key.
      x: floats: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,), with the
        channels of the fitted recordings, or with any number if the model has one.
      model: the result of `fit`, `fit_noise` or `fit_bursts`.
      strength: a factor of all faults, at least 0: a scalar, or one for each example. 0 is the identity and 1 as
        fitted. It multiplies the deviation of the gain from 1, the offset, the drift, the noise and the step of the
        grid, and the share of the steps that are lost, up to 1. The range is widened by it about the median reading.
      value: the value of lost samples, NaN by default; broadcastable to x.
      fill: `'value'`, or `'hold'` and `'linear'` to fill gaps as `bursts` does. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding fills no gap.

    Returns:
      An array of x's shape and dtype.

    Raises:
      TypeError: a model that is none.
      ValueError: x has a different number of channels than the fitted recordings.

    References:
      IEEE Standard 952, 1997, annex C (rate random walk); Elliott, "Estimates of error rates for codes on burst-noise
      channels", Bell System Technical Journal 42, 1963; Welch, IEEE Transactions on Audio and Electroacoustics 15(2),
      1967.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, noisejax as nj
      >>> model = nj.signal.fit_noise(np.random.default_rng(0).normal(0, 0.2, 20_000))
      >>> y = nj.signal.faults(jax.random.key(0), jnp.zeros((4, 1000, 3)), model)
      >>> round(float(y.std()), 1)
      0.2
    """
    if not isinstance(model, FaultModel):
        raise TypeError(f"faults: model must be fitted, nj.signal.fit(clean, faulty), got {model!r}.")
    axis = time_axis("faults", x, axis)
    same_at_all_times("faults", "strength", strength, axis)
    same_in_all_channels("faults", "strength", strength, x, axis)
    each = channel_axes(x, axis)
    if model.channels > 1 and not (each and each[-1] == x.ndim - 1 and x.shape[-1] == model.channels):
        raise ValueError(
            f"faults: the model was fitted to recordings of {model.channels} channels, and x must have as many along "
            f"its last axis, got shape {x.shape} with time along axis {axis}. Fit it to recordings of the same kind."
        )
    if x.size == 0:
        return x
    strength = jnp.asarray(strength, jnp.float32)

    def part(values: Any, dtype: Any = jnp.float32) -> jax.Array:
        """A value for each channel, of x's rank."""
        return jnp.asarray(values).astype(dtype).reshape((1,) * (x.ndim - 1) + (-1,)) if each else _alone(values, x)

    read = values = wide(x)
    if model.gain is not None:
        draw = one_each("faults", x, axis, "channel")
        n, m = (sample.normal(words(key, f"signal.faults.{name}", **draw)) for name in ("gain", "offset"))
        gain = 1 + strength * (part(model.gain) + part(model.gain_std) * n - 1)
        read = gain.astype(values.dtype) * values
        offset = strength * (part(model.offset) + part(model.offset_std) * m)
        read = read + offset.astype(values.dtype)
    if model.noise is not None:
        own = stage(key, "signal.faults")
        walk = (strength * part(model.walk)).astype(values.dtype)
        error, _ = wandering(own, values, walk, np.inf, 1, "walk", "channel", axis)
        noise = strength * part(model.noise) * _colored(own, x, model.spectrum, axis)
        read = read + error + noise.astype(values.dtype)
    if model.low is not None:
        centre, wider = part(model.centre), 1 / jnp.maximum(strength, np.float32(1e-30))
        low, high = (_widened(part(end), centre, wider) for end in (model.low, model.high))
        read = jnp.clip(read, low.astype(read.dtype), high.astype(read.dtype))
    if model.step is not None:
        step, origin = (part(v, read.dtype) for v in (model.step, model.origin))
        step = step * strength.astype(read.dtype)
        safe = jnp.where(step > 0, step, 1)
        rounded = origin + jnp.round((read - origin) / safe) * safe
        read = straight_through(jnp.where(step > 0, rounded, read), read)
    y = saturate(jnp.where(strength > 0, read, values), x.dtype)
    if model.rate is None:
        return y
    lost = _lost(key, x, model, strength, axis, part)
    return jnp.where(lost, saturate(filled(y, lost, value, fill, axis, where), x.dtype), y)


def _widened(end: jax.Array, centre: jax.Array, factor: jax.Array) -> jax.Array:
    """A limit further from the centre. An infinite one stays, with no gradient of infinity times 0."""
    finite = jnp.isfinite(end)
    return jnp.where(finite, centre + (jnp.where(finite, end, centre) - centre) * factor, end)


def _alone(values: Any, x: jax.Array) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape((1,) * x.ndim)


def _lost(key: Any, x: jax.Array, model: FaultModel, strength: jax.Array, axis: int, part) -> jax.Array:
    """The steps that are lost in either chain."""
    mode = "example" if model.together else "channel"
    found = []
    for n in range(np.shape(model.rate)[0]):
        rate = jnp.clip(strength * part(model.rate[n]), 0, 1)
        own = stage(key, f"signal.faults.gaps.{n}")
        found.append(losses(own, x, rate, part(model.burst[n]), None, None, mode, axis)[0])
    return found[0] | found[1]


def _colored(key: Any, x: jax.Array, spectrum: Any, axis: int) -> jax.Array:
    """Noise of unit variance with the fitted spectrum of each channel: white noise of the steps, filtered.

    A draw belongs to the number of its step, so that padding and the length of x change none.
    """
    power = jnp.asarray(spectrum, jnp.float32)
    half = power.shape[-1] - 1
    taps = 2 * half + 1
    # The filter of even phase: its transform is the root of the power.
    turn = np.cos(2 * np.pi / taps * np.outer(np.arange(half + 1), np.arange(-half, half + 1)))
    turn[1:] *= 2
    kernel = jnp.einsum("cf,ft->ct", jnp.sqrt(power), turn.astype(np.float32), precision=lax.Precision.HIGHEST)
    kernel = kernel / jnp.sqrt(jnp.maximum((kernel**2).sum(-1, keepdims=True), np.float32(1e-30)))
    number = lax.broadcasted_iota(
        jnp.int32, tuple(x.shape[axis] + 2 * half if n == axis else 1 for n in range(x.ndim)), axis
    )
    white = sample.normal(
        words(fold(key, number - half), "signal.faults.noise", **one_each("faults", x, axis, "channel"))
    )
    series = jnp.moveaxis(white, axis, -1)
    filtered = convolved(series, kernel.reshape((1,) * (x.ndim - 2) + kernel.shape) if x.ndim > 1 else kernel[0])
    return jnp.moveaxis(lax.slice_in_dim(filtered, half, half + x.shape[axis], axis=x.ndim - 1), -1, axis)
