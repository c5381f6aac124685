"""The decorators for noises of whole batches and for noises that change lengths, and helpers that mix examples.

A batch is any pytree of arrays that share a leading axis of examples. `batch_noise` and `padded_noise` correspond to
`array_noise`: they check what is known on the host, and run an eager call as one compiled dispatch.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._calls.replay import ALIGNMENT
from noisejax._contract import PADDING, ArrayNoise, Moved, Parameters, Spec, published, saturate
from noisejax._padded import Padded, check_lengths, is_padded, values_of
from noisejax._random.stream import enter, is_symbolic, layout_of
from noisejax._sharding import automatic

P = ParamSpec("P")


class BatchNoise(Protocol[P]):
    """The type of a noise of a whole batch."""

    def __call__(self, key: jax.Array, batch: Any, *args: P.args, **kwargs: P.kwargs) -> Any: ...


def batch_noise(
    *, ranges: Mapping[str, Callable]
) -> Callable[[Callable[Concatenate[jax.Array, Any, P], Any]], BatchNoise[P]]:
    """Turns the mathematics of a noise, ``body(key, batch, *amounts, **options)``, into a public noise.

    The body receives a dict of the entries to mix, by name, and returns a dict with the same names.

    Args:
      ranges: the range of each amount, by its name.
    """

    def decorate(body: Callable) -> Any:
        parameters = Parameters(body, ranges)
        name = parameters.name

        def compiled(statics, key, names, leaves, values):
            out = body(key, dict(zip(names, leaves, strict=True)), **values, **dict(statics))
            return [out[n] for n in names]

        compiled.__name__ = name
        compiled = jax.jit(compiled, static_argnums=(0, 2), inline=True)

        @functools.wraps(body)
        def noise(key, batch, *args, **keywords):
            key = enter(name, key)
            if (layout := layout_of(key)) is not None:
                _checks.layout(name, layout, "batch", {})
            padding = [n for n in PADDING if n in keywords]
            if padding:
                raise TypeError(
                    f"{name} acts on a whole batch and takes no padding, got {padding[0]}=... Pass padding to "
                    "the noises of its entries with nj.on_entries, and restore padded elements afterwards."
                )
            values, options = parameters.split(args, keywords)
            options["keep"] = names_of(options["keep"])
            names, leaves, rebuild = split(name, batch, options["keep"], options["num_classes"])
            return rebuild(compiled(tuple(options.items()), key, names, leaves, values))

        return published(noise, parameters, Spec("batch", parameters.amounts, ranges, (), "batch", {}), Any)

    return decorate


def padded_noise(
    kinds: tuple[str, ...] = _checks.numbers,
    *,
    ranges: Mapping[str, Callable] = MappingProxyType({}),
    arrays: bool = False,
    options: Callable | None = None,
    amounts: Callable | None = None,
    host: Callable | None = None,
    aligned: bool = False,
) -> Callable[[Callable[Concatenate[jax.Array, Padded, P], Padded | Moved]], ArrayNoise[P]]:
    """Turns ``body(key, x, *amounts, lengths=None, **options)`` into a public noise that changes lengths or shapes.

    The body receives a `Padded` and returns one, or a `Moved`. The next noise of a chain sees the new lengths and lost
    entries. The body draws over the batch axes and the axis that lengths count along, ``range(x.lengths.ndim + 1)``.
    There is no `where`: entries move, and a mask does not.

    Args:
      kinds: the kinds of dtypes that the values may have.
      ranges: the range of each amount, by its name.
      arrays: whether the public function also accepts an array (B, L, ...) without lengths and returns an array. All
        its entries are then data. Only for noises whose result has no padding either.
      options: a function of the values' shape (batch axes first), the number of batch axes and the options. It is
        called on the host, and raises if they do not fit together.
      amounts: a function of the amounts, host values as NumPy arrays, and the options. It is called on the host, and
        raises if they do not fit together.
      host: a function of x, the amounts and the options that may read the values of x. It is called if x is a `Padded`
        of NumPy arrays.
      aligned: whether the body returns a `Moved`, so that the alignment can be replayed.
    """

    def decorate(body: Callable) -> Any:
        parameters = Parameters(body, ranges)
        name = parameters.name

        def compiled(replayed, statics, key, x, values):
            result = body(key, x, **values, **dict(statics))
            if not aligned:
                return result
            return result.source if replayed else result.value

        compiled.__name__ = name
        compiled = jax.jit(compiled, static_argnums=(0, 1), inline=True)

        def call(replayed, key, x, args, lengths, keywords):
            key = enter(name, key)
            if keywords.pop("where", None) is not None:
                raise TypeError(
                    f"{name} moves entries, and a mask would not follow them: it takes no where. Give lengths instead: "
                    "nj.Padded(values, lengths)."
                )
            padded = x if isinstance(x, Padded) else None
            if padded is not None and lengths is not None:
                raise TypeError(f"{name}: x is a Padded, which already has lengths: leave out lengths=...")
            _checks.array(name, values_of(x), kinds)
            if padded is None:
                padded = _as_padded(name, x, lengths, arrays)
            values, statics = parameters.split(args, keywords)
            if (layout := layout_of(key)) is not None:
                _checks.layout(name, layout, "example", statics)
            if options is not None:
                options(padded.values.shape, padded.lengths.ndim, **statics)
            if amounts is not None:
                amounts(**values, **statics)
            if host is not None and isinstance(padded.values, np.ndarray) and isinstance(padded.lengths, np.ndarray):
                host(padded, **values, **statics)
            result = compiled(replayed, tuple(statics.items()), key, padded, values)
            return result if replayed or isinstance(x, Padded) else result.values

        @functools.wraps(body)
        def noise(key, x, *args, lengths=None, **keywords):
            return call(False, key, x, args, lengths, keywords)

        def alignment(key, x, *, lengths=None, **keywords):
            return call(True, key, x, (), lengths, keywords)

        replays = {ALIGNMENT.name: alignment} if aligned else {}
        spec = Spec("padded", parameters.amounts, ranges, (), "example", replays)
        return published(noise, parameters, spec, jax.Array)

    return decorate


def _as_padded(function: str, x: Any, lengths: Any, arrays: bool) -> Padded:
    if lengths is not None:
        return Padded(x, check_lengths(function, x, lengths))
    if not arrays:
        raise TypeError(
            f"{function}: x must be a Padded, since the result has different lengths, got an array of shape {x.shape}. "
            "Make one: nj.Padded(x, lengths)."
        )
    if x.ndim < 2:
        raise ValueError(f"{function}: x must be (B, L, ...), got shape {x.shape}. For other batch axes use a Padded.")
    full = jnp.full if is_symbolic(x.shape[0]) else np.full
    return Padded(x, full(x.shape[:1], x.shape[1], jnp.int32))


def names_of(keep: Any) -> tuple:
    """The option `keep`, a single name or several, as a tuple of names."""
    return tuple(keep) if isinstance(keep, (tuple, list, set, frozenset)) else (keep,)


def split(function: str, batch: Any, keep: tuple, num_classes: int | None) -> tuple[tuple, list, Callable]:
    """The names and arrays of the entries to mix, and a function that merges their results with the kept entries."""
    everything, structure = jax.tree.flatten(batch, is_leaf=is_padded)
    names, tops = _names(structure)
    for name in keep:
        array = hasattr(name, "ndim") and not isinstance(name, np.generic)  # compared element by element
        if array or name not in tops:
            raise KeyError(
                f"{function}: keep names {_checks.shown(name)}, but the batch has {sorted(set(tops), key=str)}."
            )
    mixed = {name: leaf for name, top, leaf in zip(names, tops, everything, strict=True) if not keep or top not in keep}
    for name, leaf in mixed.items():
        if isinstance(leaf, Padded):
            raise TypeError(
                f"{function}: {name} is a Padded, and examples of different lengths cannot be blended. Name the entry "
                "in keep=(...) to leave it unmixed, or mix embeddings after pooling, which have one length."
            )
    _checks.batch(function, mixed)
    if num_classes is not None:
        _check_classes(function, mixed, [leaf for leaf in everything if not isinstance(leaf, Padded)], num_classes)
    mixed = {name: _rows(function, name, leaf, num_classes) for name, leaf in mixed.items()}

    def rebuild(results):
        results = iter(results)
        leaves = [leaf if keep and top in keep else next(results) for top, leaf in zip(tops, everything, strict=True)]
        return jax.tree.unflatten(structure, leaves)

    return tuple(mixed), list(mixed.values()), rebuild


def _check_classes(function: str, mixed: dict, everything: list, num_classes: int) -> None:
    """Requires that num_classes applies to some entry, and that labels known on the host are classes."""
    _checks.count(function, "num_classes", num_classes, 2, "It is the number of classes.")
    for name, leaf in mixed.items():
        if _is_labels(leaf):
            _checks.labels(
                function,
                name,
                leaf,
                num_classes,
                missing="give their rows zeros: jax.nn.one_hot(labels, num_classes) in place of the labels.",
            )
    kept = len(everything) > len(mixed)
    if not kept and not any(map(_is_labels, mixed.values())):
        # Cut maps of integers are labels too, and rows may have been made before.
        rows = any(leaf.ndim > 1 and leaf.shape[-1] == num_classes for leaf in mixed.values())
        maps = function == "cutmix" and any(_is_integer(leaf) for leaf in mixed.values())
        if not (rows or maps):
            shapes = ", ".join(f"{name} {_written(leaf)}" for name, leaf in mixed.items())
            raise ValueError(
                f"{function}: num_classes={num_classes} is given, but no entry holds integer labels of shape (B,) or "
                f"(B, 1): {shapes}. Cast labels to integers, or leave out num_classes for regression targets."
            )


def _is_integer(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.integer)


def _is_labels(leaf: Any) -> bool:
    """Whether an entry holds one integer per example, of any dtype: a class number and never an image."""
    return _is_integer(leaf) and (leaf.ndim == 1 or (leaf.ndim == 2 and leaf.shape[1] == 1))


def _rows(function: str, name: str, leaf: Any, num_classes: int | None) -> Any:
    """One-hot rows of integers that are known on the host, as float32; all other entries unchanged."""
    one_hot = leaf.ndim == 2 and leaf.shape[1] == num_classes and (_is_integer(leaf) or leaf.dtype == jnp.bool_)
    if not one_hot or not isinstance(leaf, np.ndarray):
        return leaf
    if np.any((leaf < 0) | (leaf > 1)):
        raise ValueError(
            f"{function}: {name} is {_written(leaf)} with entries other than 0 and 1, so it holds no rows of "
            f"{num_classes} classes. Cast it to float32 to blend its numbers, or name the entry in keep=(...)."
        )
    return leaf.astype(np.float32)


def soft(function: str, name: str, leaf: jax.Array, num_classes: int | None) -> jax.Array:
    """An entry in a form that can be blended: floats and images unchanged, integer labels as float32 rows."""
    if jnp.issubdtype(leaf.dtype, jnp.floating) or (leaf.dtype in (jnp.uint8, jnp.uint16) and leaf.ndim > 2):
        return leaf
    got = _written(leaf)
    if not _is_labels(leaf):
        raise TypeError(
            f"{function}: {name} is {got}, which cannot be blended. Use floats, uint8 or uint16 images of shape "
            "(B, height, width, ...), or integer labels of shape (B,). Cast rows of classes and flat images with "
            "astype(jnp.float32), or name the entry in keep=(...)."
        )
    if num_classes is None:
        raise ValueError(
            f"{function}: {name} is {got}: integer labels, which are mixed as soft labels. Give num_classes=..., or "
            "name the entry in keep=(...) to leave it unmixed. If they are numbers, cast them: astype(jnp.float32)."
        )
    return jax.nn.one_hot(leaf.reshape(leaf.shape[0]), num_classes, dtype=jnp.float32)


def _written(leaf: Any) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def take(leaf: jax.Array, partner: "jax.Array | int", shards: int) -> jax.Array:
    """``leaf[partner]``, or a roll if `partner` is an int; with `shards` > 1, within each of that many parts.

    It is a gather with a batch axis of parts, so devices that hold whole parts do not communicate.
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


