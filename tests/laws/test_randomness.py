"""Law 6: the draw depends on the key, the noise and the index; not on how the call is compiled or batched."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from cases import every

close = {"rtol": 2e-6, "atol": 2e-6}  # a few ulp: compilers may contract a multiply and an add


@every
def test_same_key_same_bits_other_key_other_bits(case, key):
    x, noise = case.array(), case.bind()
    np.testing.assert_array_equal(noise(key, x), noise(key, x))
    others = [np.asarray(noise(k, x)).tobytes() for k in jax.random.split(key, 8)]
    assert len({np.asarray(noise(key, x)).tobytes(), *others}) > 2


@every
def test_jit_equals_eager(case, key):
    x, noise = case.array(), case.bind()
    np.testing.assert_allclose(jax.jit(noise)(key, x), noise(key, x), **close)
    if case.hits:
        np.testing.assert_array_equal(jax.jit(nj.hits(noise))(key, x), nj.hits(noise)(key, x))


@every
def test_vmap_over_keys_equals_a_loop(case, key):
    x, noise = case.array(), case.bind()
    keys = jax.random.split(key, 3)
    mapped = jax.jit(jax.vmap(noise, (0, None)))(keys, x)
    np.testing.assert_allclose(mapped, [np.asarray(noise(k, x)) for k in keys], **close)


@every
def test_a_scan_over_keys_equals_a_loop(case, key):
    x, noise = case.array(), case.bind()
    keys = jax.random.split(key, 3)
    _, scanned = jax.lax.scan(lambda _, k: (None, noise(k, x)), None, keys)
    np.testing.assert_allclose(scanned, [np.asarray(noise(k, x)) for k in keys], **close)


@every
def test_amounts_trace_once(case, key):
    x = case.array()

    traces = []

    @jax.jit
    def step(noise, key, x):
        traces.append(noise)
        return noise(key, x)

    for amounts in (case.amounts, case.neutral, case.other):
        traced = step(case.bind(**amounts), key, x)
        np.testing.assert_allclose(traced, case.bind(**amounts)(key, x), **close)
    assert len(traces) == 1


@every
def test_a_batch_of_noises_is_mapped_over(case, key):
    x = case.array()
    noises = [case.bind(), case.bind(**case.other)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *noises)
    mapped = jax.jit(jax.vmap(lambda noise: noise(key, x)))(stacked)
    np.testing.assert_allclose(mapped, [np.asarray(noise(key, x)) for noise in noises], **close)


@every
def test_per_example_amounts_equal_one_call_per_amount(case, key):
    if case.per_example is None:
        pytest.skip("its amounts belong to the whole call")
    x, name = case.array(), case.per_example
    low, high = case.amounts[name], case.other[name]
    column = np.where(np.arange(x.shape[0]) % 2 == 0, low, high).reshape((-1,) + (1,) * (x.ndim - 1))
    y = np.asarray(case.bind(**{name: jnp.asarray(column, jnp.float32)})(key, x))
    np.testing.assert_allclose(y[::2], np.asarray(case.bind(**{name: low})(key, x))[::2], **close)
    np.testing.assert_allclose(y[1::2], np.asarray(case.bind(**{name: high})(key, x))[1::2], **close)


@every
def test_per_example_draws_do_not_depend_on_the_batch(case, key):
    x = np.asarray(case.array())
    ids = np.arange(x.shape[0], dtype=np.int32) * 7 + 3
    run = jax.jit(lambda ids, x: nj.per_example(case.bind(), ids)(key, x))
    whole = np.asarray(run(ids, x))
    for i in (0, 3, len(x) - 2):
        np.testing.assert_allclose(run(ids[i : i + 2], x[i : i + 2]), whole[i : i + 2], **close)


@every
def test_no_key_is_reused(case, key):
    with jax.debug_key_reuse(True):
        jax.jit(nj.chain(case.bind(), case.bind()))(jax.random.key(0), case.array())


@every
def test_any_jax_key_is_accepted(case):
    """Raw keys draw what typed ones do; how the words of every kind of key count is in tests/test_stream.py."""
    x, noise = case.array(), case.bind()
    for impl in ("rbg", "unsafe_rbg"):
        assert jax.eval_shape(noise, jax.random.key(5, impl=impl), x).shape == x.shape
    typed = jax.random.key(5)
    np.testing.assert_array_equal(noise(jax.random.key_data(typed), x), noise(typed, x))


@every
def test_appending_a_stage_changes_no_earlier_draw(case, key):
    x = case.array()
    identity = case.bind(**case.neutral)
    alone = nj.chain(case.bind())(key, x)
    np.testing.assert_allclose(nj.chain(case.bind(), identity)(key, x), alone, **close)
    shifted = nj.chain(identity, case.bind())(key, x)
    assert (np.asarray(shifted) != np.asarray(alone)).any(), "two positions drew the same noise"


@every
def test_star_law(case):
    """Left of the star amounts, right of it structure: hashable defaults; key first, x second."""
    parameters = list(inspect.signature(case.function).parameters.values())
    assert [p.name for p in parameters[:2]] == ["key", "x"]
    for p in parameters[2:]:
        assert p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        if p.kind is p.KEYWORD_ONLY:
            hash(p.default)
    assert {"where", "lengths"} <= {p.name for p in parameters}
