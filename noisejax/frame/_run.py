"""Noises of arrays on the columns of a frame: on the CPU, with x64, chunk by chunk, and with the rows' own numbers."""

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from noisejax._calls.fitted import is_fitted
from noisejax._calls.replay import HITS
from noisejax._combinators.masks import changed
from noisejax._noise import Noise, Run
from noisejax._random.host import cpu
from noisejax._random.stream import Stream
from noisejax.frame._faults import On


@contextlib.contextmanager
def on_host() -> Iterator[None]:
    """The CPU, 64-bit numbers, and JAX's default promotion, since the dtypes are those of the frame."""
    with (
        jax.default_device(cpu()),
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


@functools.partial(jax.jit, static_argnames="hits")
def _run(noise: Noise, key: Stream, x: jax.Array, where: Any, *, hits: bool) -> Any:
    if hits:
        return Run(where, HITS)(noise, key, x)[1]
    y = Run(where)(noise, key, x)[0]
    if y.shape != x.shape or y.dtype != x.dtype:
        raise TypeError(
            f"corrupt: a fault must keep shape and dtype, {x.shape} of {x.dtype}, got {y.shape} of {y.dtype}."
        )
    return y, changed(x, y)


def run(
    noise: Noise,
    key: Stream,
    x: np.ndarray,
    where: np.ndarray | None,
    *,
    hits: bool,
    rows: np.ndarray | None,
    size: int | None,
    done: Callable[[int], None] = lambda n: None,
) -> Any:
    """A noise on the rows of x, of shape (n, C): its hits, or the new values and where they differ.

    Args:
      rows: the numbers of the rows; None for a noise that needs all of them at once.
      size: the number of rows of a chunk; None for all. Chunks are padded to a power of two, so that the last one does
        not compile the noise again.
    """
    if rows is None:
        result = jax.tree.map(np.asarray, _run(noise, key, x, where, hits=hits))
        done(len(x))
        return result
    n = len(x)
    size = max(n if size is None else min(size, n), 1)
    room = 1 << (size - 1).bit_length()
    out = np.empty(x.shape, bool) if hits else (np.empty(x.shape, x.dtype), np.empty(x.shape, bool))
    waiting: collections.deque = collections.deque()

    def collect() -> None:
        part, result = waiting.popleft()
        for whole, chunk in zip(jax.tree.leaves(out), jax.tree.leaves(result), strict=True):
            whole[part] = np.asarray(chunk)[: part.stop - part.start]
        done(part.stop - part.start)

    for low in range(0, n, size):
        part = slice(low, min(low + size, n))
        result = _run(
            _rows_of(noise, part, n, room),
            dataclasses.replace(key, rows=_padded(rows[part], room)),
            _padded(x[part], room),
            None if where is None else _padded(where[part], room),
            hits=hits,
        )
        waiting.append((part, result))
        if len(waiting) > _AHEAD:  # a chunk is computed while the one before it is copied
            collect()
    while waiting:
        collect()
    return out


_AHEAD = 2


def _rows_of(noise: Noise, part: slice, n: int, room: int) -> Noise:
    """The noise with the amounts of some rows: what a mechanism conditions on, and amounts of shape (n, 1)."""

    def cut(leaf):
        if isinstance(leaf, On):
            return dataclasses.replace(leaf, values=_padded(leaf.values[part], room))
        if is_fitted(leaf) or np.ndim(leaf) != 2 or np.shape(leaf)[0] != n or n == 1:
            return _inside(leaf, cut) if is_fitted(leaf) else leaf
        return _padded(np.asarray(leaf)[part], room)

    return jax.tree.map(cut, noise, is_leaf=is_fitted)


def _inside(leaf: Any, cut: Callable) -> Any:
    """A copula holds a different mechanism."""
    inner = getattr(leaf, "mechanism", None)
    return dataclasses.replace(leaf, mechanism=cut(inner)) if inner is not None else leaf


def _padded(values: np.ndarray, room: int) -> np.ndarray:
    if len(values) == room:
        return values
    out = np.zeros((room, *values.shape[1:]), values.dtype)
    out[: len(values)] = values
    return out


@contextlib.contextmanager
def progress_of(shown: bool, total: int) -> Iterator[Callable[[int], None]]:
    """A function that is told how many cells are done."""
    if not shown:
        yield lambda count: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "corrupt: a progress bar needs rich: pip install rich. Or leave out progress."
        ) from None
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("corrupt", total=total)
        yield lambda count: bar.advance(task, count)
