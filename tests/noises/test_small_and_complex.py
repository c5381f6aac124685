"""Regions of tiny images, holes beyond the limit, and complex spectrograms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

KEY = jax.random.key(0)


class TestHoles:
    @pytest.mark.parametrize("holes", [20, 8.5, np.array([1.0, 9.0]).reshape(2, 1, 1, 1)])
    def test_more_than_max_holes_is_refused(self, holes):
        x = np.ones((2, 32, 32, 1), np.float32)
        with pytest.raises(ValueError, match=r"coarse_dropout: holes must be at most max_holes.*Pass max_holes=\d+"):
            nj.image.coarse_dropout(KEY, x, holes)
        with pytest.raises(ValueError, match="at most max_holes"):
            nj.bind(nj.image.coarse_dropout, holes=holes)(KEY, x)
        assert nj.image.coarse_dropout(KEY, x, holes, max_holes=int(np.ceil(np.max(holes)))).shape == x.shape

    @pytest.mark.slow
    def test_traced_holes_are_limited(self):
        x = np.ones((2, 32, 32, 1), np.float32)
        y = jax.jit(lambda holes: nj.image.coarse_dropout(KEY, x, holes))(20.0)
        assert (y == nj.image.coarse_dropout(KEY, x, 8)).all()

    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_rectangles_do_not_vanish_on_tiny_images(self, size):
        x = np.ones((64, size, size, 1), np.float32)
        for y in (nj.image.coarse_dropout(KEY, x, 1.0), nj.image.random_erasing(KEY, x, 1.0)):
            assert ((np.asarray(y) == 0).sum((1, 2, 3)) >= 1).all()

    def test_no_extent_is_no_rectangle(self):
        x = np.ones((2, 4, 4, 1), np.float32)
        assert (nj.image.coarse_dropout(KEY, x, 1.0, height=(0, 0)) == x).all()
        assert (nj.image.random_erasing(KEY, x, 1.0, area=(0, 0)) == x).all()


class TestComplex:
    X = (np.arange(1, 49) * (1 + 2j)).reshape(2, 6, 4).astype(np.complex64)

    @pytest.mark.parametrize(
        "noise",
        [
            lambda x, **a: nj.mask(KEY, x, 0.5, **a),
            lambda x, **a: nj.signal.time_mask(KEY, x, 3, **a),
            lambda x, **a: nj.signal.freq_mask(KEY, x, 3, **a),
            lambda x, **a: nj.image.pixel_dropout(KEY, x, 0.5, **a),
            lambda x, **a: nj.image.channel_dropout(KEY, x, 0.5, **a),
            lambda x, **a: nj.image.cutout(KEY, x, 3, axes=(1, 2), **a),
        ],
    )
    def test_masks_choose_complex_values(self, noise):
        hit = np.asarray(noise(np.ones(self.X.shape, np.float32))) == 0
        assert hit.any()
        for x in (self.X, jnp.asarray(self.X)):
            y = noise(x)
            assert y.dtype == np.complex64
            assert (np.asarray(y) == np.where(hit, 0, self.X)).all()
        assert (np.asarray(noise(self.X, fill=3 - 1j)) == np.where(hit, 3 - 1j, self.X)).all()

    def test_swap_and_padding(self):
        assert set(np.asarray(nj.swap(KEY, self.X, 1.0)).ravel()) <= set(self.X.ravel())
        y = nj.signal.time_mask(KEY, nj.Padded(self.X, [6, 2]), 6)
        assert (np.asarray(y.values)[1, 2:] == self.X[1, 2:]).all()

    @pytest.mark.slow
    def test_gradients_pass_complex_masks(self):
        def power(x):
            return jnp.sum(jnp.abs(nj.mask(KEY, x, 0.5)) ** 2)

        kept = np.asarray(nj.mask(KEY, self.X, 0.5)) != 0
        assert np.allclose(jax.grad(power)(jnp.asarray(self.X)), np.where(kept, 2 * self.X.conj(), 0), rtol=1e-5)

    def test_arithmetic_on_complex_values_is_refused(self):
        with pytest.raises(TypeError, match="complex64"):
            nj.gaussian(KEY, self.X, 1.0)
        with pytest.raises(TypeError, match="complex64"):
            nj.labels.flip(KEY, self.X, 0.5, num_classes=2)
        with pytest.raises(TypeError, match="rate must be a number"):
            nj.mask(KEY, self.X, 0.5 + 1j)
        with pytest.raises(ValueError, match="fill must be a value that x of float32 can hold"):
            nj.mask(KEY, self.X.real, 0.5, 1j)
