"""Laws 8 and 11: the draws of a noise are its own, and have the distribution that it names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from cases import CASES
from cases.case import row
from noisejax._contract import array_noise
from noisejax._random import sample, stream

ALPHA = 1e-4  # a right noise fails for one key in 10,000; the keys are fixed
OF_CHAINS = {"fold.0", "fold.1"}  # streams of ids, which every noise may derive
# It draws gaps and drift as other noises of signals do, in stages of its own: tests/signal/test_learnt_sensors.py.
STAGED = {nj.signal.faults}


@pytest.mark.parametrize("case", [case for case in CASES if case.reference], ids=repr)
def test_what_is_added_has_the_distribution_of_the_reference(case):
    scale = next(iter(case.amounts.values()))
    added = np.asarray(case.bind()(jax.random.key(31), jnp.zeros((8, 2**13))), np.float64)
    assert stats.kstest(added.ravel(), case.reference(scale=scale).cdf).pvalue > ALPHA


def tags_of(case, monkeypatch) -> set[str]:
    """The tags of the draws of one call, traced for a number of examples that no other test has."""
    found, word = set(), stream._word

    def recorded(parent, tag, low, high):
        found.add(tag)
        return word(parent, tag, low, high)

    monkeypatch.setattr(stream, "_word", recorded)
    x = np.resize(case.x(), (13, *case.x().shape[1:]))
    jax.eval_shape(case.bind(), jax.random.key(0), x)
    monkeypatch.undo()
    return found


@pytest.mark.slow
def test_no_two_noises_share_a_tag(monkeypatch):
    owners = {}
    for case in CASES:
        tags = tags_of(case, monkeypatch) - OF_CHAINS
        if case.function in STAGED:
            continue
        assert tags or case.note or not case.draws, f"{case} drew nothing"
        for tag in tags:
            assert owners.setdefault(tag, case.function) is case.function, f"{tag!r} of {case} is another noise's"


def test_a_borrowed_tag_is_seen(monkeypatch):
    @array_noise(ranges={})
    def borrower(key, x, scale, *, where=None, lengths=None):
        return x + scale * sample.normal(stream.words_like(key, "gaussian", x))

    assert tags_of(row(borrower, scale=(0.3, 0.0, 0.7)), monkeypatch) == {"gaussian"}
