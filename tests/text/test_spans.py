"""Spans of tokens against their definitions: T5's distribution enumerated, SpanBERT's lengths and shares."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj

SHAPE = {"sentinel": 99, "eos": 1}


def compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    """All ways to write a total as a sum of positive parts."""
    cuts = itertools.combinations(range(1, total), parts - 1)
    return [tuple(np.diff([0, *cut, total]).tolist()) for cut in cuts]


def masks(size: int, noise: int, spans: int) -> set[tuple[bool, ...]]:
    found = set()
    for kept, removed in itertools.product(compositions(size - noise, spans), compositions(noise, spans)):
        pattern = [[False] * a + [True] * b for a, b in zip(kept, removed, strict=True)]
        found.add(tuple(itertools.chain(*pattern)))
    return found


def check_distribution(key, draws: int, size: int, rate: float, mean: float):
    ids = jnp.broadcast_to(jnp.arange(10, 10 + size), (draws, size))
    drawn = np.asarray(nj.text.spans(key, ids, rate=rate, mean=mean, **SHAPE).mask)
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    lengths = nj.text.span_lengths(size - drawn[0].sum() + 3, rate=rate, mean=mean)
    expected = masks(size, int(drawn[0].sum()), lengths.spans)
    assert {tuple(row) for row in rows.tolist()} == expected
    assert stats.chisquare(counts).pvalue > 1e-4


def test_spans_have_the_distribution_of_the_definition(key):
    check_distribution(key, 20_000, 8, 0.5, 2.0)


@pytest.mark.slow
def test_a_million_spans_have_the_distribution_of_the_definition(key):
    check_distribution(key, 1_000_000, 8, 0.5, 2.0)
    check_distribution(key, 1_000_000, 8, 0.4, 1.5)


@pytest.mark.slow
def test_inputs_and_targets_give_the_text_back(key):
    values = np.random.default_rng(0).integers(100, 1000, (50, 60)).astype(np.int32)
    lengths = np.resize(np.arange(61), 50).astype(np.int32)
    for roll in (False, True):
        result = nj.text.spans(key, nj.Padded(values, lengths), rate=0.3, sentinel=99, eos=1, roll=roll)
        assert not np.asarray(result.inputs.lost).any() and not np.asarray(result.targets.lost).any()
        for row, n, mask, *parts in zip(values, lengths, np.asarray(result.mask), *map(rows, result[:2]), strict=True):
            inputs, targets = parts
            assert inputs[-1] == targets[-1] == 1
            spans, number = {}, None
            for token in targets[:-1]:
                number = token if token < 100 else number
                spans.setdefault(number, []).extend([token] if token >= 100 else [])
            back = [t for token in inputs[:-1] for t in (spans[token] if token < 100 else [token])]
            assert back == row[:n].tolist()
            removed = min(max(round(n * 0.3), 1), n - 1) if n > 1 else 0
            assert mask.sum() == removed and not mask[n:].any()
            assert list(spans) == [99 - k for k in range(len(spans))]
            if n > 1 and not roll:
                assert mask[n - 1] and not mask[0]
                assert len(spans) == min(max(round(removed / 3), 1), removed, n - removed)


def rows(x: nj.Padded) -> list[list[int]]:
    return [row[:n] for row, n in zip(np.asarray(x.values).tolist(), np.asarray(x.lengths).tolist(), strict=True)]


@pytest.mark.slow
def test_rolled_spans_are_uniform_along_the_text(key):
    ids = jnp.broadcast_to(jnp.arange(10, 30), (8000, 20))
    mask = np.asarray(nj.text.spans(key, ids, rate=0.2, roll=True, **SHAPE).mask)
    assert np.abs(mask.mean(0) - 0.2).max() < 4.5 * np.sqrt(0.16 / 8000)
    assert nj.text.spans(key, ids, rate=0.2, **SHAPE).mask[:, -1].all()


@pytest.mark.parametrize(("inputs", "raw", "targets"), [(512, 568, 114), (1024, 1137, 229), (114, 126, 26)])
def test_lengths_are_those_of_the_original(inputs, raw, targets):
    found = nj.text.span_lengths(inputs)
    assert (found.raw, found.inputs, found.targets) == (raw, inputs, targets)


BERT = {"mask_id": 3, "vocab_size": 5000, "special": (0, 1, 2)}


def test_masked_spans_keep_the_budget_and_decide_once_for_each_span(key):
    x = np.broadcast_to(np.arange(4, 204, dtype=np.int32), (400, 200)).copy()
    x[:, 0], x[:, -1] = 1, 2
    noise = nj.bind(nj.text.span_mask, rate=0.15, **BERT)
    y, hit = np.asarray(noise(key, x)), np.asarray(nj.hits(noise)(key, x))
    assert not hit[:, [0, -1]].any() and (y == x)[~hit].all()
    assert set(hit.sum(1)) == {29, 30}  # 0.15 * 198 = 29.7
    assert abs(hit.sum(1).mean() - 29.7) < 4 * np.sqrt(0.21 / 400)
    masked, same = (y == 3)[hit].mean(), (y == x)[hit].mean()
    n = hit.sum() / 3.8  # decisions
    assert abs(masked - 0.8) < 4 * np.sqrt(0.16 / n) and abs(same - 0.1) < 4 * np.sqrt(0.09 / n)
    # Within a span that no other touches, all tokens have one fate; a run of hits has few changes of it.
    fate = np.where(y == 3, 0, np.where(y == x, 1, 2))
    inside = hit[:, 1:] & hit[:, :-1]
    assert (fate[:, 1:] != fate[:, :-1])[inside].mean() < 0.06


@pytest.mark.slow
def test_masked_spans_have_the_lengths_of_the_original(key):
    # A budget of one span at most leaves the lengths as they are drawn.
    x = np.full((4000, 400), 7, np.int32)
    hit = np.asarray(nj.hits(nj.bind(nj.text.span_mask, rate=0.025, **BERT))(key, x))  # a budget of 10
    first = hit.argmax(1)
    runs = np.array([(~np.append(row[start:], False)).argmax() for row, start in zip(hit, first, strict=True)])
    expected = 0.2 * 0.8 ** np.arange(10)
    expected /= expected.sum()
    assert abs((np.arange(1, 11) * expected).sum() - 3.8) < 0.01
    # Short runs are cut by the budget at times, and long ones are two spans at times: within a tenth of the mean.
    assert abs(runs.mean() / 3.8 - 1) < 0.1
    assert hit.sum(1).max() == hit.sum(1).min() == 10


@pytest.mark.slow
def test_masked_words_are_whole(key):
    x = np.full((200, 60), 7, np.int32)
    words = np.broadcast_to(np.arange(60) // 3, x.shape)
    hit = np.asarray(nj.hits(nj.bind(nj.text.span_mask, rate=0.2, words=words, **BERT))(key, x))
    assert (hit.reshape(200, 20, 3).all(-1) == hit.reshape(200, 20, 3).any(-1)).all()
    assert hit.sum(1).min() >= 12 and hit.sum(1).max() <= 14


@pytest.mark.slow
def test_padding_has_no_masked_spans(key):
    x = nj.Padded(np.full((50, 40), 7, np.int32), np.full(50, 20))
    hit = np.asarray(nj.hits(nj.bind(nj.text.span_mask, rate=0.5, **BERT))(key, x))
    assert not hit[:, 20:].any() and (hit.sum(1) == 10).all()
    assert not np.asarray(nj.hits(nj.bind(nj.text.span_mask, rate=0.0, **BERT))(key, x)).any()
    assert np.asarray(nj.hits(nj.bind(nj.text.span_mask, rate=1.0, **BERT))(key, x))[:, :20].all()


def test_swapped_tokens_are_disjoint_pairs_at_the_rate(key):
    x = nj.Padded(np.broadcast_to(np.arange(10, 110, dtype=np.int32), (500, 100)), np.full(500, 90))
    y = np.asarray(nj.text.swap_tokens(key, x, 0.2, special=(50,)).values)
    moved = y[:, :90] - np.asarray(x.values)[:, :90]
    assert set(np.unique(moved)) == {-1, 0, 1} and (y[:, 40] == 50).all()
    assert (np.sort(y[:, :90], 1) == np.asarray(x.values)[:, :90]).all()
    assert abs((moved == 1).mean() - 0.2 * 87 / 90) < 0.005
    with pytest.raises(ValueError, match=r"swap_tokens: rate must be at most 0\.5"):
        nj.text.swap_tokens(key, x, 0.6)


def test_wrong_spans_are_refused(key):
    ids = np.full((2, 8), 5, np.int32)
    for options, error in (
        ({"rate": 0.0}, "rate must be a share"),
        ({"mean": 0.5}, "mean must be the mean length"),
        ({"sentinel": -1}, "sentinel must be an id"),
        ({"eos": 2**40}, "eos must be an id"),
    ):
        with pytest.raises(ValueError, match=f"spans: {error}"):
            nj.text.spans(key, ids, **{**SHAPE, **options})
    with pytest.raises(ValueError, match="at least two tokens"):
        nj.text.spans(key, ids[:, :1], **SHAPE)
    with pytest.raises(TypeError, match="must hold integers"):
        nj.text.spans(key, ids.astype(np.float32), **SHAPE)
    with pytest.raises(ValueError, match="span_lengths: inputs_length"):
        nj.text.span_lengths(2)
    with pytest.raises(ValueError, match="span_mask: longest"):
        nj.text.span_mask(key, ids, longest=0, **BERT)


@pytest.mark.parametrize("wrong", [np.complex64(0.3), 0.3j, "0.3", None, True, np.nan])
def test_shares_and_means_are_real_numbers(wrong, key):
    ids = np.arange(10, 40, dtype=np.int32)[None]
    for name in ("rate", "mean"):
        with pytest.raises(ValueError, match=f"span_lengths: {name} must be"):
            nj.text.span_lengths(64, **{name: wrong})
        with pytest.raises(ValueError, match=f"spans: {name} must be"):
            nj.text.spans(key, ids, **{"rate": 0.3, "mean": 1.5, "sentinel": 99, "eos": 1, name: wrong})
