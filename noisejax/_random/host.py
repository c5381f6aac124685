"""The stream on the host, in NumPy, with the bits of the device: for strings, which a device does not hold.

`words` is `stream.words` at given indices, and `fold`, `bernoulli` and `integers` are those of the device.
"""

import dataclasses
from collections.abc import Hashable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from noisejax._random.stream import _key_words, _place, _typed, stream

_u = np.uint32


@dataclasses.dataclass(frozen=True)
class HostStream:
    """The two words of a key as NumPy arrays of shape (1,), the path of the draw, and the generator's name."""

    k0: np.ndarray
    k1: np.ndarray
    path: tuple[Hashable, ...] = ()
    generator: str = "mix"


def host_stream(key: Any) -> HostStream:
    """The stream of a key, or the `Stream` that a combinator passed, on the host."""
    parent = stream(key)
    data = parent.key
    if jax.numpy.issubdtype(data.dtype, jax.dtypes.prng_key):
        data = jax.random.key_data(data)
    pair = data if data.shape[-1] == 2 else jax.numpy.stack(_key_words(data))
    k0, k1 = np.asarray(pair)[:, None]
    return HostStream(k0, k1, parent.path, parent.generator or "mix")


def cpu() -> Any:
    """A CPU device, or the default device where JAX was told to start without one."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def known(function: str, key: Any) -> None:
    """Requires a key whose words the host can read."""
    if isinstance(stream(key).key, Tracer):
        raise TypeError(f"{function}: key must be known, since this runs on the host, got a traced one. Leave out jit.")


def words(parent: HostStream, tag: str, index: np.ndarray) -> np.ndarray:
    """One word for each index, an integer of up to 64 bits: the words of `stream.words` at these row-major indices."""
    low, high = _two_words(index)
    first, second = _place(parent.path, tag)
    if parent.generator == "mix":
        return _mix(low, high, parent.k0, parent.k1, first, second)
    k0, k1 = _threefry(parent.k0, parent.k1, np.full(1, first, _u), np.full(1, second, _u))
    return _threefry(k0, k1, low, high)[0]


def fold(parent: HostStream, number: int) -> HostStream:
    """The stream that belongs to an integer of up to 64 bits, as `stream.fold` gives it."""
    index = np.array([number & 0xFFFFFFFFFFFFFFFF], np.uint64)
    return dataclasses.replace(parent, k0=words(parent, "fold.0", index), k1=words(parent, "fold.1", index), path=())


def typed_keys(key: Any, n: int) -> list[Any]:
    """Keys for JAX, those of `stream.keys` for 0, ..., n - 1, without a program of the device."""
    parent, here = stream(key), host_stream(key)
    folded = (fold(here, number) for number in range(n))
    pairs: Any = [np.concatenate([one.k0, one.k1]) for one in folded]
    return [_typed(parent, pair) for pair in pairs]


def bernoulli(w: np.ndarray, rate: Any) -> np.ndarray:
    """`sample.bernoulli`."""
    rate = np.asarray(rate, np.float32)
    threshold = np.clip(rate * np.float32(2**32), 0, np.float32(2**32 - 256)).astype(_u)
    return (w < threshold) | (rate >= 1)


def integers(w: np.ndarray, w2: np.ndarray, n: Any) -> np.ndarray:
    """`sample.integers`: int32 in [0, n)."""
    n = np.asarray(n, np.uint64)
    carried = (w2.astype(np.uint64) * n) >> np.uint64(32)
    return ((w.astype(np.uint64) * n + carried) >> np.uint64(32)).astype(np.int32)


def _two_words(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.atleast_1d(index).astype(np.int64 if np.asarray(index).dtype.kind == "i" else np.uint64)
    bits = index.view(np.uint64)
    return bits.astype(_u), (bits >> np.uint64(32)).astype(_u)


def _mix(low, high, k0, k1, first: int, second: int) -> np.ndarray:
    """`generators.mix`. Each step works in place: memory is what this costs."""
    a = low * _u(0x9E3779B1)
    a += k1
    if high.any():
        a += high * _u(0xD3A2646D)
    b = low * _u(0x85EBCA77)
    b += k0 ^ _u(second)
    shifted = a >> _u(16)
    a ^= shifted
    a ^= _u(first)
    a *= _u(0xED5AD4BB)
    a += b
    b += np.right_shift(a, _u(16), out=shifted)
    b *= _u(0xAC4C1B51)
    b += a
    a ^= np.right_shift(b, _u(16), out=shifted)
    a *= b
    a += b
    a += np.right_shift(a, _u(15), out=shifted)
    b += np.right_shift(a, _u(16), out=shifted)
    a *= _u(0x31848BAB)
    a += b
    return a


def _threefry(k0, k1, c0, c1) -> tuple[np.ndarray, np.ndarray]:
    """`generators.threefry2x32`."""
    keys = (k0, k1, k0 ^ k1 ^ _u(0x1BD11BDA))
    a, b = c0 + k0, c1 + k1
    for group in range(5):
        for rotation in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = a + b
            b = (b << _u(rotation) | b >> _u(32 - rotation)) ^ a
        a = a + keys[(group + 1) % 3]
        b = b + (keys[(group + 2) % 3] + _u(group + 1))
    return a, b
