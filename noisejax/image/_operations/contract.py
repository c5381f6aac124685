"""The decorator of the operations: from the mathematics on pictures in float32 to a public function without a key."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Parameters, published_signature
from noisejax.image._pictures import check_shape, check_unit

P = ParamSpec("P")


def operation(
    *,
    ranges: Mapping[str, Callable] | None = None,
    tables: tuple[str, ...] = (),
    channels: tuple[int, ...] = (),
    least: int = 1,
    in_unit: bool = False,
    options: Callable | None = None,
    given: Callable | None = None,
) -> Callable[[Callable[Concatenate[jax.Array, P], jax.Array]], Callable[Concatenate[Any, P], jax.Array]]:
    """Turns ``body(x, *amounts, **options)`` on pictures (..., H, W, C) into a public function.

    The body gets pictures as they are and returns pictures of the same dtype: it does its work in float32, by
    `each_picture` with `convert` or by `converted` and `rounded_to`. Amounts are scalars, or of shape (..., 1, 1, 1).

    Args:
      ranges: the range of each amount, by its name.
      tables: amounts with a shape of their own, such as a matrix.
      channels: the numbers of channels that it is defined for; empty for any.
      least: the smallest height and width.
      in_unit: whether floats must lie in [0, 1], because the definition has whole grey levels or clips.
      options: a function of x, the amounts and the options. It is called at trace time, and raises if they do not fit.
      given: a function of the amounts as they were given, and the options. It raises if those that the host knows do
        not fit each other.
    """

    def decorate(body: Callable) -> Any:
        parameters = Parameters(body, ranges or {}, before=1, tables=tables)
        name = parameters.name

        def compiled(statics, x, amounts):
            x = jnp.asarray(x)
            check_shape(name, x, channels)
            if min(x.shape[-3:-1]) < least and x.size:
                raise ValueError(
                    f"{name}: x must have a height and width of at least {least}, got shape {x.shape}. Enlarge the "
                    "pictures."
                )
            amounts = {
                n: jnp.asarray(v, jnp.float32) if n in tables else _fit(name, n, v, x.ndim) for n, v in amounts.items()
            }
            if options is not None:
                options(x, **amounts, **dict(statics))
            if not x.size:
                return x
            return body(x, **amounts, **dict(statics))

        compiled.__name__ = name
        compiled = jax.jit(compiled, static_argnums=0, inline=True)

        @functools.wraps(body)
        def function(x, *args, **keywords):
            _checks.array(name, x, _checks.images)
            amounts, statics = parameters.split(args, keywords)
            if given is not None:
                given(**amounts, **statics)
            if in_unit and isinstance(x, np.ndarray):
                check_unit(name, x)
            return compiled(tuple(statics.items()), x, amounts)

        return published_signature(function, parameters, jax.Array)

    return decorate


def _fit(function: str, name: str, value: Any, ndim: int) -> jax.Array:
    """An amount as a scalar, or of one number per picture."""
    shape = jnp.shape(value)
    if shape and (len(shape) > ndim or shape[-3:] != (1, 1, 1)):
        raise ValueError(
            f"{function}: {name} must be one number, or one per picture, of shape (B, 1, 1, 1), got {shape}. "
            f"Reshape it: {name}.reshape(-1, 1, 1, 1)."
        )
    value = jnp.asarray(value, jnp.float32)
    return value.reshape(()) if value.size == 1 else value
