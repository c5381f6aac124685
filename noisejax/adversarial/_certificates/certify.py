"""Certificates from randomized smoothing: the radius within which the smoothed prediction cannot change."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from noisejax import _checks
from noisejax._calls.fitted import is_fitted
from noisejax._noise import Noise
from noisejax._noises.additive import gaussian, laplace, uniform
from noisejax._noises.masking import mask
from noisejax._statistics import check_alpha, clopper_pearson
from noisejax.adversarial._certificates.smoothing import check_examples, check_known, check_samples, make_counter
from noisejax.adversarial._threats.balls import check_ids
from noisejax.image import channel_dropout, pixel_dropout


class Guarantee(NamedTuple):
    """The guarantee of smoothing with a noise. `guarantee` makes one; for other noises, construct your own.

    If the probability of a class under the noise exceeds ``probability(radius)``, it remains the most likely class for
    every input within the radius, measured in `norm`. ``radius(probability)`` is the inverse: the largest such radius,
    or 0 if the probability is at most 1/2. Both map float64 arrays with one entry per example.
    """

    norm: str
    radius: Callable[[np.ndarray], np.ndarray]
    probability: Callable[[np.ndarray], np.ndarray]


class Certificates(NamedTuple):
    """The result of `certify`, in NumPy, with one entry per example."""

    prediction: np.ndarray  # the class of the smoothed classifier; -1 where it abstains
    radius: np.ndarray  # float64; 0 where it abstains
    lower: np.ndarray  # the lower bound of the probability of that class
    norm: str  # the norm of the radius
    samples: int  # the number of noisy copies of each example

    def accuracy(self, labels: Any, radii: Any) -> np.ndarray:
        """The certified accuracy: the share of examples that are correct and have a radius of at least `radii`."""
        right = self.prediction == _labels("accuracy", labels, self.prediction)
        reached = self.radius >= np.asarray(radii, np.float64)[..., None]
        return (right & reached).mean(-1)


class Decisions(NamedTuple):
    """The result of `certify_at`, in NumPy, with one entry per example."""

    prediction: np.ndarray  # the most frequent class; -1 where nothing is certified
    certified: np.ndarray  # whether the class holds within the radius
    samples: np.ndarray  # the number of noisy copies used

    def accuracy(self, labels: Any) -> float:
        """The certified accuracy at the radius."""
        return float((self.certified & (self.prediction == _labels("accuracy", labels, self.prediction))).mean())


def _labels(function: str, labels: Any, prediction: np.ndarray) -> np.ndarray:
    """Labels that can be compared with predictions, among which -1 is an abstention."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iubf" or labels.shape != prediction.shape:
        got = f"{labels.dtype}{list(labels.shape)}"
        raise TypeError(f"{function}: labels must be integers of shape {prediction.shape}, got {got}.")
    if not np.all(labels >= 0):
        raise ValueError(
            f"{function}: labels must be at least 0, got {labels.min()} among them. Leave examples without a label out."
        )
    return labels


