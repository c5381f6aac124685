"""The loops over tiles of noisy weights: the product, and its backward pass."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax._random.stream import Stream, Tile
from noisejax.fused._kernels import dense as kernels
from noisejax.fused._tiles import (
    UPDATES_CONVERT,
    Blocks,
    as_bits,
    cut,
    from_bits,
    is_narrow,
    multiplies_bfloat16,
    put_rows,
)

_TILE = 2**21  # elements of a tile of weights: 8 MB in float32


@dataclasses.dataclass(frozen=True)
class Tiles:
    """How rows and columns of w are cut, and whether operands are converted to the dtype of the sums first."""

    rows: Blocks
    columns: Blocks
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static: the tiles of both passes, and those on CPUs if they differ."""

    forward: Tiles
    backward: Tiles
    forward_on_cpus: Tiles | None = None
    backward_on_cpus: Tiles | None = None


def plan_for(w: jax.Array, size: int | None = None) -> Plan:
    """Tiles of whole columns forward and of whole rows backward, over which no sum goes.

    On CPUs XLA converts 16-bit operands to float32, except for bfloat16 forward. There the tiles have both axes cut, so
    that only parts of x and of the gradient of the result are converted at a time. They are converted forward too where
    the processor would be slow, and where XLA removes the loop: if x is a transpose, it then makes a product of
    bfloat16 that it cannot run.
    """
    n, m = w.shape

    def tiles(rows: int, columns: int, wide: bool = False) -> Tiles:
        return Tiles(_cut(n, rows, size), _cut(m, columns, size), wide)

    plan = Plan(tiles(n, _block(n)), tiles(_block(m), m))
    if not is_narrow(w.dtype):
        return plan
    native = w.dtype == jnp.bfloat16 and plan.forward.columns.count > 1 and multiplies_bfloat16()
    forward = plan.forward if native else tiles(512, 512, wide=True)
    return dataclasses.replace(plan, forward_on_cpus=forward, backward_on_cpus=tiles(512, 1024, wide=True))


