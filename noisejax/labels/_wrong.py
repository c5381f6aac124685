"""Labels that are wrong or missing: flips to other classes, and marks for unknown ones."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import along, words, words_like
from noisejax._sharding import automatic

_MISSING = "mark the others with where=labels >= 0, or where=labels != 255 if 255 is the missing one."


def _check_classes(function: str, x, num_classes) -> None:
    _check_integers(function, x)
    _checks.count(function, "num_classes", num_classes, 2, "It is the number of classes.")
    if num_classes > _largest(x.dtype) + 1:
        raise ValueError(
            f"{function}: x of {x.dtype} cannot hold all labels below num_classes={num_classes}. Cast x to a wider "
            "integer."
        )


def _check_integers(function: str, x) -> None:
    if not (jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == jnp.bool_):
        raise TypeError(
            f"{function}: x must hold integer labels, got {x.dtype}{list(x.shape)}. For one-hot or soft labels, take "
            "the argmax first. For regression targets, use ordinary noise such as nj.gaussian."
        )


def _largest(dtype) -> int:
    return 1 if dtype == jnp.bool_ else int(jnp.iinfo(dtype).max)


def _classes(function: str):
    """The check of the options of a noise of labels, by its name."""

    def check(x, num_classes, **_) -> None:
        _check_classes(function, x, num_classes)

    return check


def _in_range(function: str):
    """The check of labels that the host knows."""

    def check(x, where, num_classes, **_) -> None:
        _check_classes(function, x, num_classes)
        _checks.labels(function, "x", x, num_classes, where, missing=_MISSING)

    return check


def _class(x, num_classes) -> tuple[jax.Array, jax.Array]:
    """Labels as int32, and whether each is one of the classes."""
    label = x.astype(jnp.int32)
    return label, (label >= 0) & (label < num_classes)


@array_noise(
    _checks.numbers,
    sees="element",
    options=_classes("flip"),
    host=_in_range("flip"),
    ranges={"rate": _checks.rate},
)
def flip(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    num_classes: int,
    include_true: bool = False,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Symmetric label noise: with probability `rate`, a label is replaced by a uniformly random class.

    A label that is hit becomes one of the ``num_classes - 1`` other classes, so `rate` is the expected share of wrong
    labels. With ``include_true=True``, the definition in part of the literature, a label that is hit becomes any class,
    including its own. The expected share of wrong labels is then ``rate * (num_classes - 1) / num_classes``.

    Args:
      key: a JAX key.
      x: integer labels of any shape.
      rate: the probability that a label is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      num_classes: the number of classes K; labels are 0, ..., K - 1. Static.
      include_true: whether a label that is hit may keep its class. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Labels of x's shape and dtype.

    References:
      Angluin and Laird, "Learning from noisy examples", Machine Learning 2, 1988; Patrini et al., CVPR 2017
      (symmetric noise, the true class excluded); Zhang et al., ICLR 2017 (random labels, the true class included).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> y = nj.labels.flip(jax.random.key(0), jnp.zeros(1000, int), 0.3, num_classes=10)
      >>> 0.25 < float((y != 0).mean()) < 0.35
      True
    """
    label, valid = _class(x, num_classes)
    w, w2 = words_like(key, "labels.flip.class", x), words_like(key, "labels.flip.class.low", x)
    drawn = sample.integers(w, w2, num_classes if include_true else num_classes - 1)
    hit = valid & sample.bernoulli(words_like(key, "labels.flip", x), rate)
    return Hit(hit, drawn if include_true else (label + 1 + drawn) % num_classes)


