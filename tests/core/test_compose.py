import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj

X = jnp.asarray(np.random.default_rng(0).standard_normal((16, 6)), jnp.float32)
gaussian = nj.bind(nj.gaussian, std=0.5)
mask = nj.bind(nj.mask, rate=0.4)


def foreign(key, x):
    return x + jax.random.normal(key, x.shape)


def counted(key, x):
    """A foreign noise that shows what it was given: 1 where it acted."""
    return jnp.ones_like(x)


class TestChain:
    def test_is_its_stages_in_order(self, key):
        chain = nj.chain(mask, nj.keyless(jnp.square), gaussian)
        first = nj.chain(mask)(key, X)
        assert bool((first == 0).any())
        np.testing.assert_array_equal(nj.chain(mask, nj.keyless(jnp.square))(key, X), first**2)
        assert bool((chain(key, X) != first**2).all())

    def test_nested_chains_and_positions_draw_independently(self, key):
        zero = jnp.zeros(20_000)
        one = nj.bind(nj.gaussian, std=1.0)
        still = nj.keyless(lambda x: x)
        places = [
            nj.chain(one),
            nj.chain(still, one),
            nj.chain(nj.chain(one)),
            nj.chain(still, nj.chain(one)),
            nj.chain(nj.chain(still, one)),
            one,
        ]
        draws = np.stack([place(key, zero) for place in places])
        correlation = np.corrcoef(draws) - np.eye(len(places))
        assert np.abs(correlation).max() < 5 / np.sqrt(draws.shape[1])

    def test_takes_any_function_and_gives_each_place_its_own_key(self, key):
        zero = jnp.zeros(1000)
        once = nj.chain(foreign)(key, zero)
        twice = nj.chain(foreign, foreign)(key, zero)
        assert bool((twice - once != once).all())
        assert abs(float(jnp.corrcoef(once, twice - once)[0, 1])) < 0.15

    def test_stays_one_loop_over_x_without_temporaries(self, key):
        chain = nj.chain(gaussian, mask, nj.bind(nj.speckle, std=0.1))
        x = jnp.ones(2**22)
        compiled = jax.jit(chain).lower(key, x).compile()
        text = compiled.as_text()
        entry = text[text.index("ENTRY") :]
        loops = [
            line for line in entry.splitlines() if " fusion(" in line and f"[{x.size}]" in line.split("fusion(")[0]
        ]
        assert len(loops) == 1, entry
        assert compiled.memory_analysis().temp_size_in_bytes < 4096


