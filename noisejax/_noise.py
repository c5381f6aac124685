"""A noise as a value: `bind` makes a function and its amounts one pytree, whose call is ``noise(key, x)``."""

import functools
import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks, _stream
from noisejax._contract import host_amount, padding


@jax.tree_util.register_pytree_with_keys_class
class Noise:
    """A noise with its amounts: a pytree whose leaves are the amounts, called as ``noise(key, x)``.

    Made by `bind` and by the combinators (`chain`, `choose`, `sometimes`, ...), which take any function
    ``(key, x) -> x`` beside it. Pass it to `jax.jit`, keep it in a train state, map over a batch of it with
    `jax.vmap`; its function and options are static and compared by value, so other amounts cost no new trace.
    """

    __slots__ = ("__weakref__", "amounts", "function", "learn", "options")

    def __init__(
        self,
        function: Callable,
        amounts: dict[str, Any],
        options: tuple[tuple[str, Hashable], ...] = (),
        learn: bool = False,
    ):
        self.function, self.amounts, self.options, self.learn = function, amounts, options, learn

    def __call__(self, key: jax.Array, x: Any, *, where=None, lengths=None) -> Any:
        """The noisy x; places where `where` is False, or at and beyond `lengths`, are padding and stay as they are."""
        return apply(self, key, x, where=where, lengths=lengths)[0]

    @property
    def stages(self) -> tuple[Callable, ...]:
        """The noises of a `chain`, in the order in which they are applied; of any other noise itself alone."""
        return self.amounts["noises"] if getattr(self.function, "__sequence__", False) else (self,)

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

    def __repr__(self):
        options, inside = dict(self.options), []
        function = [("function", options.pop("function"))] if "function" in options else []
        for name, value in (*function, *self.amounts.items(), *options.items()):
            bare = name in ("noises", "function")  # what a combinator is made of needs no name
            parts = value if name == "noises" and isinstance(value, tuple) else (value,)
            inside += [_show(part) if bare else f"{name}={_show(part)}" for part in parts]
        if self.learn and not _is_combinator(self.function):
            inside.append("learn=True")
        return f"{getattr(self.function, '__name__', repr(self.function)).lstrip('_')}({', '.join(inside)})"


@jax.tree_util.register_static
class Schedule:
    """An amount that follows a schedule, a function of the step; `at_step` replaces it by its value."""

    def __init__(self, function: Callable):
        self.function = function

    def __eq__(self, other):
        return isinstance(other, Schedule) and self.function == other.function

    def __hash__(self):
        return hash(self.function)

    def __repr__(self):
        return f"<{getattr(self.function, '__name__', 'schedule').strip('<>')}>"


def bind(function: Callable, *, learn: bool = False, **arguments: Any) -> Noise:
    """Binds amounts and options to a noise function: a `Noise`, called as ``noise(key, x)``.

    Args:
      function: a noise of this library, or any function ``f(key, x, amount, ..., *, option=...)``: what stands left
        of its star is an amount, what stands right of it an option.
      learn: whether gradients reach the amounts. By default they stop there, so that an optimizer never trains a
        noise away by accident.
      **arguments: the amounts (numbers, arrays, traced or not, or schedules: functions of the step, see `at_step`)
        and the options (hashable). Numbers become strong float32 arrays, so a Python float never costs a new trace.

    Returns:
      A pytree whose leaves are the amounts.

    Raises:
      TypeError: an argument that the function does not have, or an option that is not hashable.
      ValueError: an amount out of its range.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.bind(nj.gaussian, std=0.1)
      >>> noise
      gaussian(std=0.1)
      >>> noise(jax.random.key(0), jnp.zeros((2, 3))).shape
      (2, 3)
    """
    name = getattr(function, "__name__", repr(function))
    if not callable(function) or isinstance(function, Noise):
        raise TypeError(f"bind: function must be a function f(key, x, amount, ...), got {function!r}.")
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    left = {p.name: p for p in list(parameters)[2:] if p.kind is p.POSITIONAL_OR_KEYWORD}
    right = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"where", "lengths"}
    spec = getattr(function, "__noise__", None)
    amounts, options = {}, {}
    for argument, value in arguments.items():
        if argument in left:
            inside = spec.ranges.get(argument) if spec else None
            amounts[argument] = amount(name, argument, value, inside, spec is not None and argument in spec.like_x)
        elif argument in right:
            options[argument] = option(name, argument, value)
        else:
            raise TypeError(f"bind: {name} has no argument {argument!r}. Its signature is {name}{signature}.")
    missing = [n for n, p in left.items() if p.default is p.empty and n not in amounts]
    if missing:
        raise TypeError(f"bind: {name} needs the amount {missing[0]!r}. Its signature is {name}{signature}.")
    amounts = {n: amounts[n] for n in left if n in amounts}  # one order, so that equal noises have equal structure
    return Noise(function, amounts, tuple(sorted(options.items())), learn)


