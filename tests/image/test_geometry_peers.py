"""Matrices and pictures against torchvision and kornia, where these are installed."""

import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from noisejax import image

SIZES = [(33, 33), (40, 57)]


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: pip install torchvision kornia")


def placed(key, size, function, amount, **options):
    noise = nj.bind(function, amount, **options)
    return noise, image.moved(noise)(key, jnp.zeros((1, *size, 1)))


EXACT = {
    "rotate": (image.rotate, 25.0, {}, {"angle": -25.0}),
    "shear": (image.shear, 15.0, {}, {"shear": [15.0, 15.0]}),
    "shear along": (image.shear, -20.0, {"along": "height"}, {"shear": [0.0, -20.0]}),
    "scale": (image.scale, 0.3, {}, {"scale": 1.3}),
    "translate": (image.translate, 3.25, {}, {"translate": [3.25, 3.25]}),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", EXACT)
def test_matrices_and_pictures_are_those_of_torchvision(name, size, key, torch):
    pytest.importorskip("torchvision", reason="torchvision is not installed: pip install torchvision")
    from torchvision.transforms import InterpolationMode, functional

    function, amount, options, theirs = EXACT[name]
    noise, ours = placed(key, size, function, amount, kind="exact", fill="constant", **options)
    arguments = {"angle": 0.0, "translate": [0.0, 0.0], "scale": 1.0, "shear": [0.0, 0.0], **theirs}
    source = functional._get_inverse_affine_matrix([0.0, 0.0], **arguments)
    np.testing.assert_allclose(ours.places.matrix[0, :2], np.reshape(source, (2, 3)), atol=1e-5)
    x = np.random.default_rng(0).random((1, *size, 3)).astype(np.float32)
    picture = torch.tensor(x).permute(0, 3, 1, 2)
    expected = functional.affine(picture, **arguments, interpolation=InterpolationMode.BILINEAR)
    np.testing.assert_allclose(noise(key, x), expected.permute(0, 2, 3, 1), atol=2e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["rotate", "shear", "shear along", "scale", "translate"])
def test_matrices_are_those_of_kornia(name, size, key, torch):
    pytest.importorskip("kornia", reason="kornia is not installed: pip install kornia")
    from kornia.geometry import transform

    function, amount, options, _ = EXACT[name]
    matrix = placed(key, size, function, amount, kind="exact", **options)[1].matrix
    centre = torch.tensor([[(size[1] - 1) / 2, (size[0] - 1) / 2]])
    one, none = torch.ones(1, 2), torch.zeros(1)
    if name in ("rotate", "scale"):
        angle, factor = (amount, 1.0) if name == "rotate" else (0.0, 1 + amount)
        expected = transform.get_rotation_matrix2d(centre, torch.tensor([angle]), factor * one)
    elif name == "translate":
        expected = transform.get_affine_matrix2d(amount * one, centre, one, none)
    else:
        radians = torch.tensor([np.deg2rad(amount)], dtype=torch.float32)
        expected = transform.get_shear_matrix2d(centre, sx=none if options else radians, sy=radians)
    np.testing.assert_allclose(matrix[0, :2], expected[0, :2], atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_perspectives_are_those_of_kornia_and_torchvision(size, key, torch):
    pytest.importorskip("torchvision", reason="torchvision is not installed: pip install torchvision")
    pytest.importorskip("kornia", reason="kornia is not installed: pip install kornia")
    from kornia.geometry import transform
    from torchvision.transforms import InterpolationMode, functional

    height, width = size
    corners = np.array([[[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]], np.float32)
    noise, ours = placed(key, size, image.perspective, 0.6, fill="constant")
    ends = np.array(ours.points(corners))
    inwards = np.abs(ends - corners)[0]
    assert (inwards <= 0.6 * np.array([width - 1, height - 1]) / 2 + 1e-3).all() and (inwards > 0).all()
    expected = transform.get_perspective_transform(torch.tensor(corners), torch.tensor(ends))
    np.testing.assert_allclose(ours.matrix[0], expected[0], rtol=1e-3, atol=1e-3)
    x = np.random.default_rng(0).random((1, *size, 3)).astype(np.float32)
    picture = torch.tensor(x).permute(0, 3, 1, 2)
    # torchvision counts the borders of pixels here, half a pixel more than their centres.
    start, end = (corners[0] + 0.5).tolist(), (ends[0] + 0.5).tolist()
    there = functional.perspective(picture, start, end, interpolation=InterpolationMode.BILINEAR)
    np.testing.assert_allclose(noise(key, x), there.permute(0, 2, 3, 1), atol=1e-3)
