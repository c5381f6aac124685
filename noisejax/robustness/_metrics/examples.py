"""Scores of single examples: outputs of a model compared with targets, in jax.numpy or NumPy."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def _of(outputs: Any) -> Any:
    return np if isinstance(outputs, np.ndarray) else jnp


def _is_float(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.floating)


def classes(outputs: Any, n: int, metric: str = "accuracy") -> Any:
    """Predicted class numbers (..., n) from logits, probabilities or class numbers."""
    if not hasattr(outputs, "dtype"):
        raise TypeError(f"sweep: for {metric}, predict must return one array, got a {type(outputs).__name__}.")
    if not _is_float(outputs):
        found = outputs
    elif outputs.ndim >= 2 and outputs.shape[-2] == n and outputs.shape[-1] >= 2:
        found = outputs.argmax(-1)
    else:
        raise ValueError(
            f"sweep: for {metric}, predict must return logits or probabilities of shape (..., {n}, classes), or class "
            f"numbers of shape (..., {n}), got {outputs.dtype}{list(outputs.shape)}. For one logit per example, return "
            "logit > 0. For regression, choose metrics='squared_error', 'r2' or a function of (outputs, y)."
        )
    if found.shape[-1:] != (n,):
        raise ValueError(
            f"sweep: predicted classes of shape {tuple(found.shape)} do not match labels of shape ({n},). "
            f"Both need one class for each of {n} examples."
        )
    return found


def labels(outputs: Any, y: Any, metric: str = "accuracy") -> Any:
    """Class numbers (n,) from class numbers or rows of probabilities."""
    n = y.shape[0]
    if _is_float(y):
        if y.ndim != 2:
            raise ValueError(
                f"sweep: for {metric}, y must be class numbers or rows of probabilities, got {y.dtype}{list(y.shape)}. "
                "Convert whole numbers: y.astype(int). For regression, choose metrics='squared_error', 'r2' or a "
                "function of (outputs, y)."
            )
        if classes_of(outputs) not in (None, y.shape[1]):
            raise ValueError(
                f"sweep: rows of y must have one entry for each of the {classes_of(outputs)} classes of predict, got "
                f"{y.dtype}{list(y.shape)}."
            )
        return y.argmax(-1)
    if y.shape != (n,):
        raise ValueError(f"sweep: y must have one class for each of {n} examples, got shape {tuple(y.shape)}.")
    return y


def classes_of(outputs: Any) -> int | None:
    """The number of classes of the model; None for class numbers, which do not tell."""
    if _is_float(outputs):
        return outputs.shape[-1] if outputs.ndim >= 2 else None
    return 2 if outputs.dtype == jnp.bool_ else None


def impossible(outputs: Any, y: Any) -> Any:
    """Which labels are not classes of the model, and would count as errors: (n,)."""
    xp, known = _of(outputs), classes_of(outputs)
    if _is_float(y):
        return xp.isnan(y).any(-1)
    if y.dtype == jnp.bool_:
        return xp.zeros(y.shape, bool)
    unsigned = jnp.issubdtype(outputs.dtype, jnp.unsignedinteger)
    negative = y < 0 if known is not None or unsigned else xp.zeros(y.shape, bool)
    return negative if known is None else negative | (y >= known)


def _lifted(y: Any, like: Any) -> Any:
    """y with as many axes as the outputs of several models have."""
    return y.reshape((1,) * (like.ndim - y.ndim) + y.shape)


def accuracy(outputs, y):
    found = classes(outputs, y.shape[0])
    return found.astype(int) == _lifted(labels(outputs, y).astype(int), found)


def _rows(outputs: Any, y: Any, metric: str) -> tuple[Any, Any]:
    """Probabilities (..., n, classes), and targets as rows of probabilities (n, classes)."""
    xp, n = _of(outputs), y.shape[0]
    if not (hasattr(outputs, "ndim") and outputs.ndim >= 2 and outputs.shape[-2] == n and _is_float(outputs)):
        got = f"{outputs.dtype}{list(outputs.shape)}" if hasattr(outputs, "dtype") else type(outputs).__name__
        raise ValueError(
            f"sweep: for {metric}, predict must return logits or probabilities of shape (..., {n}, classes), got {got}."
        )
    if _is_float(y) and y.ndim == 2:
        return outputs, _lifted(y, outputs)
    known = labels(outputs, y, metric)[:, None] == xp.arange(outputs.shape[-1])[None]
    return outputs, _lifted(known.astype(outputs.dtype), outputs)


def log_loss(outputs, y):
    """Minus the log probability of the true class, which is bounded below at 1e-7."""
    p, rows = _rows(outputs, y, "log_loss")
    xp = _of(outputs)
    return -(rows * xp.log(xp.clip(p, 1e-7, 1))).sum(-1)


def brier(outputs, y):
    """The squared distance of the probabilities to the true class (Brier 1950)."""
    p, rows = _rows(outputs, y, "brier")
    return ((p - rows) ** 2).sum(-1)


def numbers(outputs: Any, y: Any, metric: str) -> Any:
    """Outputs of a regression (..., n); a last axis of one is removed."""
    n = y.shape[0]
    if hasattr(outputs, "ndim") and outputs.ndim >= 2 and outputs.shape[-1] == 1 and outputs.shape[-2] == n:
        outputs = outputs[..., 0]
    if y.shape != (n,) or not hasattr(outputs, "shape") or outputs.shape[-1:] != (n,):
        got = tuple(outputs.shape) if hasattr(outputs, "shape") else type(outputs).__name__
        raise ValueError(
            f"sweep: for {metric}, predict must return one number per example, of shape (..., {n}), and y be of shape "
            f"({n},), got {got} and {tuple(y.shape)}."
        )
    return outputs


def squared_error(outputs, y):
    found = numbers(outputs, y, "squared_error")
    return (found - _lifted(y, found)) ** 2


def absolute_error(outputs, y):
    found = numbers(outputs, y, "absolute_error")
    return abs(found - _lifted(y, found))


def ndcg(outputs, y):
    """The normalized discounted cumulative gain of each query: outputs (..., B, K) and relevances y (B, K).

    The gain is the relevance itself (Järvelin and Kekäläinen 2002). A query without a relevant item scores 1.
    """
    if getattr(outputs, "ndim", 0) < 2 or y.ndim != 2 or outputs.shape[-2:] != y.shape:
        raise ValueError(
            "sweep: for ndcg, predict must return scores of shape (..., B, K) and y be relevances (B, K), got "
            f"{getattr(outputs, 'shape', type(outputs).__name__)} and {tuple(y.shape)}."
        )
    xp = _of(outputs)
    y = _lifted(y, outputs)
    discount = _lifted(1 / xp.log2(xp.arange(2, y.shape[-1] + 2)), outputs)
    order = xp.argsort(-outputs, axis=-1)
    gains = xp.take_along_axis(xp.broadcast_to(y, outputs.shape), order, axis=-1)
    ideal = (-xp.sort(-y, axis=-1) * discount).sum(-1)
    found = (gains * discount).sum(-1)
    ideal = xp.broadcast_to(ideal, found.shape)
    return xp.where(ideal > 0, found / xp.where(ideal > 0, ideal, 1), 1.0)
