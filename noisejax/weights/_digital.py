"""Weights in a few bits: quantization, its noise, and bits that flip."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, straight_through
from noisejax._random import sample
from noisejax._random.stream import along, words, words_like
from noisejax.weights import _scale

_bits = _checks.Range("at least 2", lambda v: v >= 2, "inf, and every number from 24 on, is the identity.")


@array_noise(_checks.floats, sees="batch", ranges={"bits": _bits})
def fake_quantize(
    key: jax.Array,
    x: jax.Array,
    bits: Amount,
    *,
    symmetric: bool = True,
    channel_axis: int | None = None,
    rounding: str = "nearest",
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Uniform quantization of weights to `bits` bits over their own range, in floats, with a straight-through gradient.

    Symmetric: ``step * round(w / step)`` with ``step = max |w| / (2**(bits - 1) - 1)``, so that 0 and both ends are
    levels. Affine: ``step = (high - low) / (2**bits - 1)`` over ``[low, high]``, the weights' range with 0 in it, and
    ``q = clip(round(w / step) + zero, 0, 2**bits - 1)``, ``zero = round(-low / step)``, ``step * (q - zero)``, so that
    0 is a level. The gradient in w is 1 everywhere, and 0 in `bits`.

    Args:
      key: a JAX key; not used by ``rounding="nearest"``.
      x: the weights, floats of any shape. NaN and infinities stay as they are and do not count.
      bits: the number of bits, at least 2 (lower traced values count as 2), broadcastable to x; it may be traced, so
        that a schedule costs no new compilation. From 24 bits on, the identity.
      symmetric: the grid, see above. Static.
      channel_axis: the axis of channels with a range of their own, -1 for a kernel's outputs; None for one range.
        Static.
      rounding: `'nearest'`, ties to even, or `'stochastic'`, up or down so that the expectation is w. Static.
      where, lengths: padding, neither changed nor measured, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
      CVPR 2018 (affine); Krishnamoorthi, arXiv:1806.08342, 2018 (symmetric, with the narrow range); Bengio, Léonard and
      Courville, arXiv:1308.3432, 2013 (straight-through).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.weights.fake_quantize(jax.random.key(0), jnp.array([-3.0, -1.2, 0.4, 3.0]), 3).tolist()
      [-3.0, -1.0, 0.0, 3.0]
    """
    _checks.one_of("fake_quantize", "rounding", rounding, ("nearest", "stochastic"))
    over = _scale.axes("fake_quantize", x, channel_axis)
    return _quantized(key, "fake_quantize", x, bits, symmetric, over, rounding, where)


def _blocks(x: jax.Array, block_size, axis, **_) -> None:
    if not isinstance(block_size, (int, np.integer)) or block_size < 1:
        raise ValueError(f"quant_noise: block_size must be an integer of at least 1, got {block_size!r}.")
    if not isinstance(axis, (int, np.integer)):
        raise TypeError(f"quant_noise: axis must be an integer, got {axis!r}.")


