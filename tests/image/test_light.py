"""Operations on light and colour, against their definitions, and against Pillow and torchvision where installed."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

RNG = np.random.default_rng(0)
SMOOTH = np.clip(
    0.5 + 0.3 * np.sin(np.arange(40)[:, None, None] / 7 + np.arange(3)) + 0.1 * RNG.random((40, 36, 3)), 0, 1
)
GREY = np.uint8(np.round(255 * (SMOOTH**2)))
X = np.float32(GREY) / np.float32(255)

# The operation, an amount, and the call of Pillow, by how many grey levels it may differ, and the call of torchvision.
PEERS = {
    "adjust_brightness": (1.4, lambda i, m, a: m.ImageEnhance.Brightness(i).enhance(a), 1, "adjust_brightness"),
    "adjust_contrast": (0.4, lambda i, m, a: m.ImageEnhance.Contrast(i).enhance(a), 1, "adjust_contrast"),
    "color": (1.7, lambda i, m, a: m.ImageEnhance.Color(i).enhance(a), 2, "adjust_saturation"),
    "sharpness": (2.5, lambda i, m, a: m.ImageEnhance.Sharpness(i).enhance(a), 2, "adjust_sharpness"),
    "invert": (None, lambda i, m, a: m.ImageOps.invert(i), 0, "invert"),
    "solarize": (100 / 255, lambda i, m, a: m.ImageOps.solarize(i, round(a * 255)), 0, "solarize"),
    "posterize": (3.0, lambda i, m, a: m.ImageOps.posterize(i, int(a)), 0, "posterize"),
    "autocontrast": (None, lambda i, m, a: m.ImageOps.autocontrast(i), 1, "autocontrast"),
    "equalize": (None, lambda i, m, a: m.ImageOps.equalize(i), 0, "equalize"),
    "gamma": (1.7, None, 0, "adjust_gamma"),
    "hue": (0.2, None, 0, "adjust_hue"),
}


def ours(name, x, amount):
    return np.asarray(getattr(nj.image, name)(x, *([] if amount is None else [amount])))


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer[1]])
def test_is_the_operation_of_pillow(name):
    pytest.importorskip("PIL")
    from PIL import Image, ImageEnhance, ImageOps

    class modules:
        pass

    modules.ImageEnhance, modules.ImageOps = ImageEnhance, ImageOps
    amount, call, tolerance, _ = PEERS[name]
    theirs = np.asarray(call(Image.fromarray(GREY), modules, amount), int)
    assert np.abs(ours(name, GREY, amount).astype(int) - theirs).max() <= tolerance


@pytest.mark.parametrize("name", PEERS)
def test_is_the_operation_of_torchvision(name):
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    import torch

    amount, _, _, address = PEERS[name]
    function = getattr(functional, address)
    if name in ("posterize", "equalize"):  # of whole grey levels
        given, x = torch.from_numpy(GREY.transpose(2, 0, 1).copy()), GREY
    else:
        given, x = torch.from_numpy(X.transpose(2, 0, 1).copy()), X
    theirs = function(given, *([] if amount is None else [int(amount) if name == "posterize" else amount])).numpy()
    # torchvision has 0.2989 for the share of red in grey.
    tolerance = 1e-3 if name in ("adjust_contrast", "color") else 2e-6
    np.testing.assert_allclose(ours(name, x, amount), theirs.transpose(1, 2, 0), atol=tolerance)


def test_equalize_is_the_definition():
    """Of Pillow's documentation: a table from the sums of the histogram, in steps of whole numbers."""
    expected = np.empty_like(GREY)
    for c in range(3):
        counts = np.bincount(GREY[..., c].reshape(-1), minlength=256)
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        table = (step // 2 + np.cumsum(counts) - counts) // step
        expected[..., c] = np.minimum(table, 255)[GREY[..., c]]
    np.testing.assert_array_equal(nj.image.equalize(GREY), expected)
    flat = np.full((4, 4, 1), 7, np.uint8)
    np.testing.assert_array_equal(nj.image.equalize(flat), flat)


def test_hue_is_that_of_hsv():
    found = ours("hue", X, 0.3)
    for i, j in ((0, 0), (20, 10), (35, 35)):
        h, s, v = colorsys.rgb_to_hsv(*map(float, X[i, j]))
        np.testing.assert_allclose(found[i, j], colorsys.hsv_to_rgb((h + 0.3) % 1, s, v), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "neutral"),
    [
        ("adjust_brightness", 1.0),
        ("adjust_contrast", 1.0),
        ("color", 1.0),
        ("sharpness", 1.0),
        ("gamma", 1.0),
        ("hue", 0.0),
        ("solarize", 2.0),
        ("posterize", 8.0),
    ],
)
def test_neutral_amounts_are_the_identity(name, neutral):
    np.testing.assert_array_equal(ours(name, X, neutral), X)
    np.testing.assert_array_equal(ours(name, GREY, neutral), GREY)


@pytest.mark.parametrize(
    ("name", "neutral"), [("adjust_contrast", 1.0), ("color", 1.0), ("sharpness", 1.0), ("gamma", 1.0), ("hue", 0.0)]
)
def test_neutral_amounts_have_the_gradients_of_those_close_to_them(name, neutral):
    x = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.8, (6, 7, 3)), jnp.float32)  # no ties of channels

    @jax.jit
    def slopes(amount):
        return jax.grad(lambda x, amount: (getattr(nj.image, name)(x, amount) ** 2).sum(), (0, 1))(x, amount)

    (of_x, at), (of_x_near, near) = slopes(jnp.float32(neutral)), slopes(jnp.float32(neutral + 1e-4))
    assert abs(near) > 1
    np.testing.assert_allclose(at, near, rtol=5e-3)
    np.testing.assert_allclose(of_x, of_x_near, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["color", "equalize", "sharpness"])
def test_pictures_of_a_batch_are_independent(name):
    batch = np.stack([X, X[::-1] ** 2])
    if name == "equalize":
        np.testing.assert_array_equal(ours(name, batch, None)[1], ours(name, batch[1], None))
    else:
        found = ours(name, batch, jnp.asarray([0.5, 1.5]).reshape(2, 1, 1, 1))
        np.testing.assert_allclose(found[1], ours(name, batch[1], 1.5), atol=1e-6)


def test_gradients_are_those_of_the_formula():
    factor = jax.grad(lambda factor: nj.image.adjust_brightness(jnp.asarray(X), factor).sum())(0.5)
    np.testing.assert_allclose(factor, X.sum(), rtol=1e-5)
    slope = jax.grad(lambda e: nj.image.gamma(jnp.asarray(X), e).sum())(2.0)
    lit = X[X > 0].astype(float)
    np.testing.assert_allclose(slope, (lit**2 * np.log(lit)).sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nj.image.color(X[..., :1], 1.0), "C = 3"),
        (lambda: nj.image.invert(np.float32(GREY)), r"must lie in \[0, 1\]"),
        (lambda: nj.image.posterize(X, 9.0), r"bits must be in \[0, 8\]"),
        (lambda: nj.image.sharpness(X, -1.0), "factor must be at least 0"),
        (lambda: nj.image.hue(X, np.inf), "finite"),
        (lambda: nj.image.equalize(X, 1.0), "got 1 amounts"),
    ],
)
def test_wrong_calls_are_refused(call, match):
    with pytest.raises((TypeError, ValueError), match=match):
        call()