@array_noise(
    _checks.numbers,
    sees="element",
    options=_classes("flip_pairs"),
    host=_in_range("flip_pairs"),
    ranges={"rate": _checks.rate},
)
def flip_pairs(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    num_classes: int,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Pair flips: with probability `rate`, a label i becomes the next class, ``(i + 1) mod num_classes``.

    `rate` is the expected share of wrong labels. For other pairs of classes, pass a matrix to `flip_by`.

    Args:
      key: a JAX key.
      x: integer labels of any shape.
      rate: the probability that a label is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      num_classes: the number of classes K; labels are 0, ..., K - 1. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Labels of x's shape and dtype.

    References:
      Han et al., "Co-teaching", NeurIPS 2018 (pair flipping).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.labels.flip_pairs(jax.random.key(0), jnp.array([0, 1, 2]), 1.0, num_classes=3).tolist()
      [1, 2, 0]
    """
    label, valid = _class(x, num_classes)
    hit = valid & sample.bernoulli(words_like(key, "labels.flip_pairs", x), rate)
    return Hit(hit, (label + 1) % num_classes)


def _is_integer(x) -> None:
    _check_integers("flip_by", x)


def _in_matrix(x, where, transition) -> None:
    _check_integers("flip_by", x)
    _checks.labels("flip_by", "x", x, np.shape(transition)[-1], where, missing=_MISSING)


@array_noise(
    _checks.numbers,
    sees="element",
    tables=("transition",),
    options=_is_integer,
    host=_in_matrix,
    ranges={"transition": _checks.transition},
)
def flip_by(
    key: jax.Array, x: jax.Array, transition: jax.Array, *, where: Mask = None, lengths: Mask = None
) -> jax.Array:
    """Class-conditional label noise: each label i becomes j with probability ``transition[i, j]``.

    The diagonal holds the probability that a label is unchanged, so a share ``1 - transition[i, i]`` of class i becomes
    wrong. The identity matrix is the identity.

    Args:
      key: a JAX key.
      x: integer labels of any shape.
      transition: ``T[i, j] = P(noisy j | clean i)``, of shape (K, K). Rows must sum to 1. This is checked for host
        values; the rows of a traced matrix are divided by their sums. The convention is that of Patrini et al.;
        cleanlab's `noise_matrix` is the transpose. For labels of shape (B,), a transition of shape (B, K, K) holds one
        matrix per example (instance-dependent noise).
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Labels of x's shape and dtype.

    References:
      Patrini et al., "Making deep neural networks robust to label noise: a loss correction approach", CVPR 2017; Xia
      et al., "Part-dependent label noise", NeurIPS 2020 (instance-dependent).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> cats_become_dogs = jnp.array([[0.0, 1.0], [0.0, 1.0]])
      >>> nj.labels.flip_by(jax.random.key(0), jnp.array([0, 1, 0]), cats_become_dogs).tolist()
      [1, 1, 1]
    """
    classes = transition.shape[-1]
    if transition.ndim < 2 or transition.shape[-2] != classes or transition.ndim - 2 > x.ndim:
        raise ValueError(
            f"flip_by: transition must have shape (K, K), or hold one such matrix per label, got {transition.shape} "
            f"for labels of shape {x.shape}."
        )
    _check_classes("flip_by", x, classes)
    _checks.broadcastable("flip_by", "transition (without its matrices)", transition.shape[:-2], x.shape)
    label, valid = _class(x, classes)
    ends = jnp.cumsum(transition, axis=-1)
    ends = ends / ends[..., -1:]  # so that a class of probability 0 is never drawn, even if it is the last one
    u = sample.uniform(words_like(key, "labels.flip_by", x))
    ends = ends.reshape((1,) * (x.ndim + 2 - ends.ndim) + ends.shape)

    def drawn(label, u, ends):
        row = jnp.take_along_axis(ends, label[..., None, None], axis=-2, mode="clip")[..., 0, :-1]
        return jnp.sum(u[..., None] >= row, axis=-1, dtype=jnp.int32)

    return jnp.where(valid, automatic(drawn, label, u, ends).astype(x.dtype), x)


def _missing_options(x, value, mode) -> None:
    _checks.one_of("missing", "mode", mode, ("element", "example"))
    if jnp.issubdtype(x.dtype, jnp.floating):
        _checks.holds("missing", "value", value, x.dtype)
        return
    value = _absent(x.dtype, value)
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"missing: value must be a number or None, got {value!r}.")
    if x.dtype == jnp.bool_ or not jnp.iinfo(x.dtype).min <= value <= jnp.iinfo(x.dtype).max or value != int(value):
        raise ValueError(
            f"missing: value must be one that {x.dtype} labels can hold, got {value!r}. "
            "Pass a different value, or cast the labels first: x.astype(jnp.int32)."
        )


def _absent(dtype, value):
    if value is not None:
        return value
    return float("nan") if jnp.issubdtype(dtype, jnp.floating) else -1


@array_noise(_checks.numbers, sees="element", options=_missing_options, ranges={"rate": _checks.rate})
def missing(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    value: float | None = None,
    mode: str = "element",
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Missing labels: with probability `rate`, a label is replaced by a value that means "unknown".

    Args:
      key: a JAX key.
      x: integer labels, soft rows or regression targets, of any shape.
      rate: the probability that a label is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      value: the value of a missing label; None for -1 in integers and NaN in floats. Static.
      mode: `'element'` draws for each element. `'example'` draws for each entry of the leading axis, so that a row is
        replaced as a whole. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Labels of x's shape and dtype.

    References:
      Rubin, "Inference and missing data", Biometrika 63(3), 1976 (missing completely at random).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.labels.missing(jax.random.key(0), jnp.array([3, 1]), 1.0).tolist()
      [-1, -1]
    """
    axes = range(x.ndim) if mode == "element" else (0,)
    hit = sample.bernoulli(words(key, "labels.missing", **along(x, axes)), rate)
    return Hit(jnp.broadcast_to(hit, x.shape), _absent(x.dtype, value))
