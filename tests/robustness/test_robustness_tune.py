"""The search for a training noise, on least squares, where the right answer is known."""

import functools
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax.robustness import Family, Space
from noisejax.robustness._sweep.journal import Journal
from noisejax.robustness._tuning import tune as module

# Column 1 predicts better than column 0 on clean rows, and is worthless when the fault hits it.
RNG = np.random.default_rng(0)
Y = RNG.standard_normal(600).astype(np.float32)
X = (Y[:, None] + np.array([0.6, 0.3]) * RNG.standard_normal((600, 2))).astype(np.float32)
FAULTS = [Family("second", lambda std: on_second(nj.bind(nj.gaussian, std=std)), [1.0, 2.0])]
KEY = jax.random.key(1)


def on_second(noise):
    return nj.on_columns(noise, (1,))


def make(std):
    return nj.on_entries((on_second(nj.bind(nj.gaussian, std=std)), None))


def make_both(std, rate):
    return nj.on_entries((nj.chain(nj.bind(nj.gaussian, std=std), nj.bind(nj.mask, rate=rate)), None))


def apply(w, x):
    return x @ w


@jax.jit
def train(key, data, noise):
    """Least squares on five noisy copies."""
    x, y = jax.vmap(lambda k: noise(k, data))(jax.random.split(key, 5))
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1)
    return jax.tree_util.Partial(apply, jnp.linalg.solve(x.T @ x + 1e-3 * jnp.eye(x.shape[1]), x.T @ y))


def tune(candidates=None, budget=8, clean_cost=0.1, **options):
    candidates = candidates or Space(make, {"std": (0.0, 3.0)})
    options = {"metric": "squared_error", "search": "grid"} | options
    return robustness.tune(KEY, train, (X, Y), candidates, FAULTS, budget=budget, clean_cost=clean_cost, **options)


@pytest.fixture(scope="module")
def found():
    return tune()


@pytest.mark.slow
def test_it_finds_what_helps_within_the_cost_and_measures_it_on_other_rows(found):
    assert found.noise == found.candidates[found.chosen].noise and found.report.examples == 120
    assert found.gain.lower > 0.1 and 0 < found.cost.mean < 0.1  # of squared errors that are 0.6 under the faults
    predicted = np.asarray(found.predict(X))
    assert ((predicted - Y) ** 2).mean() < 0.2
    assert "chosen" in str(found) and "std=" in str(found) and repr(found).startswith("Tuned(nj.on_entries")
    with pytest.raises(ValueError, match="level"):
        found.compare(0.5)
    assert found.compare(1.0).differences["second"].mean < 0


@pytest.mark.slow
def test_scores_are_those_of_each_noise_trained_alone(found):
    """The same in NumPy, one by one, with the library's split and draws."""
    rows, valid, _ = module._parts(KEY, 600, 0.2, 0.2)
    keys = {name: module.jax_key(module.stage(KEY, name)) for name in ("train", "measure")}
    errors = {}
    for number, candidate in enumerate(found.candidates):
        noise = candidate.noise or (lambda key, batch: batch)
        predict = train(keys["train"], (X[rows], Y[rows]), jax.tree_util.Partial(noise))
        report = robustness.sweep(keys["measure"], predict, (X[valid], Y[valid]), FAULTS, metrics="squared_error")
        clean, robust = report.clean().mean, report.interval("second").mean.mean()
        np.testing.assert_allclose([candidate.clean.mean, candidate.robust.mean], [clean, robust], rtol=1e-4)
        errors[number] = clean, robust
    for number, candidate in enumerate(found.candidates):
        np.testing.assert_allclose(candidate.cost.mean, errors[number][0] - errors[0][0], atol=1e-5)
        np.testing.assert_allclose(candidate.gain.mean, errors[0][1] - errors[number][1], atol=1e-5)
    allowed = [n for n in errors if errors[n][0] - errors[0][0] <= 0.1]
    assert found.chosen == min(allowed, key=lambda n: errors[n][1])
    front = [c for c in errors if not any(_dominates(errors[o], errors[c]) for o in errors)]
    assert sorted(front) == [n for n, c in enumerate(found.candidates) if c.on_front]
    assert [c.cost.mean for c in found.front] == sorted(c.cost.mean for c in found.front)


