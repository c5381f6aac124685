"""Threats that change few features: the L1 ball, and L0 with at most k features."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._random import sample
from noisejax.adversarial._health import host_value
from noisejax.adversarial._threats.balls import (
    Threat,
    as_column,
    divide_or,
    max_abs,
    words_per_element,
    words_per_example,
)


class L1(Threat):
    """The absolute changes of an example sum to at most eps.

    The projection onto the intersection of the ball and the bounds is exact, and needs no sort.

    Args:
      eps: at least 0: a scalar, or one value per example (B,).
      bounds: ``(low, high)``, broadcastable to x, or None.
      mutable: where x may change; None for everywhere.
      top: the share of features that one step of `steepest` moves: the features with the largest gradient, at least
        one. (The exact steepest direction moves a single feature, and needs one step for each feature.) Features that
        would move against a bound are skipped. Static.

    References:
      Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks", ICML 2021 (the projection). Tramèr and
      Boneh, "Adversarial training and robustness for multiple perturbations", NeurIPS 2019 (the step).

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.L1(1.0, bounds=(0, 1))
      >>> threat.project(jnp.array([[2.0, 1.5, 0.125]]), jnp.array([[0.75, 0.0, 0.5]])).tolist()
      [[0.25, 0.75, 0.0]]
    """

    _static: ClassVar[tuple[str, ...]] = ("top",)

    def __init__(self, eps, bounds, *, mutable=None, top: float = 0.01):
        super().__init__(eps, bounds, mutable=mutable)
        top = _checks.scalar("L1", "top", top)
        if not 0 < top <= 1:
            raise ValueError(f"L1: top must be a share of the features, in (0, 1], got {top!r}.")
        self.top = top

    def norm(self, delta):
        return jnp.sum(jnp.abs(delta), axis=tuple(range(1, delta.ndim)))

    def _project(self, delta, x):
        # The projection moves every element towards 0 by the same amount t, until it reaches 0 or its cap:
        # min(max(|d| - t, 0), cap). The sum of these decreases in t, and is linear between neighbouring floats, since
        # its kinks lie at floats. So t follows from the line between the two floats around it.
        size, headroom = _rows(jnp.abs(delta)), self.headroom(x)
        cap = size if headroom is None else jnp.minimum(size, _rows(jnp.where(delta > 0, headroom[1], -headroom[0])))
        cap = jnp.maximum(cap, 0)
        eps = jnp.reshape(self.eps, (-1, 1))
        below = last_level(lambda t: jnp.sum(jnp.clip(size - t, 0, cap), axis=1, keepdims=True) > eps, size)
        rest, capped = size - below, size - cap > below  # relative to `below`, so that no digits cancel
        cut = (rest > 0) & ~capped
        total = jnp.sum(jnp.where(cut, rest, 0) + jnp.where(capped, cap, 0), axis=1, keepdims=True)
        t = divide_or(total - eps, jnp.sum(cut, axis=1, keepdims=True).astype(jnp.float32))
        inside = jnp.sum(cap, axis=1, keepdims=True) <= eps
        moved = jnp.where(inside, cap, jnp.clip(rest - t, 0, cap))
        moved = moved * jnp.minimum(divide_or(eps, jnp.sum(moved, axis=1, keepdims=True), 1), 1)
        return jnp.sign(delta) * moved.reshape(delta.shape)

    def _draw(self, stream, x, surface):
        # Signed exponentials divided by their sum are uniform on the sphere. One more term in the sum: in the ball.
        delta = self.masked(sample.laplace(words_per_element(stream, "adversarial.l1", x)))
        total = as_column(self.norm(delta), x)
        if not surface:
            total = total + sample.exponential(words_per_example(stream, "adversarial.l1.radius", x))
        return self.eps * divide_or(delta, total)

    def _steepest(self, grad, x, delta):
        grad = _unblocked(self, grad, x, delta)
        features = math.prod(grad.shape[1:])
        chosen = _top(jnp.abs(grad), jnp.float32(max(1, round(self.top * features)))) & (grad != 0)
        return divide_or(jnp.where(chosen, jnp.sign(grad), 0), as_column(self.norm(chosen.astype(jnp.float32)), grad))


class L0(Threat):
    """At most k features may change, each to anything within the bounds. The projection is exact.

    Args:
      eps: k, the number of features: a scalar, or one value per example (B,). It may be traced, and is rounded down.
        Values between 0 and 1 raise, since they would allow no change at all.
      bounds: ``(low, high)``, broadcastable to x. Required.
      mutable: where x may change; None for everywhere.
      pixels: whether the last axis holds the channels of a pixel, which then counts as one feature. Static.

    References:
      Croce and Hein, "Sparse and imperceivable adversarial attacks", ICCV 2019 (the projection, PGD_0).

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.L0(1, bounds=(0, 1))
      >>> threat.project(jnp.array([[0.5, -0.5, 0.25]]), jnp.array([[0.75, 0.5, 0.5]])).tolist()
      [[0.0, -0.5, 0.0]]
    """

    _static: ClassVar[tuple[str, ...]] = ("pixels",)

    def __init__(self, eps, bounds, *, mutable=None, pixels: bool = False):
        if bounds is None:
            raise ValueError("L0: bounds must be (low, high). A changed feature may take any value inside them.")
        super().__init__(eps, bounds, mutable=mutable)
        known = None if eps is None else host_value(self.eps)
        if known is not None and known.dtype.kind == "f" and np.any((known > 0) & (known < 1)):
            raise ValueError(
                f"L0: eps must be a number of features, at least 1 (or 0 for no change), got {eps!r}. It is not a "
                "share of them: multiply a share by the number of features."
            )
        self.pixels = _checks.flag("L0", "pixels", pixels)

    def norm(self, delta):
        return jnp.sum(self._units(delta != 0), axis=tuple(range(1, delta.ndim))).astype(jnp.float32)

    def reach(self, x):
        low, high = self.fitted(x).bounds
        return jnp.asarray(high - low)

    def _project(self, delta, x):
        # Keeping a unit reduces the squared distance by d**2 - (d - clip(d))**2.
        kept = self._clip(delta, x)
        gain = kept * (2 * delta - kept)
        gain = jnp.sum(gain, axis=-1, keepdims=True) if self.pixels else gain
        return jnp.where(_top(gain, self.eps), kept, 0)

    def _draw(self, stream, x, surface):
        score = sample.open_uniform(words_per_element(stream, "adversarial.l0.place", x))
        score = score if self.mutable is None else jnp.where(self.mutable, score, 0)
        score = score[..., :1] if self.pixels else score
        low, high = self.bounds
        u = sample.uniform(words_per_element(stream, "adversarial.l0", x))
        u = jnp.round(u) if surface else u
        return self.masked(jnp.where(_top(score, self.eps), low + u * (high - low) - x, 0))

    def _steepest(self, grad, x, delta):
        return divide_or(grad, max_abs(grad))

    def _units(self, changed):
        return jnp.any(changed, axis=-1, keepdims=True) if self.pixels else changed


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1)


def last_level(holds: Callable, rows: jax.Array) -> jax.Array:
    """The largest nonnegative float at which a monotone condition still holds, for each row, as a column.

    The bits are found from the highest to the lowest. This takes 31 passes over the rows, which is cheaper than a sort.
    """

    def bit(number, found):
        trial = found | jax.lax.shift_left(jnp.int32(1), 30 - number)
        return jnp.where(holds(jax.lax.bitcast_convert_type(trial, jnp.float32)), trial, found)

    nothing = jnp.zeros_like(jnp.sum(rows, axis=1, keepdims=True), jnp.int32)
    return jax.lax.bitcast_convert_type(jax.lax.fori_loop(jnp.int32(0), jnp.int32(31), bit, nothing), jnp.float32)


def _unblocked(threat: Threat, grad, x, delta):
    """The gradient, with 0 for elements that would move against a bound."""
    headroom = threat.headroom(x)
    if headroom is None:
        return grad
    return jnp.where(((grad > 0) & (delta >= headroom[1])) | ((grad < 0) & (delta <= headroom[0])), 0, grad)


def _top(score: jax.Array, k: Any) -> jax.Array:
    """A mask of the k largest elements of each example; the first among equal ones."""
    order = jnp.argsort(-_rows(score), axis=1)
    rank = jnp.argsort(order, axis=1).astype(jnp.float32)
    return (rank < jnp.floor(jnp.reshape(k, (-1, 1)))).reshape(score.shape)