class TestChooseAndSometimes:
    def test_choose_draws_each_example_by_the_weights(self, key):
        noise = nj.choose(*(nj.keyless(jnp.full_like, fill_value=float(n)) for n in range(3)), weights=(0.5, 0.3, 0.2))
        y = np.asarray(noise(key, jnp.zeros((20_000, 2))))
        assert (y[:, 0] == y[:, 1]).all()
        counts = np.bincount(y[:, 0].astype(int), minlength=3)
        assert stats.chisquare(counts, 20_000 * np.array([0.5, 0.3, 0.2])).pvalue > 1e-4

    def test_weights_may_be_traced_and_reach_their_ends(self, key):
        noises = (nj.keyless(jnp.zeros_like), nj.keyless(jnp.ones_like))
        run = jax.jit(lambda w: nj.choose(*noises, weights=w)(key, X))
        assert bool((run(jnp.array([1.0, 0.0])) == 0).all())
        assert bool((run(jnp.array([0.0, 3.0])) == 1).all())

    def test_batch_mode_draws_once(self, key):
        noise = nj.choose(nj.keyless(jnp.zeros_like), nj.keyless(jnp.ones_like), mode="batch")
        keys = jax.random.split(key, 400)
        y = np.asarray(jax.jit(jax.vmap(noise, (0, None)))(keys, X))
        assert ((y == 0).all((1, 2)) | (y == 1).all((1, 2))).all()
        assert stats.binomtest(int(y[:, 0, 0].sum()), 400, 0.5).pvalue > 1e-4

    @pytest.mark.parametrize("mode", ["example", "batch"])
    def test_sometimes_hits_a_share_p(self, mode, key):
        noise = nj.sometimes(nj.keyless(jnp.ones_like), 0.25, mode=mode)
        keys = jax.random.split(key, 500)
        y = np.asarray(jax.jit(jax.vmap(noise, (0, None)))(keys, jnp.zeros((4, 3))))[:, :, 0]
        share = y.ravel() if mode == "example" else y[:, 0]
        assert stats.binomtest(int(share.sum()), share.size, 0.25).pvalue > 1e-4
        if mode == "batch":
            assert (y == y[:, :1]).all()

    def test_sometimes_at_its_ends_and_per_example(self, key):
        np.testing.assert_array_equal(nj.sometimes(gaussian, 0.0)(key, X), X)
        assert bool((nj.sometimes(gaussian, 1.0)(key, X) != X).all())
        p = jnp.asarray(np.arange(16) % 2, jnp.float32)
        y = nj.sometimes(gaussian, p)(key, X)
        np.testing.assert_array_equal(y[::2], X[::2])
        assert bool((y[1::2] != X[1::2]).all())

    def test_trees_are_selected_as_a_whole(self, key):
        batch = {"x": jnp.zeros((64, 3)), "y": jnp.zeros((64, 2))}
        noise = nj.sometimes(nj.on_entries({"x": counted, "y": counted}), 0.5)
        out = noise(key, batch)
        np.testing.assert_array_equal(out["x"][:, 0], out["y"][:, 0])
        assert 0 < float(out["x"].mean()) < 1

    def test_a_changed_structure_is_refused(self, key):
        soft = nj.keyless(lambda x: jnp.stack([x, x], -1))
        with pytest.raises(ValueError, match="one structure and shape"):
            nj.sometimes(soft, 0.5)(key, X)


class TestEntries:
    def test_by_place_and_by_name(self, key):
        x, y = nj.on_entries((gaussian, None))(key, (X, jnp.arange(16)))
        assert bool((x != X).any()) and y.dtype == jnp.int32
        batch = {"image": X, "label": jnp.arange(16), "id": "kept as it is"}
        out = nj.on_entries({"image": gaussian})(key, batch)
        assert out["id"] == "kept as it is" and bool((out["image"] != X).any())
        assert set(out) == set(batch)

    def test_a_prefix_leaves_the_rest_alone(self, key):
        x, y, z = nj.on_entries((gaussian,))(key, (X, X, X))
        assert bool((x != X).any())
        np.testing.assert_array_equal(y, X)
        np.testing.assert_array_equal(z, X)

    def test_own_and_shared_draws(self, key):
        batch = {"image": X, "mask": X}
        own = nj.on_entries({"image": mask, "mask": mask})(key, batch)
        assert bool((own["image"] != own["mask"]).any())
        same = nj.on_entries({"image": mask, "mask": mask}, shared=True)(key, batch)
        np.testing.assert_array_equal(same["image"], same["mask"])

    def test_unknown_entries_and_no_batch_raise(self, key):
        with pytest.raises(KeyError, match="pixels"):
            nj.on_entries({"pixels": gaussian})(key, {"image": X})
        with pytest.raises(KeyError, match="2"):
            nj.on_entries((None, None, gaussian))(key, (X, X))
        with pytest.raises(TypeError, match="tuple"):
            nj.on_entries((gaussian,))(key, X)
        with pytest.raises(TypeError, match=r"nj\.on_entries"):
            nj.gaussian(key, (X, X), 0.1)

    def test_in_a_chain_with_a_noise_of_the_whole_batch(self, key):
        step = nj.chain(nj.on_entries((gaussian, None)), nj.bind(nj.mixup, alpha=0.4, num_classes=4))
        x, y = jax.jit(step)(key, (X, jnp.arange(16) % 4))
        assert x.shape == X.shape and y.shape == (16, 4)
        np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-6)


