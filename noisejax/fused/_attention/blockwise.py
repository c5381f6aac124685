"""Exact softmax attention by blocks, forward and backward, as plain jnp: nothing of size T x S is ever stored.

Forward, each block of queries runs over the blocks of keys with the online softmax (Milakov and Gimelshein, 2018;
Rabe and Staats, 2021; Dao et al., 2022). It keeps the logarithm of each row's sum, from which the backward pass makes
the probabilities of a tile again. Both draw a tile's dropout from the global indices of its elements.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from noisejax.fused._attention.tiles import Operands, Plan, accumulator, dropped, keep_scale, scores
from noisejax.fused._tiles import as_bits, from_bits


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend(plan: Plan, q, k, v, bias, rate, operands: Operands) -> jax.Array:
    """Attention of queries (B, T, K, G, H) to keys (B, S, K, H) and values (B, S, K, V).

    Args:
      plan: what is static.
      bias: None, or floats (B, K, G, T, S), each axis possibly of one element.
      rate: the probability that a probability is dropped, (B, K, G, 1, 1), the first three possibly of one element.
      operands: integers and masks.

    Returns:
      (B, T, K, G, V), in q's dtype.
    """
    return _forward(plan, q, k, v, bias, rate, operands)[0]


def _forward(plan: Plan, q, k, v, bias, rate, operands):
    wide = accumulator(q.dtype)

    def block(i, buffers):
        out, lse = buffers
        queries = _heads_first(plan.queries.load(q, i))

        def step(j, carry):
            m, total, acc = carry
            s = scores(plan, queries, _features_first(plan.keys.load(k, j)), bias, operands, i, j, ("keys",))
            top = jnp.maximum(m, s.max(-1))
            shift = _finite(top)
            p, fade = jnp.exp(s - shift[..., None]), jnp.exp(m - shift)
            total = total * fade + p.sum(-1)
            hit = dropped(plan, rate, operands, s, i, j)
            kept = (p if hit is None else jnp.where(hit, 0, p)).astype(v.dtype)
            values = plan.keys.load(v, j)
            acc = acc * fade[..., None] + _product(plan, "bskv,bkgqs->bkgqv", values, kept, wide)
            return top, total, acc

        zeros = jnp.zeros_like(queries[..., :1], dtype=wide)
        row = zeros[..., 0]
        carry = jnp.full_like(row, -jnp.inf), row, _widened(zeros, v.shape[-1])
        m, total, acc = lax.fori_loop(*plan.key_blocks(i), step, carry)
        some = total > 0
        factor = jnp.where(some, 1 / jnp.where(some, total, 1), 0)[..., None]
        factor = factor if plan.place is None else factor * keep_scale(rate).astype(wide)
        value = _queries_first(acc * factor).astype(q.dtype)
        # A row without a visible key gets probabilities of 0 in the backward pass.
        row = jnp.where(some, m + jnp.log(jnp.where(some, total, 1)), jnp.inf)
        return plan.queries.write(out, value, i, 1), plan.queries.write(lse, row, i, 3)

    out = as_bits(_widened(jnp.zeros_like(q[..., :1]), v.shape[-1]))
    lse = jnp.zeros_like(_heads_first(q[..., :1])[..., 0], dtype=wide)
    out, lse = lax.fori_loop(0, plan.queries.count, block, (out, lse))
    return from_bits(out, q.dtype), lse


def _attend_forward(plan: Plan, q, k, v, bias, rate, operands):
    out, lse = _forward(plan, q, k, v, bias, rate, operands)
    return out, (q, k, v, bias, rate, operands, out, lse)


def _attend_backward(plan: Plan, residuals, upstream):
    q, k, v, bias, rate, operands, out, lse = residuals
    wide = accumulator(q.dtype)
    # The mean of a row's upstream gradient under its probabilities (FlashAttention's D), (B, K, G, T).
    delta = _heads_first((upstream.astype(wide) * out.astype(wide)).sum(-1, keepdims=True))[..., 0]
    scale = keep_scale(rate).astype(wide)

    def block(j, buffers):
        dq, dk, dv, dbias = buffers
        keys, values = plan.keys.load(k, j), _features_first(plan.keys.load(v, j))
        turned = _features_first(keys)

        def step(i, carry):
            dq, dbias, dk, dv = carry
            queries, given = plan.queries.load(q, i), plan.queries.load(upstream, i)
            s = scores(plan, _heads_first(queries), turned, bias, operands, i, j, ("queries", "keys"))
            p = jnp.exp(s - plan.queries.read(lse, i, 3)[..., None])
            dp = _product(plan, "bkvs,bqkgv->bkgqs", values, given, wide)
            kept, hit = p, dropped(plan, rate, operands, s, i, j)
            if hit is not None:
                kept, dp = jnp.where(hit, 0, p * scale), jnp.where(hit, 0, dp * scale)
            ds = p * (dp - plan.queries.read(delta, i, 3)[..., None])
            if dbias is not None:
                dbias = _add_part(plan, dbias, ds, i, j)
            ds = (ds * jnp.asarray(plan.scale, wide)).astype(q.dtype)
            # A tile as the second operand: as the first it would be transposed, and drawn again for that.
            dv = dv + _product(plan, "bqkgv,bkgqs->bkvs", given, kept.astype(v.dtype), wide)
            dk = dk + _product(plan, "bqkgh,bkgqs->bkhs", queries, ds, wide)
            dq = plan.queries.add(dq, _product(plan, "bskh,bkgqs->bqkgh", keys, ds, wide), i, 1)
            return dq, dbias, dk, dv

        start = dq, dbias, jnp.zeros_like(turned, dtype=wide), jnp.zeros_like(values, dtype=wide)
        dq, dbias, new_dk, new_dv = lax.fori_loop(*plan.query_blocks(j), step, start)
        new_dk, new_dv = (x.transpose(0, 3, 1, 2) for x in (new_dk, new_dv))
        dk = plan.keys.write(dk, new_dk.astype(k.dtype), j, 1, keep=True)
        dv = plan.keys.write(dv, new_dv.astype(v.dtype), j, 1, keep=True)
        return dq, dk, dv, dbias

    dbias = None if bias is None else jnp.zeros_like(bias, dtype=wide)
    start = jnp.zeros_like(q, dtype=wide), as_bits(jnp.zeros_like(k)), as_bits(jnp.zeros_like(v)), dbias
    dq, dk, dv, dbias = lax.fori_loop(0, plan.keys.count, block, start)
    dbias = None if bias is None else dbias.astype(bias.dtype)
    return dq.astype(q.dtype), from_bits(dk, k.dtype), from_bits(dv, v.dtype), dbias, _of_rate(rate, delta), None


attend.defvjp(_attend_forward, _attend_backward)


def _of_rate(rate: jax.Array, delta: jax.Array) -> jax.Array:
    """The gradient of the rate: the result is 1 / (1 - rate) times what does not depend on it."""
    slope = jnp.where((rate > 0) & (rate < 1), keep_scale(rate), 0)
    return _summed(delta[..., None] * slope.astype(delta.dtype), rate.shape).astype(rate.dtype)


def _add_part(plan: Plan, dbias: jax.Array, ds: jax.Array, i, j) -> jax.Array:
    """The gradient of the bias with a tile's part added."""
    q, k = (blocks if n > 1 else None for blocks, n in zip((plan.queries, plan.keys), dbias.shape[3:], strict=True))
    part = _summed(ds, (*dbias.shape[:3], q.size if q else 1, k.size if k else 1))
    rows = dbias if q is None else q.read(dbias, i, 3)
    rows = rows + part if k is None else k.add(rows, part, j, 4)
    return rows if q is None else lax.dynamic_update_slice_in_dim(dbias, rows, q.start(i), 3)


