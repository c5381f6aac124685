"""The decorator that turns the mathematics of an array noise into a public noise.

A noise is written as its mathematics: a function of a key, an array in float32 and the amounts. `array_noise` turns it
into the public function, which checks what is known on the host, computes in float32 (or x's wider dtype), rounds once
and leaves padding unchanged. The backward pass recomputes draws instead of saving them. An eager call is one compiled
dispatch.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._calls.arguments import arithmetic, as_tuple, host_amount, option
from noisejax._calls.replay import ALIGNMENT, MOVED, in_place
from noisejax._checks import Amount as Amount, Mask as Mask
from noisejax._checks.texts import written
from noisejax._padded import Padded, check_lengths, host_mask, padding
from noisejax._random.stream import enter, layout_of, tile_of

P = ParamSpec("P")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultedTypeVar

    X = DefaultedTypeVar("X", bound=jax.Array | Padded, default=jax.Array)
else:
    X = TypeVar("X")


class ArrayNoise(Protocol[P]):
    """The type of an array noise: it maps an array to an array and a `Padded` to a `Padded`."""

    __name__: str

    def __call__(self, key: jax.Array, x: X | np.ndarray | np.number, *args: P.args, **kwargs: P.kwargs) -> X: ...


class Hit(NamedTuple):
    """The result of the body of an element-hitting noise: where it hits, and the values there.

    The public function returns an array, like every array noise.
    """

    mask: jax.Array | bool
    value: Any
    kept: Any = None  # the value elsewhere; None for x itself, to the bit


class Moved(NamedTuple):
    """The result of the body of a noise that moves what it is given, and knows from where.

    The public function returns the value. For an array noise, which reads x at other times, the source is in steps:
    float32 of x's rank, with one channel. For a noise that moves pictures it is a `Places`. For a noise that changes
    lengths, the value is a `Padded`, and the source has an int32 for each of its entries: the place in x, or -1 for an
    inserted entry and for padding.
    """

    value: Any
    source: Any


class Spec(NamedTuple):
    """Metadata of a public noise, ``function.__noise__``, which combinators, layers and tests read."""

    kind: str  # 'array', 'batch', or 'padded' for one that changes lengths
    amounts: tuple[str, ...]
    ranges: Mapping[str, Callable]
    like_x: tuple[str, ...]  # amounts that keep x's dtype
    sees: str  # the part of x on which one element of the result depends: 'element', 'example' or 'batch'
    replays: Mapping[str, Callable]  # by the name of a `Replay`: a function (key, x, **arguments)
    moves: bool | None = None  # whether values change places; None where the noise does not say
    banks: tuple[str, ...] = ()  # amounts that all examples share: each draws one of the entries


class Parameters:
    """The parameters of a noise after its key and x: amounts left of the star, options right of it, and padding.

    A function without a key has one parameter before its amounts.
    """

    def __init__(self, body: Callable, ranges: Mapping[str, Callable], before: int = 2, **named: tuple[str, ...]):
        self.name = body.__name__
        self.signature = inspect.signature(body)
        parameters = list(self.signature.parameters.values())[before:]
        left = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        right = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in PADDING]
        self.amounts = tuple(p.name for p in left)
        self.options = tuple(p.name for p in right)
        self.ranges = ranges
        self._like_x = named.get("like_x", ())
        self._required = tuple(p.name for p in left if p.default is p.empty)
        self._needed = tuple(p.name for p in right if p.default is p.empty)
        self._defaults = {p.name: p.default for p in right if p.default is not p.empty}
        self._flags = tuple(n for n, default in self._defaults.items() if isinstance(default, bool))
        for what, names in {"ranges": tuple(ranges), **named}.items():
            for name in names:
                if name not in self.amounts:
                    raise TypeError(f"{self.name}: {what} names {name!r}, not one of its amounts {self.amounts}.")

    def split(self, args: tuple, keywords: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The amounts, checked on the host, and all options of a call."""
        if len(args) > len(self.amounts):
            raise TypeError(f"{self}: got {len(args)} amounts. Pass options by name.")
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
        for n, v in values.items():
            if v is not None or self.signature.parameters[n].default is not None:
                values[n] = host_amount(self.name, n, v, self.ranges.get(n), n in self._like_x)
            arithmetic(self.name, n, values[n], self.signature.parameters[n].default is None)
        for n in self._flags:
            options[n] = _checks.flag(self.name, n, options[n])
        return values, {name: option(self.name, name, as_tuple(options[name])) for name in self.options}

    def __str__(self):
        return self.name + written(self.signature)


PADDING = ("where", "lengths")


