"""Strings in a table that a device looks up by two hashes: the first numbers a bucket, the second is the key in it."""

from collections.abc import Hashable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax.text._edits import pick
from noisejax.text._words.split import host_hashes

Buckets = dict[int, dict[int, Any]]  # the entries of each bucket, by their keys


def buckets(strings: Iterable[str], level: int = 0) -> tuple[int, int, Buckets]:
    """The salt of the hashes, the number of buckets, and the strings by bucket and key, none of which is shared."""
    return leveled((string, level) for string in strings)


def leveled(entries: Iterable[tuple[str, int]], least: int = 0) -> tuple[int, int, Buckets]:
    """`buckets` of pairs of a string and a level. An entry of a bucket is then such a pair; of level 0, the string."""
    entries = list(entries)
    bits = max(len(entries).bit_length() + 1, least, 1)
    found: Buckets = {}
    for salt in range(1, 100):
        found = {}
        for string, level in entries:
            first, second = host_hashes(string, salted(salt, level))
            entry: Hashable = (string, level) if level else string
            found.setdefault(first >> (32 - bits), {}).setdefault(second, entry)
        if sum(map(len, found.values())) == len(entries):
            break
    return salt, 2**bits, found


def salted(salt: Any, level: int) -> Any:
    """The salt of a level, so that equal strings of different levels have different hashes."""
    return salt ^ (level << 26 if isinstance(salt, int) else jnp.uint32(level << 26))


def matches(keys: Any, first: jax.Array, second: jax.Array) -> Any:
    """For each column of the buckets: the number of the bucket of each hash, the column, and whether the key is there.

    Args:
      keys: the second hash of the strings of each bucket, (buckets, width).
    """
    count, width = keys.shape
    bucket = (first >> jnp.uint32(33 - count.bit_length())).astype(jnp.int32)
    for column in range(width):
        yield bucket, column, pick(keys[:, column], bucket) == second
