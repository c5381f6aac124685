"""Trains and measures several candidates at once: one program, mapped over noises of one structure."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax.robustness._report.report import Report
from noisejax.robustness._report.samples import Units, of_set
from noisejax.robustness._sweep.sweep import sweep


def same(key: Any, batch: Any) -> Any:
    """The noise of the baseline."""
    return batch


NONE = jax.tree_util.Partial(same)


@functools.lru_cache(8)
def _programs(train: Callable) -> tuple[Callable, Callable]:
    """Training with one noise and with several; the same compiled programs for every call with this function."""

    def checked(key, data, noise):
        predictor = train(key, data, noise)
        if not callable(predictor):
            raise TypeError(
                "tune: train must return a predictor of x that is a pytree, such as jax.tree_util.Partial(apply, "
                f"params), got {_checks.shown(predictor)}."
            )
        return predictor

    return jax.jit(checked), jax.jit(jax.vmap(checked, (None, None, 0)))


def trained(train: Callable, key: jax.Array, data: Any, noise: Any) -> Any:
    """The predictor of one noise."""
    return _programs(train)[0](key, data, noise)


def population(train: Callable, key: jax.Array, data: Any, noises: Sequence[Any], size: int) -> Any:
    """The predictors of several noises, stacked. The last noise fills the population up to its size."""
    noises = [*noises, *[noises[-1]] * (size - len(noises))]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *noises)
    return _programs(train)[1](key, data, stacked)


def with_baseline(baseline: Any, others: Any) -> Any:
    """Stacked predictors, the baseline first."""
    first = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], baseline)
    try:
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, others)
    except ValueError as error:
        raise ValueError(f"tune: train must return predictors of one structure for every noise. {error}") from None


def each(predictors: Any, x: Any) -> Any:
    """Outputs of all candidates. Those that are not finite become 0, so that one candidate does not end the search."""
    outputs = jax.vmap(lambda predictor: predictor(x))(predictors)

    def finite(leaf):
        return jnp.nan_to_num(leaf, nan=0, posinf=0, neginf=0) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(finite, outputs)


@jax.jit
def are_finite(predictors: Any, x: Any) -> jax.Array:
    """Whether the outputs of each candidate are."""
    outputs = jax.vmap(lambda predictor: predictor(x))(predictors)
    leaves = [leaf for leaf in jax.tree.leaves(outputs) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    of_leaves = [jnp.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in leaves]
    return functools.reduce(jnp.logical_and, of_leaves, jnp.ones(len(jax.tree.leaves(predictors)[0]), bool))


def measured(
    key: jax.Array, predictors: Any, data: Any, families: Any, options: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Scores of all candidates, without noise and on average over the deployment families, as arrays."""
    report = sweep(key, jax.tree_util.Partial(each, predictors), data, families, **options)
    failed = [f"{name!r}: {text}" for name, texts in report.problems.items() for text in texts.values()]
    if failed:
        raise ValueError(f"tune: deployment families must be measured at all levels, got a problem with {failed[0]}")
    samples = {"clean": report._sample(None, None).at(0), "robust": robust(report)}
    arrays = {f"{of}/{kind}": array for of, sample in samples.items() for kind, array in _arrays(sample).items()}
    first = jax.tree.map(lambda leaf: leaf[:4096], data[0])
    return {**arrays, "counts": report.counts, "finite": np.asarray(are_finite(predictors, first), np.float32)}


def robust(report: Report) -> Any:
    """The mean over the levels of a family, then over the families."""
    found: Any = None
    for number, (family, levels) in enumerate(report.levels.items()):
        sample = report._sample(family, None).over_levels(np.full(len(levels), 1 / len(levels)))
        found = sample if found is None else found.combined(number / (number + 1), sample, 1 / (number + 1))
    return found


def _arrays(sample: Any) -> dict[str, np.ndarray]:
    return {kind: np.asarray(getattr(sample, kind), np.float32) for kind in sample.KINDS}


def sample_of(arrays: dict[str, np.ndarray], of: str, number: int, candidates: int) -> Any:
    """The scores of one candidate: of its seeds, and of examples or resamples."""
    values = arrays[f"{of}/values"]
    seeds = len(values) // candidates
    own = slice(number * seeds, (number + 1) * seeds)
    if set(arrays) & {f"{of}/above", f"{of}/replicates"}:
        return of_set(of, arrays, lambda kind: arrays[f"{of}/{kind}"][own])
    return Units(values[own], arrays["counts"])
