"""Noises of texts on strings and in data frames: the bits of the device, whatever the batches and the room."""

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from texts import prose

import noisejax as nj
from cases.text import learnt
from noisejax import frame

STRINGS = [*prose(60, 70), "日本語 é\u0301 😀\n\t\xa0", "x" * 300]
NOISES = {
    "typos": nj.bind(nj.text.typos, rate=0.2),
    "chain": nj.chain(nj.bind(nj.text.misspell, rate=0.5), nj.sometimes(nj.bind(nj.text.keyboard, rate=0.1), 0.5)),
    "edits": nj.bind(nj.text.edits, model=learnt()),
}


@pytest.mark.parametrize(
    "noise", [pytest.param(n, id=i, marks=[pytest.mark.slow] * (i != "typos")) for i, n in NOISES.items()]
)
def test_strings_have_the_bits_of_the_device(noise, key):
    ids = np.arange(len(STRINGS)) * 7 + 3
    text = jax.tree.map(jnp.asarray, nj.text.encode(STRINGS, length=1024))
    expected = nj.text.decode(nj.per_example(noise, ids)(key, text))
    noisy = nj.text.on_strings(noise)
    assert noisy(key, STRINGS, ids=ids) == expected
    assert [noisy(key, STRINGS[n], ids=ids[n]) for n in (0, 5, 61)] == [expected[n] for n in (0, 5, 61)]
    assert noisy(key, STRINGS[10:20], ids=ids[10:20]) == expected[10:20]
    assert noisy(key, STRINGS) != expected


@pytest.mark.slow
def test_nothing_is_cut_and_amounts_may_differ(key):
    rates = np.array([[0.0], [1.0], [1.0]])
    noise = nj.chain(*[nj.bind(nj.text.repeat, rate=rates)] * 4)
    assert nj.text.on_strings(noise)(key, ["abc", "de", "f" * 90]) == ["abc", "d" * 16 + "e" * 16, "f" * 1440]


def test_it_can_be_pickled_and_empty_batches_stay_empty(key):
    noisy = nj.text.on_strings(nj.bind(nj.text.delete, rate=1.0))
    assert pickle.loads(pickle.dumps(noisy))(key, ["a", ""]) == ["", ""]
    assert noisy(key, []) == []


def test_graphemes_stay_whole(key):
    strings = ["e\u0301🇩🇪👩\u200d🚀" * 5]
    noisy = nj.text.on_strings(nj.bind(nj.text.transpose, rate=0.5), alphabet=nj.text.graphemes(strings))
    (result,) = noisy(key, strings)
    assert result != strings[0] and sorted(nj.text.graphemes([result]).clusters) == sorted(
        nj.text.graphemes(strings).clusters
    )


def test_ids_may_have_64_bits(key):
    noisy = nj.text.on_strings(nj.bind(nj.text.substitute, rate=1.0))
    strings = ["abcdefgh"] * 4
    many = noisy(key, strings, ids=[0, 2**32, 2**40, -1])
    assert len(set(many)) == 4
    assert many[0] == noisy(key, strings[0])


@pytest.mark.slow
def test_columns_of_strings_take_noises_of_texts(key):
    df = pd.DataFrame({"city": ["Bonn", None, "Köln", "München"] * 30, "size": pd.Categorical(["big", "small"] * 60)})
    faults = [
        ("city", nj.bind(nj.text.typos, rate=0.3)),
        ("size", nj.sometimes(nj.bind(nj.text.case, rate=1.0, kind="upper"), 0.3)),
    ]
    dirty, mask = frame.corrupt(key, df, faults, extend=True)
    assert (mask["city"] == (dirty["city"].fillna("") != df["city"].fillna(""))).all()
    assert mask["city"].mean() > 0.3 and not mask["city"][1::4].any()
    assert set(dirty["size"]) == {"big", "small", "BIG", "SMALL"}
    assert 0.1 < mask["size"].mean() < 0.5
    part = frame.corrupt(key, df[40:].reset_index(drop=True), faults, ids=np.arange(40, 120), extend=True)[0]
    pd.testing.assert_series_equal(part["city"], dirty["city"][40:].reset_index(drop=True))
    with pytest.raises(TypeError, match="typos is for strings, and the column 'n' has the dtype Int64"):
        frame.corrupt(key, pd.DataFrame({"n": [1, 2]}), [("n", nj.bind(nj.text.typos, rate=0.3))])


def test_wrong_strings_and_noises_are_refused(key):
    noisy = nj.text.on_strings(nj.bind(nj.text.typos, rate=0.2))
    strings: Any
    for strings, error in (
        (["a", None], "strings must hold strings, got a NoneType at position 1"),
        (["\ud800"], "strings must not contain lone surrogates"),
        (["a"] * 2, "ids must be 2 integers"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"(on_strings|encode): {error}"):
            noisy(key, strings, ids=[1.0] if strings[-1] == "a" else None)
    with pytest.raises(TypeError, match=r"on_strings: nj\.mixup reads the other examples"):
        nj.text.on_strings(nj.bind(nj.mixup, alpha=1.0))
    with pytest.raises(TypeError, match="on_strings: key must be known"):
        jax.jit(lambda key: noisy(key, ["a"]))(key)
    with pytest.raises(TypeError, match=r"alphabet must be made by nj\.text\.graphemes"):
        nj.text.on_strings(nj.bind(nj.text.typos, rate=0.2), alphabet="abc")  # pyright: ignore[reportArgumentType]
