"""What the policies share: their checks, the pictures of which a share is augmented, and draws for each picture."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import mean_of
from noisejax.image._pictures import (
    check_shape,
    check_unit,
    converted,
    each_picture,
    of_examples,
    per_picture,
    rounded_to,
)


def settings(name: str, more: Callable | None = None, **ranges: Callable) -> dict[str, Any]:
    """Arguments of `array_noise`: the checks, all at trace time or of NumPy pictures."""

    def options(x, **given) -> None:
        check_shape(name, x, (1, 3))
        if "order" in given:
            _checks.one_of(name, "order", given["order"], (0, 1, 3))
        if more is not None:
            more(**given)

    def host(x, where, **_) -> None:
        check_unit(name, x, where)

    return {"options": options, "host": host, "ranges": {**ranges, "rate": _checks.rate}, "widen": False}


def uniform(key: jax.Array, tag: str, x: jax.Array, *shape: int) -> jax.Array:
    """Draws from U[0, 1) for each picture."""
    return sample.uniform(words(key, tag, **of_examples(x, *shape)))


def augmented(
    key: jax.Array,
    name: str,
    x: jax.Array,
    rate: Amount,
    where: Mask,
    function: Callable,
    amounts: tuple[Amount, ...],
    *draws: jax.Array,
) -> jax.Array:
    """``function(picture, *amounts, *draws)`` for the pictures that are hit, the others to the bit."""
    if x.size == 0:
        return x
    rate = per_picture(name, "rate", rate)
    hit = sample.bernoulli(words(key, f"image.{name}", **of_examples(x)), rate)
    each = tuple(per_picture(name, "amounts", a) for a in amounts)

    def clipped(image, *rest):
        return jnp.clip(function(image, *rest), 0, 1)

    if where is None:
        found = each_picture(clipped, x, each, draws, convert=True)
    else:
        where, values = jnp.asarray(where), converted(x)
        values = jnp.where(where, values, mean_of(values, where))
        found = rounded_to(x.dtype, each_picture(clipped, values, each, draws))
    return jnp.where(hit, found, x)
