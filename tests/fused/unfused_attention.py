"""Unfused attention in float64, which judges the fused one."""

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj


def visible(batch, queries, keys, causal=False, window=None, query_lengths=None, key_lengths=None, segment_ids=None):
    """(B, 1, T, S), True where a query sees a key."""
    q, k = np.arange(queries)[:, None], np.arange(keys)[None]
    seen = np.ones((batch, 1, queries, keys), bool)
    if causal:
        seen &= k <= q
    if window is not None:
        left, right = window if isinstance(window, tuple) else (window, window)
        seen &= (k >= q - left) & (k <= q + right)
    if query_lengths is not None:
        seen &= q < np.reshape(query_lengths, (-1, 1, 1, 1))
    if key_lengths is not None:
        seen &= k < np.reshape(key_lengths, (-1, 1, 1, 1))
    if segment_ids is not None:
        one, other = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
        seen &= one[:, None, :, None] == other[:, None, None, :]
    return seen


def attention(q, k, v, hit, rate, bias, seen, scale=None):
    """Attention (B, T, N, V) with the probabilities at `hit` dropped."""
    groups = q.shape[2] // k.shape[2]
    k, v = (jnp.repeat(x, groups, 2) for x in (k, v))
    s = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if bias is not None:
        s = s + bias
    s = jnp.where(seen, s, -jnp.inf)
    top = jnp.max(s, -1, keepdims=True)
    e = jnp.exp(s - jnp.where(top == -jnp.inf, 0, top))
    total = e.sum(-1, keepdims=True)
    p = e / jnp.where(total > 0, total, 1)
    p = jnp.where(hit, 0, p / jnp.where(rate < 1, 1 - jnp.where(rate > 0, rate, 0), 1))
    return jnp.einsum("bhqk,bkhd->bqhd", p, v)


def with_gradients(key, q, k, v, rate, bias, upstream, scale=None, broadcast_dims=(), **masks):
    """The result and the gradients in q, k, v, the rate and the bias, computed in float64, as NumPy arrays."""
    shape = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    seen = visible(shape[0], *shape[2:], **masks)
    hit = np.asarray(nj.hits(nj.bind(nj.dropout, rate=rate, broadcast_dims=broadcast_dims))(key, jnp.ones(shape)))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        given = [None if x is None else jnp.asarray(np.asarray(x, np.float64)) for x in (q, k, v, rate, bias)]

        def loss(q, k, v, rate, bias):
            out = attention(q, k, v, hit, rate, bias, seen, scale)
            return (out * np.asarray(upstream, np.float64)).sum(), out

        places = (0, 1, 2, 3) if bias is None else (0, 1, 2, 3, 4)
        (_, out), gradients = jax.value_and_grad(loss, places, has_aux=True)(*given)
        return [np.asarray(x) for x in (out, *gradients)]


def error(got, wanted) -> float:
    """The distance as a share of the wanted array's norm."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape
    return float(np.linalg.norm(got - wanted) / max(np.linalg.norm(wanted), 1e-30))
