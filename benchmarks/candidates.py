"""The generators that are compared: the library's, rejected ones, and published ones.

Every generator is a function ``word(index, k0, k1, tag)`` of a uint32 array, two uint32 scalars and a Python integer.
`twin` is its name in `benchmarks/quality/generators.h`, where there is one, under which the batteries read it.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from noisejax._random import generators
from noisejax._random.generators import multiply_wide

u = jnp.uint32
MAX = 0xFFFFFFFF


def library(i, k0, k1, tag):
    """The library's default, docs/concepts/stream-formula.md."""
    return generators.hash_words(i, k0, k1, (tag, second(tag)))


def second(tag: int) -> int:
    """A place's second constant, a digest like the first one; here a hash replaces it, as in benchmarks/quality."""
    x = tag ^ MAX
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ x >> shift) * factor & MAX
    return x ^ x >> 16


def option(i, k0, k1, tag):
    """What the library's keys made with generator="threefry2x32" mean: the tag is encrypted first, once per draw."""
    return generators.threefry(i, None, k0, k1, (tag, tag ^ 0xFFFFFFFF))


def mix12(i, k0, k1, tag, second_step=jnp.bitwise_xor):
    """The library's without the last self-mixing, one instruction shorter; weak in the lowest bit along the index."""
    a = i * u(0x9E3779B1) + k1
    b = i * u(0x85EBCA77) + (k0 ^ u(second(tag)))
    a = a ^ (a >> u(16)) ^ u(tag)
    a = a * u(0xED5AD4BB) + b
    b = b + (a >> u(16))
    b = b * u(0xAC4C1B51) + a
    a = second_step(a, b >> u(16))
    a = a * b + b
    b = b + (a >> u(16))
    return a * u(0x31848BAB) + b


def mix11(i, k0, k1, tag):
    """`mix12` with an add for its second xor, one instruction shorter still; broken in the lowest bits."""
    return mix12(i, k0, k1, tag, jnp.add)


def mix14c(i, k0, k1, tag):
    """Weak in the lowest bit where most of the inputs are 0, and in high bits of `second`.

    For draws; for keys it had an additional shift and xor.
    """
    a = i * u(0x9E3779B1) + k1
    b = i * u(0x85EBCA77) + k0
    a = a ^ (a >> u(16)) ^ u(tag)
    a = a * u(0xED5AD4BB) + b
    b = b ^ (a >> u(16)) ^ u(second(tag))
    b = b * u(0xAC4C1B51) + a
    a = a ^ (b >> u(16))
    a = a * b + b
    a = a ^ (a >> u(15))
    return a * u(0x31848BAB) + b


def mix14b(i, k0, k1, tag):
    """Weak where keys differ in their top bits."""
    a = i * u(0x9E3779B1) + k1
    b = i * u(0x85EBCA77) + k0
    a = a ^ (a >> u(16)) ^ u(tag)
    a = a * u(0xED5AD4BB) + b
    b = b ^ (a >> u(16)) ^ u((tag << 13 | tag >> 19) & MAX)
    b = b * u(0xAC4C1B51) + a
    a = a * b + b
    a = a ^ (a >> u(15))
    a = a * u(0x31848BAB) + b
    return a ^ (a >> u(16))


def mix13(i, k0, k1, tag):
    """The first candidate, one multiply-add shorter still; broken along seeds."""
    a = i * u(0x9E3779B1) + k1
    b = i * u(0x85EBCA77) + k0
    a = a ^ (a >> u(16)) ^ u(tag)
    b = b * u(0xED5AD4BB) + a
    b = b ^ (b >> u(16)) ^ u(tag << 13 & 0xFFFFFFFF)
    a = a * b + b
    a = a ^ (a >> u(15))
    a = a * u(0x31848BAB) + b
    return a ^ (a >> u(16))


def fin2(i, k0, k1, tag):
    """Two keyed finalizers over one index: lowbias32 (C. Wellons), then MurmurHash3's."""
    x = (i + k0) ^ u(tag)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> u(shift))) * u(factor)
    x = x ^ (x >> u(16)) ^ k1
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> u(shift))) * u(factor)
    return x ^ (x >> u(16))


def threefry(rounds: int) -> Callable:
    """Threefry2x32 (Salmon et al. 2011): both words of the block (tag, index)."""

    def block(i, k0, k1, tag):
        keys = (k0, k1, k0 ^ k1 ^ u(0x1BD11BDA))
        a, b = u(tag) + k0, i + k1
        for n in range(rounds):
            rotation = (13, 15, 26, 6, 17, 29, 16, 24)[n % 8]
            a = a + b
            b = (b << u(rotation) | b >> u(32 - rotation)) ^ a
            if n % 4 == 3:
                s = n // 4 + 1
                a, b = a + keys[s % 3], b + keys[(s + 1) % 3] + u(s)
        return a, b

    return block


