"""Fourier sums that a sharded batch shares out, for fields with a given spectrum."""

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
    """``sum_k z[k] exp(2 pi i k t / n)`` over the last axis: Cooley and Tukey (1965), as products with small matrices.

    `jnp.fft` is not used because jax 0.10 does not partition it: it gathers a sharded batch on every device.
    """
    n = z.shape[-1]
    radix = next(r for r in range(min(n, 32), 0, -1) if n % r == 0)
    turn = np.arange(radix)
    matrix = np.exp(2j * np.pi / radix * (turn[:, None] * turn % radix)).astype(np.complex64)
    product = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    if radix == n:
        return product("...k,kt->...t", z, matrix)
    # With k = radix * high + low: transform over high, multiply by the twiddle factors of low, transform over low.
    inner = fourier(jnp.swapaxes(z.reshape(*z.shape[:-1], n // radix, radix), -1, -2))
    low, t = (lax.broadcasted_iota(jnp.int32, (radix, n // radix), axis) for axis in (0, 1))
    angle = (low * t).astype(jnp.float32) * np.float32(2 * np.pi / n)
    inner = inner * lax.complex(jnp.cos(angle), jnp.sin(angle)).reshape((1,) * (z.ndim - 1) + angle.shape)
    return product("...kt,ks->...st", inner, matrix).reshape(z.shape)
