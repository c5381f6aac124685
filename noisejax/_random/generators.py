"""The generators: the index of an element, two words of a key and the place of the draw determine one 32-bit word.

Each is a function ``(low, high, k0, k1, place) -> word`` of the two words of the index (`high` is None if it is always
zero), the two words of the key, and a static `place`: two 32-bit constants, hashed from the tag and the stream's path.

They use only low 32-bit multiplies, adds, xors and shifts, since the high half of a product (``lax.mulhi``) does not
compile under sharding and has no lowering in some kernel languages.
"""

import jax
import jax.numpy as jnp
from jax import lax

_u = jnp.uint32


def mix(low, high, k0, k1, place: tuple[int, int]) -> jax.Array:
    """The default: 13 instructions. docs/concepts/stream.md describes the evidence for it and its limits."""
    if high is not None:
        # The constant is odd, so no two of 2**64 indices start alike. Indices below 2**32 are unaffected.
        k1 = k1 + high * _u(0xD3A2646D)
    return hash_words(low, k0, k1, place)


def hash_words(i, k0, k1, place: tuple[int, int]) -> jax.Array:
    """Two multiplicative hashes of the index, each offset by a key word, mixed into each other.

    One constant of the place changes the first key word, once for a whole draw. The other enters every word. Index, key
    words and constants pass through bijections until the halves are multiplied, and through at least two right shifts:
    a product carries differences only upwards, so the top bits have to be shifted down before it.

    Three of the shifts are added and not xored, since NVIDIA GPUs shift and add in one instruction. In the second step
    that mixes one half into the other an add is not enough, as the test batteries show.
    """
    a = i * _u(0x9E3779B1) + k1
    b = i * _u(0x85EBCA77) + (k0 ^ _u(place[1]))
    a = a ^ (a >> _u(16)) ^ _u(place[0])
    a = a * _u(0xED5AD4BB) + b
    b = b + (a >> _u(16))
    b = b * _u(0xAC4C1B51) + a
    a = a ^ (b >> _u(16))
    a = a * b + b
    a = a + (a >> _u(15))
    b = b + (a >> _u(16))
    return a * _u(0x31848BAB) + b


def threefry(low, high, k0, k1, place: tuple[int, int]) -> jax.Array:
    """Threefry2x32-20 (Salmon et al. 2011): the first word of one block per element, with the index as the counter.

    The key of a place is itself a block: the place's two constants encrypted with the key. So tags are separated by the
    cipher, as keys and indices are.
    """
    k0, k1 = threefry2x32(k0, k1, _u(place[0]), _u(place[1]))
    return threefry2x32(k0, k1, low, _u(0) if high is None else high)[0]


def threefry2x32(k0, k1, c0, c1) -> tuple[jax.Array, jax.Array]:
    """One block of Threefry2x32 with 20 rounds: the counter (c0, c1) encrypted with the key (k0, k1).

    References:
      Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the rotations and the
      parity constant are those of Skein's Threefish, as in Random123.
    """
    keys = (k0, k1, k0 ^ k1 ^ _u(0x1BD11BDA))
    a, b = c0 + k0, c1 + k1
    for group in range(5):
        for rotation in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = a + b
            b = (b << _u(rotation) | b >> _u(32 - rotation)) ^ a
        a = a + keys[(group + 1) % 3]
        b = b + keys[(group + 2) % 3] + _u(group + 1)
    return a, b


GENERATORS = {"mix": mix, "threefry2x32": threefry}


def two_words(n: "int | jax.Array") -> tuple[jax.Array, jax.Array | None]:
    """An integer, modulo 2**64, as a low and a high word. The high word is None if no integer of its dtype has one."""
    if isinstance(n, int):
        return _u(n & 0xFFFFFFFF), _u(n >> 32 & 0xFFFFFFFF)
    bits = jnp.iinfo(n.dtype).bits
    if bits == 64:
        return n.astype(jnp.uint32), lax.shift_right_logical(n, jnp.asarray(32, n.dtype)).astype(jnp.uint32)
    if jnp.issubdtype(n.dtype, jnp.unsignedinteger):
        return n.astype(jnp.uint32), None
    n = n.astype(jnp.int32)
    return n.astype(jnp.uint32), (n >> 31).astype(jnp.uint32)


def multiply_wide(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The 64-bit product of two 32-bit words as (low, high), from 16-bit halves (see the module's docstring)."""
    a0, a1, b0, b1 = a & _u(0xFFFF), a >> _u(16), b & _u(0xFFFF), b >> _u(16)
    middle = a1 * b0 + ((a0 * b0) >> _u(16))
    middle_low = (middle & _u(0xFFFF)) + a0 * b1
    return a * b, a1 * b1 + (middle >> _u(16)) + (middle_low >> _u(16))
