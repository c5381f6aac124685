"""Which predictions are right: outputs of a model compared with labels, or with rows of probabilities."""

import jax
import jax.numpy as jnp


def accuracy(outputs, y):
    n = y.shape[0]
    if not hasattr(outputs, "dtype"):
        raise TypeError(f"sweep: for accuracy, predict must return one array, got a {type(outputs).__name__}.")
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        classes = outputs
    elif outputs.ndim >= 2 and outputs.shape[-2] == n and outputs.shape[-1] >= 2:
        classes = outputs.argmax(-1)
    else:
        raise ValueError(
            f"sweep: for accuracy, predict must return logits or probabilities of shape (..., {n}, classes), or class "
            f"numbers of shape (..., {n}), got {outputs.dtype}{list(outputs.shape)}. For one logit per example, return "
            "logit > 0. For regression, pass a function of (outputs, y) as metric=."
        )
    if jnp.issubdtype(y.dtype, jnp.floating):
        if y.ndim != 2:
            raise ValueError(
                f"sweep: for accuracy, y must be class numbers or rows of probabilities, got {y.dtype}{list(y.shape)}. "
                "For regression, pass a function of (outputs, y) as metric=."
            )
        if classes_of(outputs) not in (None, y.shape[1]):
            raise ValueError(
                f"sweep: rows of y must have one entry for each of the {classes_of(outputs)} classes of predict, got "
                f"{y.dtype}{list(y.shape)}."
            )
        y = y.argmax(-1)
    if y.shape != (n,) or classes.shape[-1:] != (n,):
        raise ValueError(
            f"sweep: predicted classes of shape {classes.shape} do not match labels of shape {y.shape}. "
            f"Both need one class for each of {n} examples."
        )
    y = y.astype(jnp.int32).reshape((1,) * (classes.ndim - 1) + (n,))
    return classes.astype(jnp.int32) == y


def classes_of(outputs) -> int | None:
    """The number of classes of the model; None for class numbers, which do not tell."""
    if jnp.issubdtype(outputs.dtype, jnp.floating):
        return outputs.shape[-1]
    return 2 if outputs.dtype == jnp.bool_ else None


def are_impossible(y, classes: int | None, dtype) -> jax.Array:
    """Whether some labels are not classes of the model, which would count as errors."""
    if jnp.issubdtype(y.dtype, jnp.floating):
        return jnp.isnan(y).any()
    if y.dtype == jnp.bool_:
        return jnp.zeros((), bool)
    negative = y < 0 if classes is not None or jnp.issubdtype(dtype, jnp.unsignedinteger) else jnp.zeros((), bool)
    return jnp.any(negative) if classes is None else jnp.any(negative | (y >= classes))
