"""Boxes, grids and bands against their definitions. Keys are fixed; a right noise fails for one key in 10,000."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import noisejax as nj
from noisejax._random.sample import integers
from noisejax._random.stream import words

ALPHA = 1e-4
KEY = jax.random.key(12)
IMAGES = [
    (nj.image.random_erasing, {"rate": 1.0}, "rate"),
    (nj.image.cutout, {"size": 6.0}, "size"),
    (nj.image.coarse_dropout, {"holes": 2.0}, "holes"),
    (nj.image.grid_mask, {"rate": 0.2}, "rate"),
]
BANDS = [(nj.signal.time_mask, {"width": 9.0}, "width"), (nj.signal.freq_mask, {"width": 9.0}, "width")]
families = pytest.mark.parametrize(("noise", "amounts", "name"), IMAGES)


def close_to(count, n, rate):
    return stats.binomtest(int(count), n, rate).pvalue > ALPHA


def uniform(values):
    return stats.kstest(values, "uniform").pvalue > ALPHA


def drawn(noise, x, key=KEY, where=None, lengths=None, **amounts):
    return np.asarray(nj.hits(nj.bind(noise, **amounts))(key, x, where=where, lengths=lengths))


def boxes(hit):
    """Start and length along both axes of masks (B, H, W), each of which must be a filled rectangle or nothing."""
    rows, columns = hit.any(2), hit.any(1)
    np.testing.assert_array_equal(hit, rows[:, :, None] & columns[:, None, :])
    for line in (rows, columns):
        assert (np.abs(np.diff(np.pad(line, ((0, 0), (1, 1))).astype(int), axis=1)).sum(1) <= 2).all()
    return rows.argmax(1), rows.sum(1), columns.argmax(1), columns.sum(1)


# --- all images


@families
def test_channels_share_and_examples_do_not(noise, amounts, name):
    hit = drawn(noise, jnp.ones((40, 16, 14, 3)), **amounts)
    np.testing.assert_array_equal(hit, np.broadcast_to(hit[..., :1], hit.shape))
    assert len({h.tobytes() for h in hit}) > 20


@pytest.mark.slow
@families
def test_axes_say_where_the_picture_is(noise, amounts, name):
    x = jnp.ones((6, 16, 14, 3))
    hit = drawn(noise, x, **amounts)
    first = drawn(noise, x.transpose(0, 3, 1, 2), axes=(2, 3), **amounts)
    np.testing.assert_array_equal(first, hit.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(drawn(noise, x[..., 0], axes=(-2, -1), **amounts), hit[..., 0])
    video = drawn(noise, jnp.ones((6, 5, 16, 14, 3)), **amounts)
    np.testing.assert_array_equal(video, np.broadcast_to(hit[:, None], video.shape))
    np.testing.assert_array_equal(drawn(noise, x[0], **amounts), hit[0])  # one picture: the first example's draw


@pytest.mark.slow
@families
def test_what_is_hit_is_filled_and_nothing_else(noise, amounts, name):
    x = jnp.linspace(1, 2, 5 * 16 * 14 * 3).reshape(5, 16, 14, 3)
    hit, fill = drawn(noise, x, **amounts), jnp.array([-1.0, -2.0, -3.0])
    assert hit.any()
    np.testing.assert_array_equal(nj.bind(noise, fill=fill, **amounts)(KEY, x), np.where(hit, fill, x))
    bytes_ = (100 * x).astype(jnp.uint8)
    np.testing.assert_array_equal(nj.bind(noise, fill=7, **amounts)(KEY, bytes_), np.where(hit, np.uint8(7), bytes_))


@pytest.mark.slow
@families
def test_amounts_per_example(noise, amounts, name):
    column = jnp.where(jnp.arange(8) % 2 == 0, 0.0, amounts[name]).reshape(8, 1, 1, 1)
    x = jnp.ones((8, 16, 14, 3))
    hit = drawn(noise, x, **{name: column})
    assert not hit[::2].any() and hit[1::2].any()
    np.testing.assert_array_equal(hit[1::2], drawn(noise, x, **amounts)[1::2])


@pytest.mark.slow
@families
@pytest.mark.parametrize("shape", [(4, 1, 1, 3), (4, 1, 9, 1), (4, 9, 2, 1), (4, 0, 5, 3), (0, 5, 5, 3)])
def test_pictures_of_any_size(noise, amounts, name, shape):
    y = nj.bind(noise, **amounts)(KEY, jnp.ones(shape))
    assert y.shape == shape and set(np.unique(y)) <= {0, 1}


# --- random erasing


@pytest.mark.slow
def test_erased_boxes_have_the_published_area_aspect_and_place():
    hit = drawn(nj.image.random_erasing, jnp.ones((1500, 96, 128, 1)), rate=1.0, area=(0.05, 0.2))[..., 0]
    top, height, left, width = boxes(hit)
    # Rounding to pixels moves a side by at most half of one: 0.01 of the range at the least.
    assert uniform((height * width / (96 * 128) - 0.05) / 0.15)
    assert uniform((np.log(height / width) - math.log(0.3)) / (math.log(1 / 0.3) - math.log(0.3)))
    jitter = np.random.default_rng(0).random((2, 1500))
    assert uniform((top + jitter[0]) / (96 - height + 1)) and uniform((left + jitter[1]) / (128 - width + 1))
    assert (top + height).max() == 96 and top.min() == 0


@pytest.mark.slow
def test_erased_boxes_fit_where_the_aspect_alone_would_not():
    """Published: draw again, ten times, then give up. Here the area always holds."""
    hit = drawn(nj.image.random_erasing, jnp.ones((200, 12, 200, 1)), rate=1.0, area=(0.5, 0.9))[..., 0]
    _, height, _, width = boxes(hit)
    share = height * width / (12 * 200)
    assert share.min() > 0.45 and share.max() < 0.95 and uniform((share - 0.5) / 0.4)
    whole = drawn(nj.image.random_erasing, jnp.ones((5, 9, 7, 1)), rate=1.0, area=(1.0, 1.0))
    assert whole.all()


@pytest.mark.slow
def test_erasing_is_drawn_with_probability_p():
    hit = drawn(nj.image.random_erasing, jnp.ones((4000, 10, 10, 1)), rate=0.3, area=(0.2, 0.4))
    assert close_to(hit.any((1, 2, 3)).sum(), 4000, 0.3)


@pytest.mark.slow
def test_erasing_by_normal_noise():
    x = jnp.full((30, 24, 24, 3), 5.0)
    arguments = {"rate": 1.0, "fill": 2.0, "std": 0.5, "area": (0.4, 0.6)}
    hit = drawn(nj.image.random_erasing, x, **arguments)
    element = np.asarray(nj.bind(nj.image.random_erasing, noise="element", **arguments)(KEY, x), np.float64)
    assert stats.kstest((element[hit] - 2) / 0.5, "norm").pvalue > ALPHA
    np.testing.assert_array_equal(element[~hit], 5)
    channel = np.asarray(nj.bind(nj.image.random_erasing, noise="channel", **arguments)(KEY, x))
    values = np.array([[np.unique(channel[b, ..., c][hit[b, ..., c]]) for c in range(3)] for b in range(30)])
    assert values.shape == (30, 3, 1)  # one value for each channel of each example
    assert stats.kstest((values.ravel().astype(np.float64) - 2) / 0.5, "norm").pvalue > ALPHA


# --- cutout


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 4, 7])
def test_cutout_is_a_square_about_a_drawn_centre(size):
    """The squares, computed once more in NumPy from the words; they may leave the image."""
    height, width = 11, 9
    like = (300, 1, 1, 1)
    centre = [
        np.asarray(integers(words(KEY, f"cutout.{n}", like), words(KEY, f"cutout.{n}.low", like), length)).ravel()
        for n, length in enumerate((height, width))
    ]
    expected = np.zeros((300, height, width, 1), bool)
    for b, (row, column) in enumerate(zip(*centre, strict=True)):
        top, left = row - size // 2, column - size // 2
        expected[b, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = True
    np.testing.assert_array_equal(drawn(nj.image.cutout, jnp.ones((300, height, width, 1)), size=size), expected)


def test_cutout_covers_each_pixel_as_often_as_its_centres_do():
    hit = drawn(nj.image.cutout, jnp.ones((20000, 8, 8, 1)), size=4)[..., 0]
    reach = np.array([sum(c - 2 <= pixel < c + 2 for c in range(8)) for pixel in range(8)]) / 8
    p = np.outer(reach, reach)
    z = (hit.mean(0) - p) / np.sqrt(p * (1 - p) / len(hit))
    assert np.abs(z).max() < stats.norm.isf(ALPHA / 2 / 64)


@pytest.mark.slow
def test_cutout_larger_than_the_picture_and_along_other_axes():
    assert drawn(nj.image.cutout, jnp.ones((20, 8, 6, 1)), size=40.0).all()
    series = drawn(nj.image.cutout, jnp.ones((50, 30, 2)), size=5.0, axes=(1,))
    assert series.any((1, 2)).all() and (series.sum((1, 2)) <= 10).all()
    volume = drawn(nj.image.cutout, jnp.ones((50, 9, 9, 9, 1)), size=3.0, axes=(1, 2, 3))
    assert set(volume.sum((1, 2, 3, 4))) <= {a * b * c for a in (2, 3) for b in (2, 3) for c in (2, 3)}


# --- coarse dropout


@pytest.mark.slow
def test_holes_lie_inside_with_uniform_sides():
    hit = drawn(nj.image.coarse_dropout, jnp.ones((3000, 50, 80, 1)), holes=1.0, height=(0.2, 0.4), width=(0.1, 0.1))
    top, height, left, width = boxes(hit[..., 0])
    # Sides of 10 to 20 pixels of a uniform real: both ends have half a pixel's share.
    share = np.array([0.5, *[1] * 9, 0.5]) / 10
    assert stats.chisquare(np.bincount(height - 10, minlength=11), 3000 * share).pvalue > ALPHA
    assert set(width) == {8}
    assert stats.chisquare(np.bincount(left, minlength=73)).pvalue > ALPHA
    assert (top + height).max() == 50


@pytest.mark.slow
def test_the_number_of_holes_and_its_fraction():
    x = jnp.ones((2000, 20, 20, 1))
    options = {"height": (0.05, 0.05), "width": (0.05, 0.05)}  # one pixel each
    assert close_to(drawn(nj.image.coarse_dropout, x, holes=0.3, **options).any((1, 2, 3)).sum(), 2000, 0.3)
    three = drawn(nj.image.coarse_dropout, x, holes=3.0, **options).sum((1, 2, 3))
    p_apart = 399 / 400 * 398 / 400
    assert set(three) <= {1, 2, 3} and close_to((three == 3).sum(), 2000, p_apart)
    more = drawn(nj.image.coarse_dropout, x, holes=3.5, **options).sum((1, 2, 3))
    assert (more >= three).all() and 0.4 < (more > three).mean() < 0.6
    beyond = jnp.float32(9.0)  # on the device, where nobody reads it; on the host it would raise
    capped = drawn(nj.image.coarse_dropout, x, holes=beyond, max_holes=2, **options)
    assert capped.sum((1, 2, 3)).max() == 2
    np.testing.assert_array_equal(
        capped, drawn(nj.image.coarse_dropout, x, holes=2.0, **options)
    )  # the same first holes


# --- grid mask


def test_every_pixel_of_a_grid_mask_is_hit_at_the_rate():
    for rate in (0.16, 0.5):
        hit = drawn(nj.image.grid_mask, jnp.ones((20000, 9, 7, 1)), rate=rate)[..., 0]
        z = (hit.mean(0) - rate) / math.sqrt(rate * (1 - rate) / len(hit))
        assert np.abs(z).max() < stats.norm.isf(ALPHA / 2 / (2 * 63))


@pytest.mark.slow
def test_a_grid_mask_is_a_periodic_grid_of_squares():
    d = 8
    hit = drawn(nj.image.grid_mask, jnp.ones((200, 40, 48, 1)), rate=0.16, unit=(0.2, 0.2))[..., 0]
    rows, columns = hit.any(2), hit.any(1)
    np.testing.assert_array_equal(hit, rows[:, :, None] & columns[:, None, :])
    for line in (rows, columns):
        np.testing.assert_array_equal(line[:, d:], line[:, :-d])
        assert set(line[:, :d].sum(1)) == {3, 4}  # 8 * sqrt(0.16) = 3.2
        starts = (line[:, :d] & ~np.roll(line[:, :d], 1, axis=1)).argmax(1)
        assert stats.chisquare(np.bincount(starts, minlength=d)).pvalue > ALPHA
    units = drawn(nj.image.grid_mask, jnp.ones((500, 40, 40, 1)), rate=0.25, unit=(0.1, 0.5))[..., 0]
    assert len({int(h.any(1).sum()) for h in units}) > 5  # the unit differs from image to image


@pytest.mark.parametrize("rate", [-0.5, 0.0, 1.0, 1.5])
def test_a_grid_mask_clamps_its_rate(rate):
    hit = jax.jit(lambda rate: nj.image.grid_mask(KEY, jnp.ones((50, 9, 12, 2)), rate))(jnp.float32(rate)) == 0
    assert hit.all() if rate >= 1 else not hit.any()


# --- bands of time and frequency


@pytest.mark.parametrize(("noise", "axis"), [(nj.signal.time_mask, 1), (nj.signal.freq_mask, 2)])
def test_bands_have_uniform_widths_and_places(noise, axis):
    shape = (20000, 15, 2) if axis == 1 else (20000, 2, 15)
    hit = drawn(noise, jnp.ones(shape), width=6.0)
    line = hit.any(3 - axis)
    np.testing.assert_array_equal(hit, np.broadcast_to(np.expand_dims(line, 3 - axis), shape))
    assert (np.abs(np.diff(np.pad(line, ((0, 0), (1, 1))).astype(int), axis=1)).sum(1) <= 2).all()
    width, start = line.sum(1), line.argmax(1)
    assert stats.chisquare(np.bincount(width, minlength=7)).pvalue > ALPHA
    for w in range(1, 7):
        assert stats.chisquare(np.bincount(start[width == w], minlength=16 - w)).pvalue > ALPHA / 6


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "amounts", "name"), BANDS)
def test_bands_edge_cases(noise, amounts, name):
    axis = 1 if noise is nj.signal.time_mask else 2
    x = jnp.ones((3000, 4, 4))
    wide = drawn(noise, x, width=1000.0).any(3 - axis).sum(1)
    assert stats.chisquare(np.bincount(wide, minlength=5)).pvalue > ALPHA  # at most all of it
    half = drawn(noise, x, width=1000.0, limit=0.5).any(3 - axis).sum(1)
    assert stats.chisquare(np.bincount(half, minlength=3)).pvalue > ALPHA
    assert not jax.jit(lambda w: drawn_traced(noise, x, w))(jnp.float32(-3)).any()
    column = jnp.where(jnp.arange(3000) < 1500, 0.0, 4.0).reshape(-1, 1, 1)
    by_example = drawn(noise, x, width=column)
    assert not by_example[:1500].any() and by_example[1500:].any()
    assert noise(KEY, jnp.ones((3, 1, 1)), 5.0).shape == (3, 1, 1)
    assert noise(KEY, jnp.ones((3, 0, 0)), 5.0).shape == (3, 0, 0)


def drawn_traced(noise, x, width):
    return nj.hits(nj.bind(noise, width=width))(KEY, x)


@pytest.mark.slow
def test_several_bands_are_a_union_of_independent_ones():
    x = jnp.ones((4000, 40, 2))
    one, four = (drawn(nj.signal.time_mask, x, width=8.0, count=n)[..., 0] for n in (1, 4))
    assert (one <= four).all()  # the same first band
    expected = 1 - (1 - one.mean(0)) ** 4
    z = (four.mean(0) - expected) / np.sqrt(expected * (1 - expected) / 4000 + 16 * one.mean(0) / 4000)
    assert np.abs(z).max() < stats.norm.isf(ALPHA / 2 / 40)


def test_time_bands_lie_within_the_lengths():
    n, steps = 6000, 20
    lengths = jnp.asarray(np.resize([20, 10, 3, 1, 0], n))
    hit = drawn(nj.signal.time_mask, jnp.ones((n, steps, 2)), lengths=lengths, width=6.0)[..., 0]
    assert not (hit & (np.arange(steps) >= np.asarray(lengths)[:, None])).any()
    for length in (20, 10, 3, 1):
        mine = hit[np.asarray(lengths) == length]
        widths = np.bincount(mine.sum(1), minlength=min(6, length) + 1)
        assert stats.chisquare(widths).pvalue > ALPHA / 4  # uniform on 0 .. min(6, length): nothing is cut off


@pytest.mark.slow
def test_time_bands_know_padding_on_the_left_and_in_gaps():
    x = jnp.ones((2000, 12, 3))
    lengths = jnp.full(2000, 7)
    right = drawn(nj.signal.time_mask, x, lengths=lengths, width=4.0)[:, :7]
    left = drawn(nj.signal.time_mask, x, where=(jnp.arange(12) >= 5)[:, None], width=4.0)
    np.testing.assert_array_equal(left[:, 5:], right)
    assert not left[:, :5].any()
    gaps = np.array([0, 1, 3, 4, 6, 8, 11])
    where = np.zeros((12, 1), bool)
    where[gaps] = True
    np.testing.assert_array_equal(drawn(nj.signal.time_mask, x, where=jnp.asarray(where), width=4.0)[:, gaps], right)
    limited = drawn(nj.signal.time_mask, x, lengths=lengths, width=50.0, limit=0.3)
    assert limited[..., 0].sum(1).max() == 2  # 0.3 of 7 valid steps


@pytest.mark.slow
def test_frequency_bands_span_all_channels_whatever_the_lengths():
    x = jnp.ones((500, 6, 10))
    whole = drawn(nj.signal.freq_mask, x, width=5.0)
    cut = drawn(nj.signal.freq_mask, x, width=5.0, lengths=jnp.full(500, 2))
    np.testing.assert_array_equal(cut[:, :2], whole[:, :2])
    assert not cut[:, 2:].any()


@pytest.mark.slow
def test_bands_of_plain_series_and_of_one_example():
    x = jnp.ones((300, 25))
    series = drawn(nj.signal.time_mask, x, width=9.0, axis=-1)
    np.testing.assert_array_equal(series, drawn(nj.signal.time_mask, x[..., None], width=9.0)[..., 0])
    alone = drawn(nj.signal.time_mask, x[0, :, None], width=9.0)
    np.testing.assert_array_equal(alone[:, 0], series[0])


@pytest.mark.slow
def test_spectrograms_are_filled_by_their_mean():
    x = jnp.asarray(np.random.default_rng(0).normal(3, 1, (8, 30, 6)), jnp.float32)
    mean = x.mean((0, 1))
    noise = nj.chain(nj.bind(nj.signal.time_mask, width=9, fill=mean), nj.bind(nj.signal.freq_mask, width=3, fill=mean))
    hit = np.asarray(nj.hits(noise)(KEY, x))
    np.testing.assert_array_equal(noise(KEY, x), np.where(hit, mean, x))


# --- errors

X = jnp.ones((4, 8, 8, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nj.image.cutout(KEY, jnp.ones((4, 5)), 3), ValueError, "axes of x, which has 2 axes"),
        (lambda: nj.image.cutout(KEY, X, -1), ValueError, "size must be at least 0"),
        (lambda: nj.image.cutout(KEY, X, 3, axes=()), ValueError, "axes must name some axes"),
        (lambda: nj.image.random_erasing(KEY, X, 0.5, axes=(1,)), ValueError, "axes must name 2 axes"),
        (lambda: nj.image.random_erasing(KEY, X, 0.5, axes=(1, -3)), ValueError, "different axes"),
        (lambda: nj.image.random_erasing(KEY, X, 1.5), ValueError, "rate must be in"),
        (
            lambda: nj.image.random_erasing(KEY, X, 0.5, area=(0.5, 0.2)),
            ValueError,
            r"area must be a pair .* \(0.5, 0.2\)",
        ),
        (lambda: nj.image.random_erasing(KEY, X, 0.5, aspect=(0, 2)), ValueError, "aspect must be a pair"),
        (lambda: nj.image.random_erasing(KEY, X, 0.5, noise="pixel"), ValueError, "'channel', 'element', got 'pixel'"),
        (lambda: nj.image.random_erasing(KEY, X.astype(jnp.int32), 0.5), TypeError, "int32"),
        (lambda: nj.image.coarse_dropout(KEY, X, 2, max_holes=0), ValueError, "max_holes must be a positive integer"),
        (lambda: nj.image.coarse_dropout(KEY, X, 2, height=0.1), ValueError, "height must be a pair"),
        (lambda: nj.image.grid_mask(KEY, X, 0.1, unit=(0.5, 1.5)), ValueError, "unit must be a pair"),
        (lambda: nj.signal.time_mask(KEY, X, 3, count=1.5), ValueError, "count must be a positive integer"),
        (lambda: nj.signal.time_mask(KEY, X, 3, limit=1.5), ValueError, "limit must be a"),
        (lambda: nj.signal.freq_mask(KEY, X, 3, axis=4), ValueError, "axis must be axes of x"),
    ],
)
def test_bad_input_says_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()
