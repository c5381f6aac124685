"""Law 4 through combinators: what holds of one noise on a `Padded` holds of every composition of noises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

X = jnp.asarray(np.random.default_rng(4).standard_normal((6, 8, 3)), jnp.float32)
LENGTHS = np.array([8, 0, 1, 5, 7, 8], np.int32)
VALID = (np.arange(8) < LENGTHS[:, None])[:, :, None]
gaussian, mask = nj.bind(nj.gaussian, std=0.5), nj.bind(nj.mask, rate=0.4)
COMBINATIONS = [
    nj.chain(gaussian, mask),
    nj.choose(gaussian, mask),
    nj.choose(gaussian, mask, mode="batch"),
    nj.sometimes(mask, 0.7),
    nj.sometimes(mask, 1.0, mode="batch"),
    nj.on_columns(gaussian, (0, 2)),
    nj.on_columns(mask, slice(0, 4), axis=1),
    nj.per_example(nj.chain(mask, gaussian), jnp.arange(6) + 9),
    nj.clip(-0.1, 0.1),
    nj.keyless(jnp.exp),
    nj.learnable(nj.chain(gaussian)),
    nj.chain(nj.bind(nj.swap, rate=0.9), nj.bind(nj.signal.time_mask, width=4.0), nj.sometimes(gaussian, 0.5)),
]
named = pytest.mark.parametrize("noise", COMBINATIONS, ids=repr)


@named
def test_values_are_those_with_lengths_and_padding_is_untouched(noise, key):
    y = noise(key, nj.Padded(X, LENGTHS))
    np.testing.assert_array_equal(y.values, noise(key, X, lengths=LENGTHS))
    np.testing.assert_array_equal(y.lengths, LENGTHS)
    np.testing.assert_array_equal(np.where(VALID, 0, y.values), np.where(VALID, 0, X))
    assert (np.asarray(y.values) != X).any()


@named
def test_rubbish_in_the_padding_changes_nothing(noise, key):
    clean = np.asarray(noise(key, nj.Padded(X, LENGTHS)).values)
    rubbish = np.asarray(noise(key, nj.Padded(jnp.where(VALID, X, jnp.nan), LENGTHS)).values)
    np.testing.assert_array_equal(np.where(VALID, rubbish, 0), np.where(VALID, clean, 0))


@named
def test_where_and_lengths_combine(noise, key):
    where = np.random.default_rng(5).random(X.shape) < 0.6
    y = noise(key, nj.Padded(X, LENGTHS), where=jnp.asarray(where)).values
    both = where & VALID
    np.testing.assert_array_equal(np.where(both, 0, y), np.where(both, 0, X))
    assert (np.asarray(y) != X).any()


@named
def test_one_trace_for_all_lengths_and_amounts(noise, key):
    traces = []

    @jax.jit
    def run(noise, padded):
        traces.append(1)
        return noise(key, padded)

    for lengths in (LENGTHS, LENGTHS[::-1].copy()):
        padded = nj.Padded(X, lengths)
        np.testing.assert_allclose(run(noise, padded).values, noise(key, padded).values, rtol=2e-6, atol=2e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("noise", [n for n in COMBINATIONS if "gaussian" not in repr(n)], ids=repr)
def test_hits_are_replayed(noise, key):
    padded = nj.Padded(X, LENGTHS)
    hit = np.asarray(nj.hits(noise)(key, padded))
    assert not np.where(VALID, False, hit).any()
    if "mask" in repr(noise):
        np.testing.assert_array_equal(hit, nj.changed(padded.values, noise(key, padded).values))


class TestEntries:
    noise = nj.on_entries({"text": gaussian, "label": None})

    def test_an_entry_may_be_padded(self, key):
        batch = {"text": nj.Padded(X, LENGTHS), "label": jnp.arange(6)}
        out = self.noise(key, batch)
        direct = self.noise(key, {"text": X, "label": jnp.arange(6)}, lengths={"text": LENGTHS})
        np.testing.assert_array_equal(out["text"].values, direct["text"])
        np.testing.assert_array_equal(out["text"].lengths, LENGTHS)
        assert out["label"] is batch["label"]

    def test_a_tuple_takes_lengths_by_place(self, key):
        noise = nj.on_entries((gaussian, None))
        x, _ = noise(key, (X, jnp.arange(6)), lengths=(LENGTHS, None))
        np.testing.assert_array_equal(np.where(VALID, 0, x), np.where(VALID, 0, X))

    def test_per_example_and_choices_of_batches(self, key):
        batch = {"text": nj.Padded(X, LENGTHS), "label": jnp.arange(6)}
        for noise in (nj.per_example(self.noise), nj.sometimes(self.noise, 0.5), nj.choose(self.noise, self.noise)):
            out = noise(key, batch)
            np.testing.assert_array_equal(out["text"].lengths, LENGTHS)
            np.testing.assert_array_equal(np.where(VALID, 0, out["text"].values), np.where(VALID, 0, X))

    def test_lengths_of_a_batch_must_say_whose_they_are(self, key):
        with pytest.raises(TypeError, match=r"lengths of a batch must be given by entry.*'text': lengths"):
            self.noise(key, {"text": X}, lengths=LENGTHS)


@pytest.mark.parametrize("mixing", [nj.mixup, nj.cutmix])
def test_mixing_refuses_it_unless_it_is_kept(mixing, key):
    batch = {"x": jnp.ones((6, 4, 4, 1)), "text": nj.Padded(X, LENGTHS)}
    with pytest.raises(TypeError, match=r"'text'.* is a Padded.*keep"):
        mixing(key, batch, 1.0, num_classes=20)
    with pytest.raises(TypeError, match="is a Padded"):
        mixing(key, nj.Padded(X, LENGTHS), 1.0)
    kept = mixing(key, batch, 1.0, keep=("text",))["text"]
    assert kept is batch["text"]
    with pytest.raises(TypeError, match="is a Padded"):
        nj.blend(nj.Padded(X, LENGTHS), 0.5, 1)


def test_functions_of_the_user_see_the_padded_itself(key):
    def reverse(key, padded):
        return nj.Padded(padded.values[:, ::-1], padded.lengths)

    y = nj.chain(reverse, mask)(key, nj.Padded(X, LENGTHS))
    np.testing.assert_array_equal(np.where(VALID, 0, y.values), np.where(VALID, 0, X[:, ::-1]))


class TestTheValue:
    def test_it_is_no_array_and_no_tuple(self):
        padded = nj.Padded(X, LENGTHS)
        assert not isinstance(padded, tuple)
        assert not any(hasattr(padded, name) for name in ("ndim", "shape", "dtype"))
        with pytest.raises(AttributeError, match=r"read \.values\.shape"):
            _ = padded.shape
        with pytest.raises(AttributeError, match="cannot be assigned"):
            padded.values = X

    def test_lengths_are_int32_whatever_they_were(self):
        for dtype in (np.uint8, np.int8, np.int64, np.uint16):
            assert nj.Padded(np.ones((2, 100)), np.array([100, 3], dtype)).lengths.dtype == np.int32
        assert nj.Padded(X, LENGTHS.tolist()).lengths.dtype == np.int32
        traced = jax.jit(lambda n: nj.Padded(jnp.ones((2, 300)), n).mask.sum(1))(jnp.array([100, 3], jnp.uint8))
        assert traced.tolist() == [100, 3]

    def test_small_dtypes_of_lengths_count_right(self, key):
        """Positions beyond the range of an 8-bit dtype are padding."""
        x = np.ones((2, 300), np.float32)
        for dtype in (np.uint8, np.int8):
            for lengths in (np.full(2, 100, dtype), jnp.full(2, 100, dtype)):
                assert int((nj.mask(key, x, 1.0, lengths=lengths) == 0).sum()) == 200

    @pytest.mark.parametrize(
        ("values", "lengths", "lost", "error", "match"),
        [
            ([1, 2], [1], None, TypeError, "values must be an array, got a list"),
            (np.ones(3), np.array(1.5), None, TypeError, "lengths must be integers.*float64"),
            (np.ones((2, 3)), np.ones((2, 3), bool), None, TypeError, "where=mask"),
            (np.ones((2, 3)), None, None, TypeError, "lengths must be integers.*NoneType"),
            (np.ones((2, 3)), [1, 2, 3], None, ValueError, r"lengths must have the shape.*\(2, 3\).*got \(3,\)"),
            (np.ones((2, 3)), [1, 4], None, ValueError, r"every length must be in \[0, 3\].*got 4"),
            (np.ones((2, 3)), [-1, 2], None, ValueError, "got -1"),
            (np.ones((2, 3)), [[1, 1, 1], [1, 1, 1]], None, ValueError, "lengths must have the shape"),
            (np.ones((2, 3)), [1, 2], np.ones(3, int), ValueError, "lost must be integers"),
        ],
    )
    def test_the_constructor_validates(self, values, lengths, lost, error, match):
        with pytest.raises(error, match=match):
            nj.Padded(values, lengths, lost)

    def test_lengths_together_with_a_padded_raise(self, key):
        for call in (gaussian, lambda key, x, lengths: nj.gaussian(key, x, 0.1, lengths=lengths), nj.hits(mask)):
            with pytest.raises(TypeError, match="leave out lengths"):
                call(key, nj.Padded(X, LENGTHS), lengths=LENGTHS)
