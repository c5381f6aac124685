"""Words to draws: each function turns uniformly distributed 32-bit words into draws of one distribution, in float32.

One word makes one draw wherever the mathematics allows, so a draw costs one word and a few multiplies. Everything is
arithmetic that XLA fuses. There are no tables, and no loops whose length depends on data, which would put an all-reduce
into a sharded program.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from noisejax._checks import Amount
from noisejax._random.stream import multiply_wide, words
from noisejax._sharding import own_loop_on_cpus

_u = jnp.uint32
_LN2 = 0.6931471805599453


def uniform(w: jax.Array) -> jax.Array:
    """U[0, 1): the multiples of 2**-24."""
    return (w >> _u(8)).astype(jnp.float32) * jnp.float32(2**-24)


def open_uniform(w: jax.Array) -> jax.Array:
    """U(0, 1): the odd multiples of 2**-24, so that neither end is ever drawn."""
    return (w >> _u(9)).astype(jnp.float32) * jnp.float32(2**-23) + jnp.float32(2**-24)


def symmetric_uniform(w: jax.Array) -> jax.Array:
    """U[-1, 1], both ends included."""
    return _signed(w) * jnp.float32(2**-31)


def exponential(w: jax.Array) -> jax.Array:
    """Exponential of mean 1: -log(u), where u is ``(w | 1) / 2**32``. From 0 to 22.18."""
    return jnp.float32(_LN2 * _LOG_UNIT) * _minus_log(w | _u(1))


def laplace(w: jax.Array) -> jax.Array:
    """Laplace of scale 1: an exponential from 31 bits of the word, with its sign from the remaining bit."""
    magnitude = jnp.float32(_LN2 * _LOG_UNIT) * _minus_log((w << _u(1)) | _u(1))
    return jnp.where(w >> _u(31) == 0, magnitude, -magnitude)


def normal(w: jax.Array, into=jnp.float32) -> jax.Array:
    """Standard normal, float32, from one word.

    The method is that of Box and Muller (1958). The radius is ``sqrt(-2 log u)`` of the word itself. The angle is the
    word times an odd constant, so that both form a rank-1 lattice over the square. It covers half a turn, where the
    sine takes every value of the full turn equally often. The logarithm and the sine are replaced by the shortest
    polynomials whose *product* has the right distribution. Each factor smooths the errors of the other, so each may be
    less accurate than the product.

    Over all 2**32 words the largest error of the distribution function is 1.9e-6. The tails are accurate to 0.2 % at
    |z| = 5, and beyond it as accurate as 2**32 words allow. If the result goes into bfloat16, whose own steps are 1e-3
    and more in probability, shorter polynomials are used, with errors of 4.6e-5 and 0.7 %.
    """
    bits = lax.bitcast_convert_type(w.astype(jnp.float32), jnp.int32)
    # Read as an integer, a float is its exponent and, linearly, its mantissa. For all floats from 2 on, the mask leaves
    # the exponent of [2, 4), which saves the instruction that would set it.
    m = lax.bitcast_convert_type(bits & jnp.int32(0x407FFFFF), jnp.float32)
    angle = _signed(w * _u(0x9E3779B1))
    # The word 0, which has no logarithm, gives a finite radius and a sine of 0.
    return _short_normal(bits, m, angle) if jnp.dtype(into) == jnp.bfloat16 else _long_normal(bits, m, angle)


def bernoulli(w: jax.Array, rate: Amount) -> jax.Array:
    """True with probability `rate`, exact to 2**-32. Rates are clamped to [0, 1], and both ends are exact."""
    rate = jnp.asarray(rate).astype(jnp.float32)
    threshold = jnp.clip(rate * jnp.float32(2**32), 0, jnp.float32(2**32 - 256)).astype(jnp.uint32)
    return (w < threshold) | (rate >= 1)


def gilbert(w: jax.Array, rate: jax.Array, burst: Amount, first: Any) -> jax.Array:
    """The step of a two-state chain at each word: 1 sets the bad state, 0 the good one, and -1 changes nothing.

    The stationary probability of the bad state is `rate`, and its mean length is `burst`, as Gilbert (1960) has it. The
    state is that of the last step at which one was set, so a running maximum replaces a scan. The `first` step has the
    stationary distribution.
    """
    # Leaving a burst must be so rare that its mean length is `burst`, and entering one no likelier than never leaving
    # the good state: otherwise losses are independent.
    leave = jnp.minimum(1 / jnp.maximum(jnp.asarray(burst, jnp.float32), 1), 1 - rate)
    enter = jnp.where(rate < 1, rate * leave / jnp.maximum(1 - rate, 2**-24), 1)
    bad = bernoulli(w, enter)
    good = bernoulli(~w, leave)  # the largest words, as enter + leave <= 1
    bad = jnp.where(first, bernoulli(w, rate), bad)
    return jnp.where(bad, 1, jnp.where(good | first, 0, -1)).astype(jnp.int32)


def student_t(w: jax.Array, w2: jax.Array, df: jax.Array) -> jax.Array:
    """Student's t with `df` > 0 degrees of freedom, in closed form by Bailey's polar method (1994)."""
    spread = jnp.expm1(jnp.float32(2 * _LN2 * _LOG_UNIT) * _minus_log(w | _u(1)) / df)
    return jnp.sqrt(df * spread) * _sine(w2)


def symmetric_beta(w: jax.Array, w2: jax.Array, alpha: jax.Array) -> jax.Array:
    """Beta(alpha, alpha), alpha > 0, in closed form through Student's t with 2 alpha degrees of freedom.

    If T is that variable, then 1/2 + T / (2 sqrt(2 alpha + T**2)) has the beta distribution. In the form used here a
    large T does not overflow, a draw near 0 keeps its digits, and no derivative in alpha is that of a square root at 0.
    """
    sine = _sine(w2)
    log_q = -jnp.float32(_LN2 * _LOG_UNIT) * _minus_log(w | _u(1)) / alpha
    q, p = jnp.exp(log_q), -jnp.expm1(log_q)
    whole = q + sine * sine * p
    whole = jnp.where(whole > 0, whole, 1)
    distance = jnp.abs(sine) * jnp.sqrt(jnp.where(p > 0, p, 1) / whole)  # |2 beta - 1|
    low = q / whole / (2 * (1 + jnp.where(p > 0, distance, 0)))
    return jnp.where(sine < 0, low, 1 - low)


def integers(w: jax.Array, w2: jax.Array, n: "int | jax.Array") -> jax.Array:
    """int32 in [0, n) for 1 <= n <= 2**31: the 64-bit word (w, w2) times n, high part; the bias is below 2**-32."""
    n = jnp.asarray(n, jnp.uint32)
    low, high = multiply_wide(w, n)
    _, carry = multiply_wide(w2, n)
    return (high + (low + carry < low).astype(jnp.uint32)).astype(jnp.int32)


def permutation(key, tag: str, n: int, parts: int = 1) -> jax.Array:
    """A uniformly distributed permutation of n indices, int32: the order of n random 64-bit words.

    Each of `parts` equal, consecutive parts of the indices is permuted separately.
    """
    w, w2 = (words(key, f"{tag}.{half}", (parts, n // parts)) for half in ("high", "low"))
    indices = lax.iota(jnp.int32, n).reshape(parts, n // parts)
    return lax.sort((w, w2, indices), dimension=1, num_keys=2)[2].reshape(n)


# Cumulative sums may end a few roundings below their limit. Below this probability every mean up to the switch has less
# than 32 terms to go, and no sum ends before it.
_POISSON_SWITCH, _POISSON_TERMS, _POISSON_TOP = 10.0, 32, 1 - 16 * 2**-24


def poisson(w: jax.Array, mean: jax.Array, narrow: bool = False) -> jax.Array:
    """Poisson counts as float32, for means from 0 to 2**23, by inverting the distribution function; no rejection.

    Below a mean of 10 the cumulative probabilities are searched over 32 terms, up to a probability of 1 - 1e-6. Above,
    the quantile is expanded about the normal one to the order 1/mean (Cornish and Fisher; Giles 2016, "Algorithm 955").
    There the error of the distribution function is below 1e-4 and falls as the mean grows.

    The form of both parts, and how they are joined, is that which LLVM vectorizes as one loop: six times as fast. That
    loop must not read or write numbers of fewer than 32 bits as well, which `narrow` says the caller's are.
    """
    alone = functools.partial(own_loop_on_cpus, always=True) if narrow else lambda x: x
    mean = alone(mean)
    few = mean < _POISSON_SWITCH
    small = jnp.where(few, mean, 0)
    u = jnp.where(few, jnp.minimum(open_uniform(w), jnp.float32(_POISSON_TOP)), 0) * jnp.exp(small)
    term = jnp.ones_like(small)
    total, count = term, jnp.where(u > term, jnp.float32(1), jnp.float32(0))
    for k in range(1, _POISSON_TERMS):
        term = term * (small * jnp.float32(1 / k))
        total = total + term
        count = jnp.where(u > total, jnp.float32(k + 1), count)
    z = normal(w)
    large = jnp.maximum(mean, jnp.float32(_POISSON_SWITCH))
    root, zz = jnp.sqrt(large), z * z
    quantile = large + z * root + (2 + zz) * jnp.float32(1 / 6)
    further = zz * (zz * jnp.float32(1 / 270) + jnp.float32(7 / 810)) - jnp.float32(8 / 405)
    quantile = quantile + (further - root * z * (2 + zz) * jnp.float32(1 / 72)) / large
    return alone(count + jnp.where(few, 0, jnp.maximum(jnp.floor(quantile), 0)))


def _signed(w: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(w, jnp.int32).astype(jnp.float32)


# log2(1 + t) = t - t (1 - t) P(t), up to 3e-7 on [0, 1], P of degree four. The unit of the logarithm is the leading
# coefficient, and the sine's argument is stretched likewise, so that both polynomials begin with a coefficient of one:
# XLA does not fuse multiply-adds on a GPU, so each saved multiplication counts.
_LOG_UNIT = 0.02584113
_LOG = tuple(c / _LOG_UNIT for c in (-0.09595581, 0.18194844, -0.27560019, 0.44254493))
_SINE = (1.57079101, -0.64589285, 0.07943434, -0.00433309)


def _minus_log(w: jax.Array) -> jax.Array:
    """32 - log2(w) for w >= 1, in units of _LOG_UNIT; exact to a few ulp, also for w near 2**32. 159 for w = 0."""
    bits = lax.bitcast_convert_type(w.astype(jnp.float32), jnp.int32)
    # Read as an integer, a float is its exponent and, linearly, its mantissa: 32 - (exponent + t), exact where small.
    linear = (jnp.int32(159 << 23) - bits).astype(jnp.float32) * jnp.float32(2**-23 / _LOG_UNIT)
    t = lax.bitcast_convert_type((bits & jnp.int32(0x7FFFFF)) | jnp.int32(0x3F800000), jnp.float32) - 1
    p = t + jnp.float32(_LOG[0])
    for coefficient in _LOG[1:]:
        p = p * t + jnp.float32(coefficient)
    return linear - t * (1 - t) * p


# For the same reason both factors of a normal have leading coefficients of one, through the unit of the squared radius
# and the scale of the angle. The coefficients were found in two steps. The first minimizes the largest error of the
# logarithm. The second minimizes, over the sine's coefficients, that of the product's distribution function together
# with the relative error of its tails.


def _long_normal(bits: jax.Array, m: jax.Array, angle: jax.Array) -> jax.Array:
    # log2(1 + t) - t is 0 at both ends, and so is its polynomial, in u = 2 t: the radius is exact where it is small,
    # whichever operations a compiler contracts. The sine is p1 x - p3 x**3 + p5 x**5 for x in [-1, 1].
    unit, p1, p3, p5 = 0.00141089947, 1.57072098, 0.644371276, 0.0740985004
    scale = math.sqrt(2 * _LN2 * unit)
    stretch = (scale * p5) ** (1 / 5)
    u = m - 2
    p = u - jnp.float32(6.5749835)
    for coefficient in (23.6710003, -78.3041284):
        p = p * u + jnp.float32(coefficient)
    squared = (jnp.int32(159 << 23) - bits).astype(jnp.float32) * jnp.float32(2**-23 / unit) + u * (4 - m) * p
    x = angle * jnp.float32(2**-31 * stretch)
    xx = x * x
    sine = x * ((xx - jnp.float32(scale * p3 / stretch**3)) * xx + jnp.float32(scale * p1 / stretch))
    return jnp.sqrt(squared) * sine


def _short_normal(bits: jax.Array, m: jax.Array, angle: jax.Array) -> jax.Array:
    # log2(1 + t) - t has one maximum, so it is that minus a square, here of a parabola in m. The sine is a parabola of
    # a parabola: height a (lift + |a|) with a = x (edge - |x|).
    peak, unit, edge, lift, height = 0.0867641338, 0.00114164954, 2.00698879, 3.61127445, 0.215090844
    stretch = (math.sqrt(2 * _LN2 * unit) * height) ** (1 / 4)
    v = (m - jnp.float32(14.7187407)) * m + jnp.float32(34.1562222)
    linear = (jnp.int32((159 << 23) - round(peak * 2**23)) - bits).astype(jnp.float32)
    x = angle * jnp.float32(2**-31 * stretch)
    arch = x * (jnp.float32(edge * stretch) - jnp.abs(x))
    sine = arch * (jnp.float32(lift * stretch**2) + jnp.abs(arch))
    return jnp.sqrt(linear * jnp.float32(2**-23 / unit) + v * v) * sine


def _sine(w: jax.Array) -> jax.Array:
    """sin(pi x / 2) for x = w / 2**31 in [-1, 1), w taken as a signed integer; error 1e-6."""
    stretch = (-_SINE[3]) ** (1 / 7)
    x = _signed(w) * jnp.float32(2**-31 * stretch)
    xx = x * x
    p = jnp.float32(_SINE[2] / stretch**5) - xx
    for power in (1, 0):
        p = p * xx + jnp.float32(_SINE[power] / stretch ** (2 * power + 1))
    return x * p
