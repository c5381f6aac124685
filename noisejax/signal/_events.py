"""Faults of sensors that evolve or happen in time: drift, stuck readings, spikes, change points."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, fault, wide
from noisejax._random import sample
from noisejax._random.stream import positions, words
from noisejax.signal._axes import (
    extent,
    latest,
    one_each,
    read,
    running,
    same_at_all_times,
    same_in_all_channels,
    steps,
    time_axis,
)

_KINDS = ("linear", "walk", "thermal")


def _drift_options(x, kind, **_) -> None:
    _checks.one_of("drift", "kind", kind, _KINDS)


_tau = _checks.Range("above 0", lambda v: v > 0, "It is a time constant in steps.")
_finite = _checks.Range("above 0 and finite", lambda v: (v > 0) & (v < np.inf), "It is a number of steps.")


@array_noise(options=_drift_options, ranges={"amount": _checks.nonnegative, "tau": _tau, "duration": _finite})
def drift(
    key: jax.Array,
    x: jax.Array,
    amount: Amount,
    tau: Amount = np.inf,
    duration: Amount | None = None,
    *,
    kind: str = "linear",
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Drift: an error that grows or wanders in time is added.

    With ``kind="linear"`` the error at step t is ``amount * n * t / T``, with one standard normal n for each channel.
    With ``kind="walk"`` it is a random walk from 0, of standard deviation ``amount * sqrt(t / T)``. With
    ``kind="thermal"`` it is a stationary Gauss-Markov process of standard deviation `amount`, whose correlation over k
    steps is ``exp(-k / tau)``.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      amount: the standard deviation of the error in the units of x, after T steps or at any time (thermal); at least 0,
        broadcastable to x. 0 is the identity.
      tau: the time constant of ``kind="thermal"`` in steps, above 0, broadcastable to x. inf is a constant error.
      duration: the number of steps T after which a linear drift or a walk has the standard deviation `amount`,
        broadcastable to x. None for the steps of each example.
      kind: `'linear'`, `'walk'` or `'thermal'`. Static.
      mode: `'channel'`, or `'example'` for one error that all channels of an example share. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      IEEE Standard 952, "Specification format guide and test procedure for single-axis interferometric fiber optic
      gyros", 1997, annex C (rate ramp, rate random walk, Markov noise).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.drift(jax.random.key(0), jnp.zeros((2, 100, 3)), 0.5, kind="walk")
      >>> bool((y[:, 0] == 0).all()), y.shape
      (True, (2, 100, 3))
    """
    axis = time_axis("drift", x, axis)
    if x.size == 0:
        return x
    total = extent(x, axis, where) if duration is None else duration
    error, _ = wandering(key, x, amount, tau, total, kind, mode, axis)
    return x + error


def wandering(key: Any, x, amount, tau, total, kind: str, mode: str, axis: int, offset: Any = 0, carried: Any = None):
    """The error at each step, and the last value of its sum, which the windows of a stream carry."""
    for name, value in (("tau", tau), ("duration", total)):
        same_at_all_times("drift", name, value, axis)
    draw = one_each("drift", x, axis, mode)
    number = positions(x, axis) + offset
    total = jnp.maximum(jnp.asarray(total, jnp.float32), 1)
    if kind == "linear":
        slope = sample.normal(words(key, "signal.drift", **draw))
        return amount * (slope * (number.astype(jnp.float32) / total)).astype(x.dtype), carried
    step = sample.normal(words(steps(key, x, axis, offset), "signal.drift", **draw))
    if kind == "walk":
        step, factor = jnp.where(number == 0, 0, step), jnp.float32(1)
    else:
        tau = jnp.maximum(jnp.asarray(tau, jnp.float32), 1e-6)
        factor = jnp.exp(-1 / tau)
        # 1 - factor**2 loses all digits for a long time constant.
        step = jnp.where(number == 0, step, step * jnp.sqrt(-jnp.expm1(-2 / tau)))
    if carried is not None:
        step = step + jnp.where(positions(x, axis) == 0, factor * carried, 0)
    summed = running(step, factor, axis)
    error = summed / jnp.sqrt(total) if kind == "walk" else summed
    return amount * error.astype(x.dtype), summed


_duration = _checks.Range("at least 1", lambda v: v >= 1, "It is a number of steps.")


