"""Law 7: every mode of differentiation works, and the backward pass saves the key, not the draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj
from cases import every


def residuals(function, *args):
    from jax._src.ad_checkpoint import saved_residuals

    return [aval for aval, _ in saved_residuals(function, *args)]


@every
def test_reverse_forward_and_second_order_agree(case, key):
    if case.function is nj.nonfinite:
        pytest.skip("a loss over NaN is NaN; its own tests hold its gradient")
    x, noise = case.array(), case.bind()

    direction = jnp.asarray(np.random.default_rng(3).standard_normal(x.shape), jnp.float32)

    @jax.jit  # one program for all modes: compiling is what this test costs
    def modes(x):
        def loss(x, key=key):
            return jnp.sum(jnp.sin(noise(key, x)))

        forward = jax.jvp(loss, (x,), (direction,))[1]
        hessian_vector = jax.jvp(jax.grad(loss), (x,), (direction,))[1]
        mapped = jax.vmap(jax.grad(loss), (None, 0))(x, jax.random.split(key, 2))
        return jax.grad(loss)(x), forward, hessian_vector, mapped

    gradient, forward, hessian_vector, mapped = modes(x)
    assert all(bool(jnp.isfinite(g).all()) for g in (gradient, hessian_vector, mapped))
    np.testing.assert_allclose(forward, jnp.vdot(gradient, direction), rtol=1e-3, atol=1e-3)


@every
def test_gradients_in_x_are_those_of_the_formula(case, key):
    if not case.differentiable or case.measures:
        pytest.skip("its gradient is straight-through or runs through a statistic; its own tests hold it")
    x, noise = case.array(), case.bind()
    direction = jnp.asarray(np.random.default_rng(3).standard_normal(x.shape), jnp.float32)
    step = 1e-2
    numeric = (noise(key, x + step * direction) - noise(key, x - step * direction)) / (2 * step)
    _, exact = jax.jvp(lambda x: noise(key, x), (x,), (direction,))
    np.testing.assert_allclose(exact, numeric, rtol=2e-2, atol=2e-2)


@every
def test_gradients_at_the_ends_of_the_ranges_are_finite(case, key):
    x = case.array()
    ends = [case.neutral] + [{**case.amounts, "rate": 1.0}] * ("rate" in case.amounts)
    for amounts in ends:
        noise = case.bind(**amounts)
        gradient = jax.jit(jax.grad(lambda noise, x: jnp.sum(noise(key, x) ** 2), argnums=1))(noise, x)
        assert bool(jnp.isfinite(gradient).all()), amounts
        assert case.function.__name__ == "nonfinite" or bool(jnp.isfinite(noise(key, x)).all()), amounts


@every
def test_amounts_get_gradients_only_on_request(case, key):
    x = case.array()
    for learn in (False, True):
        noise = nj.learnable(case.bind()) if learn else case.bind()
        gradient = jax.jit(jax.grad(lambda noise: jnp.sum(noise(key, x) ** 2)))(noise)
        leaves = jax.tree.leaves(gradient)
        assert all(bool(jnp.isfinite(g).all()) for g in leaves)
        if not learn:
            assert all(float(jnp.abs(g).max()) == 0 for g in leaves)


@every
def test_nothing_of_the_size_of_x_is_saved_for_the_noise(case, key):
    """A linear noise saves no array of x's size; another one saves x at most, and never a draw."""
    x = case.array()
    saved = [a for a in residuals(lambda x: case.bind()(key, x), x) if a.size >= x.size // 2]
    assert len(saved) <= 1 and all(a.dtype == x.dtype for a in saved), saved