def apply(noise: Callable, key, x, *, where=None, lengths=None, hits: bool = False) -> tuple[Any, Any]:
    """Runs any noise: its result, and with `hits` the mask of the elements it hits (which it must have)."""
    if not isinstance(noise, Noise):
        return _apply_foreign(noise, key, x, where, lengths, hits)
    for name, value in noise.amounts.items():
        if isinstance(value, Schedule):
            raise ValueError(f"{noise!r}: {name} follows a schedule; give it a step first: nj.at_step(noise, step).")
    amounts = noise.amounts if noise.learn else jax.tree.map(_stop, noise.amounts)
    arguments = {**amounts, **dict(noise.options)}
    if _is_combinator(noise.function):
        if not isinstance(key, _stream.Stream):
            _checks.key(noise.function.__name__.lstrip("_"), key)
        run = functools.partial(apply, where=where, lengths=lengths, hits=hits)
        return noise.function(run, key, x, **arguments)
    spec = getattr(noise.function, "__noise__", None)
    if spec is None:
        return _apply_foreign(
            functools.partial(noise.function, **arguments), key, x, where, lengths, hits, noise.function
        )
    hit = spec.hits(key, x, where=where, lengths=lengths, **arguments) if hits else None
    given = {k: v for k, v in (("where", where), ("lengths", lengths)) if v is not None}
    return noise.function(key, x, **arguments, **given), hit


def _apply_foreign(call, key, x, where, lengths, hits, function=None):
    name = getattr(function or call, "__name__", repr(function or call))
    if hits:
        raise TypeError(f"hits: {name} does not say which elements it hits; compare with nj.changed(x, y).")
    result = call(_stream.jax_key(key), x)
    if not (where is None and lengths is None) and not hasattr(x, "ndim"):
        raise TypeError(f"{name} acts on a whole batch: give where and lengths to its entries, with nj.entries.")
    mask = padding(name, x, where, lengths)
    return result if mask is None else jnp.where(mask, result, x), None


def stages(function: str, noises: Sequence[Callable]) -> tuple:
    """Noises as they are; other functions wrapped, since a bare function is no pytree leaf that jit could take."""
    if not noises:
        raise ValueError(f"{function}: give at least one noise.")
    out = []
    for noise in noises:
        if not callable(noise):
            raise TypeError(f"{function}: a noise must be callable as noise(key, x), got {noise!r}.")
        spec = getattr(noise, "__noise__", None)
        if spec is not None and not isinstance(noise, Noise):
            raise TypeError(f"{function}: bind {noise.__name__} first: nj.bind(nj.{noise.__name__}, ...).")
        is_leaf = jax.tree_util.all_leaves([noise])
        out.append(Noise(noise, {}) if is_leaf else noise)
    return tuple(out)


def batch_size(function: str, x: Any) -> int:
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(sizes) != 1 or () in sizes:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{function}: all arrays must share a leading axis of examples, got shapes {shapes}.")
    return sizes.pop()[0]


def combinator(function: Callable) -> Callable:
    """Marks ``body(run, key, x, **amounts_and_options) -> (y, hit or None)``; `run` applies a noise inside it."""
    function.__combinator__ = True
    return function


def _is_combinator(function) -> bool:
    return getattr(function, "__combinator__", False)


def amount(function: str, name: str, value: Any, inside: Callable | None, like_x: bool = False) -> Any:
    """What is stored of an amount: a schedule, a strong float32 number checked on the host, or an array."""
    if callable(value) and jax.tree_util.all_leaves([value]):
        return Schedule(value)
    value = host_amount(function, name, value, inside, like_x)
    if isinstance(value, jax.Array) and not like_x:
        return value.astype(jnp.float32)
    return value


def option(function: str, name: str, value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"bind: {name} of {function} stands right of the star: it is static and must be hashable, got "
            f"{type(value).__name__} {value!r}. Use a tuple."
        ) from None
    return value


def _stop(leaf):
    return jax.lax.stop_gradient(leaf) if isinstance(leaf, Tracer) else leaf


def _show(value: Any) -> str:
    if isinstance(value, jax.Array) and (value.ndim or isinstance(value, Tracer)):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return f"{float(value):g}"
    if callable(value) and not isinstance(value, Noise):
        return getattr(value, "__name__", repr(value))
    return repr(value)
