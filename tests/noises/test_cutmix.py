"""cutmix against its authors' boxes, and labels against the area that was pasted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax._noises.cutmix import _box
from noises.test_mixing import P_VALUE, images


def authors_box(width, height, lam, cx, cy):
    """`rand_bbox` of the authors' train.py, its random numbers given."""
    cut = np.sqrt(1.0 - lam)
    w, h = int(width * cut), int(height * cut)
    return [
        int(np.clip(v, 0, n))
        for v, n in ((cx - w // 2, width), (cx + w // 2, width), (cy - h // 2, height), (cy + h // 2, height))
    ]


def test_boxes_are_the_authors():
    rng = np.random.default_rng(3)
    lam = rng.random(4000).astype(np.float32)
    lam[:2] = 0, 1
    cx, cy = rng.integers(0, 17, 4000), rng.integers(0, 12, 4000)
    bounds, area = _box(jnp.asarray(lam), [jnp.asarray(cy), jnp.asarray(cx)], (12, 17))
    (y1, y2), (x1, x2) = jax.tree.map(np.asarray, bounds)
    wanted = np.array([authors_box(17, 12, *arguments) for arguments in zip(lam, cx, cy, strict=True)]).T
    agree = (np.stack([x1, x2, y1, y2]) == wanted).all(0)
    assert agree.mean() > 0.999  # a side that float32 and float64 round apart
    np.testing.assert_array_equal(area, (x2 - x1) * (y2 - y1))


@pytest.mark.parametrize("mode", ["example", "batch"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_labels_are_blended_by_the_area_that_was_pasted(mode, dtype):
    n, key = 64, jax.random.key(3)  # a key whose box in batch mode is not empty, as one in ten is
    x = jnp.broadcast_to(jnp.arange(n).reshape(n, 1, 1, 1), (n, 9, 14, 2)).astype(dtype)
    mixed, rows = nj.cutmix(key, (x, jnp.arange(n)), 1.0, num_classes=n, mode=mode)
    assert mixed.dtype == dtype
    shares = np.stack([(np.asarray(mixed) == k).mean((1, 2, 3)) for k in range(n)], axis=1)
    np.testing.assert_allclose(rows, shares, atol=1e-6)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-6)
    pasted = np.asarray(mixed)[..., 0] != np.arange(n).reshape(n, 1, 1)
    for one in pasted:  # a box: the outer product of its shadows
        np.testing.assert_array_equal(one, one.any(1)[:, None] & one.any(0)[None])
    sizes = {int(p.sum()) for p in pasted if p.any()}
    assert len(sizes) > 10 if mode == "example" else len(sizes) == 1


@pytest.mark.slow
def test_areas_are_distributed_as_the_authors(key):
    n, height, width = 20_000, 16, 24
    y = jnp.stack([jnp.ones(n), jnp.zeros(n)], -1).at[::2].set(jnp.array([0.0, 1.0]))
    x = jnp.zeros((n, height, width))
    _, rows = nj.cutmix(key, (x, y), 1.0, pairing="roll")
    ours = np.where(np.arange(n) % 2 == 0, rows[:, 1], rows[:, 0])
    rng = np.random.default_rng(5)
    boxes = [
        authors_box(width, height, lam, cx, cy)
        for lam, cx, cy in zip(rng.beta(1, 1, n), rng.integers(0, width, n), rng.integers(0, height, n), strict=True)
    ]
    ours = np.round((1 - ours.astype(np.float64)) * width * height)  # in pixels, so that equal areas are equal numbers
    theirs = np.array([(x2 - x1) * (y2 - y1) for x1, x2, y1, y2 in boxes], np.float64)
    assert stats.ks_2samp(ours, theirs).pvalue > P_VALUE
    assert abs(ours.mean() - theirs.mean()) < 4.5 * np.sqrt(2) * theirs.std() / np.sqrt(n)


def test_masks_get_the_box_and_other_entries_the_blend(key):
    x = images(12)
    pixels = jnp.asarray(np.random.default_rng(2).integers(0, 1000, (12, 8, 7)), jnp.int32)
    batch = {"image": x, "mask": pixels, "flag": pixels > 500, "target": jnp.arange(12.0), "id": jnp.arange(12)}
    mixed = nj.cutmix(key, batch, 1.0, keep=("id",))
    moved = np.asarray((mixed["image"] != x).any(-1))
    assert moved.any()
    np.testing.assert_array_equal(np.asarray(mixed["mask"] != pixels) & ~moved, False)
    np.testing.assert_array_equal(mixed["flag"], mixed["mask"] > 500)
    assert mixed["mask"].dtype == jnp.int32 and mixed["id"] is batch["id"]
    assert bool((mixed["target"] != batch["target"]).any())


def test_a_box_brings_nothing_else_of_a_partner():
    key = jax.random.key(3)  # a key whose first box is not empty
    x = jnp.ones((2, 8, 8, 1)).at[1].set(jnp.nan)
    mixed = nj.cutmix(key, x, 1.0, pairing="roll")
    share = float(jnp.isnan(mixed[0]).mean())
    assert 0 < share < 1
    gradient = jax.grad(lambda a: nj.cutmix(key, (x[:1], jnp.ones((1, 3))), a)[1].sum())(0.0)
    assert float(gradient) == 0


@pytest.mark.parametrize(
    ("shape", "axes"), [((40, 3, 9, 11), (2, 3)), ((40, 50, 2), (1,)), ((40, 6, 7, 8, 2), (1, 2, 3))]
)
def test_channels_first_time_and_video(shape, axes, key):
    n = shape[0]
    x = jnp.broadcast_to(jnp.arange(float(n)).reshape((n,) + (1,) * (len(shape) - 1)), shape)
    mixed, rows = nj.cutmix(key, (x, jnp.arange(n)), 1.0, num_classes=n, axes=axes)
    shares = np.stack([(np.asarray(mixed) == k).mean(tuple(range(1, len(shape)))) for k in range(n)], axis=1)
    np.testing.assert_allclose(rows, shares, atol=1e-6)
    assert (shares.max(1) < 1).mean() > 0.5
