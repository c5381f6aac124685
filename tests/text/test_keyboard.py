"""Slips to neighbouring keys against the geometry, and the rate of characters that have a key."""

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from scipy import stats
from texts import prose

import noisejax as nj
from noisejax.text._data.keyboards import LAYOUTS
from noisejax.text._keyboard import neighbours


def test_slips_follow_the_weights_of_the_distances(key):
    text = nj.text.encode(["g" * 20_000, "P" * 20_000], length=20_000)
    noisy = np.asarray(nj.text.keyboard(key, text, 1.0).values)
    # Around g at (4.75, 2): f and h at a distance of 1, t and y above, v and b below.
    squares = {"f": 1, "h": 1, "t": 1 + 0.25**2, "y": 1 + 0.75**2, "v": 1 + 0.5**2, "b": 1 + 0.5**2}
    weights = np.exp(-np.array(list(squares.values())) / (2 * 0.6**2))
    counts = np.array([(noisy[0] == ord(letter)).sum() for letter in squares])
    assert counts.sum() == 20_000
    assert stats.chisquare(counts, 20_000 * weights / weights.sum()).pvalue > 1e-4
    assert set(map(chr, noisy[1])) == {"O", "{", "L", ":", ")", "_"}  # shift stays


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_have_each_character_once_and_neighbours_are_mutual(layout):
    characters = "".join(row for rows in LAYOUTS[layout] for row in rows)
    assert len(set(characters)) == len(characters)
    near = neighbours(layout)
    for character, others in near.items():
        assert abs(sum(others.values()) - 1) < 1e-6
        assert all(character in near[other] for other in others)


def test_the_rate_is_of_keys_or_of_all_characters(key):
    strings = [string for string in prose(200, 150) if len(string) > 100]
    text, total = nj.text.encode(strings), sum(map(len, strings))
    keys = sum(character in neighbours("qwerty") for string in strings for character in string)
    for of, expected in (("eligible", 0.2 * keys), ("all", 0.2 * total)):
        noisy = nj.text.decode(nj.text.keyboard(key, text, 0.2, of=of))
        found = sum(Levenshtein.distance(a, b) for a, b in zip(strings, noisy, strict=True))
        assert abs(found - expected) < max(0.005 * total, 4 * np.sqrt(0.16 * total))


def test_layouts_and_rates_that_cannot_be_met_are_refused(key):
    text = nj.text.encode(["a  b"])
    with pytest.raises(ValueError, match="layout must be one of 'qwerty'"):
        nj.text.keyboard(key, text, 0.1, layout="colemak")
    with pytest.raises(ValueError, match=r"share of characters that are keys.*share of 0\.500"):
        nj.text.keyboard(key, text, 0.6, of="all")
    with pytest.raises(ValueError, match=r"dtype=np\.uint32"):
        nj.text.keyboard(key, nj.text.encode(["a"], dtype=np.uint8), 0.1, layout="jcuken")
