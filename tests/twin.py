"""The generators once more, in NumPy and Python integers: independent twins that must give the same bits."""

import hashlib

import numpy as np

MASK = 0xFFFFFFFF


def mix(index: np.ndarray, k0: int, k1: int, place: tuple[int, int]) -> np.ndarray:
    """The words at 64-bit indices, in 64-bit arithmetic cut to 32 bits at every step."""
    index = np.asarray(index, np.uint64)
    low, high = index & MASK, index >> np.uint64(32)
    k1 = (k1 + high * 0xD3A2646D) & MASK
    a = (low * 0x9E3779B1 + k1) & MASK
    b = (low * 0x85EBCA77 + (k0 ^ place[1])) & MASK
    a = a ^ (a >> 16) ^ np.uint64(place[0])
    a = (a * 0xED5AD4BB + b) & MASK
    b = (b + (a >> 16)) & MASK
    b = (b * 0xAC4C1B51 + a) & MASK
    a = a ^ (b >> 16)
    a = (a * b + b) & MASK
    a = (a + (a >> 15)) & MASK
    b = (b + (a >> 16)) & MASK
    return ((a * 0x31848BAB + b) & MASK).astype(np.uint32)


def place(path: tuple, tag: str) -> tuple[int, int]:
    """The two constants of a tag at a path."""
    text = repr((path, tag)).encode()
    digests = (hashlib.blake2b(text, digest_size=4, salt=salt) for salt in (b"", b"high"))
    first, second = (int.from_bytes(digest.digest(), "little") for digest in digests)
    return first, second


def threefry2x32(key: tuple, counter: tuple) -> list:
    """Threefry2x32-20 as the paper has it: a key word is added before every fourth round, and after the last."""
    schedule = [int(key[0]), int(key[1]), 0x1BD11BDA ^ int(key[0]) ^ int(key[1])]
    x = [np.asarray(c, np.uint64) for c in counter]
    for step in range(20):
        if step % 4 == 0:
            group = step // 4
            x[0] = (x[0] + schedule[group % 3]) & MASK
            x[1] = (x[1] + schedule[(group + 1) % 3] + group) & MASK
        rotation = np.uint64([13, 15, 26, 6, 17, 29, 16, 24][step % 8])
        x[0] = (x[0] + x[1]) & MASK
        x[1] = ((x[1] << rotation | x[1] >> (np.uint64(32) - rotation)) & MASK) ^ x[0]
    return [(x[0] + schedule[2]) & MASK, (x[1] + schedule[0] + 5) & MASK]


def words(generator: str, index: np.ndarray, k0: int, k1: int, path: tuple, tag: str) -> np.ndarray:
    """What `noisejax._random.stream.words` gives for a key of these two words."""
    if generator == "mix":
        return mix(index, k0, k1, place(path, tag))
    index = np.asarray(index, np.uint64)
    key = threefry2x32((k0, k1), place(path, tag))
    return threefry2x32(key, (index & MASK, index >> np.uint64(32)))[0].astype(np.uint32)
