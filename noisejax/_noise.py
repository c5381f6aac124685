"""A noise as a value: `bind` makes a function and its amounts one pytree, called as ``noise(key, x)``."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Concatenate, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax._calls import dispatch
from noisejax._calls.arguments import arithmetic, as_tuple, host_amount, option as option, same
from noisejax._calls.replay import Replay, pick_examples
from noisejax._checks.texts import address, written
from noisejax._contract import PADDING
from noisejax._padded import restored, with_lengths, without_lengths
from noisejax._random.stream import enter, jax_key

P = ParamSpec("P")


@jax.tree_util.register_pytree_with_keys_class
class Noise:
    """A noise with its amounts: a pytree whose leaves are the amounts, called as ``noise(key, x)``.

    `bind` and the combinators (`chain`, `choose`, `sometimes`, ...) make it. Combinators also accept any function
    ``(key, x) -> x``. A noise can be passed to `jax.jit`, kept in a train state, and batched with `jax.vmap`. Its
    function and options are static and compared by value, so different amounts do not cause a new trace.

    Two noises are equal if their functions, options and amounts are equal. Traced amounts are equal if they are the
    same objects. The hash is that of the structure without the amounts. The repr is code that makes the noise again.
    Amounts with more than 16 entries are abbreviated.
    """

    __slots__ = ("__weakref__", "amounts", "function", "learn", "options")
    writers: ClassVar[dict[str, Callable]] = {}  # 'code' and 'dict': filled by `_serialize`, which imports this module

    def __init__(
        self,
        function: Any,
        amounts: dict[str, Any],
        options: tuple[tuple[str, Any], ...] = (),
        learn: bool = False,
    ):
        self.function, self.amounts, self.options, self.learn = function, amounts, options, learn

    def __call__(self, key: jax.Array, x: Any, *, where=None, lengths=None) -> Any:
        """The noisy x. Padding is unchanged: elements where `where` is False, and entries at and beyond `lengths`.

        `lengths` is short for ``noise(key, nj.Padded(x, lengths)).values``. For a batch, pass both by entry:
        ``lengths={"text": lengths}``.
        """
        return call(self, key, x, where, lengths)

    @property
    def stages(self) -> "tuple[Noise, ...]":
        """The noises of a chain, in order. For any other noise, only itself."""
        chained = isinstance(self.function, Combinator) and self.function.name == "chain"
        return self.amounts["noises"] if chained else (self,)

    def to_dict(self, functions: dict[str, Callable] | None = None) -> dict[str, Any]:
        """The noise as a dictionary that `json.dumps` accepts and `noisejax.from_dict` reads.

        Args:
          functions: names for functions that are not part of this library (user noises, schedules). By default such
            a function is named by its ``__name__``.
        """
        return Noise.writers["dict"](self, functions)

    def tree_flatten_with_keys(self):
        names = tuple(self.amounts)
        children = tuple((jax.tree_util.DictKey(name), self.amounts[name]) for name in names)
        return children, (self.function, names, self.options, self.learn)

    def tree_flatten(self):
        return tuple(self.amounts.values()), (self.function, tuple(self.amounts), self.options, self.learn)

    @classmethod
    def tree_unflatten(cls, static, children):
        function, names, options, learn = static
        return cls(function, dict(zip(names, children, strict=True)), options, learn)

    def __getstate__(self):
        return self.function, self.amounts, self.options, self.learn

    def __setstate__(self, state):
        self.function, self.amounts, self.options, self.learn = state

    def __eq__(self, other: object):
        if not isinstance(other, Noise):
            return NotImplemented
        (ours, structure), (theirs, other_structure) = jax.tree.flatten(self), jax.tree.flatten(other)
        return structure == other_structure and all(map(same, ours, theirs))

    def __hash__(self):
        # The hash of JAX's tree structures leaves out what a node says of itself.
        inside = tuple(hash(part) for part in jax.tree.leaves(self.amounts, is_leaf=is_noise) if is_noise(part))
        return hash((self.function, tuple(self.amounts), self.options, self.learn, inside))

    def __repr__(self):
        return Noise.writers["code"](self)


class Combinator:
    """The function of a noise made of noises: ``body(run, key, x, **amounts_and_options) -> (y, replay or None)``.

    A `Noise` that a combinator returns has it as its function. Inside the body ``run(noise, key, x)`` applies a noise.

    Args:
      body: a private function, `_name` for the public combinator `name`.
      spelled: a function from such a `Noise` to the arguments and keywords with which the public combinator makes it
        again. None for the noises by position and the rest by name.
      draws: whether the body calculates, so that an eager call is worth a compiled program of its own.
      module: the public module of a combinator that is not at the top level.
    """

    registry: "dict[str, Combinator]" = {}  # noqa: RUF012 written only here

    def __init__(
        self,
        body: Callable,
        spelled: Callable[[Noise], tuple[list, dict]] | None = None,
        *,
        draws: bool = False,
        module: str | None = None,
    ):
        self.body, self.spelled, self.draws = body, spelled, draws
        self.__name__, self.__module__, name = body.__name__, body.__module__, body.__name__.lstrip("_")
        self.name = f"{module}.{name}" if module else name
        Combinator.registry[self.name] = self

    def __reduce__(self):
        return self.__name__  # pickle finds this same object by its module and name

    def __repr__(self):
        return self.name


def combinator(
    spelled: Callable[[Noise], tuple[list, dict]] | None = None, *, draws: bool = False, module: str | None = None
) -> Callable[[Callable], Combinator]:
    """A decorator that makes a `Combinator` with `spelled`, `draws` and `module` of its own."""
    return lambda body: Combinator(body, spelled, draws=draws, module=module)


@dataclasses.dataclass(frozen=True)
class Run:
    """How a combinator applies noises: with the mask of the data, and with what is replayed besides the noisy value."""

    where: Any = None
    replay: Replay | None = None

    def __call__(self, noise: Callable, key, x: Any) -> tuple[Any, Any]:
        return apply(noise, key, x, self)

    def masked(self, where: Any) -> "Run":
        return dataclasses.replace(self, where=where)

    def unchanged(self, x: Any) -> Any:
        """The replay of a noise that leaves x unchanged."""
        return None if self.replay is None else self.replay.unchanged(x)

    def follow(self, first: Any, second: Any) -> Any:
        """The replay of two noises applied one after the other."""
        return None if self.replay is None else self.replay.follow(first, second)

    def select(self, drawn: jax.Array, new: Any, old: Any) -> Any:
        """The replay `new` in the examples where `drawn` is True, and `old` in the others."""
        return None if self.replay is None else (self.replay.select or pick_examples)(drawn, new, old)

    def alike(self, x: Any, told: Any) -> Any:
        """A replay of x in the form that all noises share, for branches of a program."""
        return told if self.replay is None or self.replay.alike is None else self.replay.alike(x, told)


@jax.tree_util.register_static
class Schedule:
    """An amount that follows a schedule, made by `scheduled`. `at_step` replaces it with its value."""

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def __eq__(self, other):
        return isinstance(other, Schedule) and self.function == other.function

    def __hash__(self):
        return hash(self.function)

    def __repr__(self):
        return f"nj.scheduled({address(self.function)})"


def bind(function: Callable[Concatenate[Any, Any, P], Any], *args: P.args, **kwargs: P.kwargs) -> Noise:
    """Binds amounts and options to a noise function: a `Noise`, called as ``noise(key, x)``.

    Gradients stop at the amounts, so that an optimizer does not train a noise away by accident; see `learnable`. Weight
    decay needs no gradient: in a tree of parameters, mask the amounts with `noisejax.optim.trainable`.

    Args:
      function: a noise of this library, or any function ``f(key, x, amount, ..., *, option=...)``. Positional
        parameters after x are amounts, and keyword-only parameters are options.
      *args: amounts, in the order of the function's parameters.
      **kwargs: amounts (numbers, arrays, traced or not, or `scheduled` functions of the step) and options (hashable),
        by name. Numbers become strong float32 arrays, so a Python float never costs a new trace.

    Returns:
      A pytree whose leaves are the amounts.

    Raises:
      TypeError: an argument that the function does not have, or an option that is not hashable.
      ValueError: an amount outside its range.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.bind(nj.gaussian, std=0.1)
      >>> noise
      nj.bind(nj.gaussian, std=0.1)
      >>> noise(jax.random.key(0), jnp.zeros((2, 3))).shape
      (2, 3)
    """
    name = getattr(function, "__name__", repr(function))
    if not callable(function) or isinstance(function, Noise):
        raise TypeError(f"bind: function must be a function f(key, x, amount, ...), got {function!r}.")
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    left = {p.name: p for p in parameters[2:] if p.kind is p.POSITIONAL_OR_KEYWORD}
    right = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in PADDING}
    shown = f"Its signature is {name}{written(signature)}."
    if len(args) > len(left):
        raise TypeError(f"bind: {name} has {len(left)} amounts, got {len(args)}. Pass options by name. {shown}")
    given = dict(zip(left, args, strict=False))
    if twice := [n for n in kwargs if n in given]:
        raise TypeError(f"bind: {name} got two values for {twice[0]!r}.")
    spec = getattr(function, "__noise__", None)
    amounts, options = {}, {}
    for argument, value in {**given, **kwargs}.items():
        if argument in left:
            inside = spec.ranges.get(argument) if spec else None
            amounts[argument] = amount(name, argument, value, inside, spec is not None and argument in spec.like_x)
            if spec is not None and not isinstance(amounts[argument], Schedule):
                arithmetic(name, argument, amounts[argument], left[argument].default is None)
        elif argument in right:
            options[argument] = option(name, argument, as_tuple(value) if spec else value)
        elif argument in PADDING:
            raise TypeError(f"bind: padding belongs to the batch: pass {argument} when you call the noise.")
        elif argument == "learn":
            raise TypeError("bind: for gradients in the amounts write nj.learnable(nj.bind(...)).")
        else:
            raise TypeError(f"bind: {name} has no argument {argument!r}. {shown}")
    for what, every, bound in (("amount", left, amounts), ("option", right, options)):
        missing = [n for n, p in every.items() if p.default is p.empty and n not in bound]
        if missing:
            raise TypeError(f"bind: {name} needs the {what} {missing[0]!r}. {shown}")
    amounts = {n: amounts[n] for n in left if n in amounts}  # one fixed order: equal noises have equal structure
    return Noise(function, amounts, tuple(sorted(options.items())))


def learnable(noise: Noise) -> Noise:
    """The noise with gradients in its amounts, and in the amounts of every noise inside it.

    Args:
      noise: a bound noise or a combinator.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.learnable(nj.chain(nj.bind(nj.gaussian, std=0.5)))
      >>> noise
      nj.learnable(nj.chain(nj.bind(nj.gaussian, std=0.5)))
      >>> gradient = jax.grad(lambda noise: (noise(jax.random.key(0), jnp.zeros(100)) ** 2).mean())(noise)
      >>> bool(gradient.stages[0].amounts["std"] > 0)
      True
    """
    if not isinstance(noise, Noise):
        raise TypeError(f"learnable: noise must be a bound noise, like nj.bind(nj.gaussian, std=0.1), got {noise!r}.")

    def inside(value):
        return learnable(value) if isinstance(value, Noise) else value

    amounts = {n: jax.tree.map(inside, value, is_leaf=is_noise) for n, value in noise.amounts.items()}
    return Noise(noise.function, amounts, noise.options, True)


def call(noise: Callable, key, x: Any, where: Any, lengths: Any) -> Any:
    """Applies any noise to x, as a call of a `Noise` does."""
    if lengths is None:
        return apply(noise, key, x, Run(where))[0]
    padded = with_lengths("noise", x, lengths)
    return without_lengths(apply(noise, key, padded, Run(where))[0], lengths)


def apply(noise: Callable, key, x: Any, run: Run) -> tuple[Any, Any]:
    """Applies any noise: its result and its replay. Raises if the noise does not support what `run` replays."""
    if not isinstance(noise, Noise):
        return _apply_foreign(noise, key, x, run)
    for name, value in noise.amounts.items():
        if isinstance(value, Schedule):
            raise ValueError(f"{noise!r}: {name} follows a schedule; give it a step first: nj.at_step(noise, step).")
    if isinstance(noise.function, Combinator):
        key = enter(noise.function.name, key)
        if noise.function.draws:
            return dispatch.compiled(_combined, run.replay, noise, key, x, run.where, _of_library)
        return _combined(run.replay, noise, key, x, run.where)
    arguments = _arguments(noise)
    spec = getattr(noise.function, "__noise__", None)
    if spec is None:
        return _apply_foreign(functools.partial(noise.function, **arguments), key, x, run, noise.function)
    given = {} if run.where is None else {"where": run.where}
    replayed = None
    if run.replay is not None:
        if run.replay.name in spec.replays:
            replayed = spec.replays[run.replay.name](key, x, **arguments, **given)
        elif run.replay.stays(spec):
            replayed = run.unchanged(x)
        else:
            why = "changes lengths" if spec.kind == "padded" else "changes whole examples"
            raise TypeError(f"{run.replay.name}: {noise.function.__name__} {why}. {run.replay.advice}")
    return noise.function(key, x, **arguments, **given), replayed


def _combined(replay: Replay | None, noise: Noise, key, x: Any, where: Any) -> tuple[Any, Any]:
    return noise.function.body(Run(where, replay), key, x, **_arguments(noise))


def _arguments(noise: Noise) -> dict[str, Any]:
    amounts = noise.amounts if noise.learn else {name: _stopped(value) for name, value in noise.amounts.items()}
    return {**amounts, **dict(noise.options)}


def _of_library(noise: Noise) -> bool:
    """Whether all functions in a noise are those of this library, which depend on nothing but their arguments."""
    known = isinstance(noise.function, Combinator) or hasattr(noise.function, "__noise__")
    inside = noise.amounts.get("noises", ()) if isinstance(noise.function, Combinator) else ()
    return (
        known
        and not any(callable(value) for _, value in noise.options)
        and all(part is None or (isinstance(part, Noise) and _of_library(part)) for part in inside)
    )


def _apply_foreign(call, key, x, run: Run, function=None):
    name = getattr(function or call, "__name__", repr(function or call))
    if run.replay is not None:
        raise TypeError(
            f"{run.replay.name}: the noise {name} does not report which elements it hits. {run.replay.advice}"
        )
    result = call(jax_key(key), x)
    if result is None and x is not None:
        raise TypeError(f"{name}: a noise must return the noisy x, got None. Does the function end without return?")
    return restored(name, x, result, run.where), None


def stages(function: str, noises: Sequence[Callable]) -> tuple:
    """Noises unchanged, and other functions wrapped, since jit does not accept a bare function as a leaf."""
    if not noises:
        raise ValueError(f"{function}: give at least one noise.")
    out = []
    for noise in noises:
        if not callable(noise):
            raise TypeError(f"{function}: a noise must be callable as noise(key, x), got {noise!r}.")
        spec = getattr(noise, "__noise__", None)
        if spec is not None and not isinstance(noise, Noise):
            raise TypeError(f"{function}: bind {noise.__name__} first: nj.bind({address(noise)}, ...).")
        is_leaf = jax.tree_util.all_leaves([noise])
        out.append(Noise(noise, {}) if is_leaf else noise)
    return tuple(out)


def is_noise(value: Any) -> bool:
    return isinstance(value, Noise)


def amount(function: str, name: str, value: Any, inside: Callable | None, like_x: bool = False) -> Any:
    """The stored form of an amount: a schedule, a strong float32 number checked on the host, or an array."""
    if isinstance(value, Schedule):
        return value
    if callable(value) and jax.tree_util.all_leaves([value]):
        raise TypeError(
            f"{function}: {name} must be a number or an array, got the function {address(value)}. For an "
            f"amount that follows a schedule write {name}=nj.scheduled({address(value)})."
        )
    value = host_amount(function, name, value, inside, like_x)
    if isinstance(value, jax.Array) and not like_x:
        return value.astype(jnp.float32)
    return value


def _stopped(amount: Any) -> Any:
    """An amount without gradient. The common ones are told first, since a tree map costs as much as a small noise."""
    if isinstance(amount, (jax.Array, np.ndarray, np.generic)):
        return _stop(amount)
    if isinstance(amount, tuple) and all(isinstance(part, Noise) for part in amount):
        return amount
    return jax.tree.map(_stop, amount, is_leaf=is_noise)


def _stop(leaf):
    return jax.lax.stop_gradient(leaf) if isinstance(leaf, Tracer) else leaf  # a nested noise decides for itself
