"""The options that attacks pass on to the driver, with their types, and the check of their names at run time."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

import jax


class CommonOptions(TypedDict, total=False):
    """Options that every gradient attack and every loss of adversarial training accepts."""

    success: Callable | None
    keep: Literal["last", "best"]
    unroll: int
    limit: int | jax.Array | None


class ApgdOptions(CommonOptions, total=False):
    """Options of `apgd`, besides its own."""

    ids: jax.Array | None


class AttackOptions(ApgdOptions, total=False):
    """Options of `pgd` and similar attacks, besides their own."""

    start: jax.Array | Callable | None
    lookahead: Callable | None


class TrainingOptions(CommonOptions, total=False):
    """Options of a training loss that sets the start of its attack."""

    steps: int
    restarts: int
    eot: int
    lookahead: Callable | None


class PairingOptions(AttackOptions, total=False):
    """Options of a training loss that leaves the start to its attack."""

    steps: int
    random_start: bool
    restarts: int
    eot: int


def check_options(function: Callable, options: Mapping[str, Any], known: type) -> None:
    """Raises if `function` was given an option that `known` does not declare."""
    declared: frozenset[str] = getattr(known, "__optional_keys__", frozenset())
    unknown = [name for name in options if name not in declared]
    if unknown:
        own = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        name = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"{name} got an unknown option {unknown[0]!r}. Its options are {', '.join((*own, *sorted(declared)))}."
        )
