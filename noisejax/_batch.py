"""What every noise over a whole batch does around its mathematics, and how an example meets its partner.

A batch is any pytree of arrays that share a leading axis of examples. `batch_noise` is the sibling of `array_noise`:
it checks what the host knows, leaves the kept entries aside, and makes one compiled dispatch of an eager call.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from noisejax import _checks
from noisejax._contract import Spec, host_amount, saturate
from noisejax._stream import Stream


def batch_noise(**ranges: _checks.Range) -> Callable:
    """Makes a public noise of its mathematics ``body(key, entries, *amounts, **options)``.

    The body sees the entries that are not kept, in a dict by name, and returns such a dict.

    Args:
      **ranges: the range of each amount.
    """

    def decorate(body: Callable) -> Callable:
        name, signature = body.__name__, inspect.signature(body)
        parameters = list(signature.parameters.values())[2:]
        amounts = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        defaults = {p.name: p.default for p in parameters if p.name not in amounts}
        renamed = [p.replace(name="batch") if p.name == "entries" else p for p in signature.parameters.values()]
        public = signature.replace(parameters=renamed)

        def compiled(statics, key, names, leaves, values):
            out = body(key, dict(zip(names, leaves, strict=True)), **values, **dict(statics))
            return [out[n] for n in names]

        compiled.__name__ = name
        compiled = jax.jit(compiled, static_argnums=(0, 2), inline=True)

        @functools.wraps(body)
        def noise(key, batch, *args, where=None, lengths=None, **keywords):
            if not isinstance(key, Stream):
                _checks.key(name, key)
            elif key.layout is not None:
                _checks.layout(name, key.layout, "batch", {})
            if where is not None or lengths is not None:
                raise TypeError(
                    f"{name} acts on a whole batch and takes no padding: give where and lengths to its entries, "
                    "with nj.entries, and restore padded places after it."
                )
            options = {**defaults, **keywords}
            named = {n: options.pop(n) for n in amounts if n in options}
            given = {**dict(zip(amounts, args, strict=False)), **named}
            if not len(args) + len(named) == len(given) == len(amounts) or len(options) != len(defaults):
                _refuse(name, public, key, batch, args, keywords)
            values = {n: host_amount(name, n, v, ranges.get(n)) for n, v in given.items()}
            options["keep"] = names_of(options["keep"])
            names, leaves, rebuild = split(name, batch, options["keep"], options["num_classes"])
            return rebuild(compiled(tuple(options.items()), key, names, leaves, values))

        def hits(key, batch, **_):
            raise TypeError(f"{name} changes whole examples: compare with nj.changed(x, y) instead of hits.")

        noise.__signature__ = public  # pyright: ignore[reportAttributeAccessIssue] a function takes it
        noise.__noise__ = Spec(amounts, ranges, (), hits)  # pyright: ignore[reportAttributeAccessIssue]
        return noise

    return decorate


def _refuse(name: str, signature: inspect.Signature, key, batch, args, keywords) -> None:
    """Arguments that do not fit, in Python's own words."""
    try:
        signature.bind(key, batch, *args, **keywords)
    except TypeError as error:
        raise TypeError(f"{name}{signature}: {error}.") from None


def names_of(keep: Any) -> tuple:
    """The option `keep` as a tuple of names, one name alone being welcome."""
    return tuple(keep) if isinstance(keep, (tuple, list, set, frozenset)) else (keep,)


def split(function: str, batch: Any, keep: tuple, num_classes: int | None) -> tuple[tuple, list, Callable]:
    """The names and arrays of the entries to mix, and a function that puts their results back among the kept ones."""
    everything, structure = jax.tree.flatten(batch)
    names, tops = _names(structure)
    for name in keep:
        if name not in tops:
            raise KeyError(f"{function}: keep names {name!r}, and the batch has {sorted(set(tops), key=str)}.")
    mixed = {name: leaf for name, top, leaf in zip(names, tops, everything, strict=True) if not keep or top not in keep}
    _checks.batch(function, mixed)
    if num_classes is not None:
        for name, leaf in mixed.items():
            if leaf.ndim == 1 and jnp.issubdtype(leaf.dtype, jnp.integer):
                _checks.labels(function, name, leaf, num_classes)

    def rebuild(results):
        results = iter(results)
        leaves = [leaf if keep and top in keep else next(results) for top, leaf in zip(tops, everything, strict=True)]
        return jax.tree.unflatten(structure, leaves)

    return tuple(mixed), list(mixed.values()), rebuild


