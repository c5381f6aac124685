"""Smooth random warps of time and magnitude, by a cubic spline through equally spaced knots."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._contract import Amount, Mask, Moved, array_noise
from noisejax._random import sample
from noisejax._random.stream import positions, words
from noisejax.signal._axes import extent, one_each, running, time_axis
from noisejax.signal._time import ORDERS, displaced, per_example


@functools.cache
def _pieces(knots: int) -> np.ndarray:
    """The cubics of the spline that is 1 at one knot and 0 at all others: for each piece, power and knot.

    The third derivative is continuous at the second knot and at the last but one ("not a knot"), as in SciPy.
    """
    pieces = knots - 1
    if pieces < 3:  # one parabola or line through all knots
        line = np.linalg.inv(np.vander(np.arange(knots), increasing=True))  # powers by knots
        rows = np.zeros((pieces, 4, knots))
        for piece in range(pieces):
            for power in range(knots):
                for higher in range(power, knots):
                    rows[piece, power] += line[higher] * _binomial(higher, power) * float(piece) ** (higher - power)
        return rows.astype(np.float32)
    # Unknown are the four coefficients of each piece, on which its own variable runs from 0 to 1.
    system, right = np.zeros((4 * pieces, 4 * pieces)), np.zeros((4 * pieces, knots))
    row = 0
    for piece in range(pieces):
        first = 4 * piece
        system[row, first], right[row, piece] = 1, 1
        system[row + 1, first : first + 4], right[row + 1, piece + 1] = 1, 1
        row += 2
    for piece in range(pieces - 1):
        first = 4 * piece
        system[row, first + 1 : first + 4], system[row, first + 5] = (1, 2, 3), -1
        system[row + 1, first + 2 : first + 4], system[row + 1, first + 6] = (2, 6), -2
        row += 2
    for piece in (0, pieces - 2):
        system[row, 4 * piece + 3], system[row, 4 * piece + 7] = 1, -1
        row += 1
    return np.linalg.solve(system, right).reshape(pieces, 4, knots).astype(np.float32)


def _binomial(n: int, k: int) -> int:
    return round(np.prod([(n - i) / (i + 1) for i in range(k)])) if k else 1


def spline(values: jax.Array, share: jax.Array, axis: int) -> jax.Array:
    """The curve whose knots are the values along an axis, at each share of the way from the first to the last."""
    knots = values.shape[axis]
    table = _pieces(knots)
    place = jnp.clip(share, 0, 1) * (knots - 1)
    piece = jnp.minimum(place.astype(jnp.int32), knots - 2)
    u = place - piece.astype(jnp.float32)
    curves = []
    for knot in range(knots):
        # Which cubic applies is chosen by comparisons: pieces are few, and a table would be read at each step.
        curve = jnp.float32(0)
        for power in (3, 2, 1, 0):
            coefficient = jnp.float32(0)
            for n in range(knots - 1):
                coefficient = jnp.where(piece == n, table[n, power, knot], coefficient)
            curve = curve * u + coefficient
        curves.append(curve)
    if share.size == share.shape[axis]:  # one table of curves for all examples, in a product that computes it once
        basis = jnp.stack([curve.reshape(-1) for curve in curves])
        product = jnp.tensordot(jnp.moveaxis(values, axis, -1), basis, 1, precision=lax.Precision.HIGHEST)
        return jnp.moveaxis(product, -1, axis)
    total = jnp.float32(0)
    for knot, curve in enumerate(curves):
        total = total + curve * lax.slice_in_dim(values, knot, knot + 1, axis=axis)
    return total


def _knot_options(function: str):
    def check(x, knots, order="cubic", **_) -> None:
        if not isinstance(knots, int) or not 0 <= knots <= 32:
            raise ValueError(f"{function}: knots must be an integer from 0 to 32, got {knots!r}.")
        _checks.one_of(function, "order", order, ORDERS)

    return check


def _curve(key, function: str, x, std, axis: int, knots: int, mode: str, number: jax.Array) -> jax.Array:
    """A random curve about 1, through knots at the first and the last step and at `knots` places between them."""
    draw = one_each(function, x, axis, mode)
    draw["shape"] = tuple(knots + 2 if n == axis else size for n, size in enumerate(draw["shape"]))
    values = sample.normal(words(key, f"signal.{function}", **draw))
    share = positions(x, axis).astype(jnp.float32) / jnp.maximum(number - 1, 1).astype(jnp.float32)
    return 1 + jnp.asarray(std, jnp.float32) * spline(values, share, axis)


_FASTEST = np.float32(1e20)  # a speed whose sums and products stay in the range of float32


@array_noise(options=_knot_options("time_warp"), moves=True, ranges={"std": _checks.nonnegative})
def time_warp(
    key: jax.Array,
    x: jax.Array,
    std: Amount = 0.2,
    *,
    knots: int = 4,
    order: str = "cubic",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Moved:
    """Time warping: time passes at a speed that varies smoothly about 1.

    The speed is a cubic spline through ``knots + 2`` equally spaced values ``1 + std * n``, with n standard normal. It
    is summed over the steps, and scaled so that the first and the last step stay in place. A speed below 0.05 becomes
    0.05, so that time never runs backwards. All channels of an example share the times.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      std: the standard deviation of the speed, at least 0; one for each example. 0 is the identity.
      knots: the number of knots between the ends, from 0 to 32. Static.
      order: `'linear'`, or `'cubic'` for the cubic convolution of Keys. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. Each example is warped within its own length.

    Returns:
      An array of x's shape and dtype. `moved` gives the times at which x was read.

    References:
      Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
      neural networks", ICMI 2017. Their code puts the samples at the warped times, and this function reads them there.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.time_warp(jax.random.key(0), jnp.arange(50.0), order="linear")
      >>> float(y[0]), float(y[-1]), bool((jnp.diff(y) > 0).all())
      (0.0, 49.0, True)
    """
    axis = time_axis("time_warp", x, axis)
    per_example("time_warp", x, axis, std=std)
    place = positions(x, axis)
    if x.size == 0:
        return Moved(x, place.astype(jnp.float32))
    number = extent(x, axis, where)
    curve = _curve(key, "time_warp", x, std, axis, knots, "example", number)
    # The sum is that of the differences from 1, so that a large number of steps costs no digits, and no warp is exact.
    extra = jnp.where((place > 0) & (place < number), jnp.clip(curve, 0.05, _FASTEST) - 1, 0)
    gained = running(extra, 1.0, axis)
    whole = jnp.maximum(number - 1, 1).astype(jnp.float32)
    end = lax.slice_in_dim(gained, x.shape[axis] - 1, x.shape[axis], axis=axis)
    t = place.astype(jnp.float32)
    # (t + gained) * whole / (whole + end) - t, without a difference of large numbers
    shift = (gained * whole - t * end) / (whole + end)
    return displaced(x, shift, number, axis, order)


@array_noise(options=_knot_options("magnitude_warp"), ranges={"std": _checks.nonnegative})
def magnitude_warp(
    key: jax.Array,
    x: jax.Array,
    std: Amount = 0.2,
    *,
    knots: int = 4,
    mode: str = "channel",
    axis: int | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Magnitude warping: x is multiplied by a curve that varies smoothly about 1.

    The curve is a cubic spline through ``knots + 2`` equally spaced values ``1 + std * n``, with n standard normal.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images: series of shape (B, T, C), waveforms of shape (B, T), or a signal of shape (T,).
      std: the standard deviation of the curve at the knots, at least 0, broadcastable to x. 0 is the identity.
      knots: the number of knots between the ends, from 0 to 32. Static.
      mode: `'channel'`, or `'example'` for one curve that all channels of an example share. Static.
      axis: the axis of time. None for the second axis, or the only axis of a single signal. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. The last knot is the last step that is data.

    Returns:
      An array of x's shape and dtype.

    References:
      Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using convolutional
      neural networks", ICMI 2017.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.signal.magnitude_warp(jax.random.key(0), jnp.ones((2, 50, 3)))
      >>> bool(jnp.abs(jnp.diff(y, axis=1)).max() < 0.2)
      True
    """
    axis = time_axis("magnitude_warp", x, axis)
    if x.size == 0:
        return x
    curve = _curve(key, "magnitude_warp", x, std, axis, knots, mode, extent(x, axis, where))
    return x * curve.astype(x.dtype)
