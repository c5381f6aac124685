"""What every array noise does around its mathematics, written once.

A noise is written as its mathematics: a function of a key, an array in float32 and the amounts. `array_noise` makes
the public function of it, which checks what the host knows, computes in float32 (or x's wider dtype) and rounds once,
leaves padding alone, recomputes its draws in the backward pass instead of saving them, and is one compiled dispatch
when it is called eagerly.
"""

import dataclasses
import functools
import inspect
import itertools
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._checks import Amount as Amount, Mask as Mask
from noisejax._padded import Padded, check_lengths, values_of
from noisejax._random.stream import enter

P = ParamSpec("P")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultedTypeVar

    X = DefaultedTypeVar("X", bound=jax.Array | Padded, default=jax.Array)
else:
    X = TypeVar("X")


class ArrayNoise(Protocol[P]):
    """How type checkers see an array noise: an array gives an array, a `Padded` a `Padded`."""

    def __call__(self, key: jax.Array, x: X | np.ndarray | np.number, *args: P.args, **kwargs: P.kwargs) -> X: ...


class Hit(NamedTuple):
    """What the mathematics of an element-hitting noise returns: where it hits, and the value there.

    Its public function returns an array, like every other.
    """

    mask: jax.Array | bool
    value: Any
    kept: Any = None  # the value elsewhere; None for x itself, to the bit


@dataclass_transform(frozen_default=True, eq_default=False)
class Fitted:
    """Base of values that are fitted to data once and given to a noise as an amount.

    A subclass declares its fields as a dataclass does; it becomes a frozen dataclass and a pytree by itself, whose
    leaves are its fields but for those made by ``dataclasses.field(metadata={"static": True})``. `per_example` shares a
    fitted value among all examples, and `on_columns` leaves its shape alone.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> class Means(nj.Fitted):
      ...     mean: jax.Array
      >>> def shrink(key, x, means):
      ...     return (x + means.mean) / 2
      >>> noise = nj.per_example(nj.bind(shrink, means=Means(jnp.array([[2.0, 4.0]]))))
      >>> noise(jax.random.key(0), jnp.zeros((3, 2)))[0].tolist()
      [1.0, 2.0]
    """

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        dataclasses.dataclass(frozen=True, eq=False, repr="__repr__" not in vars(cls))(cls)
        static = {field.name for field in fields_of(cls) if field.metadata.get("static")}
        data = [field.name for field in fields_of(cls) if field.name not in static]
        jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=sorted(static))

    def __init__(self, *args: Any, **fields: Any):  # dataclass writes that of a subclass
        raise TypeError("Fitted: make a subclass with fields of its own, and an object of that.")


def fields_of(fitted: Any) -> tuple[dataclasses.Field, ...]:
    """The fields of a `Fitted`, or of its class."""
    return dataclasses.fields(fitted)


def is_fitted(value: Any) -> bool:
    return isinstance(value, Fitted)


class Spec(NamedTuple):
    """Metadata of a public noise, ``function.__noise__``: what combinators, layers and tests need to know of it."""

    kind: str  # 'array', 'batch', or 'padded' for one that changes lengths
    amounts: tuple[str, ...]
    ranges: Mapping[str, Callable]
    like_x: tuple[str, ...]  # amounts that keep x's dtype
    sees: str  # on how much of x the result at one place depends: 'element', 'example' or 'batch'
    replays: Mapping[str, Callable]  # by the name of a `Replay`: a function (key, x, **arguments)


