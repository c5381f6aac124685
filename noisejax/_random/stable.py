"""Words to draws of the stable distributions, by the method of Chambers, Mallows and Stuck (1976)."""

import math

import jax
import jax.numpy as jnp

_QUARTER = math.pi / 2  # a quarter of a turn


def stable(w: jax.Array, w2: jax.Array, alpha: jax.Array, beta: jax.Array, continuous: bool) -> jax.Array:
    """A stable draw of scale 1 and location 0, float32, for alpha in (0, 2] and beta in [-1, 1].

    Chambers, Mallows and Stuck transform an angle phi, uniform on half a turn, and an exponential. Their formula loses
    its digits where phi approaches an end, where alpha approaches 1, and where alpha approaches 2. So the angle is
    given by its distance psi from the nearer end, and the formula is the mixture, with weight ``abs(beta)``, of its
    symmetric form and its one-sided form. In these all cancelling terms are resolved by addition theorems, with
    ``eps = 1 - alpha``, so that no term divides by eps.

    Args:
      w, w2: independent words, for the angle and the exponential.
      alpha, beta: float32.
      continuous: whether the location is that of Zolotarev's continuous parameterization S0; otherwise that of S1.
    """
    alpha = jnp.clip(alpha, jnp.float32(1e-6), 2)
    beta = jnp.clip(beta, -1, 1)
    eps, skewness = 1 - alpha, jnp.abs(beta)
    sign = jnp.where(w >> 31 == 0, 1, -1).astype(jnp.float32)
    psi = ((w & jnp.uint32(0x7FFFFFFF)).astype(jnp.float32) + 0.5) * jnp.float32(_QUARTER * 2**-31)
    phi = _QUARTER - psi  # the size of the angle
    heavy = sign * beta >= 0  # the side of the tail that beta makes heavier

    # The names say sine and cosine of what. 1 - |eps| is exact from alpha, while 1 - eps**2 or cos(pi eps / 2) would
    # lose the tails of alpha near 2.
    slope = _QUARTER * _sinc(eps * _QUARTER)  # sin_end / eps
    sin_end = eps * slope
    cos_end = jnp.sin(jnp.minimum(alpha, 2 - alpha) * _QUARTER)
    sin_psi, cos_psi = psi * _sinc(psi), _cos(psi)
    sinc_eps, cos_eps = _sinc(eps * psi), _cos(eps * psi)
    sin_eps = eps * psi * sinc_eps
    sin_alpha = sin_psi * cos_eps - cos_psi * sin_eps
    cos_alpha = cos_psi * cos_eps + sin_psi * sin_eps

    # With a = psi on the light side and pi - psi on the heavy one: sin(eps a) / sin_end and sin(alpha a) / sin(a).
    ratio = psi * sinc_eps / slope
    ratio = jnp.where(heavy, 2 * cos_end * cos_eps - (2 * cos_end * cos_end - 1) * ratio, ratio)
    sines = 2 * cos_end * sin_end * cos_alpha - (1 - 2 * cos_end * cos_end) * sin_alpha
    sines = jnp.where(heavy, sines, sin_alpha) / sin_psi

    # The power of the exponential, and its difference from 1 over eps.
    weight = (1 - skewness) * (cos_end * cos_eps + sin_end * sin_eps) + skewness * ratio
    log = jnp.log(weight / (sin_psi * _exponential(w2)))
    exponent = jnp.minimum(eps / alpha * log, 64)  # products of the factors below remain finite
    small = jnp.abs(exponent) < 0.01
    series = log / alpha * (1 + exponent / 2 + exponent * exponent / 6)
    excess = jnp.where(small, series, jnp.expm1(exponent) / jnp.where(small, 1, eps))
    power = jnp.exp(exponent)

    symmetric = sign * power * (cos_end * cos_alpha - sin_end * sin_alpha) / sin_psi
    away = jnp.where(heavy, phi, -phi)  # (cos(eps a) - cos_end) / eps, and sin(eps a) / eps times a cotangent
    middle = eps * (_QUARTER + away / 2)
    rest = -away * middle * _sinc(middle) * _sinc(eps * phi / 2)
    rest = rest + jnp.where(heavy, 1, -1) * cos_psi / sin_psi * slope * ratio
    one_sided = (excess * sines + rest) / slope
    if not continuous:
        at_one = eps == 0
        one_sided = jnp.where(at_one, one_sided, power * sines / jnp.where(at_one, 1, sin_end))
    return (1 - skewness) * symmetric + beta * one_sided


# sin(x) / x and cos(x) in x**2, fitted on [0, 3 pi / 4] and [0, pi / 2]: to 7e-9 and 3e-8. The functions of XLA reduce
# any argument to such an interval first, which takes most of their time.
_SINC = (1.0, -0.16666664, 0.0083332751, -0.00019836807, 2.7400995e-06, -2.2506978e-08)
_COS = (1.0, -0.5, 0.041666634, -0.001388836, 2.4760135e-05, -2.6051077e-07)


def _sinc(x: jax.Array) -> jax.Array:
    """sin(x) / x, also at 0, for sizes of x up to 3 pi / 4."""
    return _polynomial(_SINC, x * x)


def _cos(x: jax.Array) -> jax.Array:
    """cos(x) for sizes of x up to pi / 2."""
    return _polynomial(_COS, x * x)


def _polynomial(coefficients: tuple[float, ...], x: jax.Array) -> jax.Array:
    value = jnp.float32(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + jnp.float32(coefficient)
    return jnp.asarray(value)


def _exponential(w: jax.Array) -> jax.Array:
    """Exponential of mean 1, from 1.2e-10 to 22.9, with full precision at both ends: small ones make large draws."""
    low = (w >> 1).astype(jnp.float32) + 0.5
    other = (~w >> 1).astype(jnp.float32) + 0.5
    return jnp.where(w < jnp.uint32(2**31), -jnp.log1p(-low * 2**-31), -jnp.log(other * 2**-31))
