"""Losses for attacks to maximize, one number per example: functions of logits, and wrappers for models."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax.adversarial._health import host_value
from noisejax.adversarial._outputs import as_logits, check_labels, labelled_logits, pair_of_logits


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """``log sum_j exp(z_j) - z_y``, computed as ``log(1 + sum_{j != y} exp(z_j - z_y))``.

    This form keeps the gradient accurate where the softmax of the label rounds to 1. Otherwise very confident models
    would hide their gradient from an attack.

    Args:
      logits: floats of shape (B, classes).
      labels: integers of shape (B,).

    Returns:
      float32 of shape (B,).

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.cross_entropy(jnp.zeros((1, 2)), jnp.array([0])).round(3).tolist()
      [0.6930000185966492]
    """
    return jax.nn.softplus(_log_odds(labelled_logits("cross_entropy", logits, labels), labels))


def log_odds(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """``log sum_{j != y} exp(z_j) - z_y``: the log odds that the label is wrong. Its gradient never vanishes.

    The cross-entropy is ``softplus(log_odds)``, so both have the same maxima and the same steepest direction. But the
    gradient of the cross-entropy contains the probability of being wrong as a factor, which underflows to 0 in float32
    once the logits are some 100 apart. Then the model only seems robust.

    Args:
      logits: floats of shape (B, classes).
      labels: integers of shape (B,).

    Returns:
      float32 of shape (B,), above 0 where the label has less than half of the probability.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> logits, labels = jnp.array([[1000.0, 0.0]]), jnp.array([0])
      >>> adversarial.log_odds(logits, labels).tolist(), adversarial.cross_entropy(logits, labels).tolist()
      ([-1000.0], [0.0])
    """
    return _log_odds(labelled_logits("log_odds", logits, labels), labels)


def margin(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """``max_{j != y} z_j - z_y``: above 0 where the prediction differs from the label.

    Clipped from above, ``jnp.minimum(margin(logits, labels), kappa)``, it is the loss of Carlini and Wagner.

    Args:
      logits: floats of shape (B, classes).
      labels: integers of shape (B,).

    Returns:
      float32 of shape (B,).

    References:
      Carlini and Wagner, "Towards evaluating the robustness of neural networks", S&P 2017, f_6 with the opposite sign.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.margin(jnp.array([[3.0, 1.0, 2.0]]), jnp.array([0])).tolist()
      [-1.0]
    """
    logits = labelled_logits("margin", logits, labels)
    return _others(logits, labels) - _logit_of(logits, labels)


def dlr(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Difference of logits ratio: ``-(z_y - max_{j != y} z_j) / (z_(1) - z_(3) + 1e-12)``, z_(i) the i-th largest.

    Unlike the cross-entropy, it does not change when the logits are scaled or shifted.

    Args:
      logits: floats of shape (B, classes), at least 3 classes.
      labels: integers of shape (B,).

    Returns:
      float32 of shape (B,).

    References:
      Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
      attacks", ICML 2020.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.dlr(jnp.array([[3.0, 1.0, 2.0]]), jnp.array([0])).tolist()
      [-0.5]
    """
    logits = labelled_logits("dlr", logits, labels, classes=3)
    first, _, third = _largest(logits, 3)
    return (_others(logits, labels) - _logit_of(logits, labels)) / (first - third + 1e-12)


