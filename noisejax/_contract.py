"""What every array noise does around its mathematics, written once.

A noise is written as its mathematics: a function of a key, an array in float32 and the amounts. `array_noise` makes
the public function of it, which checks what the host knows, computes in float32 (or x's wider dtype) and rounds once,
leaves padding alone, recomputes its draws in the backward pass instead of saving them, and is one compiled dispatch
when it is called eagerly.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._stream import Stream

_GIVEN = ("where", "into")  # parameters of a body that are no options: `array_noise` gives them


class Hit(NamedTuple):
    """What the mathematics of an element-hitting noise returns: where it hits, and what stands there then.

    Its public function returns an array, like every other.
    """

    mask: jax.Array | bool
    value: jax.Array | float
    kept: jax.Array | None = None  # what stands elsewhere; None for x itself, to the bit


class Spec(NamedTuple):
    """What the rest of the house knows of a public noise: ``function.__noise__``."""

    amounts: tuple[str, ...]
    ranges: dict[str, Callable]
    like_x: tuple[str, ...]
    hits: Callable
    sees: str = "batch"


def array_noise(
    kinds: tuple[str, ...] = _checks.images,
    *,
    sees: str = "example",
    like_x: tuple[str, ...] = (),
    tables: tuple[str, ...] = (),
    options: Callable | None = None,
    host: Callable | None = None,
    **ranges: Callable,
) -> Callable[[Callable], Callable[..., jax.Array]]:
    """Makes a public noise of its mathematics ``body(key, x, *amounts, **options)``.

    The body returns the noisy array, or a `Hit`. It sees x in float32 or wider (in its own dtype for `numbers`, where
    noises choose values and do not calculate), amounts of x's rank or scalars, the padding mask if it has a parameter
    `where` (padded places are restored for it), and the dtype of the result if it has a parameter `into`.

    Args:
      kinds: which dtypes of x make sense: `_checks.floats`, `images` or `numbers`.
      sees: on how much of x the result at one place depends: the `"element"` there, its `"example"` (the default), or
        the whole `"batch"`. What a noise sees must not be cut where `jax.shard_map` calls it.
      like_x: amounts that are values of x (a fill) and keep to its dtype, not to float32.
      tables: amounts with a shape of their own (a transition matrix), in float32.
      options: a function of x and the options, called at trace time, that raises where they do not fit.
      host: a function of x, where, the amounts and the options that may read x's values: called where x is a NumPy
        array (and `lengths`, which says what is padding, is not given).
      **ranges: the range of each amount.
    """

    def decorate(body: Callable) -> Callable:
        name, signature = body.__name__, inspect.signature(body)
        amounts, required, defaults = _read(signature)
        takes_mask, takes_dtype = "where" in signature.parameters, "into" in signature.parameters

        def compiled(hits, statics, key, x, values, where, lengths):
            mask = padding(name, x, where, lengths)
            wide = jnp.float64 if x.dtype == jnp.float64 else jnp.float32
            if options is not None:
                options(x, **dict(statics))

            # Remat keeps the draw out of what the backward pass saves: only the key is, and forward mode still works.
            @functools.partial(jax.checkpoint, prevent_cse=False)
            def mathematics(key, x, values, mask):
                values = {
                    n: jnp.asarray(v, jnp.float32)
                    if n in tables
                    else _fit(name, n, v, x.shape, x.dtype if n in like_x else wide)
                    for n, v in values.items()
                }
                extra = ({"where": mask} if takes_mask else {}) | ({"into": x.dtype} if takes_dtype else {})
                seen = x if kinds is _checks.numbers else x.astype(wide)
                result = body(key, seen, **values, **dict(statics), **extra)
                if isinstance(result, Hit):
                    kept = x if result.kept is None else saturate(result.kept, x.dtype)
                    hit, result = result.mask, jnp.where(result.mask, saturate(result.value, x.dtype), kept)
                elif hits:
                    raise TypeError(f"{name} changes every element: compare with nj.changed(x, y) instead of hits.")
                else:
                    hit, result = True, saturate(result, x.dtype)
                if hits:
                    return jnp.broadcast_to(hit if mask is None else hit & mask, x.shape)
                return result if mask is None else jnp.where(mask, result, x)

            return mathematics(key, x, values, mask)

        compiled.__name__ = name
        compiled = jax.jit(compiled, static_argnums=(0, 1), inline=True)

        def call(hits, key, x, args, where, lengths, keywords):
            if not isinstance(key, Stream):
                _checks.key(name, key)
            layout = key.layout if isinstance(key, Stream) else None
            _checks.array(name, x, kinds)
            if len(args) > len(amounts):
                raise TypeError(f"{name}{signature}: options go by name; got {len(args)} amounts.")
            values = dict(zip(amounts, args, strict=False))
            statics = dict(defaults)
            for n, v in keywords.items():
                if n in defaults:
                    statics[n] = v
                elif n in amounts and n not in values:
                    values[n] = v
                else:
                    raise TypeError(f"{name}{signature} got {'two values for' if n in values else 'an unknown'} {n!r}.")
            for n in required:
                if n not in values:
                    raise TypeError(f"{name}{signature}: the amount {n!r} is missing.")
            values = {n: host_amount(name, n, v, ranges.get(n), n in like_x) for n, v in values.items()}
            if layout is not None:
                _checks.layout(name, layout, sees, statics)
            if host is not None and isinstance(x, np.ndarray) and lengths is None:
                host(x, where, **values, **statics)
            return compiled(hits, tuple(statics.items()), key, x, values, where, lengths)

        @functools.wraps(body)
        def noise(key, x, *args, where=None, lengths=None, **keywords):
            return call(False, key, x, args, where, lengths, keywords)

        def hits(key, x, *, where=None, lengths=None, **keywords):
            return call(True, key, x, (), where, lengths, keywords)

        noise.__signature__ = _with_padding(signature)  # pyright: ignore[reportAttributeAccessIssue] a function takes it
        noise.__annotations__["return"] = jax.Array
        noise.__noise__ = Spec(amounts, ranges, like_x, hits, sees)  # pyright: ignore[reportAttributeAccessIssue]
        return noise

    return decorate


def host_amount(function: str, name: str, value: Any, inside: Callable | None, like_x: bool = False) -> Any:
    """A host number checked and made a strong float32, so that no Python float becomes a static; the rest as it is."""
    if isinstance(value, (list, tuple)) and all(isinstance(v, (int, float, np.number)) for v in jax.tree.leaves(value)):
        value = np.asarray(value)
    if isinstance(value, (bool, int, float, np.number, np.ndarray)):
        if inside is not None:
            inside(function, name, value)
        if not like_x:
            return np.asarray(value, np.float32)
        return np.asarray(value)
    return value


def padding(function: str, x: jax.Array, where, lengths) -> jax.Array | None:
    """One mask of x's rank, True where x is data, from a mask and/or the numbers of valid entries per example."""
    mask = None
    if where is not None:
        where = jnp.asarray(where)
        if where.dtype != jnp.bool_:
            raise TypeError(f"{function}: where must be boolean, got {where.dtype}{list(where.shape)}.")
        _checks.broadcastable(function, "where", where.shape, x.shape)
        mask = where.reshape((1,) * (x.ndim - where.ndim) + where.shape)
    if lengths is not None:
        lengths = jnp.asarray(lengths)
        axis = lengths.ndim
        if not jnp.issubdtype(lengths.dtype, jnp.integer) or axis >= x.ndim or lengths.shape != x.shape[:axis]:
            raise ValueError(
                f"{function}: lengths must be integers of a leading part of x's shape {x.shape}, which then count the "
                f"valid entries along the next axis; got {lengths.dtype}{list(lengths.shape)}."
            )
        shape = lengths.shape + (1,) * (x.ndim - axis)
        along = tuple(n if a == axis else 1 for a, n in enumerate(x.shape))
        position = jax.lax.broadcasted_iota(lengths.dtype, along, axis)
        valid = position < lengths.reshape(shape)
        mask = valid if mask is None else mask & valid
    return mask


