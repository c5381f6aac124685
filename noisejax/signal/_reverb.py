"""Reverberation, by responses that were measured or drawn."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount, Mask, array_noise
from noisejax._random import sample
from noisejax._random.fourier import smooth, spectrum, waves
from noisejax._random.stream import enter, words
from noisejax._sharding import automatic
from noisejax.signal._axes import one_each, time_axis


@array_noise(banks=("responses",), ranges={"responses": _checks.real, "wet": _checks.nonnegative})
def reverb(
    key: jax.Array,
    x: jax.Array,
    responses: Amount,
    wet: Amount = 1.0,
    *,
    align: bool = True,
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Reverberation: the first T samples of the convolution of x with the impulse response of a room.

    A response is drawn for each example. It is not scaled. The result is ``x + wet * (x * h - x)``.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: waveforms of shape (B, T), series of shape (B, T, C), or a signal of shape (T,).
      responses: impulse responses of shape (R, taps), measured or from `decaying_responses`; float32. Coefficients
        that are later than x is long have no effect.
      wet: the share of the reverberation, at least 0, broadcastable to x. 0 is the identity.
      align: whether the largest coefficient of a response counts as its time 0, so that nothing is delayed. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Padding, and values that are not finite, count as 0.

    Returns:
      An array of x's shape and dtype.

    Raises:
      ValueError: responses is not of shape (R, taps).

    References:
      Ko et al., "A study on data augmentation of reverberant speech for robust speech recognition", ICASSP 2017.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1, 6)).at[0, 1].set(1.0)
      >>> y = nj.signal.reverb(jax.random.key(0), x, jnp.array([[0.0, 1.0, 0.5]]))
      >>> (abs(y).round(3) + 0.0).tolist()
      [[0.0, 1.0, 0.5, 0.0, 0.0, 0.0]]
    """
    axis = time_axis("reverb", x, axis)
    table: Any = jnp.asarray(responses)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"reverb: responses must have shape (R, taps), got {table.shape}. One response: h[None].")
    if x.size == 0:
        return x
    loud = jnp.max(jnp.abs(table)) > 2.0**60  # as for x below
    table = table * jnp.where(loud, jnp.float32(2.0**-96), 1)
    steps, taps = x.shape[axis], table.shape[1]
    period = 2 * smooth((steps + taps) // 2)
    if align:  # what comes before the largest coefficient wraps around, to negative times
        peak = jnp.argmax(jnp.abs(table), axis=1, keepdims=True).astype(jnp.int32)
        padded = jnp.pad(table, [(0, 0), (0, period - taps)])
        index = (lax.iota(jnp.int32, period)[None] + peak) % period
        table = jnp.take_along_axis(padded, index, axis=1, mode="clip")
    else:
        table = jnp.pad(table, [(0, 0), (0, period - taps)])
    draw = one_each("reverb", x, axis, "example")
    which = sample.integers(
        words(key, "signal.reverb", **draw), words(key, "signal.reverb.low", **draw), table.shape[0]
    )
    # Time and frequencies are in front from here on.
    which = jnp.moveaxis(which, axis, 0)

    def of_each(which, table):
        return jnp.take(table, which[0], axis=1, mode="clip")

    gain_a, gain_b = (automatic(of_each, which, part) for part in spectrum(table.T))
    finite = jnp.isfinite(x) if where is None else jnp.isfinite(x) & where
    series = jnp.moveaxis(jnp.where(finite, x, 0), axis, 0).astype(jnp.float32)
    series = lax.pad(series, jnp.float32(0), [(0, period - steps, 0)] + [(0, 0, 0)] * (x.ndim - 1))
    # Sums over time of the largest numbers would pass the end of float32.
    huge = jnp.max(jnp.abs(series), axis=0, keepdims=True, initial=0) > 2.0**60
    a, b = spectrum(series * jnp.where(huge, jnp.float32(2.0**-64), 1))
    # The sum back has the other sign of the frequency, and counts frequencies once that the whole one counts twice.
    k = lax.broadcasted_iota(jnp.int32, (a.shape[0],) + (1,) * (a.ndim - 1), 0)
    weight = jnp.where((k == 0) | (k == period // 2), 1, 2).astype(jnp.float32) / period
    sound = waves(weight * (a * gain_a - b * gain_b), -weight * (a * gain_b + b * gain_a), period)[:steps]
    sound = sound * jnp.where(huge, jnp.float32(2.0**64), 1) * jnp.where(loud, jnp.float32(2.0**96), 1)
    sound = jnp.moveaxis(sound, 0, axis).astype(x.dtype)
    return jnp.where((wet > 0) & jnp.isfinite(x), x + wet * (sound - x), x)


_above = _checks.Range("above 0 and finite", lambda v: (v > 0) & (v < np.inf), "")


def decaying_responses(
    key: jax.Array,
    rt60: Amount,
    rate_hz: Amount,
    *,
    taps: int,
    count: int = 1,
) -> jax.Array:
    """Synthetic responses of rooms for `reverb`: normal noise that decays by 60 dB in the time `rt60`.

    The response is ``n * 10**(-3 * t / rt60)``, scaled to unit energy.

    Args:
      key: a JAX key.
      rt60: the reverberation time in seconds, above 0: a number, or one for each response.
      rate_hz: the sampling rate in hertz.
      taps: the number of coefficients. Static.
      count: the number of responses. Static.

    Returns:
      float32 of shape (count, taps).

    References:
      Polack, "La transmission de l'energie sonore dans les salles", 1988 (the stochastic model).

    Example:
      >>> import jax, noisejax as nj
      >>> nj.signal.decaying_responses(jax.random.key(0), 0.3, 16_000.0, taps=4000, count=5).shape
      (5, 4000)
    """
    for name, value in (("taps", taps), ("count", count)):
        _checks.count("decaying_responses", name, value, 1, "It is static.")
    stream = enter("decaying_responses", key)
    amounts = (("rt60", rt60, ((), (1,), (count,))), ("rate_hz", rate_hz, ((),)))
    found = []
    for name, value, shapes in amounts:
        amount = jnp.asarray(arithmetic_amount("decaying_responses", name, value, _above)).astype(jnp.float32)
        if amount.shape not in shapes:
            each = f", or one for each of {count} responses" if len(shapes) > 1 else ""
            raise ValueError(f"decaying_responses: {name} must be one number{each}, got shape {amount.shape}.")
        found.append(amount)
    level, rate = found[0].reshape(-1, 1), found[1]
    time = lax.iota(jnp.float32, int(taps))[None] / rate
    response = sample.normal(words(stream, "signal.decaying_responses", (int(count), int(taps))))
    response = response * jnp.exp(-3 * math.log(10) * time / level)
    return response / jnp.linalg.norm(response, axis=1, keepdims=True)
