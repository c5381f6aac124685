"""What `attention` is called with: checked where it is known on the host, and brought into the shapes of the blocks."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks


@dataclasses.dataclass
class Shapes:
    """The checked arguments. Those for a batch of one are of one example, without the axis of examples."""

    query: Any
    key_states: Any
    value_states: Any
    rate: Any
    bias: Any
    mask: Any
    lengths: tuple
    segments: tuple
    static: dict[str, Any]

    @property
    def probabilities(self) -> tuple[int, int, int, int]:
        """(B, N, T, S)."""
        *batch, t, n, _ = self.query.shape
        return (*batch, n, t, self.key_states.shape[-3]) if batch else (1, n, t, self.key_states.shape[-3])

    def prepare(self) -> tuple:
        """q, k, v, bias, mask and rate with an axis of examples and with heads in groups; the rest; what is static."""
        single = self.query.ndim == 3
        q, k, v = (jnp.asarray(x)[None] if single else jnp.asarray(x) for x in self.arrays)
        heads = k.shape[2]
        q = q.reshape(*q.shape[:2], heads, q.shape[2] // heads, q.shape[3])
        bias, mask, rate = (None if x is None else grouped(x, heads) for x in (self.bias, self.mask, self.rate))
        lengths, segments = (
            tuple(None if x is None else jnp.asarray(x)[None] if single else jnp.asarray(x) for x in group)
            for group in (self.lengths, self.segments)
        )
        return q, k, v, bias, mask, rate, lengths, segments, self.static

    @property
    def arrays(self) -> tuple:
        return self.query, self.key_states, self.value_states


def grouped(x: Any, heads: int) -> jax.Array:
    """What broadcasts to (B, N, T, S) as what broadcasts to (B, K, G, T, S)."""
    x = jnp.asarray(x)
    x = x.reshape((1,) * (4 - x.ndim) + x.shape)
    groups = (1, 1) if x.shape[1] == 1 else (heads, x.shape[1] // heads)
    return x.reshape(x.shape[0], *groups, *x.shape[2:])


def check(
    query,
    key_states,
    value_states,
    rate,
    bias,
    mask,
    *,
    causal=False,
    scale=None,
    window=None,
    query_lengths=None,
    key_lengths=None,
    segment_ids=None,
    broadcast_dims=(),
) -> Shapes:
    _check_arrays(query, key_states, value_states)
    *batch, t, n, features = query.shape
    s, full = key_states.shape[-3], (*batch, n, t, key_states.shape[-3])
    _check_rate(rate, full)
    bias = _checked_bias("bias", bias, full)
    if bias is not None and bias.dtype == jnp.bool_:
        bias, mask = None, bias if mask is None else mask & bias
    if scale is None:
        scale = 1 / math.sqrt(max(features, 1))
    static = {
        "scale": _checks.scalar("attention", "scale", scale, -1e38, 1e38),
        "causal": _checks.flag("attention", "causal", causal),
        "window": _checked_window(window),
        "shared": _checked_dims(broadcast_dims, len(full)),
    }
    lengths = (
        _checked_lengths("query_lengths", query_lengths, tuple(batch), t),
        _checked_lengths("key_lengths", key_lengths, tuple(batch), s),
    )
    segments = _checked_segments(segment_ids, (*batch, t), (*batch, s))
    return Shapes(query, key_states, value_states, rate, bias, mask, lengths, segments, static)


def _check_arrays(query, key_states, value_states) -> None:
    arrays = {"query": query, "key_states": key_states, "value_states": value_states}
    for name, array in arrays.items():
        _checks.array("attention", array, _checks.floats, name)
        if array.ndim not in (3, 4):
            raise ValueError(
                f"attention: {name} must be (batch, length, heads, features), or without the batch, got shape "
                f"{tuple(array.shape)}. Reshape other leading axes into one batch."
            )
    if not query.dtype == key_states.dtype == value_states.dtype:
        dtypes = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items())
        raise TypeError(f"attention: query, key_states and value_states must have one dtype, got {dtypes}. Cast them.")
    shapes = f"got {', '.join(f'{name} {tuple(array.shape)}' for name, array in arrays.items())}"
    if not query.ndim == key_states.ndim == value_states.ndim or query.shape[:-3] != key_states.shape[:-3]:
        raise ValueError(f"attention: query, key_states and value_states must have one batch, {shapes}.")
    if key_states.shape[:-1] != value_states.shape[:-1]:
        raise ValueError(f"attention: value_states must have the length and heads of key_states, {shapes}.")
    if query.shape[-1] != key_states.shape[-1]:
        raise ValueError(f"attention: query and key_states must have the same number of features, {shapes}.")
    if key_states.shape[-2] == 0 or query.shape[-2] % key_states.shape[-2]:
        raise ValueError(
            f"attention: the heads of query must be a multiple of the heads of key_states, {shapes}. Each head of keys "
            "serves as many heads of queries."
        )


def _check_rate(rate, full: tuple[int, ...]) -> None:
    one = (*full[:-2], 1, 1)
    padded = (1,) * (len(full) - rate.ndim) + tuple(rate.shape)
    if rate.ndim > len(full) or any(a not in (1, b) for a, b in zip(padded, one, strict=True)):
        hint = f"reshape it to {(rate.shape[0], *(1,) * (len(full) - 1))}." if rate.ndim == 1 else ""
        raise ValueError(
            f"attention: rate must be a scalar or broadcast to {one}, one for each example and head, got shape "
            f"{tuple(rate.shape)}. {f'For one rate per example {hint}' if hint and len(full) == 4 else ''}".rstrip()
        )


def _checked_bias(name: str, bias, full: tuple[int, ...]):
    if bias is None:
        return None
    bias = _checks.operand("attention", name, bias)
    if bias.dtype != jnp.bool_ and not jnp.issubdtype(bias.dtype, jnp.floating):
        raise TypeError(
            f"attention: {name} must hold floats that are added to the scores, or booleans, False where a query must "
            f"not see a key, got {_checks.shown(bias)}. Cast it: {name}.astype(bool), for instance."
        )
    padded = (1,) * (len(full) - bias.ndim) + tuple(bias.shape)
    if bias.ndim > len(full) or any(a not in (1, b) for a, b in zip(padded, full, strict=True)):
        raise ValueError(
            f"attention: {name} must broadcast to (batch, heads, queries, keys), here {full}, got shape "
            f"{tuple(bias.shape)}."
        )
    return bias


def _checked_window(window) -> tuple[int | None, int | None]:
    if window is None:
        return None, None
    pair = window if isinstance(window, tuple) else (window, window)
    if len(pair) != 2:
        raise ValueError(f"attention: window must be an integer or a pair (left, right), got {window!r}.")
    left, right = (_checks.count("attention", "window", n, 0, "Or a pair of them: (left, right).") for n in pair)
    return left, right


def _checked_dims(value, ndim: int) -> tuple[int, ...]:
    value = tuple(value) if isinstance(value, list) else value
    found = _checks.axes("attention", "broadcast_dims", value, ndim)
    return found if ndim == 4 else tuple(axis + 1 for axis in found)


def _checked_lengths(name: str, lengths, batch: tuple[int, ...], size: int):
    if lengths is None:
        return None
    lengths = _checks.operand("attention", name, lengths, integers=True)
    if tuple(lengths.shape) != batch:
        raise ValueError(f"attention: {name} must have shape {batch}, one for each example, got {lengths.shape}.")
    if isinstance(lengths, (np.ndarray, np.generic)):
        lengths = np.asarray(lengths, np.int64)
        if np.any(wrong := (lengths < 0) | (lengths > size)):
            raise ValueError(
                f"attention: {name} must be in [0, {size}], the length of the sequences, got {lengths[wrong].flat[0]} "
                "among them."
            )
    return lengths.astype(np.int32)


def _checked_segments(segment_ids, one: tuple[int, ...], other: tuple[int, ...]) -> tuple:
    if segment_ids is None:
        return None, None
    pair = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
    if len(pair) != 2:
        raise ValueError(
            f"attention: segment_ids must be an array of integers {one}, or a pair of them for queries and keys, got "
            f"{len(pair)} arrays."
        )
    pair = tuple(_checks.operand("attention", "segment_ids", ids, integers=True) for ids in pair)
    for ids, wanted in zip(pair, (one, other), strict=True):
        if tuple(ids.shape) != wanted:
            raise ValueError(
                f"attention: segment_ids must have shape {wanted}, one for each element of a sequence, got "
                f"{tuple(ids.shape)}. If queries and keys differ, give a pair: (of queries, of keys)."
            )
    return pair