def soft(function: str, name: str, leaf: jax.Array, num_classes: int | None) -> jax.Array:
    """What can be blended: floats and images as they are, integer labels as float32 rows; the rest raises."""
    if jnp.issubdtype(leaf.dtype, jnp.floating) or (leaf.dtype in (jnp.uint8, jnp.uint16) and leaf.ndim > 1):
        return leaf
    got = f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    if not jnp.issubdtype(leaf.dtype, jnp.integer) or leaf.ndim > 1:
        raise TypeError(
            f"{function}: {name} is {got}, which has no blend. Floats, uint8 or uint16 images and integer labels of "
            "shape (B,) have; make it one of these (jax.nn.one_hot, astype), or name the entry in keep=(...)."
        )
    if num_classes is None:
        raise ValueError(
            f"{function}: {name} is {got}: integer labels, which mix as soft rows. Give num_classes=..., or name the "
            "entry in keep=(...) to leave it unmixed."
        )
    return jax.nn.one_hot(leaf, num_classes, dtype=jnp.float32)


def take(leaf: jax.Array, partner: "jax.Array | int", shards: int) -> jax.Array:
    """``leaf[partner]``; an int rolls. With `shards` > 1 each of that many parts is indexed in itself.

    Written as a gather with a batch axis of parts, so that devices that hold whole parts do not talk.
    """

    def within_parts(leaf, *partner_array):
        parts = leaf.reshape(shards, -1, *leaf.shape[1:])
        if not partner_array:
            return jnp.roll(parts, partner, axis=1).reshape(leaf.shape)
        size = parts.shape[1]
        index = jax.lax.rem(partner_array[0].reshape(shards, size), jnp.int32(size))
        return jax.vmap(lambda part, i: jnp.take(part, i, axis=0, mode="clip"))(parts, index).reshape(leaf.shape)

    if leaf.size == 0:
        return leaf
    return automatic(within_parts, leaf, *([] if isinstance(partner, int) else [partner]))


def automatic(function: Callable, leaf: jax.Array, *rest: jax.Array) -> jax.Array:
    """Runs a function that moves data along sharded axes and gives an array laid out as `leaf`.

    Under a mesh with explicit axes such a move has no sharding rule; the compiler finds one, as it does otherwise.
    """
    sharding = jax.typeof(leaf).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return function(leaf, *rest)
    laid_out: Callable = jax.sharding.auto_axes(function, out_sharding=sharding)
    return laid_out(leaf, *rest)


def examples(leaf: jax.Array) -> dict:
    """Shape (B,) and sharding of one draw per example, for `words`."""
    sharding = jax.typeof(leaf).sharding
    return {"shape": leaf.shape[:1], "sharding": sharding.update(spec=PartitionSpec(*sharding.spec[:1]))}


def mix(leaf: jax.Array, lam: jax.Array, other: jax.Array) -> jax.Array:
    """``lam * leaf + (1 - lam) * other`` with one weight per example, rounded once to leaf's dtype.

    What has weight 0 leaves no trace, NaN and infinities included, neither in the result nor in a gradient.
    """
    wide = jnp.float64 if leaf.dtype == jnp.float64 else jnp.float32
    lam = lam.astype(wide).reshape(lam.shape + (1,) * (leaf.ndim - lam.ndim if lam.ndim else 0))
    between = (lam > 0) & (lam < 1)
    a, b = (jnp.where(between, v, 0).astype(wide) for v in (leaf, other))
    return jnp.where(between, saturate(lam * a + (1 - lam) * b, leaf.dtype), jnp.where(lam > 0, leaf, other))


@functools.lru_cache(maxsize=256)
def _names(structure) -> tuple[tuple, tuple]:
    """What errors call the leaves of a batch, and the names by which `keep` calls the entries that they are in."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(structure.unflatten(range(structure.num_leaves)))]
    names = (f"entry {jax.tree_util.keystr(path)}" if path else "the batch" for path in paths)
    return tuple(names), tuple(_top(path) for path in paths)


def _top(path: tuple) -> Any:
    """The name by which `keep` calls an entry: a dict's key, a place in a tuple, a field."""
    if not path:
        return None
    entry = path[0]
    return next((getattr(entry, field) for field in ("key", "idx", "name") if hasattr(entry, field)), None)
