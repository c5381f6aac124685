"""What the policies share: their checks, the pictures of which a share is augmented, and draws for each picture."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._contract import saturate
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import mean_of
from noisejax.image._pictures import check_shape, check_unit, each_picture, of_examples, per_picture, unit


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
    white = np.float32(unit(x.dtype))
    values = x.astype(jnp.float32) * (1 / white)
    if where is not None:
        where = jnp.asarray(where)
        values = jnp.where(where, values, mean_of(values, where))
    found = each_picture(function, values, tuple(per_picture(name, "amounts", a) for a in amounts), draws)
    return jnp.where(hit, saturate(jnp.clip(found, 0, 1) * white, x.dtype), x)
