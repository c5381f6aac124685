"""Pictures that move: a dot and its point agree, SciPy reads the same places, and masks keep their labels."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import noisejax as nj
from noisejax import image

B, H, W = 12, 61, 84  # neither square nor even
FAMILIES = {
    "pixel_shift": nj.bind(image.pixel_shift, pixels=9.0),
    "translate": nj.bind(image.translate, pixels=9.0),
    "rotate": nj.bind(image.rotate, degrees=60.0),
    "shear": nj.bind(image.shear, degrees=20.0),
    "scale": nj.bind(image.scale, amount=0.3),
    "perspective": nj.bind(image.perspective, amount=0.5),
    "elastic": nj.bind(image.elastic, alpha=55.0, sigma=5.0),
    "thin_plate": nj.bind(image.thin_plate, std=4.0),
}
SEVERAL = {
    "chain": nj.chain(FAMILIES["rotate"], FAMILIES["elastic"], FAMILIES["translate"]),
    "matrices": image.geometry(FAMILIES["rotate"], FAMILIES["perspective"], FAMILIES["shear"]),
    "fields": image.geometry(FAMILIES["elastic"], FAMILIES["rotate"], FAMILIES["thin_plate"], FAMILIES["perspective"]),
    "choose": nj.choose(FAMILIES["rotate"], FAMILIES["thin_plate"], nj.bind(nj.gaussian, std=0.01)),
    "batch": nj.choose(FAMILIES["rotate"], FAMILIES["thin_plate"], mode="batch"),
    "sometimes": nj.sometimes(FAMILIES["elastic"], 0.5),
    "sometimes a batch": nj.sometimes(FAMILIES["elastic"], 0.9, mode="batch"),
    "per_example": nj.per_example(nj.chain(FAMILIES["scale"], nj.bind(image.gaussian_blur, severity=1))),
    "flips": image.geometry(nj.bind(image.flip, rate=0.5), FAMILIES["rotate"]),
    "chosen inside": image.geometry(
        nj.choose(FAMILIES["rotate"], FAMILIES["elastic"]), nj.sometimes(FAMILIES["shear"], 0.5)
    ),
}


def dots(points):
    """Pictures with one bright dot each, at real places (x, y)."""
    i, j = np.arange(H)[:, None], np.arange(W)[None, :]
    x, y = points[:, 0, None, None], points[:, 1, None, None]
    return np.exp(-((i - y) ** 2 + (j - x) ** 2) / 2).astype(np.float32)[..., None]


def seen(pictures):
    """The centres of the dots: means of the places around the brightest pixel."""
    found = []
    for picture in np.asarray(pictures)[..., 0]:
        i, j = np.unravel_index(picture.argmax(), picture.shape)
        rows, columns = np.arange(H)[:, None], np.arange(W)[None, :]
        near = np.where((abs(rows - i) < 5) & (abs(columns - j) < 5), np.clip(picture - 0.1, 0, None), 0)
        found.append([(near * columns).sum() / near.sum(), (near * rows).sum() / near.sum()])
    return np.array(found)


def slow(*arguments):
    return pytest.param(*arguments, marks=pytest.mark.slow)


@jax.jit
def followed(noise, key, x, points):
    """The moved pictures, where their points went, and the places that were read: as one program."""
    placed = image.moved(noise)(key, x)
    return noise(key, x), placed.points(points), placed.source


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILIES, "matrices", *(slow(name) for name in SEVERAL if name != "matrices")])
def test_a_painted_dot_and_its_point_agree(name, key):
    noise = {**FAMILIES, **SEVERAL}[name]
    points = np.random.default_rng(1).uniform([26, 20], [W - 26, H - 20], (B, 2)).astype(np.float32)
    moved, follow, source = map(np.asarray, followed(noise, key, dots(points), points[:, None]))
    follow = follow[:, 0]
    inside = ((follow > 6) & (follow < np.array([W, H]) - 7)).all(-1)
    assert inside.sum() >= B // 2
    assert np.abs(follow - points).max() > 2, "the noise did nothing"
    assert np.abs(seen(moved) - follow)[inside].max() < 0.6
    # Where a point goes to, it came from.
    i, j = np.round(follow[inside]).astype(int).T[::-1]
    assert np.abs(source[inside][np.arange(inside.sum()), i, j] - points[inside]).max() < 2


SCIPY = {"constant": "grid-constant", "wrap": "grid-wrap"}


@pytest.mark.parametrize(
    ("fill", "order"),
    [
        ("nearest", 0),
        ("constant", 1),
        ("mirror", 1),
        *(slow(*case) for case in [("nearest", 1), ("constant", 0), ("reflect", 0), ("reflect", 1), ("wrap", 1)]),
    ],
)
def test_scipy_reads_the_same_at_the_places(fill, order, key):
    x = np.random.default_rng(2).random((2, 15, 22, 4)).astype(np.float32)
    noise = image.geometry(
        nj.bind(image.rotate, degrees=180.0), nj.bind(image.translate, pixels=9.0), order=order, fill=fill, value=0.5
    )
    y, _, source = map(np.asarray, followed(noise, key, x, np.zeros((2, 1, 2), np.float32)))
    for b in range(2):
        for c in range(4):
            expected = ndimage.map_coordinates(
                x[b, ..., c], source[b, ..., ::-1].transpose(2, 0, 1), order=order, mode=SCIPY.get(fill, fill), cval=0.5
            )
            np.testing.assert_allclose(y[b, ..., c], expected, atol=2e-5)


def test_flips_are_reversals(key):
    x = np.random.default_rng(11).random((2, 13, 18, 2)).astype(np.float32)
    for along, axes in (("width", 2), ("height", 1), ("both", (1, 2))):
        np.testing.assert_array_equal(image.flip(key, x, 1.0, along=along), np.flip(x, axes))


def test_cubics_reproduce_parabolas(key):
    place = np.arange(30.0, dtype=np.float32)
    x = (0.1 * place**2 - place)[None, None, :, None]
    y = image.translate(key, x, 0.3, kind="exact", along="width", order=3)
    expected = 0.1 * (place - 0.3) ** 2 - (place - 0.3)
    np.testing.assert_allclose(np.asarray(y)[0, 0, 3:-3, 0], expected[3:-3], atol=1e-4)


def test_right_angles_and_whole_pixels_are_exact(key):
    x = np.random.default_rng(3).random((1, 7, 7, 3)).astype(np.float32)
    for quarters in range(-4, 5):
        y = image.rotate(key, x, 90.0 * quarters, kind="exact")
        np.testing.assert_array_equal(y, np.rot90(x, quarters, (1, 2)))
    for fill, mode in (("nearest", "edge"), ("reflect", "symmetric"), ("mirror", "reflect"), ("wrap", "wrap")):
        y = image.translate(key, x, -2.0, kind="exact", along="height", fill=fill)
        np.testing.assert_array_equal(y[0], np.pad(x[0], ((0, 2), (0, 0), (0, 0)), mode=mode)[2:])


def test_signs_and_axes(key):
    """Positive numbers move right, down and counterclockwise, and enlarge; shears have the sign of torchvision."""
    x = np.zeros((1, 41, 61, 1), np.float32)
    point = np.array([[[40.0, 14.0]]])  # right of the centre (30, 20) and above it

    def moves(function, amount, **options):
        noise = nj.bind(function, amount, kind="exact", **options)
        return np.asarray(jax.jit(lambda key: image.moved(noise)(key, x).points(point))(key))[0, 0]

    np.testing.assert_allclose(moves(image.translate, 3.0, along="width"), [43, 14], atol=1e-4)
    np.testing.assert_allclose(moves(image.translate, 3.0, along="height"), [40, 17], atol=1e-4)
    np.testing.assert_allclose(moves(image.rotate, 90.0), [24, 10], atol=1e-4)
    np.testing.assert_allclose(moves(image.scale, 0.5), [45, 11], atol=1e-4)
    np.testing.assert_allclose(moves(image.shear, 45.0, along="width"), [46, 14], atol=1e-4)
    np.testing.assert_allclose(moves(image.shear, 45.0, along="height"), [40, 4], atol=1e-4)
    np.testing.assert_allclose(moves(image.shear, 45.0), [46, -2], atol=1e-4)  # the width first


@pytest.mark.parametrize("order", [1, slow(0), slow(3)])
@pytest.mark.parametrize("name", FAMILIES)
def test_amounts_of_0_are_the_identity_also_beside_nan_and_in_one_example_of_many(name, order, key):
    function = FAMILIES[name].function
    x = np.random.default_rng(4).random((2, 9, 12, 1)).astype(np.float32)
    x[0, 4, 4], x[0, 8, 0] = np.nan, np.inf
    amount = np.array([0.0, 30.0], np.float32).reshape(2, 1, 1, 1) / (100 if name in ("scale", "perspective") else 1)
    options = {} if name == "pixel_shift" else {"order": order}
    y = np.asarray(jax.jit(functools.partial(function, **options))(key, x, amount))
    np.testing.assert_array_equal(y[0], x[0])
    assert (y[1] != x[1]).any()


@pytest.mark.slow
def test_geometry_reads_once_at_the_places_of_the_chain(key):
    x = np.random.default_rng(5).random((3, 20, 31, 3)).astype(np.float32)
    smooth = ndimage.gaussian_filter(x, (0, 3, 3, 0))
    parts = [FAMILIES["elastic"], FAMILIES["rotate"], FAMILIES["thin_plate"]]
    once, chain = image.geometry(*parts), nj.chain(*parts)

    @jax.jit
    def run(key):
        both = {"once": once, "chain": chain}
        return {
            name: (image.moved(noise)(key, x).source, noise(key, np.concatenate([x, smooth], -1)))
            for name, noise in both.items()
        }

    found = jax.tree.map(np.asarray, run(key))
    np.testing.assert_allclose(found["once"][0], found["chain"][0], rtol=1e-5, atol=1e-4)
    middle = np.s_[:, 8:12, 12:19]
    read_once, read_thrice = (found[name][1][middle] for name in ("once", "chain"))
    np.testing.assert_allclose(read_once[..., 3:], read_thrice[..., 3:], atol=0.03)
    assert np.std(read_once[..., :3]) > 1.2 * np.std(read_thrice[..., :3])  # three readings blur
    placed = jax.eval_shape(image.moved(image.geometry(FAMILIES["rotate"], FAMILIES["shear"])), key, x)
    assert placed.places.field is None  # matrices stay a matrix


def test_masks_keep_their_labels_and_follow_the_picture(key):
    labels = np.random.default_rng(6).integers(0, 5, (4, 8, 9, 1)).repeat(5, 1).repeat(5, 2)
    batch = {"image": np.float32(labels) @ np.ones((1, 3), np.float32), "mask": labels.astype(np.int32)}
    parts = [FAMILIES["rotate"], FAMILIES["elastic"]]
    noise = nj.on_entries({"image": image.geometry(*parts), "mask": image.geometry(*parts, order=0)}, shared=True)

    @jax.jit
    def run(key, batch):
        return noise(key, batch), {name: p.source for name, p in image.moved(noise)(key, batch).items()}

    noisy, source = run(key, batch)
    assert noisy["mask"].dtype == jnp.int32
    assert set(np.unique(noisy["mask"])) <= set(range(5))
    picture, mask = np.asarray(noisy["image"]), np.asarray(noisy["mask"])
    assert (mask != labels).mean() > 0.2
    pure = (picture == np.round(picture)).all(-1, keepdims=True)  # far from borders
    assert pure.mean() > 0.5
    np.testing.assert_array_equal(mask[pure], picture[pure[..., 0]][:, 0])
    np.testing.assert_allclose(source["image"], source["mask"], atol=1e-4)


@pytest.mark.slow
def test_boxes_are_the_hulls_of_what_they_hold(key):
    x = np.zeros((3, 60, 80, 1), np.float32)
    boxes = np.array([[[20, 15, 40, 30], [30, 30, 60, 45]]] * 3, np.float32)
    u, v = np.random.default_rng(7).random((2, 1, 1, 500))
    inside = boxes[..., None, :2] + np.stack([u, v], -1) * (boxes[..., None, 2:] - boxes[..., None, :2])

    @jax.jit
    def run(noise, key):
        placed = image.moved(noise)(key, x)
        return placed.boxes(boxes), placed.points(inside.reshape(3, -1, 2))

    for name in ("rotate", "elastic"):
        found, points = map(np.asarray, run(FAMILIES[name], key))
        points = points.reshape(3, 2, 500, 2)
        assert (points.min(2) > found[..., :2] - 0.3).all() and (points.max(2) < found[..., 2:] + 0.3).all()
        assert np.abs(points.min(2) - found[..., :2]).max() < 3
    outside = image.moved(nj.bind(image.rotate, degrees=90.0, kind="exact"))(key, x).boxes(boxes)
    np.testing.assert_allclose(outside[0, 0], [39.5 + 15 - 29.5, 29.5 - 0.5, 39.5 + 30 - 29.5, 29.5 + 19.5], atol=1e-4)


@pytest.mark.slow
def test_bfloat16_and_uint8_have_their_coordinates_in_float32(key):
    x = jnp.zeros((1, 1, 1000, 1), jnp.bfloat16).at[0, 0, 901].set(1.0)
    y = image.translate(key, x, 1.0, kind="exact", along="width")
    assert y.dtype == jnp.bfloat16 and np.asarray(y)[0, 0, 902] == 1 and np.asarray(y).sum() == 1
    picture = np.random.default_rng(8).integers(0, 256, (2, 30, 31, 3), np.uint8)
    exact = image.rotate(key, np.float32(picture), 20.0, order=3)
    np.testing.assert_array_equal(image.rotate(key, picture, 20.0, order=3), np.clip(np.round(exact), 0, 255))


@pytest.mark.slow
def test_each_picture_has_a_draw_of_its_own_and_channels_share_it(key):
    x = np.broadcast_to(np.random.default_rng(9).random((1, 20, 21, 1)), (6, 20, 21, 3)).astype(np.float32)
    for name in ("pixel_shift", "rotate", "elastic"):
        y = np.asarray(FAMILIES[name](key, x))
        np.testing.assert_array_equal(y[..., 0], y[..., 2])
        assert len({picture.tobytes() for picture in y}) > 3


def test_draws_have_their_distributions(key):
    x = np.zeros((4000, 2, 3, 1), np.float32)

    def matrix(noise):
        return np.asarray(jax.jit(lambda key: image.moved(noise)(key, x).matrix)(key))

    shifts = matrix(nj.bind(image.pixel_shift, pixels=2.0))[:, :2, 2].round(4)
    values, counts = np.unique(shifts, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert (((counts - 1600) ** 2) / 1600).sum() < 23.5  # chi-squared of 4 degrees of freedom, 1e-4
    shifts = matrix(nj.bind(image.translate, pixels=2.0))[:, :2, 2]
    assert abs(shifts.mean()) < 4 * 2 / np.sqrt(3 * 8000) and abs(np.corrcoef(shifts.T)[0, 1]) < 4 / np.sqrt(4000)
    assert abs(shifts.std() - 2 / np.sqrt(3)) < 0.03
    signs = matrix(nj.bind(image.rotate, degrees=30.0, kind="sign"))[:, 0, 1]
    assert np.allclose(abs(signs), 0.5, atol=1e-5) and abs((signs > 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


@pytest.mark.slow
def test_noises_that_stay_and_noises_that_cannot_say(key):
    x = np.random.default_rng(10).random((4, 20, 20, 3)).astype(np.float32)
    for stays in (nj.bind(nj.gaussian, std=0.1), nj.bind(image.defocus_blur, severity=3), nj.clip(0, 1)):
        placed = image.moved(stays)(key, x)
        np.testing.assert_array_equal(placed.points(np.full((4, 2, 2), 7.5, np.float32)), 7.5)
    blurred = nj.keyless(image.blur, sigma=1.0)
    np.testing.assert_array_equal(image.moved(blurred)(key, x).matrix, np.eye(3)[None].repeat(4, 0))
    known = [nj.keyless(lambda x: x[:, :, ::-1]), nj.keyless(image.affine, matrix=np.eye(3, dtype=np.float32))]
    for moves in (nj.bind(image.elastic_transform, severity=2), nj.bind(nj.swap, rate=0.5), *known):
        with pytest.raises(TypeError, match="moved"):
            image.moved(moves)(key, x)
    with pytest.raises(TypeError, match="moved: rotate"):
        nj.signal.moved(FAMILIES["rotate"])(key, x)
    with pytest.raises(TypeError, match="moved: time_warp"):
        image.moved(nj.bind(nj.signal.time_warp))(key, x)


def test_geometry_is_a_value(key):
    noise = image.geometry(nj.bind(image.rotate, degrees=30.0), FAMILIES["elastic"], order=0, fill="constant", value=1)
    assert nj.from_dict(json.loads(json.dumps(noise.to_dict()))) == noise
    assert eval(repr(noise), {"nj": nj, "np": np}) == noise
    assert repr(image.geometry(FAMILIES["scale"])) == "nj.image.geometry(nj.bind(nj.image.scale, amount=0.3))"


@pytest.mark.slow
def test_geometry_fills_by_channel_leaves_padding_and_saves_no_field(key):
    from jax._src.ad_checkpoint import saved_residuals

    x = np.random.default_rng(13).random((2, 9, 12, 3)).astype(np.float32)
    grey = np.array([0.1, 0.2, 0.3], np.float32)
    turn = nj.bind(image.rotate, degrees=45.0, kind="exact")
    y = image.geometry(turn, fill="constant", value=grey)(key, x)
    np.testing.assert_array_equal(y[:, 0, 0], np.stack([grey, grey]))
    noise = image.geometry(turn, FAMILIES["elastic"])
    lengths = np.array([9, 4])
    padded = noise(key, nj.Padded(x, lengths)).values
    np.testing.assert_array_equal(padded[1, 4:], x[1, 4:])
    np.testing.assert_array_equal(padded, noise(key, x, lengths=lengths))
    saved = [aval for aval, _ in saved_residuals(lambda x: noise(key, x), jnp.asarray(x))]
    assert sum(aval.size >= 2 * 9 * 12 for aval in saved) <= 1  # x at most


@pytest.mark.slow
def test_bad_input_says_what_to_do(key):
    x = np.zeros((2, 8, 9, 3), np.float32)
    labels = np.zeros((2, 8, 9, 1), np.int32)
    cases = [
        (lambda: image.rotate(key, x[..., 0], 9.0), ValueError, "x\\[..., None\\]"),
        (lambda: image.rotate(key, np.zeros((2, 3, 32, 32), np.float32), 9.0), ValueError, "moveaxis"),
        (lambda: image.rotate(key, labels, 9.0), TypeError, "order=0"),
        (lambda: image.rotate(key, x, np.ones(3, np.float32)), ValueError, "reshape\\(-1, 1, 1, 1\\)"),
        (lambda: image.rotate(key, x, 9.0, order=2), ValueError, "order must be one of 0, 1, 3"),
        (lambda: image.rotate(key, x, 9.0, fill="edge"), ValueError, "fill must be one of 'nearest'"),
        (lambda: image.rotate(key, x, np.inf), ValueError, "degrees must be finite"),
        (lambda: image.rotate(key, np.zeros((2, 8, 9, 3), np.uint8), 9.0, -1.0), ValueError, "from 0 to 255"),
        (lambda: image.shear(key, x, 90.0), ValueError, "below 90"),
        (lambda: image.scale(key, x, 1.5), ValueError, "kind='exact'"),
        (lambda: image.translate(key, x, 1.0, along="x"), ValueError, "along must be one of"),
        (lambda: image.pixel_shift(key, x, -1.0), ValueError, "at least 0"),
        (lambda: image.thin_plate(key, x, 1.0, knots=1), ValueError, "from 2 to 16"),
        (lambda: image.geometry(nj.bind(nj.gaussian, std=0.1)), TypeError, "noises that move|those that move"),
        (lambda: image.geometry(nj.bind(image.rotate, degrees=9.0, order=0)), TypeError, "geometry\\(..., order"),
        (lambda: image.geometry(FAMILIES["rotate"])(key, labels), TypeError, "order=0"),
        (lambda: image.geometry(FAMILIES["rotate"])(key, x[..., 0]), ValueError, "x\\[..., None\\]"),
        (lambda: image.moved(FAMILIES["rotate"])(key, x).points(np.zeros((3, 1, 2))), ValueError, "\\(2, n, 2\\)"),
        (lambda: image.moved(FAMILIES["rotate"])(key, x).boxes(np.zeros((2, 1, 2))), ValueError, "\\(2, n, 4\\)"),
        (lambda: image.moved(nj.bind(nj.gaussian, std=0.1))(key, x[0, 0]), ValueError, "pictures"),
        (lambda: image.moved(nj.sometimes(FAMILIES["rotate"], 0.5))(key, x[0]), ValueError, "x\\[None\\]"),
    ]
    for call, error, text in cases:
        with pytest.raises(error, match=text):
            call()
