"""Flights whose times are missing or wrong. The protocol is in `__main__`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from experiments import _dirty
from experiments.flights import boosted, features, learnt, on_times, predicted, table_of, trained, with_copies

PAIRS, ROWS, STEPS = 200, 6000, 3000
GENERIC = {
    **{f"missing at {rate}": on_times(rate) for rate in (0.1, 0.3, 0.5)},
    "values of other rows at 0.1": nj.on_columns(nj.bind(nj.swap, rate=0.1), (0, 1, 2)),
    "Gaussian of 15 minutes": nj.on_columns(nj.bind(nj.gaussian, std=15.0), (0, 1, 2)),
}


def boosting(x: np.ndarray, y: np.ndarray, seed: int, smoke: bool):
    """A function from times to the arrival."""
    del smoke
    return boosted(x, y, seed).predict


def network(x: np.ndarray, y: np.ndarray, seed: int, smoke: bool):
    """The same. Rows are repeated up to one number, so that all trainings share a program."""
    rows = np.resize(np.random.default_rng(seed).permutation(len(x)), ROWS)
    steps = 50 if smoke else STEPS
    parameters = trained(jax.random.key(seed), table_of(x[rows]), jnp.float32(y[rows]), None, steps)
    return lambda x: np.asarray(predicted(parameters, table_of(x)))


def of_fold(make, clean, dirty, flight, schema, train, test, seed: int, fold: int, smoke: bool) -> tuple[dict, str]:
    from sklearn.impute import KNNImputer

    rng = np.random.default_rng(1000 * seed + fold)
    held = rng.permutation(np.unique(flight[train]))[: len(np.unique(flight[train])) // 5]
    inside = np.isin(flight[train], held)
    pairs, rest = rng.permutation(train[inside])[:PAIRS], train[~inside]
    fit = functools.partial(make, seed=seed, smoke=smoke)
    choice = dict(list(GENERIC.items())[:1]) if smoke else GENERIC

    def error(predict, rows, table, change=lambda x: x) -> float:
        return float(np.abs(predict(change(features(table[rows]))) - clean[rows, 3]).mean())

    scores = {name: error(fit(*with_copies(noise, clean[rest], seed)), pairs, dirty) for name, noise in choice.items()}
    best = min(scores, key=lambda name: scores[name])
    fitted = learnt(clean, dirty, schema, pairs)
    plain = fit(*with_copies(None, clean[train], seed))
    imputer = KNNImputer().fit(features(clean[train]))
    arms = {
        "none": (plain, lambda x: x),
        "best generic": (fit(*with_copies(GENERIC[best], clean[train], seed)), lambda x: x),
        "fitted": (fit(*with_copies(fitted, clean[train], seed)), lambda x: x),
        "rival: KNN imputer": (plain, imputer.transform),
        "dirty rows": (fit(features(dirty[train]), clean[train, 3]), lambda x: x),
    }
    figures = {
        name: [error(predict, test, table, change) for table in (clean, dirty)]
        for name, (predict, change) in arms.items()
    }
    return figures, best


def flights(seed: int, smoke: bool = False) -> dict:
    from sklearn.model_selection import GroupKFold

    clean, dirty, flight, sources = _dirty.flights()
    schema = _dirty.schema_of_flights(sources)
    folds = list(GroupKFold(5, shuffle=True, random_state=seed).split(clean, groups=flight))
    found = {}
    for kind, make in {"boosting": boosting, "network": network}.items():
        runs, chosen = zip(
            *[
                of_fold(make, clean, dirty, flight, schema, train, test, seed, n, smoke)
                for n, (train, test) in enumerate(folds[:1] if smoke else folds)
            ],
            strict=True,
        )
        means = {name: np.mean([run[name] for run in runs], 0) for name in runs[0]}
        found[kind] = {
            "arms": {name: {"clean": float(m[0]), "dirty": float(m[1])} for name, m in means.items()},
            "chosen": list(chosen),
        }
    return found
