"""Law 7: every mode of differentiation works, and the backward pass saves the key, not the draw."""

import jax
import numpy as np
import pytest

import noisejax as nj
from cases import every, every_even_heavy
from laws import programs


def finite(*trees) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trees))


def residuals(function, *args):
    from jax._src.ad_checkpoint import saved_residuals

    return [aval for aval, _ in saved_residuals(function, *args)]


@every
def test_reverse_forward_and_second_order_agree(case):
    if case.function is nj.nonfinite:
        pytest.skip("a loss over NaN is NaN; its own tests hold its gradient")
    found = programs.differentiated(case)()
    assert finite(found["x"], found["second_order"])
    forward = np.vdot(np.cos(found["value"]), found["value_slope"])
    np.testing.assert_allclose(forward, np.vdot(found["x"], programs.direction(case)), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@every
def test_reverse_mode_is_mapped_over_keys(case):
    if case.function is nj.nonfinite:
        pytest.skip("a loss over NaN is NaN; its own tests hold its gradient")
    x, noise = case.x(), case.bind()
    mapped = jax.jit(jax.vmap(lambda key: programs.gradients(noise, x, key)[0][1]))(programs.THREE)
    assert finite(mapped)
    close = max(case.close, 1e-5)
    np.testing.assert_allclose(mapped[0], programs.differentiated(case)()["x"], rtol=close, atol=close)


@every
def test_gradients_in_x_are_those_of_the_formula(case):
    if not case.differentiable or case.measures:
        pytest.skip("its gradient is straight-through or runs through a statistic; its own tests hold it")
    x, noise, key, step = case.x(), case.bind(), programs.KEYS[0], np.float32(1e-2)
    above, below = (np.asarray(noise(key, x + h * programs.direction(case))) for h in (step, -step))
    exact = programs.differentiated(case)()["value_slope"]
    np.testing.assert_allclose(exact, (above - below) / (2 * step), rtol=2e-2, atol=2e-2)


@every
def test_gradients_at_the_ends_of_the_ranges_are_finite(case):
    ends = [case.neutral] + [{**case.amounts, "rate": 1.0}] * ("rate" in case.amounts)
    for amounts in ends:
        found = programs.differentiated(case)(**amounts)
        assert finite(found["x"]), amounts
        assert case.function is nj.nonfinite or finite(found["value"]), amounts


@every
def test_amounts_get_gradients_only_on_request(case):
    found = programs.differentiated(case)()
    assert finite(found["learnt_amounts"])
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(found["amounts"]))


@every_even_heavy
def test_nothing_of_the_size_of_x_is_saved_for_the_noise(case, key):
    """A linear noise saves no array of x's size; another one saves x at most, and never a draw."""
    x = case.array()
    amounts = {np.shape(leaf) for leaf in jax.tree.leaves(case.bind())}  # fitted values are saved, but not copied
    saved = [a for a in residuals(lambda x: case.bind()(key, x), x) if a.size >= x.size // 2 and a.shape not in amounts]
    assert len(saved) <= 1 and all(a.dtype == x.dtype for a in saved), saved