def _cut(n: int, most: int, size: int | None) -> Blocks:
    """Blocks of this size, or as few as can be of about one size, so that the last one repeats little."""
    return Blocks(n, min(n, size or 8 * -(-n // (8 * -(-n // most)))))


def _block(other: int) -> int:
    """How many rows or columns of this many weights make a tile."""
    return max(8, _TILE // other // 8 * 8)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dense(plan: Plan, x: jax.Array, w: jax.Array, noise: Any, drawn: Stream) -> jax.Array:
    return _forward(plan, x, w, noise, drawn)[0]


def _forward(plan: Plan, x, w, noise, drawn):
    return _by_platform(_product, plan.forward_on_cpus, plan.forward, x, w, noise, drawn), (x, w, noise, drawn)


def _backward(plan: Plan, residuals, upstream):
    x, w, noise, drawn = residuals
    tiles = plan.backward_on_cpus, plan.backward
    return *_by_platform(_gradients, *tiles, x, w, noise, drawn, upstream), None


_dense.defvjp(_forward, _backward)
by_tiles = jax.jit(_dense, static_argnums=0, inline=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _kernel(plan: Plan, how: tuple, x: jax.Array, w: jax.Array, noise: Any, drawn: Stream) -> jax.Array:
    return kernels.product(how, x, w, noise.amounts["std"], drawn)


def _kernel_forward(plan: Plan, how: tuple, x, w, noise, drawn):
    return kernels.product(how, x, w, noise.amounts["std"], drawn), (x, w, noise, drawn)


_kernel.defvjp(_kernel_forward, lambda plan, how, residuals, upstream: _backward(plan, residuals, upstream))
by_kernel = jax.jit(_kernel, static_argnums=(0, 1), inline=True)


def _by_platform(function, on_cpus: Tiles | None, tiles: Tiles, *operands):
    if on_cpus is None:
        return function(tiles, *operands)
    cpu, default = (functools.partial(function, t) for t in (on_cpus, tiles))
    return lax.platform_dependent(*operands, cpu=cpu, default=default)


def _product(tiles: Tiles, x, w, noise, drawn) -> jax.Array:
    rows, columns = tiles.rows, tiles.columns

    def block(j, out):
        def part(i, total):
            first, inputs = _first(tiles, i, j), rows.load(x, i)
            noisy = _noisy(_amounts(noise, tiles, w.shape, first), drawn, _tile(tiles, w, i, j), w.shape, first)
            new = rows.new(i, 2, 0)
            if new is not None:
                noisy, inputs = jnp.where(new, noisy, 0), jnp.where(new.T, inputs, 0)
            return _plus(total, _dot(tiles, inputs, noisy, 1, 0))

        total = _over(rows, part, _zeros(x, columns.size))
        return columns.write(out, total.astype(x.dtype), j, 1)

    out = as_bits(jnp.broadcast_to(jnp.zeros_like(x[:, :1]), (x.shape[0], w.shape[1])))
    return from_bits(lax.fori_loop(0, columns.count, block, out), x.dtype)


def _gradients(tiles: Tiles, x, w, noise, drawn, upstream) -> tuple:
    """The gradients of x, w and the amounts of the noise."""
    rows, columns = tiles.rows, tiles.columns
    apart = is_narrow(w.dtype) and UPDATES_CONVERT  # then rows of the gradient of w are filled apart, as bits

    def block(i, buffers):
        dx, dw, of_noise = buffers
        inputs = _rows_first(tiles, rows.load(x, i))

        def part(j, sums):
            of_inputs, of_rows, of_noise = sums
            first, given = _first(tiles, i, j), columns.load(upstream, j)
            noisy, pullback = jax.vjp(
                lambda tile, noise: _noisy(noise, drawn, tile, w.shape, first),
                _tile(tiles, w, i, j),
                _amounts(noise, tiles, w.shape, first),
            )
            of_noisy = _dot(tiles, inputs, given, 1, 0).astype(w.dtype)
            of_tile, of_amounts = pullback(of_noisy)
            new = [new for new in (rows.new(i, 2, 0), columns.new(j, 2, 1)) if new is not None]
            if new:  # the gradient of an amount has each weight once
                of_amounts = pullback(jnp.where(functools.reduce(jnp.logical_and, new), of_noisy, 0))[1]
            if not columns.even:
                noisy, given = jnp.where(new[-1], noisy, 0), jnp.where(new[-1], given, 0)
            of_inputs = _plus(of_inputs, _dot(tiles, given, noisy, 1, 1))
            value = as_bits(of_tile) if apart else of_tile
            of_rows = lax.dynamic_update_slice(of_rows, value, (top, first[1]))
            return of_inputs, of_rows, _add_amounts(of_noise, of_amounts, w.shape, first)

        top, of_rows = jnp.int32(rows.start(i)), dw
        if apart:
            top, of_rows = jnp.int32(0), as_bits(jnp.zeros((rows.size, w.shape[1]), w.dtype))
        of_inputs, of_rows, of_noise = _over(columns, part, (_zeros(x, rows.size), of_rows, of_noise))
        dw = put_rows(dw, of_rows, rows.start(i)) if apart else of_rows
        return rows.write(dx, of_inputs.astype(x.dtype), i, 1), dw, of_noise

    start = as_bits(jnp.zeros_like(x)), jnp.zeros_like(w), jax.tree.map(jnp.zeros_like, noise)
    dx, dw, of_noise = lax.fori_loop(0, rows.count, block, start)
    return from_bits(dx, x.dtype), dw, of_noise


def _over(blocks: Blocks, part, start):
    """What `part` makes of the start over all blocks. For one block there is neither a loop nor a sum."""
    if blocks.count > 1:
        return lax.fori_loop(0, blocks.count, part, start)
    return part(0, (None, *start[1:]) if isinstance(start, tuple) else None)


def _plus(total: jax.Array | None, value: jax.Array) -> jax.Array:
    return value if total is None else total + value


def _zeros(x: jax.Array, size: int) -> jax.Array:
    """Sums of so many columns for each row of x, sharded as x."""
    return jnp.broadcast_to(jnp.zeros_like(x[:, :1], _wide(x)), (x.shape[0], size))


def _dot(tiles: Tiles, a: jax.Array, b: jax.Array, of_a: int, of_b: int) -> jax.Array:
    """The product over an axis of each, in the dtype of the sums."""
    wide = _wide(a)
    if tiles.wide:
        a, b = a.astype(wide), b.astype(wide)
    return lax.dot_general(a, b, (((of_a,), (of_b,)), ((), ())), preferred_element_type=wide)


def _rows_first(tiles: Tiles, inputs: jax.Array) -> jax.Array:
    """The transpose of a part of x. As bits it is stored: XLA's product of a transpose is slower on CPUs."""
    if not tiles.wide:
        return inputs.T
    return from_bits(as_bits(inputs).T, inputs.dtype).astype(_wide(inputs))


def _tile(tiles: Tiles, w: jax.Array, i, j) -> jax.Array:
    return cut(w, (tiles.rows.start(i), tiles.columns.start(j)), (tiles.rows.size, tiles.columns.size))


def _first(tiles: Tiles, i, j) -> tuple[jax.Array, jax.Array]:
    """The indices of a tile's first element in w."""
    return jnp.int32(tiles.rows.start(i)), jnp.int32(tiles.columns.start(j))


def _noisy(noise, drawn: Stream, tile: jax.Array, whole: tuple[int, int], first: tuple) -> jax.Array:
    return noise(dataclasses.replace(drawn, tile=Tile(first, whole)), tile)


def _amounts(noise, tiles: Tiles, whole: tuple[int, int], first: tuple):
    """The noise with the amounts of a tile, where they differ between weights."""

    def part(amount):
        if not _differs(np.shape(amount), whole):
            return amount
        amount = _as_matrix(amount)
        sizes = [
            size if n > 1 else 1 for n, size in zip(amount.shape, (tiles.rows.size, tiles.columns.size), strict=True)
        ]
        return lax.dynamic_slice(amount, _starts(amount, first), sizes)

    return jax.tree.map(part, noise)


def _add_amounts(total, more, whole: tuple[int, int], first: tuple):
    """The gradients of all amounts with those of a tile's amounts added."""

    def add(a, b):
        if a.dtype != b.dtype:
            return a
        if not _differs(a.shape, whole):
            return a + b
        matrix = _as_matrix(a)
        b = b + lax.dynamic_slice(matrix, _starts(matrix, first), b.shape)
        return lax.dynamic_update_slice(matrix, b, _starts(matrix, first)).reshape(a.shape)

    return jax.tree.map(add, total, more)


def _differs(shape: tuple[int, ...], whole: tuple[int, int]) -> bool:
    """Whether an amount of this shape has a part for each tile. Such amounts are of w's rank, or (m,)."""
    return len(shape) in (1, 2) and shape[-1] in (1, whole[1]) and shape[:-1] in ((), (1,), (whole[0],))


def _as_matrix(amount) -> jax.Array:
    amount = jnp.asarray(amount)
    return amount.reshape((1,) * (2 - amount.ndim) + amount.shape)


def _starts(amount: jax.Array, first: tuple) -> list:
    return [start if n > 1 else jnp.int32(0) for n, start in zip(amount.shape, first, strict=True)]


def _wide(x: jax.Array):
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32