def _summed(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The sum over the axes along which an array of this shape was broadcast to x."""
    axes = [axis for axis, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if m == 1 and n != 1]
    return x.sum(axes, keepdims=True) if axes else x


def _product(plan: Plan, subscripts: str, a: jax.Array, b: jax.Array, wide) -> jax.Array:
    return jnp.einsum(subscripts, a, b, precision=plan.precision, preferred_element_type=wide)


def _heads_first(x: jax.Array) -> jax.Array:
    """(B, T, K, G, H) as (B, K, G, T, H)."""
    return x.transpose(0, 2, 3, 1, 4)


def _features_first(x: jax.Array) -> jax.Array:
    """(B, S, K, H) as (B, K, H, S)."""
    return x.transpose(0, 2, 3, 1)


def _queries_first(x: jax.Array) -> jax.Array:
    """(B, K, G, T, H) as (B, T, K, G, H)."""
    return x.transpose(0, 3, 1, 2, 4)


def _widened(x: jax.Array, size: int) -> jax.Array:
    """An array whose last axis has one element, broadcast along it."""
    return jnp.broadcast_to(x, (*x.shape[:-1], size))


def _finite(top: jax.Array) -> jax.Array:
    """The largest score of a row, or 0 for a row that has seen no key yet."""
    return jnp.where(top == -jnp.inf, 0, top)
