"""Label smoothing: it draws nothing, and makes rows of probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount

_MISSING = "mark the others with where=labels >= 0, or where=labels != 255 if 255 is the missing one."


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
    binary = _checks.flag("smooth", "binary", binary)
    where = _checks.mask("smooth", "where", where)
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
        counted = isinstance(num_classes, (int, np.integer)) and not isinstance(num_classes, bool)
        if num_classes is None or not counted or not 2 <= num_classes < 2**31:
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
    alpha = arithmetic_amount("smooth", "alpha", alpha, _share)
    return _smooth(labels, alpha, where, num_classes, binary, None if ignore is None else int(ignore))


def _check_binary(labels, num_classes, where, got: str) -> None:
    for name, value in (("num_classes", num_classes), ("where", where)):
        if value is not None:
            raise ValueError(f"smooth: {name} is for rows of classes, and binary=True has none. Leave it out.")
    real = jnp.issubdtype(labels.dtype, jnp.floating) or jnp.issubdtype(labels.dtype, jnp.integer)
    if not real and labels.dtype != jnp.bool_:
        raise TypeError(f"smooth: labels must be numbers in [0, 1] or booleans with binary=True, got {got}.")
    if isinstance(labels, np.ndarray) and not np.all((labels >= 0) & (labels <= 1)):
        worst = labels[~((labels >= 0) & (labels <= 1))].flat[0]
        raise ValueError(
            f"smooth: labels must lie in [0, 1], got {worst} among them, with binary=True. For targets of -1 and 1, "
            "smooth (labels + 1) / 2."
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
