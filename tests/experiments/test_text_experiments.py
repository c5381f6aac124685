"""The page of results on texts is that of the stored results, and the bars that it reports as met are met."""

import json
from pathlib import Path

import numpy as np

from experiments import text_imitation as imitation, text_page

ROOT = Path(__file__).resolve().parents[2]


def stored(name: str) -> dict:
    return json.loads((ROOT / "experiments" / "results" / f"{name}.json").read_text())


def test_the_page_is_that_of_the_results():
    assert text_page.PAGE.read_text() == text_page.page()


def test_learnt_edits_imitate_a_recogniser_better_than_generic_noise():
    figures = {name: figure["mean"] for name, figure in stored("text_imitation")["figures"].items()}
    assert abs(figures["word error rate"] / figures["real word error rate"] - 1) < 0.05
    generic = [value for name, value in figures.items() if name.startswith("AUC, ") and name != "AUC, learnt edits"]
    assert len(generic) == 4
    assert figures["AUC, learnt edits"] <= min(generic) - 0.02


def test_statistics_of_pairs():
    found = imitation.Statistics([("turn it on", "turn on"), ("a b c d", "a x y d"), ("a", "a b")])
    assert found.kinds == {"delete": 1, "replace": 2, "insert": 1}
    assert found.lengths == {(1, 0): 1, (2, 2): 1, (0, 1): 1}
    assert found.same == 0
    assert found.words["b"] == {"x": 1} and found.words["it"] == {"": 1}
    assert imitation.variation(found.kinds, found.kinds) == 0
    assert imitation.variation(found.words["b"], found.words["c"]) == 1
    one, other = imitation.halves([(w, w) for w in "abcdef"], np.arange(6), 0)
    assert sorted(one + other) == [(w, w) for w in "abcdef"] and len(one) == 3
