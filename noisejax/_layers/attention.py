"""Attention with dropout of its probabilities, shared by the layers of `noisejax.nnx` and `noisejax.linen`."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax._noises.masking import dropout
from noisejax.fused._attention.call import attend_by_blocks


def fused(
    key: jax.Array | None,
    query: jax.Array,
    key_states: jax.Array,
    value: jax.Array,
    rate: Amount,
    bias: Any,
    mask: Any,
    *,
    broadcast: bool,
    causal: bool = False,
    precision: Any = None,
) -> jax.Array:
    """Attention (batch..., length, heads, features) by blocks. `broadcast` shares one draw, as in Flax."""
    batch = query.shape[:-3]
    size = math.prod(batch)
    bias, mask = (_flat(x, batch, size) for x in (bias, mask))
    q, k, v = (x.reshape(size, *x.shape[-3:]) for x in (query, key_states, value))
    out = attend_by_blocks(
        key,
        q,
        k,
        v,
        rate,
        bias,
        mask=None if mask is None else mask.astype(bool),
        causal=causal,
        broadcast_dims=(0, 1) if broadcast else (),
        precision=precision,
    )
    return out.reshape(*batch, *out.shape[1:])


def _flat(x: Any, batch: tuple[int, ...], size: int) -> Any:
    """What broadcasts to (batch..., heads, queries, keys), with one axis of examples."""
    if x is None or x.ndim <= 3 or len(batch) == 1:
        return x
    x = jnp.asarray(x)
    x = x.reshape((1,) * (len(batch) + 3 - x.ndim) + x.shape)
    leading, rest = x.shape[: len(batch)], x.shape[len(batch) :]
    if all(n == 1 for n in leading):
        return x.reshape(1, *rest)
    return jnp.broadcast_to(x, (*batch, *rest)).reshape(size, *rest)


def drop(key, weights: jax.Array, rate: Amount, broadcast: bool) -> jax.Array:
    """Dropout on attention probabilities (..., heads, queries, keys); `broadcast` shares one draw, as in Flax."""
    return dropout(key, weights, rate, broadcast_dims=tuple(range(weights.ndim - 2)) if broadcast else ())


def rate_of(function: str, rate: Any, rng: Any, deterministic: bool) -> tuple[jax.Array | np.ndarray, bool]:
    """The checked rate, and whether nothing is dropped. Dropping needs a key."""
    rate = arithmetic_amount(function, "dropout_rate", rate, _checks.rate)
    silent = deterministic or (not isinstance(rate, jax.Array) and bool(np.all(rate == 0)))
    if not silent:
        if rng is None:
            raise ValueError(f"{function}: dropout needs a key. Give dropout_rng, or deterministic=True.")
        _checks.key(function, rng)
    return rate, silent


def check(function: str, query: Any, key: Any, value: Any, bias: Any, mask: Any, **flags: Any) -> None:
    """Checks what an attention function is called with, before Flax computes with it."""
    for name, array in (("query", query), ("key", key), ("value", value)):
        _checks.array(function, array, _checks.floats, name)
        if array.ndim < 3:
            raise ValueError(f"{function}: {name} must be (..., length, heads, features), got shape {array.shape}.")
    try:
        jnp.result_type(query, key, value)
    except (TypeError, ValueError):  # JAX promotes no pair of dtypes implicitly that loses values
        dtypes = ", ".join(str(array.dtype) for array in (query, key, value))
        raise TypeError(f"{function}: query, key and value must have one dtype, got {dtypes}. Cast them.") from None
    if key.shape[:-1] != value.shape[:-1] or query.shape[-1] != key.shape[-1] or query.shape[:-3] != key.shape[:-3]:
        raise ValueError(
            f"{function}: query, key and value must fit each other, got shapes {query.shape}, {key.shape} and "
            f"{value.shape}. Query and key need the same features, key and value the same lengths and heads."
        )
    if key.shape[-2] == 0 or query.shape[-2] % key.shape[-2]:
        raise ValueError(
            f"{function}: the heads of query must be a multiple of those of key, got shapes {query.shape} and "
            f"{key.shape}."
        )
    full = (*query.shape[:-3], query.shape[-2], query.shape[-3], key.shape[-3])
    for name, array in (("bias", bias), ("mask", mask)):
        if array is not None:
            _checks.broadcastable(function, name, _checks.operand(function, name, array).shape, full)
    for name, flag in flags.items():
        _checks.flag(function, name, flag)


def attend(weights: jax.Array, value: jax.Array, precision: Any = None) -> jax.Array:
    """The mean of values (..., keys, heads, features) under attention weights; fewer value heads are shared."""
    heads, shared = weights.shape[-3], value.shape[-2]
    value = value if heads == shared else jnp.repeat(value, heads // shared, axis=-2)
    return jnp.einsum("...hqk,...khd->...qhd", weights, value, precision=precision)
