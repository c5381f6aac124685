"""The losses: linear functions of the statistics of each row."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax.fused._losses.statistics import present_sums, statistics

_share = _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "It is a share of a label.")


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array | np.ndarray,
    alpha: Amount = 0.0,
    lam: Amount = 1.0,
    partner: jax.Array | np.ndarray | int | None = None,
    transition: jax.Array | np.ndarray | None = None,
    *,
    where: jax.Array | np.ndarray | None = None,
    ignore: int | None = None,
) -> jax.Array:
    """Cross entropy with smoothed, mixed or flipped integer labels, without rows of soft labels.

    The result is ``-sum(rows * log_softmax(logits))`` with ``rows = (1 - alpha) * mixed + alpha / K`` and ``mixed = lam
    * onehot(labels) + (1 - lam) * onehot(labels[partner])``. With a transition, ``onehot(y)`` is ``transition[y]``: the
    result is the expected loss under flips of the labels. It is a linear function of five numbers for each row, and its
    gradient is one loop over the logits. Sums are float32, or float64 for float64 logits.

    Args:
      logits: floats (..., K).
      labels: integers (...). NumPy labels outside [0, K) raise, except for `ignore`. On a device such a label counts as
        a row of zeros, so its loss is 0 if it has no partner.
      alpha: the share of smoothing in [0, 1], as in `noisejax.labels.smooth`; a scalar or broadcastable to the labels.
      lam: the weight of the own label, in [0, 1], from `noisejax.mixup_pairs` or from the area of a cutmix box; a
        scalar or broadcastable to the labels. It needs a partner.
      partner: the index of each example's partner along the first axis, integers (B,), or a Python int by which to roll
        the batch, as in `noisejax.blend`.
      transition: ``T[i, j] = P(noisy j | clean i)`` (K, K), as in `noisejax.labels.flip_by`. Gradients stop at it.
      where: the possible classes: booleans that broadcast to the logits. All others are in neither the softmax nor the
        rows, and an impossible label is spread over the possible classes. It excludes `transition`.
      ignore: the integer that marks a missing label, such as -1 or -100. Static.

    Returns:
      The loss of each label, (...), float32 or float64.

    Raises:
      TypeError: logits hold no floats, or labels no integers.
      ValueError: shapes do not fit, or a number is out of range.

    References:
      Szegedy et al., "Rethinking the Inception architecture", CVPR 2016 (smoothing); Zhang et al., "mixup", ICLR 2018;
      Yun et al., "CutMix", ICCV 2019; Patrini et al., CVPR 2017 (transitions).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> logits, labels = jnp.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), jnp.array([0, 1])
      >>> lam, partner = nj.mixup_pairs(jax.random.key(0), 2, 0.4)
      >>> nj.fused.cross_entropy(logits, labels, 0.1, lam, partner).shape
      (2,)
    """
    classes = _check_logits("cross_entropy", logits)
    if classes < 1:
        raise ValueError(f"cross_entropy: logits must be (..., classes), got shape {tuple(logits.shape)}.")
    ignore = None if ignore is None else _checks.whole("cross_entropy", "ignore", ignore)
    labels = _check_labels("cross_entropy", labels, logits.shape[:-1], classes, ignore)
    alpha = _amount("cross_entropy", "alpha", alpha, labels.shape)
    partner = _partners("cross_entropy", partner, labels.shape)
    if partner is None and not (isinstance(lam, (int, float, np.number)) and lam == 1):
        raise ValueError("cross_entropy: lam is the weight of the own label against a partner's: give partner.")
    lam = _amount("cross_entropy", "lam", lam, labels.shape)
    where = _check_where("cross_entropy", where, logits.shape, transition)
    if transition is not None:
        _checks.native("cross_entropy", "transition", transition)
        transition = jnp.asarray(_matrix(transition))
        if transition.shape != (classes, classes):
            raise ValueError(
                f"cross_entropy: transition must have shape ({classes}, {classes}), a row for each class, got "
                f"{tuple(transition.shape)}."
            )
    return _cross_entropy(jnp.asarray(logits), labels, alpha, lam, partner, transition, where, ignore)


def _cross_entropy(logits, labels, alpha, lam, partner, transition, where, ignore) -> jax.Array:
    classes = logits.shape[-1]
    own, known = _known(labels, classes, ignore)
    if partner is None:
        other = theirs = None
    else:
        other, theirs = (jnp.roll(x, partner, 0) if isinstance(partner, int) else x[partner] for x in (own, known))
    found = statistics(logits, own, other, where, transition)
    wide = found.lse.dtype
    alpha, lam = (_fit(x, labels.ndim).astype(wide) for x in (alpha, lam))
    mass, picked = known.astype(wide), jnp.where(known, found.own, 0)
    if theirs is not None:
        mass = lam * mass + (1 - lam) * theirs.astype(wide)
        picked = lam * picked + (1 - lam) * jnp.where(theirs, found.partner, 0)
    return mass * found.lse - (1 - alpha) * picked - alpha * mass * found.mean


def binary_cross_entropy(
    logits: jax.Array,
    labels: jax.Array | np.ndarray,
    alpha: Amount = 0.0,
    *,
    where: jax.Array | np.ndarray | None = None,
    ignore: int | None = None,
) -> jax.Array:
    """Binary cross entropy of each logit with smoothed targets, ``(1 - alpha) * labels + alpha / 2``.

    The targets are never stored, and integers or booleans are never cast as a whole.

    Args:
      logits: floats of any shape.
      labels: zeros and ones (booleans or integers), or floats in [0, 1], of the shape of the logits.
      alpha: the share of smoothing in [0, 1]; a scalar or broadcastable to the logits. It may be traced.
      where: booleans that broadcast to the logits, False where there is no label: the loss is 0 there.
      ignore: the integer that marks a missing label. Static.

    Returns:
      The loss of each logit, in float32 or float64.

    References:
      Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, for two classes.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> loss = nj.fused.binary_cross_entropy(jnp.zeros(2), jnp.array([True, False]), 0.1)
      >>> (1000 * loss).round().tolist()
      [693.0, 693.0]
    """
    _check_logits("binary_cross_entropy", logits)
    ignore = None if ignore is None else _checks.whole("binary_cross_entropy", "ignore", ignore)
    labels = _checks.operand("binary_cross_entropy", "labels", labels)
    if labels.shape != logits.shape:
        raise ValueError(
            f"binary_cross_entropy: labels must have the shape of logits, got {tuple(labels.shape)} and "
            f"{tuple(logits.shape)}. For lists of classes use multi_label_cross_entropy."
        )
    known = labels if ignore is None else labels[labels != ignore] if isinstance(labels, np.ndarray) else labels
    if isinstance(known, np.ndarray) and not np.all((known >= 0) & (known <= 1)):
        worst = known[~((known >= 0) & (known <= 1))].flat[0]
        raise ValueError(f"binary_cross_entropy: labels must lie in [0, 1], got {worst} among them.")
    alpha = _amount("binary_cross_entropy", "alpha", alpha, logits.shape)
    where = _check_where("binary_cross_entropy", where, logits.shape)
    z = jnp.asarray(logits)
    z = z.astype(_wide(z))
    labels = jnp.asarray(labels)
    if ignore is not None:
        seen = labels != jnp.asarray(ignore).astype(labels.dtype)
        where = seen if where is None else seen & where
    target = (1 - _fit(alpha, z.ndim).astype(z.dtype)) * labels.astype(z.dtype) + _fit(alpha, z.ndim).astype(
        z.dtype
    ) / 2
    loss = jax.nn.softplus(z) - z * target
    return loss if where is None else jnp.where(where, loss, 0)


def multi_label_cross_entropy(
    logits: jax.Array,
    labels: jax.Array | np.ndarray,
    alpha: Amount = 0.0,
    *,
    ignore: int = -1,
) -> jax.Array:
    """The sum over classes of binary cross entropies, for lists of the classes that are present.

    Class k has the target ``(1 - alpha) * present + alpha / 2``. Rows of targets are never built.

    Args:
      logits: floats (..., K).
      labels: integers (..., L), the classes that are present, in any order and padded with `ignore`. A class that
        occurs twice counts once. NumPy labels outside [0, K) raise, and on a device they are padding.
      alpha: the share of smoothing in [0, 1]; a scalar or broadcastable to (...). It may be traced.
      ignore: the integer that pads the lists. Static.

    Returns:
      The loss of each row, (...), float32 or float64. Divide it by K for the mean over classes.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> loss = nj.fused.multi_label_cross_entropy(jnp.zeros((1, 4)), jnp.array([[0, 2, -1]]))
      >>> (1000 * loss).round().tolist()
      [2773.0]
    """
    classes = _check_logits("multi_label_cross_entropy", logits)
    if logits.ndim < 1 or classes < 1:
        raise ValueError(f"multi_label_cross_entropy: logits must be (..., classes), got shape {tuple(logits.shape)}.")
    ignore = _checks.whole("multi_label_cross_entropy", "ignore", ignore)
    rows = tuple(logits.shape[:-1])
    labels = _checks.operand("multi_label_cross_entropy", "labels", labels, integers=True)
    if tuple(labels.shape[:-1]) != rows or labels.ndim != logits.ndim:
        raise ValueError(
            f"multi_label_cross_entropy: labels must be lists of classes, (*{rows}, L) for logits of shape "
            f"{tuple(logits.shape)}, got {tuple(labels.shape)}."
        )
    labels = _check_labels("multi_label_cross_entropy", labels, labels.shape, classes, ignore)
    alpha = _amount("multi_label_cross_entropy", "alpha", alpha, rows)
    z = jnp.asarray(logits)
    label, known = _known(labels, classes, ignore)
    size = label.shape[-1]
    earlier = np.tril(np.ones((size, size), bool), -1).reshape((1,) * len(rows) + (size, size))
    repeated = (label[..., :, None] == label[..., None, :]) & known[..., None, :] & earlier
    known = known & ~repeated.any(-1)
    alpha = alpha.reshape((1,) * (len(rows) - alpha.ndim) + alpha.shape).astype(_wide(z))
    rest, present = present_sums(z, label, known, alpha / 2)
    return rest - (1 - alpha) * present


def _matrix(transition) -> Any:
    """The transition as an array; of a host array the rows are checked."""
    found: Any = arithmetic_amount("cross_entropy", "transition", transition, None)
    if isinstance(found, np.ndarray):
        _checks.transition("cross_entropy", "transition", found)
    return found


def _known(labels, classes: int, ignore: int | None) -> tuple[jax.Array, jax.Array]:
    """Labels as int32 with 0 for those that are no class, and whether each is one."""
    known = (labels >= 0) & (labels < classes)
    if ignore is not None and _holds(labels.dtype, ignore):
        known = known & (labels != ignore)
    return jnp.where(known, labels, 0).astype(jnp.int32), known


def _holds(dtype, value: int) -> bool:
    info = jnp.iinfo(dtype)
    return info.min <= value <= info.max


def _wide(x):
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


def _check_logits(function: str, logits: Any) -> int:
    _checks.array(function, logits, _checks.floats, "logits")
    return logits.shape[-1] if logits.ndim else 0


def _check_labels(function: str, labels, shape, classes: int, ignore: int | None):
    labels = _checks.operand(function, "labels", labels, integers=True)
    if tuple(labels.shape) != tuple(shape):
        raise ValueError(
            f"{function}: labels must have shape {tuple(shape)}, that of logits without the classes, got "
            f"{tuple(labels.shape)}."
        )
    if isinstance(labels, (np.ndarray, np.generic)):
        labels = np.asarray(labels)
        known = labels if ignore is None else labels[labels != ignore]
        _checks.labels(function, "labels", known, classes, missing="mark them: ignore=-1, for instance.")
        return jnp.asarray(labels)
    return labels


def _amount(function: str, name: str, value, shape):
    value = arithmetic_amount(function, name, value, _share)
    _checks.broadcastable(function, name, value.shape, tuple(shape))
    return jnp.asarray(value)


def _fit(x: jax.Array, ndim: int) -> jax.Array:
    """An amount of the rank of the labels; scalars stay scalars."""
    return x.reshape((1,) * (ndim - x.ndim) + x.shape) if x.ndim else x


def _partners(function: str, partner, shape):
    if partner is None:
        return None
    if not shape:
        raise ValueError(f"{function}: partner needs labels with an axis of examples, got one label.")
    if isinstance(partner, (int, np.integer)) and not isinstance(partner, bool):
        return _checks.whole(function, "partner", partner)
    partner = _checks.operand(function, "partner", partner, integers=True)
    if tuple(partner.shape) != tuple(shape[:1]):
        raise ValueError(f"{function}: partner must have shape {tuple(shape[:1])}, got {tuple(partner.shape)}.")
    if isinstance(partner, np.ndarray):
        wrong = np.extract((partner < 0) | (partner >= shape[0]), partner)
        if wrong.size:
            raise ValueError(f"{function}: partner must be in [0, {shape[0]}), got {wrong[0]} among them.")
    return jnp.asarray(partner)


def _check_where(function: str, where, shape, transition=None):
    where = _checks.mask(function, "where", where)
    if where is None:
        return None
    if where.dtype != jnp.bool_:
        raise TypeError(f"{function}: where must be booleans, got {_checks.shown(where)}. Cast it: where.astype(bool).")
    if transition is not None:
        raise ValueError(f"{function}: where and transition exclude each other. Set columns of transition to 0.")
    _checks.broadcastable(function, "where", where.shape, tuple(shape))
    return jnp.asarray(where).reshape((1,) * (len(shape) - where.ndim) + where.shape)
