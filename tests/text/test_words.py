"""Misspellings from a table, and dropped words."""

import re

import jax
import numpy as np
import pytest
from texts import prose

import noisejax as nj

PAIRS = {
    "receive": ["recieve", "receve", "receiive"],
    "the": ["teh", "hte", "tthe"],
    "a": ["ab", "xa", "an"],
    "weird": ["wierd", "werid", "w", "weeeird"],
    "straße": ["strasse"],
    "который": ["каторый"],
}
TABLE = nj.text.misspellings(PAIRS)


def words(string: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", string)


@pytest.mark.slow
def test_every_misspelling_is_drawn_equally_often_and_nothing_else(key):
    for word, others in PAIRS.items():
        noisy = nj.text.decode(nj.text.misspell(key, nj.text.encode([word] * 600), 1.0, TABLE))
        counts = np.array([noisy.count(other) for other in others])
        assert counts.sum() == 600
        expected = 600 / len(others)
        assert ((counts - expected) ** 2 / expected).sum() < 21  # chi-square of 3 degrees of freedom, 1e-4


def test_words_are_found_in_any_case_and_between_any_marks(key):
    text = nj.text.encode(["(Receive)the“WEIRD”a1 Который,STRASSE straße received other\nthe"])
    (noisy,) = nj.text.decode(nj.text.misspell(key, text, 1.0, TABLE))
    found = words(noisy)
    assert re.sub(r"[^\W\d_]+", "w", noisy) == "(w)w“w”w1 w,w w w w\nw"
    assert found[0].lower() in PAIRS["receive"] and found[0][0] == "R"
    assert found[2].lower() in PAIRS["weird"] and found[2].isupper()
    assert found[4] == "Каторый"
    assert found[5:9] == ["STRASSE", "strasse", "received", "other"]


@pytest.mark.parametrize("of", ["eligible", "all"])
def test_the_rate_is_that_of_words(of, key):
    strings = ["the weird other words are here and they receive more"] * 500  # 3 of 10 words are known
    noisy = nj.text.decode(nj.text.misspell(key, nj.text.encode(strings), 0.2, TABLE, of=of))
    changed = [
        a != b for clean, got in zip(strings, noisy, strict=True) for a, b in zip(words(clean), words(got), strict=True)
    ]
    n = 500 * (3 if of == "eligible" else 10)
    assert abs(sum(changed) / n - 0.2) < 4 * np.sqrt(0.16 / n)


@pytest.mark.slow
def test_the_shipped_table_misspells_english_and_its_words_are_all_found(key):
    table = nj.text.misspellings()
    strings = prose(500, 200)
    text = nj.text.encode(strings)
    noisy = nj.text.decode(nj.text.misspell(key, text, 1.0))
    assert nj.text.decode(nj.text.misspell(key, text, 1.0, table)) == noisy
    pairs = [pair for a, b in zip(strings, noisy, strict=True) for pair in zip(words(a), words(b), strict=True)]
    changed = [(a.lower(), b.lower()) for a, b in pairs if a != b]
    assert len(changed) > 0.3 * len(pairs)
    from noisejax.text._words import table as module

    assert all(0 < abs(len(a) - len(b)) + (a != b) <= 3 for a, b in changed)
    assert int((np.asarray(table.count) > 0).sum()) > 18_000
    assert module.shipped() is module.shipped()


@pytest.mark.slow
def test_alignment_keeps_words_apart(key):
    text = nj.text.encode(["a weird thing to receive"] * 50)
    noise = nj.bind(nj.text.misspell, rate=0.7, table=TABLE)
    noisy, alignment = noise(key, text), nj.text.alignment(noise)(key, text)
    first, last = map(np.asarray, alignment.spans(np.full((50, 1), 2), np.full((50, 1), 7)))
    for string, f, e in zip(nj.text.decode(noisy), first[:, 0], last[:, 0], strict=True):
        assert string[f : max(e, f + 1)] in string.split()[1] or string.split()[1].startswith(string[f:e])


def test_dropped_words_leave_the_others_as_they_are(key):
    strings = ["  one two\tthree\n four\xa0five  "] * 400
    noisy = nj.text.decode(nj.text.drop_words(key, nj.text.encode(strings), 0.3))
    kept = [set(words(string)) for string in noisy]
    assert all(re.fullmatch(r"  (one )?(two\t)?(three\n )?(four\xa0)?(five  )?", string) for string in noisy)
    assert abs(np.mean(list(map(len, kept))) / 5 - 0.7) < 4 * np.sqrt(0.21 / 2000)


def test_tokens_of_a_word_are_dropped_together(key):
    ids = nj.Padded(np.tile(np.arange(1, 7, dtype=np.int32), (200, 1)), np.full(200, 6))
    numbers = np.tile([0, 0, 1, 2, 2, 2], (200, 1))
    noisy = nj.text.drop_words(key, ids, 0.5, numbers)
    rows = {tuple(row[:n]) for row, n in zip(np.asarray(noisy.values).tolist(), noisy.lengths.tolist(), strict=True)}
    assert rows == {(*a, *b, *c) for a in ((), (1, 2)) for b in ((), (3,)) for c in ((), (4, 5, 6))}


def test_a_table_is_an_amount_that_can_be_swapped_without_a_new_trace(key):
    text, traces = nj.text.encode(["the weird"] * 4), []

    @jax.jit
    def run(noise):
        traces.append(1)
        return noise(key, text)

    for rate in (0.5, 1.0):
        run(nj.bind(nj.text.misspell, rate=rate, table=TABLE))
    assert len(traces) == 1


def test_wrong_tables_are_refused(key):
    with pytest.raises(TypeError, match=r"misspell: table must be made by nj\.text\.misspellings"):
        nj.text.misspell(key, nj.text.encode(["a"]), 0.1, np.ones(3))
    for pairs, error in (
        ("the", "must be pairs"),
        ({"the": "teh"}, "pairs must hold a list of misspellings"),
        ({"the": None}, "pairs must hold a list of misspellings"),
        ({"the": jax.random.key(0)}, "pairs must hold a list of misspellings"),
        (jax.random.key(0), "pairs must be pairs"),
        (np.ones((2, 2)), "pairs must hold strings"),
        ([("the",)], "must be pairs"),
        ([("the", 3)], "pairs must hold strings"),
        ([("in fact", "infact")], "must consist of letters"),
        ([("a", "abcdefghijkl")], "at most 8 letters longer"),
        ([], "at least one word"),
        ([("the", "The")], "at least one word"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"misspellings: .*{error}"):
            nj.text.misspellings(pairs)
    with pytest.raises(ValueError, match=r"misspell: x of uint8.*dtype=np\.uint32"):
        nj.text.misspell(key, nj.text.encode(["a"], dtype=np.uint8), 0.1, TABLE)
