"""Several noises that move pictures, as one resampling."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks, _noise
from noisejax._contract import Amount, saturate
from noisejax._noise import Combinator, Noise, Run, combinator
from noisejax._padded import is_padded, padding, values_of
from noisejax._random.stream import stage
from noisejax.image._geometry.draws import check_order, check_picture, moved_by
from noisejax.image._geometry.places import PLACES, then
from noisejax.image._geometry.resampling import FILLS, ORDERS

_OWN = ("order", "fill", "value")
_THROUGH = ("chain", "choose", "sometimes", "per_example")


def geometry(*noises: Callable, order: int = 1, fill: str = "nearest", value: Amount | None = None) -> Noise:
    """Applies noises that move pictures one after the other, but reads the picture only once.

    Each resampling blurs a little, and a chain of three does so three times. Here the maps are composed, and the
    picture is read where the last one points to. Draws are those of `noisejax.chain`.

    Args:
      noises: bound noises of `noisejax.image` that move pictures, and `chain`, `choose`, `sometimes` and `per_example`
        of them. Their own `order`, `fill` and `value` are not given: these belong to the one resampling.
      order: 0 for the nearest pixel, as masks of labels need; 1 for linear interpolation; 3 for cubics. Static.
      fill: what lies beyond the edges, as in `pixel_shift`. Static.
      value: what lies there with ``fill="constant"``, a value of x's dtype; None for 0.

    Returns:
      A noise of pictures (..., H, W, C). A value beyond the edges of one map may come back inside by the next one, and
      is then what the picture has there.

    Raises:
      TypeError: a noise that does not move pictures, or one with its own `order`, `fill` or `value`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> turn, back = (nj.bind(nj.image.rotate, degrees=d, kind="exact") for d in (30.0, -30.0))
      >>> x = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))
      >>> y = nj.image.geometry(turn, back)(jax.random.key(0), x)
      >>> bool(jnp.allclose(x, y, atol=1e-4))  # a chain of the two would blur, and lose the corners
      True
    """
    _checks.one_of("geometry", "order", order, ORDERS)
    _checks.one_of("geometry", "fill", fill, FILLS)
    stages = _noise.stages("geometry", noises)
    for noise in stages:
        _require_places(noise)
    amounts: dict[str, Any] = {"noises": stages}
    if value is not None:
        amounts["value"] = _noise.amount("geometry", "value", value, _checks.real, like_x=True)
    return Noise(_geometry, amounts, (("fill", fill), ("order", order)))


def _require_places(noise: Any) -> None:
    if isinstance(noise, Noise) and isinstance(noise.function, Combinator) and noise.function.name in _THROUGH:
        for inside in noise.amounts["noises"]:
            _require_places(inside)
        return
    spec = getattr(noise.function, "__noise__", None) if isinstance(noise, Noise) else None
    if not (isinstance(noise, Noise) and spec is not None and PLACES.name in spec.replays):
        raise TypeError(
            f"geometry: noises must be those that move pictures, such as nj.image.rotate, got {noise!r}. Apply others "
            "in a chain around it: nj.chain(nj.image.geometry(...), ...)."
        )
    for name in _OWN:
        if name in noise.amounts or name in dict(noise.options):
            raise TypeError(
                f"geometry: {noise!r} has {name} of its own, but the picture is read only once. Give it to the whole: "
                f"geometry(..., {name}=...)."
            )


@combinator(draws=True, module="image")
def _geometry(run: Run, key, x, noises, value=None, *, order, fill):
    padded, given = is_padded(x), values_of(x)
    _checks.array("geometry", given, _checks.numbers)
    given = jnp.asarray(given)
    check_picture("geometry", given)
    check_order("geometry", given, order)
    if value is None:
        value = 0.0
    else:
        _noise.arithmetic("geometry", "value", value, False)
    _checks.holds("geometry", "value", value, given.dtype)
    value = saturate(jnp.asarray(value), given.dtype)
    _checks.broadcastable("geometry", "value", value.shape, given.shape)
    value = value.reshape((1,) * (given.ndim - value.ndim) + value.shape) if value.ndim else value
    mask = padding("geometry", given, run.where, x.lengths if padded else None)

    # The backward pass draws again, so that no field of displacements is saved for it.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def mathematics(key, given, noises, value, mask):
        inside, like = Run(mask, PLACES), given.astype(jnp.float32)  # labels are moved as numbers are
        places = None
        for position, noise in enumerate(noises):
            _, own = inside(noise, stage(key, position), like)
            places = own if places is None else then(places, own)
        assert places is not None  # there is at least one noise
        moved = saturate(moved_by(places, given, value, mask, order, fill).value, given.dtype)
        return moved if mask is None else jnp.where(mask, moved, given), places

    y, places = mathematics(key, given, noises, value, mask)
    return x.with_values(y) if padded else y, places if run.replay is PLACES else run.unchanged(x)
