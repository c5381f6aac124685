"""A product with noisy weights that are never written: each tile is drawn when it is needed, forward and backward."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._noise import Combinator, is_noise, stages
from noisejax._random.stream import Stream, Tile, _key_words, enter, stream
from noisejax.fused._kernels import dense as kernels, dispatch
from noisejax.fused._tiles import Blocks, as_bits, from_bits

_TILE = 2**21  # elements of a tile of weights: 8 MB in float32


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
    """`noisy_dense` with the number of columns or rows in a tile."""
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
    plan = Plan(Blocks(n, min(n, size or _block(m))), Blocks(m, min(m, size or _block(n))))
    flat = x.reshape(-1, n)
    how = dispatch.kernel("noisy_dense", implementation, kernels.why_not(flat, w, noise))
    if how is not None:
        return _by_kernel(plan, tuple(how.items()), flat, w, noise, drawn).reshape(*x.shape[:-1], m)
    return _product(plan, flat, w, noise, drawn).reshape(*x.shape[:-1], m)


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


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static: how rows and columns of w are cut."""

    rows: Blocks
    columns: Blocks


def _block(other: int) -> int:
    """How many rows or columns of this many weights make a tile."""
    return max(8, _TILE // other // 8 * 8)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dense(plan: Plan, x: jax.Array, w: jax.Array, noise: Any, drawn: Stream) -> jax.Array:
    return _forward(plan, x, w, noise, drawn)[0]


def _forward(plan: Plan, x, w, noise, drawn):
    def block(j, out):
        first = (jnp.int32(0), jnp.int32(plan.columns.start(j)))
        tile = plan.columns.load(w, j)
        noisy = _noisy(noise, drawn, tile, w.shape, first)
        value = jnp.dot(x, noisy, preferred_element_type=_wide(x)).astype(x.dtype)
        return plan.columns.write(out, value, j, 1)

    out = jnp.broadcast_to(jnp.zeros_like(x[:, :1]), (x.shape[0], w.shape[1]))
    out = lax.fori_loop(0, plan.columns.count, block, as_bits(out))
    return from_bits(out, x.dtype), (x, w, noise, drawn)


def _backward(plan: Plan, residuals, upstream):
    x, w, noise, drawn = residuals
    wide = _wide(x)

    def block(i, buffers):
        dx, dw, of_noise = buffers
        first = (jnp.int32(plan.rows.start(i)), jnp.int32(0))
        tile = plan.rows.load(w, i, 0)
        noisy, pullback = jax.vjp(lambda tile, noise: _noisy(noise, drawn, tile, w.shape, first), tile, noise)
        rows = plan.rows.load(x, i)
        of_rows = jnp.dot(upstream, noisy.T, preferred_element_type=wide).astype(x.dtype)
        of_noisy = jnp.dot(rows.T, upstream, preferred_element_type=wide).astype(w.dtype)
        new = plan.rows.new(i, 2, 0)
        if new is not None:
            of_noisy = jnp.where(new, of_noisy, 0)
        of_tile, more = pullback(of_noisy)
        of_noise = jax.tree.map(lambda a, b: a + b if a.dtype == b.dtype else a, of_noise, more)
        return plan.rows.write(dx, of_rows, i, 1), plan.rows.write(dw, of_tile, i, 0, keep=True), of_noise

    start = as_bits(jnp.zeros_like(x)), as_bits(jnp.zeros_like(w)), jax.tree.map(jnp.zeros_like, noise)
    dx, dw, of_noise = lax.fori_loop(0, plan.rows.count, block, start)
    return from_bits(dx, x.dtype), from_bits(dw, w.dtype), of_noise, None


_dense.defvjp(_forward, _backward)
_product = jax.jit(_dense, static_argnums=0, inline=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _kernel(plan: Plan, how: tuple, x: jax.Array, w: jax.Array, noise: Any, drawn: Stream) -> jax.Array:
    return kernels.product(how, x, w, noise.amounts["std"], drawn)


def _kernel_forward(plan: Plan, how: tuple, x, w, noise, drawn):
    return kernels.product(how, x, w, noise.amounts["std"], drawn), (x, w, noise, drawn)


_kernel.defvjp(_kernel_forward, lambda plan, how, residuals, upstream: _backward(plan, residuals, upstream))
_by_kernel = jax.jit(_kernel, static_argnums=(0, 1), inline=True)


def _noisy(noise, drawn: Stream, tile: jax.Array, whole: tuple[int, int], first: tuple) -> jax.Array:
    """The noisy tile, whose first element has these indices in the whole array."""

    def part(amount):
        """Of an amount for each weight, the part for the tile. Amounts for each column or for all are of w's rank."""
        shape = np.shape(amount)
        if len(shape) not in (1, 2) or shape[-1] not in (1, whole[1]) or shape[:-1] not in ((), (1,), (whole[0],)):
            return amount
        amount = jnp.asarray(amount).reshape((1,) * (2 - len(shape)) + shape)
        for axis in range(2):
            if amount.shape[axis] > 1:
                amount = lax.dynamic_slice_in_dim(amount, first[axis], tile.shape[axis], axis)
        return amount

    noise = jax.tree.map(part, noise)
    return noise(dataclasses.replace(drawn, tile=Tile(first, whole)), tile)


def _wide(x: jax.Array):
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32
