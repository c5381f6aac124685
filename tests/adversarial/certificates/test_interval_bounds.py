"""Interval bounds: exact for linear models, and a sandwich with an attack."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisejax.adversarial import (
    interval_bounds,
    margin_bounds,
    worst_case_logits,
)


def net(seed, *sizes):
    rng = np.random.default_rng(seed)
    pairs = itertools.pairwise(sizes)
    return [(np.float32(rng.normal(size=(a, b)) / a**0.5), np.float32(0.1 * rng.normal(size=b))) for a, b in pairs]


def forward(layers, x):
    for kernel, bias in layers[:-1]:
        x = np.maximum(x @ kernel + bias, 0)
    return x @ layers[-1][0] + layers[-1][1]


def test_interval_margins_of_a_linear_model_are_exact():
    ((kernel, bias),) = layers = net(0, 4, 3)
    x, y, eps = np.float32(np.random.default_rng(1).normal(size=(20, 4))), np.arange(20) % 3, np.float32(0.1)
    found = jax.jit(margin_bounds)(layers, x - eps, x + eps, y)
    z = x @ kernel + bias
    worst = [
        min(z[i, y[i]] - z[i, j] - eps * abs(kernel[:, y[i]] - kernel[:, j]).sum() for j in range(3) if j != y[i])
        for i in range(20)
    ]
    np.testing.assert_allclose(found, worst, atol=1e-5)
    assert (np.float64(found) <= np.float64(worst)).all()


def test_certified_is_robust_is_not_broken_by_an_attack():
    """Two inputs, so that the truth is a grid: certified <= true <= attacked, and each differs somewhere."""
    layers, eps = net(2, 2, 16, 16, 3), np.float32(0.12)
    x = np.float32(np.random.default_rng(3).uniform(-1, 1, size=(200, 2)))
    y = forward(layers, x).argmax(1)
    certified = np.asarray(jax.jit(margin_bounds)(layers, x - eps, x + eps, y) > 0)
    steps = np.linspace(-eps, eps, 41, dtype=np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    truth = (forward(layers, x[:, None] + grid).argmax(-1) == y[:, None]).all(1)
    corners = np.float32(list(itertools.product([-eps, eps], repeat=2)))
    attacked = (forward(layers, x[:, None] + corners).argmax(-1) == y[:, None]).all(1)
    assert (certified <= truth).all() and (truth <= attacked).all()
    assert 0 < certified.sum() < truth.sum() < 200
    lower, upper = jax.jit(interval_bounds)(layers, x - eps, x + eps)
    inside = forward(layers, x[:, None] + grid)
    assert (np.asarray(lower)[:, None] <= inside).all() and (inside <= np.asarray(upper)[:, None]).all()
    worst = worst_case_logits(lower, upper, y)
    rows = np.arange(200)
    np.testing.assert_array_equal(worst[rows, y], np.asarray(lower)[rows, y])
    assert ((worst[rows, y] > np.sort(np.where(np.eye(3)[y] > 0, -np.inf, worst), 1)[:, -1]) <= truth).all()


def test_interval_bounds_round_outwards():
    """A box of one point, wide layers: the float64 result lies strictly inside what is rounding alone."""
    layers = net(4, 500, 800, 10)
    x = np.float32(10 * np.random.default_rng(5).normal(size=(20, 500)))
    lower, upper = (np.float64(bound) for bound in jax.jit(interval_bounds)(layers, x, x))
    exact = forward([(np.float64(k), np.float64(b)) for k, b in layers], np.float64(x))
    assert (lower < exact).all() and (exact < upper).all()
    assert (upper - lower).max() < 0.1 * abs(exact).max()
    with pytest.raises(ValueError, match="Flatten images first"):
        interval_bounds(layers, x.reshape(20, 5, 100), x)


def test_empty_boxes_and_labels_that_do_not_exist_certify_nothing():
    layers, x, y = net(0, 4, 3), np.zeros((2, 4), np.float32), np.array([0, 2])
    low, high = interval_bounds(layers, x - 0.1, x + 0.1)
    exchanged = x.copy(), x + 0.1
    exchanged[0][1, 2] = 0.2
    for wrong in ((x + 0.1, x - 0.1), exchanged, (jnp.asarray(x * np.nan), x)):
        for call in (interval_bounds, lambda *a: margin_bounds(*a, y), lambda _, *a: worst_case_logits(*a, y)):
            with pytest.raises(ValueError, match="lower must be at most upper"):
                call(layers, *(a[:, :3] if "_" in call.__code__.co_varnames else a for a in wrong))
        assert not (jax.jit(margin_bounds)(layers, *wrong, y) > -np.inf)[1]
    for labels in ([-1, 0], [0, 3], [5, 1]):
        for array in (np.array(labels), jnp.array(labels)):
            with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\)"):
                margin_bounds(layers, x, x, array)
            with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\)"):
                worst_case_logits(low, high, array)
        assert np.isneginf(jax.jit(margin_bounds)(layers, x, x, np.array(labels))).any()