class Parameters:
    """The parameters of a noise by the star law: amounts left of the star, options right of it, padding besides."""

    def __init__(self, body: Callable, ranges: Mapping[str, Callable], **named: tuple[str, ...]):
        self.name = body.__name__
        self.signature = inspect.signature(body)
        parameters = list(self.signature.parameters.values())[2:]
        left = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        right = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in PADDING]
        self.amounts = tuple(p.name for p in left)
        self.options = tuple(p.name for p in right)
        self.ranges = ranges
        self._like_x = named.get("like_x", ())
        self._required = tuple(p.name for p in left if p.default is p.empty)
        self._needed = tuple(p.name for p in right if p.default is p.empty)
        self._defaults = {p.name: p.default for p in right if p.default is not p.empty}
        for what, names in {"ranges": tuple(ranges), **named}.items():
            for name in names:
                if name not in self.amounts:
                    raise TypeError(f"{self.name}: {what} names {name!r}, which is none of its amounts {self.amounts}.")

    def split(self, args: tuple, keywords: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The amounts, checked on the host, and all options of a call."""
        if len(args) > len(self.amounts):
            raise TypeError(f"{self}: options go by name; got {len(args)} amounts.")
        values = dict(zip(self.amounts, args, strict=False))
        options = dict(self._defaults)
        for name, value in keywords.items():
            if name in self.options:
                options[name] = value
            elif name in self.amounts and name not in values:
                values[name] = value
            else:
                raise TypeError(f"{self} got {'two values for' if name in values else 'an unknown'} {name!r}.")
        for what, names, given in (("amount", self._required, values), ("option", self._needed, options)):
            for name in names:
                if name not in given:
                    raise TypeError(f"{self}: the {what} {name!r} is missing.")
        values = {n: host_amount(self.name, n, v, self.ranges.get(n), n in self._like_x) for n, v in values.items()}
        return values, {name: options[name] for name in self.options}

    def __str__(self):
        return self.name + written(self.signature)


PADDING = ("where", "lengths")


def array_noise(
    kinds: tuple[str, ...] = _checks.images,
    *,
    ranges: Mapping[str, Callable],
    sees: str = "example",
    like_x: tuple[str, ...] = (),
    tables: tuple[str, ...] = (),
    options: Callable | None = None,
    host: Callable | None = None,
    widen: bool = True,
) -> Callable[[Callable[Concatenate[jax.Array, jax.Array, P], jax.Array | Hit]], ArrayNoise[P]]:
    """Makes a public noise of its mathematics ``body(key, x, *amounts, where=None, lengths=None, **options)``.

    The parameters of the body are those of the public function. The body returns the noisy array, or a `Hit`. It sees
    x in float32 or wider (in its own dtype for `numbers`, where noises choose values and do not calculate), amounts of
    x's rank or scalars, and as `where` the mask of what is no padding, of x's rank, or None. `lengths` is part of that
    mask and always None. Padded places are restored after the body, so only a noise that measures x needs the mask.

    Args:
      kinds: which dtypes of x make sense: `_checks.floats`, `images` or `numbers`.
      ranges: the range of each amount, by its name.
      sees: on how much of x the result at one place depends: the `"element"` there, its `"example"` (the default), or
        the whole `"batch"`. What a noise sees must not be cut where `jax.shard_map` calls it.
      like_x: amounts that are values of x (a fill) and keep its dtype instead of float32.
      tables: amounts with a shape of their own (a transition matrix), in float32.
      options: a function of x and the options, called at trace time, that raises where they do not fit.
      host: a function of x, where, the amounts and the options that may read x's values: called where x is a NumPy
        array and the padding is known on the host.
      widen: False for a body that needs to know x's dtype, which is the result's: it calls `wide(x)` itself.
    """

    def decorate(body: Callable) -> Any:
        parameters = Parameters(body, ranges, like_x=like_x, tables=tables)
        name = parameters.name

        def compiled(hits, statics, key, x, values, where, lengths):
            mask = padding(name, x, where, lengths)
            if options is not None:
                options(x, **dict(statics))

            # Remat keeps the draw out of what the backward pass saves: only the key is, and forward mode still works.
            @functools.partial(jax.checkpoint, prevent_cse=False)
            def mathematics(key, x, values, mask):
                values = {
                    n: jnp.asarray(v, jnp.float32)
                    if n in tables
                    else _fit(name, n, v, x.shape, x.dtype if n in like_x else _wider(x))
                    for n, v in values.items()
                }
                seen = wide(x) if widen and kinds is not _checks.numbers else x
                result = body(key, seen, **values, **dict(statics), where=mask)
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
            stream = enter(name, key)
            if isinstance(x, Padded):
                if lengths is not None:
                    raise TypeError(f"{name}: x is a Padded, which has lengths of its own: leave out lengths=...")
                lengths, padded, x = x.lengths, x, x.values
                _checks.array(name, x, kinds)
            else:
                padded = None
                _checks.array(name, x, kinds)
                lengths = None if lengths is None else check_lengths(name, x, lengths)
            values, statics = parameters.split(args, keywords)
            if stream.layout is not None:
                _checks.layout(name, stream.layout, sees, statics)
            if host is not None and isinstance(x, np.ndarray) and not isinstance(lengths, jax.Array):
                host(x, _host_mask(x, where, lengths), **values, **statics)
            result = compiled(hits, tuple(statics.items()), stream, x, values, where, lengths)
            return result if padded is None or hits else padded.with_values(result)

        @functools.wraps(body)
        def noise(key, x, *args, where=None, lengths=None, **keywords):
            return call(False, key, x, args, where, lengths, keywords)

        def hits(key, x, *, where=None, lengths=None, **keywords):
            return call(True, key, x, (), where, lengths, keywords)

        spec = Spec("array", parameters.amounts, ranges, like_x, sees, {"hits": hits})
        return published(noise, parameters, spec, jax.Array)

    return decorate


def published(noise: Callable, parameters: Parameters, spec: Spec, returns: Any) -> Any:
    """The public function: its parameters are those of its source, its return annotation what it returns to users."""
    public: Any = noise
    public.__signature__ = parameters.signature.replace(return_annotation=returns)
    public.__annotations__ = {**noise.__annotations__, "return": returns}
    public.__noise__ = spec
    return public


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
        lengths = jnp.asarray(check_lengths(function, x, lengths))
        axis = lengths.ndim
        shape = lengths.shape + (1,) * (x.ndim - axis)
        along = tuple(n if a == axis else 1 for a, n in enumerate(x.shape))
        valid = jax.lax.broadcasted_iota(jnp.int32, along, axis) < lengths.reshape(shape)
        mask = valid if mask is None else mask & valid
    return mask


def padding_of(function: str, x: Any, where) -> Any:
    """`padding` of an array or a `Padded`."""
    return padding(function, values_of(x), where, x.lengths if isinstance(x, Padded) else None)


def _host_mask(x: np.ndarray, where, lengths) -> Any:
    """The padding as far as the host knows it: NumPy's, or a JAX array that nobody may read."""
    if lengths is None or isinstance(where, jax.Array):
        return where
    axis = lengths.ndim
    place = np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    valid = np.broadcast_to(place < lengths.reshape(lengths.shape + (1,) * (x.ndim - axis)), x.shape)
    return valid if where is None else valid & where


def wide(x: jax.Array) -> jax.Array:
    """x in the dtype of the computation: float32, or float64 as it is."""
    return x.astype(_wider(x))


def _wider(x: jax.Array):
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


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


@jax.custom_jvp
def straight_through(y: jax.Array, x: jax.Array) -> jax.Array:
    """The value of y to the bit, with the derivatives of x: in forward and reverse mode, and of any order."""
    return y


@straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    return straight_through(*primals), tangents[1]


def address(function: Any) -> str:
    """How code calls a function: ``nj.gaussian``, ``nj.image.cutout``; a user's by its bare name.

    A private module of this library exports its public names where its path turns private.
    """
    name = getattr(function, "__name__", repr(function))
    module = getattr(function, "__module__", None) or ""
    if module.split(".")[0] != "noisejax":
        return name
    public = itertools.takewhile(lambda part: not part.startswith("_"), module.split(".")[1:])
    return ".".join(["nj", *public, name])


def written(signature: inspect.Signature) -> str:
    """A signature as its source reads: ``(key: jax.Array, x: jax.Array, std: Amount, ...)``."""
    shown = [
        p.replace(annotation=_Text(_annotation(p.annotation))) if p.annotation is not p.empty else p
        for p in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown, return_annotation=signature.empty))


@dataclasses.dataclass(frozen=True)
class _Text:
    text: str

    def __repr__(self):
        return self.text


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        # NumPy's arrays and numbers are welcome wherever JAX's are, and go without saying.
        named = [a for a in typing.get_args(annotation) if getattr(a, "__module__", "") != "numpy"]
        return " | ".join(_annotation(a) for a in named)
    if annotation is jax.Array:
        return "jax.Array"
    if annotation is Padded:
        return "nj.Padded"
    if annotation is type(None):
        return "None"
    return inspect.formatannotation(annotation)


def _fit(function: str, name: str, value: Any, shape: tuple[int, ...], dtype) -> Any:
    """An amount in the dtype of the computation and of x's rank (strict rank promotion holds), scalars left alone."""
    if not hasattr(value, "ndim"):
        return value
    _checks.broadcastable(function, name, value.shape, shape)
    value = saturate(value, dtype)
    return value.reshape((1,) * (len(shape) - value.ndim) + value.shape) if value.ndim else value
