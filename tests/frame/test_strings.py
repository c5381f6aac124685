"""Faults of strings: one edit each, at the asked rate, drawn by the row, on whatever characters there are."""

import jax
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
import twin
from noisejax import frame
from noisejax.frame._strings import COUNT, NEIGHBOURS

rapidfuzz = pytest.importorskip("rapidfuzz", reason="rapidfuzz is not installed")
from rapidfuzz.distance import OSA  # noqa: E402

KEY = jax.random.key(5)
WORDS = [
    "nurse",
    "Zoë",
    "a",
    "",
    "aa",
    "日本語",
    "naïve café",
    "👍🏽 ok",
    "tab\tand\nline",
    "x" * 300,
    "end\0",
    None,
] * 40
OPERATIONS = ("insert", "delete", "substitute", "transpose")


@pytest.mark.parametrize("operations", [OPERATIONS, *((one,) for one in OPERATIONS)], ids=str)
def test_a_typing_error_is_one_edit(operations):
    dirty = frame.mistyped(KEY, WORDS, 1.0, operations=operations)
    for clean, typed in zip(WORDS, dirty, strict=True):
        if clean is None:
            assert typed is None
        elif typed == clean:  # it cannot change
            assert "insert" not in operations
            assert "substitute" not in operations or not clean
            assert "delete" not in operations or len(clean) < 2
            assert "transpose" not in operations or len(set(clean)) < 2
        else:
            assert OSA.distance(clean, typed) == 1, (clean, typed)
            longer = len(typed) - len(clean)
            assert longer == {"insert": 1, "delete": -1}.get(operations[0], 0) or len(operations) > 1
            if operations == ("transpose",):
                assert sorted(clean) == sorted(typed)


def test_operations_and_places_are_uniform():
    """Of a string with four different letters every operation and every place is equally likely."""
    n = 20_000
    typed = frame.mistyped(KEY, ["abcd"] * n, 1.0)
    longer = np.array([len(t) for t in typed]) - 4
    swaps = {"bacd", "acbd", "abdc"}
    counts = [(longer == 1).sum(), (longer == -1).sum(), sum(t in swaps for t in typed)]
    assert stats.chisquare([*counts, n - sum(counts)]).pvalue > 1e-4
    found = [sum(t == word for t in typed) for word in sorted(swaps)]
    assert stats.chisquare(found).pvalue > 1e-4
    gone = [sum(t == word for t in typed) for word in ("bcd", "acd", "abd", "abc")]
    assert stats.chisquare(gone).pvalue > 1e-4
    letters = frame.mistyped(KEY, ["g"] * n, 1.0, operations=("substitute",))
    assert set(letters) == set("fhtyvb")  # the six keys that touch it
    assert stats.chisquare([letters.count(letter) for letter in "fhtyvb"]).pvalue > 1e-4


def test_every_character_of_ascii_has_other_keys():
    for code in range(128):
        near = NEIGHBOURS[code, : COUNT[code]]
        assert (len(near) >= 1 and code not in near) or code < 32


def test_the_hits_are_the_words_of_an_independent_twin():
    """Bit for bit: the row's word below the rate, for a key of known words."""
    n, rate = 5000, 0.13
    typed = frame.mistyped(KEY, ["word"] * n, rate)
    k0, k1 = (int(w) for w in jax.random.key_data(KEY))
    w = twin.words("mix", np.arange(n), k0, k1, (), "frame.mistyped")
    assert [t != "word" for t in typed] == (w < np.uint32(np.float32(rate) * np.float32(2**32))).tolist()
    assert frame.mistyped(nj.key(3, generator="threefry2x32"), ["word"] * 5, 1.0) != ["word"] * 5


