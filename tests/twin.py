"""The generator once more, in NumPy and Python integers: an independent twin that must give the same bits."""

import hashlib

import numpy as np

MASK = 0xFFFFFFFF


def tag_constant(path: tuple, tag: str) -> int:
    return int.from_bytes(hashlib.blake2b(repr((path, tag)).encode(), digest_size=4).digest(), "little")


def mix(index: np.ndarray, k0: int, k1: int, tag: int) -> np.ndarray:
    """The words at 64-bit indices, in 64-bit arithmetic cut to 32 bits at every step."""
    index = np.asarray(index, np.uint64)
    low, high = index & MASK, index >> np.uint64(32)
    k1 = (k1 + high * 0xD3A2646D) & MASK
    a = (low * 0x9E3779B1 + k1) & MASK
    b = (low * 0x85EBCA77 + k0) & MASK
    a = a ^ (a >> 16) ^ np.uint64(tag)
    a = (a * 0xED5AD4BB + b) & MASK
    b = b ^ (a >> 16) ^ np.uint64((tag << 13 | tag >> 19) & MASK)
    b = (b * 0xAC4C1B51 + a) & MASK
    a = (a * b + b) & MASK
    a = a ^ (a >> 15)
    a = (a * 0x31848BAB + b) & MASK
    return (a ^ (a >> 16)).astype(np.uint32)