def guarantee(noise: Callable, shape: Sequence[int]) -> Guarantee:
    """The guarantee of smoothing with a noise of this library. p is the probability of the class under the noise.

    - `noisejax.gaussian`: L2, ``std * ndtri(p)`` (Cohen et al., tight).
    - `noisejax.laplace`: L1, ``-scale * log(2 (1 - p))`` (Teng et al.).
    - `noisejax.uniform`: L1, ``2 half_width (p - 1/2)`` (Lee et al.; Yang et al.).
    - `noisejax.mask`, `noisejax.image.pixel_dropout`, `noisejax.image.channel_dropout`: L0, the number of features (or
      groups, with `groups`), pixels or channels that may take any values: the largest r with ``rate**r > 3/2 - p``.
      With probability ``rate**r`` all r changed ones are hidden, and then both inputs look the same. Levine and Feizi
      keep a fixed number of features instead, which gives ``1 - C(d - r, k) / C(d, k)`` in place of ``1 - rate**r``.
    - a `noisejax.chain` that starts with one of these noises. Later stages only see the noisy input.

    If amounts differ between features, the smallest ones count: the least std, or the product of the r least rates.

    These theorems assume real numbers and ideal draws. In float32 `x + noise` is rounded, and draws have finite
    support. Voráček and Hein (arXiv:2207.07209) construct classifiers that exploit this. The std is its float32 value.

    Args:
      noise: a bound noise. Its amounts must be concrete.
      shape: the shape of x, (B, ...).

    Raises:
      TypeError: no certificate is known for the noise (pass your own `Guarantee` as `promise`), or it is traced.

    References:
      Cohen, Rosenfeld and Kolter, ICML 2019; Teng, Lee and Yuan, "l1 adversarial robustness certificates", 2019; Lee,
      Yuan, Chang and Jaakkola, "Tight certificates of adversarial robustness for randomly smoothed classifiers",
      NeurIPS 2019; Yang et al., "Randomized smoothing of all shapes and sizes", ICML 2020; Levine and Feizi,
      "Robustness certificates for sparse adversarial attacks by randomized ablation", AAAI 2020.

    Example:
      >>> import noisejax as nj, numpy as np
      >>> from noisejax import adversarial
      >>> adversarial.guarantee(nj.bind(nj.gaussian, std=0.5), (1, 64)).radius(np.array([0.4, 0.99])).round(3).tolist()
      [0.0, 1.163]
      >>> cells = adversarial.guarantee(nj.bind(nj.mask, rate=0.8), (1, 64))
      >>> cells.norm, cells.radius(np.array([0.8, 0.95])).tolist()
      ('l0', [1.0, 2.0])
    """
    if not isinstance(shape, (tuple, list)) or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise TypeError(f"guarantee: shape must be the shape of x, such as (1, 64), got {_checks.shown(shape)}.")
    check_known("guarantee", noise=noise)
    inner = noise
    while isinstance(inner, Noise) and inner.stages[0] is not inner:  # a chain, perhaps of chains
        inner = inner.stages[0]
    if not isinstance(inner, Noise) or inner.function not in _CERTIFIED:
        known = ", ".join(function.__name__ for function in _CERTIFIED)
        raise TypeError(
            f"guarantee: no certificate is known for {noise!r}. Use {known}, or a chain that starts with one of them, "
            "or pass your own Guarantee as promise=."
        )
    function = inner.function
    name = _CERTIFIED[function]
    amount = np.asarray(inner.amounts[name], np.float64)
    if function in _UNITS:
        return _ablation(np.clip(amount, 0, 1), tuple(shape), _UNITS[function](tuple(shape), dict(inner.options)))
    least = amount.reshape(len(amount), -1).min(1) if amount.ndim else amount
    if not np.all(least > 0):
        raise ValueError(f"guarantee: {name} of {function.__name__} must be above 0 everywhere, got {least.min():g}.")
    return _RADII[function](least)


def certify(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    noise: Callable,
    *,
    samples: int = 100_000,
    selection: int = 100,
    alpha: float = 0.001,
    num_classes: int | None = None,
    ids: jax.Array | None = None,
    batch_size: int = 1024,
    promise: Guarantee | None = None,
) -> Certificates:
    """The prediction of the smoothed classifier for each example, and the radius within which it cannot change.

    The class is the most frequent one among `selection` noisy copies. Its probability is bounded from below on
    `samples` additional copies (Clopper and Pearson, float64). The classifier abstains where the bound is at most 1/2.

    For each example the certificate is wrong with probability at most `alpha`, over the draws.

    Args:
      key, predict, x, noise, num_classes, ids, batch_size: as in `smoothed_counts`. All of x is predicted at once, so
        pass large data sets in batches, with their ids. If x is sharded over its examples, no communication is needed.
      samples: the number of noisy copies of each example. It limits the radius: 100,000 give at most 3.81 std with
        Gaussian noise and alpha 0.001.
      selection: the number of additional copies that select the class.
      alpha: the rate of wrong certificates, for each example.
      promise: the guarantee of the noise; None to use `guarantee`.

    Returns:
      `Certificates`, in NumPy and float64.

    References:
      Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing", ICML 2019: CERTIFY.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import adversarial
      >>> x = jnp.array([[0.1, 0.0], [1.05, 0.0], [-0.5, 0.0]])  # at these distances from the decision boundary
      >>> right = lambda x: x[:, 0] > 0
      >>> found = adversarial.certify(
      ...     jax.random.key(0), right, x, nj.bind(nj.gaussian, std=0.5), samples=10_000, num_classes=2
      ... )
      >>> found.prediction.tolist(), found.radius.round(1).tolist(), found.norm
      ([1, 1, 0], [0.1, 1.0, 0.5], 'l2')
      >>> found.accuracy([1, 1, 0], [0.0, 0.4, 0.8]).round(2).tolist()
      [1.0, 0.67, 0.33]
    """
    check_alpha("certify", alpha)
    for name, value in (("samples", samples), ("selection", selection)):
        check_samples("certify", name, value)
    check_examples("certify", x)
    check_known("certify", key=key, predict=predict, x=x, noise=noise, ids=ids, num_classes=num_classes)
    promise = guarantee(noise, x.shape) if promise is None else promise
    count = make_counter("certify", key, predict, x, noise, num_classes, batch_size)
    first = np.asarray(count(x, noise, ids, 0, selection)).argmax(1)
    counts = np.asarray(count(x, noise, ids, selection, samples))
    hits = np.take_along_axis(counts, first[:, None], 1)[:, 0]
    lower = clopper_pearson(hits, samples, alpha)
    sure = lower > 0.5
    radius = np.where(sure, promise.radius(lower), 0.0)
    return Certificates(np.where(sure, first, -1), radius, lower, promise.norm, selection + samples)


