"""Stages of a chain that draw nothing: clipping, and any deterministic function."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks, _noise
from noisejax._checks.texts import written
from noisejax._contract import Amount
from noisejax._noise import Noise, Run, combinator
from noisejax._padded import Padded, padding_of, restored, values_of


def clip(low: Amount | None = None, high: Amount | None = None) -> Noise:
    """Clips to [low, high], as a stage of a chain. Noises do not clip by themselves.

    Args:
      low, high: the ends, in the units of x: numbers, or arrays broadcastable to x, traced or not. None for no end.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.5), nj.clip(0, 1))
      >>> y = noise(jax.random.key(0), jnp.ones(8))
      >>> bool(y.max() <= 1)
      True
    """
    return Noise(_clip, {name: _bound(name, end) for name, end in (("low", low), ("high", high))})


def _bound(name: str, end: Any) -> Any:
    if isinstance(end, dict):
        raise TypeError(f"clip: {name} must be a number or an array, got {end!r}. Clip the entries: nj.on_entries.")
    if end is None:
        return None
    value = _noise.amount("clip", name, end, _checks.real, like_x=True)
    if not isinstance(value, _noise.Schedule):
        _noise.arithmetic("clip", name, value, False)
    return value


@combinator(lambda noise: ([noise.amounts["low"], noise.amounts["high"]], {}))
def _clip(run: Run, key, x, low, high):
    def clipped(values):
        _checks.array("clip", values, _checks.numbers)
        values = jnp.asarray(values)  # in the dtype that JAX gives it
        for name, end in (("low", low), ("high", high)):
            _checks.holds("clip", name, end, values.dtype)
            _checks.broadcastable("clip", name, () if end is None else jnp.shape(end), values.shape)
        ends = (None if b is None else jnp.asarray(b).astype(values.dtype) for b in (low, high))
        return jnp.clip(values, *ends)

    return _on_values("clip", run, x, clipped)


def keyless(function: Callable, **arguments: Any) -> Noise:
    """Turns a deterministic function ``f(x, amount, ..., *, option=...) -> x`` into a noise that ignores its key.

    As in `bind`, the positional parameters after x are amounts, and the keyword-only parameters are options.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.keyless(jnp.tanh)(jax.random.key(0), jnp.zeros(2)).tolist()
      [0.0, 0.0]
    """
    if not callable(function):
        raise TypeError(f"keyless: function must be a function f(x), got {function!r}.")
    name, options = getattr(function, "__name__", repr(function)), _options_of(function)
    _check_names(function, name, arguments)
    amounts = {n: _argument(n, v) for n, v in sorted(arguments.items()) if n not in options}
    static = {n: _noise.option(name, n, v) for n, v in arguments.items() if n in options}
    return Noise(_keyless, amounts, tuple(sorted({"function": function, **static}.items())))


def _argument(name: str, value: Any) -> Any:
    if value is None or isinstance(value, jax.Array):  # kept unchanged, for instance a table of integers
        return value
    return _noise.amount("keyless", name, value, None)


def _keyless_spelled(noise: Noise) -> tuple[list, dict]:
    options = dict(noise.options)
    return [options.pop("function")], {**noise.amounts, **options}


@combinator(_keyless_spelled)
def _keyless(run: Run, key, x, *, function, **arguments):
    name = getattr(function, "__name__", repr(function))
    if run.replay is not None and not run.replay.keeps(function):
        raise TypeError(
            f"{run.replay.name}: keyless({name}) may move pixels, and only functions of this library are known not to. "
            f"{run.replay.advice}"
        )

    def applied(values):
        for leaf in jax.tree.leaves(values):
            if isinstance(leaf, np.ndarray) and not leaf.dtype.isnative:
                _checks.native("keyless", "x", leaf)  # JAX reads the bytes in the wrong order
        result = function(values, **arguments)
        for leaf in jax.tree.leaves(result, is_leaf=lambda leaf: leaf is None):
            if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float, complex)):
                raise TypeError(f"keyless: function must return arrays, and {name} gave {_checks.shown(result)}.")
        return result

    return _on_values(name, run, x, applied)


def _on_values(name: str, run: Run, x: Any, function: Callable) -> tuple[Any, Any]:
    """Applies a function to an array or to the values of a `Padded`, and restores padding. It hits nothing."""
    values = values_of(x)
    result = function(values)
    if isinstance(x, Padded) and getattr(result, "shape", None) != values.shape:
        raise ValueError(
            f"keyless: {name} must keep the shape {values.shape} of a Padded's values, got "
            f"{getattr(result, 'shape', type(result))}. For a function of a Padded, write f(key, padded) -> padded."
        )
    if isinstance(x, Padded):
        mask = padding_of(name, x, run.where)
        return x.with_values(jnp.where(mask, result, values)), run.unchanged(x)
    return restored(name, x, result, run.where), run.unchanged(x)


def _check_names(function: Callable, name: str, arguments: dict[str, Any]) -> None:
    """Requires arguments that the function has."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return
    try:
        signature.bind_partial(None, **arguments)
    except TypeError as error:
        raise TypeError(
            f"keyless: function must take x and the arguments, and {name}{written(signature)} does not: {error}."
        ) from None


def _options_of(function: Callable) -> set[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C have no signature
        return set()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
