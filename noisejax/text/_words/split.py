"""Words of a text on the device: where each begins and ends, and a hash of its letters."""

import functools
import unicodedata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._padded import Padded
from noisejax.text._edits import pick, places

_LAST = 0x3000  # characters from here on are single words, or have none: Chinese, Japanese, symbols, emoji
_BASES = (0x9E3779B1, 0x85EBCA77)


@functools.cache
def _letters() -> tuple[np.ndarray, np.ndarray]:
    """Whether each character belongs to a word, and its small letter."""
    word = np.array([unicodedata.category(chr(c))[0] in "LM" for c in range(_LAST)] + [False], bool)
    small = np.arange(_LAST + 1, dtype=np.uint32)
    for code in range(_LAST):
        lower = chr(code).lower()
        if len(lower) == 1:
            small[code] = ord(lower)
    return word, small


class Words(NamedTuple):
    """For each character of a text: whether it belongs to a word, and the first and last place of that word."""

    inside: jax.Array
    first: jax.Array
    last: jax.Array
    small: jax.Array  # the small letter, uint32


def split(x: Padded) -> Words:
    """Words are the longest runs of letters and marks up to U+2FFF."""
    word, small = _letters()
    code = jnp.minimum(x.values.astype(jnp.uint32), jnp.uint32(_LAST))
    inside = pick(word, code.astype(jnp.int32)) & x.mask
    place, axis = places(x.values), x.values.ndim - 1
    first = lax.cummax(jnp.where(inside, -1, place), axis=axis) + 1
    last = lax.cummin(jnp.where(inside, x.values.shape[-1], place), axis=axis, reverse=True) - 1
    inside, first, last = lax.optimization_barrier((inside, first, last))
    return Words(inside, first, last, pick(small, code.astype(jnp.int32)))


def at(values: jax.Array, index: jax.Array) -> jax.Array:
    """Values at places along the last axis."""
    return jnp.take_along_axis(values, jnp.clip(index, 0, values.shape[-1] - 1), axis=-1, mode="promise_in_bounds")


def hashes(words: Words, salt: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two hashes of the word that each character belongs to."""
    return ranged(running(words.small, words.inside, salt), words.first, words.last)


class Running(NamedTuple):
    """Running sums of the mixed characters of a text, one for each base, from which `ranged` takes hashes."""

    totals: tuple[jax.Array, ...]
    rank: jax.Array | None  # the power of each character; None for its place


def running(codes: jax.Array, inside: jax.Array, salt: jax.Array, rank: jax.Array | None = None) -> Running:
    """A hash is a polynomial in the mixed characters, and so a difference of two running sums.

    Args:
      codes: uint32.
      inside: the characters that count.
      rank: how many of those are before each character; None if a string has no others in between.
    """
    letter, totals = mixed(codes ^ salt), []
    for base in _BASES:
        powers = _powers(codes.shape[-1], base)[0]
        powers = _broadcast(powers, letter) if rank is None else pick(powers, rank)
        total = lax.cumsum(jnp.where(inside, letter * powers, 0), axis=letter.ndim - 1)
        totals.append(lax.optimization_barrier(total))
    return Running(tuple(totals), rank)


def ranged(sums: Running, first: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two hashes of the characters at the places from `first` to `last`, of which the first one counts."""
    found, size = [], sums.totals[0].shape[-1]
    for base, total in zip(_BASES, sums.totals, strict=True):
        before = jnp.where(first > 0, at(total, first - 1), 0)
        inverses = _broadcast(_powers(size, base)[1], total)
        start = first if sums.rank is None else at(sums.rank, first)
        found.append(mixed((at(total, last) - before) * at(inverses, start)))
    return found[0], found[1]


def _broadcast(values: np.ndarray, like: jax.Array) -> jax.Array:
    return lax.broadcast_in_dim(jnp.asarray(values), like.shape, (like.ndim - 1,))


def host_hashes(word: str, salt: int) -> tuple[int, int]:
    """The hashes of one word, in Python."""
    letters = [_host_mixed((ord(letter) ^ salt) & 0xFFFFFFFF) for letter in word]
    totals = [sum(letter * pow(base, n, 2**32) for n, letter in enumerate(letters)) % 2**32 for base in _BASES]
    return _host_mixed(totals[0]), _host_mixed(totals[1])


def mixed(x: Any) -> Any:
    """32 bits, mixed."""
    x = (x ^ (x >> 15)) * jnp.uint32(0x2C1B3C6D)
    x = (x ^ (x >> 12)) * jnp.uint32(0x297A2D39)
    return x ^ (x >> 15)


def _host_mixed(x: int) -> int:
    x = (x ^ x >> 15) * 0x2C1B3C6D % 2**32
    x = (x ^ x >> 12) * 0x297A2D39 % 2**32
    return x ^ x >> 15


@functools.lru_cache(maxsize=64)
def _powers(size: int, base: int) -> tuple[np.ndarray, np.ndarray]:
    """base ** n and its inverse modulo 2**32, for n below size."""
    inverse = pow(base, -1, 2**32)
    powers = [[pow(b, n, 2**32) for n in range(size)] for b in (base, inverse)]
    return np.array(powers[0], np.uint32), np.array(powers[1], np.uint32)
