"""The generator once more, in NumPy and Python integers: an independent twin that must give the same bits."""

import hashlib

import numpy as np

MASK = 0xFFFFFFFF


def tag_constant(path: tuple, tag: str) -> int:
    return int.from_bytes(hashlib.blake2b(repr((path, tag)).encode(), digest_size=4).digest(), "little")


def finalize(w: int) -> int:
    w = (w ^ (w >> 16)) * 0x85EBCA6B & MASK
    w = (w ^ (w >> 13)) * 0xC2B2AE35 & MASK
    return w ^ (w >> 16)


def mix(index: np.ndarray, k0: int, k1: int, tag: int) -> np.ndarray:
    """The words at 64-bit indices, in 64-bit arithmetic cut to 32 bits at every step."""
    index = np.asarray(index, np.uint64)
    low, high = index & MASK, index >> np.uint64(32)
    h = np.array([finalize(int(w)) for w in high.ravel()], np.uint64).reshape(high.shape)
    lift = np.array([(finalize((int(w) + 0xED5AD4BB) & MASK) - finalize(0xED5AD4BB)) & MASK for w in h.ravel()])
    k0 = np.uint64(k0) ^ h
    k1 = (np.uint64(k1) + lift.astype(np.uint64).reshape(high.shape)) & MASK
    a = (low * 0x9E3779B1 + k1) & MASK
    b = (low * 0x85EBCA77 + k0) & MASK
    a = a ^ (a >> 16) ^ np.uint64(tag)
    b = (b * 0xED5AD4BB + a) & MASK
    b = b ^ (b >> 16) ^ np.uint64((tag << 13) & MASK)
    a = (a * b + b) & MASK
    a = a ^ (a >> 15)
    a = (a * 0x31848BAB + b) & MASK
    return (a ^ (a >> 16)).astype(np.uint32)
