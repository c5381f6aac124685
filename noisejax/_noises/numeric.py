"""Errors of digital hardware: impulses, quantization, reduced precision, NaN and infinities."""

import jax
import jax.numpy as jnp
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, saturate, straight_through
from noisejax._random import sample
from noisejax._random.stream import along, words, words_like

_share = _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "It is the share of salt among the hit elements.")
_bits = _checks.Range("at least 0", lambda v: v >= 0, "23 keeps all bits of a float32.")
_SPECIAL = {"nan": jnp.nan, "inf": jnp.inf, "-inf": -jnp.inf}


@array_noise(
    _checks.numbers, sees="element", like_x=("low", "high"), ranges={"rate": _checks.rate, "salt_vs_pepper": _share}
)
def salt_and_pepper(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    salt_vs_pepper: Amount = 0.5,
    low: Amount = 0.0,
    high: Amount | None = None,
    *,
    channel_axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Salt-and-pepper noise: with probability `rate`, an element becomes `high` (salt) or `low` (pepper).

    Args:
      key: a JAX key.
      x: floats, integers or booleans of any shape.
      rate: the probability that an element is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      salt_vs_pepper: the share of salt among the hit elements, in [0, 1], broadcastable to x.
      low: the value of pepper, broadcastable to x.
      high: the value of salt, broadcastable to x. None means 1, or the largest value of uint8 and uint16 images.
      channel_axis: the axis of channels, along which the elements of a pixel are hit together. None hits each element
        separately, as in scikit-image. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; elements that are not hit are unchanged to the bit. See `noisejax.hits` for the
      mask.

    Raises:
      ValueError: x holds integers of a different dtype and `high` is None.

    References:
      scikit-image, ``skimage.util.random_noise(mode="s&p")``; with a channel axis, kornia's RandomSaltAndPepperNoise.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.salt_and_pepper(jax.random.key(0), jnp.full((50, 50, 3), 0.5), 0.1, channel_axis=-1)
      >>> sorted(set(y.ravel().tolist())), bool((y[..., 0] == y[..., 2]).all())
      ([0.0, 0.5, 1.0], True)
    """
    if channel_axis is not None:
        channel_axis = _checks.axis("salt_and_pepper", "channel_axis", channel_axis, x.ndim)
    axes = [a for a in range(x.ndim) if channel_axis is None or a != channel_axis]
    low, high = _ends("salt_and_pepper", x, low, high)
    hit, value = _one_of(words(key, "salt_and_pepper", **along(x, axes)), rate, (high, salt_vs_pepper), (low, 1))
    return Hit(hit, value)


@array_noise(_checks.numbers, sees="element", like_x=("low", "high"), ranges={"rate": _checks.rate})
def impulse(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    low: Amount = 0.0,
    high: Amount | None = None,
    *,
    values: str = "fixed",
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Impulse noise: with probability `rate`, an element becomes an extreme or a random value.

    Args:
      key: a JAX key.
      x: floats, integers or booleans of any shape. Each element is hit separately, also in different channels.
      rate: the probability that an element is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      low, high: the range of values, each broadcastable to x. None as `high` means 1, or the largest value of
        uint8 and uint16 images.
      values: `'fixed'` for `low` or `high`, with equal probability; `'random'` for a value uniform on [low, high]
        (integers are rounded). Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; elements that are not hit are unchanged to the bit. See `noisejax.hits` for the
      mask.

    Raises:
      ValueError: x holds integers of a different dtype and `high` is None.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019 (impulse_noise: fixed values); Chan, Ho and Nikolova, "Salt-and-pepper noise removal by median-type noise
      detectors and detail-preserving regularization", IEEE Trans. Image Processing 14(10), 2005 (both kinds).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> sorted(set(nj.impulse(jax.random.key(0), jnp.full(100, 0.5), 0.1).tolist()))
      [0.0, 0.5, 1.0]
    """
    _checks.one_of("impulse", "values", values, ("fixed", "random"))
    low, high = _ends("impulse", x, low, high)
    hit, value = _one_of(words_like(key, "impulse", x), rate, (high, 0.5), (low, 1))
    if values == "random":
        u = sample.uniform(words_like(key, "impulse.value", x))
        value = low.astype(jnp.float32) * (1 - u) + high.astype(jnp.float32) * u
    return Hit(hit, value)


@array_noise(_checks.floats, sees="element", ranges={"rate": _checks.rate})
def nonfinite(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    kinds: tuple[str, ...] = ("nan", "inf", "-inf"),
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Numerical faults: each element becomes NaN or an infinity with probability `rate`.

    Args:
      key: a JAX key.
      x: floats of any shape.
      rate: the probability that an element is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      kinds: a tuple of `'nan'`, `'inf'` and `'-inf'`. Each entry is equally likely, so repeating a value makes it more
        frequent. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; elements that are not hit are unchanged to the bit. See `noisejax.hits` for the
      mask.

    References:
      Li et al., "Understanding error propagation in deep learning neural network (DNN) accelerators and applications",
      SC 2017, which detects harmful soft errors by these faults.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.nonfinite(jax.random.key(0), jnp.ones(1000), 0.1, kinds=("nan",))
      >>> 50 < int(jnp.isnan(y).sum()) < 150
      True
    """
    if not isinstance(kinds, tuple) or not kinds:
        raise TypeError(f"nonfinite: kinds must be a tuple of {', '.join(map(repr, _SPECIAL))}, got {kinds!r}.")
    for kind in kinds:
        _checks.one_of("nonfinite", "kinds", kind, tuple(_SPECIAL))
    shares = [(jnp.asarray(_SPECIAL[kind], x.dtype), (n + 1) / len(kinds)) for n, kind in enumerate(kinds)]
    return Hit(*_one_of(words_like(key, "nonfinite", x), rate, *shares))


_origin = _checks.Range("finite", lambda v: abs(v) < jnp.inf, "It is a point of the grid.")


@array_noise(sees="element", ranges={"step": _checks.nonnegative, "origin": _origin})
def quantize(
    key: jax.Array,
    x: jax.Array,
    step: Amount,
    origin: Amount = 0.0,
    *,
    rounding: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Uniform quantization: x is rounded to the grid ``origin + k * step``, where k is any integer.

    For b bits over a range, use the step ``(high - low) / (2**b - 1)`` and the origin `low`. Nothing is clipped, so
    chain `noisejax.clip` before it. The gradient is straight-through at the rounding: it is 1 in x, and
    ``round(q) - q`` in the step, where ``q = (x - origin) / step``.

    Args:
      key: a JAX key; ``rounding="nearest"`` does not use it.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      step: the distance between neighbouring values, in the units of x; at least 0, broadcastable to x. 0 is the
        identity. Where x / step exceeds the integers that x's precision holds (2**23 in float32), x is unchanged.
      origin: a point of the grid, broadcastable to x.
      rounding: `'nearest'`, ties to even, or `'stochastic'`, up or down with the probabilities for which the
        expectation is x. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Gupta et al., "Deep learning with limited numerical precision", ICML 2015 (both roundings); Bengio, Léonard and
      Courville, arXiv:1308.3432, 2013 (straight-through); Esser et al., "Learned step size quantization", ICLR 2020
      (the gradient in the step).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.quantize(jax.random.key(0), jnp.array([0.1, 0.6, 0.9]), 0.25).tolist()
      [0.0, 0.5, 1.0]
    """
    _checks.one_of("quantize", "rounding", rounding, ("nearest", "stochastic"))
    q = (x - origin) / jnp.where(step > 0, step, 1)
    inside = (abs(q) < 1 / jnp.finfo(x.dtype).eps) & (step > 0)  # False for NaN
    q = lax.stop_gradient(jnp.where(inside, q, 0))
    rounded = _round(key, "quantize", q, rounding)
    y = straight_through(origin + step * rounded, x + step * (rounded - q))
    return jnp.where(inside, y, x)


@array_noise(_checks.floats, sees="element", ranges={"mantissa_bits": _bits})
def reduce_precision(
    key: jax.Array,
    x: jax.Array,
    mantissa_bits: Amount,
    *,
    exponent_bits: int | None = None,
    rounding: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Rounds x to a floating-point format of fewer bits, as in IEEE 754, with subnormal numbers and overflow to inf.

    ``mantissa_bits=7, exponent_bits=8`` is bfloat16, 10 and 5 are float16, and 2 and 5 are float8_e5m2.
    `jax.lax.reduce_precision` differs: its bits are static, and it has no subnormal numbers. The gradient in x is
    straight-through: 1.

    Args:
      key: a JAX key; ``rounding="nearest"`` does not use it.
      x: floats of any shape.
      mantissa_bits: the number of mantissa bits, without the leading one; at least 0, broadcastable to x, and rounded
        to an integer. No fewer than x's dtype has is the identity (23 for float32, inf for any dtype).
      exponent_bits: the number of exponent bits, at least 2. None keeps those of the computation, which is in float32
        or wider, so the range is no smaller than that of x. Static.
      rounding: `'nearest'`, ties to even, or `'stochastic'`, up or down with the probabilities for which the
        expectation is x (unless the result overflows). Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      IEEE 754-2019, sections 3.4 and 4.3; Gupta et al., "Deep learning with limited numerical precision", ICML 2015
      (stochastic rounding). With `'nearest'`, results equal casts by ml_dtypes.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.reduce_precision(jax.random.key(0), jnp.array([1.1, 3.3]), 2).tolist()
      [1.0, 3.5]
    """
    unsigned, mantissa, exponent = (jnp.uint32, 23, 8) if x.dtype == jnp.float32 else (jnp.uint64, 52, 11)
    exponent_bits = exponent if exponent_bits is None else exponent_bits
    _checks.one_of("reduce_precision", "rounding", rounding, ("nearest", "stochastic"))
    if not isinstance(exponent_bits, int) or not 2 <= exponent_bits <= exponent:
        raise ValueError(f"reduce_precision: exponent_bits must be 2 to {exponent} or None, got {exponent_bits!r}.")
    kept = jnp.round(jnp.clip(mantissa_bits, 0, mantissa)).astype(unsigned)
    dropped = unsigned(mantissa) - kept
    bits = lax.bitcast_convert_type(x, unsigned)
    ulp = unsigned(1) << dropped
    if rounding == "nearest":
        up = (ulp >> unsigned(1)) - unsigned(1) + ((bits >> dropped) & unsigned(1))
        up = jnp.where(dropped > 0, up, 0)
    else:
        word = words_like(key, "reduce_precision", x).astype(unsigned)
        word = word >> unsigned(9) if mantissa == 23 else word << unsigned(20)
        up = word >> kept
    y = lax.bitcast_convert_type((bits + up) & ~(ulp - unsigned(1)), x.dtype)
    if exponent_bits < exponent:
        bias = 2 ** (exponent_bits - 1) - 1
        smallest, beyond = 2.0 ** (1 - bias), 2.0 ** (bias + 1)
        spacing = (unsigned(2 ** (exponent - 1) - bias) - kept) << unsigned(mantissa)  # bits of 2**(1 - bias - kept)
        spacing = lax.bitcast_convert_type(spacing, x.dtype)
        small = abs(x) < smallest
        rounded = _round(key, "reduce_precision.subnormal", jnp.where(small, x, 0) / spacing, rounding)
        y = jnp.where(small, spacing * rounded, jnp.where(abs(y) < beyond, y, jnp.sign(x) * jnp.inf))
    return straight_through(jnp.where(jnp.isfinite(x), y, x), x)


def _round(key, tag: str, q: jax.Array, rounding: str) -> jax.Array:
    """Rounds q to the nearest integers, or stochastically, so that the expectation is q."""
    if rounding == "nearest":
        return jnp.round(q)
    below = jnp.floor(q)
    return below + sample.bernoulli(words_like(key, tag, q), q - below).astype(q.dtype)


def _one_of(w: jax.Array, rate, *values) -> tuple[jax.Array, jax.Array]:
    """Hits at `rate`, and the chosen one of ``(value, cumulative share)``, both from one word; the last share is 1."""
    rate = jnp.clip(rate, 0, 1)
    chosen = values[-1][0]
    for value, share in reversed(values[:-1]):
        chosen = jnp.where(sample.bernoulli(w, rate * share), value, chosen)
    return sample.bernoulli(w, rate), chosen


def _ends(function: str, x: jax.Array, low, high) -> tuple[jax.Array, jax.Array]:
    """The values of pepper and salt in x's dtype."""
    if high is None:
        if jnp.issubdtype(x.dtype, jnp.integer) and x.dtype not in (jnp.uint8, jnp.uint16):
            raise ValueError(
                f"{function}: high must be given for integers other than uint8 and uint16 images, got x of {x.dtype}."
            )
        high = jnp.iinfo(x.dtype).max if jnp.issubdtype(x.dtype, jnp.integer) else 1
    return saturate(low, x.dtype), saturate(high, x.dtype)
