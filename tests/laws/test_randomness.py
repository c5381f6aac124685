"""Law 6: the draw depends on the key, the noise and the index; not on how the call is compiled or batched."""

import inspect

import jax
import numpy as np
import pytest

import noisejax as nj
from cases import every, every_even_heavy
from laws import programs


def close(case) -> dict[str, float]:
    return {"rtol": case.close, "atol": case.close}


@every_even_heavy
def test_same_key_same_bits_other_key_other_bits(case, key):
    x, noise = case.x(), case.bind()
    np.testing.assert_array_equal(noise(key, x), noise(key, x))
    if not case.draws:
        pytest.skip("it draws nothing")
    others = [np.asarray(noise(k, x)).tobytes() for k in programs.KEYS]
    assert len({np.asarray(noise(key, x)).tobytes(), *others}) > 2


@every_even_heavy
def test_jit_equals_eager_and_amounts_trace_once(case, key):
    x, (program, traces) = case.x(), programs.jitted(case)
    for amounts in (case.amounts, case.neutral, case.other):
        noise = case.bind(**amounts)
        np.testing.assert_allclose(program(noise, key, x)[0], noise(key, x), **close(case))
    assert len(traces) == 1


@pytest.mark.slow
@every
def test_hits_under_jit_are_those_of_eager_calls(case, key):
    if not case.hits:
        pytest.skip("it changes every element")
    x, noise = case.x(), case.bind()
    np.testing.assert_array_equal(programs.jitted(case)[0](noise, key, x)[1], nj.hits(noise)(key, x))


@every
def test_vmap_over_noises_and_keys_equals_a_loop(case):
    x = case.x()
    mapped = programs.batched(case)(np.arange(len(x), dtype=np.int32), x)["mapped"]
    np.testing.assert_allclose(mapped, loop(case), **close(case))


@pytest.mark.slow
@every
def test_a_scan_over_keys_equals_a_loop(case):
    x, noise = case.x(), case.bind()
    _, scanned = jax.lax.scan(lambda _, key: (None, noise(key, x)), None, programs.THREE)
    np.testing.assert_allclose(scanned, [np.asarray(noise(key, x)) for key in programs.KEYS[:3]], **close(case))


def refused_per_example(case):
    if case.function.__noise__.sees == "batch":
        with pytest.raises(TypeError, match="reads the other examples"):
            nj.per_example(case.bind())
        pytest.skip("it reads other examples")


def loop(case):
    pairs = zip(programs.alternating(case), programs.KEYS[:3], strict=True)
    return [np.asarray(case.bind(**amounts)(key, case.x())) for amounts, key in pairs]


@every
def test_per_example_amounts_equal_one_call_per_amount(case):
    if case.per_example is None:
        pytest.skip("its amounts belong to the whole call")
    x, name, key = case.x(), case.per_example, programs.KEYS[0]
    y = np.asarray(programs.batched(case)(np.arange(len(x), dtype=np.int32), x)["column"])
    for first, amounts in ((0, case.amounts), (1, case.other)):
        alone = np.asarray(case.bind(**{name: amounts[name]})(key, x))
        np.testing.assert_allclose(y[first::2], alone[first::2], **close(case))


@every
def test_per_example_draws_do_not_depend_on_the_batch(case):
    refused_per_example(case)
    x, run = case.x(), programs.batched(case)
    ids, order = np.arange(len(x), dtype=np.int32) * 7 + 3, np.array([5, 2, 2, 7, 0, 1, 6, 4])
    whole = np.asarray(run(ids, x)["per_example"])
    np.testing.assert_allclose(run(ids[order], x[order])["per_example"], whole[order], **close(case))


@pytest.mark.slow
@every
def test_per_example_draws_do_not_depend_on_the_size_of_the_batch(case):
    refused_per_example(case)
    x, ids = case.x(), np.arange(len(case.x()), dtype=np.int32) * 7 + 3
    whole, key = np.asarray(programs.batched(case)(ids, x)["per_example"]), programs.KEYS[0]
    part = jax.jit(lambda ids, x: nj.per_example(case.bind(), ids)(key, x))
    for i in (0, 3, len(x) - 2):
        np.testing.assert_allclose(part(ids[i : i + 2], x[i : i + 2]), whole[i : i + 2], **close(case))


@every
def test_positions_in_a_chain_draw_differently_and_no_key_is_reused(case, key):
    if not case.draws:
        pytest.skip("it draws nothing")
    x, run = case.x(), programs.chained(case)
    noise, identity = case.bind(), case.bind(**case.neutral)
    # Of two keys: flips of eight pictures are the same by chance for one key in two hundred.
    first, second = (
        [np.asarray(run(*pair, k, x)) for k in programs.KEYS[:2]] for pair in ((noise, identity), (identity, noise))
    )
    assert np.not_equal(first, second).any()


@pytest.mark.slow
@every
def test_appending_a_stage_changes_no_earlier_draw(case, key):
    x, noise = case.x(), case.bind()
    followed = programs.chained(case)(noise, case.bind(**case.neutral), key, x)
    np.testing.assert_allclose(followed, nj.chain(noise)(key, x), **close(case))


@pytest.mark.slow
@every
def test_any_jax_key_is_accepted(case):
    """Raw keys draw what typed ones do; how the words of every kind of key count is in tests/random/test_stream.py."""
    x, noise = case.x(), case.bind()
    for impl in ("rbg", "unsafe_rbg"):
        assert jax.eval_shape(noise, jax.random.key(5, impl=impl), x).shape == x.shape
    typed = jax.random.key(5)
    np.testing.assert_array_equal(noise(jax.random.key_data(typed), x), noise(typed, x))


@every_even_heavy
def test_star_law(case):
    """Left of the star amounts, right of it structure: hashable defaults; key first, x second."""
    parameters = list(inspect.signature(case.function).parameters.values())
    assert [p.name for p in parameters[:2]] == ["key", "x"]
    for p in parameters[2:]:
        assert p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        if p.kind is p.KEYWORD_ONLY:
            hash(p.default)  # an option without a default has `inspect.Parameter.empty`, and is required
    assert {"where", "lengths"} <= {p.name for p in parameters}
