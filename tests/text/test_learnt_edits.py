"""Learnt edits: planted rates come back, the error rate is the observed one, and nothing else happens."""

import json
from typing import Any

import jax
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

import noisejax as nj
from cases.text import learnt

WORDS = ["river", "stone", "window", "garden", "paper", "yellow", "silver", "morning", "summer", "letter", "kitchen"]
PLANTED = {"stone": ("stones", 0.3), "window": ("", 0.2), "paper": ("pay per", 0.25), "yellow": ("the yellow", 0.15)}
PHRASE = ("silver morning", "sliver of mourning", 0.4)


def sentences(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(4, 12))) for _ in range(count)]


def planted(strings: list[str], seed: int) -> list[str]:
    """Each word by itself, and the phrase before them; so that neighbouring edits merge into one segment seldom."""
    random, noisy = np.random.default_rng(seed), []
    for string in strings:
        words, out = string.split(), []
        while words:
            if words[:2] == PHRASE[0].split() and random.random() < PHRASE[2]:
                out += PHRASE[1].split()
                words = words[2:]
                continue
            word = words.pop(0)
            new, rate = PLANTED.get(word, (word, 0.0))
            out += (new if random.random() < rate else word).split()
        noisy.append(" ".join(out))
    return noisy


CLEAN = sentences(3000, 0)
NOISY = planted(CLEAN, 1)


@pytest.fixture(scope="module")
def model():
    return nj.text.fit_edits(CLEAN, NOISY)


def drawn(strings: list[str], key, model, strength=1.0) -> list[str]:
    """The noisy strings, in batches of one shape, so that there is one program for all."""
    noisy = []
    for n in range(0, len(strings), 1000):
        part = nj.text.encode((strings[n : n + 1000] + [""] * 1000)[:1000], length=192)
        noisy += nj.text.decode(nj.text.edits(jax.random.fold_in(key, n), part, model, strength))
    return noisy[: len(strings)]


