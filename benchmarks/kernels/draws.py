"""The library's words inside a kernel: the same bits for the same key, tag and index."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from noisejax._random import generators
from noisejax._random.stream import _key_words, _place


def key_words(key: jax.Array) -> jax.Array:
    """The two words of a key, as the kernels take them."""
    return jnp.stack(_key_words(key))


def word_at(tag: str) -> Callable:
    """A function of the key's two words and an array of indices below 2**32: the words of a noise, by its tag."""
    place = _place((), tag)
    return lambda k0, k1, index: generators.hash_words(index, k0, k1, place)
