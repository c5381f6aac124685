"""Attention with dropout as three kernels: forward, the gradient of the queries, and that of the keys and values.

The plain form is `noisejax.fused._attention.blockwise`, of which they are a transcription: one program for each block
of queries (or of keys) of each head, with a loop over the blocks of the other side.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from noisejax._random.sample import bernoulli
from noisejax.fused._attention.blockwise import _of_rate
from noisejax.fused._attention.tiles import Operands, Plan, keep_scale
from noisejax.fused._kernels.dispatch import parameters
from noisejax.fused._kernels.draws import row_index, words_at

BLOCK = 64


def why_not(plan: Plan, q, v, bias, operands: Operands) -> str | None:
    """Why the kernels cannot take these arguments, or None."""
    if q.dtype not in (jnp.float32, jnp.bfloat16):
        return f"query must be float32 or bfloat16, got {q.dtype}"
    for name, features in (("query", q.shape[-1]), ("value_states", v.shape[-1])):
        if features not in (16, 32, 64, 128, 256):
            return f"{name} must have 16, 32, 64, 128 or 256 features, got {features}"
    for name, blocks in (("query", plan.queries), ("key_states", plan.keys)):
        if blocks.length % BLOCK:
            return f"the length of {name} must be a multiple of {BLOCK}, got {blocks.length}"
    given = [bias, operands.mask, *operands[1:5]]
    if any(x is not None for x in given):
        return "it has no bias, lengths or segments, only causal and windowed masks"
    if plan.place is not None and any(a != b for a, b in zip(plan.place.shape[2:], _lengths(plan), strict=True)):
        return "broadcast_dims may name examples and heads only"
    return None


def _lengths(plan: Plan) -> tuple[int, int]:
    return plan.queries.length, plan.keys.length


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def attend(plan: Plan, how: tuple, q, k, v, rate, words) -> jax.Array:
    """`blockwise.attend` by kernels: (B, T, K, G, H) queries, (B, S, K, H) keys and values, a rate (B, K, G, 1, 1)."""
    return _forward(plan, how, q, k, v, rate, words)[0]


def _forward(plan: Plan, how: tuple, q, k, v, rate, words):
    batch, length, heads, groups, features = q.shape
    shape = batch * heads * groups, length, features
    scalars = _scalars(plan, rate, words, (batch, heads, groups))
    flat = q.transpose(0, 2, 3, 1, 4).reshape(shape), _flat(k), _flat(v)
    kernel = functools.partial(_forward_kernel, plan, heads * groups)
    out, lse = pl.pallas_call(
        kernel,
        grid=(shape[0], length // BLOCK),
        in_specs=[_block(BLOCK, features), _whole(flat[1], groups), _whole(flat[2], groups), *_of_scalars(scalars)],
        out_specs=[_block(BLOCK, v.shape[-1]), _row_block(BLOCK)],
        out_shape=[
            jax.ShapeDtypeStruct((*shape[:2], v.shape[-1]), q.dtype),
            jax.ShapeDtypeStruct((shape[0], length, 1), jnp.float32),
        ],
        name="attention",
        **parameters(dict(how), 4),
    )(*flat, *scalars)
    kept = flat, scalars, out, lse, rate, (batch, heads, groups)
    return _queries_first(out, batch, heads, groups), kept


def _forward_kernel(plan: Plan, heads: int, q_ref, k_ref, v_ref, rate_ref, k0_ref, k1_ref, out_ref, lse_ref):
    head, i = pl.program_id(0), pl.program_id(1)

    def step(j, carry):
        m, total, acc = carry
        keys = pl.ds(j * BLOCK, BLOCK)
        s = _scores(plan, q_ref[0], k_ref[0, keys, :], i, j)
        top = jnp.maximum(m, s.max(1, keepdims=True))
        shift = jnp.where(top == -jnp.inf, 0.0, top)
        p, fade = jnp.exp(s - shift), jnp.exp(m - shift)
        total = total * fade + p.sum(1, keepdims=True)
        values = v_ref[0, keys, :]
        kept = _kept(plan, heads, p, rate_ref, k0_ref, k1_ref, head, i, j).astype(values.dtype)
        return top, total, acc * fade + jnp.dot(kept, values, preferred_element_type=jnp.float32)

    rows = jnp.zeros((BLOCK, 1), jnp.float32)
    start = jnp.full_like(rows, -jnp.inf), rows, jnp.zeros((BLOCK, out_ref.shape[-1]), jnp.float32)
    m, total, acc = lax.fori_loop(*_range(plan, i, False), step, start)
    some = total > 0
    value = acc * jnp.where(some, 1 / jnp.where(some, total, 1.0), 0.0)
    if plan.place is not None:
        value = value * keep_scale(rate_ref[0])
    out_ref[0] = value.astype(out_ref.dtype)
    lse_ref[0] = jnp.where(some, m + jnp.log(jnp.where(some, total, 1.0)), jnp.inf)


def _backward(plan: Plan, how: tuple, kept, upstream):
    (q, k, v), scalars, out, lse, rate, (batch, heads, groups) = kept
    given = upstream.transpose(0, 2, 3, 1, 4).reshape(out.shape)
    delta = (given.astype(jnp.float32) * out.astype(jnp.float32)).sum(-1, keepdims=True)
    options, number = parameters(dict(how), 4), heads * groups
    rows, others = [given, lse, delta], _of_scalars(scalars)
    (dq,) = pl.pallas_call(
        functools.partial(_query_kernel, plan, number),
        grid=(q.shape[0], q.shape[1] // BLOCK),
        in_specs=[
            _block(BLOCK, q.shape[-1]),
            _whole(k, groups),
            _whole(v, groups),
            _block(BLOCK, v.shape[-1]),
            _row_block(BLOCK),
            _row_block(BLOCK),
            *others,
        ],
        out_specs=[_block(BLOCK, q.shape[-1])],
        out_shape=[jax.ShapeDtypeStruct(q.shape, q.dtype)],
        name="attention_dq",
        **options,
    )(q, k, v, *rows, *scalars)
    shape = q.shape[0], k.shape[1]
    dk, dv = pl.pallas_call(
        functools.partial(_key_kernel, plan, number),
        grid=(q.shape[0], k.shape[1] // BLOCK),
        in_specs=[
            _whole(q),
            _block(BLOCK, k.shape[-1], groups),
            _block(BLOCK, v.shape[-1], groups),
            _whole(given),
            _whole(lse),
            _whole(delta),
            *others,
        ],
        out_specs=[_block(BLOCK, k.shape[-1]), _block(BLOCK, v.shape[-1])],
        out_shape=[jax.ShapeDtypeStruct((*shape, x.shape[-1]), jnp.float32) for x in (k, v)],
        name="attention_dkv",
        **options,
    )(q, k, v, *rows, *scalars)

    def of_group(x: jax.Array, like: jax.Array) -> jax.Array:
        x = x.reshape(batch, heads, groups, *x.shape[1:]).sum(2)
        return x.transpose(0, 2, 1, 3).astype(like.dtype)

    of_rate = _of_rate(rate, delta.reshape(batch, heads, groups, -1))
    return _queries_first(dq, batch, heads, groups), of_group(dk, k), of_group(dv, v), of_rate, None


attend.defvjp(_forward, _backward)


def _query_kernel(plan: Plan, heads: int, *refs):
    q_ref, k_ref, v_ref, given_ref, lse_ref, delta_ref, rate_ref, k0_ref, k1_ref, dq_ref = refs
    head, i = pl.program_id(0), pl.program_id(1)

    def step(j, dq):
        q, given, lse, delta = q_ref[0], given_ref[0], lse_ref[0], delta_ref[0]
        keys = k_ref[0, pl.ds(j * BLOCK, BLOCK), :]
        p = jnp.exp(_scores(plan, q, keys, i, j) - lse)
        dp = jnp.dot(given, v_ref[0, pl.ds(j * BLOCK, BLOCK), :].T, preferred_element_type=jnp.float32)
        dp = _scaled(plan, _kept(plan, heads, dp, rate_ref, k0_ref, k1_ref, head, i, j), rate_ref)
        ds = (p * (dp - delta) * jnp.float32(plan.scale)).astype(keys.dtype)
        return dq + jnp.dot(ds, keys, preferred_element_type=jnp.float32)

    dq_ref[0] = lax.fori_loop(*_range(plan, i, False), step, jnp.zeros(dq_ref.shape[1:], jnp.float32)).astype(
        dq_ref.dtype
    )


def _key_kernel(plan: Plan, heads: int, *refs):
    q_ref, k_ref, v_ref, given_ref, lse_ref, delta_ref, rate_ref, k0_ref, k1_ref, dk_ref, dv_ref = refs
    head, j = pl.program_id(0), pl.program_id(1)

    def step(i, carry):
        dk, dv = carry
        keys, values = k_ref[0], v_ref[0]
        rows = pl.ds(i * BLOCK, BLOCK)
        q, given = q_ref[0, rows, :], given_ref[0, rows, :]
        lse, delta = lse_ref[0, rows, :], delta_ref[0, rows, :]
        p = jnp.exp(_scores(plan, q, keys, i, j) - lse)
        dp = jnp.dot(given, values.T, preferred_element_type=jnp.float32)
        draw = functools.partial(_kept, plan, heads)
        kept = _scaled(plan, draw(p, rate_ref, k0_ref, k1_ref, head, i, j), rate_ref).astype(values.dtype)
        dp = _scaled(plan, draw(dp, rate_ref, k0_ref, k1_ref, head, i, j), rate_ref)
        ds = (p * (dp - delta) * jnp.float32(plan.scale)).astype(q.dtype)
        dk = dk + jnp.dot(ds.T, q, preferred_element_type=jnp.float32)
        return dk, dv + jnp.dot(kept.T, given, preferred_element_type=jnp.float32)

    start = jnp.zeros(dk_ref.shape[1:], jnp.float32), jnp.zeros(dv_ref.shape[1:], jnp.float32)
    dk_ref[0], dv_ref[0] = lax.fori_loop(*_range(plan, j, True), step, start)


def _scores(plan: Plan, q, k, i, j) -> jax.Array:
    s = jnp.dot(q, k.T, preferred_element_type=jnp.float32) * jnp.float32(plan.scale)
    left, right = plan.reach
    if left is None and right is None:
        return s
    query = i * BLOCK + lax.broadcasted_iota(jnp.int32, s.shape, 0)
    key = j * BLOCK + lax.broadcasted_iota(jnp.int32, s.shape, 1)
    if right is not None:
        s = jnp.where(key <= query + right, s, -jnp.inf)
    return s if left is None else jnp.where(key >= query - left, s, -jnp.inf)


def _kept(plan: Plan, heads: int, x, rate_ref, k0_ref, k1_ref, head, i, j) -> jax.Array:
    """A tile with 0 where a probability is dropped."""
    if plan.place is None:
        return x
    batch, of_head, query, _ = plan.place.strides
    row = i * BLOCK + lax.broadcasted_iota(jnp.int32, (BLOCK, 1), 0)
    ones, example = jnp.ones((BLOCK, 1), jnp.int32), _divided(head, heads)
    index = row_index(plan.place, [(example * ones, batch), ((head - example * heads) * ones, of_head), (row, query)])
    column = j * BLOCK + lax.broadcasted_iota(jnp.int32, (1, BLOCK), 1)
    hit = bernoulli(words_at(plan.place, k0_ref[...], k1_ref[...], index, column), rate_ref[0])
    return jnp.where(hit, 0.0, x)


def _scaled(plan: Plan, x, rate_ref) -> jax.Array:
    return x if plan.place is None else x * keep_scale(rate_ref[0])


def _range(plan: Plan, n, of_keys: bool) -> tuple[Any, Any]:
    """The blocks that a block of queries sees, or that see a block of keys."""
    left, right = plan.reach
    back, ahead = (right, left) if of_keys else (left, right)
    count = (plan.queries.length if of_keys else plan.keys.length) // BLOCK
    low = 0 if back is None else jnp.minimum(_divided(jnp.maximum(n * BLOCK - back, 0), BLOCK), count)
    high = count if ahead is None else jnp.minimum(_divided(n * BLOCK + BLOCK + ahead + BLOCK - 1, BLOCK), count)
    return low, high


def _divided(a, b: int):
    """The quotient of integers that are not negative: ``//`` asks a TPU for its kind when it is compiled for."""
    return a if b == 1 else lax.div(jnp.asarray(a, jnp.int32), jnp.int32(b))


