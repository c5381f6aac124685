"""Typed JAX keys on the house's own stream: what `jax.random` draws from them comes from `words`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from noisejax._random.generators import GENERATORS, two_words
from noisejax._random.stream import KEY_TYPES, Stream, pair_of, words


def key(seed: int | jax.Array, *, generator: str = "mix") -> jax.Array:
    """A typed JAX key whose draws come from this library's stream, in `jax.random` too.

    It goes wherever a key of `jax.random.key` goes: `jax.random`, flax (``nnx.Rngs(nj.key(0))``,
    ``rngs={"dropout": nj.key(1)}``), optax, the noises of this library. Its bits, splits and foldings are words of the
    stream (docs/concepts/stream.md), each with a tag of its own: one cheap evaluation per element, which fuses into
    what consumes it, under vmap equals a loop over the keys, and under sharding is each device's own part. The key
    carries its generator, statically, as part of its dtype; so do the keys that are split from it.

    With the default generator the noises of this library draw from ``nj.key(seed)`` what they draw from
    ``jax.random.key(seed)``; keys that are split or folded from the two differ.

    Args:
      seed: an integer of up to 64 bits, negative ones modulo 2**64; or an integer array of shape (), traced or not.
      generator: `'mix'`, the fast one, which was chosen by batteries of tests and has no literature behind it; or
        `'threefry2x32'`, Threefry with 20 rounds, one block for each element: published, and slower. Neither is for
        cryptography.

    Returns:
      A key array of shape (), of two words.

    What such a key cannot do, since JAX does not register key types that are not its own:

    - *Names.* There is no string for it. Where JAX asks for ``impl=`` or ``dtype=``, give ``nj.key(0).dtype``, or
      ``jax.random.key_impl(nj.key(0))``. So it cannot be the flag `jax_default_prng_impl`.
    - *Export.* `jax.export` exports a function that takes or returns it, but does not serialize it. Let the function
      take ``jax.random.key_data(key)`` and wrap it inside; what is inside is arithmetic like any other.
    - *Checkpoints.* Pickle keeps it, where noisejax can be imported. Orbax writes it and fails to restore it: save
      ``jax.random.key_data(key)`` and restore with ``jax.random.wrap_key_data(data, dtype=nj.key(0).dtype)``. Nothing
      in the data says which generator it belongs to.
    - *Raw draws of 64 bits* are two words; those of 8 and 16 bits are the high bits of one word each.

    `jax.random.fold_in` takes 32 bits (it casts before our code sees them). `jax.random.clone` and the checker of key
    reuse (`jax_debug_key_reuse`) work for `jax.random`; noises of this library read the data of a key, which the
    checker does not count as a use.

    References:
      Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Threefry).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, dropout_key = jax.random.split(nj.key(0))
      >>> jax.random.normal(key, (2, 3)).shape
      (2, 3)
      >>> bool((nj.gaussian(nj.key(7), jnp.zeros(4), 1.0) == nj.gaussian(jax.random.key(7), jnp.zeros(4), 1.0)).all())
      True
      >>> nj.dropout(nj.key(0, generator="threefry2x32"), jnp.ones(4), 0.5).shape
      (4,)
    """
    if generator not in GENERATORS:
        raise ValueError(f"key: generator must be one of {', '.join(map(repr, GENERATORS))}, got {generator!r}.")
    kind = KEY_TYPES[generator]
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"key: seed must have at most 64 bits, got {seed!r}.")
        seed = int(seed) + _offset()  # not left to JAX, which without x64 keeps 32 bits of it
        halves = [seed >> 32 & _WORD, seed & _WORD]
        return jax.random.wrap_key_data(jnp.asarray(halves, jnp.uint32), impl=kind)
    if not (isinstance(seed, (jax.Array, np.ndarray)) and jnp.issubdtype(seed.dtype, jnp.integer)):
        raise TypeError(f"key: seed must be an integer, got {seed!r}.")
    return jax.random.key(seed, impl=kind)


_WORD = 0xFFFFFFFF


def _offset() -> int:
    return jax.config.jax_random_seed_offset  # pyright: ignore[reportAttributeAccessIssue] set when jax starts


class _KeyType:
    """The operations of one key type on the two words of a key, as `define_prng_impl` asks for them.

    JAX tells key types apart by the identity of these functions, so pickle and copy must find this very object: they
    get it by its name.
    """

    def __init__(self, name: str, generator: str):
        self.name, self.generator = name, generator

    def __reduce__(self):
        return self.name

    def seed(self, seed):
        return _seed(jnp.asarray(seed))

    def split(self, data, shape):
        return _split(self.generator, data, tuple(shape))

    def fold_in(self, data, number):
        return _fold_in(self.generator, data, number)

    def random_bits(self, data, bit_width, shape):
        return _random_bits(self.generator, data, bit_width, tuple(shape))


# One dispatch each where they are called eagerly, and arithmetic of the caller's program everywhere else.


@functools.partial(jax.jit, inline=True)
def _seed(seed):
    low, high = two_words(seed)
    return jnp.stack([jnp.zeros_like(low) if high is None else high, low])


@functools.partial(jax.jit, static_argnums=(0, 2), inline=True)
def _split(generator: str, data, shape):
    return _pair(generator, data, "split", shape, 0)


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _fold_in(generator: str, data, number):
    return _pair(generator, data, "fold_in", (), number)


def _pair(generator: str, data, tag: str, shape: tuple[int, ...], offset: Any):
    stream = Stream(data, generator=generator)
    halves = (words(stream, f"{tag}.{half}", shape, offset=offset) for half in (0, 1))
    return pair_of(stream, *halves)


@functools.partial(jax.jit, static_argnums=(0, 2, 3), inline=True)
def _random_bits(generator: str, data, bit_width: int, shape):
    stream = Stream(data, generator=generator)
    word = words(stream, f"bits{bit_width}", shape)
    if bit_width == 64:
        high = words(stream, "bits64.high", shape)
        return high.astype(jnp.uint64) << jnp.uint64(32) | word.astype(jnp.uint64)
    return (word >> jnp.uint32(32 - bit_width)).astype(f"uint{bit_width}")


MIX, THREEFRY = _KeyType("MIX", "mix"), _KeyType("THREEFRY", "threefry2x32")

for _type in (MIX, THREEFRY):
    KEY_TYPES[_type.generator] = define_prng_impl(
        key_shape=(2,),
        seed=_type.seed,
        split=_type.split,
        random_bits=_type.random_bits,
        fold_in=_type.fold_in,
        name=f"noisejax-{_type.generator}",
        tag=f"noisejax-{_type.generator}",
    )
