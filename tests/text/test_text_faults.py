"""Scanners, look-alikes, case, whitespace and encodings, against their definitions."""

import unicodedata

import jax
import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from texts import in_cyrillic, prose

import noisejax as nj
from noisejax.text._data.glyphs import JOINED, groups, lookalikes

ELIGIBLE = [nj.text.ocr, nj.text.homoglyph, nj.text.case, nj.text.whitespace, nj.text.mojibake]
FOREIGN = [text + " — naïve “café”, 日本 😀" for text in prose(300, 100)[3:]]


def rate_of(function, strings, rate, key, **options):
    """The error rate of all strings together, and its standard error over strings."""
    text = nj.text.encode(strings, length=4 * max(map(len, strings)))
    noisy = nj.text.decode(function(key, text, rate, **options))
    found = np.array([Levenshtein.distance(a, b) for a, b in zip(strings, noisy, strict=True)], float)
    sizes = np.array(list(map(len, strings)), float)
    mean = found.sum() / sizes.sum()
    return mean, np.sqrt(((found - mean * sizes) ** 2).sum()) / sizes.sum()


@pytest.mark.parametrize("function", ELIGIBLE)
def test_a_rate_of_all_characters_is_the_error_rate(function, key):
    mean, error = rate_of(function, FOREIGN, 0.05, key, of="all")  # missed by chance once in 400
    assert abs(mean - 0.05) < max(0.005, 3 * error)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["latin", "cyrillic"])
@pytest.mark.parametrize("function", ELIGIBLE)
def test_rates_in_two_scripts(function, script, key):
    # The end has spaces and letters beyond ASCII, so that every text has enough of both for the largest rate.
    strings = [f"{text} — “naïve” é à ü ö ñ ç ß å ø œ" for text in prose(2000, 150)[3:]]
    strings = in_cyrillic(strings) if script == "cyrillic" else strings
    for rate in (0.0, 0.01, 0.05, 0.1):
        mean, error = rate_of(function, strings, rate, key, of="all")
        assert abs(mean - rate) <= max(0.005, 3 * error), (rate, mean)


def test_a_rate_of_eligible_characters_hits_that_share_of_them(key):
    text = nj.text.encode(FOREIGN)
    for function, able in (
        (nj.text.homoglyph, lambda c: c in lookalikes()),
        (nj.text.case, lambda c: c != c.swapcase() and len(c.swapcase()) == 1 and c.swapcase().swapcase() == c),
    ):
        hits = np.asarray(nj.hits(nj.bind(function, rate=0.2))(key, text))
        eligible = np.array([[able(c) for c in s] + [False] * (text.values.shape[1] - len(s)) for s in FOREIGN])
        n = eligible.sum()
        assert not hits[~eligible].any()
        assert abs(hits.sum() / n - 0.2) < 4 * np.sqrt(0.16 / n)


def test_case_is_that_of_python(key):
    strings = [*FOREIGN, "ΣΊΣΥΦΟΣ straße İı ǅ Ծխ ÿ µ ŉ"]
    text = nj.text.encode(strings)
    for kind, python in (("upper", str.upper), ("lower", str.lower)):
        noisy = nj.text.decode(nj.text.case(key, text, 1.0, kind=kind))
        for clean, string in zip(strings, noisy, strict=True):
            for a, b in zip(clean, string, strict=True):
                assert b in (a, python(a))
                if a.isascii():
                    assert b == python(a)
    swapped = nj.text.case(key, text, 1.0)
    assert nj.text.decode(nj.text.case(key, swapped, 1.0)) == strings
    assert nj.text.decode(nj.text.case(key, nj.text.encode(["ÿ a"], dtype=np.uint8), 1.0)) == ["ÿ A"]


@pytest.mark.slow
def test_mojibake_is_that_of_the_codecs(key):
    text = nj.text.encode(FOREIGN, length=300)
    latin = nj.text.decode(nj.text.mojibake(key, text, 1.0, codec="latin-1"))
    assert [s.encode("latin-1").decode() for s in latin] == FOREIGN
    for mode in ("example", "element"):
        assert nj.text.decode(nj.text.mojibake(key, text, 1.0, codec="latin-1", mode=mode)) == latin
    windows = nj.text.decode(nj.text.mojibake(key, nj.text.encode(["naïve café “€”"], length=40), 1.0))
    assert windows == ["naïve café “€”".encode().decode("cp1252", "surrogateescape").replace("\udc9d", "\x9d")]
    alphabet = nj.text.graphemes(["e\u0301"])
    noisy = nj.text.mojibake(key, nj.text.encode(["e\u0301"], alphabet=alphabet), 1.0)
    assert nj.text.decode(noisy, alphabet=alphabet) == ["e\u0301"]


