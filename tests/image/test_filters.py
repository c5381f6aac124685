"""Filters with amounts in physical units: equal to the corruptions at their published numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

KEY = jax.random.key(0)
X = np.random.default_rng(0).random((2, 33, 30, 3), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "corruption", "level"),
    [
        (functools.partial(nj.image.blur, sigma=2.0), nj.image.gaussian_blur, 2.0),
        (functools.partial(nj.image.defocus, radius=4.0, alias=0.5), nj.image.defocus_blur, 2.0),
        (functools.partial(nj.image.jpeg, quality=18.0), nj.image.jpeg_compression, 2.0),
        (functools.partial(nj.image.pixelate_to, size=(16, 15)), nj.image.pixelate, 2.0),
    ],
)
def test_an_operation_with_a_published_amount_is_the_corruption(operation, corruption, level):
    np.testing.assert_allclose(operation(X), corruption(KEY, X, level), atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "name", "amounts"),
    [
        (nj.image.blur, "sigma", (0.0, 1.7)),
        (nj.image.defocus, "radius", (0.0, 2.3)),
        (nj.image.jpeg, "quality", (90.0, 10.0)),
    ],
)
def test_amounts_per_picture_are_those_of_single_pictures(operation, name, amounts):
    each = operation(X, **{name: jnp.asarray(amounts).reshape(2, 1, 1, 1)})
    for n, amount in enumerate(amounts):
        np.testing.assert_allclose(each[n], operation(X[n], **{name: amount}), atol=2e-6)
    if amounts[0] == 0:
        np.testing.assert_array_equal(each[0], X[0])


@pytest.mark.slow
def test_pictures_of_8_bits_are_rounded_once():
    grey = np.uint8(np.round(255 * X))
    for operation in (functools.partial(nj.image.blur, sigma=1.0), functools.partial(nj.image.jpeg, quality=30.0)):
        found = operation(grey)
        assert found.dtype == jnp.uint8
        wide = 255 * np.asarray(operation(np.float32(grey) / np.float32(255)))
        assert np.abs(wide - np.float32(found)).max() < 0.51


@pytest.mark.slow
def test_gradients_pass_through_the_rounding_of_jpeg_only_on_request():
    def loss(x, quality, differentiable):
        return (nj.image.jpeg(x, quality, differentiable=differentiable) ** 2).sum()

    through = jax.grad(loss, (0, 1))(jnp.asarray(X), 50.0, True)
    assert all(bool((jnp.abs(g) > 0).any()) for g in through)
    assert all(bool((g == 0).all()) for g in jax.grad(loss, (0, 1))(jnp.asarray(X), 50.0, False))
    np.testing.assert_array_equal(nj.image.jpeg(X, 50.0, differentiable=True), nj.image.jpeg(X, 50.0))


@pytest.mark.slow
def test_the_gradient_of_blur_in_its_amount_is_that_of_a_difference():
    def loss(sigma):
        return (nj.image.blur(jnp.asarray(X), sigma) ** 2).sum()

    slope = (loss(1.01) - loss(0.99)) / 0.02
    np.testing.assert_allclose(jax.grad(loss)(1.0), slope, rtol=0.02)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nj.image.blur(X, -1.0), "sigma must be at least 0"),
        (lambda: nj.image.blur(X[0, 0], 1.0), "axis of channels"),
        (lambda: nj.image.blur(X, np.ones(2, np.float32)), "one number, or one per picture"),
        (lambda: nj.image.blur(X, sigma="a"), "sigma"),
        (lambda: nj.image.defocus(X, 2.0, largest=0), "largest"),
        (lambda: nj.image.defocus(X, 10.5), "radius must be at most largest=10, got 10.5"),
        (lambda: nj.image.defocus(X, np.float32([[[[1]]], [[[3]]]]), largest=2), "radius must be at most largest=2"),
        (lambda: nj.image.defocus(X[:, :1], 2.0), "at least 2"),
        (lambda: nj.image.jpeg(255 * X, 50.0), r"must lie in \[0, 1\]"),
        (lambda: nj.image.jpeg(X, 0.0), r"quality must be in \[1, 100\]"),
        (lambda: nj.image.jpeg(X[..., :2], 50.0), "C = 1 or 3"),
        (lambda: nj.image.pixelate_to(X, size=40), "at most the height"),
        (lambda: nj.image.pixelate_to(X, size=(4, 4, 4)), "height, width"),
        (lambda: nj.image.raw_sensor(KEY, X, 0.0), "photons must be above 0"),
    ],
)
def test_wrong_calls_are_refused(call, match):
    with pytest.raises((TypeError, ValueError), match=match):
        call()


@pytest.mark.parametrize("photons", [4.0, 40.0, 4000.0])
def test_raw_noise_has_the_mean_and_the_variance_of_its_formula(photons):
    """Within five standard errors, for the key fixed here."""
    greys = np.float32([0.0, 0.13, 0.5, 1.0])
    x = np.broadcast_to(greys[:, None, None, None], (4, 200, 200, 1))
    found = np.asarray(nj.image.raw_sensor(KEY, x, photons, 1.5, 0.7), np.float64).reshape(4, -1)
    steps = found * photons * 0.7
    assert np.abs(steps - np.round(steps)).max() < 0.01
    variance = greys / photons + (1.5 / photons) ** 2 + (1 / (0.7 * photons)) ** 2 / 12
    n = found.shape[1]
    assert (np.abs(found.mean(1) - greys) < 5 * np.sqrt(variance / n)).all()
    assert (np.abs(found.var(1) / variance - 1) < 5 * np.sqrt(3 / n)).all()
