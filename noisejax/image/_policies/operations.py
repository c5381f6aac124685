"""The operations among which the policies choose, on one picture (H, W, C) in [0, 1].

A picture takes one branch of a switch. On a CPU the pictures of a batch come one after the other, so only the branch of
each is computed. On a GPU they come at once, and all branches are computed for all of them: one resampling, one
histogram, and passes over the values that are cheap. The five operations that move pixels share a branch for that
reason. On a CPU, computing all branches for all pictures would make the policies 6 to 8 times as slow.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax.image._geometry.resampling import resampled
from noisejax.image._operations import photometric

MOVING = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
_BRANCHES: dict[str, Callable] = {
    "brightness": photometric.lighter,
    "color": photometric.colored,
    "contrast": photometric.contrasted,
    "sharpness": photometric.sharpened,
    "posterize": photometric.posterized,
    "solarize": photometric.solarized,
    "autocontrast": lambda image, _: photometric.stretched(image),
    "equalize": lambda image, _: photometric.equalized(image),
}


def applied(image: jax.Array, names: Sequence[str], which: jax.Array, amount: jax.Array, order: int) -> jax.Array:
    """The operation ``names[which]`` with its amount: degrees, a shear, pixels, a factor, bits or a threshold.

    `which` beyond the names leaves the picture as it is.
    """
    moving = [n for n, name in enumerate(names) if name in MOVING]
    others = [name for name in names if name not in MOVING]

    def moved(image, amount):
        return _moved(image, [names[n] for n in moving], which, moving, amount, order)

    branches = [lambda image, _: image, moved, *(_BRANCHES[name] for name in others)]
    place = [1 if name in MOVING else 2 + others.index(name) for name in names]
    picked = jnp.asarray(np.array([*place, 0], np.int32))[jnp.minimum(which, len(names))]
    return lax.switch(picked, branches, image, amount)


def _moved(
    image: jax.Array, names: Sequence[str], which: jax.Array, numbers: Sequence[int], amount: jax.Array, order: int
) -> jax.Array:
    """A picture read at an affine map of its places; black beyond the edges. Shears keep the upper left corner."""
    height, width = image.shape[:2]
    zero, angle = jnp.zeros_like(amount), amount * np.float32(np.pi / 180)
    cosine, sine = jnp.cos(angle) - 1, jnp.sin(angle)
    half = (np.float32(height / 2), np.float32(width / 2))
    rows = {  # how far to the right and down a pixel is read, by its place to the right of and below the centre
        "rotate": (cosine, -sine, zero, sine, cosine, zero),
        "shear_x": (zero, amount, amount * half[0], zero, zero, zero),
        "shear_y": (zero, zero, zero, amount, zero, amount * half[1]),
        "translate_x": (zero, zero, jnp.trunc(amount), zero, zero, zero),
        "translate_y": (zero, zero, zero, zero, zero, jnp.trunc(amount)),
    }
    a, b, c, d, e, f = (
        jnp.asarray(sum(jnp.where(which == n, rows[name][k], 0) for n, name in zip(numbers, names, strict=True)))
        for k in range(6)
    )
    i, j = (jnp.arange(n, dtype=jnp.float32) - np.float32((n - 1) / 2) for n in (height, width))
    x, y = j[None, :], i[:, None]
    return resampled(image, a * x + b * y + c, d * x + e * y + f, order, "constant", 0.0)
