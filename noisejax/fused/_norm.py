"""Dropout, the residual sum and a norm, forward and backward, keeping only what the backward pass needs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax._random.sample import bernoulli
from noisejax._random.stream import enter, words_like
from noisejax.fused._kernels import dispatch, norm as kernels


def dropout_residual_norm(
    key: jax.Array,
    x: jax.Array,
    residual: jax.Array,
    rate: Amount,
    scale: jax.Array | None = None,
    shift: jax.Array | None = None,
    *,
    norm: str = "rms",
    epsilon: float = 1e-6,
    implementation: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """A residual block's end: ``h = residual + nj.dropout(key, x, rate)`` and ``y = norm(h) * scale + shift``.

    The draws are those of `nj.dropout`. The backward pass keeps h, which the next block needs anyway, and two numbers
    for each row. It draws the mask again, and needs neither x nor y.

    Args:
      key: a JAX key.
      x: floats (..., features): the output of the branch.
      residual: of x's shape and dtype.
      rate: the probability that an element of x is dropped, in [0, 1], broadcastable to x; traced values are clamped.
        Gradients stop at it.
      scale, shift: None, or floats (features,) of any dtype: the gain and bias of the norm.
      norm: `"rms"` for RMSNorm, ``h / sqrt(mean(h**2) + epsilon)``, or `"layer"` for LayerNorm, which subtracts the
        mean first. Static.
      epsilon: positive. Static.
      implementation: None or `"xla"` for the form that runs everywhere. `"pallas"` asks for a kernel for GPUs and TPUs,
        for one rate, and raises with the reason where it cannot run. The backward pass is the same. Static.

    Returns:
      (h, y), both of x's shape and dtype. The norm is that of the rounded h, in float32 or wider.

    Raises:
      TypeError: x and residual do not hold floats of one dtype.
      ValueError: shapes do not fit, or a number is out of range.

    References:
      Srivastava et al., JMLR 2014 (dropout); Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019;
      Ba, Kiros and Hinton, "Layer normalization", 2016.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x, residual = jnp.ones((4, 16)), jnp.zeros((4, 16))
      >>> h, y = nj.fused.dropout_residual_norm(jax.random.key(0), x, residual, 0.5, jnp.ones(16))
      >>> sorted(set(h.ravel().tolist()))
      [0.0, 2.0]
    """
    function = "dropout_residual_norm"
    drawn = enter(function, key)
    for name, array in (("x", x), ("residual", residual)):
        _checks.array(function, array, _checks.floats, name)
    if x.shape != residual.shape or x.dtype != residual.dtype:
        raise ValueError(
            f"{function}: residual must have the shape and dtype of x, got {_checks.shown(residual)} and "
            f"{_checks.shown(x)}."
        )
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{function}: x must be (..., features), got shape {tuple(x.shape)}.")
    share: Any = arithmetic_amount(function, "rate", rate, _checks.rate)
    _checks.broadcastable(function, "rate", share.shape, tuple(x.shape))
    if share.ndim > 1:
        _checks.unambiguous(function, "rate", share.shape, tuple(x.shape))
    _checks.one_of(function, "norm", norm, ("rms", "layer"))
    epsilon = _checks.scalar(function, "epsilon", epsilon, 1e-30, 1e30)
    scale, shift = (_row(function, name, row, x.shape[-1]) for name, row in (("scale", scale), ("shift", shift)))
    share = jnp.asarray(share).reshape((1,) * (x.ndim - share.ndim) + share.shape if share.ndim else ())
    given = jnp.asarray(x), jnp.asarray(residual), scale, shift, jax.lax.stop_gradient(share)
    how = dispatch.kernel(function, implementation, kernels.why_not(given[0], share))
    if how is not None:
        return _by_kernel((norm, epsilon), tuple(how.items()), *given, drawn)
    return _compiled((norm, epsilon), *given, drawn)


def _row(function: str, name: str, row: Any, features: int) -> Any:
    if row is None:
        return None
    _checks.array(function, row, _checks.floats, name)
    if row.shape != (features,):
        raise ValueError(f"{function}: {name} must have shape ({features},), got {tuple(row.shape)}.")
    return jnp.asarray(row)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dropped_and_normed(static, x, residual, scale, shift, rate, key):
    return _forward(static, x, residual, scale, shift, rate, key)[0]


def _forward(static, x, residual, scale, shift, rate, key):
    wide = _wide(x)
    h = (residual.astype(wide) + _dropout(x.astype(wide), x, rate, key)).astype(x.dtype)
    mean, inverse = _moments(static, h)
    y = (h.astype(wide) if mean is None else h.astype(wide) - mean) * inverse
    y = y if scale is None else y * _as_row(scale, x.ndim, wide)
    y = y if shift is None else y + _as_row(shift, x.ndim, wide)
    return (h, y.astype(x.dtype)), (h, mean, inverse, scale, shift, rate, key)


def _moments(static, h) -> tuple[jax.Array | None, jax.Array]:
    """The mean of each row, None for RMSNorm, and the factor by which the row is multiplied."""
    norm, epsilon = static
    kept = h.astype(_wide(h))
    mean = kept.mean(-1, keepdims=True) if norm == "layer" else None
    centred = kept if mean is None else kept - mean
    return mean, jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + jnp.asarray(epsilon, kept.dtype))


def _backward(static, residuals, upstream):
    h, mean, inverse, scale, shift, rate, key = residuals
    of_h, of_y = (g.astype(_wide(h)) for g in upstream)
    wide = of_h.dtype
    normed = (h.astype(wide) if mean is None else h.astype(wide) - mean) * inverse
    of_normed = of_y if scale is None else of_y * _as_row(scale, h.ndim, wide)
    inner = of_normed - normed * (of_normed * normed).mean(-1, keepdims=True)
    if mean is not None:
        inner = inner - of_normed.mean(-1, keepdims=True)
    given = of_h + inverse * inner
    rows = tuple(range(h.ndim - 1))
    of_scale = None if scale is None else (of_y * normed).sum(rows).astype(scale.dtype)
    of_shift = None if shift is None else of_y.sum(rows).astype(shift.dtype)
    of_x = _dropout(given, h, rate, key).astype(h.dtype)
    return of_x, given.astype(h.dtype), of_scale, of_shift, jnp.zeros_like(rate), None


_dropped_and_normed.defvjp(_forward, _backward)
_compiled = jax.jit(_dropped_and_normed, static_argnums=0, inline=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _kernel(static, how, x, residual, scale, shift, rate, key):
    return kernels.dropped_and_normed(static, how, x, residual, scale, shift, rate, key)


def _kernel_forward(static, how, x, residual, scale, shift, rate, key):
    h, y = kernels.dropped_and_normed(static, how, x, residual, scale, shift, rate, key)
    return (h, y), (h, scale, shift, rate, key)


def _kernel_backward(static, how, residuals, upstream):
    h, scale, shift, rate, key = residuals
    return _backward(static, (h, *_moments(static, h), scale, shift, rate, key), upstream)


_kernel.defvjp(_kernel_forward, _kernel_backward)
_by_kernel = jax.jit(_kernel, static_argnums=(0, 1), inline=True)


def _dropout(value: jax.Array, like: jax.Array, rate: jax.Array, key) -> jax.Array:
    """`nj.dropout`, with the mask of x's shape; linear in the value, so that it is its own transpose."""
    hit = bernoulli(words_like(key, "dropout", like), rate)
    factor = 1 / jnp.where(rate < 1, 1 - jnp.where(rate > 0, rate, 0), 1)
    return jnp.where(hit, 0, value * factor.astype(value.dtype))


def _as_row(row: jax.Array, ndim: int, dtype) -> jax.Array:
    return row.astype(dtype).reshape((1,) * (ndim - 1) + row.shape)


def _wide(x: jax.Array):
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32
