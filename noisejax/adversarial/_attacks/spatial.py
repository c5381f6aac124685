"""Spatial attacks: the rotation and translation of an image with the highest loss."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from noisejax import _checks
from noisejax._contract import Amount
from noisejax._random import sample
from noisejax._random.stream import fold
from noisejax.adversarial._attacks.driver import choose_examples, is_better, loss_on_batch, measure_point
from noisejax.adversarial._inputs import check_attack
from noisejax.adversarial._options import amount_per_example, check_amount, real
from noisejax.adversarial._threats.balls import Linf, check_ids, streams_per_example, words_per_example


def _is_grid(grid: Any) -> bool:
    sized = isinstance(grid, (list, tuple)) and len(grid) == 3
    return sized and all(isinstance(n, (int, np.integer)) and n > 0 for n in grid) and math.prod(map(int, grid)) < 2**31


def spatial(
    key: jax.Array,
    loss: Callable,
    x: jax.Array,
    angle: Amount = 30.0,
    shift: Amount = 3.0,
    args: tuple = (),
    *,
    trials: int = 10,
    grid: tuple[int, int, int] | None = None,
    success: Callable | None = None,
    fill: float = 0.0,
    ids: jax.Array | None = None,
) -> jax.Array:
    """Worst of k: rotates and shifts each image in several ways, and returns the result with the highest loss.

    Images are rotated about their centre and then shifted, with bilinear interpolation. The unchanged image is one more
    candidate.

    Args:
      key: a JAX key.
      loss: ``loss(x, *args) -> (B,)``, which is maximized. Gradients are not needed.
      x: images, floats of shape (B, H, W, C) or (B, H, W).
      angle: the range of rotations, from -angle to angle, in degrees: a scalar, or one value per image (B,). 0 for
        none.
      shift: the range of shifts along both axes, from -shift to shift, in pixels: a scalar, or one value per image
        (B,). 0 for none.
      args: arrays with x's leading axis, such as (labels,).
      trials: the number of random candidates for each image. All arguments from here on are static, except `ids`.
      grid: tries a grid instead of random draws: the numbers of evenly spaced angles, vertical shifts and horizontal
        shifts. The paper uses (31, 5, 5).
      success: ``success(x, *args) -> (B,)`` booleans, such as ``misclassified(predict)``. Candidates for which it holds
        take precedence over all others.
      fill: the value of pixels that come in from outside the image.
      ids: integers of shape (B,). The draws of image i depend only on ``(key, ids[i])``.

    Returns:
      The images: float32, of x's shape, without gradient.

    References:
      Engstrom et al., "Exploring the landscape of spatial robustness", ICML 2019.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> x = jnp.zeros((1, 3, 3)).at[0, 1, 1].set(1.0)
      >>> loss = lambda x: x[:, 0, 1]
      >>> adversarial.spatial(jax.random.key(0), loss, x, 0.0, 1.0, grid=(1, 3, 3))[0].tolist()
      [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    x = check_attack("spatial", key, loss, x, Linf(0.0, None), args, restarts=trials, counted="trials")
    if x.ndim not in (3, 4):
        raise ValueError(f"spatial: x must be images of shape (B, H, W, C) or (B, H, W), got {x.shape}.")
    angle, shift = (
        jnp.broadcast_to(amount_per_example("spatial", name, value, x.shape[0]), x.shape[:1])
        for name, value in (("angle", angle), ("shift", shift))
    )
    check_amount("spatial", "fill", fill, real)
    fill = _checks.scalar("spatial", "fill", fill)
    if grid is not None and not _is_grid(grid):
        raise ValueError(
            "spatial: grid must be the numbers of angles, rows and columns, such as (31, 5, 5), with a product below "
            f"2**31, got {grid!r}."
        )
    x, angle, shift = jax.lax.stop_gradient((x, angle, shift))
    values = loss_on_batch("spatial", loss, x, args, 0)
    held = None if success is None else loss_on_batch("spatial success", success, x, args, 0)
    streams = streams_per_example(key, check_ids("spatial", ids, x), x)

    def drawn(number):
        now = jax.vmap(lambda stream: fold(stream, number))(streams)
        return [
            sample.symmetric_uniform(words_per_example(now, f"adversarial.spatial.{n}", x)).reshape(-1)
            for n in range(3)
        ]

    def tried(best, way):
        turn, down, right = drawn(way) if grid is None else [jnp.broadcast_to(w, x.shape[:1]) for w in way]
        point = turn_and_shift(x, angle * turn * (np.pi / 180), shift * down, shift * right, fill)
        now = measure_point(values, held, point, None)
        return choose_examples(is_better(now, best), now, best), None

    if grid is None:
        ways: Any = jnp.arange(trials, dtype=jnp.int32)
    else:
        spaced = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in grid]
        ways = jnp.asarray(list(itertools.product(*spaced)), jnp.float32)
    best = jax.lax.scan(tried, measure_point(values, held, x, None), ways)[0]
    return jax.lax.stop_gradient(best.x)


def turn_and_shift(x: jax.Array, turn: jax.Array, down: jax.Array, right: jax.Array, fill: float) -> jax.Array:
    """Each image rotated clockwise by an angle in radians, and then shifted. All arguments but x have shape (B,)."""
    _, h, w = x.shape[:3]
    middle = (h - 1) / 2, (w - 1) / 2

    def single(image, turn, down, right):
        i = jax.lax.broadcasted_iota(jnp.float32, (h, w), 0) - middle[0] - down
        j = jax.lax.broadcasted_iota(jnp.float32, (h, w), 1) - middle[1] - right
        c, s = jnp.cos(turn), jnp.sin(turn)
        places = [c * i - s * j + middle[0], s * i + c * j + middle[1]]

        def channel(image):
            return map_coordinates(image, places, order=1, mode="constant", cval=fill)

        return channel(image) if image.ndim == 2 else jax.vmap(channel, in_axes=-1, out_axes=-1)(image)

    return jax.vmap(single)(x, turn, down, right)