class TestAt:
    def test_touches_the_selected_columns_only(self, key):
        for columns in ([1, 4], (1, 4), np.array([1, 4]), np.arange(6) % 3 == 1, (-5, -2), slice(1, 5, 3)):
            y = nj.on_columns(gaussian, columns)(key, X)
            assert bool((y[:, np.array([1, 4])] != X[:, np.array([1, 4])]).all())
            np.testing.assert_array_equal(y[:, np.array([0, 2, 3, 5])], X[:, np.array([0, 2, 3, 5])])

    def test_draws_keep_the_whole_arrays_indices(self, key):
        whole = nj.gaussian(key, X, 0.5)
        np.testing.assert_allclose(nj.on_columns(gaussian, (2, 3))(key, X)[:, 2:4], whole[:, 2:4], rtol=1e-6)

    def test_amounts_belong_to_the_selected_columns(self, key):
        noise = nj.on_columns(nj.bind(nj.gaussian, std=np.array([0.0, 100.0])), (4, 1))
        y = np.asarray(noise(key, X))
        np.testing.assert_array_equal(y[:, 4], X[:, 4])
        assert np.abs(y[:, 1] - X[:, 1]).mean() > 10

    def test_along_another_axis_and_under_jit(self, key):
        y = jax.jit(nj.on_columns(gaussian, slice(0, 4), axis=0))(key, X)
        assert bool((y[:4] != X[:4]).all())
        np.testing.assert_array_equal(y[4:], X[4:])

    def test_with_padding_and_foreign_functions(self, key):
        where = jnp.arange(16)[:, None] < 8
        y = nj.on_columns(counted, (0,))(key, jnp.zeros((16, 6)), where=where)
        assert float(y.sum()) == 8 and bool((y[:8, 0] == 1).all())

    def test_a_column_that_is_not_there_raises(self, key):
        with pytest.raises(IndexError, match="7"):
            nj.on_columns(gaussian, (7,))(key, X)


class TestPerExample:
    def test_equals_a_loop_over_examples(self, key):
        ids = jnp.array([5, 9, 2, 2, 100, 7, 8, 1, 0, 3, 4, 6, 11, 12, 13, 14])
        y = nj.per_example(gaussian, ids)(key, X)
        for i in (0, 4, 15):
            alone = nj.per_example(gaussian, ids[i : i + 1])(key, X[i : i + 1])
            np.testing.assert_allclose(y[i : i + 1], alone, rtol=1e-6)
        np.testing.assert_allclose(y[2] - X[2], y[3] - X[3], atol=1e-6)  # the same id draws the same noise

    def test_amounts_per_example_and_shared(self, key):
        std = jnp.arange(16.0)
        y = nj.per_example(nj.bind(nj.gaussian, std=std))(key, X)
        np.testing.assert_array_equal(y[0], X[0])
        spread = jnp.abs(y - X).mean(1)
        assert float(spread[8:].mean()) > float(spread[:8].mean())
        shared = nj.bind(nj.gaussian, std=jnp.array([[0.0, 0, 0, 1, 1, 1]]))
        y = nj.per_example(shared)(key, X)
        np.testing.assert_array_equal(y[:, :3], X[:, :3])

    def test_combinators_inside_and_padding(self, key):
        noise = nj.per_example(nj.chain(nj.sometimes(gaussian, 0.5), nj.on_columns(mask, (0, 1))), jnp.arange(16))
        lengths = jnp.arange(16) % 7
        y = noise(key, X, lengths=lengths)
        padded = jnp.arange(6)[None] >= lengths[:, None]
        np.testing.assert_array_equal(jnp.where(padded, y, 0), jnp.where(padded, X, 0))
        (inner,) = noise.amounts["noises"]
        half = nj.per_example(inner, jnp.arange(8))(key, X[:8], lengths=lengths[:8])
        np.testing.assert_allclose(half, y[:8], rtol=1e-6)

    def test_wrong_sizes_raise(self, key):
        with pytest.raises(ValueError, match=r"ids must have shape \(16,\)"):
            nj.per_example(gaussian, jnp.arange(3))(key, X)
        with pytest.raises(ValueError, match="one value for each of 16 examples"):
            nj.per_example(nj.bind(nj.gaussian, std=jnp.ones(6)))(key, X)
        with pytest.raises(TypeError, match="ids must be an array of integers"):
            nj.per_example(gaussian, jnp.ones(16))