@array_noise(_checks.numbers, like_x=("value",), ranges={"rate": _checks.rate, "duration": _duration}, widen=False)
def stuck(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    duration: Amount,
    value: Amount | None = None,
    *,
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Stuck sensors: from an onset on, for some steps, a sensor repeats its reading at the onset.

    Onsets come at random, at each step with probability ``1 - (1 - rate)**(1 / duration)``, so that a sensor is stuck
    at any step with probability `rate` once `duration` steps have passed. All sensors work before the first step. An
    onset while a sensor is stuck prolongs it.

    Args:
      key: a JAX key.
      x: numbers of any dtype: series of shape (B, T, C), waveforms of shape (B, T), or a single signal of shape (T,).
      rate: the share of steps at which a sensor is stuck, in [0, 1]; one for each example or channel. Traced values are
        clamped. 0 is the identity.
      duration: the number of steps for which a sensor is stuck, at least 1 and rounded down; one for each example or
        channel.
      value: the reading of a stuck sensor, such as the end of its range; broadcastable to x. None for the reading at
        the onset.
      mode: `'channel'`, or `'example'` for all channels of an example together. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype. Hits are the samples that change: that at the onset is none if it is repeated.

    References:
      Ni et al., "Sensor network data fault types", ACM Transactions on Sensor Networks 5(3), 2009 (stuck-at faults).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.signal.stuck(jax.random.key(2), jnp.arange(12.0), 0.4, 4).tolist()
      [0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 8.0, 9.0, 10.0, 11.0]
    """
    axis = time_axis("stuck", x, axis)
    if x.size == 0:
        return Hit(False, x)
    hit, _ = stuck_steps(key, x, rate, duration, mode, axis)
    if value is not None:
        return fault(x, hit, value)
    # The step before a run of stuck ones is the last that works, so the run begins after it.
    onset = latest(~hit, axis) + 1
    return fault(x, hit, read(x, onset, axis))


def stuck_steps(key: Any, x, rate, duration, mode: str, axis: int, offset: Any = 0, carried: Any = None):
    """Which steps are stuck, and for how many steps they still will be: the windows of a stream carry the last one."""
    for name, amount in (("rate", rate), ("duration", duration)):
        same_at_all_times("stuck", name, amount, axis)
        if mode == "example":
            same_in_all_channels("stuck", name, amount, x, axis)
    draw = one_each("stuck", x, axis, mode)
    rate = jnp.clip(jnp.asarray(rate, jnp.float32), 0, 1)
    long = jnp.clip(jnp.floor(jnp.asarray(duration, jnp.float32)), 1, 2**29)
    onset_rate = jnp.where(rate < 1, -jnp.expm1(jnp.log1p(-jnp.minimum(rate, 1 - 2**-24)) / long), 1)
    onset = sample.bernoulli(words(steps(key, x, axis, offset), "signal.stuck", **draw), onset_rate)
    number, long = positions(x, axis), long.astype(jnp.int32)
    last = latest(onset, axis)
    left = jnp.where(last >= 0, jnp.maximum(long - (number - last), 0), 0)
    if carried is not None:
        left = jnp.maximum(left, carried - 1 - number)
    return left > 0, left


@array_noise(
    ranges={"rate": _checks.rate, "height": _checks.summed, "spread": _checks.summed, "decay": _tau},
    widen=False,
)
def spike(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    height: Amount,
    spread: Amount = 0.0,
    decay: Amount | None = None,
    *,
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Spikes: at random steps, ``height + spread * n`` with a random sign is added, with n standard normal.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      rate: the probability of a spike at a step, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      height: the height of a spike in the units of x, at least 0, broadcastable to x, such as 5 standard deviations of
        each channel.
      spread: the standard deviation of the heights, at least 0, broadcastable to x.
      decay: the time constant in steps with which a spike decays, above 0; one for each example or channel. None for
        spikes of a single step.
      mode: `'channel'`, or `'example'` for the same spikes, of each channel's height, in all channels. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype. Hits are the samples that change.

    References:
      Ni et al., "Sensor network data fault types", ACM Transactions on Sensor Networks 5(3), 2009 (spikes).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.spike(jax.random.key(0), jnp.zeros((1, 1000, 1)), 0.1, 5.0)
      >>> jnp.unique(y).tolist()
      [-5.0, 0.0, 5.0]
    """
    axis, wider = time_axis("spike", x, axis), wide(x)
    if x.size == 0:
        return Hit(False, x)
    draw, stream = one_each("spike", x, axis, mode), steps(key, x, axis)
    hit = sample.bernoulli(words(stream, "signal.spike", **draw), jnp.asarray(rate))
    up = sample.bernoulli(words(stream, "signal.spike.sign", **draw), 0.5)
    size = sample.normal(words(stream, "signal.spike.size", **draw)).astype(wider.dtype) * spread + height
    added = jnp.where(up, size, -size)
    if decay is None:
        return fault(x, hit, wider + added)
    same_at_all_times("spike", "decay", decay, axis)
    added = jnp.where(hit, added, 0)
    return fault(x, True, wider + running(added, jnp.exp(-1 / jnp.maximum(decay, 1e-6)), axis))


@array_noise(ranges={"shift": _checks.nonnegative, "scale": _checks.nonnegative}, widen=False)
def changepoint(
    key: jax.Array,
    x: jax.Array,
    shift: Amount,
    scale: Amount = 0.0,
    *,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """A change point: from a random step on, channels are ``x * (1 + scale * m) + shift * n``.

    The step is uniform over the steps of an example and the same in all its channels. The standard normal m and n are
    drawn for each channel.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      shift: the standard deviation of the offset, in the units of x; at least 0, broadcastable to x.
      scale: the standard deviation of the relative change, at least 0, broadcastable to x. 0 and 0 are the identity.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. The step lies before the last one that is data.

    Returns:
      An array of x's shape and dtype. Samples before the step are unchanged to the bit.

    References:
      Truong et al., "Selective review of offline change point detection methods", Signal Processing 167, 2020.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.changepoint(jax.random.key(0), jnp.zeros((4, 100, 2)), 1.0)
      >>> bool(((jnp.diff(y, axis=1) != 0).sum(1) <= 1).all())
      True
    """
    axis = time_axis("changepoint", x, axis)
    wider = wide(x)
    each, every = (one_each("changepoint", x, axis, mode) for mode in ("example", "channel"))
    number = extent(x, axis, where)
    high, low = (words(key, f"signal.changepoint.{part}", **each) for part in ("high", "low"))
    start = sample.integers(high, low, jnp.maximum(number, 1))
    n, m = (sample.normal(words(key, f"signal.changepoint.{part}", **every)) for part in ("shift", "scale"))
    value = wider * (1 + scale * m.astype(wider.dtype)) + shift * n.astype(wider.dtype)
    return fault(x, positions(x, axis) >= start, value)
