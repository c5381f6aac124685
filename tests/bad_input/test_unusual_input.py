"""Unusual input that is right, which the generator found in long runs to be refused or to give wrong results."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisejax as nj
from noisejax import adversarial

KEY = jax.random.key(0)
GAUSSIAN = nj.bind(nj.gaussian, std=0.1)


def an_update(threat, x):
    transform = optax.chain(optax.sgd(1.0), adversarial.project_onto(threat, x))
    delta = jnp.zeros(x.shape)
    return transform.update(delta + 1, transform.init(delta), delta)[0]


def test_the_ends_of_a_column_may_be_any_number_of_the_host():
    column = nj.tabular.Column("a", low=np.array(0.5), high=np.float32(2))
    assert (column.low, column.high) == (0.5, 2.0)
    assert column == nj.tabular.Column("a", low=0.5, high=2.0)
    assert hash(column) == hash(nj.tabular.Column("a", low=0.5, high=2.0))
    assert nj.tabular.Column("a", high=2**62 + 1).high == 2**62 + 1


def test_float64_of_numpy_is_taken_as_float32_without_a_warning():
    x, threat = np.full((2, 3, 2), 0.5), adversarial.L2(0.5, bounds=None)
    plain = adversarial.freelb(KEY, lambda x: x.sum((1, 2)), x.astype(np.float32), threat)
    np.testing.assert_array_equal(adversarial.freelb(KEY, lambda x: x.sum((1, 2)), x, threat), plain)
    assert adversarial.smart(KEY, lambda x: x[:, 0], x, threat).dtype == jnp.float32
    assert adversarial.normalized(lambda x: x, 0.5, 0.25)(x).dtype == jnp.float32


@pytest.mark.slow
def test_enormous_amounts_stay_finite():
    x = np.linspace(0, 1, 20, dtype=np.float32)
    assert np.isfinite(nj.signal.time_warp(KEY, x, 3e38, order="linear")).all()
    loud = nj.signal.reverb(KEY, x, np.full((1, 5), 1e38, np.float32))
    np.testing.assert_allclose(loud[:3], [1e38 * sum(x[: n + 1]) for n in range(3)], rtol=1e-5, atol=1e33)
    assert not np.isnan(loud).any()
    large = np.full((1, 4, 4, 1), 3e38, np.float32)
    np.testing.assert_array_equal(nj.image.rotate(KEY, large, 20.0, order=3), large)


def test_a_block_longer_than_its_axis_covers_it():
    w = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
    for size in (6, 2**70):
        hit = np.asarray(nj.hits(nj.bind(nj.weights.quant_noise, rate=0.5, bits=4, block_size=size))(KEY, w))
        assert (hit == hit[:1]).all()


def test_floats_of_eight_bits_are_examples_too():
    x = jnp.full((1, 2), 0.5, jnp.float8_e5m2)
    assert an_update(adversarial.Linf(0.25, bounds=(0, 1)), x).tolist() == [[-0.25, -0.25]]


def test_a_rate_of_one_number_may_have_any_axes():
    x = np.zeros((4, 3), np.float32)
    plain = nj.sometimes(GAUSSIAN, 0.5)(KEY, x)
    np.testing.assert_array_equal(nj.sometimes(GAUSSIAN, np.full((1, 1, 1), 0.5))(KEY, x), plain)


def test_no_channels_are_rotated_to_none():
    assert nj.signal.rotate3(KEY, np.zeros((2, 5, 0), np.float32), 1.0).shape == (2, 5, 0)


def test_counts_of_eight_bits():
    x = np.zeros((2, 3), np.float32)
    counts = adversarial.smoothed_counts(KEY, lambda x: x, x, GAUSSIAN, samples=np.uint8(20))
    assert counts.sum(1).tolist() == [20, 20]
