"""Verbs over noises. Each takes `Noise` values or any functions ``(key, x) -> x`` and gives a `Noise`."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks, _noise
from noisejax._noise import Noise, combinator
from noisejax._stream import examples, fold, one_example, stage, unsharded


def chain(*noises: Callable) -> Noise:
    """Applies noises one after the other.

    Each stage draws from its own stream, derived from its position: appending a stage changes no earlier draw.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1))
      >>> noise
      chain(gaussian(std=0.1), mask(rate=0.1))
      >>> noise(jax.random.key(0), jnp.ones(4)).shape
      (4,)
    """
    return Noise(_chain, {"noises": _noise.stages("chain", noises)}, learn=True)


@combinator
def _chain(run, key, x, noises):
    hit = None
    for position, noise in enumerate(noises):
        x, stage_hit = run(noise, stage(key, position), x)
        hit = stage_hit if hit is None else hit | stage_hit
    return x, hit


_chain.__sequence__ = True  # its noises are the stages of `Noise.stages`


def entries(spec: tuple | dict, *, shared: bool = False) -> Noise:
    """Applies noises to entries of a batch that is a tuple, a list or a dict.

    Args:
      spec: noises in the batch's order, or by name. None, and what the spec does not reach, leaves an entry alone; a
        name or a place that the batch does not have raises.
      shared: whether all entries draw from the same stream, as an image and its mask must. By default each has its
        own.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> batch = {"image": jnp.ones((2, 4)), "label": jnp.array([0, 1])}
      >>> noisy = nj.entries({"image": nj.bind(nj.gaussian, std=0.1)})(jax.random.key(0), batch)
      >>> noisy["label"] is batch["label"]
      True
    """
    if isinstance(spec, dict):
        names, noises = tuple(spec), tuple(spec.values())
    elif isinstance(spec, (tuple, list)):
        names, noises = tuple(range(len(spec))), tuple(spec)
    else:
        raise TypeError(f"entries: spec must be a tuple or a dict of noises, got {spec!r}.")
    noises = tuple(None if noise is None else _noise.stages("entries", (noise,))[0] for noise in noises)
    return Noise(_entries, {"noises": noises}, (("names", names), ("shared", shared)), learn=True)


@combinator
def _entries(run, key, x, noises, *, names, shared):
    where, lengths = run.keywords["where"], run.keywords["lengths"]
    if not isinstance(x, (tuple, list, dict)):
        raise TypeError(f"entries: the batch must be a tuple, a list or a dict, got a {type(x).__name__}.")
    out, hit = (dict(x) if isinstance(x, dict) else list(x)), {}
    for name, noise in zip(names, noises, strict=True):
        if not (name in x if isinstance(x, dict) else isinstance(name, int) and name < len(x)):
            has = list(x) if isinstance(x, dict) else f"{len(x)} entries"
            raise KeyError(f"entries: the batch has no entry {name!r}; it has {has}.")
        if noise is not None:
            mine = {"where": _entry(where, name), "lengths": _entry(lengths, name)}
            out[name], hit[name] = run(noise, stage(key, "shared" if shared else name), x[name], **mine)
    if isinstance(x, tuple):
        out = type(x)(*out) if hasattr(x, "_fields") else tuple(out)
    return out, (hit if run.keywords["hits"] else None)


def at(noise: Callable, columns: Sequence[int] | slice, *, axis: int = -1) -> Noise:
    """Restricts a noise to some columns (places along `axis`) of an array.

    Amounts with one value per selected column belong to those; draws keep the whole array's indices, so that
    selecting other columns changes no draw. The rest is neither noised nor counted by noises that measure x.

    Args:
      noise: what is restricted.
      columns: indices (negative ones count from the end), a boolean mask, or a slice. Static.
      axis: the axis along which columns are counted.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.at(nj.bind(nj.gaussian, std=jnp.array([0.1, 10.0])), (0, 2))
      >>> y = noise(jax.random.key(0), jnp.zeros((5, 4)))
      >>> bool((y[:, 1] == 0).all()), bool((y[:, 2] != 0).all())
      (True, True)
    """
    if isinstance(columns, slice):
        static = ("slice", columns.start, columns.stop, columns.step)
    else:
        places = np.asarray(columns)
        places = np.flatnonzero(places) if places.dtype == bool else places
        if places.ndim != 1 or not np.issubdtype(places.dtype, np.integer):
            raise TypeError(f"at: columns must be integers, a boolean mask or a slice, got {places!r}.")
        static = tuple(int(place) for place in places)
    (noise,) = _noise.stages("at", (noise,))
    return Noise(_at, {"noises": (noise,)}, (("axis", axis), ("columns", static)), learn=True)


@combinator
def _at(run, key, x, noises, *, columns, axis):
    if not hasattr(x, "ndim") or not -x.ndim <= axis < x.ndim:
        raise ValueError(f"at: x must be an array with an axis {axis}, got {getattr(x, 'shape', type(x))}.")
    axis = axis % x.ndim - x.ndim
    size = x.shape[axis]
    if columns[:1] == ("slice",):
        columns = tuple(range(size))[slice(*columns[1:])]
    beyond = [c for c in columns if not -size <= c < size]
    if beyond:
        raise IndexError(f"at: column {beyond[0]} is out of range for axis {axis} of x, shape {x.shape}.")
    place = np.zeros(size, np.int32)  # where a column's amount stands; unselected columns borrow the first one's
    place[list(columns)] = np.arange(len(columns))
    selected = np.zeros(size, bool)
    selected[list(columns)] = True

    def widen(leaf):
        own = np.ndim(leaf) >= -axis and np.shape(leaf)[axis] == len(columns) != 1
        return jnp.take(leaf, place, axis=axis, mode="clip") if own else leaf

    noise = jax.tree.map(widen, noises[0])
    mask = jnp.asarray(selected.reshape((size,) + (1,) * (-axis - 1)))
    where = run.keywords["where"]
    if where is not None:
        mask = jnp.asarray(where) & mask.reshape((1,) * (jnp.ndim(where) - mask.ndim) + mask.shape)
    return run(noise, key, x, where=mask)


def per_example(noise: Callable, ids: jax.Array | None = None) -> Noise:
    """Draws each example, along the leading axis, from ``(key, ids[i])`` alone.

    So gradient accumulation, another batch split, the host pipeline and the device agree, if ids are the records'
    global numbers. Amounts of shape (B,) or (B, ...) belong to one example each; scalars, and amounts whose leading
    axis has length 1, are shared. The noise sees each example as a batch of one.

    Args:
      noise: what is applied to each example.
      ids: integers of shape (B,), traced or not; None for 0, 1, ..., B - 1. All their bits count (32, or with x64
        64), and their dtype does not.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x = jax.random.key(0), jnp.zeros((4, 3))
      >>> noise = nj.bind(nj.gaussian, std=jnp.array([0.0, 1.0, 2.0, 3.0]))
      >>> y = nj.per_example(noise, jnp.arange(4))(key, x)
      >>> half = nj.bind(nj.gaussian, std=jnp.array([2.0, 3.0]))
      >>> bool((y[2:] == nj.per_example(half, jnp.array([2, 3]))(key, x[2:])).all())
      True
    """
    (noise,) = _noise.stages("per_example", (noise,))
    given = {} if ids is None else {"ids": _checks.ids("per_example", ids)}
    return Noise(_per_example, {"noises": (noise,)} | given, learn=True)


@combinator
def _per_example(run, key, x, noises, ids=None):
    n = _noise.batch_size("per_example", x)
    ids = examples(key, n) if ids is None else ids
    if ids.shape != (n,):
        raise ValueError(f"per_example: ids must have shape ({n},), one per example, got {ids.shape}.")

    def axis(leaf):
        if hasattr(leaf, "__shared__") or np.ndim(leaf) == 0 or np.shape(leaf)[0] == 1:
            return None
        if np.shape(leaf)[0] != n:
            raise ValueError(
                f"per_example: an amount of shape {np.shape(leaf)} has no value for each of {n} examples. "
                f"Give it shape ({n}, ...), or (1, ...) to share it."
            )
        return 0

    padding = {k: run.keywords[k] for k in ("where", "lengths")}
    in_axes = jax.tree.map(axis, (noises[0], padding), is_leaf=lambda leaf: hasattr(leaf, "__shared__"))
    sharding = jax.typeof(jax.tree.leaves(x)[0]).sharding
    mapped = jax.tree.map(
        lambda along, leaf: leaf if along is None else _shard_examples(leaf, sharding),
        in_axes,
        (noises[0], padding),
        is_leaf=lambda leaf: leaf is None,
    )
    streams = one_example(fold(key, _shard_examples(ids, sharding)))

    def one(stream, x, noise_and_padding):
        noise, padding = noise_and_padding
        single = jax.tree.map(lambda leaf: leaf[None], x)
        padding = {k: None if v is None else v if v.ndim == 0 and k == "where" else v[None] for k, v in padding.items()}
        y, hit = run(noise, stream, single, **padding)
        return jax.tree.map(lambda leaf: leaf[0], (y, hit))

    return jax.vmap(one, in_axes=(0, 0, in_axes))(streams, x, mapped)


def _shard_examples(leaf: jax.Array, sharding: jax.sharding.NamedSharding) -> jax.Array:
    """Lays out a leaf's examples as x's: under a mesh with explicit axes, vmap asks for that."""
    if jax.sharding.AxisType.Explicit not in sharding.mesh.axis_types:
        return leaf
    spec = (*sharding.spec[:1], *[None] * (jnp.ndim(leaf) - 1))
    return jax.sharding.reshard(leaf, sharding.update(spec=jax.sharding.PartitionSpec(*spec)))


def clip(low: float | jax.Array | None = None, high: float | jax.Array | None = None) -> Noise:
    """A stage that clips to [low, high]; noises never clip by themselves.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.5), nj.clip(0, 1))
      >>> y = noise(jax.random.key(0), jnp.ones(8))
      >>> bool(y.max() <= 1)
      True
    """
    return keyless(_clip, low=low, high=high)


def _clip(x, low, high):
    low, high = (None if b is None else jnp.asarray(b).astype(x.dtype) for b in (low, high))
    return jnp.clip(x, low, high)


def keyless(function: Callable, **arguments: Any) -> Noise:
    """Makes a deterministic function ``f(x, amount, ..., *, option=...) -> x`` a noise that ignores its key.

    As in `bind`, what stands left of the function's star is an amount, what stands right of it an option.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.keyless(jnp.tanh)(jax.random.key(0), jnp.zeros(2)).tolist()
      [0.0, 0.0]
    """
    if not callable(function):
        raise TypeError(f"keyless: function must be a function f(x), got {function!r}.")
    name, options = getattr(function, "__name__", repr(function)), _options_of(function)
    amounts = {
        n: None if v is None else _noise.host_amount("keyless", n, v, None)
        for n, v in arguments.items()
        if n not in options
    }
    static = tuple(sorted((n, _noise.option(name, n, v)) for n, v in arguments.items() if n in options))
    return Noise(_keyless, amounts, (("function", function), *static))


@combinator
def _keyless(run, key, x, *, function, **arguments):
    y = run(_Deterministic(function, arguments), unsharded(key), x, hits=False)[0]
    return y, jnp.zeros(x.shape, bool) if run.keywords["hits"] else None


def _options_of(function: Callable) -> set[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C tell nothing
        return set()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


class _Deterministic:
    """A function of x alone, called as a noise."""

    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments
        self.__name__ = getattr(function, "__name__", repr(function))

    def __call__(self, key, x):
        return self.function(x, **self.arguments)


def hits(noise: Callable) -> Callable:
    """The mask of the elements that an element-hitting noise hits: ``hits(noise)(key, x)``, replayed from the key.

    It is the drawn mask, so an element that is hit and happens to keep its value is in it. Works through the
    combinators; in a chain it is the union. For what really differs, compare with `changed`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x, noise = jax.random.key(0), jnp.ones(6), nj.bind(nj.mask, rate=0.5)
      >>> bool((nj.hits(noise)(key, x) == (noise(key, x) == 0)).all())
      True
    """

    def replay(key: jax.Array, x: Any, *, where=None, lengths=None) -> Any:
        return _noise.apply(noise, key, x, where=where, lengths=lengths, hits=True)[1]

    return replay


def changed(x: jax.Array, y: jax.Array) -> jax.Array:
    """Where x and y differ; NaN equals NaN.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> nj.changed(jnp.array([1.0, jnp.nan, 2.0]), jnp.array([1.0, jnp.nan, jnp.nan])).tolist()
      [False, False, True]
    """
    return (x != y) & ~((x != x) & (y != y))


def _entry(padding: Any, name: Any) -> Any:
    if isinstance(padding, dict):
        return padding.get(name)
    if isinstance(padding, (tuple, list)):
        return padding[name] if isinstance(name, int) and name < len(padding) else None
    return padding