def array_noise(
    kinds: tuple[str, ...] = _checks.images,
    *,
    ranges: Mapping[str, Callable],
    sees: str = "example",
    like_x: tuple[str, ...] = (),
    values: tuple[str, ...] = (),
    tables: tuple[str, ...] = (),
    banks: tuple[str, ...] = (),
    options: Callable | None = None,
    amounts: Callable | None = None,
    host: Callable | None = None,
    widen: bool = True,
    moves: bool | None = None,
    moved: str = MOVED.name,
) -> Callable[[Callable[Concatenate[jax.Array, jax.Array, P], jax.Array | Hit | Moved]], ArrayNoise[P]]:
    """Turns ``body(key, x, *amounts, where=None, lengths=None, **options)`` into a public array noise.

    The public function has the parameters of the body. The body returns the noisy array, or a `Hit`. It receives x in
    float32 or wider (for `numbers` in its own dtype, since such noises select values and do not calculate). Amounts are
    scalars or have x's rank. `where` is None or a mask of x's rank, True where x is data. It includes the lengths, so
    `lengths` is always None. Padding is restored after the body, so only a noise that measures x needs the mask.

    Args:
      kinds: the kinds of dtypes that x may have: `_checks.floats`, `images` or `numbers`.
      ranges: the range of each amount, by its name.
      sees: the part of x on which one element of the result depends: the same `"element"`, its `"example"` (the
        default), or the whole `"batch"`. Inside `jax.shard_map` this part must not be sharded.
      like_x: amounts that are values of x, such as a fill, and have its dtype instead of float32.
      values: amounts that are values of x as well, but in which the mathematics calculates, in float32.
      tables: amounts with a shape of their own (a transition matrix), in float32.
      banks: tables of which each example draws an entry, so that `per_example` shares them.
      options: a function of x and the options. It is called at trace time, and raises if they do not fit together.
      amounts: a function of the amounts, host values as NumPy arrays, and the options. It is called on the host, and
        raises if they do not fit together.
      host: a function of x, where, the amounts and the options that may read the values of x. It is called if x is a
        NumPy array and the padding is known on the host.
      widen: False for a body that needs x's dtype, which is that of the result. Such a body calls `wide(x)` itself.
      moves: whether values change places, so that no alignment can be replayed. None for False if it sees elements, and
        True otherwise. Pictures have their own places except where it is True.
      moved: the name of the replay that a body which returns a `Moved` has.
    """

    tables = tables + banks

    def decorate(body: Callable) -> Any:
        parameters = Parameters(body, ranges, like_x=like_x, tables=tables, values=values)
        name, held = parameters.name, (*like_x, *values)

        def compiled(replayed, statics, key, x, values, where, lengths):
            mask = padding(name, x, where, lengths)
            if options is not None:
                options(x, **dict(statics))

            # With remat the backward pass saves the key and not the draw. Forward mode still works.
            @functools.partial(jax.checkpoint, prevent_cse=False)
            def mathematics(key, x, values, mask):
                values = {
                    n: jnp.asarray(v, jnp.float32)
                    if n in tables
                    else _fit(name, n, v, x.shape, x.dtype if n in like_x else _wider(x))
                    for n, v in values.items()
                }
                seen = wide(x) if widen and kinds not in (_checks.numbers, _checks.values) else x
                result = body(key, seen, **values, **dict(statics), where=mask)
                if replayed == moved:
                    return result.source if isinstance(result, Moved) else MOVED.identity(x)
                if isinstance(result, Moved):
                    result = result.value
                if isinstance(result, Hit):
                    kept = x if result.kept is None else saturate(result.kept, x.dtype)
                    hit, result = result.mask, jnp.where(result.mask, saturate(result.value, x.dtype), kept)
                elif replayed:
                    raise TypeError(f"{name} changes every element. Use nj.changed(x, y) instead of hits.")
                else:
                    hit, result = True, saturate(result, x.dtype)
                if replayed:
                    return jnp.broadcast_to(hit if mask is None else hit & mask, x.shape)
                return result if mask is None else jnp.where(mask, result, x)

            return mathematics(key, x, values, mask)

        compiled.__name__ = name
        compiled = jax.jit(compiled, static_argnums=(0, 1), inline=True)

        def call(replayed, key, x, args, where, lengths, keywords):
            key = enter(name, key)
            if isinstance(x, Padded):
                if lengths is not None:
                    raise TypeError(f"{name}: x is a Padded, which already has lengths: leave out lengths=...")
                lengths, padded, x = x.lengths, x, x.values
                _checks.array(name, x, kinds)
            else:
                padded = None
                _checks.array(name, x, kinds)
                lengths = None if lengths is None else check_lengths(name, x, lengths)
            where = _checks.mask(name, "where", where)
            values, statics = parameters.split(args, keywords)
            for n in held:
                _checks.holds(name, n, values.get(n), x.dtype)
            if amounts is not None:
                amounts(**values, **statics)
            if (layout := layout_of(key)) is not None:
                _checks.layout(name, layout, sees, statics)
            if tile_of(key) is not None and sees != "element":
                raise ValueError(
                    f"{name}: noise that is drawn by tiles must see single elements, and this one sees the whole "
                    f"{sees}. Apply it to the whole array, and use an ordinary product."
                )
            if host is not None and isinstance(x, np.ndarray) and not isinstance(lengths, jax.Array):
                host(x, host_mask(name, x, where, lengths), **values, **statics)
            result = compiled(replayed, tuple(statics.items()), key, x, values, where, lengths)
            return result if padded is None or replayed else padded.with_values(result)

        @functools.wraps(body)
        def noise(key, x, *args, where=None, lengths=None, **keywords):
            return call(None, key, x, args, where, lengths, keywords)

        def replay(replayed):
            def run(key, x, *, where=None, lengths=None, **keywords):
                return call(replayed, key, x, (), where, lengths, keywords)

            return run

        replays: dict[str, Callable] = {name: replay(name) for name in ("hits", moved)}
        if not (sees != "element" if moves is None else moves):
            replays[ALIGNMENT.name] = in_place
        spec = Spec("array", parameters.amounts, ranges, like_x, sees, replays, moves, banks)
        return published(noise, parameters, spec, jax.Array)

    return decorate


