"""Weights as conductances: noise relative to a tensor's scale, programming, read noise and drift.

A device stores a weight w in a pair of cells, one for each sign: ``w = scale * (g+ - g-)``. One cell is programmed to
``|w| / scale`` and the other to 0. The scale, the largest ``|w|``, corresponds to the largest conductance (25
microsiemens). Each cell has its own noise. The constants were fitted to a million phase-change memory cells (Joshi et
al. 2020; Nandakumar et al. 2019) and agree with those of IBM's aihwkit 1.1.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Mask, array_noise, straight_through
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.weights import _scale

_FIRST_READ = 20.0  # seconds from programming to the first reading, from which drift is measured
_READ_TIME = 250e-9  # seconds


def _relative_to(x: jax.Array, to, channel_axis) -> None:
    _checks.one_of("relative_gaussian", "to", to, ("absmax", "std"))


@array_noise(_checks.floats, sees="batch", options=_relative_to, ranges={"std": _checks.nonnegative})
def relative_gaussian(
    key: jax.Array,
    x: jax.Array,
    std: Amount,
    *,
    to: str = "absmax",
    channel_axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Gaussian noise relative to the scale of the weights: ``w + std * scale * n``, with n standard normal.

    The gradient with respect to w is 1: the scale is not differentiated.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      std: the standard deviation in units of the scale; at least 0, broadcastable to x. 0 is the identity.
      to: the scale: `'absmax'`, the largest ``|w|``, or `'std'`, their standard deviation. Static.
      channel_axis: the axis of channels that have separate scales; -1 for a kernel's outputs; None for one scale.
        Static.
      where, lengths: padding, neither noised nor measured; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
      Communications 11:2473, 2020, equation 1 (``absmax``); aihwkit's ADD_NORMAL modifier with
      ``rel_to_actual_wmax``.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> w = jnp.array([[1.0, 100.0], [-2.0, 50.0]])
      >>> nj.weights.relative_gaussian(jax.random.key(0), w, 0.05, channel_axis=-1).shape
      (2, 2)
    """
    measure = _scale.absmax if to == "absmax" else _scale.spread
    scale = measure(x, _scale.axes("relative_gaussian", x, channel_axis), where)
    return x + std * scale * _normal(key, "relative", x)


def _first_read(x: jax.Array, first_read) -> None:
    if not isinstance(first_read, (int, float, np.floating, np.integer)) or not 0 < first_read < np.inf:
        raise ValueError(
            f"conductance_drift: first_read must be a number above 0 and finite, got {first_read!r}. It is in seconds."
        )


