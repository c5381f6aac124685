"""The random stream of this library: a key, a tag and an index determine one 32-bit word.

``words(key, tag, shape)`` hashes, for every element, its own index together with the words of the key and a static
tag. There is no state and no block of outputs to split. So the draw fuses into its consumer, for any shape and under
``vmap`` over keys, and each device of a mesh computes only its own part.

The words come from the module `generators`, and the key selects the generator: `nj.key` makes keys that carry one, and
all other JAX keys use `mix`.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.errors import InconclusiveDimensionOperation

from noisejax import _checks
from noisejax._random.generators import GENERATORS, multiply_wide as multiply_wide, two_words
from noisejax._sharding import axis_names, with_axis_names

# The key types of this library by the names of their generators. The module `keys` adds them.
KEY_TYPES: dict[str, Hashable] = {}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["starts"], meta_fields=["whole"])
@dataclasses.dataclass(frozen=True)
class Tile:
    """A tile of a larger array: the whole array's shape, and the index of the tile's first element on each axis."""

    starts: tuple[jax.Array, ...]
    whole: tuple[int, ...]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["key", "rows", "tile"], meta_fields=["path", "generator", "layout"]
)
@dataclasses.dataclass(frozen=True)
class Stream:
    """A key and the place where it is used: the position path through chains, static and part of every tag.

    Noises accept a `Stream` in place of a key. Combinators make streams; users do not need to. `stage` and `fold` make
    one from another and preserve the other fields.

    Args:
      key: a JAX key, or the two words of one.
      path: the position path.
      generator: the name of the key's generator; None for that of JAX's own keys.
      layout: inside `jax.shard_map`, the names of the mesh axes over which each axis of x is sharded.
      rows: for a part of a table, the number of each of its rows, integers of shape (n,): their index along the leading
        axis in all draws. None for 0, ..., n - 1.
      tile: for a tile of a larger array, its place there. Only noises of single elements draw for a tile.
    """

    key: jax.Array
    path: tuple[Hashable, ...] = ()
    generator: str | None = None
    layout: tuple[tuple[str, ...], ...] | None = None
    rows: jax.Array | None = None
    tile: Tile | None = None


def stream(key: "jax.Array | Stream") -> Stream:
    """The whole stream of a key, with the generator that its type names."""
    if isinstance(key, Stream):
        return key
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return Stream(key)
    key_type = jax.random.key_impl(key)
    return Stream(key, generator=next((name for name, ours in KEY_TYPES.items() if ours == key_type), None))


def enter(function: str, key: "jax.Array | Stream") -> "jax.Array | Stream":
    """The key of a public function, after a check, or the stream that a combinator passed.

    A key stays a key, since a compiled function takes it faster than a `Stream`. `words` and `stage` take both.
    """
    if not isinstance(key, Stream):
        _checks.key(function, key)
    return key


def tile_of(key: "jax.Array | Stream") -> Tile | None:
    return key.tile if isinstance(key, Stream) else None


def layout_of(key: "jax.Array | Stream") -> "tuple[tuple[str, ...], ...] | None":
    return key.layout if isinstance(key, Stream) else None


def stage(key: "jax.Array | Stream", *names: Hashable) -> Stream:
    """The stream of one stage: of a chain (a position), of a batch (an entry), or of a tree (the path of a leaf)."""
    parent = stream(key)
    return dataclasses.replace(parent, path=(*parent.path, *names))


def fold(key: "jax.Array | Stream", ids: jax.Array) -> Stream:
    """Streams that differ by an integer, one for each of `ids`, for `per_example` to map over.

    All 64 bits of the integer count. Its dtype does not. Each of the two words of the new key is one draw.
    """
    parent = stream(key)
    low, high = two_words(jnp.asarray(ids))
    pair = pair_of(parent, *(_word(parent, tag, low, high) for tag in ("fold.0", "fold.1")))
    return dataclasses.replace(parent, key=pair, path=())


def one_example(key: Stream) -> Stream:
    """The stream of one example, as `fold` made it, for a batch of one, which is no part of a batch."""
    return dataclasses.replace(key, layout=((), *key.layout[1:]) if key.layout else key.layout, rows=None)


def jax_key(key: "jax.Array | Stream") -> jax.Array:
    """A typed JAX key for a function outside this library, different for every place in a chain.

    It has the key's own type if that is one of this library's, so that the generator stays the same.
    """
    if not isinstance(key, Stream):
        return key
    if key.layout is not None:
        raise ValueError(
            "in_shard_map: only noises of this library can draw a shard's part of the whole array's draw. A function "
            "that draws from a JAX key would draw the same in every shard. Call it outside of in_shard_map, with a key "
            "into which jax.lax.axis_index is folded."
        )
    if key.tile is not None:
        raise ValueError(
            "fused: only noises of this library can draw for a tile of an array. A function that draws from a JAX key "
            "of its own needs the whole array: apply it first, and use an ordinary product."
        )
    if key.rows is not None:
        raise ValueError(
            "frame: only noises of this library can draw for a part of a table. A function that draws from a JAX key "
            "of its own needs the whole table: leave out ids, and call frame.corrupt."
        )
    return _typed(key, pair_of(key, *(_word(key, tag, jnp.uint32(0), None) for tag in ("key.0", "key.1"))))


def keys(key: "jax.Array | Stream", ids: jax.Array) -> jax.Array:
    """Typed JAX keys, one for each of `ids`, of the key's own type if that is one of this library's."""
    folded = fold(key, ids)
    return _typed(folded, folded.key)


def pair_of(parent: Stream, first: jax.Array, second: jax.Array) -> jax.Array:
    """The data of a new key: two words of its parent."""
    pair = jnp.stack([first, second], axis=-1)
    # XLA would compute a key again at each of its uses in a block, of which Threefry has thirty, and likewise its
    # parent's: compiling one split took minutes. The short generator is worth fusing, also into its children.
    return pair if parent.generator in (None, "mix") else lax.optimization_barrier(pair)


def _typed(parent: Stream, data: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(data, impl=KEY_TYPES.get(parent.generator or "", "threefry2x32"))


def words_like(key: "jax.Array | Stream", tag: str, x: jax.Array) -> jax.Array:
    """One word for every element of x, sharded as x is."""
    sharding, varies = jax.typeof(x).sharding, tuple(range(x.ndim))
    return words(key, tag, x.shape, sharding=sharding, varies=varies)


def along(x: jax.Array, axes: Sequence[int]) -> dict:
    """Arguments of `words` for a draw that varies only along `axes` of `x`: ``words(key, tag, **along(x, (0,)))``."""
    kept = {axis % x.ndim for axis in axes} if x.ndim else set()
    shape = tuple(n if axis in kept else 1 for axis, n in enumerate(x.shape))
    names = [names if axis in kept else None for axis, names in enumerate(axis_names(x, x.ndim))]
    return {"shape": shape, "sharding": with_axis_names(x, names), "varies": tuple(sorted(kept))}


def all_but(x: jax.Array, axes: Sequence[int]) -> dict:
    """The same for a draw that is shared along `axes` and varies along all other axes."""
    shared = {axis % x.ndim for axis in axes} if x.ndim else set()
    return along(x, [axis for axis in range(x.ndim) if axis not in shared])


def positions(x: jax.Array, axis: int) -> jax.Array:
    """The index along one axis of x, int32 of x's rank, sharded as that axis is."""
    like = along(x, (axis,))
    return lax.broadcasted_iota(jnp.int32, like["shape"], axis % x.ndim, out_sharding=like["sharding"])


