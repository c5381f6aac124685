"""Which entries of a batch are images, labels, or maps, when `mixup`, `cutmix` and `blend` mix them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

KEY = jax.random.key(0)
X = np.zeros((4, 8, 8, 3), np.float32)
Y = np.array([[3], [9], [0], [6]], np.uint8)


class TestLabels:
    @pytest.mark.parametrize("noise", [nj.mixup, nj.cutmix])
    @pytest.mark.parametrize("y", [Y, Y[:, 0], Y.astype(np.int32), Y[:, 0].astype(np.uint16), jnp.asarray(Y)])
    def test_class_numbers_of_any_dtype_become_rows(self, noise, y):
        rows = noise(KEY, (X, y), 1.0, num_classes=10)[1]
        assert (rows == noise(KEY, (X, Y[:, 0].astype(np.int32)), 1.0, num_classes=10)[1]).all()
        assert rows.dtype == jnp.float32
        assert rows.shape == (4, 10)
        assert np.allclose(rows.sum(-1), 1)
        with pytest.raises(ValueError, match=r"integer labels, which are mixed as soft labels. Give num_classes"):
            noise(KEY, (X, y), 1.0)

    def test_class_numbers_in_blend_and_manifold_mixup(self):
        rows = nj.blend(Y, 0.75, 1, num_classes=10)
        assert np.allclose(rows[1], 0.75 * np.eye(10)[9] + 0.25 * np.eye(10)[3])
        mixup = pytest.importorskip("noisejax.nnx").ManifoldMixup(2.0, places=1)
        with pytest.raises(ValueError, match="Give num_classes"):
            mixup(X, rngs=KEY).labels(Y)
        assert mixup(X, rngs=KEY).labels(Y, num_classes=10).shape == (4, 10)

    def test_one_hot_rows_of_integers(self):
        for dtype in (np.uint8, np.uint16, bool, np.int32):
            rows = np.eye(4, dtype=dtype)
            for given in (rows, jnp.asarray(rows)):
                with pytest.raises(TypeError, match=r"cannot be blended.*astype\(jnp.float32\)"):
                    nj.blend(given, 0.5, 1)
            mixed = nj.blend(rows, 0.5, 1, num_classes=4)
            assert (mixed == nj.blend(rows.astype(np.float32), 0.5, 1)).all()
        with pytest.raises(ValueError, match="no rows of 4 classes"):
            nj.blend(np.arange(16).reshape(4, 4), 0.5, 1, num_classes=4)

    @pytest.mark.parametrize("y", [Y[:, 0].astype(np.float32), np.zeros((4, 8, 8), np.uint8), np.zeros((4, 3))])
    def test_num_classes_is_never_ignored(self, y):
        with pytest.raises(ValueError, match=r"num_classes=10 is given, but no entry holds integer labels"):
            nj.mixup(KEY, (X, y), 1.0, num_classes=10)

    def test_num_classes_with_rows_kept_labels_and_maps(self):
        for call in (
            lambda: nj.mixup(KEY, (X, np.eye(4, dtype=np.float32)), 1.0, num_classes=4),
            lambda: nj.mixup(KEY, (X, Y), 1.0, num_classes=10, keep=1),
            lambda: nj.cutmix(KEY, (X, np.zeros((4, 8, 8), np.int32)), 1.0, num_classes=10),
        ):
            assert call()[0].shape == X.shape
        with pytest.raises(ValueError, match="at least 2, got 1"):
            nj.mixup(KEY, (X, Y), 1.0, num_classes=1)


class TestMaps:
    """Each example's images and maps hold its own number, so that a box shows where it is."""

    @staticmethod
    def numbered(*shape, dtype=np.float32):
        return np.broadcast_to(np.arange(4, dtype=dtype).reshape((4,) + (1,) * len(shape)), (4, *shape)).copy()

    @pytest.mark.parametrize("names", [("heatmap", "image"), ("image", "heatmap"), ("z", "a")])
    @pytest.mark.parametrize("map_shape", [(16, 16, 17), (16, 16)])
    def test_a_coarser_map_is_cut_at_its_own_resolution(self, names, map_shape):
        heat, image = names
        batch = {heat: self.numbered(*map_shape), image: self.numbered(64, 64, 3)}
        out = nj.cutmix(KEY, batch, 1.0)
        alone = nj.cutmix(KEY, {"image": batch[image]}, 1.0)["image"]
        assert (out[image] == alone).all()
        assert (alone != batch[image]).any()
        assert (out[heat].reshape(4, 16, 16, -1)[..., 0] == alone[:, 2::4, 2::4, 0]).all()

    def test_integer_maps_and_other_axes(self):
        batch = (self.numbered(3, 8, 12), self.numbered(1, 4, 6, dtype=np.int32))
        x, y = nj.cutmix(KEY, batch, 1.0, axes=(2, 3))
        assert (np.asarray(y[:, 0]) == np.asarray(x[:, 0, 1::2, 1::2])).all()

    @pytest.mark.parametrize("shape", [(48, 64, 3), (12, 16, 3), (24, 24, 3), (64, 32, 3)])
    def test_extents_that_do_not_fit_are_refused(self, shape):
        batch = {"a": self.numbered(*shape), "image": self.numbered(64, 64, 3)}
        with pytest.raises(ValueError, match=r"cutmix: entry \['(a|image)'\] of shape.*keep="):
            nj.cutmix(KEY, batch, 1.0)
        assert nj.cutmix(KEY, batch, 1.0, keep="a")["image"].shape == (4, 64, 64, 3)

    def test_entries_without_an_image_plane_are_blended(self):
        batch = {"image": self.numbered(8, 8, 3), "tokens": self.numbered(5, 7), "scale": self.numbered(1, 1, 3)}
        out = nj.cutmix(KEY, batch, 1.0)
        share = out["image"].mean((1, 2, 3))
        assert np.allclose(out["tokens"], share[:, None, None], atol=1e-5)
        assert np.allclose(out["scale"], share[:, None, None, None], atol=1e-5)
