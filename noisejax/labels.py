"""Noise on labels: wrong, missing or smoothed classes.

Each function except `smooth` is an array noise, ``f(key, x, amount)``, on integer labels x of any shape and dtype. It
works with `nj.bind`, `nj.on_entries`, `nj.chain` and every other combinator. ``nj.changed(x, y).mean()`` gives the
realised rate of a draw. ``nj.hits(noise)(key, x)`` gives the mask, for noises that draw one.

NumPy labels outside [0, num_classes) raise. On a device or under jit the host cannot read labels: those outside are
unchanged and never hit, so the -1 of a missing label survives. In NumPy, mark them with ``where=labels >= 0``, and in
`smooth` with ``ignore=-1``.

Regression targets are ordinary numbers: apply `nj.gaussian`, `nj.laplace` or `nj.student_t` to them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise, host_amount
from noisejax._random import sample
from noisejax._random.stream import along, words, words_like
from noisejax._sharding import automatic

__all__ = ["flip", "flip_by", "flip_pairs", "missing", "smooth"]


_MISSING = "mark the others with where=labels >= 0, or where=labels != 255 if 255 is the missing one."


def _check_classes(function: str, x, num_classes) -> None:
    _check_integers(function, x)
    if not isinstance(num_classes, (int, np.integer)) or num_classes < 2:
        raise ValueError(f"{function}: num_classes must be the number of classes, at least 2, got {num_classes!r}.")
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


def smooth(
    labels: jax.Array | np.ndarray | np.number,
    alpha: Amount,
    *,
    num_classes: int | None = None,
    binary: bool = False,
    ignore: int | None = None,
    where: jax.Array | None = None,
) -> jax.Array:
    """Label smoothing: ``(1 - alpha) * labels + alpha / K`` for labels as rows of K probabilities.

    It is deterministic and takes no key. In a chain, use ``nj.keyless(nj.labels.smooth, alpha=0.1, num_classes=10)``.
    The share alpha is spread over all classes, including the true one, which keeps ``1 - alpha + alpha / K``. Binary
    and multi-label targets become ``(1 - alpha) * labels + alpha / 2``, each by itself.

    Args:
      labels: integers of shape (...), or rows of shape (..., K), which may be soft already. With `binary`,
        probabilities, zeros and ones, or booleans, of any shape.
      alpha: the share to spread, in [0, 1]; a scalar, or broadcastable to integer labels or to soft rows. It may be
        traced. 0 is the identity.
      num_classes: the number of classes K; required for integer labels. NumPy labels outside [0, K) raise, except for
        `ignore`. On a device they become rows of zeros. A row of zeros remains one, since it has no mass to spread.
        A single row of shape (K,) needs it too, since its shape is also that of binary targets. Static.
      binary: whether each element is a target of its own, with two outcomes. Static.
      ignore: the integer that marks a missing label, such as -1 or -100, which becomes a row of zeros. Static.
      where: the possible classes: booleans, broadcastable to the rows. All other classes get exactly 0, and their mass
        goes to the possible ones, so that rows still sum to 1.

    Returns:
      Rows of shape (..., K), or with `binary` the shape of the labels: float32 for integers and booleans, otherwise of
      the dtype of the labels.

    References:
      Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> nj.labels.smooth(jnp.array([0, 2]), 0.5, num_classes=4).tolist()
      [[0.625, 0.125, 0.125, 0.125], [0.125, 0.125, 0.625, 0.125]]
    """
    _checks.native("smooth", "labels", labels)
    if not hasattr(labels, "dtype"):
        raise TypeError(f"smooth: labels must be an array, got a {type(labels).__name__}: {labels!r}. Use jnp.asarray.")
    got = f"{labels.dtype}{list(labels.shape)}"
    whole, floats = jnp.issubdtype(labels.dtype, jnp.integer), jnp.issubdtype(labels.dtype, jnp.floating)
    if ignore is not None and (binary or not whole or not isinstance(ignore, (int, np.integer))):
        raise ValueError(
            f"smooth: ignore must be an integer among integer labels that are classes, got {ignore!r} for {got}. Leave "
            "it out, and drop the missing targets in the loss."
        )
    if binary:
        _check_binary(labels, num_classes, where, got)
    elif whole:
        if not isinstance(num_classes, (int, np.integer)) or num_classes < 2:
            raise ValueError(
                "smooth: num_classes must be given for integer labels, and be at least 2, got "
                f"{num_classes!r}. For binary and multi-label targets use binary=True."
            )
        known = labels if ignore is None or not isinstance(labels, np.ndarray) else labels[labels != ignore]
        _checks.labels("smooth", "labels", known, num_classes, missing="mark them: ignore=-100, for instance.")
    elif not floats:
        raise TypeError(f"smooth: labels must be integers or rows of floats, got {got}.")
    elif labels.ndim == 0 or num_classes not in (None, labels.shape[-1]):
        raise ValueError(f"smooth: labels must be rows of num_classes={num_classes} floats, got shape {labels.shape}.")
    elif labels.shape[-1] == 1 or (labels.ndim == 1 and num_classes is None):
        raise ValueError(
            f"smooth: labels must be rows of at least 2 classes, got {got}. For binary targets use binary=True; for "
            "one row of classes give num_classes; for class numbers cast them: labels.astype(jnp.int32)."
        )
    alpha = host_amount("smooth", "alpha", alpha, _share)
    return _smooth(labels, alpha, where, num_classes, bool(binary), None if ignore is None else int(ignore))


def _check_binary(labels, num_classes, where, got: str) -> None:
    for name, value in (("num_classes", num_classes), ("where", where)):
        if value is not None:
            raise ValueError(f"smooth: {name} is for rows of classes, and binary=True has none. Leave it out.")
    if jnp.issubdtype(labels.dtype, jnp.complexfloating):
        raise TypeError(f"smooth: binary targets must be numbers in [0, 1] or booleans, got {got}.")
    if isinstance(labels, np.ndarray) and not np.all((labels >= 0) & (labels <= 1)):
        worst = labels[~((labels >= 0) & (labels <= 1))].flat[0]
        raise ValueError(
            f"smooth: binary targets must lie in [0, 1], got {worst} among them. For targets of -1 and 1, smooth "
            "(labels + 1) / 2."
        )


_share = _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "It is the share of a label to spread.")


@functools.partial(jax.jit, static_argnums=(3, 4, 5), inline=True)
def _smooth(labels, alpha, where, num_classes, binary, ignore):
    wide = jnp.float64 if labels.dtype == jnp.float64 else jnp.float32
    alpha = jnp.asarray(alpha).astype(wide)
    _checks.broadcastable("smooth", "alpha", alpha.shape, labels.shape)
    if binary:
        dtype = labels.dtype if jnp.issubdtype(labels.dtype, jnp.floating) else wide
        alpha = alpha.reshape((1,) * (labels.ndim - alpha.ndim) + alpha.shape)
        return ((1 - alpha) * labels.astype(wide) + alpha / 2).astype(dtype)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        dtype, rows, alpha = wide, jax.nn.one_hot(labels, num_classes, dtype=wide), alpha[..., None]
        info = jnp.iinfo(labels.dtype)
        if ignore is not None and info.min <= ignore <= info.max:
            rows = jnp.where((labels != ignore)[..., None], rows, 0)
    else:
        dtype, rows = labels.dtype, labels.astype(wide)
    alpha = alpha.reshape((1,) * (rows.ndim - alpha.ndim) + alpha.shape)
    mass = rows.sum(-1, keepdims=True)
    if where is None:
        return ((1 - alpha) * rows + alpha * (mass / rows.shape[-1])).astype(dtype)
    where = jnp.asarray(where)
    _checks.broadcastable("smooth", "where", where.shape, rows.shape)
    if jnp.issubdtype(labels.dtype, jnp.integer):  # as a mask of labels it would fit as well
        _checks.unambiguous("smooth", "where", where.shape, rows.shape)
    where = where.reshape((1,) * (rows.ndim - where.ndim) + where.shape)
    spread = jnp.where(where, mass / jnp.maximum(where.sum(-1, keepdims=True, dtype=wide), 1), 0)
    kept = jnp.where(where, rows, 0)
    held = kept.sum(-1, keepdims=True)
    kept = jnp.where(held > 0, kept * (mass / jnp.where(held > 0, held, 1)), spread)
    return ((1 - alpha) * kept + alpha * spread).astype(dtype)
