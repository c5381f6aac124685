"""Square Attack: random search with windows, which needs the model's logits and no gradient."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._random import sample
from noisejax._random.stream import fold, words
from noisejax.adversarial._attacks.boundary import attack_lead, is_fooled, prepare_attack
from noisejax.adversarial._attacks.driver import Best, choose_examples, keys_of_steps
from noisejax.adversarial._health import doubt
from noisejax.adversarial._inputs import without_outside
from noisejax.adversarial._options import one_amount, share as share_of_all
from noisejax.adversarial._threats.balls import (
    L2,
    Linf,
    Threat,
    check_ids,
    divide_or,
    streams_per_example,
    words_per_example,
)
from noisejax.adversarial._threats.sparse import L1

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # the window area is halved after these many queries


def square(
    key: jax.Array,
    logits_fn: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    *,
    queries: int = 5000,
    p_init: float = 0.8,
    restarts: int = 1,
    rescale: bool = False,
    targeted: bool = False,
    eot: int = 0,
    ids: jax.Array | None = None,
) -> jax.Array:
    """Square Attack: changes a random window of the perturbation, and keeps the change if it increases the margin.

    It only sees the model's logits, so masked gradients do not protect a model against it. The windows shrink during
    the attack: they cover a share `p_init` of the image at first, halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000
    and 8000 queries. Windows and signs are drawn for each example.

    The attack is one loop, which ends as soon as every example is misclassified. An example that is misclassified from
    the start stays unchanged. (Over a sharded batch, this test is the only communication between devices.)

    With ``eot=n``, for a model that draws noise, the margin is averaged over n keys. The keys change in every query and
    are shared by all examples. Each candidate is compared with the current best on the same keys, so that the best
    cannot survive on lucky draws: a query costs 2n evaluations instead of 1. No single evaluation proves that such a
    model is fooled, so no example stops early. Check success afterwards with fresh keys. (There is no published
    precedent: AutoAttack's version for stochastic models does not use Square.)

    Args:
      key: a JAX key.
      logits_fn: ``logits_fn(x) -> (B, classes)``; with eot, ``logits_fn(key, x)``.
      x: the clean examples, inside the bounds: images (B, H, W, C) or (B, H, W), or vectors (B, D), whose windows are
        runs of features. A square window that would be wider than the image becomes longer instead.
      labels: integers of shape (B,).
      threat: `Linf`, `L2` or `L1`.
      queries: the number of windows that are tried after the start. All arguments from here on are static, except
        `ids`.
      p_init: the share of the image that the first windows cover.
      restarts: the number of attacks. Each one after the first attacks the examples that are still classified
        correctly.
      rescale: whether the windows shrink as if there were 10,000 queries, as in the paper. AutoAttack does not rescale.
      targeted: whether the labels are targets that the model should predict.
      eot: the number of keys over which the margin is averaged; 0 for a model without a key.
      ids: integers of shape (B,). The draws of example i depend only on ``(key, ids[i])``.

    Returns:
      The adversarial examples: float32, of x's shape, inside the threat, without gradient. `misclassified` tells which
      of them succeeded. The others have the highest margin that was found.

    References:
      Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random search", ECCV
      2020; for L1 Croce and Hein, "Mind the box", ICML 2021. AutoAttack's code uses one window for the whole batch,
      which never touches the last row or column.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> logits_fn = lambda x: jnp.stack([x.sum((1, 2)), jnp.full(len(x), 8.0)], axis=1)
      >>> x, labels = jnp.full((1, 4, 4), 0.625), jnp.array([0])
      >>> threat = adversarial.Linf(0.25, bounds=(0, 1))
      >>> x_adv = adversarial.square(jax.random.key(0), logits_fn, x, labels, threat, queries=50)
      >>> adversarial.misclassified(logits_fn)(x_adv, labels).tolist()
      [True]
    """
    norms = (Linf, L2, L1)
    x, threat, labels, logits_of = prepare_attack(
        "square", key, logits_fn, x, labels, threat, norms, targeted, eot=eot, queries=queries, restarts=restarts
    )
    first_share = one_amount("square", "p_init", p_init, share_of_all)
    ids = check_ids("square", ids, x)
    rescale = _checks.flag("square", "rescale", rescale)
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"square: x must be (B, H, W, C), (B, H, W) or (B, D), got shape {x.shape}.")

    trials = keys_of_steps(key, eot)

    def judged(delta, look) -> Best:
        point = threat.perturbed(x, delta)
        if eot:
            values = jax.vmap(lambda key: attack_lead(logits_of(key, point), labels, targeted))(trials(look))
            value = jnp.mean(values, axis=0)
            return Best(delta, value, jnp.zeros_like(value, bool))
        logits = logits_of(point)
        return Best(delta, attack_lead(logits, labels, targeted), is_fooled(logits, labels, targeted))

    def again(best: Best, look) -> Best:
        return judged(best.x, look) if eot else best

    def restart(number, carry: tuple[Best, jax.Array]) -> tuple[Best, jax.Array]:
        best, broken = carry
        streams = streams_per_example(fold(key, number), ids, x)
        first = number * (queries + 2) + 1

        def draws(step):
            return jax.vmap(lambda stream: fold(stream, step))(streams)

        def unfinished(carry):
            step, best, _ = carry
            return (step < queries) & jnp.any(~best.success)

        def query(carry):
            step, best, broken = carry
            share = first_share * 0.5 ** _halvings(step, queries, rescale)
            now = judged(_proposal(threat, draws(step + 1), x, best.x, share), first + 1 + step)
            best = again(best, first + 1 + step)
            accepted = ~best.success & (now.success | (now.value > best.value))
            return step + 1, choose_examples(accepted, now, best), broken | ~jnp.isfinite(now.value)

        start = judged(_start(threat, draws(jnp.int32(0)), x), first)
        # A restart begins from its own start, even if the previous restart ended with a higher margin.
        begun = choose_examples(best.success, best, start)
        broken = broken | ~jnp.isfinite(start.value)
        _, found, broken = jax.lax.while_loop(unfinished, query, (jnp.int32(0), begun, broken))
        best, found = again(best, first + 1 + queries), again(found, first + 1 + queries)
        kept = best.success | (~found.success & ~(found.value > best.value))
        return choose_examples(kept, best, found), broken

    best = judged(jnp.zeros_like(x), jnp.int32(0))
    broken = ~jnp.isfinite(best.value)
    best = best._replace(value=jnp.where(best.success, best.value, -jnp.inf))
    best, broken = jax.lax.fori_loop(0, restarts, restart, (best, broken))
    doubt("square", broken & ~best.success)
    return jax.lax.stop_gradient(without_outside(threat, x, threat.perturbed(x, best.x)))


def _halvings(step, queries: int, rescale: bool):
    step = step.astype(jnp.float32) * (10000 / max(queries, 1)) if rescale else step
    return sum(jnp.where(step > after, 1.0, 0.0) for after in _HALVINGS)


# From here on perturbations are images, (B, H, W, C).


def _images(a: Any) -> Any:
    if jnp.ndim(a) == 2:
        return a[:, None, :, None]
    return a[..., None] if jnp.ndim(a) == 3 else a


def _back(images: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.squeeze(images, axis={2: (1, 3), 3: (3,), 4: ()}[x.ndim])


def _start(threat: Threat, streams, x) -> jax.Array:
    images, eps = _images(x), _images(threat.eps)
    _, h, w, c = images.shape
    if isinstance(threat, Linf):
        stripes = _signs(streams, "adversarial.square.stripes", (1, w, c))
        return threat.project(_back(jnp.broadcast_to(eps * stripes, images.shape), x), x)
    # Five tiles along each side, each with a bump next to a hollow.
    high, wide = max(h // 5, 1), max(w // 5, 1)
    down, across = h // high, w // wide
    first, second = _bumps((jnp.int32(high), jnp.int32(wide)), (high, wide), threat)
    turned = _signs(streams, "adversarial.square.turn", (down, 1, across, 1, 1)) > 0
    signs = _signs(streams, "adversarial.square.tiles", (down, 1, across, 1, c))
    first, second = (bump.reshape(1, 1, high, 1, wide, 1) for bump in (first, second))
    tiles = (jnp.where(turned, first, second) * signs).reshape(-1, down * high, across * wide, c)
    top, left = (h - down * high) // 2, (w - across * wide) // 2
    tiles = jnp.pad(tiles, ((0, 0), (top, h - down * high - top), (left, w - across * wide - left), (0, 0)))
    delta = threat.masked(_back(tiles, x))
    scale = divide_or(threat.eps, jnp.reshape(threat.norm(delta), (-1,) + (1,) * (x.ndim - 1)))
    return threat.project(delta * (jnp.maximum(scale, 1) if isinstance(threat, L1) else scale), x)


def _proposal(threat: Threat, streams, x, delta, share) -> jax.Array:
    now, eps = _images(delta), _images(threat.eps)
    _, h, w, c = now.shape
    sides = _sides(share, h, w, 1 if isinstance(threat, Linf) else 3)
    corner = _corner(streams, "adversarial.square.window", now, sides)
    inside = _inside(corner, sides, now)
    signs = _signs(streams, "adversarial.square.signs", (1, 1, c))
    if isinstance(threat, Linf):
        return threat.project(_back(jnp.where(inside, eps * signs, now), x), x)
    # One window gives up its budget to the other. There a bump next to a hollow is added to the perturbation, and the
    # sum is scaled to the norm of both windows together plus what the ball still allows.
    other = _inside(_corner(streams, "adversarial.square.other", now, sides), sides, now)
    first, second = _bumps(sides, (h, w), threat)
    turned = _signs(streams, "adversarial.square.turn", (1, 1, 1)) > 0

    def placed(row, column, turned):
        return jnp.roll(jnp.where(turned, first, second), (row.reshape(()), column.reshape(())), (0, 1))[..., None]

    def size(part, axes):
        if isinstance(threat, L1):
            return jnp.sum(jnp.abs(part), axis=axes, keepdims=True)
        return jnp.sqrt(jnp.sum(part * part, axis=axes, keepdims=True))

    old = jnp.where(inside, now, 0)
    new = jax.vmap(placed)(corner[0], corner[1], turned.reshape(-1)) * signs + divide_or(old, size(old, (1, 2)))
    both, all_of_it = size(jnp.where(inside | other, now, 0), (1, 2)), size(now, (1, 2, 3))
    if isinstance(threat, L1):
        wanted = jnp.maximum(eps - all_of_it, 0) + c * both
    else:
        wanted = jnp.sqrt(jnp.maximum(eps * eps - all_of_it * all_of_it, 0) / c + both * both)
    new = new * divide_or(wanted, size(new, (1, 2)))
    now = jnp.where(inside, new, jnp.where(other, 0, now))
    if not isinstance(threat, L1):
        now = now * divide_or(eps, size(now, (1, 2, 3)))
    return threat.project(_back(now, x), x)


def _sides(share, h: int, w: int, least: int) -> tuple[jax.Array, jax.Array]:
    """Height and width of windows that cover this share of the image: a square, or the whole short side if too wide."""
    short, long = min(h, w), max(h, w)

    def whole(side, limit):
        side = jnp.maximum(jnp.round(side).astype(jnp.int32), least)
        return jnp.minimum(side + (1 - side % 2 if least > 1 else 0), limit)

    side = whole(jnp.sqrt(share * (h * w)), long)
    longer = jnp.where(side > short, whole(share * long, long), side)
    shorter = jnp.minimum(side, short)
    return (shorter, longer) if h <= w else (longer, shorter)


def _corner(streams, tag: str, images, sides) -> list[jax.Array]:
    """The first row and column of the window in each example, of shape (B, 1, 1, 1)."""
    corner = []
    for axis, side in zip((1, 2), sides, strict=True):
        high, low = (words_per_example(streams, f"{tag}.{axis}.{half}", images) for half in ("high", "low"))
        corner.append(sample.integers(high, low, images.shape[axis] - side + 1))
    return corner


def _inside(corner, sides, images) -> jax.Array:
    marks = []
    for axis, first, side in zip((1, 2), corner, sides, strict=True):
        place = jax.lax.broadcasted_iota(
            jnp.int32, tuple(n if a == axis else 1 for a, n in enumerate((1, *images.shape[1:]))), axis
        )
        marks.append((place >= first) & (place < first + side))
    return marks[0] & marks[1]


def _signs(streams, tag: str, shape: tuple[int, ...]) -> jax.Array:
    """1 or -1, of shape (B, *shape)."""
    bits = jax.vmap(lambda stream: words(stream, tag, shape))(streams)
    return jnp.where(bits >> jnp.uint32(31) == 0, 1.0, -1.0).astype(jnp.float32)


def _bumps(sides, canvas: tuple[int, int], threat: Threat) -> tuple[jax.Array, jax.Array]:
    """A bump above a hollow, and a bump to the left of one. With a single row, both are the latter."""
    power = 4 if isinstance(threat, L1) else 2
    horizontal = _bump(sides, canvas, 1, power)
    if canvas[0] == canvas[1]:
        return horizontal.T, horizontal
    return (horizontal if canvas[0] == 1 else _bump(sides, canvas, 0, power)), horizontal


def _bump(sides, canvas: tuple[int, int], axis: int, power: int) -> jax.Array:
    """A bump next to a hollow in the upper left corner of a canvas, 0 elsewhere, of norm 1 (L2, or L1 for power 4).

    Rings surround the middle of each half. The height at ring r is the sum over k >= r of ``(k + 1)**-power``.
    """
    heights = [math.fsum((k + 1.0) ** -power for k in range(n)) for n in range(max(canvas) + 2)]
    heights = jnp.asarray(heights, jnp.float32)
    places = [jax.lax.broadcasted_iota(jnp.int32, canvas, n) for n in (0, 1)]
    half = sides[axis] // 2
    total = jnp.zeros(canvas, jnp.float32)
    for sign, begin, length in ((1, jnp.int32(0), half), (-1, half, sides[axis] - half)):
        lengths = [length if n == axis else sides[n] for n in (0, 1)]
        local = [place - (begin if n == axis else 0) for n, place in enumerate(places)]
        ring = jnp.maximum(*(jnp.abs(place - n // 2) for place, n in zip(local, lengths, strict=True)))
        outermost = jnp.maximum(*(n // 2 for n in lengths)) + 1
        inside = (local[axis] >= 0) & (local[axis] < length) & (local[1 - axis] < lengths[1 - axis])
        part = jnp.where(inside, heights[outermost] - heights[jnp.minimum(ring, outermost)], 0)
        total = total + sign * divide_or(part, _unit(part, power))
    return divide_or(total, _unit(total, power))


def _unit(part, power: int):
    return jnp.sqrt(jnp.sum(part * part)) if power == 2 else jnp.sum(jnp.abs(part))