def test_whole_texts_are_misread_at_the_rate(key):
    text = nj.text.encode(["é"] * 4000)
    assert abs(float((nj.text.mojibake(key, text, 0.3).lengths == 2).mean()) - 0.3) < 4 * np.sqrt(0.21 / 4000)


def test_whitespace_changes_spaces_alone(key):
    text = nj.text.encode(["a b\tc\nd e\xa0f  g"] * 200)
    for kind, space in (("double", "  "), ("drop", ""), ("tab", "\t"), ("nbsp", "\xa0")):
        (noisy,) = set(nj.text.decode(nj.text.whitespace(key, text, 1.0, kinds=(kind,))))
        assert noisy == "a b\tc\nd e\xa0f  g".replace(" ", space)


@pytest.mark.slow
def test_scanners_read_what_the_table_says(key):
    alone = {c: set(others) for c, others in groups().items()}
    for character, others in alone.items():
        text = nj.text.encode([character] * 300)
        assert set(nj.text.decode(nj.text.ocr(key, text, 1.0))) == others
    for one, two in JOINED.items():
        read = set(nj.text.decode(nj.text.ocr(key, nj.text.encode([two] * 500), 1.0)))
        assert one in read
        assert read <= {one} | {a + b for a in alone.get(two[0], {two[0]}) for b in alone.get(two[1], {two[1]})}
    joined = nj.text.decode(nj.text.ocr(key, nj.text.encode(["clili"] * 200), 1.0))
    assert all(joined)  # pairs that overlap never take a character twice


def test_lookalikes_are_symmetric_and_never_the_character_itself():
    table = lookalikes()
    assert all(c not in others for c, others in table.items())
    assert all(c in table[other] for c, others in table.items() for other in others)
    assert "а" in table["a"] and "CYRILLIC" in unicodedata.name("а")


@pytest.mark.slow
@pytest.mark.parametrize("function", [nj.text.ocr, nj.text.whitespace, nj.text.mojibake])
def test_alignment_names_the_source_of_every_character(function, key):
    text = nj.text.encode(FOREIGN, length=300)
    noise = nj.bind(function, rate=0.5)
    noisy, (source, deleted) = noise(key, text), nj.text.alignment(noise)(key, text)
    source, deleted = np.asarray(source), np.asarray(deleted)
    for row, (n, m) in enumerate(zip(text.lengths, np.asarray(noisy.lengths), strict=True)):
        kept = source[row][source[row] >= 0]
        assert sorted([*kept, *np.flatnonzero(deleted[row])]) == list(range(n))
        assert (np.diff(kept) > 0).all()
        assert (source[row, m:] == -1).all()


def test_wrong_amounts_and_options_are_refused(key):
    text = nj.text.encode(["ab cd"])
    with pytest.raises(ValueError, match=r"whitespace: rate must be at most the share.*0\.200"):
        nj.text.whitespace(key, text, 0.3, of="all")
    with pytest.raises(ValueError, match="whitespace: every kind must be one of"):
        nj.text.whitespace(key, text, 0.3, kinds=("triple",))
    with pytest.raises(ValueError, match="whitespace: kinds must be a tuple"):
        nj.text.whitespace(key, text, 0.3, kinds=())
    with pytest.raises(ValueError, match="homoglyph: rate must be at most the share"):
        nj.text.homoglyph(key, nj.text.encode(["日本"]), 0.3, of="all")
    with pytest.raises(ValueError, match=r"homoglyph: x of uint8.*dtype=np\.uint32"):
        nj.text.homoglyph(key, nj.text.encode(["ab"], dtype=np.uint8), 0.3)
    with pytest.raises(ValueError, match="case: kind must be one of"):
        nj.text.case(key, text, 0.3, kind="title")
    with pytest.raises(ValueError, match=r"mojibake: x of uint8.*codec='latin-1'"):
        nj.text.mojibake(key, nj.text.encode(["ab"], dtype=np.uint8), 0.3)
    with pytest.raises(ValueError, match="mojibake: codec must be one of"):
        nj.text.mojibake(key, text, 0.3, codec="koi8-r")
    with pytest.raises(ValueError, match="ocr: of must be one of"):
        nj.text.ocr(key, text, 0.3, of="some")
    with pytest.raises(ValueError, match="ocr: rate must be at most"):
        nj.text.ocr(key, nj.text.encode(["日本m"]), 0.9, of="all")


def test_texts_on_the_device_are_not_read(key):
    text = jax.device_put(nj.text.encode(["日本"]))
    assert nj.text.decode(nj.text.ocr(key, text, 0.5, of="all")) == ["日本"]
