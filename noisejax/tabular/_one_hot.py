"""The input of a model from a table of numbers and codes, inside jit and after the faults."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax.tabular._columns import Columns, match
from noisejax.tabular._schema import Schema


def one_hot(x: jax.Array, schema: Schema, columns: Columns | None = None, *, indicators: bool = False) -> jax.Array:
    """The features of a model from a table of numbers and codes: a category of K classes becomes K features.

    Apply faults to the codes and call this afterwards, inside jit. So a wrong category is one wrong code, and no option
    `groups` is needed. A code that is missing, or is none of the classes, becomes K zeros.

    Args:
      x: numbers and codes of shape (..., C).
      schema: the schema of the C columns. Static.
      columns: the fitted distribution, from `fit`. Numbers are then standardized, and missing ones become 0, the mean.
        None leaves numbers unchanged and missing ones NaN.
      indicators: whether one more feature per column, at the end, says that the value is missing. Static.

    Returns:
      Features of shape (..., F), in x's dtype (float32 for integers), in the order of the columns. ``schema.groups``
      names the column of each.

    Raises:
      ValueError: x has a different number of columns.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> schema = nj.tabular.Schema({"age": "integer", "job": ("clerk", "nurse", "cook")})
      >>> nj.tabular.one_hot(jnp.array([[30.0, 1.0], [40.0, jnp.nan]]), schema).tolist()
      [[30.0, 0.0, 1.0, 0.0], [40.0, 0.0, 0.0, 0.0]]
    """
    if not isinstance(schema, Schema):
        raise TypeError(f"one_hot: schema must be a Schema, got {schema!r}.")
    _checks.array("one_hot", x, ("floats", "integers", "uint8 or uint16 images", "booleans"))
    if x.ndim == 0 or x.shape[-1] != len(schema):
        raise ValueError(f"one_hot: the schema has {len(schema)} columns, and x has shape {x.shape}.")
    if columns is not None:
        match("one_hot", columns, x)
    values = jnp.asarray(x)
    values = values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(jnp.float32)
    features = []
    for place, column in enumerate(schema):
        value = values[..., place : place + 1]
        if column.num_classes:
            # A comparison with the codes, and not jax.nn.one_hot, whose cast to an integer is undefined for NaN.
            codes = np.arange(column.num_classes).reshape((1,) * (value.ndim - 1) + (-1,))
            features.append((value == jnp.asarray(codes, values.dtype)).astype(values.dtype))
        elif columns is None:
            features.append(value)
        else:
            mean, std = (jnp.asarray(v[..., place], values.dtype) for v in (columns.mean, columns.std))
            scaled = (value - mean) / jnp.where(std > 0, std, 1)
            features.append(jnp.where(jnp.isnan(scaled), 0, scaled))
    if indicators:
        features.append(jnp.isnan(values).astype(values.dtype))
    return jnp.concatenate(features, axis=-1)
