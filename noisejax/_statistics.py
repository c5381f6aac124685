"""Confidence intervals and tests for proportions and means, computed on the host in float64.

In float32 a confidence bound may come out above the true one, and would certify what does not hold.
"""

from typing import Any

import numpy as np

from noisejax import _checks


def check_alpha(function: str, alpha: Any) -> None:
    """An error rate is strictly between 0 and 1."""
    if not isinstance(alpha, (float, int, np.number)) or not 0 < alpha < 1:
        raise ValueError(f"{function}: alpha must be in (0, 1), got {alpha!r}. It is an error rate, such as 0.001.")


def clopper_pearson(successes: Any, trials: Any, alpha: float, *, side: str = "lower") -> np.ndarray:
    """The one-sided bound of Clopper and Pearson for a probability. It is wrong with probability at most `alpha`.

    For k successes in n trials, the lower bound is the alpha-quantile of Beta(k, n - k + 1) and the upper bound is the
    (1 - alpha)-quantile of Beta(k + 1, n - k). The bound is computed in float64 and rounded outwards by a factor of
    1e-12, which exceeds the error of the quantile.

    Args:
      successes: integers, at least 0.
      trials: integers, at least `successes`.
      alpha: the error rate, in (0, 1).
      side: `'lower'` or `'upper'`.

    Returns:
      float64 bounds, in NumPy.

    References:
      Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
      Biometrika 26, 1934.

    Example:
      >>> from noisejax._statistics import clopper_pearson
      >>> clopper_pearson([0, 99_900, 100_000], 100_000, 0.001).round(6).tolist()
      [0.0, 0.998651, 0.999931]
    """
    from scipy import special  # jax depends on SciPy; imported here to keep `import noisejax` fast

    check_alpha("clopper_pearson", alpha)
    _checks.one_of("clopper_pearson", "side", side, ("lower", "upper"))
    for name, value in (("successes", successes), ("trials", trials)):
        if not _are_counts(np.asarray(value)):
            raise ValueError(f"clopper_pearson: {name} must be whole numbers of at least 0, got {value!r}.")
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    if np.any(k > n):
        raise ValueError(f"clopper_pearson: successes must lie in [0, trials], got {successes!r} of {trials!r}.")
    if side == "upper":
        return np.minimum(np.nextafter(1 - clopper_pearson(n - k, n, alpha), 2), 1)
    some = k > 0
    bound = special.betaincinv(np.where(some, k, 1), np.where(some, n - k + 1, 1), alpha)
    return np.where(some, bound * (1 - 1e-12), 0.0)


def _are_counts(value: np.ndarray) -> bool:
    whole = value.dtype.kind in "iuf" and np.isfinite(value).all() and (value == np.floor(value)).all()
    return bool(whole and (value >= 0).all())


def binomial_tail(successes: np.ndarray, trials: np.ndarray, probability: Any) -> np.ndarray:
    """P(X >= successes) of a binomial X, in float64."""
    from scipy import special

    some = successes > 0
    tail = special.betainc(np.where(some, successes, 1), np.where(some, trials - successes + 1, 1), probability)
    return np.where(some, tail, 1.0)


def wilson_interval(share: Any, trials: Any, z: float) -> tuple[Any, Any]:
    """Wilson's score interval for a probability: `share` of `trials` succeeded; z is the normal quantile."""
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + (z / trials) ** 2 / 4)
    return centre - half, centre + half


def crossed_interval(scores: np.ndarray, confidence: float, shares: int = 0) -> tuple[Any, Any, Any]:
    """The mean of scores over models and examples (the last two axes), with the bounds of its confidence interval.

    Models and examples are both random, and crossed: every model has scored the same examples. The half width on
    either side is ``sqrt(a**2 + max(b**2 - c**2, 0))``: a is Student's t interval of the mean over S models (S - 1
    degrees of freedom), b the interval over examples, and c the part of b that a already contains, the variance of
    single answers (the interaction of the two).

    Args:
      scores: an array of shape (..., models, examples).
      confidence: the probability that the interval covers the mean, in (0, 1).
      shares: over how many draws each score is the share of successes: b then comes from Wilson's interval. With 0,
        scores are any numbers and b is the normal interval.

    Returns:
      The mean, the lower and the upper bound, each of shape (...).
    """
    from scipy import special

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}.")
    scores = np.asarray(scores, np.float64)
    models, examples = scores.shape[-2:]
    mean, by_model, by_example = scores.mean((-1, -2)), scores.mean(-1), scores.mean(-2)
    z, seeds, shared = special.ndtri(0.5 + confidence / 2), 0.0, 0.0
    if models > 1:
        seeds = special.stdtrit(models - 1, 0.5 + confidence / 2) * by_model.std(-1, ddof=1) / models**0.5
    if models > 1 and examples > 1:
        single = scores - by_example[..., None, :] - by_model[..., None] + mean[..., None, None]
        shared = z**2 * np.square(single).sum((-1, -2)) / ((models - 1) * (examples - 1) * models * examples)
    variance = by_example.var(-1, ddof=1) if examples > 1 else np.full(mean.shape, np.inf)

    def with_seeds(half):
        return np.sqrt(seeds**2 + np.maximum(half**2 - shared, 0))

    if not shares:
        half = with_seeds(z * np.sqrt(variance / examples))
        return mean, mean - half, mean + half
    # Wilson's interval needs a number of independent yes-or-no examples: the number that would have the observed
    # variance. It is at least the number of examples, since models that agree add no information, and at most the
    # number of single answers.
    n = examples * mean * (1 - mean) / np.where(variance > 0, variance, np.inf)
    n = np.clip(n, examples, models * shares * examples) if models * shares > 1 else examples
    low, high = wilson_interval(mean, n, z)
    lower, upper = mean - with_seeds(mean - low), mean + with_seeds(high - mean)
    return mean, np.clip(lower, 0, 1), np.clip(upper, 0, 1)
