"""Continuous noise: additive, multiplicative, and photon noise, each by its published definition."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Mask, array_noise, straight_through, wide
from noisejax._random import sample
from noisejax._random.stable import stable
from noisejax._random.stream import words_like

_MOST_PHOTONS = 1e30  # where float32 cannot show the noise any more, and counts begin to overflow
_photons = _checks.Range(
    "above 0 and at most 1e30, or inf",
    lambda v: (v > 0) & ((v <= float(np.float32(_MOST_PHOTONS))) | (v == np.inf)),
    "It is the mean count for x = 1; +inf is the identity.",
)
_freedom = _checks.Range("above 0", lambda v: v > 0, "Small values give heavy tails; +inf is the Gaussian.")
_stability = _checks.Range("above 0 and at most 2", lambda v: (v > 0) & (v <= 2), "2 is the Gaussian, 1 the Cauchy.")
_skewness = _checks.Range("in [-1, 1]", lambda v: (v >= -1) & (v <= 1), "0 is symmetric.")


@array_noise(sees="element", ranges={"std": _checks.nonnegative}, widen=False)
def gaussian(key: jax.Array, x: jax.Array, std: Amount, *, where: Mask = None, lengths: Mask = None) -> jax.Array:
    """Additive Gaussian noise: ``x + std * n``, with n standard normal for each element.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      std: the standard deviation, in the units of x; at least 0, broadcastable to x. 0 is the identity.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7(1), 1995.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.gaussian(jax.random.key(0), jnp.zeros((2, 3)), 0.1).shape
      (2, 3)
    """
    noise = sample.normal(words_like(key, "gaussian", x), into=x.dtype)
    x = wide(x)
    return x + std * noise.astype(x.dtype)


@array_noise(sees="element", ranges={"half_width": _checks.nonnegative})
def uniform(key: jax.Array, x: jax.Array, half_width: Amount, *, where: Mask = None, lengths: Mask = None) -> jax.Array:
    """Additive uniform noise: ``x + u``, with u uniform on [-half_width, half_width] for each element.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      half_width: half the width of the interval, in the units of x; at least 0, broadcastable to x. 0 is the identity.
        The standard deviation is half_width / sqrt(3).
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Schuchman, "Dither signals and their effect on quantization noise", IEEE Trans. Communication Technology 12(4),
      1964. With half_width = step / 2 it is the dither for `noisejax.quantize`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.uniform(jax.random.key(0), jnp.zeros(100), 0.5)
      >>> bool((abs(y) <= 0.5).all())
      True
    """
    return x + half_width * sample.symmetric_uniform(words_like(key, "uniform", x)).astype(x.dtype)


@array_noise(sees="element", ranges={"scale": _checks.nonnegative})
def laplace(key: jax.Array, x: jax.Array, scale: Amount, *, where: Mask = None, lengths: Mask = None) -> jax.Array:
    """Additive Laplace noise: ``x + scale * n``, where n has density ``exp(-|n|) / 2`` for each element.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      scale: the mean absolute value of the noise, in the units of x; at least 0, broadcastable to x. 0 is the
        identity. The standard deviation is scale * sqrt(2).
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Dwork et al., "Calibrating noise to sensitivity in private data analysis", TCC 2006. These draws are in
      floating point and are not a privacy mechanism by themselves (Mironov, CCS 2012).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.laplace(jax.random.key(0), jnp.zeros((2, 3)), 0.1).shape
      (2, 3)
    """
    return x + scale * sample.laplace(words_like(key, "laplace", x)).astype(x.dtype)


@array_noise(sees="element", ranges={"scale": _checks.nonnegative, "df": _freedom})
def student_t(
    key: jax.Array, x: jax.Array, scale: Amount, df: Amount, *, where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Additive heavy-tailed noise: ``x + scale * t``, where t has Student's distribution for each element.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      scale: the factor of the draws, in the units of x; at least 0, broadcastable to x. 0 is the identity. The
        standard deviation is scale * sqrt(df / (df - 2)) for df > 2; otherwise there is none.
      df: the degrees of freedom, above 0, broadcastable to x. 1 is the Cauchy distribution and inf the Gaussian.
        Draws beyond the range of float32, which occur for df below 0.5, are clamped to it.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Bailey, "Polar generation of random variates with the t-distribution", Mathematics of Computation 62, 1994.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.student_t(jax.random.key(0), jnp.zeros((2, 3)), 0.1, df=3).shape
      (2, 3)
    """
    df = jnp.minimum(jnp.asarray(df).astype(jnp.float32), 1e7)  # the Gaussian to 1e-7, and no inf * 0 at inf
    w = jnp.minimum(words_like(key, "student_t", x), jnp.uint32(2**32 - 256))  # radius 0 has no gradient in df
    t = sample.student_t(w, words_like(key, "student_t.angle", x), df)
    return x + scale * jnp.clip(t, -3e38, 3e38).astype(x.dtype)