def certify_at(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    noise: Callable,
    radius: float | np.ndarray,
    *,
    stages: Sequence[int] = (400, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000),
    selection: int = 100,
    alpha: float = 0.001,
    num_classes: int | None = None,
    ids: jax.Array | None = None,
    batch_size: int = 1024,
    promise: Guarantee | None = None,
) -> Decisions:
    """Decides for each example whether the smoothed class holds within a given radius, with as few samples as needed.

    This is a group-sequential test. After each stage, bounds of the class's probability are computed from all samples
    so far, at level ``alpha / len(stages)``, and compared with the probability that the radius requires. An example is
    certified once its lower bound is above that probability, and rejected once its upper bound is below it. The other
    examples continue. By the union bound a certificate is wrong with probability at most `alpha`, as in `certify`.

    With the default stages, at a radius of 2 std (which requires p = 0.9772), the mean number of samples is smaller
    than 100,100 by a factor of 38 at p = 0.99, 143 at 0.999, 94 at 0.95 and 14 at 0.985. From 0.975 to 0.98 the factor
    is at most 2. There the divided alpha also loses some certificates of a single test with as many samples: at 0.98,
    it certifies 0.993 of the examples, and a single test 0.998.

    Args:
      key, predict, x, noise, num_classes, ids, batch_size: as in `smoothed_counts`. The undecided examples are gathered
        on the host and predicted in groups of at most 32, so the cost decreases with their number.
      radius: the radius within which the class must hold, in the noise's norm (see `guarantee`): one number, or one per
        example.
      stages: the increasing numbers of samples after which bounds are computed.
      selection: the number of additional samples that select the class.
      alpha: the rate of wrong certificates, for each example.
      promise: the guarantee of the noise; None to use `guarantee`.

    Returns:
      `Decisions`, in NumPy.

    References:
      Cohen, Rosenfeld and Kolter, ICML 2019; Pocock, "Group sequential methods in the design and analysis of clinical
      trials", Biometrika 64, 1977 (equal levels at each look; here from the union bound).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import adversarial
      >>> x = jnp.array([[0.1, 0.0], [1.0, 0.0], [-1.0, 0.0]])
      >>> right = lambda x: x[:, 0] > 0
      >>> found = adversarial.certify_at(
      ...     jax.random.key(0), right, x, nj.bind(nj.gaussian, std=0.5), 0.5, num_classes=2
      ... )
      >>> found.certified.tolist(), bool((found.samples < 10_000).all())
      ([False, True, True], True)
    """
    check_alpha("certify_at", alpha)
    check_samples("certify_at", "selection", selection)
    check_samples("certify_at", "batch_size", batch_size)
    check_examples("certify_at", x)
    given = {"x": x, "noise": noise, "ids": ids, "radius": radius, "num_classes": num_classes}
    check_known("certify_at", key=key, predict=predict, **given)
    if not isinstance(stages, (tuple, list, np.ndarray)):
        raise TypeError(f"certify_at: stages must be a tuple of numbers of samples, got {_checks.shown(stages)}.")
    stages = tuple(stages)
    for stage in stages:
        check_samples("certify_at", "stages", stage)
    if not stages or any(b <= a for a, b in zip((0, *stages), stages, strict=False)):
        raise ValueError(f"certify_at: stages must be increasing numbers of samples, got {stages!r}.")
    promise = guarantee(noise, x.shape) if promise is None else promise
    examples, share = len(x), alpha / len(stages)
    radius = np.asarray(_checks.operand("certify_at", "radius", radius), np.float64)
    _checks.broadcastable("certify_at", "radius", radius.shape, (examples,))
    radius = np.broadcast_to(radius, (examples,))
    if not np.all(radius >= 0):
        raise ValueError(f"certify_at: radius must be at least 0, got {radius.min():g}.")
    needed = np.broadcast_to(promise.probability(radius), (examples,))

    rows_of_x, numbers = np.asarray(x), np.arange(examples) if ids is None else ids
    numbers = np.asarray(check_ids("certify_at", numbers, x))
    width = min(examples, 32, batch_size)
    run = make_counter("certify_at", key, predict, rows_of_x[:width], noise, num_classes, batch_size)

    def count(rows, first, samples):
        """Counts of some examples, in groups of one shape. The last group is padded with its first example."""
        parts = []
        for start in range(0, len(rows), width):
            group = rows[start : start + width]
            full = np.concatenate([group, np.repeat(group[:1], width - len(group))])
            counts = run(rows_of_x[full], _rows(noise, full, examples), numbers[full], first, samples)
            parts.append(np.asarray(counts)[: len(group)])
        return np.concatenate(parts)

    found = count(np.arange(examples), 0, selection).argmax(1)
    open_, certified = np.arange(examples), np.zeros(examples, bool)
    hits, used = np.zeros(examples, np.int64), np.full(examples, selection, np.int64)
    done = 0
    for stage in stages:
        counts = count(open_, selection + done, stage - done)
        hits[open_] += np.take_along_axis(counts, found[open_][:, None], 1)[:, 0]
        used[open_], done = selection + stage, stage
        lower = clopper_pearson(hits[open_], stage, share)
        upper = clopper_pearson(hits[open_], stage, share, side="upper")
        certified[open_] = lower > needed[open_]
        open_ = open_[(lower <= needed[open_]) & (upper >= needed[open_])]
        if not open_.size:
            break
    return Decisions(np.where(certified, found, -1), certified, used)