def published(noise: Callable, parameters: Parameters, spec: Spec, returns: Any) -> Any:
    """The public noise: a public function with its metadata."""
    public = published_signature(noise, parameters, returns)
    public.__noise__ = spec
    return public


def published_signature(function: Callable, parameters: Parameters, returns: Any) -> Any:
    """The public function, with the parameters of its source and the return annotation that users see."""
    public: Any = function
    public.__signature__ = parameters.signature.replace(return_annotation=returns)
    public.__annotations__ = {**function.__annotations__, "return": returns}
    return public


def wide(x: jax.Array) -> jax.Array:
    """x in the dtype of the computation: float64 if x is float64, else float32."""
    return x.astype(_wider(x))


def _wider(x: jax.Array):
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


def saturate(value: Any, dtype) -> jax.Array:
    """The one rounding to the dtype of the result: to nearest even; for integers within their range, with NaN as 0."""
    value = jnp.asarray(value)
    if not jnp.issubdtype(dtype, jnp.integer) or not jnp.issubdtype(value.dtype, jnp.floating):
        return value.astype(dtype)
    info = jnp.iinfo(dtype)
    high = np.float32(info.max)
    if int(high) > info.max:  # float32 cannot represent the largest int32: use the next number below
        high = np.nextafter(high, np.float32(0))
    value = jnp.clip(jnp.round(value), np.float32(info.min), high)
    return jnp.where(jnp.isnan(value), 0, value).astype(dtype)


def fault(x: jax.Array, mask: Any, value: Any) -> Hit:
    """A fault of real data: of the cells that are drawn, those are hit that change. Missing values stay missing."""
    value = saturate(value, x.dtype)
    return Hit(mask & (value != x) & (x == x), value)


@jax.custom_jvp
def straight_through(y: jax.Array, x: jax.Array) -> jax.Array:
    """The value of y to the bit, with the derivatives of x: in forward and reverse mode, and to any order."""
    return y


@straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    return straight_through(*primals), tangents[1]


def _fit(function: str, name: str, value: Any, shape: tuple[int, ...], dtype) -> Any:
    """An amount in the dtype of the computation and of x's rank, for strict rank promotion. Scalars stay scalars."""
    if not hasattr(value, "ndim"):
        return value
    _checks.broadcastable(function, name, value.shape, shape)
    if value.ndim > 1:  # an array of one axis is one value per feature, as documented
        _checks.unambiguous(function, name, value.shape, shape)
    value = saturate(_within(value, dtype), dtype)
    return value.reshape((1,) * (len(shape) - value.ndim) + value.shape) if value.ndim else value


def _within(value: Any, dtype) -> Any:
    """Integers clamped to the range of x's integers, which a cast alone would wrap around."""
    if not jnp.issubdtype(dtype, jnp.integer) or not jnp.issubdtype(value.dtype, jnp.integer):
        return value
    info, own = jnp.iinfo(dtype), jnp.iinfo(value.dtype)
    return value if dtype == value.dtype else jnp.clip(value, max(info.min, own.min), min(info.max, own.max))