def targeted_dlr(logits: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
    """``-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12)``: away from the label y and towards the target t.

    Args:
      logits: floats of shape (B, classes), at least 4 classes.
      labels: integers of shape (B,).
      targets: integers of shape (B,).

    Returns:
      float32 of shape (B,).

    References:
      Croce and Hein, ICML 2020.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.targeted_dlr(jnp.array([[3.0, 1.0, 2.0, 0.0]]), jnp.array([0]), jnp.array([2])).tolist()
      [-0.4000000059604645]
    """
    logits = labelled_logits("targeted_dlr", logits, labels, classes=4)
    check_labels("targeted_dlr", "targets", logits, targets)
    first, _, third, fourth = _largest(logits, 4)
    return (_logit_of(logits, targets) - _logit_of(logits, labels)) / (first - (third + fourth) / 2 + 1e-12)


def kl(logits: jax.Array, clean_logits: jax.Array) -> jax.Array:
    """``KL(softmax(clean) || softmax(logits))``, the loss of the attacks in TRADES and virtual adversarial training.

    Its gradient is 0 at the clean point, so start at random.

    Args:
      logits: floats of shape (B, classes).
      clean_logits: the logits of the clean examples, of the same shape.

    Returns:
      float32 of shape (B,).

    References:
      Zhang et al., "Theoretically principled trade-off between robustness and accuracy", ICML 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.kl(jnp.array([[0.0, 0.0]]), jnp.array([[0.0, jnp.log(3.0)]])).round(4).tolist()
      [0.13079999387264252]
    """
    logits, clean_logits = pair_of_logits("kl", logits, "clean_logits", clean_logits)
    log_q = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    log_p = jax.nn.log_softmax(clean_logits.astype(jnp.float32), axis=-1)
    p = jnp.exp(log_p)
    return jnp.sum(jnp.where(p > 0, p * (jnp.where(p > 0, log_p, 0) - log_q), 0), axis=-1)


def untargeted(predict: Callable, loss: Callable | None = None) -> Callable:
    """The loss of an untargeted attack on a model: ``loss(predict(x), labels)``.

    Args:
      predict: ``predict(x) -> logits``, or ``predict(key, x)`` for attacks with eot.
      loss: a function of logits and the attack's args, of shape (B,): `cross_entropy`, `log_odds`, `margin`, `dlr`,
        `targeted_dlr` (labels, targets), `kl` (clean logits), or a custom function. None for `cross_entropy`, which
        `apgd`, `pgd` and similar attacks (except `adam_pgd`) then maximize in the form of `log_odds`, as long as they
        need no eot: the same maxima and steepest directions, without gradients that vanish.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> loss = adversarial.untargeted(lambda x: x @ jnp.eye(2), adversarial.margin)
      >>> loss(jnp.array([[3.0, 1.0]]), jnp.array([0])).tolist()
      [-2.0]
    """
    return _composed("untargeted", predict, loss, 1) if loss is not None else _with_log_odds("untargeted", predict, 1)


def targeted(predict: Callable, loss: Callable | None = None) -> Callable:
    """The loss of a targeted attack on a model: ``-loss(predict(x), targets)``. Pass args=(targets,) to the attack.

    Args:
      predict: ``predict(x) -> logits``, or ``predict(key, x)`` for attacks with eot.
      loss: a function of logits and targets: `cross_entropy`, `log_odds`, `margin`, `dlr`. None as in `untargeted`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> loss = adversarial.targeted(lambda x: x @ jnp.eye(2), adversarial.margin)
      >>> loss(jnp.array([[3.0, 1.0]]), jnp.array([1])).tolist()
      [-2.0]
    """
    return _composed("targeted", predict, loss, -1) if loss is not None else _with_log_odds("targeted", predict, -1)


def misclassified(predict: Callable) -> Callable:
    """Whether the prediction differs from the label: `success` for untargeted attacks. NaN logits never succeed.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.misclassified(lambda x: x)(jnp.array([[3.0, 1.0]]), jnp.array([0])).tolist()
      [False]
    """

    def wrong(logits, labels):
        return (_wins("misclassified", "labels", logits, labels) == 0) & _finite(logits)

    return _composed("misclassified", predict, wrong, None)


def classified_as(predict: Callable) -> Callable:
    """Whether the prediction equals the target: `success` for targeted attacks. NaN logits never succeed.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.classified_as(lambda x: x)(jnp.array([[3.0, 1.0]]), jnp.array([0])).tolist()
      [True]
    """

    def reached(logits, targets):
        return (_wins("classified_as", "targets", logits, targets) == 1) & _finite(logits)

    return _composed("classified_as", predict, reached, None)


def normalized(predict: Callable, mean, std) -> Callable:
    """``predict((x - mean) / std)``: turns a model of normalized inputs into a model of pixels, the threat's units.

    Args:
      predict: ``predict(x)``, or ``predict(key, x)``; x is its last argument.
      mean, std: numbers, or one number per channel (the last axis).

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.normalized(lambda x: x, 0.5, 0.25)(jnp.array([[1.0, 0.5]])).tolist()
      [[2.0, 0.0]]
    """

    _checks.function("normalized", "predict", predict, "of x, or of a key and x")
    mean, std = (_checks.operand("normalized", name, value) for name, value in (("mean", mean), ("std", std)))
    single = np.finfo(np.float32)
    if (known := host_value(std)) is not None and not np.all((known >= single.tiny) & (known <= single.max)):
        raise ValueError(f"normalized: std must be above 0 and finite in float32, got {known}.")
    if (known := host_value(mean)) is not None and not np.all(np.abs(known) <= single.max):
        raise ValueError(f"normalized: mean must be finite in float32, got {known}.")

    def call(*inputs):
        *before, x = inputs
        x = jnp.asarray(x)
        mu, sigma = (jnp.asarray(v).astype(x.dtype) for v in (mean, std))
        for name, value in (("mean", mu), ("std", sigma)):
            _checks.broadcastable("normalized", name, value.shape, x.shape)
        mu, sigma = (v.reshape((1,) * (x.ndim - v.ndim) + v.shape) for v in (mu, sigma))
        return predict(*before, (x - mu) / sigma)

    return call


def _composed(function: str, predict: Callable, loss: Callable, sign: int | None) -> Callable:
    _checks.function(function, "predict", predict, "predict(x) -> logits")
    _checks.function(function, "loss", loss, "of logits and the attack's args, of shape (B,)")
    trailing = len(inspect.signature(loss).parameters) - 1
    if trailing < 0:
        raise TypeError(f"{function}: loss must take logits and the attack's args, got a function without parameters.")
    head = function if sign is None else getattr(loss, "__name__", "loss")

    def composed(*inputs):
        if len(inputs) - trailing not in (1, 2):
            raise TypeError(
                f"{getattr(loss, '__name__', 'loss')} takes logits and {trailing} more arguments. Pass that many in "
                f"args; got {len(inputs)} arguments (x, or a key and x, and args)."
            )
        split = len(inputs) - trailing
        logits = as_logits(head, predict(*inputs[:split]))
        value = loss(logits, *inputs[split:])
        if not isinstance(value, jax.Array) or value.shape != logits.shape[:1]:
            raise TypeError(
                f"{function}: loss must return one number for each example, of shape {logits.shape[:1]}, got "
                f"{_checks.shown(value)}."
            )
        return value if sign in (None, 1) else -value

    return composed


def _with_log_odds(function: str, predict: Callable, sign: int) -> Callable:
    """The cross-entropy, with the form that attacks may climb in its place as an attribute."""
    loss: Any = _composed(function, predict, cross_entropy, sign)

    def odds(logits, labels):  # in the name of what the user called, who has not asked for it
        return _log_odds(labelled_logits(function, logits, labels), labels)

    odds.__name__ = function
    loss.climbed = _composed(function, predict, odds, sign)
    return loss


def climbed(loss: Any, eot: Any) -> Any:
    """The loss that an attack climbs whose steps do not depend on the scale of the gradient.

    With eot it is the loss itself: the mean over keys of an increasing function has other maxima.
    """
    plain = isinstance(eot, (int, np.integer)) and eot == 0  # the driver refuses what is no integer
    return getattr(loss, "climbed", loss) if plain else loss


def is_label(logits, labels) -> jax.Array:
    """The one-hot mask of the labels, by comparison: no gather over sharded examples."""
    classes = jax.lax.broadcasted_iota(jnp.int32, (1, logits.shape[1]), 1)
    return jnp.expand_dims(labels, 1).astype(jnp.int32) == classes


def _logit_of(logits, labels) -> jax.Array:
    return jnp.sum(jnp.where(is_label(logits, labels), logits, 0), axis=-1)


def _log_odds(logits, labels) -> jax.Array:
    others = jax.nn.logsumexp(jnp.where(is_label(logits, labels), -jnp.inf, logits), axis=-1)
    return others - _logit_of(logits, labels)


def _others(logits, labels) -> jax.Array:
    return jnp.max(jnp.where(is_label(logits, labels), -jnp.inf, logits), axis=-1)


def _largest(logits, count: int) -> list[jax.Array]:
    """The largest logits in descending order. A few passes are cheaper than a sort, and gather nothing."""
    found, rest = [], logits
    for _ in range(count):
        place = is_label(logits, jnp.argmax(rest, axis=-1))
        found.append(jnp.sum(jnp.where(place, logits, 0), axis=-1))
        rest = jnp.where(place, -jnp.inf, rest)
    return found


def _wins(name: str, what: str, logits, labels) -> jax.Array:
    logits = labelled_logits(name, logits, labels, what=what)
    return (jnp.argmax(logits, axis=-1).astype(jnp.int32) == labels.astype(jnp.int32)).astype(jnp.int32)


def _finite(logits) -> jax.Array:
    return ~jnp.any(jnp.isnan(logits), axis=-1)