def mix(leaf: jax.Array, lam: jax.Array, other: jax.Array) -> jax.Array:
    """``lam * leaf + (1 - lam) * other`` with one weight per example, rounded once to leaf's dtype.

    Values of weight 0, NaN and infinities included, affect neither the result nor its gradient.
    """
    wide = jnp.float64 if leaf.dtype == jnp.float64 else jnp.float32
    lam = lam.astype(wide).reshape(lam.shape + (1,) * (leaf.ndim - lam.ndim if lam.ndim else 0))
    between = (lam > 0) & (lam < 1)
    a, b = (jnp.where(between, v, 0).astype(wide) for v in (leaf, other))
    return jnp.where(between, saturate(lam * a + (1 - lam) * b, leaf.dtype), jnp.where(lam > 0, leaf, other))


@functools.lru_cache(maxsize=256)
def _names(structure) -> tuple[tuple, tuple]:
    """The names of a batch's leaves in errors, and the names in `keep` of the entries that contain them."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(structure.unflatten(range(structure.num_leaves)))]
    names = (f"entry {jax.tree_util.keystr(path)}" if path else "the batch" for path in paths)
    return tuple(names), tuple(_top(path) for path in paths)


def named(function: str, option: str, batch: dict[str, Any], names: Any) -> list:
    """The entries of a batch to mix that `option` names, as `keep` does."""
    found = []
    for name in names_of(names):
        heads = f"entry [{name!r}]", f"entry .{name}"
        leaves = [leaf for own, leaf in batch.items() if own in heads or own.startswith((*_deeper(heads),))]
        if not leaves:
            raise KeyError(f"{function}: {option} names {name!r}, but the entries to mix are {', '.join(batch)}.")
        found += leaves
    return found


def _deeper(heads: tuple[str, ...]) -> list[str]:
    return [head + more for head in heads for more in "[."]


def _top(path: tuple) -> Any:
    """The name of an entry in `keep`: a dict's key, an index of a tuple, or a field."""
    if not path:
        return None
    entry = path[0]
    return next((getattr(entry, field) for field in ("key", "idx", "name") if hasattr(entry, field)), None)
