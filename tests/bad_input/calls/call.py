"""A right call of a public callable, which the mutations spoil one argument at a time."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bad_input import surface

KEY = jax.random.key(0)
PUBLIC = surface.callables()


@dataclass(frozen=True, eq=False)
class Call:
    address: str
    arguments: dict[str, Any]  # by name; those of a ``*arguments`` parameter are named ``*0``, ``*1``, ...
    use: Callable = lambda result: result  # what a user does with the result: a layer is called, an optimizer updates
    note: str = ""
    function: Callable | None = None  # the method that is called, None for the public callable itself
    only: tuple[str, ...] | None = None  # the arguments that are spoilt; None for all
    signed: tuple[str, ...] = ()  # numbers that may be negative
    anything: tuple[str, ...] = ()  # values that may be NaN or complex, or functions that may return anything
    classes: tuple[str, ...] = ()  # class numbers
    batch: tuple[str, ...] = ()  # arrays with one entry for each example
    none: tuple[str, ...] = ()  # arguments for which None has a meaning
    slow: tuple[str, ...] = ()  # counts: a huge one is a long wait, which was asked for
    heads: tuple[str, ...] = ()  # how messages may begin besides the callable's name
    shapes: bool = False  # a number sets the shape of the result
    noise: bool = False  # a noise of arrays, whose result has x's shape and dtype
    expensive: bool = False  # a program of it takes seconds to compile
    skip: dict[str, tuple[str, ...]] | None = None  # by argument: mutations that are right, with a comment why

    def __post_init__(self):
        object.__setattr__(self, "skip", self.skip or {})

    @property
    def name(self) -> str:
        return self.address + (f" ({self.note})" if self.note else "")

    @property
    def called(self) -> Callable:
        return self.function or PUBLIC[self.address]

    @functools.cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        called = self.called
        found = inspect.signature(called)
        if list(found.parameters) == ["args", "kwargs"]:  # what the metaclass of Flax modules shows
            found = inspect.signature(called.__init__)
        return dict(found.parameters)

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        return {n: p.default for n, p in self.parameters.items() if p.default is not p.empty}

    @property
    def needed(self) -> list[str]:
        return [
            n for n in self.arguments if n in self.parameters and self.parameters[n].default is inspect.Parameter.empty
        ]

    @property
    def spoilt(self) -> list[str]:
        return list(self.arguments if self.only is None else self.only)

    def given(self, arguments: dict[str, Any]) -> "Given":
        """Arguments by position as far as a user would, and the others by name."""
        args, named, keywords = [], {}, {}
        order = [n for n, p in self.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD and n != "self"]
        for name, value in arguments.items():
            next_one = order[len(args)] if len(args) < len(order) else None
            if not keywords and (name.startswith("*") or name == next_one):
                args.append(value)
                named[name] = value
            else:
                keywords[name] = value
        return Given(tuple(args), named, keywords)


@dataclass(frozen=True)
class Given:
    args: tuple
    named: dict[str, Any]
    keywords: dict[str, Any]


def call(address: str, /, use: Callable = lambda result: result, **given) -> Call:
    """A call from everything that is said of it by name: the fields of `Call`, and under ``a`` the arguments."""
    return Call(address, given.pop("a"), use, **given)


def array(*shape: int, low: float = 0.1, high: float = 0.9) -> np.ndarray:
    """Numbers in (low, high) without pattern."""
    size = int(np.prod(shape))
    return (
        (low + (high - low) * np.random.default_rng(5).permutation(size) / max(size - 1, 1))
        .astype(np.float32)
        .reshape(shape)
    )


def leaves(tree: Any) -> list:
    return jax.tree.leaves(tree)


X = array(4, 3)
LABELS = np.array([0, 1, 2, 0], np.int32)


def same_shape(x):
    return jnp.asarray(x)