@array_noise(_checks.floats, sees="batch", options=_blocks, ranges={"rate": _checks.rate, "bits": _bits})
def quant_noise(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    bits: Amount = 8.0,
    *,
    block_size: int = 1,
    axis: int = -2,
    symmetric: bool = True,
    channel_axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Quantization noise: a random fraction of the blocks of weights is quantized, the others stay as they are.

    What is quantized is what `fake_quantize` makes of it; the gradient in w is 1 everywhere.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      rate: the probability that a block is quantized, in [0, 1], broadcastable to x; traced values clamp. 0 is the
        identity, 1 is `fake_quantize`. With blocks, a rate that varies within one splits it.
      bits: the number of bits, at least 2, broadcastable to x.
      block_size: the number of neighbouring weights along `axis` that are quantized together; the last block may be
        shorter. Static.
      axis: the axis along which blocks lie: -2, the inputs of a kernel (inputs, outputs) or (window ..., inputs,
        outputs); the only one of x, if it has one. Static.
      symmetric, channel_axis: as in `fake_quantize`. Static.
      where, lengths: padding, neither changed nor measured, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype.

    References:
      Fan et al., "Training with quantization noise for extreme model compression", ICLR 2021: its scalar quantization,
      whose blocks are single weights. Its product quantization has codebooks, which are not here.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> w = jnp.linspace(-1, 1, 1000).reshape(100, 10)
      >>> noisy = nj.weights.quant_noise(jax.random.key(0), w, 0.1, 4)
      >>> bool((noisy != w).mean() < 0.2)
      True
    """
    over = _scale.axes("quant_noise", x, channel_axis)
    value = _quantized(key, "quant_noise", x, bits, symmetric, over, "nearest", where)
    if block_size == 1 or x.ndim == 0:
        return Hit(sample.bernoulli(words_like(key, "quant_noise", x), rate), value)
    (axis,) = _checks.axes("quant_noise", "axis", (-1 if x.ndim == 1 and axis == -2 else axis,), x.ndim)
    word = _repeated(words(key, "quant_noise", **_with_blocks(x, axis, block_size)), axis, block_size, x.shape[axis])
    return Hit(sample.bernoulli(word, rate), value)


_FIELDS = ("sign", "exponent", "mantissa")


def _positions(x: jax.Array, bits) -> int:
    """The bits that may flip, as a mask."""
    width = 1 if x.dtype == jnp.bool_ else 8 * x.dtype.itemsize
    fields = {"all": range(width)}
    if jnp.issubdtype(x.dtype, jnp.floating):
        mantissa = jnp.finfo(x.dtype).nmant
        spans = (range(width - 1, width), range(mantissa, width - 1), range(mantissa))
        fields |= dict(zip(_FIELDS, spans, strict=True))
    mask = 0
    for part in bits if isinstance(bits, tuple) else (bits,):
        if isinstance(part, (int, np.integer)) and 0 <= part < width:
            mask |= 1 << int(part)
        elif isinstance(part, str) and part in fields:
            mask |= sum(1 << position for position in fields[part])
        else:
            raise ValueError(
                f"bit_flips: bits must be of {', '.join(map(repr, fields))} or positions from 0, the lowest, to "
                f"{width - 1} for {x.dtype}, or a tuple of them, got {bits!r}."
            )
    return mask


@array_noise(
    _checks.numbers, sees="element", options=lambda x, bits: _positions(x, bits) and None, ranges={"rate": _checks.rate}
)
def bit_flips(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    bits: str | int | tuple = "all",
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Memory faults: every bit of every weight flips with probability `rate`, independently of all others.

    It acts on the bits of x's own dtype, whatever they mean: float32, bfloat16, float16 and integers. Flips of the
    exponent make numbers huge, infinite or NaN. The gradient in w is 1 everywhere.

    Args:
      key: a JAX key.
      x: the weights: floats, integers or booleans of any shape.
      rate: the bit-error rate, in [0, 1], broadcastable to x; traced values clamp. 0 is the identity.
      bits: which bits may flip: `'all'`; of floats also `'sign'`, `'exponent'`, `'mantissa'`; a position, 0 being the
        lowest bit; or a tuple of these: ``('sign', 'mantissa')`` spares the exponent. Static.
      where, lengths: padding, see `noisejax.Noise`.

    Returns:
      An array of x's shape and dtype. Each bit's probability is exact to 2**-32. (What a NaN carries in its other bits
      is the platform's business.)

    References:
      Stutz et al., "Bit error robustness for energy-efficient DNN accelerators", MLSys 2021 (uniform, independent flips
      of the stored bits); Reagen et al., "Ares: a framework for quantifying the resilience of deep neural networks",
      DAC 2018.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.weights.bit_flips(jax.random.key(0), jnp.int8([1, 2, 3]), 1.0).tolist()
      [-2, -3, -4]
    """
    mask = _positions(x, bits)
    if x.dtype == jnp.bool_:
        flip = _flips(key, "bit_flips", x, rate, 8, mask)
        return Hit(flip != 0, x ^ (flip != 0))
    width = 8 * x.dtype.itemsize
    unsigned = jnp.dtype(f"uint{width}")
    if width == 64:
        low, high = (
            _flips(key, f"bit_flips{tag}", x, rate, 32, mask >> shift & 0xFFFFFFFF).astype(unsigned)
            for tag, shift in (("", 0), (".high", 32))
        )
        flip = low | high << unsigned.type(32)
    else:
        flip = _flips(key, "bit_flips", x, rate, width, mask).astype(unsigned)
    y = lax.bitcast_convert_type(lax.bitcast_convert_type(x, unsigned) ^ flip, x.dtype)
    return Hit(flip != 0, straight_through(y, x) if jnp.issubdtype(x.dtype, jnp.floating) else y)


_PLANES, _REST = 12, 3


def _flips(key, tag: str, x: jax.Array, rate, width: int, mask: int) -> jax.Array:
    """In the low `width` bits of a word for each element of x: ones with probability `rate` where `mask` has ones.

    Each lane compares a uniform number with the rate, the highest bit first. Half of the lanes are decided by each
    plane of random bits, so after 12 planes it is rare that a lane is not, and the last lanes, at most three, take a
    word each: the chance that more are left is below 2**-32. A plane is `width` bits, so that 32 lanes cost 15 words,
    16 lanes 9 and 8 lanes 6.
    """
    u = jnp.uint32
    rate = jnp.clip(jnp.asarray(rate).astype(jnp.float32), 0, 1)
    scaled = rate * 2**_PLANES
    top = jnp.floor(scaled)
    rest, top = scaled - top, top.astype(u)
    per_word, full = 32 // width, u(mask)
    hit, undecided = u(0), full
    word = u(0)
    for plane in range(_PLANES):
        if plane % per_word == 0:
            word = words_like(key, f"{tag}.plane{plane}", x)
        random = word >> u(width * (plane % per_word))
        wanted = u(0) - (top >> u(_PLANES - 1 - plane) & u(1))  # all ones, or none
        hit = hit | (undecided & ~random & wanted)
        undecided = undecided & ~(random ^ wanted)
    for n in range(_REST):
        lane = undecided & (u(0) - undecided)
        hit = hit | jnp.where(sample.bernoulli(words_like(key, f"{tag}.rest{n}", x), rest), lane, 0)
        undecided = undecided ^ lane
    return jnp.where(rate >= 1, full, hit)


def _quantized(key, tag, x, bits, symmetric, over, rounding, where) -> jax.Array:
    bits = jnp.asarray(bits).astype(x.dtype)
    precise = bits >= 24  # float32 holds no finer grid; a bits of inf would make it NaN
    bits = jnp.clip(bits, 2, 24)
    if symmetric:
        high = jnp.exp2(bits - 1) - 1
        low, span = -high, _scale.absmax(x, over, where) / high
        zero = 0
    else:
        least, largest = _scale.ends(x, over, where)
        least, largest = jnp.minimum(least, 0), jnp.maximum(largest, 0)
        low, high = 0, jnp.exp2(bits) - 1
        span = (largest - least) / high
        zero = jnp.round(-least / jnp.where(span > 0, span, 1))
    step = jnp.where(span > 0, span, 1)
    ok = jnp.isfinite(x) & (span > 0) & ~precise
    q = lax.stop_gradient(jnp.where(ok, x / step, 0))
    if rounding == "nearest":
        q = jnp.round(q)
    else:
        below = jnp.floor(q)
        q = below + sample.bernoulli(words_like(key, f"{tag}.rounding", x), q - below).astype(x.dtype)
    y = step * (jnp.clip(q + zero, low, high) - zero)
    return straight_through(jnp.where(ok, y, x), x)


def _with_blocks(x: jax.Array, axis: int, block_size: int) -> dict:
    like = along(x, [a for a in range(x.ndim) if a != axis])
    like["shape"] = (*like["shape"][:axis], -(-x.shape[axis] // block_size), *like["shape"][axis + 1 :])
    return like


def _repeated(word: jax.Array, axis: int, times: int, size: int) -> jax.Array:
    """Each word `times` times along an axis that is not sharded, cut to `size`."""
    shape = word.shape
    word = jnp.broadcast_to(jnp.expand_dims(word, axis + 1), (*shape[: axis + 1], times, *shape[axis + 1 :]))
    word = word.reshape(*shape[:axis], shape[axis] * times, *shape[axis + 1 :])
    return lax.slice_in_dim(word, 0, size, axis=axis)
