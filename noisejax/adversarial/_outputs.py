"""What models and losses return, and the labels that belong to it: checks in the name of the public function."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks


def as_logits(name: str, output: Any) -> Any:
    """The output of a model, if it is one array."""
    if not hasattr(output, "dtype"):
        hint = ' If it is a dict, lambda x: predict(x)["logits"].' if isinstance(output, dict) else ""
        raise TypeError(
            f"{name}: the model must return logits alone, got a {type(output).__name__}. Select them: "
            f"lambda x: predict(x)[0].{hint}"
        )
    return _checks.operand(name, "logits", output)


def pair_of_logits(name: str, logits, other_name: str, other) -> tuple:
    """Two arrays of logits of one shape (B, classes)."""
    pair = as_logits(name, logits), _checks.operand(name, other_name, other)
    if pair[0].ndim != 2 or pair[0].shape != pair[1].shape:
        raise ValueError(
            f"{name}: logits and {other_name} must have one shape (B, classes), got {pair[0].shape} and "
            f"{pair[1].shape}."
        )
    return pair


def labelled_logits(name: str, logits, labels, classes: int = 2, what: str = "labels") -> jax.Array:
    """Logits as float32, after checking their shape and the labels that belong to them."""
    logits = rows_of_logits(name, logits, classes)
    check_labels(name, what, logits, labels)
    return logits.astype(jnp.float32)


def rows_of_logits(name: str, output: Any, classes: int = 1) -> Any:
    """The output of a model, if it is one array of shape (B, classes) with at least so many classes."""
    logits = as_logits(name, output)
    if logits.ndim != 2 or logits.shape[1] < classes:
        hint = " With fewer classes, use cross_entropy or margin." if classes > 2 else ""
        raise ValueError(
            f"{name}: logits must have shape (B, classes) with at least {classes} classes, got {logits.shape}.{hint}"
        )
    return logits


def check_values(name: str, values: Any, x: Any) -> None:
    """Requires the loss of each example, of shape (B,)."""
    if getattr(values, "shape", None) != x.shape[:1]:
        got = f"shape {values.shape}" if hasattr(values, "shape") else f"a {type(values).__name__}"
        raise ValueError(
            f"{name}: the loss must give one number for each example of x, of shape {x.shape[:1]}, got {got}. Do not "
            "average over examples, and reduce all other axes. untargeted(predict) turns a model into such a loss."
        )


def check_labels(name: str, what: str, logits, labels) -> None:
    _checks.native(name, what, labels)
    if not isinstance(labels, (jax.Array, np.ndarray)):
        raise TypeError(
            f"{name}: {what} must be an array of integers, one for each example, got {_checks.shown(labels)}. Convert "
            f"a list: np.asarray({what})."
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.shape != logits.shape[:1]:
        got = f"{labels.dtype}{list(labels.shape)}"
        hint = " For one-hot labels, use labels.argmax(-1)." if labels.ndim == 2 else ""
        raise TypeError(
            f"{name}: {what} must be integers of shape {logits.shape[:1]}, one for each row of logits, got {got}.{hint}"
        )
    if isinstance(labels, np.ndarray) and labels.size and (labels.min() < 0 or labels.max() >= logits.shape[1]):
        raise ValueError(f"{name}: {what} must lie in [0, {logits.shape[1]}), got {labels.min()} to {labels.max()}.")