def test_rows_draw_alone():
    """A string's fault does not depend on the others, nor on how long they are."""
    whole = frame.mistyped(KEY, ["nurse"] * 100, 0.5)
    mixed = frame.mistyped(KEY, ["nurse" if n % 2 else "y" * n for n in range(100)], 0.5)
    assert mixed[1::2] == whole[1::2]
    assert frame.mistyped(KEY, "nurse", 1.0) == frame.mistyped(KEY, ["nurse", "cook"], 1.0)[0]


def test_mojibake_is_what_a_wrong_decoder_shows():
    clean = ["Zoë", "naïve café", "plain", None, "日本語", "€5", "Ý"]
    latin = frame.mojibake(KEY, clean, 1.0, codec="latin-1")
    assert latin == [s and s.encode().decode("latin-1") for s in clean]
    windows = frame.mojibake(KEY, clean, 1.0)
    assert windows[0] == "ZoÃ«" and windows[5] == "€5".encode().decode("cp1252")
    assert windows[6] == "Ã\x9d"  # one of the five bytes that Windows-1252 leaves undefined
    assert windows[4].encode("latin-1", "ignore") is not None and windows[2] == "plain" and windows[3] is None


def test_misspelt_uses_the_table():
    table = {"colour": ("color", "coulour"), "same": ("same",)}
    pairs = tuple((value, ways) for value, ways in table.items())
    n = 4000
    dirty = frame.misspelt(KEY, ["colour", "grey", "same", None] * n, 0.5, table=pairs)
    assert set(dirty[1::4]) == {"grey"} and set(dirty[2::4]) == {"same"} and set(dirty[3::4]) == {None}
    counts = [dirty[0::4].count(word) for word in ("colour", "color", "coulour")]
    assert stats.chisquare(counts, np.array([0.5, 0.25, 0.25]) * n).pvalue > 1e-4
    noise = nj.bind(frame.misspelt, rate=1.0, table=pairs)
    assert noise(KEY, ["colour"])[0] in table["colour"]


def test_similar_values():
    assert frame.similar(["Bonn", "Born", "Bron", "Köln"], most=1) == (
        ("Bonn", ("Born",)), ("Born", ("Bonn", "Bron")), ("Bron", ("Born",))
    )  # fmt: skip
    assert frame.similar(["aa", "ab", "ac", "ad"], 2)[0] == ("aa", ("ab", "ac"))


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"an operation must be one of 'insert', .* got 'twist'"):
        frame.mistyped(KEY, ["a"], 0.5, operations=("twist",))
    with pytest.raises(TypeError, match="operations must be a tuple of names, got 'insert'"):
        frame.mistyped(KEY, ["a"], 0.5, operations="insert")
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\], got 2.0"):
        frame.mistyped(KEY, ["a"], 2.0)
    with pytest.raises(TypeError, match="x must hold strings, got 3 in row 1"):
        frame.mistyped(KEY, ["a", 3], 0.5)
    own = nj.tabular.not_at_random(nj.tabular.fit(np.ones((3, 1))))
    with pytest.raises(TypeError, match="a mechanism needs the other columns of a table"):
        frame.mistyped(KEY, ["a"], 0.5, mechanism=own)
    with pytest.raises(ValueError, match="codec must be one of 'cp1252', 'latin-1', got 'utf-16'"):
        frame.mojibake(KEY, ["é"], 0.5, codec="utf-16")
    tables = (3, (("a", "b"),), {"a": 3}, (("a", ("b",), "c"),))
    for table in tables:
        with pytest.raises(TypeError, match="table must be pairs of a string and its alternatives"):
            frame.misspelt(KEY, ["a"], 0.5, table=table)
    with pytest.raises(ValueError, match="limit must be an integer, at least 1, got 0"):
        frame.similar(["a", "b"], 0)


@pytest.mark.parametrize("function", [frame.mistyped, frame.mojibake])
def test_a_traced_rate_cannot_be_read(function):
    with pytest.raises(TypeError, match=f"{function.__name__}: rate must be known, since this runs on the host"):
        jax.jit(lambda rate: function(KEY, ["abc"], rate))(0.5)