def numbers_along(key: "jax.Array | Stream", x: jax.Array, axis: int) -> jax.Array:
    """The index along one axis of x, as `positions` gives it. Inside `jax.shard_map` it is that in the whole array."""
    layout, axis = stream(key).layout, axis % x.ndim
    numbers = positions(x, axis)
    if (tile := tile_of(key)) is not None:
        return numbers + tile.starts[axis].astype(numbers.dtype)
    if layout is None or not layout[axis]:
        return numbers
    return numbers + (lax.axis_index(layout[axis]) * x.shape[axis]).astype(numbers.dtype)


def row_numbers(key: "jax.Array | Stream", x: jax.Array) -> jax.Array:
    """The number of each row of a table (..., rows, columns), int32 of x's rank.

    For a part of a table, inside `jax.shard_map` too, it is the number in the whole table.
    """
    rows = stream(key).rows
    return rows.astype(jnp.int32)[:, None] if rows is not None and x.ndim == 2 else numbers_along(key, x, -2)


def examples(key: "jax.Array | Stream", n: int) -> jax.Array:
    """The indices of n examples. For a part of a batch these are their indices in the whole batch."""
    layout, rows = stream(key).layout, stream(key).rows
    if rows is not None:
        return rows
    numbers = jnp.arange(n)
    return numbers + (lax.axis_index(layout[0]) * n).astype(numbers.dtype) if layout and layout[0] else numbers