def _scalars(plan: Plan, rate, words, shape) -> list[jax.Array]:
    """The rate of each head, (heads, 1, 1), and the two words of the key, (1, 1)."""
    rate = jnp.broadcast_to(rate, (*shape, 1, 1)).reshape(-1, 1, 1).astype(jnp.float32)
    k0, k1 = words if plan.place is not None else (jnp.uint32(0), jnp.uint32(0))
    return [rate, k0.reshape(1, 1), k1.reshape(1, 1)]


def _of_scalars(scalars) -> list:
    one = pl.BlockSpec((1, 1), lambda head, n: (0, 0))
    return [pl.BlockSpec((1, 1, 1), lambda head, n: (head, 0, 0)), one, one]


def _block(size: int, features: int, groups: int = 1):
    return pl.BlockSpec((1, size, features), lambda head, n: (_divided(head, groups), n, 0))


def _row_block(size: int):
    return pl.BlockSpec((1, size, 1), lambda head, n: (head, n, 0))


def _whole(x: jax.Array, groups: int = 1):
    return pl.BlockSpec((1, *x.shape[1:]), lambda head, n: (_divided(head, groups), 0, 0))


def _flat(x: jax.Array) -> jax.Array:
    """(B, S, K, H) as (B K, S, H)."""
    return x.transpose(0, 2, 1, 3).reshape(-1, x.shape[1], x.shape[3])


def _queries_first(x: jax.Array, batch: int, heads: int, groups: int) -> jax.Array:
    """(B K G, T, H) as (B, T, K, G, H)."""
    return x.reshape(batch, heads, groups, *x.shape[1:]).transpose(0, 3, 1, 2, 4)
