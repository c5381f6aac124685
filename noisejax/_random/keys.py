"""Typed JAX keys on this library's stream: the draws of `jax.random` from them come from `words`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from noisejax import _checks
from noisejax._random.generators import GENERATORS, two_words
from noisejax._random.stream import KEY_TYPES, Stream, pair_of, words


def key(seed: int | jax.Array, *, generator: str = "mix") -> jax.Array:
    """A typed JAX key whose draws come from this library's stream, also in `jax.random`.

    It works wherever a key of `jax.random.key` works: in `jax.random`, flax (``nnx.Rngs(nj.key(0))``,
    ``rngs={"dropout": nj.key(1)}``), optax, and the noises of this library. Its bits, splits and folds are words of the
    stream (docs/concepts/stream.md), each with its own tag. An element costs one cheap evaluation, which fuses into its
    consumer. Under vmap the draws equal those of a loop over the keys, and under sharding each device computes its own
    part. The generator is a static part of the key's dtype, and keys that are split from it have the same one.

    With the default generator, the noises of this library make the same draws from ``nj.key(seed)`` as from
    ``jax.random.key(seed)``. Keys that are split or folded from the two differ.

    Args:
      seed: an integer of up to 64 bits, negative ones modulo 2**64; or an integer array of shape (), traced or not.
      generator: `'mix'` is fast; it was chosen by test batteries and is not backed by publications. `'threefry2x32'`,
        Threefry with 20 rounds and one block per element, is published and slower. Neither is for cryptography.

    Returns:
      A key array of shape (), of two words.

    JAX does not register foreign key types, which has these consequences:

    - *Names.* No string names the key type. For ``impl=`` or ``dtype=`` pass ``nj.key(0).dtype``, or
      ``jax.random.key_impl(nj.key(0))``. It cannot be the value of the flag `jax_default_prng_impl`.
    - *Export.* `jax.export` exports a function that takes or returns such a key, but does not serialize it. Pass
      ``jax.random.key_data(key)`` to the function and wrap it inside. The operations inside are ordinary arithmetic.
    - *Checkpoints.* Pickle preserves such a key if noisejax can be imported. Orbax writes it and fails to restore it:
      save ``jax.random.key_data(key)`` and restore with
      ``jax.random.wrap_key_data(data, dtype=nj.key(0).dtype)``. The data does not record the generator.
    - *Raw draws of 64 bits* are two words. Those of 8 and 16 bits are the high bits of one word each.

    `jax.random.fold_in` takes 32 bits, since JAX casts the number first. `jax.random.clone` and the key reuse checker
    (`jax_debug_key_reuse`) work for `jax.random`. Noises of this library read the data of a key, which the checker does
    not count as a use, for keys of any kind: it does not report a key that two noises share. `hits` uses the key of a
    noise again on purpose. `jax.random.split` counts as a use, so a key that is split twice is reported.

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
    if not isinstance(generator, str) or generator not in GENERATORS:
        raise ValueError(f"key: generator must be one of {', '.join(map(repr, GENERATORS))}, got {generator!r}.")
    kind = KEY_TYPES[generator]
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"key: seed must have at most 64 bits, got {seed!r}.")
        seed = int(seed) + _offset()  # not left to JAX, which keeps only 32 bits of it without x64
        halves = [seed >> 32 & _WORD, seed & _WORD]
        return jax.random.wrap_key_data(jnp.asarray(halves, jnp.uint32), impl=kind)
    if not (isinstance(seed, (jax.Array, np.ndarray)) and jnp.issubdtype(seed.dtype, jnp.integer)):
        raise TypeError(f"key: seed must be an integer, got {_checks.shown(seed)}.")
    _checks.native("key", "seed", seed)
    if seed.ndim:
        raise ValueError(
            f"key: seed must be one integer, got shape {seed.shape}. Map over seeds with jax.vmap(nj.key)."
        )
    return jax.random.key(seed, impl=kind)


_WORD = 0xFFFFFFFF


def _offset() -> int:
    return jax.config.jax_random_seed_offset  # pyright: ignore[reportAttributeAccessIssue] set when jax starts


class _KeyType:
    """The operations of one key type on the two words of a key, as `define_prng_impl` requires them.

    JAX distinguishes key types by the identity of these functions, so pickle and copy must find this same object. They
    find it by name.
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


# Each is one dispatch when it is called eagerly, and otherwise part of the caller's program.


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
