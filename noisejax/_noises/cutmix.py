"""Noise that pastes a box of one example into another."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _batch, _checks
from noisejax._batch import batch_noise
from noisejax._contract import Amount
from noisejax._noises.mixing import draw_pairs, per_draw
from noisejax._random import sample


@batch_noise(ranges={"alpha": _checks.nonnegative})
def cutmix(
    key: jax.Array,
    batch: Any,
    alpha: Amount,
    *,
    num_classes: int | None = None,
    mode: str = "example",
    keep: tuple = (),
    pairing: str = "permutation",
    shards: int = 1,
    axes: tuple[int, ...] = (1, 2),
) -> Any:
    """CutMix: a box of each image is replaced by its partner's, and the labels are blended by the box's area.

    lam is drawn from Beta(alpha, alpha). The box has ``sqrt(1 - lam)`` times the sides of the image. It is centred
    at a uniformly random pixel and clipped at the border. Labels are blended with the weight
    ``1 - area / (height * width)`` of the clipped box, not with lam.

    To switch between mixup and CutMix at random, for each batch (`mode='batch'`, where only one of them runs) or for
    each example:
    ``nj.choose(nj.bind(nj.mixup, alpha=0.8, num_classes=10), nj.bind(nj.cutmix, alpha=1.0, num_classes=10),
    weights=(0.5, 0.5), mode="batch")``.

    Args:
      key: a JAX key.
      batch: a pytree of arrays with a common leading axis of B examples. The array of the highest rank holds the
        images; of several, the one with the largest extents along `axes`. Entries with the same extents, such as
        segmentation masks of any dtype, get the same box. Maps that are coarser by one whole factor along all axes,
        such as the heatmaps of a stride, get it at their own resolution: a cell is replaced if its centre lies in the
        box. All others are blended as in `mixup`.
      alpha: the parameter of the Beta distribution, at least 0; a scalar, or of shape (B,). 0 is the identity (labels
        still become rows). Traced values below 0 count as 0. Gradients stop at it.
      num_classes, keep, shards: as in `mixup`.
      pairing: `'permutation'` or `'roll'`, as in `mixup`. Static.
      mode: `'example'` draws lam and a box for each example, `'batch'` once, as in the paper. Static.
      axes: the axes of height and width; (2, 3) if channels come first. For a different number d of axes (time alone,
        or the three of a video) the sides are ``(1 - lam)**(1/d)``. Static.

    Returns:
      A batch of the same structure.

    References:
      Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", ICCV 2019;
      box and rounding as in the authors' code.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> images = jnp.broadcast_to(jnp.arange(2.0)[:, None, None, None], (2, 8, 8, 1))  # one of zeros, one of ones
      >>> x, y = nj.cutmix(jax.random.key(0), (images, jnp.array([0, 1])), 1.0, num_classes=2)
      >>> bool(jnp.allclose(y[:, 1], x.mean((1, 2, 3))))
      True
    """
    _checks.axes("cutmix", "axes", axes, 1 + 2**31)  # integers that differ; which axes the images have is seen below
    image = max(batch.values(), key=lambda leaf: (leaf.ndim, _area(leaf, axes)))
    if not axes or min(axes) < 1 or max(axes) >= image.ndim:
        raise ValueError(
            f"cutmix: axes must be distinct axes of the images after the first, for instance (1, 2), got {axes!r} for "
            f"images of shape {image.shape} (the entry of the highest rank)."
        )
    _checks.short("cutmix", image.shape, axes)
    n, extents = image.shape[0], _extents(image, axes)
    factors = {name: _factor(name, leaf, axes, image) for name, leaf in batch.items()}
    lam, partner = draw_pairs("cutmix", key, image, alpha, mode, pairing, shards)
    partner = 1 if pairing == "roll" else partner

    def centre(k, size):
        w, w2 = (per_draw(key, f"cutmix.centre{k}{part}", image, mode) for part in ("", ".low"))
        return sample.integers(w, w2, max(size, 1))

    centres = [centre(k, size) for k, size in enumerate(extents)]
    bounds, area = _box(jax.lax.stop_gradient(lam), centres, extents)
    realized = 1 - area / jnp.float32(math.prod(extents) or 1)

    def mixed(name, leaf):
        factor = factors[name]
        if factor is None:
            leaf = _batch.soft("cutmix", name, leaf, num_classes)
            return _batch.mix(leaf, realized, _batch.take(leaf, partner, shards))
        inside = jnp.ones((1,) * leaf.ndim, bool)
        for axis, (low, high) in zip(axes, bounds, strict=True):
            shape = [1] * leaf.ndim
            shape[axis] = leaf.shape[axis]
            place = (jnp.arange(leaf.shape[axis], dtype=jnp.int32) * factor + factor // 2).reshape(shape)
            low, high = (b.reshape((n,) + (1,) * (leaf.ndim - 1)) for b in (low, high))
            inside = inside & (place >= low) & (place < high)
        return jnp.where(inside, _batch.take(leaf, partner, shards), leaf)

    return {name: mixed(name, leaf) for name, leaf in batch.items()}


def _extents(leaf: jax.Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(leaf.shape[axis] for axis in axes)


def _area(leaf: jax.Array, axes: tuple[int, ...]) -> int:
    return math.prod(_extents(leaf, axes)) if axes and min(axes) >= 1 and max(axes) < leaf.ndim else 0


def _factor(name: str, leaf: jax.Array, axes: tuple[int, ...], image: jax.Array) -> int | None:
    """The pixels of the images along one cell of an entry, or None for an entry that is blended."""
    if leaf.ndim <= max(axes):
        return None
    own, extents = _extents(leaf, axes), _extents(image, axes)
    if own == extents:
        return 1
    factor = max(extents) // max(*own, 1)
    if math.prod(own) > 1 and all(cells * factor == pixels for cells, pixels in zip(own, extents, strict=True)):
        return factor
    if leaf.ndim == image.ndim and math.prod(own) > 1:
        raise ValueError(
            f"cutmix: {name} of shape {leaf.shape} may hold images as well as the entry of shape {image.shape}, but "
            f"the extents {own} along axes {axes} are not {extents} divided by one whole number. Resize it, or name it "
            "in keep=(...) and cut it yourself."
        )
    return None


def _box(lam, centres, extents) -> tuple[list, Amount]:
    """The start and end of the boxes along each axis, and their areas."""
    side = jnp.sqrt(1 - lam) if len(extents) == 2 else (1 - lam) ** (1 / len(extents))
    bounds, area = [], 1.0
    for centre, size in zip(centres, extents, strict=True):
        half = jnp.floor(side * jnp.float32(0.5 * size)).astype(jnp.int32)
        low, high = jnp.maximum(centre - half, 0), jnp.minimum(centre + half, size)
        bounds.append((low, high))
        area = area * (high - low).astype(jnp.float32)
    return bounds, area
