"""Fourier sums that a sharded batch shares out, for fields with a given spectrum and for convolutions.

jax 0.10 does not partition `jnp.fft`: it gathers a sharded batch on every device. So where there are several devices
the sums are products of matrices. A single device takes `jnp.fft`, which is ten times as fast on CPUs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@functools.cache
def smooth(n: int) -> int:
    """The smallest number, at least n, without a prime factor above 7."""
    while True:
        rest = n
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def fourier(z: jax.Array) -> jax.Array:
    """``sum_k z[k] exp(2 pi i k t / n)`` over the last axis."""
    if _alone():
        return jnp.fft.ifft(z, norm="forward")
    first = jnp.moveaxis(z, -1, 0)
    real, imaginary = _sums(jnp.stack([first.real, first.imag]))
    return jnp.moveaxis(lax.complex(real, imaginary), 0, -1)


def waves(real: jax.Array, imaginary: jax.Array, n: int) -> jax.Array:
    """The real part of ``sum_k (real + i imaginary)[k] exp(2 pi i k t / n)`` over the first axis, k = 0, ..., n / 2.

    An even n has a sum of half as many terms: its real part has the even times, and its imaginary part the odd ones.
    """
    column = (-1,) + (1,) * (real.ndim - 1)
    if _alone():
        index = np.arange(real.shape[0])
        once = np.where((index == 0) | (2 * index == n), 1, 0.5).astype(np.float32).reshape(column)
        return jnp.fft.irfft(lax.complex(real * once, imaginary * once), n, axis=0, norm="forward")
    if n % 2:
        pads = [(0, 0), (0, n - real.shape[0])] + [(0, 0)] * (real.ndim - 1)
        return _sums(jnp.pad(jnp.stack([real, imaginary]), pads))[0]
    half = n // 2
    index = np.arange(half + 1)
    ends = (index == 0) | (index == half)
    a = real * np.where(ends, 1, 0.5).astype(np.float32).reshape(column)
    b = imaginary * np.where(ends, 0, 0.5).astype(np.float32).reshape(column)
    back_a, back_b = (lax.rev(v, (0,))[:half] for v in (a, b))
    a, b = a[:half], b[:half]
    cosine, sine = _turns(index[:half], n, column)
    plus_a, plus_b, minus_a, minus_b = a + back_a, b - back_b, a - back_a, b + back_b
    odd_a, odd_b = minus_a * cosine - minus_b * sine, minus_a * sine + minus_b * cosine
    both = _sums(jnp.stack([plus_a - odd_b, plus_b + odd_a]))
    return jnp.moveaxis(both, 0, 1).reshape(n, *real.shape[1:])


def spectrum(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The real and the imaginary part of ``sum_t x[t] exp(2 pi i k t / n)`` over the first axis, k = 0, ..., n / 2.

    n is even.
    """
    n, column = x.shape[0], (-1,) + (1,) * (x.ndim - 1)
    if _alone():
        found = jnp.fft.rfft(x, axis=0)
        return found.real, -found.imag
    half = n // 2
    a, b = _sums(jnp.moveaxis(x.reshape(half, 2, *x.shape[1:]), 1, 0))
    a, b = (jnp.concatenate([v, v[:1]]) for v in (a, b))
    back_a, back_b = (lax.rev(v, (0,)) for v in (a, b))
    cosine, sine = _turns(np.arange(half + 1), n, column)
    even_a, even_b, odd_a, odd_b = a + back_a, b - back_b, b + back_b, back_a - a
    return (even_a + odd_a * cosine - odd_b * sine) / 2, (even_b + odd_a * sine + odd_b * cosine) / 2


def _alone() -> bool:
    return jax.device_count() == 1


def _turns(k: np.ndarray, n: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi / n * k
    return np.cos(angle).astype(np.float32).reshape(shape), np.sin(angle).astype(np.float32).reshape(shape)


def _sums(z: jax.Array) -> jax.Array:
    """The sums of `fourier` for the real and the imaginary parts (2, n, ...), over the second axis.

    By Cooley and Tukey (1965) in Stockham's order: each digit of n is one product with a small matrix, as real numbers,
    after which the next digit is in front. So the products are as fast as the device multiplies matrices.
    """
    n, batch = z.shape[1], z.shape[2:]
    left, done = n, 1
    while left > 1:
        radix = next(r for r in range(min(left, 32), 0, -1) if left % r == 0)
        if radix == 1:  # a large prime
            radix = left
        rest = left // radix
        turn = np.arange(radix)
        angle = 2 * np.pi / radix * (turn[:, None] * turn % radix)
        z = z.reshape(2, radix, rest, done, *batch)
        by_cosine, by_sine = (
            jnp.einsum("st,pt...->ps...", part.astype(np.float32), z, precision=lax.Precision.HIGHEST)
            for part in (np.cos(angle), np.sin(angle))
        )
        z = jnp.stack([by_cosine[0] - by_sine[1], by_sine[0] + by_cosine[1]])
        if rest > 1:
            shape = (radix, rest) + (1,) * (1 + len(batch))
            c, s = _turns(turn[:, None] * np.arange(rest), left, shape)
            z = jnp.stack([z[0] * c - z[1] * s, z[0] * s + z[1] * c])
        z = jnp.moveaxis(z, 1, 2)  # the digits that are done follow those that are left
        left, done = rest, done * radix
        z = z.reshape(2, left, done, *batch)  # one merge at a time: an explicit mesh allows no more
    return z.reshape(2, n, *batch)