@array_noise(
    sees="element",
    options=lambda x, parameterization: _checks.one_of("alpha_stable", "parameterization", parameterization, _FORMS),
    ranges={"scale": _checks.nonnegative, "alpha": _stability, "beta": _skewness},
)
def alpha_stable(
    key: jax.Array,
    x: jax.Array,
    scale: Amount,
    alpha: Amount,
    beta: Amount = 0.0,
    *,
    parameterization: str = "S1",
    where: Mask = None,
    lengths: Mask = None,
) -> jax.Array:
    """Additive impulsive noise: ``x + scale * s``, where s has a stable distribution for each element.

    For alpha < 2 the tails fall as ``|s| ** -alpha``: there is no variance, and for alpha <= 1 no mean.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      scale: the factor of the draws, in the units of x; at least 0, broadcastable to x. 0 is the identity.
      alpha: the stability, above 0 and at most 2, broadcastable to x. 2 is the Gaussian of standard deviation
        ``scale * sqrt(2)``, and 1 with beta = 0 the Cauchy distribution. Draws beyond about 1e27, which occur for alpha
        below 0.4, are clamped to finite values. Traced values are clamped to the range.
      beta: the skewness, in [-1, 1], broadcastable to x. At 1 only the upper tail is heavy. It has no effect for
        alpha = 2. Traced values are clamped to the range.
      parameterization: `'S1'` has the mean 0 for alpha > 1, but for beta other than 0 its location tends to infinity as
        alpha approaches 1. At alpha = 1 itself it equals `'S0'`, which is continuous in alpha: S0 is S1 minus
        ``beta * tan(pi * alpha / 2)``. They are the same for beta = 0. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Chambers, Mallows and Stuck, "A method for simulating stable random variables", JASA 71, 1976. S0 and S1 as in
      Nolan, "Univariate Stable Distributions", 2020, and in scipy.stats.levy_stable.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.alpha_stable(jax.random.key(0), jnp.zeros((2, 3)), 0.1, alpha=1.5).shape
      (2, 3)
    """
    alpha, beta = (jnp.asarray(v, jnp.float32) for v in (alpha, beta))
    w, w2 = words_like(key, "alpha_stable", x), words_like(key, "alpha_stable.size", x)
    return x + scale * stable(w, w2, alpha, beta, parameterization == "S0").astype(x.dtype)


_FORMS = ("S0", "S1")


@array_noise(sees="element", ranges={"std": _checks.nonnegative}, widen=False)
def speckle(key: jax.Array, x: jax.Array, std: Amount, *, where: Mask = None, lengths: Mask = None) -> jax.Array:
    """Multiplicative Gaussian noise: ``x + x * std * n``, with n standard normal for each element.

    Args:
      key: a JAX key.
      x: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate. Zeros
        remain zeros.
      std: the standard deviation relative to x; at least 0, broadcastable to x. 0 is the identity.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019 (speckle_noise, before its clipping to [0, 1]).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.speckle(jax.random.key(0), jnp.zeros(3), 0.1).tolist()
      [0.0, 0.0, 0.0]
    """
    noise = sample.normal(words_like(key, "speckle", x), into=x.dtype)
    x = wide(x)
    finite = jnp.where(jnp.isfinite(x), x, 0)  # inf - inf would be NaN
    return x + finite * (std * noise.astype(x.dtype))


@array_noise(sees="element", ranges={"photons": _photons}, widen=False)
def shot(key: jax.Array, x: jax.Array, photons: Amount, *, where: Mask = None, lengths: Mask = None) -> jax.Array:
    """Photon noise: ``Poisson(x * photons) / photons`` for each element, with mean x and variance x / photons.

    Negative elements are not intensities and remain unchanged. The gradient in x is straight-through: it is the
    gradient of the expectation, 1. The gradient in `photons` is 0.

    Args:
      key: a JAX key.
      x: intensities: floats or uint8/uint16 images of any shape. Results for images are rounded and saturate.
      photons: the mean count for x = 1 (per grey level of a uint8 image); above 0, broadcastable to x. inf is the
        identity. A traced value at or below 0 gives darkness, 0.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype.

    References:
      Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR
      2019 (shot_noise, before its clipping to [0, 1]).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> counts = nj.shot(jax.random.key(0), jnp.ones(4), 10.0) * 10
      >>> bool((counts == counts.round()).all())
      True
    """
    values, narrow = wide(x), x.dtype.itemsize < 4
    mean = values * jnp.maximum(photons, 0)
    # Neither negative, nor NaN (0 * inf among them), nor infinite.
    lit = (mean >= 0) & (mean < jnp.inf) & (photons <= _MOST_PHOTONS)
    count = sample.poisson(words_like(key, "shot", x), jnp.where(lit, mean, 0).astype(jnp.float32), narrow)
    count = count.astype(values.dtype)
    return straight_through(jnp.where(lit, count / jnp.where(photons > 0, photons, 1), values), values)