class TestPadding:
    where = jnp.asarray(np.random.default_rng(3).random((16, 6)) < 0.5)

    @pytest.mark.parametrize(
        "noise",
        [
            gaussian,
            foreign,
            nj.chain(gaussian, foreign, mask),
            nj.choose(gaussian, foreign),
            nj.choose(gaussian, foreign, mode="batch"),
            nj.sometimes(foreign, 0.9),
            nj.on_columns(gaussian, (0, 3)),
            nj.per_example(gaussian),
            nj.keyless(jnp.square),
            nj.chain(nj.clip(5, 6)),
        ],
        ids=lambda noise: getattr(noise, "__name__", repr(noise)),
    )
    def test_no_combinator_touches_it(self, noise, key):
        noise = nj.chain(noise)
        y = noise(key, X, where=self.where)
        np.testing.assert_array_equal(jnp.where(self.where, 0, y), jnp.where(self.where, 0, X))
        assert bool((y != X).any())
        lengths = jnp.arange(16) % 7
        if "foreign" in repr(noise):
            with pytest.raises(AttributeError, match=r"a Padded has no attribute 'shape'.*\.values\.shape"):
                noise(key, X, lengths=lengths)
            return
        y = jax.jit(noise)(key, X, lengths=lengths)
        valid = jnp.arange(6)[None] < lengths[:, None]
        np.testing.assert_array_equal(jnp.where(valid, 0, y), jnp.where(valid, 0, X))

    def test_entries_hands_it_to_every_noised_entry_or_by_name(self, key):
        batch = {"a": X, "b": X}
        both = nj.on_entries({"a": counted, "b": counted})
        out = both(key, batch, where=self.where)
        np.testing.assert_array_equal(out["a"] == 1, self.where)
        np.testing.assert_array_equal(out["b"] == 1, self.where)
        out = both(key, batch, where={"a": self.where})
        np.testing.assert_array_equal(out["a"] == 1, self.where)
        assert bool((out["b"] == 1).all())

    def test_bad_padding_raises(self, key):
        with pytest.raises(TypeError, match="where must be boolean"):
            gaussian(key, X, where=jnp.ones((16, 6)))
        with pytest.raises(ValueError, match=r"where of shape \(5,\)"):
            gaussian(key, X, where=jnp.ones(5, bool))
        with pytest.raises(ValueError, match="lengths must have the shape"):
            gaussian(key, X, lengths=jnp.arange(5))


class TestHitsAndChanged:
    @pytest.mark.parametrize(
        "noise",
        [
            mask,
            nj.chain(mask, mask),
            nj.choose(mask, nj.bind(nj.mask, rate=0.1)),
            nj.choose(mask, nj.bind(nj.mask, rate=0.1), mode="batch"),
            nj.sometimes(mask, 0.5),
            nj.sometimes(mask, 0.5, mode="batch"),
            nj.on_columns(mask, (0, 2)),
            nj.per_example(mask, jnp.arange(16) + 4),
            nj.chain(mask, nj.clip(-100, 100)),
        ],
        ids=repr,
    )
    def test_the_mask_is_replayed_through_every_combinator(self, noise, key):
        for k in jax.random.split(key, 3):
            replayed = nj.hits(noise)(k, X)
            assert replayed.dtype == bool
            np.testing.assert_array_equal(replayed, nj.changed(X, noise(k, X)))
            np.testing.assert_array_equal(jax.jit(nj.hits(noise))(k, X), replayed)

    def test_entries_give_a_mask_per_entry(self, key):
        noise = nj.on_entries({"x": mask})
        batch = {"x": X, "y": jnp.arange(16)}
        np.testing.assert_array_equal(nj.hits(noise)(key, batch)["x"], nj.changed(X, noise(key, batch)["x"]))

    def test_an_element_that_keeps_its_value_is_still_hit(self, key):
        zeros = jnp.zeros((4, 100))
        assert int(nj.hits(mask)(key, zeros).sum()) > 100
        assert not bool(nj.changed(zeros, mask(key, zeros)).any())

    def test_padding_is_not_hit(self, key):
        where = jnp.arange(6)[None] < 3
        assert not bool((nj.hits(mask)(key, X, where=where) & ~where).any())

    def test_noises_without_hits_say_so(self, key):
        with pytest.raises(TypeError, match=r"gaussian changes every element.*nj\.changed"):
            nj.hits(gaussian)(key, X)
        with pytest.raises(TypeError, match="noise foreign does not report"):
            nj.hits(nj.chain(foreign))(key, X)


