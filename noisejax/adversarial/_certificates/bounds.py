"""Interval bounds of small networks, which no attack within a box can exceed."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax.adversarial._health import host_value


def interval_bounds(
    layers: Sequence[tuple[jax.Array, jax.Array]],
    lower: jax.Array,
    upper: jax.Array,
    *,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
) -> tuple[jax.Array, jax.Array]:
    """Bounds of the logits of a multilayer perceptron for all inputs between `lower` and `upper`.

    Each affine layer maps a box with centre c and half width r into a box with centre ``W'c + b`` and half width
    ``|W|'r``. The monotone activation maps its corners. Half widths are rounded outwards, by a multiple of the rounding
    error of the matrix products in float32, so that the bounds also hold for a network that is evaluated in float32
    (but not in tensor-float32 or bfloat16).

    The bounds are differentiable, as certified training requires. They loosen quickly with depth unless the network was
    trained with them.

    Args:
      layers: (kernel, bias) of each layer, of shapes (inputs, outputs) and (outputs,), float32:
        ``[(layer.kernel[...], layer.bias[...]) for layer in model.layers]``.
      lower, upper: the box of each example, (B, inputs): ``jnp.clip(x - eps, 0, 1)``, ``jnp.clip(x + eps, 0, 1)``.
      activation: an elementwise function that never decreases, applied between layers. Static.

    Returns:
      (lower, upper) bounds of the logits, (B, classes).

    References:
      Gowal et al., "Scalable verified training for provably robust image classification", ICCV 2019 (interval bound
      propagation); Higham, "Accuracy and stability of numerical algorithms", section 3.1 (the rounding).

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> layers = [(jnp.array([[1.0], [-2.0]]), jnp.array([0.5]))]
      >>> low, high = adversarial.interval_bounds(layers, jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 1.0]]))
      >>> round(float(low[0, 0]), 3), round(float(high[0, 0]), 3)
      (-1.5, 1.5)
    """
    layers, lower, upper = _checked("interval_bounds", layers, lower, upper, activation)
    lower, upper = _hidden(layers[:-1], lower, upper, activation)
    kernel, bias = layers[-1]
    return _affine(kernel, bias, lower, upper)


def margin_bounds(
    layers: Sequence[tuple[jax.Array, jax.Array]],
    lower: jax.Array,
    upper: jax.Array,
    labels: jax.Array,
    *,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
) -> jax.Array:
    """A lower bound, over the whole box, of the label's logit minus the largest other logit.

    Where it is above 0, no input in the box is misclassified. It bounds differences of the last layer's columns, which
    is tighter than `interval_bounds` of the logits.

    Args:
      layers, lower, upper, activation: as in `interval_bounds`.
      labels: integers of shape (B,).

    Returns:
      float32 bounds of shape (B,).

    References:
      Gowal et al., ICCV 2019, section 3.2 ("elision of the last layer").

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> layers = [(jnp.array([[1.0, -1.0]]), jnp.zeros(2))]  # class 0 where x > 0
      >>> x, labels = jnp.array([[0.5], [0.1]]), jnp.array([0, 0])
      >>> (adversarial.margin_bounds(layers, x - 0.2, x + 0.2, labels) > 0).tolist()
      [True, False]
    """
    layers, lower, upper = _checked("margin_bounds", layers, lower, upper, activation)
    empty = jnp.any(~(lower <= upper), axis=-1)
    lower, upper = _hidden(layers[:-1], lower, upper, activation)
    kernel, bias = layers[-1]
    _check_labels("margin_bounds", labels, lower.shape[0], bias.shape[0])
    labels = jnp.asarray(labels).astype(jnp.int32)
    wrong = empty | (labels < 0) | (labels >= bias.shape[0])

    def one(lower, upper, label):
        margins, _ = _affine(kernel[:, label, None] - kernel, bias[label] - bias, lower[None], upper[None])
        others = jnp.arange(bias.shape[0]) != label
        return jnp.min(margins[0], initial=jnp.inf, where=others)

    # Inside jit no error can be raised about an empty box or a label that does not exist; neither certifies anything.
    return jnp.where(wrong, -jnp.inf, jax.vmap(one)(lower, upper, labels))


def worst_case_logits(lower: jax.Array, upper: jax.Array, labels: jax.Array) -> jax.Array:
    """The logits for a loss of certified training: the lower bound for the label, upper bounds for all other classes.

    Args:
      lower, upper: bounds of logits, (B, C), from `interval_bounds`.
      labels: integers of shape (B,).

    Returns:
      Logits of shape (B, C). Their cross-entropy is at least that of every input in the box.

    References:
      Gowal et al., ICCV 2019, equation 10.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.worst_case_logits(jnp.array([[0.0, 1.0]]), jnp.array([[2.0, 3.0]]), jnp.array([1])).tolist()
      [[2.0, 1.0]]
    """
    lower, upper = _box("worst_case_logits", "(B, classes)", lower, upper)
    _check_labels("worst_case_logits", labels, *lower.shape)
    own = jnp.asarray(labels).astype(jnp.int32)[:, None] == jnp.arange(lower.shape[-1])[None]
    return jnp.where(own, lower, upper)


def _checked(function: str, layers, lower, upper, activation) -> tuple:
    """The weights of the layers, which fit each other, and the corners, which fit the first of them."""
    lower, upper = _box(function, "(B, inputs)", lower, upper)
    _checks.function(function, "activation", activation, "of an array that never decreases")
    pairs = isinstance(layers, (list, tuple)) and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in layers)
    if not pairs or not layers:
        raise TypeError(
            f"{function}: layers must be a list of pairs (kernel, bias), one for each layer, got "
            f"{_checks.shown(layers)}."
        )
    inputs, weights = lower.shape[1], []
    for n, layer in enumerate(layers):
        kernel, bias = (
            _checks.operand(function, f"layers[{n}][{m}]", weight, integers=False) for m, weight in enumerate(layer)
        )
        if kernel.ndim != 2 or kernel.shape[0] != inputs or bias.shape != kernel.shape[1:]:
            raise ValueError(
                f"{function}: layers[{n}] must be (kernel, bias) of shapes ({inputs}, outputs) and (outputs,), got "
                f"{kernel.shape} and {bias.shape}."
            )
        weights.append((jnp.asarray(kernel), jnp.asarray(bias)))
        inputs = kernel.shape[1]
    return weights, lower, upper


def _hidden(layers, lower, upper, activation):
    for kernel, bias in layers:
        lower, upper = (activation(bound) for bound in _affine(kernel, bias, lower, upper))
    return lower, upper


def _box(function: str, shape: str, lower, upper) -> tuple[jax.Array, jax.Array]:
    """The corners as arrays. Exchanged ones describe an empty box, for which everything would be certified."""
    corners = [_checks.operand(function, n, v, integers=False) for n, v in (("lower", lower), ("upper", upper))]
    if corners[0].shape != corners[1].shape or corners[0].ndim != 2:
        raise ValueError(
            f"{function}: lower and upper must be the corners of the boxes, of shape {shape}, got shapes "
            f"{corners[0].shape} and {corners[1].shape}. Flatten images first."
        )
    low, high = (host_value(corner) for corner in corners)
    if low is not None and high is not None and not np.all(low <= high):
        raise ValueError(
            f"{function}: lower must be at most upper everywhere, got {np.sum(~(low <= high))} elements where it is "
            "not, or where one of them is NaN. Are the two exchanged?"
        )
    low, high = (jnp.asarray(corner) for corner in corners)
    wide = jnp.promote_types(jnp.float32, jnp.float64 if jnp.float64 in (low.dtype, high.dtype) else jnp.float32)
    return low.astype(wide), high.astype(wide)


def _check_labels(function: str, labels, examples: int, classes: int) -> None:
    labels = _checks.operand(function, "labels", labels)
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer) or np.shape(labels) != (examples,):
        got = f"{jnp.result_type(labels)}{list(np.shape(labels))}"
        raise TypeError(f"{function}: labels must be integers of shape ({examples},), got {got}.")
    known = host_value(labels)
    if known is not None and known.size and (known.min() < 0 or known.max() >= classes):
        raise ValueError(
            f"{function}: labels must lie in [0, {classes}), got {known.min()} to {known.max()}. Leave examples "
            "without a label out."
        )


def _affine(kernel, bias, lower, upper):
    """The image of a box, rounded outwards by twice gamma_n = n u / (1 - n u): for our products and for the model's.

    The slack is included in the half width of the inputs, so it costs no additional matrix product.
    """
    slack = 4 * (kernel.shape[0] + 4) * jnp.finfo(jnp.float32).eps / 2
    centre, half = lower / 2 + upper / 2, upper / 2 - lower / 2
    half = half + slack * (jnp.abs(centre) + half)
    middle = jnp.matmul(centre, kernel, precision="highest") + bias[None]
    reach = jnp.matmul(half, jnp.abs(kernel), precision="highest") + slack * (jnp.abs(bias)[None] + jnp.abs(middle))
    return middle - reach, middle + reach