def saturate(value: Any, dtype) -> jax.Array:
    """The one rounding: to nearest even in floats; into the range of integers, NaN to 0."""
    value = jnp.asarray(value)
    if not jnp.issubdtype(dtype, jnp.integer) or not jnp.issubdtype(value.dtype, jnp.floating):
        return value.astype(dtype)
    info = jnp.iinfo(dtype)
    high = np.float32(info.max)
    if int(high) > info.max:  # the largest int32 is no float32: take the one below
        high = np.nextafter(high, np.float32(0))
    value = jnp.clip(jnp.round(value), np.float32(info.min), high)
    return jnp.where(jnp.isnan(value), 0, value).astype(dtype)


def _fit(function: str, name: str, value: Any, shape: tuple[int, ...], dtype) -> Any:
    """An amount in the dtype of the computation and of x's rank (strict rank promotion holds), scalars left alone."""
    if not hasattr(value, "ndim"):
        return value
    _checks.broadcastable(function, name, value.shape, shape)
    value = saturate(value, dtype)
    return value.reshape((1,) * (len(shape) - value.ndim) + value.shape) if value.ndim else value


def _read(signature: inspect.Signature) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]:
    """The star law: amounts left of the star (after key and x), options with their defaults right of it."""
    parameters = list(signature.parameters.values())
    left = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][2:]
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _GIVEN}
    return tuple(p.name for p in left), tuple(p.name for p in left if p.default is p.empty), defaults


def _with_padding(signature: inspect.Signature) -> inspect.Signature:
    parameters = [p for p in signature.parameters.values() if p.name not in _GIVEN]
    for name in ("where", "lengths"):
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None))
    return signature.replace(parameters=parameters, return_annotation=jax.Array)
