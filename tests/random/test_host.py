"""The NumPy form of the stream has the bits of the device, and of the independent twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
import twin
from noisejax._random import host, sample
from noisejax._random.generators import GENERATORS
from noisejax._random.stream import Stream, fold, keys, stage, words

INDEX = np.array([0, 1, 12345, 2**32 - 1, 2**32, 2**40 + 7, 2**63 - 1], np.uint64)


@pytest.mark.parametrize("generator", GENERATORS)
def test_words_and_folds_are_those_of_the_device_and_of_the_twin(generator):
    key = stage(nj.key(2**40 + 5, generator=generator), "a", 3)
    ours = host.words(host.host_stream(key), "text", INDEX)
    k0, k1 = (int(w) for w in jax.random.key_data(key.key))
    np.testing.assert_array_equal(ours, twin.words(generator, INDEX, k0, k1, ("a", 3), "text"))
    for index, word in zip(INDEX, ours, strict=True):
        assert int(words(key, "text", (1,), offset=int(index))[0]) == word
    with jax.enable_x64(True):
        for number in (0, 7, 2**35 + 1, -3):
            folded = host.fold(host.host_stream(key), number)
            device = fold(key, jnp.asarray(number, jnp.int64))
            np.testing.assert_array_equal([folded.k0[0], folded.k1[0]], device.key)
            np.testing.assert_array_equal(host.words(folded, "t", np.arange(9)), words(device, "t", (9,)))


def test_keys_of_every_kind():
    for key in (jax.random.key(3), jax.random.key(3, impl="rbg"), nj.key(3), jax.random.PRNGKey(3)):
        ours = host.words(host.host_stream(key), "text", np.arange(100))
        np.testing.assert_array_equal(ours, words(key, "text", (100,)))


def test_keys_made_on_the_host_are_those_of_the_device():
    for key in (jax.random.key(3), nj.key(3), jax.random.PRNGKey(3)):
        for parent in (key, stage(key, "a", 3)):
            ours, device = host.typed_keys(parent, 4), keys(parent, jnp.arange(4))
            assert all(one.dtype == device.dtype for one in ours)
            np.testing.assert_array_equal(
                np.stack([jax.random.key_data(one) for one in ours]), jax.random.key_data(device)
            )


def test_draws_are_those_of_the_device(key):
    w, w2 = (words(key, tag, (1000,)) for tag in ("a", "b"))
    for rate in (0.0, 1e-9, 0.05, 0.5, 1.0, np.linspace(-0.5, 1.5, 1000, dtype=np.float32)):
        np.testing.assert_array_equal(host.bernoulli(np.asarray(w), rate), sample.bernoulli(w, rate))
    for n in (1, 2, 3, 1000, 2**31, np.arange(1, 1001)):
        np.testing.assert_array_equal(host.integers(np.asarray(w), np.asarray(w2), n), sample.integers(w, w2, n))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint32", "int32", "int64", "uint64"])
def test_rows_of_a_table_draw_by_their_numbers(key, dtype):
    """The words of some rows, in any order, are those that the whole table has there."""
    with jax.enable_x64(True):
        whole = words(key, "t", (50, 3), varies=(0, 1))
        numbers = np.array([49, 0, 7, 7, 31], dtype)
        part = Stream(key, rows=jnp.asarray(numbers))
        np.testing.assert_array_equal(words(part, "t", (5, 3), varies=(0, 1)), whole[numbers.astype(int)])
        single = words(key, "t", (50, 1), varies=(0, 1))
        np.testing.assert_array_equal(words(part, "t", (5, 1), varies=(0, 1)), single[numbers.astype(int)])
        shared = words(key, "t", (1, 3), varies=(1,))
        np.testing.assert_array_equal(words(part, "t", (1, 3), varies=(1,)), shared)
    with pytest.raises(ValueError, match="has no part for each row"):
        words(part, "t", (5,))


def test_numbers_beyond_32_bits(key):
    with jax.enable_x64(True):
        rows = Stream(key, rows=jnp.asarray([2**33 + 1, -1], jnp.int64))
        got = words(rows, "t", (2, 2), varies=(0, 1))
    expected = host.words(host.host_stream(key), "t", np.array([[2**34 + 2, 2**34 + 3], [-2, -1]], np.int64))
    np.testing.assert_array_equal(got, expected)
