"""Weights stored in a few bits: quantization, quantization noise and bit flips."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, straight_through
from noisejax._random import sample
from noisejax._random.stream import along, words, words_like
from noisejax.weights import _scale

_bits = _checks.Range("at least 2", lambda v: v >= 2, "24 or more, also inf, is the identity.")


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
    """Uniform quantization of weights to `bits` bits over their range, in floats, with a straight-through gradient.

    The symmetric grid is ``step * round(w / step)`` with ``step = max |w| / (2**(bits - 1) - 1)``. 0 and both ends are
    levels. The affine grid spans ``[low, high]``, the range of the weights extended to include 0. It is
    ``step * (q - zero)`` with ``step = (high - low) / (2**bits - 1)``, ``zero = round(-low / step)`` and
    ``q = clip(round(w / step) + zero, 0, 2**bits - 1)``. 0 is a level. The gradient is 1 with respect to w and 0 with
    respect to `bits`.

    Args:
      key: a JAX key; not used with ``rounding="nearest"``.
      x: the weights, floats of any shape. NaN and infinities are unchanged and do not affect the range.
      bits: the number of bits, at least 2 (lower traced values count as 2), broadcastable to x. It may be traced, so a
        schedule costs no new compilation. 24 or more is the identity.
      symmetric: whether the grid is symmetric or affine, see above. Static.
      channel_axis: the axis of channels that have separate ranges; -1 for a kernel's outputs; None for one range.
        Static.
      rounding: `'nearest'`, ties to even, or `'stochastic'`, up or down so that the expectation is w. Static.
      where, lengths: padding, neither changed nor measured; x may also be a `noisejax.Padded`.

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
    """Quantization noise: a random fraction of the blocks of weights is quantized, the others are unchanged.

    Blocks are quantized as by `fake_quantize`. The gradient with respect to w is 1 everywhere.

    Args:
      key: a JAX key.
      x: the weights, floats of any shape.
      rate: the probability that a block is quantized, in [0, 1], broadcastable to x; traced values are clamped. 0 is
        the identity, 1 is `fake_quantize`. A rate that varies within a block splits the block.
      bits: the number of bits, at least 2, broadcastable to x.
      block_size: the number of neighbouring weights along `axis` that are quantized together; the last block may be
        shorter. Static.
      axis: the axis along which weights form blocks. The default -2 is the inputs of a kernel of shape (inputs,
        outputs) or (window ..., inputs, outputs), or the only axis of a vector. Static.
      symmetric, channel_axis: as in `fake_quantize`. Static.
      where, lengths: padding, neither changed nor measured; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Fan et al., "Training with quantization noise for extreme model compression", ICLR 2021: the scalar quantization,
      whose blocks are single weights. The paper's product quantization, which needs codebooks, is not implemented.

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
    if isinstance(x.shape[axis], int):
        block_size = min(block_size, max(x.shape[axis], 1))
    word = _repeated(words(key, "quant_noise", **_with_blocks(x, axis, block_size)), axis, block_size, x.shape[axis])
    return Hit(sample.bernoulli(word, rate), value)


_FIELDS = ("sign", "exponent", "mantissa")


def _width(dtype) -> int:
    """The number of bits that are stored for each number."""
    if dtype == jnp.bool_:
        return 1
    return (jnp.finfo if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo)(dtype).bits


def _positions(x: jax.Array, bits) -> int:
    """A mask of the bits that may flip."""
    width = _width(x.dtype)
    fields = {"all": range(width)}
    if jnp.issubdtype(x.dtype, jnp.floating):
        info = jnp.finfo(x.dtype)
        sign = width - 1 if info.min < 0 else width  # a scale such as float8_e8m0fnu has no sign
        spans = (range(sign, width), range(info.nmant, sign), range(info.nmant))
        fields |= {name: span for name, span in zip(_FIELDS, spans, strict=True) if span}
    mask = 0
    for part in bits if isinstance(bits, tuple) else (bits,):
        if isinstance(part, (int, np.integer)) and 0 <= part < width:
            mask |= 1 << int(part)
        elif isinstance(part, str) and part in fields:
            mask |= sum(1 << position for position in fields[part])
        else:
            raise ValueError(
                f"bit_flips: bits must be one of {', '.join(map(repr, fields))}, a position from 0, the lowest, to "
                f"{width - 1} for {x.dtype}, or a tuple of these, got {bits!r}."
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

    The stored bits of x's dtype flip: floats from 64 to 4 bits, integers from 64 to 2 bits, or booleans. A flip in the
    exponent can make a number huge, infinite or NaN. The gradient with respect to w is 1 everywhere.

    Args:
      key: a JAX key.
      x: the weights: floats, integers or booleans of any shape.
      rate: the bit-error rate, in [0, 1], broadcastable to x; traced values are clamped. 0 is the identity.
      bits: the bits that may flip: `'all'`; for floats also `'sign'`, `'exponent'` or `'mantissa'`; a position, where 0
        is the lowest bit; or a tuple of these. ``('sign', 'mantissa')`` spares the exponent. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype. Each bit's probability is exact to 2**-32. The payload bits of a NaN depend on
      the platform.

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
    width = _width(x.dtype)
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
    """A word for each element of x; its low `width` bits are 1 with probability `rate` where `mask` has ones.

    Each lane compares a uniform number with the rate, starting with the highest bit. Each plane of random bits decides
    half of the lanes that are left. Few lanes are undecided after 12 planes, and up to three of them take a word each.
    The probability that more than three are left is below 2**-32. A plane takes `width` bits, so 32 lanes cost 15
    words, 16 lanes 9 and 8 lanes 6.
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
    precise = bits >= 24  # float32 cannot represent a finer grid, and bits=inf would give NaN
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
    """Repeats each word `times` times along an axis that is not sharded, and cuts the axis to `size`."""
    shape = word.shape
    word = jnp.broadcast_to(jnp.expand_dims(word, axis + 1), (*shape[: axis + 1], times, *shape[axis + 1 :]))
    word = word.reshape(*shape[:axis], shape[axis] * times, *shape[axis + 1 :])
    return lax.slice_in_dim(word, 0, size, axis=axis)