def _of_gaussian(std: np.ndarray) -> Guarantee:
    from scipy import special

    return Guarantee("l2", lambda p: std * special.ndtri(np.maximum(p, 0.5)), lambda r: special.ndtr(r / std))


def _of_laplace(scale: np.ndarray) -> Guarantee:
    return Guarantee(
        "l1", lambda p: -scale * np.log(2 * (1 - np.maximum(p, 0.5))), lambda r: 1 - np.exp(-r / scale) / 2
    )


def _of_uniform(half_width: np.ndarray) -> Guarantee:
    width = 2 * half_width
    return Guarantee(
        "l1", lambda p: width * np.maximum(p - 0.5, 0), lambda r: np.where(r < half_width, 0.5 + r / width, 1.0)
    )


# For each noise the amount that sets its strength; for additive noises the guarantee that follows from it, and for
# noises that hide values the number of units that can be hidden.
_CERTIFIED: dict[Callable, str] = {
    gaussian: "std",
    laplace: "scale",
    uniform: "half_width",
    mask: "rate",
    pixel_dropout: "rate",
    channel_dropout: "rate",
}
_RADII: dict[Callable, Callable[[np.ndarray], Guarantee]] = {
    gaussian: _of_gaussian,
    laplace: _of_laplace,
    uniform: _of_uniform,
}
_UNITS: dict[Callable, Callable[[tuple[int, ...], dict], int]] = {
    mask: lambda shape, options: (
        math.prod(shape[1:-1]) * len(set(options["groups"])) if options.get("groups") else math.prod(shape[1:])
    ),
    pixel_dropout: lambda shape, options: math.prod(shape[1:-1]),
    channel_dropout: lambda shape, options: shape[-1],
}


def _ablation(rate: np.ndarray, shape: tuple[int, ...], units: int) -> Guarantee:
    """The guarantee of hiding: with probability at least ``unseen[r]``, all of r changed units are hidden."""
    rows = len(rate) if rate.ndim else 1
    least = np.sort(np.broadcast_to(rate, (rows, *shape[1:])).reshape(rows, -1), axis=1)[:, :units]
    unseen = np.concatenate([np.ones((rows, 1)), np.cumprod(least, axis=1)], axis=1)

    def radius(p):
        return (unseen[:, 1:] > 1.5 - np.asarray(p)[..., None]).sum(1).astype(np.float64)

    def probability(r):
        number = np.minimum(np.floor(r), units).astype(int)  # at most all units can change
        return 1.5 - np.take_along_axis(np.broadcast_to(unseen, (len(number), units + 1)), number[:, None], 1)[:, 0]

    return Guarantee("l0", radius, probability)


def _rows(noise: Callable, rows: np.ndarray, examples: int) -> Callable:
    """The noise restricted to some examples: amounts per example are gathered, shared ones are kept."""

    def leaf(amount):
        shared = is_fitted(amount) or np.ndim(amount) == 0 or np.shape(amount)[0] != examples
        return amount if shared or examples == 1 else amount[rows]

    return jax.tree.map(leaf, noise, is_leaf=is_fitted)
