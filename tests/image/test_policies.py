"""AugMix, RandAugment and TrivialAugment: their operations one at a time, how often each is drawn, and their ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax.image._policies import augment, augmix
from noisejax.image._policies.operations import applied

KEY = jax.random.key(0)
ROWS, COLUMNS = np.mgrid[:24, :20]
X = np.float32(
    0.5 + 0.4 * np.sin(ROWS / 5)[..., None] * np.cos(COLUMNS / 4 + np.arange(3)[:, None, None]).transpose(1, 2, 0)
)


@jax.jit
def operation(which, amount):
    return applied(jnp.asarray(X), augment.OPERATIONS, which, jnp.float32(amount), 1)


def read(name, amount):
    return np.asarray(operation(augment.OPERATIONS.index(name), amount))


@pytest.mark.parametrize(
    ("name", "amount", "same"),
    [
        ("brightness", 1.5, lambda: nj.image.adjust_brightness(X, 1.5)),
        ("color", 0.3, lambda: nj.image.color(X, 0.3)),
        ("contrast", 0.3, lambda: nj.image.adjust_contrast(X, 0.3)),
        ("sharpness", 1.9, lambda: nj.image.sharpness(X, 1.9)),
        ("posterize", 2.0, lambda: nj.image.posterize(X, 2.0)),
        ("solarize", 0.6, lambda: nj.image.solarize(X, 0.6)),
        ("autocontrast", 0.0, lambda: nj.image.autocontrast(X)),
        ("equalize", 0.0, lambda: nj.image.equalize(X)),
    ],
)
def test_operations_are_the_public_ones(name, amount, same):
    np.testing.assert_allclose(read(name, amount), same(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "amount", "matrix"),
    [
        ("translate_x", 3.0, [[1, 0, -3], [0, 1, 0]]),
        ("translate_y", -2.7, [[1, 0, 0], [0, 1, 2]]),  # whole pixels
        ("shear_x", 0.3, [[1, -0.3, -0.15], [0, 1, 0]]),  # about the corner of the first pixel, (-1/2, -1/2)
        ("shear_y", 0.3, [[1, 0, 0], [-0.3, 1, -0.15]]),
    ],
)
def test_movements_are_those_of_a_matrix(name, amount, matrix):
    expected = nj.image.affine(X, np.float32(matrix), fill="constant")
    np.testing.assert_allclose(read(name, amount), expected, atol=1e-5)


def test_rotation_is_that_of_pillow():
    image = pytest.importorskip("PIL.Image")
    grey = np.uint8(np.round(255 * X[..., 0]))
    theirs = np.asarray(image.fromarray(grey).rotate(-20, image.Resampling.BILINEAR), np.float32) / 255
    ours = read("rotate", -20.0)[..., 0]
    inside = (slice(6, -6), slice(6, -6))
    turned = np.asarray(image.fromarray(grey).rotate(20, image.Resampling.BILINEAR), np.float32) / 255
    error = min(np.abs(ours[inside] - t[inside]).max() for t in (theirs, turned))  # either direction is drawn as often
    assert error < 0.02


def test_beyond_the_names_is_the_identity():
    np.testing.assert_array_equal(operation(len(augment.OPERATIONS), 0.0), X)


def test_every_operation_is_drawn_as_often():
    """4000 draws of one in fourteen: 286 each, within five standard errors of 16."""
    x = jnp.broadcast_to(jnp.asarray([0.1, 0.6, 0.8], jnp.float32), (4000, 1, 1, 3))
    y = np.asarray(jax.jit(lambda x: nj.image.rand_augment(KEY, x, 30.0, n=1))(x))
    # Of one pixel these leave it: the identity, autocontrast, equalization, sharpness, contrast, and rotation.
    stays = (np.abs(y - x) < 1e-6).all((1, 2, 3))
    inverted = (np.abs(y - (1 - x)) < 1e-6).all((1, 2, 3))
    black = (y == 0).all((1, 2, 3))
    assert abs(inverted.sum() - 4000 / 14) < 5 * 16
    assert 4000 * 3 / 14 < stays.sum() < 4000 * 8 / 14
    assert black.sum() < 4000 * 5 / 14


@pytest.mark.slow
@pytest.mark.parametrize("noise", [nj.image.augmix, nj.image.rand_augment, nj.image.trivial_augment])
def test_pictures_are_drawn_by_themselves_and_stay_in_the_unit(noise):
    batch = jnp.asarray(np.stack([X] * 6))
    at = jax.jit(lambda rate: noise(KEY, batch, rate=rate))
    y = np.asarray(at(jnp.ones((6, 1, 1, 1))))
    assert y.min() >= 0 and y.max() <= 1
    assert len({image.tobytes() for image in y}) > 1
    some = np.asarray(at(jnp.asarray([0, 1, 0, 1, 0, 1.0]).reshape(6, 1, 1, 1)))
    np.testing.assert_array_equal(some[::2], batch[::2])
    np.testing.assert_allclose(some[1::2], y[1::2], atol=1e-6)


def test_augmix_at_its_smallest_level_changes_little():
    """There its operations are close to the identity, but for posterization to 4 bits, which makes 112/255 of 1/2."""
    x = jnp.full((64, 16, 16, 1), 0.5)
    y = np.asarray(nj.image.augmix(KEY, x, 0.1, width=2, depth=1))[:, 8, 8]
    assert (y != 0.5).any() and np.abs(y - 0.5).max() <= 0.5 - 112 / 255 + 0.01


def test_amounts_of_augmix_are_the_published_ones():
    amounts = {
        name: float(augmix._amount(jnp.int32(n), jnp.float32(3.0), jnp.float32(1.0), (224, 224, 3)))
        for n, name in enumerate(augmix.OPERATIONS)
    }
    assert amounts["rotate"] == 9 and amounts["translate_x"] == 22 and amounts["posterize"] == 3
    np.testing.assert_allclose([amounts["shear_x"], amounts["solarize"]], [0.09, 180 / 255], rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nj.image.augmix(KEY, X, 20.0), r"severity must be in \[0.1, 10\]"),
        (lambda: nj.image.augmix(KEY, X, width=0), "width must be an integer, at least 1"),
        (lambda: nj.image.rand_augment(KEY, X, 31.0), "last of 31 bins"),
        (lambda: nj.image.rand_augment(KEY, X, n=-1), "n must be an integer"),
        (lambda: nj.image.trivial_augment(KEY, X, order=2), "order must be one of 0, 1, 3"),
        (lambda: nj.image.trivial_augment(KEY, 255 * X), r"must lie in \[0, 1\]"),
        (lambda: nj.image.warp(X, np.zeros((3, 3, 2), np.float32)), "field must be displacements"),
        (lambda: nj.image.affine(X, np.eye(4, dtype=np.float32)), "matrix must be a matrix"),
        (lambda: nj.image.affine(X, np.eye(3, dtype=np.float32), fill="edge"), "fill must be one of"),
    ],
)
def test_wrong_calls_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.slow
def test_a_matrix_moves_the_picture_as_the_noise_that_has_it():
    batch = jnp.asarray(np.stack([X, X[::-1]]))
    noise = nj.bind(nj.image.rotate, degrees=30.0, fill="mirror")
    matrix = nj.image.moved(noise)(KEY, batch).matrix
    np.testing.assert_allclose(nj.image.affine(batch, matrix), noise(KEY, batch), atol=1e-4)
    np.testing.assert_array_equal(nj.image.affine(X, np.eye(3, dtype=np.float32)), X)
    np.testing.assert_array_equal(nj.image.warp(X, np.zeros((24, 20, 2), np.float32), order=3), X)


def test_a_warp_reads_where_scipy_does():
    from scipy import ndimage

    field = np.random.default_rng(0).normal(scale=2, size=(24, 20, 2)).astype(np.float32)
    expected = [
        ndimage.map_coordinates(X[..., c], (ROWS + field[..., 1], COLUMNS + field[..., 0]), order=1, mode="mirror")
        for c in range(3)
    ]
    np.testing.assert_allclose(nj.image.warp(X, field), np.stack(expected, -1), atol=1e-4)
