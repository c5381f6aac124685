"""`attention`: the public function, and the form of it that the layers of `noisejax.nnx` and `.linen` call."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax._random.stream import enter
from noisejax.fused._attention.blockwise import attend
from noisejax.fused._attention.checks import check
from noisejax.fused._attention.tiles import Operands, Plan
from noisejax.fused._kernels import attention as kernels, dispatch
from noisejax.fused._tiles import Blocks, place_of


def attention(
    key: jax.Array | None,
    query: jax.Array,
    key_states: jax.Array,
    value_states: jax.Array,
    rate: Amount,
    bias: jax.Array | np.ndarray | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    window: int | tuple[int, int] | None = None,
    query_lengths: jax.Array | np.ndarray | None = None,
    key_lengths: jax.Array | np.ndarray | None = None,
    segment_ids: jax.Array | np.ndarray | tuple | None = None,
    broadcast_dims: tuple[int, ...] = (),
    implementation: str | None = None,
) -> jax.Array:
    """Softmax attention with dropout of the probabilities, which are never stored.

    The result is ``einsum("bhqk,bkhd->bqhd", nj.dropout(key, softmax(scores), rate), value_states)`` with ``scores =
    scale * einsum("bqhd,bkhd->bhqk", query, key_states) + bias``. It is computed by blocks, so that the memory grows
    with T and not with its square, forward and backward. The dropped probabilities are those of `nj.dropout`, to the
    bit. Scores and sums are float32, or float64 for float64 inputs.

    A query that sees no key gives zeros. Batch and heads may be sharded over devices. Under `jax.vmap` each example has
    its own indices, so map over keys as well.

    Args:
      key: a JAX key. It may be None if the rate is the number 0.
      query: floats (B, T, N, H), or (T, N, H), as for `jax.nn.dot_product_attention`.
      key_states: (B, S, K, H) of query's dtype. N must be a multiple of K: each of the K heads serves N / K
        consecutive heads of queries.
      value_states: (B, S, K, V).
      rate: the probability that an attention probability is dropped, in [0, 1]; the rest is divided by 1 - rate. A
        scalar, or for one rate per example (B, 1, 1, 1), per head (N, 1, 1), or per both (B, N, 1, 1). Traced values
        are clamped. The number 0 draws nothing.
      bias: floats that are added to the scores, or booleans, False where a query must not see a key. Broadcastable to
        (B, N, T, S). Its gradient has its own size.
      causal: whether query t sees the keys 0, ..., t only. Static.
      scale: the factor of the products; by default ``1 / sqrt(H)``. Static.
      window: query t sees the keys from t - left to t + right only, for ``window=(left, right)`` or an integer for
        both. Static.
      query_lengths, key_lengths: the lengths of padded sequences, integers (B,). The result at padded queries is 0.
      segment_ids: integers (B, T) of packed sequences: a query sees the keys of its own segment only. A pair, of (B, T)
        and (B, S), if queries and keys differ.
      broadcast_dims: axes of the probabilities (B, N, T, S) along which one draw is shared, as in `nj.dropout`:
        ``(0, 1)`` for all examples and heads, as in Flax by default. Static.
      implementation: None or `"xla"` for the form that runs everywhere. `"pallas"` asks for kernels for GPUs and TPUs,
        without bias, lengths and segments, and raises with the reason where they cannot run. Static.

    Returns:
      (B, T, N, V) in query's dtype.

    Raises:
      TypeError: the arrays do not have one dtype of floats.
      ValueError: shapes do not fit, or a number is out of range.

    References:
      Vaswani et al., "Attention is all you need", NeurIPS 2017, with dropout as in their code. For the blocks: Rabe and
      Staats, "Self-attention does not need O(n^2) memory", 2021; Dao et al., "FlashAttention", NeurIPS 2022.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 16, 4, 8))
      >>> y = nj.fused.attention(jax.random.key(1), q, k, v, 0.1, causal=True)
      >>> y.shape
      (2, 16, 4, 8)
    """
    return attend_by_blocks(
        key,
        query,
        key_states,
        value_states,
        rate,
        bias,
        causal=causal,
        scale=scale,
        window=window,
        query_lengths=query_lengths,
        key_lengths=key_lengths,
        segment_ids=segment_ids,
        broadcast_dims=broadcast_dims,
        implementation=implementation,
    )


def attend_by_blocks(
    key,
    query,
    key_states,
    value_states,
    rate,
    bias=None,
    *,
    mask=None,
    blocks=None,
    precision=None,
    implementation=None,
    **options: Any,
) -> jax.Array:
    """`attention` with a mask of booleans besides the bias, sizes of blocks, and the precision of the products."""
    if key is not None:
        key = enter("attention", key)
    rate = arithmetic_amount("attention", "rate", rate, _checks.rate)
    silent = isinstance(rate, np.ndarray) and not rate.any()
    if key is None and not silent:
        raise TypeError("attention: key must be a JAX key, got None. It may be None only if rate is the number 0.")
    shapes = check(query, key_states, value_states, rate, bias, mask, **options)
    q, k, v, bias, mask, rate, lengths, segments, static = shapes.prepare()
    if 0 in (*shapes.probabilities, v.shape[-1]):
        return jnp.zeros((*query.shape[:-1], v.shape[-1]), q.dtype)
    place = words = None
    if not silent:
        drawn = tuple(1 if axis in static["shared"] else n for axis, n in enumerate(shapes.probabilities))
        place, *words = place_of(key, "dropout", drawn)
    if blocks is None:
        most = _most_in_a_block(shapes.probabilities[0] * shapes.probabilities[1])
        blocks = [_evenly(n, size) for n, size in zip(shapes.probabilities[2:], most, strict=True)]
    cut = [Blocks(n, min(n, size)) for n, size in zip(shapes.probabilities[2:], blocks, strict=True)]
    plan = Plan(static["scale"], static["causal"], static["window"], place, cut[0], cut[1], precision)
    keys = None if words is None else (words[0], words[1])
    operands = Operands(keys, lengths[0], lengths[1], segments[0], segments[1], mask)
    how = dispatch.kernel("attention", implementation, kernels.why_not(plan, q, v, bias, operands))
    if how is None:
        out = _attend(plan, q, k, v, bias, rate, operands)
    else:
        out = _kernels(plan, tuple(how.items()), q, k, v, rate, operands.words)
    return out.reshape(*query.shape[:-1], v.shape[-1])


_attend = jax.jit(attend, static_argnums=0, inline=True)  # so that an eager call is compiled once
_kernels = jax.jit(kernels.attend, static_argnums=(0, 1), inline=True)


def _most_in_a_block(heads: int) -> tuple[int, int]:
    """The sizes of blocks of queries and of keys: the fastest on CPUs, and smaller ones for tiles of many heads.

    XLA gives products of less than 512 by 256 to one thread.
    """
    return (512, 256) if heads <= 64 else (256, 256) if heads <= 128 else (128, 256)


def _evenly(n: int, most: int) -> int:
    """The size of the fewest blocks that cover n, about equal, so that the last one repeats little of that before."""
    size = -(-n // -(-n // most))
    return -(-size // 16) * 16