def word_error_rate(clean: list[str], noisy: list[str]) -> float:
    pairs = [(a.split(), b.split()) for a, b in zip(clean, noisy, strict=True)]
    return sum(Levenshtein.distance(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)


def alone(clean: list[str], noisy: list[str], word: str, becomes: str) -> tuple[int, int]:
    """How often a word between two words that no edit hits became another, and how often it stayed.

    The words next to it are known to be sound, so that its edit is not part of a longer one.
    """
    changed = stayed = 0
    calm = [w for w in WORDS if w not in PLANTED and w not in PHRASE[0]]
    for a, b in zip(clean, noisy, strict=True):
        words = a.split()
        for n in range(1, len(words) - 1):
            before, after = words[n - 1], words[n + 1]
            if words[n] != word or before not in calm or after not in calm or words.count(before) > 1:
                continue
            changed += f"{before} {becomes} {after}".replace("  ", " ") in b
            stayed += f"{before} {word} {after}" in b
    return changed, stayed


@pytest.mark.slow
def test_planted_rates_are_recovered_and_drawn(model, key):
    fresh = sentences(3000, 2)
    noisy = drawn(fresh, key, model)
    for word, (becomes, rate) in PLANTED.items():
        found = {(edit.clean, edit.noisy): edit for edit in model.rates()}
        if becomes != "the yellow":  # part of longer segments where its neighbour is hit as well
            edit = found[word, becomes]
            share = edit.hits / edit.count
            assert share <= rate + 3 * np.sqrt(rate * (1 - rate) / edit.count)
        for source in (NOISY, noisy):
            changed, stayed = alone(CLEAN if source is NOISY else fresh, source, word, becomes)
            n = changed + stayed
            assert n > 100
            assert abs(changed / n - rate) < 3 * np.sqrt(rate * (1 - rate) / n), (word, changed / n)


@pytest.mark.slow
def test_the_word_error_rate_is_the_observed_one(model, key):
    expected = float(model.observed[0])
    assert abs(expected - word_error_rate(CLEAN, NOISY)) < 1e-6
    for strength in (0.5, 1.0):
        noisy = drawn(CLEAN, key, model, strength)
        # Segments are hit with 1 - exp(-strength * rate), which bends a little at half strength.
        assert abs(word_error_rate(CLEAN, noisy) / (strength * expected) - 1) < (0.05 if strength == 1 else 0.12)


@pytest.mark.slow
def test_errors_bunch_as_in_the_pairs(key):
    clean = sentences(2000, 5)
    noisy = [b if n % 2 else a for n, (a, b) in enumerate(zip(clean, planted(clean, 6), strict=True))]
    model = nj.text.fit_edits(clean, noisy)
    fresh = sentences(2000, 7)
    same = np.mean([a == b for a, b in zip(fresh, drawn(fresh, key, model), strict=True)])
    expected = np.mean([a == b for a, b in zip(clean, noisy, strict=True)])
    assert abs(same - expected) < 4 * np.sqrt(expected * (1 - expected) / 1000)


@pytest.mark.slow
def test_unseen_words_become_what_sounds_alike_or_are_mistyped(key):
    random = np.random.default_rng(0)
    syllables = ["ba", "ko", "ri", "tu", "me", "la", "so", "ne", "di", "fu"]
    words = ["".join(random.choice(syllables, 3)) for _ in range(400)]
    clean = [" ".join(words[n] for n in random.integers(0, 400, 5)) for _ in range(600)]

    def typed(string):
        return "".join("e" if c == "a" and random.random() < 0.2 else c for c in string)

    model = nj.text.fit_edits(clean, list(map(typed, clean)))
    fresh = ["kakala rarabu tatame sasado"] * 800
    noisy = drawn(fresh, key, model)
    letters = sum(b.count("e") - 1 for b in noisy) / (800 * 10)
    assert {c for b in noisy for c in b} <= set("kalrbutmesdo ")
    assert 0.1 < letters < 0.3
    assert all(len(b) == len(fresh[0]) for b in noisy)


@pytest.mark.slow
def test_a_word_lies_between_two_segments_that_are_hit(key):
    calm = ["river", "garden", "summer"]
    clean = [f"{a} {word} {b}" for a in calm for b in calm for word in ("red", "blue")] * 10
    changed = [string.replace("red", "green apple").replace("blue", "sky") for string in clean]
    noisy = [b if n // 18 % 2 else a for n, (a, b) in enumerate(zip(clean, changed, strict=True))]
    model = nj.text.fit_edits(clean, noisy)
    # At a strength of 50 every word of them is hit that may be.
    assert set(drawn(["red blue red blue red"] * 50, key, model, 50.0)) == {"green apple blue " * 2 + "green apple"}
    model = nj.text.fit_edits(clean, changed)  # what always happens also happens to neighbours
    assert drawn(["red blue red"], key, model) == ["green apple sky green apple"]


@pytest.mark.slow
def test_strength_0_is_the_identity_and_strengths_differ_from_text_to_text(model, key):
    strings = ["", " ", "stone", "  stone \n window\xa0", "stone " * 30, "Stone, paper! 日本 😀"]
    assert drawn(strings, key, model, 0.0) == strings
    strengths = np.r_[[0.0] * 20, [50.0] * 980][:, None]
    noisy = drawn(["stone paper"] * 40, key, model, strengths)
    assert set(noisy[:20]) == {"stone paper"}
    assert all("stones" in string or "pay per" in string for string in noisy[20:])


@pytest.mark.slow
def test_alignment_names_the_source_of_every_character(model, key):
    text = nj.text.encode(sentences(1000, 8), length=192)
    noise = nj.bind(nj.text.edits, model=model, strength=3.0)
    noisy, (source, deleted) = noise(key, text), nj.text.alignment(noise)(key, text)
    source, deleted = np.asarray(source), np.asarray(deleted)
    for row, (n, m) in enumerate(zip(text.lengths, np.asarray(noisy.lengths), strict=True)):
        kept = source[row][source[row] >= 0]
        assert sorted([*kept, *np.flatnonzero(deleted[row])]) == list(range(n))
        assert (np.diff(kept) > 0).all()
        assert (source[row, m:] == -1).all()
    assert (np.asarray(noisy.lengths) != text.lengths).mean() > 0.5


@pytest.mark.slow
def test_what_does_not_fit_is_counted(model, key):
    strings, noise = [" ".join(WORDS)] * 50, nj.per_example(nj.bind(nj.text.edits, model=model, strength=3.0))
    noisy, whole = (noise(key, nj.text.encode(strings, length=n)) for n in (len(strings[0]), 192))
    np.testing.assert_array_equal(noisy.lengths, np.minimum(whole.lengths, len(strings[0])))
    np.testing.assert_array_equal(noisy.lost, whole.lengths - noisy.lengths)
    assert (np.asarray(noisy.lost) > 0).mean() > 0.2


@pytest.mark.slow
def test_a_model_goes_through_json(model, key):
    noise = nj.bind(nj.text.edits, model=model)
    again = nj.from_dict(json.loads(json.dumps(noise.to_dict())))
    text = nj.text.encode(CLEAN[:1000], length=192)
    jax.tree.map(np.testing.assert_array_equal, noise(key, text), again(key, text))
    assert str(model).startswith("word error rate")


@pytest.mark.slow
def test_wrong_pairs_and_models_are_refused(model, key):
    wrong: Any = np.ones(3)
    pairs: Any
    for pairs, error in (
        (("a", ["a"]), "clean must be a sequence of strings"),
        ((["a"], ["a", "b"]), "must be pairs"),
        (([], []), "at least one string"),
        ((["  "], ["a"]), "at least one string with a word"),
        ((["a"], [None]), "noisy must hold strings"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"fit_edits: .*{error}"):
            nj.text.fit_edits(*pairs)
    text = nj.text.encode(["a"])
    with pytest.raises(TypeError, match=r"edits: model must be fitted, nj\.text\.fit_edits"):
        nj.text.edits(key, text, wrong)
    with pytest.raises(ValueError, match="strength is that of texts"):
        nj.text.edits(key, text, model, np.ones(9))
    with pytest.raises(ValueError, match=r"edits: x of uint8.*dtype=np\.uint32"):
        nj.text.edits(key, nj.text.encode(["a"], dtype=np.uint8), learnt())