class TestErrors:
    @pytest.mark.parametrize(
        ("call", "error", "words"),
        [
            (lambda: nj.chain(), ValueError, "at least one"),
            (lambda: nj.chain(0.1), TypeError, "callable"),
            (lambda: nj.chain(nj.gaussian), TypeError, "bind gaussian first"),
            (lambda: nj.choose(gaussian, mask, weights=(1.0,)), ValueError, "2 numbers"),
            (lambda: nj.choose(gaussian, mask, weights=(-1.0, 2.0)), ValueError, "nonnegative"),
            (lambda: nj.choose(gaussian, mode="row"), ValueError, "'example', 'batch'"),
            (lambda: nj.sometimes(gaussian, 1.5), ValueError, "rate must be in"),
            (lambda: nj.on_entries(gaussian), TypeError, "tuple or a dict"),
            (lambda: nj.on_columns(gaussian, 1.5), TypeError, "columns"),
            (lambda: nj.keyless(3), TypeError, "function"),
            (lambda: gaussian(0, X), TypeError, "raw seed"),
            (lambda: nj.chain(gaussian)(0.5, X), TypeError, "key must be a JAX key"),
        ],
    )
    def test_bad_input_is_refused(self, call, error, words):
        with pytest.raises(error, match=words):
            call()


def test_stages_are_those_of_a_chain():
    first, second = nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1)
    assert nj.chain(first, second).stages == (first, second)
    for alone in (first, nj.choose(first, second), nj.sometimes(first, 0.5)):
        assert len(alone.stages) == 1 and alone.stages[0] is alone


def test_entries_that_are_no_arrays_pass_through_a_chain_that_mixes(key):
    noise = nj.chain(nj.on_entries({"x": nj.bind(nj.gaussian, std=0.1)}), nj.bind(nj.mixup, alpha=1.0, keep=("id",)))
    batch = {"x": X, "id": "a batch", "y": np.eye(16, dtype=np.float32)}
    out = noise(key, batch)
    assert out["id"] == "a batch"
    assert bool((out["x"] != X).any())


class TestWhatFunctionsReturn:
    def test_a_function_without_key_returns_arrays(self, key):
        for wrong in ("cat", None, object()):
            with pytest.raises(TypeError, match=r"keyless: function must return arrays, and .* gave"):
                nj.keyless(lambda x, wrong=wrong: wrong)(key, X)
        pair = nj.keyless(lambda x: (x, 2 * x))(key, X)
        assert bool((pair[1] == 2 * X).all())

    def test_a_function_without_key_never_reads_bytes_in_the_wrong_order(self, key):
        with pytest.raises(TypeError, match="keyless: x must have this machine's byte order"):
            nj.keyless(jnp.tanh)(key, np.asarray(X).astype(">f4"))

    def test_columns_that_are_no_columns(self, key):
        for columns in ((0, 6), (-7,), (-100, 0)):
            with pytest.raises(IndexError, match=r"on_columns: columns must lie on axis -1 of x, of shape \(16, 6\)"):
                nj.on_columns(gaussian, columns)(key, X)
        for noise in (lambda key, x: "cat", lambda key, x: (x, x), lambda key, x: x[:3]):
            with pytest.raises(ValueError, match=r"a noise must keep the shape of x, \(16, 6\), under a mask"):
                nj.on_columns(noise, (0, 2))(key, X)
