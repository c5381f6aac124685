"""Severities and bad input of the common corruptions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

KEY = jax.random.key(0)
X = np.random.default_rng(0).random((2, 9, 8, 3), np.float32)


@pytest.mark.parametrize("severity", [-1.0, 5.5])
def test_severities_beyond_the_tables_are_refused(severity):
    with pytest.raises(ValueError, match=r"fog: severity must be in \[0, 5\]"):
        nj.image.fog(KEY, X, severity)


@pytest.mark.parametrize(
    ("noise", "x", "match"),
    [
        (nj.image.contrast, 255 * X, r"must lie in \[0, 1\].*255"),
        (nj.image.fog, X.transpose(0, 3, 1, 2), "moveaxis"),
        (nj.image.saturate, X[..., :1], "C = 3"),
        (nj.image.contrast, np.concatenate([X, X[..., :1]], -1), "alpha"),
        (nj.image.pixelate, X[:, :3], "at least 4"),
        (functools.partial(nj.image.fog, table="mnist"), X, "imagenet.*tiny.*cifar"),
        (functools.partial(nj.image.ripple, table="imagenet"), X, "ripple: table must be one of 'cifar'"),
    ],
)
def test_wrong_pictures_and_tables_are_refused(noise, x, match):
    with pytest.raises(ValueError, match=match):
        noise(KEY, x, 1.0)


def test_a_severity_per_example_needs_its_axes():
    with pytest.raises(ValueError, match="severity must be one number"):
        nj.image.contrast(KEY, X, np.ones((2, 9, 1, 1), np.float32))


def test_textures_smaller_than_the_picture_are_refused():
    with pytest.raises(ValueError, match="textures must have shape"):
        nj.image.frost(KEY, X, 1.0, np.ones((5, 4, 4, 3), np.float32))


@pytest.mark.parametrize("name", ["saturate", "pixelate"])
def test_between_two_levels_their_results_are_mixed(name):
    noise = jax.jit(getattr(nj.image, name))
    low, high, between = (np.asarray(noise(KEY, X, jnp.float32(s))) for s in (2.0, 3.0, 2.25))
    np.testing.assert_allclose(between, 0.75 * low + 0.25 * high, atol=1e-5)


@pytest.mark.slow
def test_photons_have_the_poisson_distribution():
    """At 3 and 60 photons, for grey levels and values between them: mean and variance within five standard errors."""
    greys = np.array([0.0, 0.1, 51 / 255, 0.5, 0.7031, 0.95], np.float32)
    x = np.broadcast_to(greys[:, None, None, None], (6, 256, 256, 1))
    for level, photons in ((5, 3), (1, 60)):
        shot = np.asarray(nj.image.shot_noise(KEY, x, level)).reshape(6, -1) * photons
        for grey, counts in zip(greys, shot, strict=True):
            if grey * photons > photons / 2:  # the clip cuts the others
                continue
            mean, n = grey * photons, counts.size
            clipped = np.minimum(np.random.default_rng(0).poisson(mean, 1_000_000), photons)
            error = 5 * clipped.std() * (1 / n + 1e-6) ** 0.5 + 1e-6
            assert abs(counts.mean() - clipped.mean()) <= error
            assert abs(counts.var() - clipped.var()) <= 5 * clipped.var() * (6 / n + 1e-5) ** 0.5 + 1e-6
