"""The experiment about types of noise: its figures, its members, its resumption; and the page says what it found."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

pytest.importorskip("sklearn")

from experiments import noise_types, noise_types_page as pages
from noisejax.robustness._metrics import sets


def test_the_calibration_error_is_that_of_the_library():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(400, 4)), rng.integers(0, 4, 400)
    probabilities = np.asarray(jax.nn.softmax(jnp.asarray(logits, jnp.float32)))
    ours = noise_types.calibration_error(probabilities, (probabilities.argmax(1) == y).astype(np.float32))
    np.testing.assert_allclose(ours, sets.calibration_error(probabilities, y, np.ones((1, 400)))[0], atol=1e-5)


def test_the_likelihood_of_a_number_is_that_of_scipy_and_has_a_gradient_everywhere():
    output, y = jnp.array([[0.3, -1.0], [2.0, 3.0], [0.0, 500.0], [0.0, -500.0]]), jnp.zeros((4, 1))
    std = np.exp(np.clip(np.asarray(output[:, 1], float), np.log(1e-4), np.log(1e4)) / 2)
    np.testing.assert_allclose(noise_types.nll(output, y, 0), -stats.norm(output[:, 0], std).logpdf(0), rtol=1e-5)
    assert np.isfinite(jax.grad(lambda output: noise_types.nll(output, y, 0).sum())(output)).all()


def test_candidates_lie_in_their_ranges_and_are_the_same_for_every_set():
    for name, ranges in noise_types.NOISES.items():
        found = noise_types.candidates(name)
        assert found == noise_types.candidates(name) and len(found) == noise_types.CANDIDATES
        for candidate in found:
            assert set(candidate["amounts"]) == set(ranges) and set(candidate["probability"]) == {name}
            for amount, (low, high, _) in ranges.items():
                assert low <= candidate["amounts"][amount] <= high
    seeds, rate, _, amounts, probability = noise_types.stacked(
        [{**noise_types.NOTHING, "seed": 3, "rates": (0.1, 0.0)}]
    )
    assert (seeds, rate) == (3, np.float32(0.1)) and not probability.any()
    assert {n for n, v in amounts.items() if v} == set(noise_types.SILENT)


def made_up(rng, classes) -> dict:
    """A finished set in which one noise alone helps, by 0.2."""
    noises = ["no noise", *noise_types.noises_for(classes), "best two"]
    best = noise_types.noises_for(classes)[2]
    shared = rng.normal(1, 0.3, 6)

    def score(noise):
        return (shared + rng.normal(0, 0.01, 6) - (0.2 if noise == best else 0)).tolist()

    metrics = ("nll", "error", "ece") if classes else ("nll", "error")
    final = {n: {w: {m: score(n) for m in metrics} for w in ("in", "out")} for n in noises}
    tuning = {n: rng.random(noise_types.CANDIDATES).tolist() for n in noises[:-1]}
    return {"done": True, "classes": classes, "final": final, "tuning": tuning, "best two": noises[1:3]}


def test_the_page_of_made_up_results_finds_what_is_in_them():
    rng = np.random.default_rng(1)
    ours = {"Satellite": made_up(rng, 3), "digits": made_up(rng, 10)}
    result = {"command": "made up", "measured": "today", "sets": ours}
    best = noise_types.noises_for(3)[2]
    found = ours["Satellite"]
    assert pages.verdict(found, best, "nll", "in") == 1
    mean, half = pages.difference(found, best, "nll", "in")
    assert abs(mean + 0.2) < 0.02 and half < 0.03
    ours = result["sets"]
    theirs = {
        kind: {
            "a set": {
                n: {w: {m: np.mean(v) for m, v in f["final"][n][w].items()} for w in ("in", "out")} for n in f["final"]
            }
        }
        for kind, f in (("tables, classes", ours["Satellite"]), ("images", ours["digits"]))
    }
    text = pages.page(result, {"source": "Made up", "sets": theirs})
    assert f"**Satellite.** The best single noise by the NLL in distribution is {best}" in " ".join(text.split())
    assert "+1.00" in text  # the ranking agrees with itself
    assert pages.ranks({"a": 0.12341, "b": 0.12339, "c": 0.5}) == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_the_stored_page_is_what_the_results_say():
    if not noise_types.RESULTS.exists():
        pytest.skip("no results")
    results, published = (json.loads(file.read_text()) for file in (noise_types.RESULTS, pages.PUBLISHED))
    assert pages.PAGE.read_text() == pages.page(results, published)


@pytest.mark.slow
def test_a_study_is_resumed_and_silent_noises_change_nothing(monkeypatch):
    monkeypatch.setattr(noise_types, "CANDIDATES", 1)
    monkeypatch.setattr(
        noise_types, "NOISES", {n: noise_types.NOISES[n] for n in ("mixup", "dropout", "shrink and perturb")}
    )
    whole, stopped, saves = {}, {}, []

    class Killed(Exception):
        pass

    def save_or_stop():
        saves.append(json.dumps(stopped))
        if len(saves) == 3:
            raise Killed

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        noise_types.study("digits", whole, lambda: None, 2, 4, epochs=1)
        with pytest.raises(Killed):
            noise_types.study("digits", stopped, save_or_stop, 2, 4, epochs=1)
        resumed = json.loads(saves[-1])
        noise_types.study("digits", resumed, lambda: None, 2, 4, epochs=1)
        assert json.dumps(resumed, sort_keys=True) == json.dumps(whole, sort_keys=True)
        data: Any = noise_types.data_of("digits")
        train = noise_types.program(*data, ods=False, epochs=1)
        nothing = {**noise_types.NOTHING, "seed": 0, "rates": (0.1, 1e-4)}
        never = {**nothing, "amounts": {"dropout": 0.9, "alpha": 1.0}}  # with the probability 0
        valid, _ = train(*noise_types.stacked([nothing, never]))
        assert valid[0] == valid[1]
