"""The only random generator in the house: a key, a tag and an index give one 32-bit word.

``words(key, tag, shape)`` hashes, for every element, its own index together with the words of the key and a static
tag. There is no state and no block of outputs to cut up, so the draw fuses into whatever consumes it, for any shape,
under ``vmap`` over keys, and each device of a mesh computes its own part and nothing else.

The generator is `_mix`, and nothing else in the library knows how it works: another one can take its place there.
It uses low 32-bit multiplies, adds, xors and shifts alone, since the high half of a product (``lax.mulhi``) does not
compile under sharding and has no lowering in some kernel languages.
"""

import functools
import hashlib
import math
from collections.abc import Hashable, Sequence

import jax
import jax.numpy as jnp
from jax import lax


@functools.partial(jax.tree_util.register_dataclass, data_fields=["key"], meta_fields=["path"])
class Stream:
    """A key and the place where it is used: the position path through chains, static and part of every tag.

    Wherever a noise takes a key it takes a `Stream` too; combinators make them, users need not.
    """

    __slots__ = ("key", "path")

    def __init__(self, key: jax.Array, path: tuple[Hashable, ...] = ()):
        self.key = key
        self.path = path


def stage(key: "jax.Array | Stream", name: Hashable) -> Stream:
    """The stream of one stage: of a chain (its position), of a batch (its entry), of a tree (a leaf's path)."""
    stream = key if isinstance(key, Stream) else Stream(key)
    return Stream(stream.key, (*stream.path, name))


def fold(key: "jax.Array | Stream", ids: jax.Array) -> Stream:
    """Streams that differ by an integer, one for each of `ids`: what `per_example` maps over."""
    stream = key if isinstance(key, Stream) else Stream(key)
    ids = jnp.asarray(ids).astype(jnp.uint32)
    k0, k1 = _key_words(stream.key)
    pair = [_mix(ids, k0, k1, _constant(stream.path, tag)) for tag in ("fold.0", "fold.1")]
    return Stream(jnp.stack(pair, axis=-1), ())


def jax_key(key: "jax.Array | Stream") -> jax.Array:
    """A typed JAX key for a function that is not ours, different for every place in a chain."""
    if not isinstance(key, Stream):
        return key
    k0, k1 = _key_words(key.key)
    pair = [_mix(jnp.uint32(0), k0, k1, _constant(key.path, tag)) for tag in ("key.0", "key.1")]
    return jax.random.wrap_key_data(jnp.stack(pair), impl="threefry2x32")


def words_like(key: "jax.Array | Stream", tag: str, x: jax.Array) -> jax.Array:
    """One word for every element of x, sharded as x is."""
    return words(key, tag, x.shape, sharding=jax.typeof(x).sharding)


def along(x: jax.Array, axes: Sequence[int]) -> dict:
    """Shape and sharding of a draw that varies along `axes` of `x` only: ``words(key, tag, **along(x, (0,)))``."""
    kept = {axis % x.ndim for axis in axes} if x.ndim else set()
    shape = tuple(n if axis in kept else 1 for axis, n in enumerate(x.shape))
    sharding = jax.typeof(x).sharding
    spec = (*sharding.spec, *[None] * (x.ndim - len(sharding.spec)))
    spec = jax.sharding.PartitionSpec(*(s if axis in kept else None for axis, s in enumerate(spec)))
    return {"shape": shape, "sharding": sharding.update(spec=spec)}


def all_but(x: jax.Array, axes: Sequence[int]) -> dict:
    """The same for a draw that is shared along `axes` and varies along all others."""
    shared = {axis % x.ndim for axis in axes} if x.ndim else set()
    return along(x, [axis for axis in range(x.ndim) if axis not in shared])


def positions(x: jax.Array, axis: int) -> jax.Array:
    """The index along one axis of x, int32 of x's rank, sharded as that axis is."""
    like = along(x, (axis,))
    return lax.broadcasted_iota(jnp.int32, like["shape"], axis % x.ndim, out_sharding=like["sharding"])