@array_noise(
    _checks.floats,
    sees="element",
    options=_first_read,
    ranges={"time": _checks.nonnegative, "nu": _checks.nonnegative, "nu_std": _checks.nonnegative},
)
def conductance_drift(
    key: jax.Array,
    x: jax.Array,
    time: Amount,
    nu: Amount,
    nu_std: Amount = 0.0,
    *,
    first_read: float = _FIRST_READ,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Conductance drift: ``w * ((time + t0) / t0)**-v``, with ``v = |nu + nu_std * n|`` for each weight.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      time: the seconds since the first reading, at least 0 (negative traced values count as 0), broadcastable to x. 0
        is the identity.
      nu: the drift exponent, broadcastable to x; about 0.05 for phase-change memory.
      nu_std: the standard deviation of the exponent between weights, broadcastable to x.
      first_read: t0, the seconds from programming to the first reading. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
      Communications 11:2473, 2020. There the exponent depends on the conductance, as in `phase_change`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.weights.conductance_drift(jax.random.key(0), jnp.ones(1), 20 * (2**10 - 1), 0.1).round(4).tolist()
      [0.5]
    """
    exponent = jnp.abs(nu + nu_std * _normal(key, "conductance_drift", x))
    return x * jnp.exp(-exponent * jnp.log1p(jnp.maximum(time, 0) / first_read))


@array_noise(_checks.floats, sees="batch", ranges={"scale": _checks.nonnegative})
def programming_noise(
    key: jax.Array,
    x: jax.Array,
    scale: Amount = 1.0,
    *,
    channel_axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Programming noise of phase-change memory: each cell of a pair is ``max(g + scale * s(g) n, 0)``.

    In units of the largest conductance, ``25 s(g) = 0.26348 + 1.9650 g - 1.1731 g**2``; n is standard normal. The
    gradient is straight-through: 1 with respect to w.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      scale: a factor on the noise, at least 0, broadcastable to x. 0 is the identity, 1 the measured noise.
      channel_axis: the axis of channels that are scaled separately, each so that its largest ``|w|`` has the largest
        conductance; -1 for a kernel's outputs; None for one scale. Static.
      where, lengths: padding, neither noised nor measured; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
      Communications 11:2473, 2020; aihwkit 1.1, PCMLikeNoiseModel.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.weights.programming_noise(jax.random.key(0), jnp.linspace(-1, 1, 5)).shape
      (5,)
    """

    def cell(g, name):
        return _programmed(g, _bounded(scale) * _normal(key, f"programming_noise.{name}", x))

    return _pair(x, _scale.axes("programming_noise", x, channel_axis), where, cell)


@array_noise(_checks.floats, sees="batch", ranges={"time": _checks.nonnegative, "scale": _checks.nonnegative})
def read_noise(
    key: jax.Array,
    x: jax.Array,
    time: Amount,
    scale: Amount = 1.0,
    *,
    channel_axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """1/f read noise of phase-change memory: each cell of a pair is ``max(g (1 + scale q(g) r n), 0)``.

    ``q(g) = min(0.0088 / g**0.65, 0.2)`` with g in units of the largest conductance, and
    ``r = sqrt(log((t + t_read) / (2 t_read)))``, where t is the time since programming (20 seconds more than `time`)
    and t_read is 250 nanoseconds. n is standard normal. Each reading draws a new n: use a new key for each reading. The
    gradient is straight-through: 1 with respect to w.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      time: the seconds since the first reading, at least 0, broadcastable to x.
      scale: a factor on the noise, at least 0, broadcastable to x. 0 is the identity, 1 the measured noise.
      channel_axis: the axis of channels that are scaled separately, each so that its largest ``|w|`` has the largest
        conductance; -1 for a kernel's outputs; None for one scale. Static.
      where, lengths: padding, neither noised nor measured; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
      Communications 11:2473, 2020; aihwkit 1.1, PCMLikeNoiseModel.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.weights.read_noise(jax.random.key(0), jnp.linspace(-1, 1, 5), 3600.0).shape
      (5,)
    """

    def cell(g, name):
        return _read(g, g, time, _bounded(scale) * _normal(key, f"read_noise.{name}", x))

    return _pair(x, _scale.axes("read_noise", x, channel_axis), where, cell)


@array_noise(_checks.floats, sees="batch", ranges={"time": _checks.nonnegative, "scale": _checks.nonnegative})
def phase_change(
    key: jax.Array,
    x: jax.Array,
    time: Amount,
    scale: Amount = 1.0,
    *,
    compensate: bool = False,
    channel_axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Weights in phase-change memory after `time` seconds: programming noise, drift and read noise of every cell.

    A cell is programmed as in `programming_noise`, drifts by ``((time + 20) / 20)**-v`` and is read as in `read_noise`.
    Its exponent is ``v = |m(g) + s(g) n|``, with ``m = clip(0.0244 - 0.0155 log g, 0.049, 0.1)`` and
    ``s = clip(-0.0059 - 0.0125 log g, 0.008, 0.045)``, where g is the target conductance and n is standard normal. The
    gradient is straight-through: 1 with respect to w.

    Args:
      key: a JAX key. The same key gives the same device: at a later time the same cells have drifted further. The
        draws of its read noise are also the same.
      x: the weights, floats of any shape.
      time: the seconds since the first reading, at least 0, broadcastable to x: 3600 for an hour, 31536000 for a year.
      scale: a factor on all three noises, at least 0, broadcastable to x. 0 is the identity, 1 the measured noise.
      compensate: whether to apply global drift compensation: the result is multiplied by the mean ``|w|`` as programmed
        over the mean ``|w|`` as read, both over the whole array. Static.
      channel_axis: the axis of channels that are scaled separately, each so that its largest ``|w|`` has the largest
        conductance; -1 for a kernel's outputs; None for one scale. Static.
      where, lengths: padding, neither noised nor measured; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature
      Communications 11:2473, 2020; Nandakumar et al., "Phase-change memory models for deep learning training and
      inference", ICECS 2019; aihwkit 1.1, PCMLikeNoiseModel. aihwkit converts the programmed weights to pairs again
      before they drift, so the cell programmed to 0 stays 0. Here both cells drift.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> w = jnp.linspace(-1, 1, 1000)
      >>> hour, year = (abs(nj.weights.phase_change(jax.random.key(0), w, t)).mean() for t in (3600, 31536000))
      >>> bool(year < hour)
      True
    """
    over, scale = _scale.axes("phase_change", x, channel_axis), _bounded(scale)

    def programmed(g, name):
        return _programmed(g, scale * _normal(key, f"phase_change.programming.{name}", x))

    def cell(g, name):
        start, log_g = programmed(g, name), jnp.log(jnp.maximum(g, 1e-7))
        mean = jnp.clip(0.0244 - 0.0155 * log_g, 0.049, 0.1)
        spread = jnp.clip(-0.0059 - 0.0125 * log_g, 0.008, 0.045)
        exponent = scale * jnp.abs(mean + spread * _normal(key, f"phase_change.drift.{name}", x))
        drifted = start * jnp.exp(-exponent * jnp.log1p(jnp.maximum(time, 0) / _FIRST_READ))
        return _read(drifted, start, time, scale * _normal(key, f"phase_change.read.{name}", x))

    y = _pair(x, over, where, cell)
    if not compensate:
        return y
    valid = jnp.isfinite(x) if where is None else jnp.isfinite(x) & where
    before, after = (
        jnp.sum(jnp.where(valid, jnp.abs(v), 0), keepdims=True)
        for v in jax.lax.stop_gradient((_pair(x, over, where, programmed), y))
    )
    factor = jnp.where(after > 0, before / jnp.where(after > 0, after, 1), 1)
    return jnp.where(valid, straight_through(y * factor, y), y)


def _pair(x: jax.Array, over: tuple[int, ...], where, cell) -> jax.Array:
    """The weights after `cell` (g, name) has acted on both cells of each pair; g in units of the largest conductance.

    The change is computed and added, so that without noise the result is exactly x. Weights that are not finite are
    unchanged.
    """
    largest, finite = _scale.absmax(x, over, where), jnp.where(jnp.isfinite(x), x, 0)
    g = jax.lax.stop_gradient(finite) / jnp.where(largest > 0, largest, 1)
    size = jnp.abs(g)
    change = (cell(size, "used") - size) - cell(jnp.zeros((), x.dtype), "idle")
    return x + largest * jnp.where(g < 0, -change, change)


def _bounded(amount: Any) -> jax.Array:
    """The amount, at most 1e30, so that the two cells of a pair do not both become infinite."""
    return jnp.minimum(amount, 1e30)


def _programmed(g: jax.Array, noise: Any) -> jax.Array:
    return jnp.maximum(g + (0.26348 + 1.9650 * g - 1.1731 * g * g) / 25 * noise, 0)


def _read(g: jax.Array, start: jax.Array, time, noise: Any) -> jax.Array:
    """The conductance read from a cell that was programmed to `start` and now has g."""
    q = jnp.minimum(0.0088 * jnp.exp(-0.65 * jnp.log(jnp.maximum(start, 1e-4))), 0.2)  # q is already 0.2 below 0.008
    seconds = _bounded(jnp.maximum(time, 0)) + _FIRST_READ
    return jnp.maximum(g + g * q * jnp.sqrt(jnp.log((seconds + _READ_TIME) / (2 * _READ_TIME))) * noise, 0)


def _normal(key, tag: str, x: jax.Array) -> jax.Array:
    return sample.normal(words_like(key, tag, x)).astype(x.dtype)
