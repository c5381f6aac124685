"""What is known of a family before anything runs: that it gives noises, and amounts within their ranges."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer, eval_jaxpr

from noisejax import _checks
from noisejax._noise import Combinator, Noise, is_noise
from noisejax.robustness._families import Family, is_traced


def check(family: Family, host: bool) -> bool:
    """Requires noises whose amounts are within their ranges at every level, as `bind` does of numbers.

    Returns whether a noise hides its amounts, so that it has to be asked.
    """
    if not is_traced(family, host):
        for level in family.levels:
            made = _within(family, level, family.noise_at, float(level))
            _checks.function("sweep", f"noise_at of {family.name!r} at {level:g}", made, _FORM[family.on])
        return False
    found: dict[str, Any] = {}

    def amounts(level):
        noise = family.noise_at(level)
        if not callable(noise) or isinstance(noise, type):
            raise TypeError(
                f"sweep: noise_at of {family.name!r} must return a noise {_FORM[family.on]}, got "
                f"{_checks.shown(noise)}."
            )
        all_of = _amounts(noise)
        found["opaque"] = None in all_of
        found["names"] = [amount[0] for amount in all_of if amount is not None]
        return [amount[1] for amount in all_of if amount is not None]

    program = jax.make_jaxpr(amounts)(np.float32(0))
    for level in family.levels:
        ends = eval_jaxpr(program.jaxpr, program.consts, np.float32(level))
        for (function, name, inside), values in zip(found["names"], ends, strict=True):
            for value in (np.min(values), np.max(values)):
                _within(family, level, inside, function, name, float(value))
    return bool(found["opaque"]) and family.on != "attack"


_FORM = {
    "x": "(key, x) -> x",
    "batch": "(key, (x, y)) -> (x, y)",
    "host": "(key, x) -> x",
    "attack": "(key, predict, (x, y)) -> x",
}


def ask(family: Family, key: Any, x: Any, y: Any) -> None:
    """Asks a function that hides its amounts at the outermost levels: ranges are intervals, so two suffice."""
    for level in {float(family.levels[0]), float(family.levels[-1])}:

        def call(key, x, y, level=level):
            noise = family.noise_at(np.float32(level))
            return noise(key, (x, y)) if family.on == "batch" else noise(key, x)

        try:
            jax.eval_shape(call, key, x, y)
        except ValueError as error:
            raise ValueError(
                f"sweep: the level {level:g} among the levels of {family.name!r} is not valid. {error}"
            ) from None
        except Exception:  # a function that needs a traced level, or is wrong: the sweep itself reports it
            pass


def acts_in_parts(noise: Any, n: int) -> bool:
    """Whether a part of the examples is drawn as a part of the whole: only noises of single examples are."""
    if not isinstance(noise, Noise):
        return False
    spec = getattr(noise.function, "__noise__", None)
    if spec is None and not isinstance(noise.function, Combinator):
        return False
    if spec is not None and (spec.kind != "array" or spec.sees not in ("element", "example")):
        return False
    for value in noise.amounts.values():
        for leaf in jax.tree.leaves(value, is_leaf=is_noise):
            if isinstance(leaf, Noise):
                if not acts_in_parts(leaf, n):
                    return False
            elif np.ndim(leaf) and np.shape(leaf)[0] == n:  # an amount for each example
                return False
    return not (isinstance(noise.function, Combinator) and noise.function.name not in ("chain", "clip", "on_columns"))


def draws_once(family: Family) -> bool:
    """Whether the noise may act at several levels in one program, which draws once for all of them.

    Noises of single elements and those without a domain may. Others could choose one of many ways by their level, and
    would go all of them, and a function of the user's could do anything.
    """
    if family.on != "x":
        return False
    try:
        return _draws_once(family.noise_at(np.float32(family.levels[0])))
    except Exception:  # the sweep itself reports it
        return False


def _draws_once(noise: Any) -> bool:
    if not isinstance(noise, Noise):
        return False
    spec = getattr(noise.function, "__noise__", None)
    if spec is None:
        if not isinstance(noise.function, Combinator) or noise.function.name not in ("chain", "clip", "on_columns"):
            return False
    elif spec.kind != "array" or not (spec.sees == "element" or noise.function.__module__.startswith(_NO_DOMAIN)):
        return False
    return all(map(_draws_once, filter(is_noise, jax.tree.leaves(noise.amounts, is_leaf=is_noise))))


_NO_DOMAIN = "noisejax._noises."


def _amounts(noise: Any) -> list:
    """The traced amounts that have a range, as ((function, name, range), value); None for a noise that hides them."""
    if not isinstance(noise, Noise):
        return [None]
    found, spec = [], getattr(noise.function, "__noise__", None)
    ranges: Any = {}
    if spec is not None:
        ranges = spec.ranges
    elif isinstance(noise.function, Combinator):
        ranges = {"rate": _checks.rate}  # of `sometimes`
    else:
        found.append(None)
    for name, value in noise.amounts.items():
        for leaf in jax.tree.leaves(value, is_leaf=is_noise):
            if isinstance(leaf, Noise):
                found += _amounts(leaf)
            elif isinstance(leaf, Tracer) and name in ranges:
                found.append(((noise.function.__name__.lstrip("_"), name, ranges[name]), leaf))
    return found


def _within(family: Family, level: float, check: Any, *arguments: Any) -> Any:
    try:
        return check(*arguments)
    except ValueError as error:
        raise ValueError(
            f"sweep: the level {level:g} among the levels of {family.name!r} is not valid. {error}"
        ) from None