def philox(rounds: int, wide: Callable) -> Callable:
    """Philox4x32 (Salmon et al. 2011): the four words of the block (index, 0, tag, 0)."""

    def block(i, k0, k1, tag):
        c0, c1, c2, c3 = i, u(0), u(tag), u(0)
        for n in range(rounds):
            p_low, p_high = wide(c0, u(0xD2511F53))
            q_low, q_high = wide(c2, u(0xCD9E8D57))
            c0, c2 = q_high ^ c1 ^ (k0 + u(n * 0x9E3779B9 & MAX)), p_high ^ c3 ^ (k1 + u(n * 0xBB67AE85 & MAX))
            c1, c3 = q_low, p_low
        return c0, c1, c2, c3

    return block


def wide_multiply(a, b):
    """The 64-bit product through uint64, which has to be enabled."""
    with jax.enable_x64(True):
        product = lax.convert_element_type(a, jnp.uint64) * lax.convert_element_type(b, jnp.uint64)
        high = lax.shift_right_logical(product, jnp.full_like(product, 32))
        return lax.convert_element_type(product, jnp.uint32), lax.convert_element_type(high, jnp.uint32)


def pcg4d(passes: int) -> Callable:
    """pcg4d (Jarzynski and Olano 2020) of (index, k0, k1, tag): its four words, after one pass or two."""

    def block(i, k0, k1, tag):
        x, y, z, w = i, k0, k1, u(tag)
        for _ in range(passes):
            x, y, z, w = (v * u(1664525) + u(1013904223) for v in (x, y, z, w))
            for shifted in (False, True):
                if shifted:
                    x, y, z, w = (v ^ (v >> u(16)) for v in (x, y, z, w))
                x = x + y * w
                y = y + z * x
                z = z + x * y
                w = w + y * z
        return x, y, z, w

    return block


def word_of(block: Callable, n: int) -> Callable:
    return lambda i, k0, k1, tag: block(i, k0, k1, tag)[n]


def shifted_last(block: Callable) -> Callable:
    def word(i, k0, k1, tag):
        w = block(i, k0, k1, tag)[-1]
        return w ^ (w >> u(16))

    return word


def lanes(block: Callable, count: int) -> Callable:
    """Every word of a block used: element i takes word i % count of block i // count."""

    def word(i, k0, k1, tag):
        lane = i & u(count - 1)
        values = block(i >> u(count.bit_length() - 1), k0, k1, tag)
        chosen = values[0]
        for n, value in enumerate(values[1:], 1):
            chosen = jnp.where(lane == u(n), value, chosen)
        return chosen

    return word


@dataclasses.dataclass(frozen=True)
class Generator:
    word: Callable
    twin: str | None  # in benchmarks/quality
    source: str  # who published it, for the page


SALMON, PCG = "Salmon et al. 2011", "Jarzynski and Olano 2020"
GENERATORS = {
    "noisejax": Generator(library, "mix13c", "this library"),
    "mix12": Generator(mix12, "mix12", "this library, rejected"),
    "mix11": Generator(mix11, "mix11", "this library, rejected"),
    "mix14c": Generator(mix14c, "mix14c", "this library, rejected"),
    "mix14b": Generator(mix14b, "mix14b", "this library, rejected"),
    "mix13": Generator(mix13, "mix13", "this library, rejected"),
    "two keyed finalizers": Generator(fin2, "fin2", "hash functions in common use"),
    "pcg4d": Generator(shifted_last(pcg4d(1)), "pcg4dw", PCG),
    "pcg4d, two passes": Generator(word_of(pcg4d(2), 3), None, PCG),
    "threefry2x32-13": Generator(word_of(threefry(13), 0), "tf13", SALMON),
    "threefry2x32-20": Generator(word_of(threefry(20), 0), "tf20", SALMON),
    "threefry2x32-20, the option": Generator(option, None, SALMON),
    "philox4x32-7": Generator(word_of(philox(7, wide_multiply), 0), None, SALMON),
    "philox4x32-8": Generator(word_of(philox(8, wide_multiply), 0), None, SALMON),
    "philox4x32-10": Generator(word_of(philox(10, wide_multiply), 0), "philox10", SALMON),
    "philox4x32-10, 16-bit halves": Generator(word_of(philox(10, multiply_wide), 0), "philox10", SALMON),
    "pcg4d, by lane": Generator(lanes(pcg4d(1), 4), None, PCG),
    "threefry2x32-13, by lane": Generator(lanes(threefry(13), 2), None, SALMON),
    "threefry2x32-20, by lane": Generator(lanes(threefry(20), 2), None, SALMON),
    "philox4x32-7, by lane": Generator(lanes(philox(7, wide_multiply), 4), None, SALMON),
    "philox4x32-10, by lane": Generator(lanes(philox(10, wide_multiply), 4), None, SALMON),
}