def words(
    key: "jax.Array | Stream",
    tag: str,
    shape: Sequence[int],
    *,
    sharding: jax.sharding.NamedSharding | None = None,
    offset: "int | jax.Array" = 0,
    varies: tuple[int, ...] | None = None,
) -> jax.Array:
    """One uniformly distributed 32-bit word per element.

    The word at an element depends only on the key, the tag and the element's row-major index plus `offset`. So an array
    can be drawn in two parts: if the offset of the second part is the size of the first, their words are those of the
    whole.

    Args:
      key: a typed JAX key of any implementation, a legacy uint32 key, or a `Stream`.
      tag: the name of the noise; different tags give independent words. Static.
      shape: the shape of the result. Its size may exceed 2**32.
      sharding: the sharding of the result, under a mesh with explicit axes: ``jax.typeof(x).sharding``.
      offset: the index of the first element: a Python int of any size below 2**64, or a traced integer.
      varies: the axes of x along which the draw varies, for a draw of x's rank. `along` and `words_like` provide them.
        A draw inside `jax.shard_map` requires them, and its indices are those in the whole array.

    Returns:
      uint32 words of the given shape.
    """
    parent, shape = stream(key), tuple(shape)
    if parent.rows is not None and shape and _along_rows(parent.rows, tag, shape, varies):
        low, high = _numbered(shape, parent.rows)
    else:
        low, high = _index(shape, sharding, offset, _cuts(parent, tag, shape, varies))
    return _word(parent, tag, low, high)


def _word(parent: Stream, tag: str, low, high) -> jax.Array:
    k0, k1 = _key_words(parent.key)
    return GENERATORS[parent.generator or "mix"](low, high, k0, k1, _place(parent.path, tag))


@functools.cache
def _place(path: tuple[Hashable, ...], tag: str) -> tuple[int, int]:
    # Hashed here and not added to the key: sums of positions collide in nested chains.
    text = repr((path, tag)).encode()
    digests = (hashlib.blake2b(text, digest_size=4, salt=salt).digest() for salt in (b"", b"high"))
    low, high = (int.from_bytes(digest, "little") for digest in digests)
    return low, high


def _key_words(key) -> tuple[jax.Array, jax.Array]:
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    data = [key[..., n] for n in range(key.shape[-1])]
    if len(data) == 2:
        return data[0], data[1]
    # Key data of other lengths may repeat itself ((a, b, a, b) for rbg), so it is hashed and not xored together.
    k0 = k1 = jnp.uint32(len(data))
    for n, word in enumerate(data):
        k0 = GENERATORS["mix"](word, None, k0, k1, _place((n, 0), "key"))
        k1 = GENERATORS["mix"](word, None, k1, k0, _place((n, 1), "key"))
    return k0, k1


def _along_rows(rows: jax.Array, tag: str, shape: tuple[int, ...], varies) -> bool:
    """Whether a draw varies along the rows of a table of which x is a part."""
    if varies is not None and (0 not in varies or shape[0] == rows.shape[0]):
        return 0 in varies
    raise ValueError(
        f"frame: the draw {tag!r} of shape {shape} has no part for each row, so it needs the whole table. Leave out "
        "ids, and call frame.corrupt."
    )


