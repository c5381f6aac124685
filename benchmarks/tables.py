"""Faults of a table of numbers, a million rows by ten columns, compared with tab-err and pyampute.

``python -m benchmarks.run tables`` in an environment with ``tab-err==0.2.1``, ``pyampute==0.0.3`` and ``pandas<3``.
Peers that are missing are left out. tab-err corrupts one column after the other, on one copy of the frame.
"""

import importlib.util
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import measure

RATE = 0.1
BARS = {"Bernoulli": 10, "exact": 4, "at random": 20, "block": None}


def run(smoke: bool):
    rows, columns = (2000, 3) if smoke else (1_000_000, 10)
    table = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    fitted = nj.tabular.fit(table[:20_000])
    for job, (form, noise, peers) in jobs(table, fitted).items():
        x, program, key = jnp.asarray(table), jax.jit(noise), jax.random.key(0)
        ways = {"noisejax": lambda program=program, key=key, x=x: program(key, x)} | peers
        seconds = measure.interleaved(ways, rounds=3 if smoke else 5, calls=1)
        for peer in peers or {"none": None}:
            ratio = seconds[peer] / seconds["noisejax"] if peers else None
            yield {
                "fault": job,
                "form": form,
                "Mcells/s": table.size / seconds["noisejax"] / 1e6,
                "peer": peer,
                "peer Mcells/s": table.size / seconds[peer] / 1e6 if peers else None,
                "times as fast": ratio,
                "bar": BARS[form] if peers else None,
            }


def jobs(table: np.ndarray, fitted) -> dict[str, tuple[str, nj.Noise, dict[str, Callable]]]:
    """By the name of a job: its form, the noise, and its peers as calls without arguments."""
    tabular, columns = nj.tabular, table.shape[1]
    missing = {"rate": RATE}
    at_random = nj.bind(tabular.missing, **missing, mechanism=tabular.at_random(fitted, 0, 1.0))
    block = nj.bind(tabular.missing, **missing, mechanism=tabular.block(fitted, 0))
    found = {
        "missing": ("Bernoulli", nj.bind(tabular.missing, **missing), {}),
        "missing, exact count": ("exact", nj.bind(tabular.missing, **missing, exact=True), {}),
        "missing, given a column": ("at random", at_random, {}),
        "missing, in a block": ("block", block, {}),
        "add_delta": ("Bernoulli", nj.bind(tabular.add_delta, rate=RATE, delta=1.0), {}),
        "wrong_unit": ("Bernoulli", nj.bind(tabular.wrong_unit, rate=RATE), {}),
        "outlier": ("Bernoulli", nj.bind(tabular.outlier, rate=RATE, columns=fitted), {}),
        "rounding": ("Bernoulli", nj.bind(tabular.rounding, rate=RATE), {}),
        "digit": ("Bernoulli", nj.bind(tabular.digit, rate=RATE, decimals=2), {}),
        "category": ("Bernoulli", nj.bind(tabular.category, rate=RATE, num_classes=8), {}),
        "duplicate": ("Bernoulli", nj.bind(tabular.duplicate, rate=RATE), {}),
        "permute_rows": ("Bernoulli", nj.bind(tabular.permute_rows, rate=RATE), {}),
    }
    if importlib.util.find_spec("tab_err"):
        for job, rival in _tab_err(table).items():
            found[job][2]["tab-err"] = rival
    if importlib.util.find_spec("pyampute"):
        from pyampute.ampute import MultivariateAmputation

        # One pattern: all columns but the first are missing together, given the first.
        pattern = {"incomplete_vars": list(range(1, columns)), "weights": [1] + [0] * (columns - 1), "mechanism": "MAR"}
        found["missing, given a column"][2]["pyampute"] = lambda: MultivariateAmputation(
            prop=RATE, patterns=[pattern], seed=0
        ).fit_transform(table)
    return found


def _tab_err(table: np.ndarray) -> dict[str, Callable]:
    import pandas as pd
    from tab_err import error_mechanism as where, error_type as what

    frame = pd.DataFrame(table.astype(np.float64), columns=[str(n) for n in range(table.shape[1])])

    def corrupt(mechanism, kind):
        def call():
            out = frame.copy()
            for column in out.columns:
                mask = mechanism.sample(out, column, RATE, error_mask=None)
                out[column] = kind.apply(out, mask, column)
            return out

        return call

    config = what.ErrorTypeConfig
    ecar, ear = where.ECAR(seed=0), where.EAR(condition_to_column="0", seed=0)
    return {
        "missing": corrupt(ecar, what.MissingValue()),
        "missing, exact count": corrupt(ecar, what.MissingValue()),
        "missing, in a block": corrupt(ear, what.MissingValue()),
        "add_delta": corrupt(ecar, what.AddDelta(config(add_delta_value=1.0), seed=0)),
        "wrong_unit": corrupt(ecar, what.WrongUnit(config(wrong_unit_scaling=lambda x: 10.0 * x), seed=0)),
        "outlier": corrupt(ecar, what.Outlier(seed=0)),
    }
