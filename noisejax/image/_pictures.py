"""What all functions of pictures share: the checks of their shape and unit, and work on one picture after the other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._checks import Amount
from noisejax._contract import saturate
from noisejax._random.stream import along


def check_shape(name: str, x, channels: tuple[int, ...] = ()) -> None:
    """Requires pictures (..., H, W, C), where C is one of `channels` if any are named."""
    if x.ndim < 3:
        raise ValueError(
            f"{name}: x must be pictures (..., H, W, C), got shape {x.shape}. Add the axis of channels: x[..., None]."
        )
    if not channels or x.shape[-1] in channels:
        return
    hint = "Add or repeat the channel axis."
    if x.shape[-3] in channels:
        hint = "Move the channels last: jnp.moveaxis(x, -3, -1)."
    elif x.shape[-1] == 4:
        hint = "Split off an alpha channel first."
    wanted = " or ".join(map(str, channels))
    raise ValueError(f"{name}: x must be pictures (..., H, W, C) with C = {wanted}, got shape {x.shape}. {hint}")


def check_unit(name: str, x: np.ndarray, where: np.ndarray | jax.Array | None = None) -> None:
    """Refuses floats that are grey levels. Values near [0, 1] pass, as noise may have moved them."""
    if x.dtype.kind in "ui" or not x.size or isinstance(where, jax.Array):
        return
    values = np.asarray(x, np.float32)
    seen = np.isfinite(values) if where is None else np.isfinite(values) & where
    largest = np.max(np.abs(values), where=seen, initial=0)
    if largest > 2:
        raise ValueError(
            f"{name}: x of {x.dtype} must lie in [0, 1], got {largest:g}. Divide grey levels by 255, or pass uint8."
        )


def unit(dtype) -> int:
    """The value of white."""
    return int(jnp.iinfo(dtype).max) if jnp.issubdtype(dtype, jnp.integer) else 1


def converted(x: jax.Array) -> jax.Array:
    """Pictures in float32, those of uint8 and uint16 as parts of white."""
    values = x.astype(jnp.float32)
    return values if unit(x.dtype) == 1 else values * np.float32(1 / unit(x.dtype))


def rounded_to(dtype, values: jax.Array) -> jax.Array:
    """The one rounding of a result to the dtype of the pictures."""
    white = unit(dtype)
    return saturate(values if white == 1 else values * np.float32(white), dtype)


def per_picture(name: str, argument: str, value: Any) -> jax.Array:
    """An amount in float32: a scalar, or one for each example, of shape (B, 1, 1, 1)."""
    value = jnp.asarray(value, jnp.float32)
    if value.ndim and value.shape[-3:] != (1, 1, 1):
        raise ValueError(
            f"{name}: {argument} must be one number, or one per example, of shape (B, 1, 1, 1), got {value.shape}. "
            f"Reshape it: {argument}.reshape(-1, 1, 1, 1)."
        )
    return value


def each_picture(
    function: Callable,
    x: jax.Array,
    amounts: tuple[Amount, ...] = (),
    draws: tuple[jax.Array, ...] = (),
    shared: tuple[jax.Array, ...] = (),
    *,
    convert: bool = False,
) -> jax.Array:
    """``function(picture, *amounts, *draws, *shared)`` for every picture of (..., H, W, C).

    With `convert` the function is one of pictures in float32: each is converted before, and its result is rounded to
    the dtype of x. As this is part of the work on one picture, no batch of floats is written for bytes.

    Amounts are scalars, or have shape (..., 1, 1, 1); the function gets scalars. Draws have the leading axes of the
    pictures. On a CPU the pictures are worked on one after the other, so that one picture stays in the cache, and an
    amount that is traced picks one branch for each. Elsewhere, and where the batch may be sharded over a mesh, they are
    worked on at once.
    """

    def work(image, *rest):
        return rounded_to(image.dtype, function(converted(image), *rest)) if convert else function(image, *rest)

    lead, numbers = x.shape[:-3], tuple(jnp.asarray(amount, jnp.float32) for amount in amounts)
    if not lead:
        return work(x, *(number.reshape(()) for number in numbers), *draws, *shared)
    own = tuple(number.ndim > 0 for number in numbers)
    mapped = [x, *(jnp.broadcast_to(a, (*lead, 1, 1, 1)) for a, mine in zip(numbers, own, strict=True) if mine), *draws]
    if len(lead) > 1:
        mapped = [v.reshape(-1, *v.shape[len(lead) :]) for v in mapped]
    constant = ([number for number, mine in zip(numbers, own, strict=True) if not mine], shared)

    def one(mapped, constant):
        (image, *rest), (scalars, shared) = mapped, constant
        scalars, rest = iter(scalars), iter(rest)
        here = [next(rest).reshape(()) if mine else next(scalars) for mine in own]
        return work(image, *here, *rest, *shared)

    def one_by_one(mapped, constant):
        return lax.map(lambda mapped: one(mapped, constant), mapped)

    at_once: Any = jax.vmap(one, (0, None))
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        found = lax.platform_dependent(mapped, constant, cpu=one_by_one, default=at_once)
    elif mesh.explicit_axes:  # gathers have no rule for explicit axes
        laid_out: Any = jax.sharding.auto_axes(at_once, out_sharding=jax.typeof(mapped[0]).sharding)
        found = laid_out(mapped, constant)
    else:
        found = at_once(mapped, constant)
    return found.reshape(*lead, *found.shape[1:])


def of_examples(x: jax.Array, *shape: int) -> dict[str, Any]:
    """Arguments of `words` for a draw of its own shape for every picture, sharded as the batch is."""
    like = along(x, range(x.ndim - 3))
    return {**like, "shape": (*like["shape"][:-3], *(shape or (1, 1, 1)))}
