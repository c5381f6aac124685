"""Combinators. Each takes `Noise` values or any functions ``(key, x) -> x`` and returns a `Noise`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks, _noise
from noisejax._calls.fitted import is_fitted
from noisejax._checks.texts import address
from noisejax._noise import Combinator, Noise, Run, combinator, is_noise
from noisejax._padded import first_array, padding, values_of
from noisejax._random.stream import examples, fold, one_example, stage
from noisejax._sharding import computed_once, like_examples, own_loop_on_cpus


def chain(*noises: Callable) -> Noise:
    """Applies noises one after the other.

    Each stage draws from its own stream, derived from its position, so appending a stage does not change earlier draws.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1))
      >>> noise
      nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1))
      >>> noise(jax.random.key(0), jnp.ones(4)).shape
      (4,)
    """
    return Noise(_chain, {"noises": _noise.stages("chain", noises)})


@Combinator
def _chain(run: Run, key, x, noises):
    replayed = None
    for position, noise in enumerate(noises):
        if position:
            x = jax.tree.map(computed_once if _mixes(noise) else own_loop_on_cpus, x)
        x, stage_replayed = run(noise, stage(key, position), x)
        replayed = stage_replayed if position == 0 else run.follow(replayed, stage_replayed)
    return x, replayed


def _mixes(noise: Any) -> bool:
    """Whether a stage reads each example at several places, so that those before it should run only once."""
    spec = getattr(noise.function, "__noise__", None) if isinstance(noise, Noise) else None
    return spec is not None and spec.kind == "batch"


def on_entries(spec: tuple | dict, *, shared: bool = False) -> Noise:
    """Applies noises to entries of a batch that is a tuple, a list or a dict.

    Args:
      spec: noises in the batch's order, or by name. Entries with None, and entries that are not in the spec, are
        unchanged. A name or position that the batch does not have raises.
      shared: whether all entries draw from the same stream, as an image and its mask must. By default each has its
        own.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> batch = {"image": jnp.ones((2, 4)), "label": jnp.array([0, 1])}
      >>> noisy = nj.on_entries({"image": nj.bind(nj.gaussian, std=0.1)})(jax.random.key(0), batch)
      >>> noisy["label"] is batch["label"]
      True
    """
    if isinstance(spec, dict):
        names, noises = tuple(spec), tuple(spec.values())
    elif isinstance(spec, (tuple, list)):
        names, noises = tuple(range(len(spec))), tuple(spec)
    else:
        raise TypeError(f"on_entries: spec must be a tuple or a dict of noises, got {spec!r}.")
    noises = tuple(None if noise is None else _noise.stages("on_entries", (noise,))[0] for noise in noises)
    shared = _checks.flag("on_entries", "shared", shared)
    return Noise(_on_entries, {"noises": noises}, (("names", names), ("shared", shared)))


def _entries_spelled(noise: Noise) -> tuple[list, dict]:
    options: dict[str, Any] = dict(noise.options)
    names, noises = options.pop("names"), noise.amounts["noises"]
    in_order = names == tuple(range(len(names)))
    return [noises if in_order else dict(zip(names, noises, strict=True))], options


@combinator(_entries_spelled)
def _on_entries(run: Run, key, x, noises, *, names, shared):
    if not isinstance(x, (tuple, list, dict)):
        raise TypeError(f"on_entries: the batch must be a tuple, a list or a dict, got a {type(x).__name__}.")
    out = dict(x) if isinstance(x, dict) else list(x)
    told = dict.fromkeys(names)
    for name, noise in zip(names, noises, strict=True):
        if not (name in x if isinstance(x, dict) else isinstance(name, int) and name < len(x)):
            has = list(x) if isinstance(x, dict) else f"{len(x)} entries"
            raise KeyError(f"on_entries: the batch has no entry {name!r}, which spec names; it has {has}.")
        if noise is not None:
            inside = run.masked(_entry(run.where, name))
            out[name], told[name] = inside(noise, stage(key, "shared" if shared else name), x[name])

    def rebuilt(parts):
        if isinstance(x, dict):
            return parts
        return x.__class__(*parts) if hasattr(x, "_fields") else x.__class__(parts)

    if run.replay is None:
        return rebuilt(out), None
    places = x if isinstance(x, dict) else range(len(x))
    replays = {name: run.unchanged(x[name]) if told.get(name) is None else told[name] for name in places}
    return rebuilt(out), rebuilt(replays if isinstance(x, dict) else list(replays.values()))


def on_columns(noise: Callable, columns: Sequence[int] | np.ndarray | slice, *, axis: int = -1) -> Noise:
    """Restricts a noise to some columns (indices along `axis`) of an array.

    An amount may hold one value per selected column. Draws use the indices of the whole array, so selecting different
    columns does not change them. The other columns are unchanged, and noises that measure x ignore them.

    Args:
      noise: the noise to restrict.
      columns: indices (negative ones count from the end), a boolean mask, or a slice. Static.
      axis: the axis of the columns.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.on_columns(nj.bind(nj.gaussian, std=jnp.array([0.1, 10.0])), (0, 2))
      >>> y = noise(jax.random.key(0), jnp.zeros((5, 4)))
      >>> bool((y[:, 1] == 0).all()), bool((y[:, 2] != 0).all())
      (True, True)
    """
    if isinstance(columns, slice):
        static = ("slice", columns.start, columns.stop, columns.step)
    else:
        listed = isinstance(columns, (tuple, list, range))
        if isinstance(columns, jax.Array):  # of keys, or traced
            known = _checks.operand("on_columns", "columns", columns)
            if isinstance(known, Tracer):
                raise TypeError("on_columns: columns must be known, got a traced array. They are static: use NumPy.")
        places = np.asarray(_checks.listed("on_columns", "columns", list(columns)) if listed else columns)
        places = places.astype(int) if not places.size else places
        places = np.flatnonzero(places) if places.dtype == bool else places
        if places.ndim != 1 or not np.issubdtype(places.dtype, np.integer):
            got = _checks.shown(columns)
            raise TypeError(f"on_columns: columns must be integers, a boolean mask or a slice, got {got}.")
        static = tuple(int(place) for place in places)
    (noise,) = _noise.stages("on_columns", (noise,))
    axis = _checks.whole("on_columns", "axis", axis)
    return Noise(_on_columns, {"noises": (noise,)}, (("axis", axis), ("columns", static)))


def _columns_spelled(noise: Noise) -> tuple[list, dict]:
    options: dict[str, Any] = dict(noise.options)
    columns = options.pop("columns")
    columns = slice(*columns[1:]) if columns[:1] == ("slice",) else columns
    return [*noise.amounts["noises"], columns], options


@combinator(_columns_spelled)
def _on_columns(run: Run, key, x, noises, *, columns, axis):
    values = values_of(x)
    if not hasattr(values, "ndim") or not -values.ndim <= axis < values.ndim:
        got = getattr(values, "shape", type(values))
        raise ValueError(f"on_columns: x must be an array with an axis {axis}, got {got}.")
    axis = axis % values.ndim - values.ndim
    size = values.shape[axis]
    if columns[:1] == ("slice",):
        columns = tuple(range(size))[slice(*columns[1:])]
    beyond = [c for c in columns if not -size <= c < size]
    if beyond:
        raise IndexError(
            f"on_columns: columns must lie on axis {axis} of x, of shape {values.shape}, and {beyond[0]} does not."
        )
    place = np.zeros(size, np.int32)  # the index of a column's amount; unselected columns use the first one's
    place[list(columns)] = np.arange(len(columns))
    selected = np.zeros(size, bool)
    selected[list(columns)] = True

    def widen(leaf):
        own = not is_fitted(leaf) and np.ndim(leaf) >= -axis and np.shape(leaf)[axis] == len(columns) != 1
        return jnp.take(leaf, place, axis=axis, mode="clip") if own else leaf

    noise = jax.tree.map(widen, noises[0], is_leaf=is_fitted)
    mask = jnp.asarray(selected.reshape((1,) * (values.ndim + axis) + (size,) + (1,) * (-axis - 1)))
    data = padding("on_columns", values, run.where, None)
    mask = mask if data is None else mask & data
    return run.masked(mask)(noise, key, x)


def per_example(noise: Callable, ids: jax.Array | np.ndarray | None = None) -> Noise:
    """Draws the noise of each example, along the leading axis, from ``(key, ids[i])`` alone.

    If ids are the global numbers of the records, draws are the same under gradient accumulation, for a different split
    into batches, and in the host pipeline or on the device. Amounts of shape (B,) or (B, ...) hold one value per
    example. Shared are scalars, amounts whose leading axis has length 1, and recordings or textures of which each
    example draws one. The noise sees each example as a batch of one, so a noise that reads other examples, such as
    `mixup`, raises.

    Args:
      noise: the noise to apply to each example.
      ids: integers of shape (B,), traced or not; None for 0, 1, ..., B - 1. All their bits count (32, or 64 with
        x64). Their dtype does not.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x = jax.random.key(0), jnp.zeros((4, 3))
      >>> noise = nj.bind(nj.gaussian, std=jnp.array([0.0, 1.0, 2.0, 3.0]))
      >>> y = nj.per_example(noise, jnp.arange(4))(key, x)
      >>> half = nj.bind(nj.gaussian, std=jnp.array([2.0, 3.0]))
      >>> bool(jnp.allclose(y[2:], nj.per_example(half, jnp.array([2, 3]))(key, x[2:])))
      True
    """
    (noise,) = _noise.stages("per_example", (noise,))
    if (reader := reads_batch(noise)) is not None:
        raise TypeError(
            f"per_example: {reader} reads the other examples of a batch, and here each example is alone. Apply it to "
            "the whole batch, outside of per_example."
        )
    given = {} if ids is None else {"ids": _checks.ids("per_example", ids)}
    return Noise(_per_example, {"noises": (noise,)} | given)


@combinator(draws=True)
def _per_example(run: Run, key, x, noises, ids=None):
    n = _checks.batch_size("per_example", x)
    ids = examples(key, n) if ids is None else ids
    if ids.shape != (n,):
        raise ValueError(f"per_example: ids must have shape ({n},), one per example, got {ids.shape}.")

    def axis(leaf):
        if is_fitted(leaf) or np.ndim(leaf) == 0 or np.shape(leaf)[0] == 1:
            return None
        if np.shape(leaf)[0] != n:
            raise ValueError(
                f"per_example: an amount of shape {np.shape(leaf)} does not hold one value for each of {n} examples. "
                f"Give it shape ({n}, ...), or (1, ...) to share it."
            )
        return 0

    def axes(tree):
        if not is_noise(tree):
            return jax.tree.map(
                lambda v: axes(v) if is_noise(v) else axis(v), tree, is_leaf=lambda v: is_fitted(v) or is_noise(v)
            )
        spec = getattr(tree.function, "__noise__", None)
        shared = () if spec is None else spec.banks
        amounts = {name: None if name in shared else axes(value) for name, value in tree.amounts.items()}
        return Noise(tree.function, amounts, tree.options, tree.learn)

    in_axes = axes(noises[0]), axes(run.where)
    like = first_array(x)
    mapped = jax.tree.map(
        lambda along, leaf: leaf if along is None else like_examples(leaf, like),
        in_axes,
        (noises[0], run.where),
        is_leaf=lambda leaf: leaf is None,
    )
    streams = one_example(fold(key, like_examples(ids, like)))

    def one(stream, x, noise_and_where):
        noise, where = noise_and_where
        single = jax.tree.map(lambda leaf: leaf[None], x)
        where = jax.tree.map(lambda mask: mask if mask.ndim == 0 else mask[None], where)
        y, replayed = run.masked(where)(noise, stream, single)
        for leaf in jax.tree.leaves(y):
            if np.ndim(leaf) == 0 or np.shape(leaf)[0] != 1:
                raise ValueError(
                    "per_example: noise must return the batch of one example that it is given, got "
                    f"{_checks.shown(leaf)}."
                )
        return jax.tree.map(lambda leaf: leaf[0], (y, replayed))

    return jax.vmap(one, in_axes=(0, 0, in_axes))(streams, x, mapped)


def reads_batch(noise: Any) -> str | None:
    """The part of a noise, as a user wrote it, that reads neighbouring examples; None if each example is separate."""
    if not isinstance(noise, Noise):
        return None
    name, spec = address(noise.function), getattr(noise.function, "__noise__", None)
    if spec is not None and spec.sees == "batch":
        return name
    if dict(noise.options).get("exact") is True:
        return f"{name} with exact=True"
    for value in noise.amounts.values():
        if getattr(value, "sees", None) == "batch":
            return f"{name} with {value!r}"
        for inside in jax.tree.leaves(value, is_leaf=_noise.is_noise) if not isinstance(value, Noise) else (value,):
            if found := reads_batch(inside):
                return found
    return None


def _entry(padding: Any, name: Any) -> Any:
    if isinstance(padding, dict):
        return padding.get(name)
    if isinstance(padding, (tuple, list)):
        return padding[name] if isinstance(name, int) and name < len(padding) else None
    return padding
