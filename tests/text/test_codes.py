"""Strings to codes and back: nothing is lost, nothing else changes, and wrong input is refused."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import noisejax as nj

SPECIAL = ["\xa0", "\n", "\r\n", "\t", "👩\u200d🚀", "🇩🇪", "e\u0301", "…", "\x00", "“", " ", "  "]
strings = st.lists(
    st.lists(st.one_of(st.text(max_size=6), st.sampled_from(SPECIAL)), max_size=6).map("".join), min_size=1, max_size=4
)


def round_trip(strings):
    assert nj.text.decode(nj.text.encode(strings)) == strings
    alphabet = nj.text.graphemes(strings)
    text = nj.text.encode(strings, alphabet=alphabet)
    assert nj.text.decode(text, alphabet=alphabet) == strings
    assert (text.lengths <= np.array(list(map(len, strings)))).all()


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(strings)
def test_every_string_comes_back(strings):
    round_trip(strings)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, derandomize=True)
@given(strings)
def test_ten_thousand_strings_come_back(strings):
    round_trip(strings)


@pytest.mark.parametrize(
    ("string", "clusters"),
    [
        ("e\u0301a", 2),
        ("👩\u200d🚀!", 2),
        ("👍🏽👍", 2),
        ("🇩🇪🇫🇷", 2),
        ("🇩🇪🇫", 2),
        ("\r\n\n", 2),
        ("각\u11a8가", 2),
        ("\u1100\u1161\u11a8x", 2),
        ("\n\u0301", 2),
        ("1\ufe0f\u20e3", 1),
        ("नि", 1),
        ("", 0),
    ],
)
def test_clusters_are_those_of_unicode(string, clusters):
    alphabet = nj.text.graphemes([string])
    assert nj.text.encode([string], alphabet=alphabet).lengths.tolist() == [clusters]


def test_clusters_stay_whole_under_noise(key):
    strings = ["e\u0301🇩🇪👩\u200d🚀" * 5]
    alphabet = nj.text.graphemes(strings)
    noisy = nj.text.transpose(key, nj.text.encode(strings, alphabet=alphabet), 0.5)
    (result,) = nj.text.decode(noisy, alphabet=alphabet)
    assert result != strings[0]
    assert sorted(nj.text.graphemes([result]).clusters) == sorted(alphabet.clusters)
    assert sorted(result) == sorted(strings[0])


def test_the_capacity_leaves_room_and_bytes_hold_latin_text():
    text = nj.text.encode(["naïve" * 20, ""], dtype=np.uint8)
    assert text.values.shape == (2, 133)
    assert text.values.dtype == np.uint8
    assert nj.text.decode(jax.device_put(text)) == ["naïve" * 20, ""]


def test_wrong_input_is_refused():
    encode, decode = nj.text.encode, nj.text.decode
    with pytest.raises(ValueError, match=r"lone surrogates.*U\+D800 in string 1"):
        encode(["ab", "c\ud800"])
    with pytest.raises(ValueError, match="length must be at least that of the longest string, 5, got 3"):
        encode(["ab", "abcde"], length=3)
    with pytest.raises(ValueError, match="at least one string"):
        encode([])
    with pytest.raises(TypeError, match="sequence of strings, got a single one"):
        encode("abc")
    with pytest.raises(TypeError, match="got a NoneType at position 1"):
        encode(["a", None])
    with pytest.raises(ValueError, match="dtype uint8 holds code points up to 255, got 8230 in string 1"):
        encode(["a", "b…"], dtype=np.uint8)
    with pytest.raises(ValueError, match="dtype must be uint8 or uint32"):
        encode(["a"], dtype=np.int32)
    with pytest.raises(ValueError, match="alphabet has no code"):
        encode(["e\u0301"], alphabet=nj.text.graphemes(["a"]))
    alphabet = nj.text.graphemes(["e\u0301"])
    with pytest.raises(ValueError, match="pass it: decode"):
        decode(encode(["e\u0301"], alphabet=alphabet))
    with pytest.raises(TypeError, match="text must be a Padded of integers"):
        decode(np.zeros((1, 3), np.int32))
    with pytest.raises(TypeError, match=r"must hold integers.*nj\.text\.encode"):
        nj.text.delete(jax.random.key(0), nj.Padded(jnp.zeros((1, 3)), [2]), 0.1)
    with pytest.raises(ValueError, match=r"values of shape \(\*batch, L\)"):
        nj.text.delete(jax.random.key(0), nj.Padded(jnp.zeros((1, 3, 2), jnp.int32), [2]), 0.1)


@pytest.mark.parametrize("wrong", [None, 3, 0.5, {"a": 1}, {"a", "b"}, list, jax.random.key(0), lambda: None])
def test_strings_are_a_sequence(wrong):
    for function in (nj.text.encode, nj.text.graphemes):
        with pytest.raises(TypeError, match=f"{function.__name__}: strings must be a sequence of strings"):
            function(wrong)


def test_wrong_options_are_named():
    for length in ("30", 30.0, 2**70, np.ones((2, 2)), [30], jnp.int32(30)):
        with pytest.raises(ValueError, match="encode: length must be an integer"):
            nj.text.encode(["a"], length=length)
    for dtype in (3, "relu", {"a": 1}, np.ones(2, np.uint32), object(), np.int32):
        with pytest.raises(ValueError, match="encode: dtype must be uint8 or uint32"):
            nj.text.encode(["a"], dtype=dtype)
    text = nj.text.encode(["a"])
    for alphabet in ("a", object(), 3, {"a": 1}):
        with pytest.raises(TypeError, match=r"encode: alphabet must be made by nj.text.graphemes"):
            nj.text.encode(["a"], alphabet=alphabet)
        with pytest.raises(TypeError, match=r"decode: alphabet must be made by nj.text.graphemes"):
            nj.text.decode(text, alphabet=alphabet)
    assert nj.text.encode(["a"], length=np.int64(3)).values.shape == (1, 3)


def test_texts_of_no_strings_and_traced_texts():
    text = nj.text.encode(["a", "b"])
    assert nj.text.decode(nj.Padded(text.values[:0], text.lengths[:0])) == []
    with pytest.raises(TypeError, match="decode: text must be known"):
        jax.jit(lambda text: nj.text.decode(text) and 0)(text)
