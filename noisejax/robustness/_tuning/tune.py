"""`tune`: trains many noises at once, and chooses by validation robustness at a bounded clean cost."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._noise import Noise
from noisejax._random import sample
from noisejax._random.stream import jax_key, stage
from noisejax.robustness._families import Family, checked
from noisejax.robustness._metrics.metric import Metric, chosen as chosen_metrics
from noisejax.robustness._report.records import check_share, fingerprint
from noisejax.robustness._sweep import inputs
from noisejax.robustness._sweep.journal import Journal
from noisejax.robustness._sweep.sweep import sweep
from noisejax.robustness._tuning import population
from noisejax.robustness._tuning.result import Candidate, Tuned, signed
from noisejax.robustness._tuning.space import Entry, Space, entries, groups

_ETA, _RUNGS = 3, 3  # successive halving keeps a third of the candidates, and trains on 1/9, 1/3 and all of the rows


def tune(
    key: jax.Array,
    train: Callable[..., Any],
    data: tuple[Any, Any],
    candidates: "Space | Mapping[str, Space] | Sequence[Noise]",
    deployment: Sequence[Family],
    *,
    budget: int,
    clean_cost: float,
    search: str = "random",
    metric: str | Callable[..., Any] | Metric = "accuracy",
    draws: int = 1,
    at_once: int = 16,
    validation: float = 0.2,
    test: float = 0.2,
    checkpoint: str | os.PathLike | None = None,
) -> Tuned:
    """Finds the training noise that is best under the faults of deployment, at a bounded cost on clean rows.

    Rows are divided at random into three parts. A population of noises is trained on the first at once: `train` is
    mapped over the amounts of noises of one structure, so it compiles once for each structure, whatever the budget. All
    share the key, so they start from the same weights and see the same rows in the same order. Each is measured on the
    validation rows, without noise and under every family. Of the noises that cost at most `clean_cost` there, compared
    with training without noise, the one with the best mean over the families and their levels is chosen. The chosen
    noise and no noise are trained again, on all rows but the test rows, and compared on the test rows.

    Args:
      key: a JAX key.
      train: a function ``train(key, (x, y), noise)`` that JAX can trace. It returns the predictor as a pytree, such as
        ``jax.tree_util.Partial(apply, params)``; with several seeds, outputs have a leading axis for them. `mlp` is
        one: ``functools.partial(robustness.mlp, classes=2)``. What the noise acts on is up to `train`; that of `mlp`
        acts on (x, y). For no noise it gets a function that returns what it is given.
      data: (x, y), as for `sweep`.
      candidates: a `Space`, a mapping from names to spaces (single techniques and a mixture, for instance), or a list
        of noises.
      deployment: a list of `Family`: the faults to be robust against, generic or fitted to pairs of clean and dirty
        rows (`noisejax.tabular.fit_errors`, `noisejax.image.fit_sensor`). The levels count equally, and so do the
        families.
      budget: the number of noises to try. Several spaces share it equally.
      clean_cost: how much worse than no noise the chosen one may be on clean validation rows, at least 0, in the units
        of the metric: 0.01 is one point of accuracy.
      search: ``'random'``, ``'grid'`` (the largest grid within the budget), or ``'halving'``: successive halving starts
        on a ninth of the training rows, and goes on with the best third twice, on a third and on all of them.
      metric: a metric of `sweep`.
      draws: the number of noise draws that are averaged in measurements.
      at_once: how many noises are trained at once, which bounds the memory.
      validation: the share of the rows to choose on.
      test: the share of the rows to measure the choice on.
      checkpoint: the path of a file that keeps each population as soon as it is measured. A search that was killed
        continues there, and gives the same result. `train` and the spaces' functions are not compared.

    Returns:
      A `Tuned`: the noise, its predictor, paired reports of the chosen and of no noise on the test rows, and all
      candidates with intervals, of which some form the Pareto front of clean cost and robustness.

    Raises:
      TypeError: `train` returns no predictor, or candidates are no noises.
      ValueError: the budget or a share is out of range, or a family cannot be measured.

    References:
      Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016
      (successive halving).

    Example:
      >>> import functools, jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((500, 3)), 1.0)
      >>> y = (x[:, 0] > 0).astype(int)
      >>> def make(std):
      ...     return nj.on_entries((nj.bind(nj.gaussian, std=std), None))
      >>> train = functools.partial(robustness.mlp, classes=2, seeds=2, epochs=5)
      >>> faults = [robustness.Family("gaussian", lambda std: nj.bind(nj.gaussian, std=std), [0.3])]
      >>> space = robustness.Space(make, {"std": (0.0, 1.0)})
      >>> best = robustness.tune(jax.random.key(1), train, (x, y), space, faults, budget=4, clean_cost=0.02)
      >>> len(best.candidates), best.report.examples
      (5, 100)
    """
    _checks.key("tune", key)
    if isinstance(key, Tracer):
        raise TypeError(
            f"tune: key must be a concrete key, got {_checks.shown(key)}. Call tune outside of jit and vmap."
        )
    _checks.function("tune", "train", train, "(key, (x, y), noise) -> predictor")
    families = checked(deployment, "tune", "deployment")
    if not families:
        raise ValueError("tune: deployment must have at least one family, got none.")
    budget = _checks.count("tune", "budget", budget, 1)
    at_once = _checks.count("tune", "at_once", at_once, 1)
    clean_cost = _checks.scalar("tune", "clean_cost", clean_cost, 0)
    _checks.one_of("tune", "search", search, ("random", "grid", "halving"))
    (measure,) = chosen_metrics([metric], "tune", "metric")
    draws = _checks.count("tune", "draws", draws, 1)
    x, y, _ = inputs.entered(data)
    parts = _parts(key, len(jax.tree.leaves(y)[0]), validation, test)
    rows, valid, held_out = ((_taken(x, part), _taken(y, part)) for part in parts)
    found = entries(key, candidates, budget, search)
    keys = {name: jax_key(stage(key, name)) for name in ("train", "measure", "final", "test")}
    kept = Journal(checkpoint, _head(key, (x, y), found, families, measure, draws, at_once, parts), "tune")
    options = {"metrics": [measure], "draws": draws, "resamples": 100}
    sign = 1.0 if measure.higher_is_better else -1.0

    results: list[Candidate] = []
    alive = list(range(len(found)))
    sizes = _rungs(len(parts[0]), len(found)) if search == "halving" else [len(parts[0])]
    for rung, size in enumerate(sizes):
        part = jax.tree.map(lambda v: v[:size], rows)  # noqa: B023
        scored = _rung(
            kept, rung, train, keys, part, valid, families, options, [found[n] for n in alive], at_once, sign
        )
        none, scored = scored[0], dict(zip(alive, scored[1:], strict=True))
        ranked = sorted(alive, key=lambda n: _rank(scored[n], clean_cost), reverse=True)
        last = rung == len(sizes) - 1
        keep = ranked if last else ranked[: max(1, len(ranked) // _ETA)]
        results = [*results, *(scored[n] for n in alive if n not in keep)]
        alive = [n for n in alive if n in keep]
        if last:
            results = [none, *(scored[n] for n in alive), *results]
    best = max(range(len(results)), key=lambda n: (results[n].rows == sizes[-1], *_rank(results[n], clean_cost)))
    marked = _front(results)
    both = jax.tree.map(lambda a, b: np.concatenate([a, b]), rows, valid)
    reports: dict[str, Any] = {}
    predictor: Any = None
    for name, noise in {"none": None, "chosen": marked[best].noise}.items():
        if name == "none" or noise is not None:
            given = population.NONE if noise is None else noise
            predictor = population.trained(train, keys["final"], both, given)
        reports[name] = sweep(keys["test"], predictor, held_out, families, metrics=[measure], draws=draws)
    return Tuned(marked[best].noise, best, marked, reports["chosen"], reports["none"], clean_cost, predictor)


def _parts(key: Any, n: int, validation: float, test: float) -> list[np.ndarray]:
    validation, test = check_share("tune", "validation", validation), check_share("tune", "test", test)
    sizes = [n - int(n * validation) - int(n * test), int(n * validation), int(n * test)]
    if min(sizes) < 1:
        raise ValueError(
            f"tune: validation and test must leave rows for training and be at least one row each, got {validation:g} "
            f"and {test:g} of {n} rows."
        )
    order = np.asarray(sample.permutation(stage(key, "split"), "rows", n))
    return np.split(order, np.cumsum(sizes)[:-1])


def _taken(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda v: np.asarray(v)[rows], tree)


def _rungs(rows: int, count: int) -> list[int]:
    """Numbers of training rows of successive halving; fewer rungs if candidates are few."""
    rungs = min(_RUNGS, 1 + int(np.log(max(count, 1)) / np.log(_ETA) + 1e-9))
    return [max(1, rows // _ETA**n) for n in range(rungs - 1, -1, -1)]


def _rung(
    kept, rung, train, keys, rows, valid, families, options, found: list[Entry], at_once, sign
) -> list[Candidate]:
    """No noise and all candidates, trained on the same rows."""
    scored: dict[int, Candidate] = {}
    baseline, first = None, None
    for group, members in enumerate(groups(found)):
        size = min(at_once, len(members))
        for start in range(0, len(members), size):
            chunk = members[start : start + size]
            place = (f"rung {rung}, structure {group}", float(start))
            cell = kept.cell(*place)
            if cell is None:
                if baseline is None:
                    baseline = population.trained(train, keys["train"], rows, population.NONE)
                noises = [found[n].noise for n in chunk]
                several = population.population(train, keys["train"], rows, noises, size)
                several = population.with_baseline(baseline, several)
                arrays = population.measured(keys["measure"], several, valid, families, options)
                cell = {"arrays": arrays, "problem": ""}
                kept.keep(*place, cell)
            of_chunk = _candidates(
                cell["arrays"], [found[n] for n in chunk], size + 1, len(jax.tree.leaves(rows)[0]), sign
            )
            first = first or of_chunk[0]
            scored |= dict(zip(chunk, of_chunk[1:], strict=True))
    assert first is not None
    return [first, *(scored[n] for n in range(len(found)))]


def _candidates(arrays: Any, found: list[Entry], size: int, rows: int, sign: float) -> list[Candidate]:
    """The candidates of one population, with intervals; the first is no noise."""

    def of(what, number):
        return population.sample_of(arrays, what, number, size)

    made = []
    for number, entry in enumerate([Entry("", {}, None), *found]):  # pyright: ignore[reportArgumentType]
        clean, robust = (of(what, number) for what in ("clean", "robust"))
        cost, gain = (
            signed(s.combined(1.0, of(what, 0), -1.0).interval(0.95), f * sign)
            for what, s, f in (("clean", clean, -1.0), ("robust", robust, 1.0))
        )
        problem = "" if arrays["finite"][number] else "train gave a predictor whose outputs are not finite"
        intervals = (clean.interval(0.95), robust.interval(0.95), cost, gain)
        made.append(Candidate(entry.name, entry.amounts, entry.noise, *intervals, rows, False, problem))
    if made[0].problem:
        raise FloatingPointError("tune: without noise, train gave a predictor whose outputs are not finite.")
    return made


def _rank(candidate: Candidate, clean_cost: float) -> tuple:
    """Larger is better: valid, within the allowed cost, and robust; beyond the allowed cost, the cheaper one."""
    cost, gain = float(candidate.cost.mean), float(candidate.gain.mean)
    valid = not candidate.problem and np.isfinite(cost) and np.isfinite(gain)
    allowed = valid and cost <= clean_cost + 1e-7
    return valid, allowed, (gain if allowed else -cost) if valid else 0.0


def _front(results: list[Candidate]) -> tuple[Candidate, ...]:
    """Marks those that no other candidate of as many rows dominates."""
    most = max(c.rows for c in results)

    def dominated(c):
        cost, gain = float(c.cost.mean), float(c.gain.mean)
        return any(
            o.rows == c.rows
            and not o.problem
            and (o.cost.mean <= cost and o.gain.mean >= gain)
            and (o.cost.mean < cost or o.gain.mean > gain)
            for o in results
        )

    return tuple(c._replace(on_front=c.rows == most and not c.problem and not dominated(c)) for c in results)


def _head(key, data, found, families, measure, draws, at_once, parts) -> dict[str, Any]:
    noises = [[entry.name, entry.amounts, fingerprint(entry.noise)] for entry in found]
    return {
        "key or data": fingerprint(inputs.key_words(key), *data),
        "metric": [measure.name, measure.over, measure.higher_is_better],
        "number of draws": draws,
        "candidates or search": noises,
        "deployment": [[family.name, family.levels.tolist(), family.on] for family in families],
        "at_once or shares": [at_once, [len(part) for part in parts]],
        "clean": 0.0,
    }
