"""Noise on tokens against its definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj

SPECIAL = (0, 1, 2)
BERT = {"mask_id": 3, "vocab_size": 50, "special": SPECIAL}


def ids(rows=400, size=64):
    values = np.random.default_rng(3).integers(4, 50, (rows, size)).astype(np.int32)
    values[:, 0], values[:, -5:] = 1, 2
    return values


def test_bert_hits_at_its_rate_and_in_its_shares(key):
    x, noise = ids(), nj.bind(nj.text.mask_tokens, rate=0.15, **BERT)
    y, hit = np.asarray(noise(key, x)), np.asarray(nj.hits(noise)(key, x))
    eligible = ~np.isin(x, SPECIAL)
    assert not hit[~eligible].any()
    assert (y == x)[~hit].all()
    n = eligible.sum()
    assert abs(hit[eligible].mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / n)
    # A random token is the token itself once in 46 times, and never a special one or the mask.
    masked, same = (y == 3)[hit], (y == x)[hit]
    counts = np.array([masked.sum(), same.sum(), (~masked & ~same).sum()])
    assert stats.chisquare(counts, hit.sum() * np.array([0.8, 0.1 + 0.1 / 46, 0.1 * 45 / 46])).pvalue > 1e-4
    assert not np.isin(y[hit & (y != 3)], SPECIAL).any()


def test_words_are_hit_whole_and_at_least_once(key):
    x = ids(200, 24)
    words = np.sort(np.random.default_rng(5).integers(8, size=x.shape), axis=1)
    noise = nj.bind(nj.text.mask_tokens, rate=0.02, words=words, at_least_one=True, **BERT)
    hit, eligible = np.asarray(nj.hits(noise)(key, x)), ~np.isin(x, SPECIAL)
    for row, word, allowed in zip(hit, words, eligible, strict=True):
        hit_words = set(word[row])
        assert hit_words
        assert (row == (np.isin(word, list(hit_words)) & allowed)).all()
    assert hit.any(1).all()
    one_text = nj.Padded(jnp.asarray(x), np.zeros(200, np.int32))
    assert not np.asarray(nj.hits(noise)(key, one_text)).any()


def test_replaced_tokens_are_others_and_equally_likely(key):
    x = np.repeat(np.array([[0, 4, 7, 1, 9]], np.int32), 4000, 0)
    y = np.asarray(nj.text.replace_tokens(key, x, 1.0, vocab_size=10, special=(0, 1, 5)))
    assert (y[:, [0, 3]] == x[:, [0, 3]]).all()
    for column in (1, 2, 4):
        others = [token for token in (2, 3, 4, 6, 7, 8, 9) if token != x[0, column]]
        counts = np.bincount(y[:, column], minlength=10)
        assert counts[others].sum() == len(x)
        assert stats.chisquare(counts[others]).pvalue > 1e-4


@pytest.mark.slow
def test_deleted_tokens_leave_the_others_in_order(key):
    x = nj.Padded(ids(), np.full(400, 60, np.int32))
    y = nj.text.delete_tokens(key, x, 0.3, special=SPECIAL)
    alignment = nj.text.alignment(nj.bind(nj.text.delete_tokens, rate=0.3, special=SPECIAL))(key, x)
    deleted = np.asarray(alignment.deleted)
    for row, gone, noisy, n in zip(x.values, deleted, np.asarray(y.values), np.asarray(y.lengths), strict=True):
        np.testing.assert_array_equal(noisy[:n], row[:60][~gone[:60]])
        assert not noisy[n:].any()
    assert not deleted[np.isin(x.values, SPECIAL)].any()
    eligible = (~np.isin(x.values, SPECIAL))[:, :60].sum()
    assert abs(deleted.sum() / eligible - 0.3) < 4 * np.sqrt(0.21 / eligible)


def test_vocabularies_that_do_not_fit_are_refused(key):
    x = ids(2, 8)
    with pytest.raises(ValueError, match=r"special must be ids in \[0, 50\), the vocabulary, got 50"):
        nj.text.mask_tokens(key, x, mask_id=3, vocab_size=50, special=(50,))
    with pytest.raises(ValueError, match="mask_id must be ids"):
        nj.text.mask_tokens(key, x, mask_id=99, vocab_size=50)
    with pytest.raises(ValueError, match=r"random \+ keep must be at most 1"):
        nj.text.mask_tokens(key, x, random=0.6, keep=0.6, **BERT)
    with pytest.raises(ValueError, match="cannot hold all ids"):
        nj.text.replace_tokens(key, x.astype(np.uint8), 0.1, vocab_size=1000)
    with pytest.raises(TypeError, match="must hold integers"):
        nj.text.mask_tokens(key, x.astype(np.float32), **BERT)
    with pytest.raises(ValueError, match="fewer than 2"):
        nj.text.replace_tokens(key, x, 0.1, vocab_size=3, special=(0, 1))
