"""Amounts, fills and masks whose values or shapes cannot be meant: refused before anything is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

KEY = jax.random.key(0)
BYTES = np.zeros((2, 3), np.uint8)
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)
FLOATS = np.ones((2, 3), np.float32)
CUBE = np.ones((4, 4, 4), np.float32)


class TestValuesThatADtypeHolds:
    @pytest.mark.parametrize(
        "call",
        [
            lambda: nj.mask(KEY, BYTES, 1.0, 300),
            lambda: nj.mask(KEY, BYTES, 1.0, 300.0),
            lambda: nj.mask(KEY, BYTES, 1.0, -1),
            lambda: nj.mask(KEY, BYTES, 1.0, -1.0),
            lambda: nj.mask(KEY, BYTES, 1.0, np.nan),
            lambda: nj.mask(KEY, BYTES, 1.0, np.inf),
            lambda: nj.mask(KEY, BYTES, 1.0, 2**70),
            lambda: nj.mask(KEY, BYTES, 1.0, [0, 1, 256]),
            lambda: nj.mask(KEY, BYTES.astype(np.int32), 1.0, np.nan),
            lambda: nj.mask(KEY, BYTES.astype(np.int32), 1.0, 2**31),
            lambda: nj.mask(KEY, BYTES.astype(np.int32), 1.0, 2.0**31),
            lambda: nj.mask(KEY, BYTES.astype(bool), 1.0, 2),
            lambda: nj.mask(KEY, FLOATS.astype(np.float16), 1.0, -1e9),
            lambda: nj.salt_and_pepper(KEY, BYTES, 1.0, high=256),
            lambda: nj.impulse(KEY, BYTES, 1.0, low=-3),
            lambda: nj.clip(0, 300)(KEY, BYTES),
            lambda: nj.image.random_erasing(KEY, IMAGES, 1.0, 300),
            lambda: nj.image.cutout(KEY, IMAGES, 4, -1),
            lambda: nj.image.coarse_dropout(KEY, IMAGES, 4, 256),
            lambda: nj.image.grid_mask(KEY, IMAGES, 0.5, 256),
            lambda: nj.image.pixel_dropout(KEY, IMAGES, 0.5, [0, 0, 300]),
            lambda: nj.image.channel_dropout(KEY, IMAGES, 0.5, 256),
            lambda: nj.signal.time_mask(KEY, IMAGES[..., 0].astype(np.int8), 4, 128),
            lambda: nj.signal.freq_mask(KEY, IMAGES[..., 0].astype(np.int8), 4, -129),
            lambda: nj.bind(nj.mask, rate=1.0, fill=300)(KEY, BYTES),
            lambda: jax.jit(lambda x: nj.mask(KEY, x, 1.0, 300))(BYTES),
            lambda: nj.labels.missing(KEY, BYTES, 1.0, value=np.nan),
        ],
    )
    def test_others_are_refused(self, call):
        with pytest.raises(ValueError, match=r"must be (a value that x of \w+|one that \w+ labels) can hold"):
            call()

    @pytest.mark.parametrize(
        ("x", "fill", "right"),
        [
            (BYTES, 255, 255),
            (BYTES, 127.6, 128),
            (BYTES, True, 1),
            (BYTES.astype(np.int32), -(2**31), -(2**31)),
            (BYTES.astype(bool), 1, True),
            (FLOATS.astype(np.float16), -np.inf, -np.inf),
            (FLOATS.astype(np.float16), 65504, 65504),
        ],
    )
    def test_the_ends_of_the_range_are_allowed(self, x, fill, right):
        assert np.all(np.asarray(nj.mask(KEY, x, 1.0, fill)) == right)

    @pytest.mark.parametrize(("fill", "right"), [(300, 255), (-1, 0), (300.0, 255)])
    def test_traced_values_are_clamped(self, fill, right):
        assert np.all(np.asarray(jax.jit(lambda fill: nj.mask(KEY, BYTES, 1.0, fill))(fill)) == right)


class TestFloat32:
    """Amounts are used in float32, and checked in it."""

    @pytest.mark.parametrize(
        "call",
        [
            lambda: nj.gaussian(KEY, FLOATS, 1e300),
            lambda: nj.gaussian(KEY, FLOATS, np.array([1, 2, 1e39])),
            lambda: nj.bind(nj.laplace, scale=1e39),
            lambda: nj.image.random_erasing(KEY, CUBE[..., None], 1.0, 1e39),
            lambda: nj.student_t(KEY, FLOATS, 1.0, df=1e-40),
            lambda: nj.student_t(KEY, FLOATS, 1.0, df=1e-60),
            lambda: nj.shot(KEY, FLOATS, 1e38),
            lambda: nj.shot(KEY, FLOATS, 1e-40),
            lambda: nj.linear_rates(np.array(2.0), 3),
            lambda: nj.linear_rates(0.5, 3, start=np.float64(-1)),
            lambda: nj.adaptive(0.0, 1e-50, 1.0, mode="max"),
            *(
                lambda weights=weights: nj.choose(nj.clip(0), nj.clip(1), weights=weights)
                for weights in ((1, np.inf), (1, np.nan), (1e300, 1), (3e38, 3e38), (1e-46, 1e-42), (-1, 2))
            ),
        ],
    )
    def test_values_outside_are_refused(self, call):
        with pytest.raises(ValueError, match="must"):
            call()

    def test_infinite_amounts_that_mean_something_remain(self):
        assert (nj.shot(KEY, FLOATS, np.inf) == FLOATS).all()
        assert np.isfinite(nj.student_t(KEY, FLOATS, 1.0, df=np.inf)).all()
        assert np.isinf(nj.mask(KEY, FLOATS, 1.0, -np.inf)).all()

    def test_many_photons_show_no_noise(self):
        for photons in (1e30, jnp.float32(1e38)):
            assert np.allclose(nj.shot(KEY, 5 * FLOATS, photons), 5)


class TestPartners:
    @pytest.mark.parametrize(
        ("partner", "shards", "words"),
        [
            ([0, 1, 2, 4], 1, r"example 3 must be an index in \[0, 4\), got 4"),
            (np.array([0, 1, -1, 3]), 1, "example 2"),
            (np.array([0, 2, 3, 3]), 2, r"example 1 must be an index in \[0, 2\), got 2.*shards=2"),
            (2.0, 1, "got 2.0"),
            (np.zeros(3, int), 1, r"int64\[3\]"),
        ],
    )
    def test_partners_that_do_not_exist_are_refused(self, partner, shards, words):
        with pytest.raises(ValueError, match=words):
            nj.blend(np.eye(4, dtype=np.float32), 0.5, partner, shards=shards)

    def test_lists_and_numpy_integers_are_partners(self):
        x = np.eye(4, dtype=np.float32)
        assert (nj.blend(x, 0.5, [3, 2, 1, 0]) == nj.blend(x, 0.5, np.array([3, 2, 1, 0]))).all()
        assert (nj.blend(x, 0.5, np.int64(1)) == nj.blend(x, 0.5, 1)).all()


class TestAmbiguousShapes:
    @pytest.mark.parametrize(
        "call",
        [
            lambda x: nj.gaussian(KEY, x, 1.0, where=np.ones((4, 4), bool)),
            lambda x: nj.mask(KEY, x[0], 1.0, where=np.ones(4, bool)),
            lambda x: nj.gaussian(KEY, x, np.ones((4, 4))),
            lambda x: nj.on_columns(nj.bind(nj.gaussian, 1.0), (0, 1))(KEY, x, where=np.ones((4, 4), bool)),
            lambda x: nj.keyless(jnp.tanh)(KEY, x, where=np.ones(4, bool)),
            lambda x: jax.jit(lambda x, where: nj.gaussian(KEY, x, 1.0, where=where))(x, np.ones((4, 4), bool)),
            lambda x: nj.mask(KEY, nj.Padded(x, [1, 2, 3, 4]), 1.0, where=np.ones((4, 4), bool)),
        ],
    )
    def test_they_are_refused_with_the_reshape_to_write(self, call):
        with pytest.raises(ValueError, match=r"is ambiguous.*\[\.\.\., None.*\[None, .*\.\.\.\]"):
            call(CUBE)

    @pytest.mark.parametrize("index", [(..., None), (None, ...)])
    def test_the_advice_works(self, index):
        where = np.array([[True, False] * 2, [False] * 4, [True] * 4, [False, True] * 2])
        y = nj.mask(KEY, CUBE, 1.0, where=where[index])
        assert ((np.asarray(y) == 0) == np.broadcast_to(where[index], CUBE.shape)).all()

    def test_shapes_with_one_meaning_are_accepted(self):
        x = np.ones((1, 1, 3), np.float32)
        assert (nj.mask(KEY, x, 1.0, where=np.ones((1, 3), bool)) == 0).all()
        assert (nj.mask(KEY, x, 1.0, where=np.ones(1, bool)) == 0).all()
        assert (nj.mask(KEY, CUBE[:2], 1.0, where=np.ones((4, 4), bool)) == 0).all()
        assert nj.gaussian(KEY, CUBE, np.arange(4.0)).shape == CUBE.shape  # one per feature, the last axis
