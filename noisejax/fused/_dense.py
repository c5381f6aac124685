"""A product with noisy weights that are never written: each tile is drawn when it is needed, forward and backward."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._noise import Combinator, is_noise, stages
from noisejax._random.stream import _key_words, enter, stream
from noisejax.fused._kernels import dense as kernels, dispatch
from noisejax.fused._products import by_kernel, by_tiles, plan_for


def noisy_dense(
    key: jax.Array,
    x: jax.Array,
    w: jax.Array,
    noise: Any,
    *,
    implementation: str | None = None,
) -> jax.Array:
    """The product ``x @ noise(key, w)``, where the noisy weights are never stored.

    The weights are drawn tile by tile, in the forward and again in the backward pass, with the same draws as
    ``noise(key, w)``. The gradient of w is that through the noise. Amounts of a `noisejax.learnable` noise get
    gradients too. Sums are float32, or float64 for float64 weights.

    Args:
      key: a JAX key.
      x: floats (..., n), of w's dtype. Its leading axes may be sharded; w must not be.
      w: floats (n, m).
      noise: a noise of single elements with its amounts, such as ``nj.bind(nj.gaussian, std=0.1)``, `nj.speckle`,
        `nj.quantize`, `noisejax.weights.drop_connect`, or a `noisejax.chain` of them. Amounts that differ between the
        weights must have w's rank, or the shape (m,).
      implementation: None or `"xla"` for the form that runs everywhere. `"pallas"` asks for a kernel for GPUs and TPUs,
        for `nj.gaussian` with one std, and raises with the reason where it cannot run. The backward pass is the same.
        Static.

    Returns:
      (..., m), of x's dtype.

    Raises:
      TypeError: x and w hold no floats of one dtype, or the noise is not bound.
      ValueError: shapes do not fit, or the noise sees more than one element.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x, w = jax.random.key(0), jnp.ones((2, 8)), jnp.ones((8, 4))
      >>> noise = nj.bind(nj.weights.drop_connect, rate=0.5)
      >>> y = nj.fused.noisy_dense(key, x, w, noise)
      >>> bool(jnp.allclose(y, x @ noise(key, w), rtol=1e-5))
      True
    """
    return dense_by_tiles(key, x, w, noise, implementation=implementation)


def dense_by_tiles(key, x, w, noise, size: int | None = None, implementation: str | None = None) -> jax.Array:
    """`noisy_dense` with the most rows and columns in a tile."""
    key = enter("noisy_dense", key)
    for name, array in (("x", x), ("w", w)):
        _checks.array("noisy_dense", array, _checks.floats, name)
    if x.dtype != w.dtype:
        raise TypeError(f"noisy_dense: x and w must have one dtype, got {x.dtype} and {w.dtype}. Cast one of them.")
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[0]:
        raise ValueError(
            f"noisy_dense: x must be (..., n) and w (n, m), got shapes {tuple(x.shape)} and {tuple(w.shape)}."
        )
    (noise,) = stages("noisy_dense", (noise,))
    _check_noise(noise)
    parent = stream(key)
    if parent.layout is not None or parent.rows is not None or parent.tile is not None:
        raise ValueError("noisy_dense: key must be a JAX key: this function is no noise, and cannot be used as one.")
    drawn = dataclasses.replace(parent, key=jnp.stack(_key_words(parent.key)))
    x, w = jnp.asarray(x), jnp.asarray(w)
    if 0 in (*x.shape, *w.shape):
        return jnp.zeros((*x.shape[:-1], w.shape[1]), x.dtype)
    n, m = w.shape
    plan, flat = plan_for(w, size), x.reshape(-1, n)
    how = dispatch.kernel("noisy_dense", implementation, kernels.why_not(flat, w, noise))
    if how is not None:
        return by_kernel(plan, tuple(how.items()), flat, w, noise, drawn).reshape(*x.shape[:-1], m)
    return by_tiles(plan, flat, w, noise, drawn).reshape(*x.shape[:-1], m)


def _check_noise(noise: Any) -> None:
    """Requires noises of this library that see single elements, since others cannot draw for a tile."""
    spec = getattr(noise.function, "__noise__", None)
    if spec is None and not isinstance(noise.function, Combinator):
        raise TypeError(
            "noisy_dense: noise must be made of noises of this library, since other functions cannot draw for a tile, "
            f"got {getattr(noise.function, '__name__', repr(noise.function))}. Use an ordinary product: "
            "x @ noise(key, w)."
        )
    if spec is not None and (spec.kind != "array" or spec.sees != "element"):
        raise ValueError(
            "noisy_dense: noise must act on single elements, since it is drawn by tiles, and "
            f"{noise.function.__name__} sees more than one. Use an ordinary product: x @ noise(key, w)."
        )
    for nested in jax.tree.leaves(noise.amounts, is_leaf=is_noise):
        if is_noise(nested):
            _check_noise(nested)
