"""What the noises that move pictures share: their checks, one draw for each picture, and the resampling."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Moved
from noisejax._random import sample
from noisejax._random.stream import words
from noisejax.image._corruptions.severity import mean_of, of_examples
from noisejax.image._geometry.places import Places, displacements
from noisejax.image._geometry.resampling import FILLS, ORDERS, resampled
from noisejax.image._pictures import per_picture

KINDS = ("uniform", "sign", "exact")
ALONG = ("both", "height", "width")
FINITE = _checks.Range("finite", lambda v: abs(v) < np.inf, "0 is the identity.")


def settings(name: str, more: Callable | None = None, **ranges: Any) -> dict[str, Any]:
    """Arguments of `array_noise` for a noise that moves pictures."""

    def options(x, **given) -> None:
        check_picture(name, x)
        allowed = {"kind": KINDS, "along": ALONG, "order": ORDERS, "fill": FILLS}
        for option in given.keys() & allowed.keys():
            _checks.one_of(name, option, given[option], allowed[option])
        if "order" in given:
            check_order(name, x, given["order"])
        if more is not None:
            more(**given)

    shared = {"moved": "image.moved", "moves": True, "like_x": ("value",), "widen": False}
    return {"options": options, "ranges": {**ranges, "value": _checks.real}, **shared}


def check_picture(name: str, x: Any) -> None:
    """Requires pictures with channels. Three axes are a mask without channels more often than one of many."""
    if x.ndim < 3 or (x.ndim == 3 and x.shape[-1] > 4):
        hint = (
            "Add a channel axis to pictures or masks without one, x[..., None], or an axis of examples to a single "
            "picture of many channels, x[None]."
            if x.ndim
            else ""
        )
        raise ValueError(f"{name}: x must be pictures (..., H, W, C), got shape {x.shape}. {hint}")
    if x.ndim > 3 and x.shape[-1] > 4 >= x.shape[-3] >= 1 and x.shape[-3] in (1, 3):
        raise ValueError(
            f"{name}: x must be pictures (..., H, W, C), got shape {x.shape}, which has its channels first. Move them "
            "last: jnp.moveaxis(x, -3, -1)."
        )


def check_order(name: str, x: Any, order: int) -> None:
    """Requires that values between those of x have a meaning, if they are calculated."""
    smooth = jnp.issubdtype(x.dtype, jnp.floating) or x.dtype in (jnp.uint8, jnp.uint16)
    if order and not smooth:
        raise TypeError(
            f"{name}: x of {x.dtype} holds labels, between which there is nothing to interpolate. Give order=0."
        )


def flat_amount(name: str, argument: str, value: Any) -> jax.Array:
    """An amount in float32 without the axes of pictures: a scalar, or one for each example."""
    value = per_picture(name, argument, value)
    return value.reshape(value.shape[:-3])


def share(key: Any, tag: str, x: jax.Array, kind: str) -> jax.Array:
    """The part of the amount that each picture gets: uniform in [-1, 1], -1 or 1, or always 1."""
    if kind == "exact":
        return jnp.float32(1)
    w = words(key, f"image.{tag}", **of_examples(x))
    if kind == "uniform":
        drawn = sample.symmetric_uniform(w)
    else:
        drawn = jnp.where(sample.bernoulli(w, 0.5), 1, -1).astype(jnp.float32)
    return drawn.reshape(drawn.shape[:-3])


def both_axes(key: Any, tag: str, x: jax.Array, amount: jax.Array, kind: str, along: str) -> tuple[Any, Any]:
    """Draws of an amount along the width and along the height. The axis that is left out has 0."""
    drawn = [amount * share(key, f"{tag}.{axis}", x, kind) for axis in ("width", "height") if along in ("both", axis)]
    zero = jnp.float32(0)
    return {"both": tuple(drawn), "width": (drawn[0], zero), "height": (zero, drawn[0])}[along]


def moved_by(places: Places, x: jax.Array, value: Any, where: Any, order: int, fill: str) -> Moved:
    """Pictures read at places, as the result of a noise. Padding that is read has the mean of the data, or `value`."""
    if x.size == 0:
        return Moved(x, Places(jnp.broadcast_to(jnp.eye(3, dtype=jnp.float32), (*x.shape[:-3], 3, 3))))
    alone = places.matrix.ndim - 2
    lead = (1,) * (x.ndim - 3 - alone)
    matrix = jnp.broadcast_to(places.matrix.reshape(*lead, *places.matrix.shape), (*x.shape[:-3], 3, 3))
    places, size = Places(matrix, places.field), (x.shape[-3], x.shape[-2])
    if where is not None:
        shown = jnp.asarray(value, x.dtype)
        if order and fill != "constant":
            shown = mean_of(jnp.where(where, x.astype(jnp.float32), 0), where).astype(x.dtype)
        x = jnp.where(where, x, shown)
    return Moved(resampled(x, *displacements(places, size), order, fill, value), places)