def words(
    key: "jax.Array | Stream",
    tag: str,
    shape: Sequence[int],
    *,
    sharding: jax.sharding.NamedSharding | None = None,
    offset: "int | jax.Array" = 0,
) -> jax.Array:
    """One uniformly distributed 32-bit word per element.

    The word at an element depends on the key, the tag and the element's row-major index plus `offset`, and on nothing
    else. So the words of two halves, the second one drawn with the first one's size as its offset, are the words of
    the whole.

    Args:
      key: a typed JAX key of any implementation, a legacy uint32 key, or a `Stream`.
      tag: the name of the noise; different tags give independent words. Static.
      shape: the shape of the result. Its size may exceed 2**32.
      sharding: the sharding of the result, under a mesh with explicit axes: ``jax.typeof(x).sharding``.
      offset: the index of the first element: a Python int of any size, or a traced uint32.

    Returns:
      uint32 words of the given shape.
    """
    stream = key if isinstance(key, Stream) else Stream(key)
    k0, k1 = _key_words(stream.key)
    low, high = _index(tuple(shape), sharding, offset)
    if high is not None:
        # Odd, so that no two of 2**64 indices start alike; nothing changes below 2**32.
        k1 = k1 + high * jnp.uint32(0xD3A2646D)
    return _mix(low, k0, k1, _constant(stream.path, tag))


def _mix(i, k0, k1, tag: int) -> jax.Array:
    """Two multiplicative hashes of the index, each offset by a key word, mixed into each other: 14 instructions.

    The tag enters both, at two rotations, so that it cannot cancel, and each of index, key words and tag passes
    through bijections until the two halves meet in a product. docs/concepts/stream.md has the evidence.
    """
    u = jnp.uint32
    a = i * u(0x9E3779B1) + k1
    b = i * u(0x85EBCA77) + k0
    a = a ^ (a >> u(16)) ^ u(tag)
    a = a * u(0xED5AD4BB) + b
    b = b ^ (a >> u(16)) ^ u((tag << 13 | tag >> 19) & 0xFFFFFFFF)
    b = b * u(0xAC4C1B51) + a
    a = a * b + b
    a = a ^ (a >> u(15))
    a = a * u(0x31848BAB) + b
    return a ^ (a >> u(16))


@functools.cache
def _constant(path: tuple[Hashable, ...], tag: str) -> int:
    # Hashed here and not added to the key: sums of positions collide in nested chains.
    return int.from_bytes(hashlib.blake2b(repr((path, tag)).encode(), digest_size=4).digest(), "little")


def _key_words(key) -> tuple[jax.Array, jax.Array]:
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    data = [key[..., n] for n in range(key.shape[-1])]
    if len(data) == 2:
        return data[0], data[1]
    # Key data of other lengths may repeat itself ((a, b, a, b) for rbg), so it is hashed and not xored together.
    k0 = k1 = jnp.uint32(len(data))
    for n, word in enumerate(data):
        k0 = _mix(word, k0, k1, 2 * n + 1)
        k1 = _mix(word, k1, k0, 2 * n + 2)
    return k0, k1


def _index(shape, sharding, offset) -> tuple[jax.Array, jax.Array | None]:
    """The row-major index of every element as a low and a high word; no high word where it would be zero."""
    size = math.prod(shape)
    if isinstance(offset, int) and offset + size <= 2**32:
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        low = jnp.uint32(offset)
        for axis, stride in enumerate(strides):
            if shape[axis] != 1:
                low = low + _iota(shape, axis, sharding) * jnp.uint32(stride)
        if low.ndim == 0:
            low = lax.broadcast_in_dim(low, shape, (), out_sharding=sharding)
        return low, None
    if isinstance(offset, int):
        low, high = jnp.uint32(offset & 0xFFFFFFFF), jnp.uint32(offset >> 32)
    else:
        low, high = offset.astype(jnp.uint32), jnp.uint32(0)
    low = lax.broadcast_in_dim(low, shape, (), out_sharding=sharding)
    high = lax.broadcast_in_dim(high, shape, (), out_sharding=sharding)
    for axis in range(len(shape)):
        stride = math.prod(shape[axis + 1 :])
        position = _iota(shape, axis, sharding)
        term_low, term_high = multiply_wide(position, jnp.uint32(stride & 0xFFFFFFFF))
        low = low + term_low
        high = high + term_high + position * jnp.uint32(stride >> 32) + (low < term_low).astype(jnp.uint32)
    return low, high


def _iota(shape, axis, sharding) -> jax.Array:
    return lax.broadcasted_iota(jnp.uint32, shape, axis, out_sharding=sharding)


def multiply_wide(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The 64-bit product of two 32-bit words as (low, high), from 16-bit halves (see the module's docstring)."""
    u = jnp.uint32
    a0, a1, b0, b1 = a & u(0xFFFF), a >> u(16), b & u(0xFFFF), b >> u(16)
    middle = a1 * b0 + ((a0 * b0) >> u(16))
    middle_low = (middle & u(0xFFFF)) + a0 * b1
    return a * b, a1 * b1 + (middle >> u(16)) + (middle_low >> u(16))
