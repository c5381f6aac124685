"""The alignment rebuilds the noisy text, through every combinator, and moves spans as edits do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from texts import prose

import noisejax as nj
from cases.text import learnt

MOVING = nj.chain(nj.bind(nj.text.delete, rate=0.2), nj.bind(nj.text.transpose, rate=0.3))


def rebuilt(clean: nj.Padded, alignment) -> np.ndarray:
    """The clean characters at the places that the alignment names, and 0 elsewhere."""
    source = np.asarray(alignment.source)
    return np.where(source >= 0, np.take_along_axis(np.asarray(clean.values), np.maximum(source, 0), 1), 0)


def check(noise, text, key):
    noisy, alignment = noise(key, text), nj.text.alignment(noise)(key, text)
    source, deleted = map(np.asarray, alignment)
    data = np.arange(source.shape[1]) < np.asarray(noisy.lengths)[:, None]
    assert (source[~data] == -1).all()
    for row, gone, n in zip(source, deleted, np.asarray(text.lengths), strict=True):
        kept = row[row >= 0]
        assert len(set(kept)) == len(kept)
        assert sorted([*kept, *np.flatnonzero(gone)]) == list(range(n))
    return np.asarray(noisy.values), rebuilt(text, alignment), source


THROUGH = {
    "chain": MOVING,
    "sometimes": nj.sometimes(MOVING, 0.5),
    "choose": nj.choose(nj.bind(nj.text.delete, rate=0.3), MOVING),
    "per_example": nj.per_example(MOVING),
    "batch": nj.sometimes(MOVING, 1.0, mode="batch"),
}


@pytest.mark.parametrize(
    "noise",
    [pytest.param(n, id=i, marks=[pytest.mark.slow] * (i not in ("chain", "sometimes"))) for i, n in THROUGH.items()],
)
def test_what_only_moves_is_rebuilt_exactly(noise, key):
    text = nj.text.encode(prose(40, 60))
    noisy, rebuilt, _ = check(noise, text, key)
    np.testing.assert_array_equal(noisy, rebuilt)
    assert (noisy != text.values).any()


@pytest.mark.slow
def test_ten_thousand_texts_are_rebuilt(key):
    text = nj.text.encode((prose(10_000, 60) * 40)[:10_000])
    noisy, rebuilt, _ = check(MOVING, text, key)
    np.testing.assert_array_equal(noisy, rebuilt)
    mixture = nj.bind(nj.text.typos, rate=0.3, operations=("insert", "delete", "transpose"), alphabet=(1,))
    noisy, rebuilt, _ = check(mixture, text, key)
    np.testing.assert_array_equal(np.where(noisy == 1, 0, noisy), rebuilt)


@pytest.mark.slow
def test_inserted_and_substituted_characters_are_the_only_ones_that_differ(key):
    text = nj.text.encode(prose(40, 60), length=100)
    noise = nj.chain(
        nj.bind(nj.text.typos, rate=0.3, alphabet=(1,)), nj.bind(nj.text.substitute, rate=0.1, alphabet=(2,))
    )
    noisy, rebuilt, source = check(noise, text, key)
    assert set(noisy[noisy != rebuilt]) <= {1, 2}
    assert ((source == -1) & (noisy > 2)).sum() == 0


@pytest.mark.slow
def test_batches_have_an_alignment_for_each_text(key):
    text = nj.text.encode(["hello", "world"])
    noise = nj.on_entries({"text": nj.bind(nj.text.delete, rate=0.5), "label": None})
    alignments = nj.text.alignment(noise)(key, {"text": text, "label": jnp.arange(2)})
    assert alignments["label"] is None
    inner = nj.bind(nj.text.delete, rate=0.5)
    expected = noise(key, {"text": text, "label": jnp.arange(2)})["text"].values
    np.testing.assert_array_equal(rebuilt(text, alignments["text"]), expected)
    assert nj.text.alignment(inner)(key, text).source.shape == text.values.shape


@pytest.mark.slow
def test_spans_follow_their_characters(key):
    strings = prose(30, 60)
    text = nj.text.encode(strings, length=120)
    noise = nj.bind(nj.text.typos, rate=0.3)
    alignment = nj.text.alignment(noise)(key, text)
    starts, ends = jnp.full((30, 2), 5), jnp.array([[9, 5]] * 30)
    first, last = map(np.asarray, alignment.spans(starts, ends))
    for row, f, e in zip(np.asarray(alignment.source), first, last, strict=True):
        inside = [j for j, i in enumerate(row) if 5 <= i < 9]
        assert (f[0], e[0]) == ((inside[0], inside[-1] + 1) if inside else (0, 0))
        assert (f[1], e[1]) == (0, 0)


def test_noises_without_an_alignment_say_so(key):
    text = nj.text.encode(["hello"])
    with pytest.raises(TypeError, match=r"alignment: patch_dropout changes lengths.*noisejax\.text"):
        nj.text.alignment(nj.bind(nj.patch_dropout, rate=0.5))(key, text)
    with pytest.raises(TypeError, match="alignment: mixup"):
        nj.text.alignment(nj.bind(nj.mixup, alpha=1.0))(key, text)


WHOLE = {"typos": nj.bind(nj.text.typos, rate=0.2), "edits": nj.bind(nj.text.edits, model=learnt())}


@pytest.mark.parametrize("noise", [WHOLE["typos"], pytest.param(WHOLE["edits"], marks=pytest.mark.slow)], ids=WHOLE)
def test_devices_that_hold_whole_texts_do_not_communicate(noise, key):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    text = jax.tree.map(lambda leaf: jax.device_put(leaf, sharding), nj.text.encode(["abcdef"] * 8))
    program = jax.jit(noise).lower(key, text).compile().as_text() or ""
    assert not [word for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute") if word in program]