def _dominates(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


@pytest.mark.slow
def test_a_smaller_allowance_chooses_a_smaller_noise(found):
    large, none = tune(clean_cost=0.3), tune(clean_cost=0.0, budget=1)
    assert 0 < found.candidates[found.chosen].amounts["std"] < large.candidates[large.chosen].amounts["std"]
    assert none.noise is None and none.chosen == 0  # std 1.5 is the only candidate, and costs something
    assert none.gain.mean == none.cost.mean == 0 and "no noise" in str(none)


@pytest.mark.slow
def test_spaces_grids_and_lists(found):
    assert [c.amounts for c in found.candidates[1:3]] == [{"std": 0.0}, {"std": 0.428571}]
    spaces = {
        "one": Space(make, {"std": (0.0, 3.0)}),
        "both": Space(make_both, {"std": (0.01, 1, "log"), "rate": (0, 0.5)}),
    }
    both = tune(spaces, budget=9)
    assert [c.name for c in both.candidates] == ["", *5 * ["one"], *4 * ["both"]]
    corners = [tuple(c.amounts.values()) for c in both.candidates[6:]]
    assert corners == [(0.01, 0.0), (0.01, 0.5), (1.0, 0.0), (1.0, 0.5)]
    listed = tune([make(1.0), make(2.0), make_both(0.1, 0.1)], budget=5, at_once=1)
    assert [c.noise for c in listed.candidates[1:]] == [make(1.0), make(2.0), make_both(0.1, 0.1)]
    drawn = tune(budget=6, search="random", at_once=4)
    amounts = [c.amounts["std"] for c in drawn.candidates[1:]]
    assert len(set(amounts)) == 6 and min(amounts) >= 0 and max(amounts) <= 3
    assert [c.amounts for c in tune(budget=6, search="random", at_once=6).candidates] == [
        c.amounts for c in drawn.candidates
    ]


@pytest.mark.slow
def test_halving_goes_on_with_the_best_third():
    halved = tune(budget=9, search="halving")
    assert sorted(c.rows for c in halved.candidates) == [40] * 6 + [120] * 2 + [360] * 2  # no noise among the last
    assert halved.candidates[halved.chosen].rows == 360 and all(c.rows == 360 for c in halved.front)
    assert halved.gain.lower > 0.1


def test_a_noise_that_breaks_the_model_is_marked_and_not_chosen():
    def broken(size):
        return nj.on_entries((nj.bind(nj.gaussian, std=1e25 * size), None))  # overflows in x.T @ x

    marked = tune(Space(broken, {"size": (0.0, 1.0)}), budget=3)
    assert [bool(c.problem) for c in marked.candidates] == [False, False, True, True]
    assert marked.chosen < 2 and not any(c.on_front for c in marked.candidates[2:])


def test_the_result_goes_into_json_and_back(found):
    again = robustness.Tuned.from_json(found.to_json())
    assert again.to_json() == found.to_json() and again.noise == found.noise and str(again) == str(found)
    text = json.loads(found.to_json())
    for broken in (
        "",
        "[]",
        "{}",
        json.dumps({**text, "chosen": 99}),
        json.dumps({**text, "report": 1}),
        found.to_json()[:-9],
    ):
        with pytest.raises(ValueError, match="from_json: the text must be the JSON of a Tuned"):
            robustness.Tuned.from_json(broken)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_killed_search_continues(number, tmp_path, monkeypatch, found):
    path, counted = tmp_path / "tune.jsonl", iter(range(99))
    with monkeypatch.context() as patch:
        append = Journal._append

        def dying(journal, record):
            if next(counted) == number:
                raise KeyboardInterrupt
            append(journal, record)

        patch.setattr(Journal, "_append", dying)
        with pytest.raises(KeyboardInterrupt):
            tune(at_once=3, checkpoint=path)
    again = tune(at_once=3, checkpoint=path)
    assert again.to_json() == tune(at_once=3).to_json() and len(path.read_text().splitlines()) == 4
    with pytest.raises(ValueError, match=r"of the same tune.*different candidates"):
        tune(budget=7, at_once=3, checkpoint=path)
    with pytest.raises(ValueError, match="a file that sweep wrote"):
        robustness.sweep(KEY, found.predict, (X, Y), FAULTS, metrics="squared_error", checkpoint=path)


PROGRAM = """
import sys, time
sys.path[:0] = [{tests!r}]
from robustness import test_robustness_tune as t
from noisejax.robustness._tuning import population
measured = population.measured
population.measured = lambda *a: (time.sleep(0.15), measured(*a), time.sleep(0.15))[1]
print("ready", flush=True)
print(t.tune(at_once=1, checkpoint={path!r}).to_json())
"""


@pytest.mark.slow
def test_kill_9_at_ten_random_points(tmp_path):
    whole, draws = tune(at_once=1).to_json(), random.Random(0)
    path = str(tmp_path / "tune.jsonl")
    tests = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", PROGRAM.format(tests=tests, path=path)]
    for _ in range(10):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(draws.uniform(0.2, 4.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert last.stdout.splitlines()[-1] == whole


@pytest.mark.slow
def test_mlp_is_a_train():
    y = (Y > 0).astype(np.int32)
    fit = functools.partial(robustness.mlp, classes=2, seeds=2, epochs=8, hidden=(8,), learning_rate=1e-2)
    space = Space(make, {"std": (0.0, 2.0)})
    best = robustness.tune(KEY, fit, (X, y), space, FAULTS, budget=4, clean_cost=0.05, metric="auc")
    assert best.report.models == 2 and best.gain.mean > 0 and best.predict(X).shape == (2, 600, 2)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (ValueError, "budget", lambda: tune(budget=0)),
        (ValueError, "clean_cost must be at least 0", lambda: tune(clean_cost=-1)),
        (ValueError, "search must be", lambda: tune(search="bayes")),
        (TypeError, "candidates must be a robustness.Space", lambda: tune([1])),
        (
            ValueError,
            "one noise for each of 2 spaces",
            lambda: tune({n: Space(make, {"std": (0, 1)}) for n in "ab"}, budget=1),
        ),
        (ValueError, "validation and test must leave rows", lambda: tune(validation=0.5, test=0.5)),
        (ValueError, "test must be between 0 and 1", lambda: tune(test=0)),
        (
            ValueError,
            "at least one family",
            lambda: robustness.tune(KEY, train, (X, Y), [make(1.0)], [], budget=1, clean_cost=0),
        ),
        (
            TypeError,
            "train must return a predictor",
            lambda: robustness.tune(KEY, lambda k, d, n: 0.0, (X, Y), [make(1.0)], FAULTS, budget=1, clean_cost=0),
        ),
        (TypeError, "ranges must be a mapping", lambda: Space(make, [])),
        (ValueError, "ranges must be .low, high.*for 'std'", lambda: Space(make, {"std": 1.0})),
        (ValueError, "from a low number to a higher one", lambda: Space(make, {"std": (1, 0)})),
        (ValueError, "low number above 0", lambda: Space(make, {"std": (0, 1, "log")})),
        (ValueError, "make refuses.*std must be at least 0", lambda: Space(make, {"std": (-1, 1)})),
        (ValueError, "make refuses.*unexpected keyword", lambda: Space(make, {"rate": (0, 1)})),
        (TypeError, "make must return a noise", lambda: Space(lambda std: lambda k, x: x, {"std": (0, 1)})),
        (
            ValueError,
            "differ in their amounts alone",
            lambda: Space(lambda n: make(n) if n < 0.5 else make_both(n, 0.1), {"n": (0, 1)}),
        ),
    ],
)
def test_wrong_calls(error, match, call):
    with pytest.raises(error, match=match):
        call()
