"""Advice fits the table, and its numbers are on the pages that it names."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness._advice import evidence

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "pyproject.toml").exists())
RNG = np.random.default_rng(0)
X = np.stack([RNG.standard_normal(3000), 50 * RNG.standard_normal(3000), RNG.integers(0, 3, 3000)], 1)
X = np.concatenate([X, RNG.integers(0, 2, (3000, 1)), np.ones((3000, 1))], 1).astype(np.float32)
Y = RNG.integers(0, 3, 3000)
SCHEMA = nj.tabular.Schema({"a": "number", "b": "number", "c": 3, "d": "flag", "e": "number"})
KEY = jax.random.key(0)


def at(advice, place):
    return [a for a in advice if a.place == place]


def test_noises_are_scaled_to_the_columns_and_run():
    advice = robustness.advise(X, Y, SCHEMA)
    assert [a.place for a in advice] == [
        "numbers",
        "cells",
        "cells",
        "the batch",
        "labels",
        "hidden units",
        "each step",
    ]
    change = np.asarray(advice[0].noise(KEY, X)) - X
    np.testing.assert_allclose(change[:, :2].std(0), [0.2, 10], rtol=0.1)
    assert (change[:, 2:] == 0).all() and "3 columns are categories, flags or constant" in advice[0].warning
    x, y = nj.chain(*(nj.on_entries((a.noise, None)) for a in at(advice, "cells")), at(advice, "labels")[0].noise)(
        KEY, (X, Y)
    )
    assert 0.08 < np.isnan(x).mean() < 0.12 and y.shape == (3000, 3)
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
    mixed, rows = at(advice, "the batch")[0].noise(KEY, (X, Y))
    assert mixed.shape == X.shape and rows.shape == (3000, 3)
    for a in advice:
        assert a.why.endswith(".") and "evidence: " in str(a)


def test_advice_depends_on_the_table():
    holes = np.where(RNG.random(X.shape) < 0.3, np.nan, X)
    assert at(robustness.advise(holes, Y), "cells")[0].noise.amounts["rate"] == pytest.approx(0.3, abs=0.02)
    regression = robustness.advise(X, X[:, 0])
    assert not at(regression, "labels") and not at(regression, "the batch") and "CASP" in regression[0].evidence
    few = robustness.advise(X[:300], Y[:300])
    np.testing.assert_allclose(jax.tree.leaves(few[0].noise)[0][0], 0.5 * X[:300, 0].std(), rtol=1e-4)
    assert "300" in few[0].evidence and "Rows are few" in at(few, "labels")[0].warning
    narrow = robustness.advise(np.stack([X[:, 0] + 1e5, X[:, 1]], 1), Y)
    assert "1 columns vary by less than a thousandth" in narrow[0].warning
    assert not at(robustness.advise(X[:, 3:], Y), "numbers")
    names = np.array(["a", "b", "c"])[Y]
    assert at(robustness.advise(X, names), "the batch")[0].noise == at(robustness.advise(X, Y), "the batch")[0].noise


def test_every_number_is_on_its_page():
    shown = [value for value in vars(evidence).values() if isinstance(value, tuple)]
    assert len(shown) > 8
    for text, page in shown:
        words = " ".join((ROOT / page).read_text().split())
        for number in re.findall(r"\d+\.\d+ ± \d+\.\d+|\d+(?:\.\d+)?", text):
            assert number in words, f"{number} of {text!r} is not in {page}"


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "x must be numbers and codes.*frame.encode", lambda: robustness.advise([["a"]], [1])),
        (ValueError, "y must have one label for each of 3000 rows", lambda: robustness.advise(X, Y[1:])),
        (ValueError, "at least two classes", lambda: robustness.advise(X, 0 * Y)),
        (ValueError, "finite", lambda: robustness.advise(X, np.full(3000, np.nan))),
        (ValueError, "schema must have a column for each of 4", lambda: robustness.advise(X[:, :4], Y, SCHEMA)),
        (TypeError, "schema must be", lambda: robustness.advise(X, Y, {"a": "number"})),
    ],
)
def test_wrong_calls(error, match, call):
    with pytest.raises(error, match=match):
        call()