def _numbered(shape: tuple[int, ...], rows: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """The row-major index of every element of some rows of an array, whose numbers are `rows`."""
    first, stride = (shape[0],) + (1,) * (len(shape) - 1), math.prod(shape[1:])
    low, high = two_words(rows)
    low, high = low.reshape(first), None if high is None else high.reshape(first)
    if high is None and stride == 1:
        return low, None
    zero = jnp.zeros(shape, jnp.uint32)
    low, high = _add(zero, zero, low, high, stride)
    for axis in range(1, len(shape)):
        low, high = _add(low, high, _iota(shape, axis, None), None, math.prod(shape[axis + 1 :]))
    return low, high


def _cuts(parent: Stream, tag: str, shape: tuple[int, ...], varies) -> "list[tuple[int, jax.Array | None, int]]":
    """For each axis of a draw: its size in the whole array, and where the drawn part begins, as a number of units."""
    layout, tile = parent.layout, parent.tile
    if (layout is None and tile is None) or not shape:
        return [(n, None, 1) for n in shape]
    if varies is None or len(shape) != len(layout or (tile and tile.whole) or ()):
        where = "in_shard_map" if layout is not None else "fused"
        raise ValueError(
            f"{where}: the draw {tag!r} of shape {shape} is not laid out as x, so it has no part for each shard or "
            "tile. Apply this noise to the whole array."
        )
    if tile is not None:
        cut = zip(tile.whole, tile.starts, strict=True)
        return [
            (whole, first.astype(jnp.uint32), 1) if axis in varies else (shape[axis], None, 1)
            for axis, (whole, first) in enumerate(cut)
        ]
    names = [names if axis in varies else () for axis, names in enumerate(layout or ())]
    return [
        (n * lax.axis_size(cut), lax.axis_index(cut).astype(jnp.uint32), n) if cut else (n, None, 1)
        for n, cut in zip(shape, names, strict=True)
    ]


def _index(shape, sharding, offset, cuts) -> tuple[jax.Array, jax.Array | None]:
    """The row-major index of every element as a low and a high word. The high word is None if it is always zero."""
    whole = [size for size, _, _ in cuts]
    strides = [math.prod(whole[axis + 1 :]) for axis in range(len(shape))]
    _refuse_symbolic(shape, strides)
    if isinstance(offset, int) and is_at_most(offset + math.prod(whole), 2**32):
        low = jnp.uint32(offset)
        for (_, part, unit), stride in zip(cuts, strides, strict=True):
            if part is not None:
                low = low + part * jnp.uint32(unit * stride & 0xFFFFFFFF)
        for axis, stride in enumerate(strides):
            if shape[axis] != 1:
                low = low + _iota(shape, axis, sharding) * jnp.uint32(stride)
        if low.ndim == 0:
            low = lax.broadcast_in_dim(low, shape, (), out_sharding=sharding)
        return low, None
    low, high = two_words(offset)
    high = jnp.uint32(0) if high is None else high
    for (_, part, unit), stride in zip(cuts, strides, strict=True):
        if part is not None:
            low, high = _add(low, high, part, None, unit * stride)
    low = lax.broadcast_in_dim(low, shape, (), out_sharding=sharding)
    high = lax.broadcast_in_dim(high, shape, (), out_sharding=sharding)
    for axis, stride in enumerate(strides):
        low, high = _add(low, high, *_long_iota(shape, axis, sharding), stride)
    return low, high


def is_symbolic(size: Any) -> bool:
    """Whether an extent is a symbolic dimension of `jax.export`, of which only the name is known."""
    return not isinstance(size, (int, np.integer))


def is_at_most(size: Any, limit: int) -> bool:
    """Whether an extent is known to be at most `limit`. Of a symbolic one it may follow from its constraints."""
    try:
        return bool(size <= limit)
    except InconclusiveDimensionOperation:
        return False


def _refuse_symbolic(shape, strides) -> None:
    """Raises where an element's index would need the value of a symbolic dimension: all axes but the first."""
    wrong = [axis for axis, stride in enumerate(strides) if is_symbolic(stride)]
    if wrong:
        raise ValueError(
            f"jax.export: only the first axis of a draw may have a symbolic dimension, got shape {shape}. Export one "
            "program for each length, or pad to one length and pass lengths."
        )


def _add(low, high, a, a_high, stride: int) -> tuple[jax.Array, jax.Array]:
    """(low, high) + (a, a_high) * stride, modulo 2**64."""
    stride_low = jnp.uint32(stride & 0xFFFFFFFF)
    term_low, term_high = multiply_wide(a, stride_low)
    term_high = term_high + a * jnp.uint32(stride >> 32)
    if a_high is not None:
        term_high = term_high + a_high * stride_low
    low = low + term_low
    return low, high + term_high + (low < term_low).astype(jnp.uint32)


def _iota(shape, axis, sharding) -> jax.Array:
    return lax.broadcasted_iota(jnp.uint32, shape, axis, out_sharding=sharding)


def _long_iota(shape, axis, sharding) -> tuple[jax.Array, jax.Array | None]:
    if is_symbolic(shape[axis]) or shape[axis] <= 2**32:  # no exported program is called with as many examples
        return _iota(shape, axis, sharding), None
    with jax.enable_x64(True):
        return two_words(lax.broadcasted_iota(jnp.uint64, shape, axis, out_sharding=sharding))
