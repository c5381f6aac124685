"""The numbers of each row of logits that its loss is a linear function of, with a backward pass that is one loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from noisejax._random.stream import positions
from noisejax.fused._tiles import Blocks


class Statistics(NamedTuple):
    """Of each row: the logarithm of the sum of exponentials, the mean, and the logits of the labels."""

    lse: jax.Array
    mean: jax.Array
    own: jax.Array
    partner: jax.Array


@jax.custom_vjp
def statistics(logits, own, partner, where, transition) -> Statistics:
    """The statistics of rows (..., K), float32 or wider.

    Args:
      logits: floats (..., K).
      own, partner: the labels (...), each in [0, K). The partner may be None, and its logit is then 0.
      where: None, or booleans that broadcast to the logits: the possible classes. Other classes are in no statistic,
        and the logit of an impossible label is the mean.
      transition: None, or (K, K): the logit of a label is then the mean under the label's row.
    """
    return _statistics(logits, own, partner, where, transition)


def _statistics(logits, own, partner, where, transition) -> Statistics:
    if logits.shape[-1] > (_BLOCK if jnp.dtype(logits.dtype).itemsize == 2 else _MANY):
        top, total, plain = lax.platform_dependent(logits, where, cpu=_blockwise_sums, default=_sums)
    else:
        top, total, plain = _sums(logits, where)
    some = total > 0
    lse = jnp.where(some, top + jnp.log(jnp.where(some, total, 1)), 0)
    mean = plain / _count(logits, where, plain.dtype)
    own = _picked(logits, own, where, transition, mean)
    other = jnp.zeros_like(lse) if partner is None else _picked(logits, partner, where, transition, mean)
    return Statistics(lse, mean, own, other)


def _sums(logits, where) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The largest logit of each row, the sum of exponentials relative to it, and the sum."""
    x = _widened(logits)
    shown = x if where is None else jnp.where(where, x, -jnp.inf)
    top = shown.max(-1)
    total = jnp.exp(shown - _finite(top)[..., None]).sum(-1)
    return top, total, (x if where is None else jnp.where(where, x, 0)).sum(-1)


def _finite(top: jax.Array) -> jax.Array:
    """The largest logit, or 0 if no class is possible."""
    return jnp.where(top == -jnp.inf, 0, top)


_BLOCK = 1024
_MANY = 2**15  # float32 logits of a row for which one pass has been measured to be faster


def _blockwise_sums(logits, where) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same in one pass over blocks of classes.

    XLA's CPU backend would store a wider copy of 16-bit logits, and sums over long rows in one thread.
    """
    blocks, axis = Blocks(logits.shape[-1], _BLOCK), logits.ndim - 1
    row = _widened(jnp.zeros_like(logits[..., 0]))

    def step(n, carry):
        top, total, plain = carry
        seen = blocks.new(n, logits.ndim, axis)
        if where is not None:
            part = blocks.read(where, n, axis) if where.shape[-1] > 1 else where
            seen = part if seen is None else seen & part
        more_top, more, more_plain = _sums(blocks.load(logits, n, axis), seen)
        larger = jnp.maximum(top, more_top)
        total = total * jnp.exp(top - _finite(larger)) + more * jnp.exp(more_top - _finite(larger))
        return larger, total, plain + more_plain

    return lax.fori_loop(0, blocks.count, step, (jnp.full_like(row, -jnp.inf), row, row))


def _picked(x, label, where, transition, mean) -> jax.Array:
    if transition is not None:
        x = _widened(x)
        return (transition.astype(x.dtype).at[label].get(mode="promise_in_bounds") * x).sum(-1)
    value = _at(x, label).astype(mean.dtype)
    return value if where is None else jnp.where(_at(jnp.broadcast_to(where, x.shape), label), value, mean)


def _at(x: jax.Array, label: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x, label[..., None], -1, mode="promise_in_bounds")[..., 0]


def _count(x: jax.Array, where, dtype) -> jax.Array:
    if where is None:
        return jnp.asarray(x.shape[-1], dtype)
    return jnp.maximum(jnp.broadcast_to(where, x.shape).sum(-1, dtype=dtype), 1)


def _widened(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def _forward(logits, own, partner, where, transition):
    found = _statistics(logits, own, partner, where, transition)
    return found, (logits, own, partner, where, transition, found.lse)


def _backward(residuals, upstream: Statistics):
    logits, own, partner, where, transition, lse = residuals
    x = _widened(logits)
    of_mean, classes = upstream.mean, positions(logits, -1)
    given = [(y, g) for y, g in ((own, upstream.own), (partner, upstream.partner)) if y is not None]
    for n, (y, g) in enumerate(given):
        if where is not None:  # the logit of an impossible label is the mean
            seen = _at(jnp.broadcast_to(where, x.shape), y)
            of_mean, given[n] = of_mean + jnp.where(seen, 0, g), (y, jnp.where(seen, g, 0))
    gradient = upstream.lse[..., None] * jnp.exp(x - lse[..., None]) + (of_mean / _count(x, where, x.dtype))[..., None]
    if where is not None:
        gradient = jnp.where(where, gradient, 0)
    for y, g in given:
        # A comparison for each class fuses with the rest. A scatter would be a pass of its own, over a wider copy.
        if transition is None:
            gradient = gradient + jnp.where(classes == y[..., None], g[..., None], 0)
        else:
            row = transition.astype(x.dtype).at[y].get(mode="promise_in_bounds")
            gradient = gradient + row * g[..., None]
    return gradient.astype(logits.dtype), None, None, None, None


statistics.defvjp(_forward, _backward)


@jax.custom_vjp
def present_sums(logits, labels, known, half) -> tuple[jax.Array, jax.Array]:
    """The sum of ``softplus(z) - half * z`` over each row of logits, and of z over the classes in a list.

    Args:
      logits: floats (..., K).
      labels, known: the classes (..., L), in [0, K), and which entries of the lists count.
      half: float32 or wider, of shape (...) or of axes of one element.
    """
    z = _widened(logits)
    rest = (jax.nn.softplus(z) - half[..., None] * z).sum(-1)
    present = jnp.take_along_axis(logits, labels, -1, mode="promise_in_bounds").astype(z.dtype)
    return rest, jnp.where(known, present, 0).sum(-1)


def _present_forward(logits, labels, known, half):
    return present_sums(logits, labels, known, half), (logits, labels, known, half)


def _present_backward(residuals, upstream):
    logits, labels, known, half = residuals
    (rest, present), z, classes = upstream, _widened(logits), positions(logits, -1)
    gradient = rest[..., None] * (jax.nn.sigmoid(z) - half[..., None])
    for n in range(labels.shape[-1]):
        hit = (classes == labels[..., n, None]) & known[..., n, None]
        gradient = gradient + jnp.where(hit, present[..., None], 0)
    of_half = -(rest * z.sum(-1))
    axes = [axis for axis, (a, b) in enumerate(zip(of_half.shape, half.shape, strict=True)) if a != b]
    return gradient.astype(logits.dtype), None, None, of_half.sum(axes, keepdims=True) if axes else of_half


present_sums.defvjp(_present_forward, _present_backward)
