"""The learnt noise of a camera: planted parameters are found again, and its draws have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import noisejax as nj

KEY = jax.random.key(0)
SIZES = np.array([0.02, 0.04, 0.08], np.float32)
MIXED = np.linalg.cholesky(np.array([[1, 0.6, 0.5], [0.6, 1, 0.7], [0.5, 0.7, 1]]))


def planted(shape=(3, 128, 128, 3)) -> tuple[np.ndarray, np.ndarray]:
    """Clean pictures, and noise of unit variance that is blurred differently along both axes."""
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, 1.2, 0.7, 0), mode="wrap")
    noise = noise / noise.std() @ MIXED.T
    return (0.4 + 0.2 * rng.random(shape)).astype(np.float32), noise.astype(np.float32)


def lagged(r: np.ndarray, down: int, right: int) -> float:
    return float((r[:, down:, right:] * r[:, : r.shape[1] - down, : r.shape[2] - right]).mean() / (r**2).mean())


def test_the_noise_has_the_sizes_spectrum_and_channels_of_the_pairs():
    clean, noise = planted()
    model = nj.image.fit_sensor(clean, clean + SIZES.reshape(3, 1, 1, 1) * noise)
    np.testing.assert_allclose(model.sizes, SIZES, rtol=0.05)
    x = jnp.full((24, 64, 48, 3), 0.5)
    residual = np.asarray(nj.image.sensor(KEY, x, model) - x)
    sizes = residual.std((1, 2, 3))
    nearest = np.abs(sizes[:, None] / SIZES - 1)
    assert nearest.min(1).max() < 0.1, "each picture takes a fitted size"
    assert set(nearest.argmin(1)) == {0, 1, 2}
    unit = residual / sizes[:, None, None, None]
    for down, right in ((0, 1), (1, 0), (2, 0), (0, 3), (5, 5)):
        assert abs(lagged(unit, down, right) - lagged(noise, down, right)) < 0.03
    np.testing.assert_allclose(np.corrcoef(unit.reshape(-1, 3).T), MIXED @ MIXED.T, atol=0.04)
    far = float((unit[:, 0] * unit[:, -1]).mean())
    assert abs(far) < 0.1, "opposite edges are independent"


def test_the_curve_follows_the_brightness():
    rng = np.random.default_rng(1)
    clean = np.broadcast_to(np.linspace(0, 1, 128, dtype=np.float32)[None, :, None, None], (2, 128, 128, 1))
    planted = (0.02 + 0.06 * clean) * rng.normal(size=clean.shape)
    model = nj.image.fit_sensor(clean, (clean + planted).astype(np.float32), brightness=True)
    for grey in (0.1, 0.5, 0.9):
        x = jnp.full((4, 64, 64, 1), grey)
        assert abs(np.asarray(nj.image.sensor(KEY, x, model) - x).std() / (0.02 + 0.06 * grey) - 1) < 0.1


def test_grey_levels_and_floats_and_lists_of_pairs_give_one_model():
    clean, noise = planted((2, 40, 40, 3))
    whole = [np.uint8(np.round(255 * np.clip(v, 0, 1))) for v in (clean, clean + 0.05 * noise)]
    of_levels = nj.image.fit_sensor(*whole)
    of_floats = nj.image.fit_sensor(*(list(np.float32(v / 255)) for v in whole))
    for one, other in zip(jax.tree.leaves(of_levels), jax.tree.leaves(of_floats), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_wrong_pairs_and_pictures_are_refused():
    clean, noise = planted((2, 16, 16, 3))
    with pytest.raises(ValueError, match="pair 0 is equal"):
        nj.image.fit_sensor(clean, clean)
    with pytest.raises(ValueError, match="same number"):
        nj.image.fit_sensor(clean, clean[:1])
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\].*255"):
        nj.image.fit_sensor(255 * clean, 255 * clean + noise)
    with pytest.raises(ValueError, match=r"clean\[None\]"):
        nj.image.fit_sensor(clean[0], clean[0])
    model = nj.image.fit_sensor(clean, clean + 0.1 * noise)
    with pytest.raises(ValueError, match="3 channels"):
        nj.image.sensor(KEY, jnp.zeros((2, 8, 8, 1)), model)
    with pytest.raises(TypeError, match="fit_sensor"):
        nj.image.sensor(KEY, jnp.zeros((2, 8, 8, 3)), 0.1)
    with pytest.raises(ValueError, match="strength must be one number"):
        nj.image.sensor(KEY, jnp.zeros((2, 8, 8, 3)), model, jnp.ones((2, 8, 1, 1)))


@pytest.fixture(scope="module")
def compressed():
    """Smooth pictures, white noise of two sizes whose channels are correlated, and both stored as JPEG."""
    rng = np.random.default_rng(2)
    clean = ndimage.gaussian_filter(rng.random((2, 160, 160, 3)), (0, 8, 8, 0))
    clean = np.float32(0.3 + 0.4 * (clean - clean.min()) / (clean.max() - clean.min()))
    noise = np.float32([0.02, 0.04]).reshape(2, 1, 1, 1) * rng.normal(size=clean.shape) @ MIXED.T
    return clean, np.asarray(nj.image.jpeg(jnp.asarray(clean + noise, jnp.float32), 75.0))


def test_the_noise_before_a_compression_is_found(compressed):
    stored = nj.keyless(nj.image.jpeg, quality=75.0)
    biased = nj.image.fit_sensor(*compressed)
    model = nj.image.fit_sensor(*compressed, after=stored)
    assert np.all(biased.sizes < [0.015, 0.035]), "compression removes noise"
    assert biased.spectrum[16:48, 16:48].mean() < 0.5, "and most of it at high frequencies"
    # What halved chroma has lost at high frequencies cannot be found again.
    np.testing.assert_allclose(model.sizes, [0.02, 0.04], rtol=0.1)
    assert abs(model.spectrum[16:48, 16:48].mean() - 1) < 0.1


def test_the_chain_imitates_the_pairs(compressed):
    clean, noisy = compressed
    stored = nj.keyless(nj.image.jpeg, quality=75.0)
    model = nj.image.fit_sensor(clean, noisy, after=stored)
    imitated = nj.chain(nj.bind(nj.image.sensor, model=model), stored)(KEY, jnp.asarray(clean[[0] * 8]))
    again = nj.image.fit_sensor(clean[[0] * 8], np.asarray(imitated))
    real = nj.image.fit_sensor(clean, noisy)
    nearest = np.abs(np.asarray(again.sizes)[:, None] / np.asarray(real.sizes) - 1)
    assert nearest.min(1).max() < 0.15, "each picture has one of the two sizes"
    assert abs(again.spectrum[16:48, 16:48].mean() - real.spectrum[16:48, 16:48].mean()) < 0.15
    covariances = [np.asarray(m.channels) @ np.asarray(m.channels).T for m in (again, real)]
    np.testing.assert_allclose(*covariances, atol=0.1)


def test_functions_of_the_host_may_follow_the_noise():
    clean, noise = planted((2, 40, 40, 3))
    plain = nj.image.fit_sensor(clean, clean + 0.05 * noise)
    model = nj.image.fit_sensor(clean, clean + 0.05 * noise, after=lambda key, x: np.asarray(x))
    np.testing.assert_allclose(model.sizes, plain.sizes, rtol=0.1)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (75, "after must be a function"),
        (lambda key, x: x[0], r"after must return pictures of the shape that it is given, \(1, 16, 16, 3\)"),
        (lambda key, x: None, "after must return pictures of the shape"),
        (lambda key, x: x * jnp.nan, "after must return finite pictures"),
        (lambda key, x: jnp.full_like(x, 0.5), "pair 0"),
    ],
)
def test_a_wrong_after_is_refused(after, message):
    clean, noise = planted((2, 16, 16, 3))
    if message == "pair 0":
        clean = np.full_like(clean, 0.5)
    with pytest.raises((TypeError, ValueError), match=message):
        nj.image.fit_sensor(clean, np.clip(clean + 0.1 * noise, 0, 1), after=after)
