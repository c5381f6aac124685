"""The character error rate is the rate, judged by rapidfuzz, and nothing happens but the named operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rapidfuzz.distance import OSA, Levenshtein
from texts import CYRILLIC, in_cyrillic, prose

import noisejax as nj
from noisejax.text import _curves

OPERATIONS = ("typos", "substitute", "delete", "insert", "repeat", "transpose")


def errors(function, strings, rate, key, distance=Levenshtein.distance, **options):
    """The error rate of all strings together, and its standard error over strings."""
    text = nj.text.encode(strings, length=2 * max(map(len, strings)))
    noisy = nj.text.decode(function(key, text, rate, **options))
    found = np.array([distance(a, b) for a, b in zip(strings, noisy, strict=True)], float)
    sizes = np.array(list(map(len, strings)), float)
    mean = found.sum() / sizes.sum()
    return mean, np.sqrt(((found - mean * sizes) ** 2).sum()) / sizes.sum()


def test_the_error_rate_of_the_mixture_is_the_rate(key):
    strings = prose(300, 200)
    for rate in (0.05, 0.3):  # the bound is missed by chance once in 400 rates
        mean, error = errors(nj.text.typos, strings, rate, key)
        assert abs(mean - rate) < max(0.005, 3 * error)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["latin", "cyrillic"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_error_rate_is_the_rate(name, script, key):
    strings, options = prose(2000, 150), {}
    if script == "cyrillic":
        strings = in_cyrillic(strings)
        options = {"alphabet": CYRILLIC} if name in ("typos", "substitute", "insert") else {}
    for rate in (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5):
        mean, error = errors(getattr(nj.text, name), strings, rate, key, **options)
        assert abs(mean - rate) <= max(0.005, 3 * error), (rate, mean)


@pytest.mark.slow
def test_other_mixtures_are_calibrated_too(key):
    strings = prose(500, 200)
    for options in (
        {"operations": ("insert", "delete")},
        {"operations": ("delete", "transpose"), "shares": (3.0, 1.0)},
        {"operations": ("repeat",)},
    ):
        mean, error = errors(nj.text.typos, strings, 0.3, key, **options)
        assert abs(mean - 0.3) <= max(0.005, 3 * error), options


@pytest.mark.slow
def test_shipped_curves_are_those_of_the_simulation():
    for weights, values in _curves._SHIPPED.items():
        assert _curves.simulated(weights) == values


def test_the_distance_of_the_simulation_is_that_of_rapidfuzz():
    random = np.random.default_rng(0)
    for _ in range(100):
        a, b = (random.integers(5, size=n).tolist() for n in random.integers(60, size=2))
        assert _curves.distance(a, b) == Levenshtein.distance(a, b)


@pytest.mark.slow
def test_each_operation_does_what_its_name_says(key):
    strings = prose(60, 80)
    text = nj.text.encode(strings, length=200)
    noisy = {name: nj.text.decode(getattr(nj.text, name)(key, text, 0.2)) for name in OPERATIONS}
    for clean, *results in zip(strings, *(noisy[name] for name in OPERATIONS[1:]), strict=True):
        substituted, deleted, inserted, repeated, transposed = results
        assert len(substituted) == len(clean)
        assert len(deleted) == len(clean) - Levenshtein.distance(clean, deleted)
        assert len(inserted) == len(clean) + Levenshtein.distance(clean, inserted)
        assert len(repeated) == len(clean) + Levenshtein.distance(clean, repeated)
        assert sorted(transposed) == sorted(clean)
        # Disjoint pairs of neighbours: as many transpositions as half of the characters that moved.
        assert OSA.distance(clean, transposed) <= sum(a != b for a, b in zip(clean, transposed, strict=True)) / 2
    assert all(noisy[name] != strings for name in OPERATIONS)


def test_a_substituted_character_is_never_itself_and_others_are_equally_likely(key):
    letters = "abcde"
    text = nj.text.encode(["abcdez" * 2000], length=12000)
    noisy = nj.text.substitute(key, text, 1.0, alphabet=letters)
    assert (np.asarray(noisy.values) != text.values).all()
    assert np.array_equal(nj.hits(nj.bind(nj.text.substitute, rate=0.3))(key, text),
                          nj.changed(text.values, nj.text.substitute(key, text, 0.3).values))  # fmt: skip
    for letter in "abcdez":
        got = np.asarray(noisy.values)[text.values == ord(letter)] - ord("a")
        counts = np.bincount(got, minlength=5)[[n for n in range(5) if letters[n] != letter]]
        expected = 2000 / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < 20.5  # chi-square of 4 degrees of freedom, 4e-4


def test_what_does_not_fit_is_counted(key):
    text = nj.text.encode(["abcdefgh", "ab"], length=10)
    noisy = nj.text.insert(key, text, 1.0)
    assert noisy.lengths.tolist() == [10, 4]
    assert noisy.lost.tolist() == [6, 0]
    again = nj.text.insert(key, noisy, 1.0)
    assert again.lost.tolist() == [16, 0]


def test_rates_may_differ_from_text_to_text_without_a_new_trace(key):
    text, traces = nj.text.encode(["abcdefgh" * 10] * 3), []

    @jax.jit
    def run(rate):
        traces.append(1)
        return nj.text.typos(key, text, rate)

    noisy = run(jnp.array([[0.0], [0.2], [0.5]]))
    distances = [Levenshtein.distance("abcdefgh" * 10, string) for string in nj.text.decode(noisy)]
    assert distances[0] == 0 < distances[1] < distances[2]
    run(jnp.array([[0.1], [0.0], [0.7]]))
    assert len(traces) == 1


def test_rates_and_options_that_cannot_be_met_are_refused(key):
    text = nj.text.encode(["abc"])
    with pytest.raises(ValueError, match="transpose: rate must be at most"):
        nj.text.transpose(key, text, 0.53)
    with pytest.raises(ValueError, match="typos: rate must be at most"):
        nj.text.typos(key, text, 0.9)
    with pytest.raises(ValueError, match="every operation must be one of"):
        nj.text.typos(key, text, 0.1, operations=("swap",))
    with pytest.raises(ValueError, match="shares must be one positive number"):
        nj.text.typos(key, text, 0.1, shares=(1.0,))
    with pytest.raises(ValueError, match="alphabet must hold different characters"):
        nj.text.insert(key, text, 0.1, alphabet="aa")
    with pytest.raises(ValueError, match=r"cannot hold the code 1103 of alphabet.*dtype=np\.uint32"):
        nj.text.insert(key, nj.text.encode(["abc"], dtype=np.uint8), 0.1, alphabet="я")
