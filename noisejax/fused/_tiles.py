"""Parts of a large array that is never written: the words of a tile by global index, and buffers filled by blocks."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from noisejax._random.generators import GENERATORS
from noisejax._random.stream import _add, _iota, _key_words, _place, along, stream


@dataclasses.dataclass(frozen=True)
class Place:
    """What is static in a draw: its place in the stream, the generator, and the shape of the whole array."""

    place: tuple[int, int]
    generator: str
    shape: tuple[int, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """The step of the row-major index along each axis; 0 along an axis that shares one draw."""
        return tuple(math.prod(self.shape[axis + 1 :]) if n > 1 else 0 for axis, n in enumerate(self.shape))

    @property
    def is_long(self) -> bool:
        """Whether some index needs a second word."""
        return math.prod(self.shape) > 2**32


def place_of(key: Any, tag: str, shape: Sequence[int]) -> tuple[Place, jax.Array, jax.Array]:
    """The place of a draw of the given shape, and the two words of the key."""
    parent = stream(key)
    return (Place(_place(parent.path, tag), parent.generator or "mix", tuple(shape)), *_key_words(parent.key))


def tile_words(place: Place, keys: tuple[jax.Array, jax.Array], like: jax.Array, axes, starts) -> jax.Array:
    """The words of a tile, which are those of the whole array at the tile's indices.

    Args:
      place, keys: from `place_of`.
      like: an array of the tile's shape, or of one to which the words broadcast, for its sharding.
      axes: for each axis of `like`, the step of the index along it; 0 along an axis that shares one draw.
      starts: the index of the tile's first element along each axis, as integers; None for 0.
    """
    low, high = jnp.uint32(0), jnp.uint32(0) if place.is_long else None
    for axis, (stride, start) in enumerate(zip(axes, starts, strict=True)):
        if stride == 0:
            continue
        sizes = along(like, (axis,))
        index = _iota(sizes["shape"], axis, sizes["sharding"])
        if start is not None:
            index = index + jnp.asarray(start).astype(jnp.uint32)
        if high is None:
            low = low + index * jnp.uint32(stride & 0xFFFFFFFF)
        elif stride == 1:  # the last axis comes last: what all its elements share is computed once
            low = low + index
            high = high + (low < index).astype(jnp.uint32)
        else:
            low, high = _add(low, high, index, None, stride)
    return GENERATORS[place.generator](low, high, *keys, place.place)


class Blocks(NamedTuple):
    """An axis that is cut into blocks of one size. The last block ends at the end, and overlaps the one before it."""

    length: int
    size: int

    @property
    def count(self) -> int:
        return -(-self.length // self.size)

    @property
    def even(self) -> bool:
        return self.length % self.size == 0

    def start(self, i):
        """Where block i starts."""
        return i * self.size if self.even else jnp.minimum(i * self.size, self.length - self.size)

    def new(self, i, ndim: int, axis: int):
        """Which elements of block i are in no earlier block, shaped to broadcast; None for all."""
        if self.even:
            return None
        index = self.start(i) + lax.iota(jnp.int32, self.size)
        return (index >= i * self.size).reshape([-1 if n == axis else 1 for n in range(ndim)])

    def read(self, x: jax.Array, i, axis: int) -> jax.Array:
        return lax.dynamic_slice_in_dim(x, self.start(i), self.size, axis)

    def load(self, x: jax.Array, i, axis: int = 1) -> jax.Array:
        """A block of an array that a loop does not change."""
        starts = [self.start(i) if n == axis else 0 for n in range(x.ndim)]
        return cut(x, starts, [self.size if n == axis else size for n, size in enumerate(x.shape)])

    def write(self, buffer: jax.Array, value: jax.Array, i, axis: int, keep: bool = False) -> jax.Array:
        """The buffer with a block written. With `keep` the elements of earlier blocks keep their values."""
        value = as_bits(value)
        new = self.new(i, value.ndim, axis) if keep else None
        if new is not None:
            value = jnp.where(new, value, self.read(buffer, i, axis))
        return lax.dynamic_update_slice_in_dim(buffer, value, self.start(i), axis)

    def add(self, buffer: jax.Array, value: jax.Array, i, axis: int) -> jax.Array:
        return lax.dynamic_update_slice_in_dim(buffer, self.read(buffer, i, axis) + value, self.start(i), axis)


# XLA's CPU backend has no slices of 16-bit floats: it converts the whole array. Of an array that a loop reads it makes
# one converted copy before the loop, unless a barrier that depends on the step keeps the conversion in the loop, where
# it is fused with the slice. Until jax 0.11 an array that a loop updates is converted at every step. Integers are not,
# so the loops update the bits, which are copied at the end.


def cut(x: jax.Array, starts: Sequence, sizes: Sequence[int]) -> jax.Array:
    """A slice of an array that a loop does not change."""
    if tuple(sizes) == x.shape:
        return x
    starts = [jnp.int32(start) for start in starts]
    if is_narrow(x.dtype):
        x, starts = lax.optimization_barrier((x, starts))
    return lax.dynamic_slice(x, starts, sizes)


def as_bits(x: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(x, jnp.uint16) if is_narrow(x.dtype) else x


def from_bits(x: jax.Array, dtype) -> jax.Array:
    return lax.bitcast_convert_type(x, dtype) if is_narrow(dtype) else x


def put_rows(buffer: jax.Array, bits: jax.Array, start) -> jax.Array:
    """A buffer of 16-bit floats with rows written, whose bits are given. It needs no copy at the end."""
    return lax.platform_dependent(buffer, bits, jnp.int32(start), cpu=_put_bits, default=_put)


def _put(buffer, bits, start) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(buffer, from_bits(bits, buffer.dtype), start, 0)


def _put_bits(buffer, bits, start) -> jax.Array:
    """This is a loop over the whole buffer, but LLVM skips the rows that stay as they are."""
    return from_bits(lax.dynamic_update_slice_in_dim(as_bits(buffer), bits, start, 0), buffer.dtype)


UPDATES_CONVERT = jax.__version_info__ < (0, 12)


def is_narrow(dtype) -> bool:
    return jnp.dtype(dtype).itemsize == 2


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether this machine's processor has instructions for products of bfloat16.

    XLA takes two thirds longer for such products than for those of float32 where it has not, and half as long where it
    has. Elsewhere than on Linux nothing is known, and False is never much slower.
    """
    try:
        return "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
