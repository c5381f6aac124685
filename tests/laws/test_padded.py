"""Law 4: a `Padded` is a batch like any other. Padding is never touched and never counted, and lengths come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from cases import every


def close(case) -> dict[str, float]:
    return {"rtol": case.close, "atol": case.close}


def lengths_of(x) -> np.ndarray:
    """Of every kind: none, one, some and all of an example's entries."""
    n = x.shape[1]
    return np.resize(np.array([n, 0, 1, n // 2, n - 1], np.int32), x.shape[0])


def valid(x, lengths) -> np.ndarray:
    mask = np.arange(x.shape[1]) < np.asarray(lengths)[:, None]
    return np.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - 2)), x.shape)


@every
def test_a_padded_is_noised_as_an_array_with_lengths(case, key):
    x, noise = case.array(), case.bind()
    lengths = jnp.asarray(lengths_of(x))
    y = noise(key, nj.Padded(x, lengths, jnp.full_like(lengths, 3)))
    assert isinstance(y, nj.Padded)
    np.testing.assert_array_equal(y.values, noise(key, x, lengths=lengths))
    np.testing.assert_array_equal(y.lengths, lengths)
    np.testing.assert_array_equal(y.lost, 3)
    assert (y.values.dtype, y.lengths.dtype) == (x.dtype, jnp.int32)
    padding = ~valid(x, lengths)
    np.testing.assert_array_equal(np.asarray(y.values)[padding], np.asarray(x)[padding])
    if case.hits:
        hit = nj.hits(noise)(key, nj.Padded(x, lengths))
        np.testing.assert_array_equal(hit, nj.hits(noise)(key, x, lengths=lengths))
        assert not np.asarray(hit)[padding].any()


@every
def test_padding_is_never_counted(case, key):
    """Whatever stands in the padding, the data get the same noise."""
    x, noise = case.array(), case.bind()
    lengths = lengths_of(x)
    data = valid(x, lengths)
    clean = np.asarray(noise(key, nj.Padded(x, lengths)).values)
    for rubbish in (np.nan, 1e6):
        y = np.asarray(noise(key, nj.Padded(jnp.where(data, x, rubbish), lengths)).values)
        np.testing.assert_array_equal(y[data], clean[data])


@every
def test_other_lengths_cost_no_trace_and_gradients_reach_the_values(case, key):
    if case.function is nj.nonfinite:
        pytest.skip("a loss over NaN is NaN")
    x, noise, traces = case.array(), case.bind(), []

    @jax.jit
    def gradients(x, lengths):
        traces.append(1)
        through = jax.grad(lambda p: jnp.sum(noise(key, p).values ** 2), allow_int=True)(nj.Padded(x, lengths))
        return through.values, jax.grad(lambda x: jnp.sum(noise(key, x, lengths=lengths) ** 2))(x)

    for lengths in (lengths_of(x), lengths_of(x)[::-1]):
        through, direct = (np.asarray(gradient) for gradient in gradients(x, jnp.asarray(lengths)))
        np.testing.assert_allclose(through, direct, rtol=1e-5, atol=1e-5)
        padding = ~valid(x, lengths)
        np.testing.assert_array_equal(through[padding], 2 * np.asarray(x)[padding])
        assert (through[~padding] != 0).any() != case.flat
    assert len(traces) == 1


@pytest.mark.slow  # the sharded draw itself is in the fast set, tests/laws/test_sharding.py
@every
def test_eight_devices_noise_a_padded_as_one_does(case, key):
    x, noise = case.array(), case.bind()
    padded = nj.Padded(x, jnp.asarray(lengths_of(x)))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, P("data"))), padded)
    y = jax.jit(noise)(key, sharded)
    np.testing.assert_allclose(y.values, noise(key, padded).values, **close(case))
    np.testing.assert_array_equal(y.lengths, padded.lengths)


@every
def test_a_noise_after_one_that_shortens_sees_the_new_lengths(case, key):
    x = case.array()
    x = x if x.ndim > 2 else jnp.repeat(x[:, None], 6, axis=1)  # features stay features: steps are dropped
    short = nj.bind(nj.patch_dropout, rate=0.5, num_prefix_tokens=0)
    dropped = nj.chain(short)(key, nj.Padded(x, lengths_of(x)))
    y = nj.chain(short, case.bind())(key, nj.Padded(x, lengths_of(x)))
    assert y.values.shape[1] < x.shape[1]
    np.testing.assert_array_equal(y.lengths, np.minimum(lengths_of(x), y.values.shape[1]))
    padding = ~valid(y.values, y.lengths)
    np.testing.assert_array_equal(np.asarray(y.values)[padding], np.asarray(dropped.values)[padding])
    assert (np.asarray(y.values)[~padding] != np.asarray(dropped.values)[~padding]).any()


@pytest.mark.slow
@every
def test_under_vmap_an_example_has_one_length(case, key):
    if not case.elementwise or case.options:
        pytest.skip("it names axes that a single example does not have")
    x, noise = case.array(), case.bind()
    keys, lengths = jax.random.split(key, len(x)), jnp.asarray(lengths_of(x))
    y = jax.vmap(noise)(keys, nj.Padded(x, lengths))
    np.testing.assert_array_equal(y.lengths, lengths)
    alone = noise(keys[3], nj.Padded(x[3], lengths[3]))
    np.testing.assert_allclose(y.values[3], alone.values, **close(case))
    padding = ~valid(x, lengths)
    np.testing.assert_array_equal(np.asarray(y.values)[padding], np.asarray(x)[padding])
