"""The penalty against the noise it stands for, by quadrature and by our own draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

import noisejax as nj

W = np.random.default_rng(0).standard_normal((2, 4))
V = np.random.default_rng(1).standard_normal((4, 3))
X = np.random.default_rng(2).standard_normal((6, 2))
STD = np.array([0.3, 0.7])  # relative to the noise level: one per feature


def linear(x):
    return x @ jnp.asarray(W[:, :3], x.dtype)


def deep(x):
    return jnp.tanh(x @ jnp.asarray(W, x.dtype)) @ jnp.asarray(V, x.dtype)


LOSSES = {
    "squared": lambda f, y: 0.5 * jnp.sum((f - y) ** 2, axis=-1),
    "softmax_cross_entropy": lambda f, y: -jnp.sum(y * jax.nn.log_softmax(f), axis=-1),
    "sigmoid_binary_cross_entropy": lambda f, y: (
        -jnp.sum(y * jax.nn.log_sigmoid(f) + (1 - y) * jax.nn.log_sigmoid(-f), axis=-1)
    ),
}


@functools.partial(jax.jit, static_argnames=("f", "loss"))
def added_loss(loss, f, x, y, std):
    """E loss(f(x + std n)) - loss(f(x)) for two features, by Gauss-Hermite quadrature (exact to rounding)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    grid = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 1, 2)
    weight = np.outer(weights, weights).reshape(-1)
    noisy = jax.vmap(lambda n: LOSSES[loss](f(x + std * n), y))(jnp.asarray(grid))
    return jnp.asarray(weight) @ noisy - LOSSES[loss](f(x), y)


@functools.partial(jax.jit, static_argnames=("f", "loss"))
def jit_penalty(f, x, std, *, loss="squared"):
    return nj.tikhonov_penalty(f, x, std, loss=loss)


@functools.partial(jax.jit, static_argnames=("f", "probes", "loss"))
def jit_estimate(key, f, x, std, *, probes=1, loss="squared"):
    return nj.tikhonov_estimate(key, f, x, std, probes=probes, loss=loss)


def optimum(loss, outputs):
    """The target of which these outputs are the conditional expectation: there the second term vanishes."""
    links = {"squared": lambda f: f, "softmax_cross_entropy": jax.nn.softmax}
    return links.get(loss, jax.nn.sigmoid)(outputs)


def test_exact_for_a_linear_model_and_the_squared_loss():
    with jax.enable_x64(True):
        x, y = jnp.asarray(X), jnp.ones((6, 3))
        std = jnp.asarray(2.0 * STD)  # large: there is no higher order
        added = added_loss("squared", linear, x, y, std[None])
        np.testing.assert_allclose(jit_penalty(linear, x, std), added, rtol=1e-10)
        np.testing.assert_allclose(added, 0.5 * np.sum((2 * STD[:, None] * W[:, :3]) ** 2), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("f", [linear, deep])
def test_right_to_fourth_order_at_the_optimum(loss, f):
    with jax.enable_x64(True):
        x = jnp.asarray(X)
        y = optimum(loss, f(x))
        errors = []
        for level in (0.02, 0.01):
            std = jnp.asarray(level * STD)
            penalty = jit_penalty(f, x, std, loss=loss)
            added = added_loss(loss, f, x, y, std[None])
            assert float(jnp.max(jnp.abs(penalty / added - 1))) < 50 * level**2
            errors.append(np.asarray(added - penalty))
        if (loss, f) == ("squared", linear):
            assert np.abs(errors).max() < 1e-12  # nothing beyond the second order
        else:
            ratio = np.linalg.norm(errors[0]) / np.linalg.norm(errors[1])
            np.testing.assert_allclose(ratio, 16, rtol=0.02)  # a half of the noise, 1/16 of the error


@pytest.mark.slow
def test_away_from_the_optimum_the_difference_is_the_term_in_the_second_derivative():
    with jax.enable_x64(True):
        x, y = jnp.asarray(X), jnp.asarray(X @ W[:, :3])
        std = jnp.asarray(0.01 * STD)
        hessian = jax.vmap(jax.hessian(lambda row: deep(row[None])[0]))(x)
        second = 0.5 * jnp.einsum("bk,bkii,i->b", deep(x) - y, hessian, std**2)
        added = added_loss("squared", deep, x, y, std[None])
        penalty = jit_penalty(deep, x, std)
        np.testing.assert_allclose(added, penalty + second, rtol=1e-3)
        assert float(jnp.max(jnp.abs(second / penalty))) > 0.1, "the term that the penalty drops is not small here"


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_our_gaussian_noise_adds_the_penalty(loss, key):
    f, level = (linear, 1.0) if loss == "squared" else (linear, 0.05)
    x = jnp.asarray(X, jnp.float32)
    y = optimum(loss, f(x))
    std = jnp.asarray(level * STD, jnp.float32)

    def difference(key):
        return jnp.mean(LOSSES[loss](f(nj.gaussian(key, x, std)), y) - LOSSES[loss](f(x), y))

    draws = jax.jit(jax.vmap(difference))(jax.random.split(key, 20_000))
    error = draws.std() / 20_000**0.5
    penalty = jit_penalty(f, x, std, loss=loss).mean()
    assert error < 0.02 * penalty
    assert abs(draws.mean() - penalty) < 4.4 * error  # fails by chance once in 1e5


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_estimate_is_unbiased_and_has_hutchinsons_variance(loss, key):
    x, std = jnp.asarray(X, jnp.float32), jnp.asarray(STD, jnp.float32)
    exact = jit_penalty(deep, x, std, loss=loss)
    n = 10_000
    draws = jax.vmap(lambda key: jit_estimate(key, deep, x, std, loss=loss))(jax.random.split(key, n))
    error = draws.std(0) / n**0.5
    assert bool((jnp.abs(draws.mean(0) - exact) < 4.9 * error).all())  # six examples: fails once in 1e5
    assert bool((draws >= 0).all())
    many = jit_estimate(key, deep, x, std, probes=n, loss=loss)
    assert bool((jnp.abs(many - exact) < 4.9 * error).all())
    if loss == "squared":
        jacobian = jax.vmap(jax.jacobian(lambda row: deep(row[None])[0]))(x) * std.reshape(1, 1, 2)
        gram = jnp.einsum("bki,bli->bkl", jacobian, jacobian)
        variance = (jnp.sum(gram**2, (1, 2)) - jnp.einsum("bkk->bk", gram**2).sum(1)) / 2
        # The variance of a variance: its relative error is about sqrt(kurtosis / n) < 0.03, and 0.15 is far beyond.
        np.testing.assert_allclose(draws.var(0), variance, rtol=0.15)


def test_the_estimate_is_exact_for_one_output(key):
    x = jnp.asarray(X, jnp.float32)
    for f in (lambda x: deep(x)[:, :1], lambda x: deep(x)[:, 0]):
        np.testing.assert_allclose(jit_estimate(key, f, x, 0.3), jit_penalty(f, x, 0.3), rtol=1e-5)


def test_std_is_a_scalar_a_row_or_a_column(key):
    x = jnp.asarray(X, jnp.float32)
    column = jnp.linspace(0, 1, 6).reshape(6, 1)
    unit = jit_penalty(deep, x, 1.0)
    np.testing.assert_allclose(jit_penalty(deep, x, 0.5), 0.25 * unit, rtol=1e-5)
    np.testing.assert_allclose(jit_penalty(deep, x, column), column[:, 0] ** 2 * unit, rtol=1e-5)
    np.testing.assert_allclose(
        jit_penalty(deep, x, np.array([0.5, 0.0])) + jit_penalty(deep, x, np.array([0.0, 0.5])),
        0.25 * unit,
        rtol=1e-5,
    )
    assert not jit_penalty(deep, x, 0.0).any()
    assert not jit_estimate(key, deep, x, 0.0).any()


def test_with_the_penalty_least_squares_is_ridge_regression():
    rng = np.random.default_rng(3)
    x, y, std = rng.standard_normal((50, 4)), rng.standard_normal(50), 0.75  # exact in float32, as amounts are
    ridge = Ridge(alpha=50 * std**2, fit_intercept=False).fit(x, y)
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y)

        def objective(w):
            return jnp.mean(0.5 * (x @ w - y) ** 2 + nj.tikhonov_penalty(lambda x: x @ w, x, std))

        gradient = jax.jit(jax.grad(objective))(jnp.asarray(ridge.coef_))
        np.testing.assert_allclose(gradient, 0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_trains_by_double_backpropagation(loss, key):
    """The gradient in the parameters, against finite differences; logits so large that p is 0 or 1 in float32."""
    with jax.enable_x64(True):
        x, w = jnp.asarray(X), jnp.asarray(W)

        def objective(scale):
            def f(x):
                return scale * jnp.tanh(x @ w) @ jnp.asarray(V)

            return (
                nj.tikhonov_penalty(f, x, 0.3, loss=loss).mean()
                + nj.tikhonov_estimate(key, f, x, 0.3, loss=loss).mean()
            )

        objective = jax.jit(objective)
        slope = jax.jit(jax.grad(objective))(1.3)
        np.testing.assert_allclose(slope, (objective(1.3 + 1e-5) - objective(1.3 - 1e-5)) / 2e-5, rtol=1e-6)
    steep = jax.jit(
        jax.grad(
            lambda s: nj.tikhonov_penalty(lambda x: s * deep(x), jnp.asarray(X, jnp.float32), 1.0, loss=loss).sum()
        )
    )
    assert bool(jnp.isfinite(steep(1000.0)))


@pytest.mark.slow
def test_jit_vmap_and_batch_splits_agree(key):
    x = jnp.asarray(X, jnp.float32)
    whole = nj.tikhonov_estimate(key, deep, x, 0.3, probes=3)
    jitted = functools.partial(jit_estimate, f=deep, std=0.3, probes=3)
    np.testing.assert_allclose(jitted(key, x=x), whole, rtol=1e-5)
    np.testing.assert_allclose(jitted(key, x=x[:2]), whole[:2], rtol=1e-5)
    keys = jax.random.split(key, 3)
    looped = jnp.stack([jitted(k, x=x) for k in keys])
    np.testing.assert_allclose(jax.vmap(lambda k: jitted(k, x=x))(keys), looped, rtol=1e-5)
    assert bool((looped[0] != looped[1]).any())
    several = jax.vmap(lambda std: jit_penalty(deep, x, std))(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(several[1], jit_penalty(deep, x, 0.2), rtol=1e-5)


@pytest.mark.parametrize("axis_type", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_examples_may_be_sharded(axis_type, key):
    x = np.random.default_rng(4).standard_normal((16, 2)).astype(np.float32)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))

    @jax.jit
    def both(key, x):
        return nj.tikhonov_penalty(deep, x, 0.3), nj.tikhonov_estimate(key, deep, x, 0.3, probes=2)

    expected = both(key, jnp.asarray(x))
    with jax.set_mesh(mesh):
        rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
        sharded = jax.device_put(x, rows)
        got = both(key, sharded)
        text = both.lower(key, sharded).compile().as_text()
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
        assert a.sharding.is_equivalent_to(rows, 1)
    assert not any(word in text for word in ("all-reduce", "all-gather", "collective-permute", "all-to-all"))


@pytest.mark.slow
def test_low_precision_inputs_are_summed_in_float32(key):
    x = jnp.asarray(X, jnp.bfloat16)
    penalty = nj.tikhonov_penalty(deep, x, 0.3)
    assert penalty.dtype == jnp.float32
    np.testing.assert_allclose(penalty, nj.tikhonov_penalty(deep, x.astype(jnp.float32), 0.3), rtol=0.05)
    assert nj.tikhonov_estimate(key, deep, x, 0.3).dtype == jnp.float32


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (ValueError, "std must be at least 0", lambda key, x: nj.tikhonov_penalty(deep, x, -0.1)),
        (ValueError, "std of shape .* does not broadcast", lambda key, x: nj.tikhonov_penalty(deep, x, np.ones(6))),
        (ValueError, "loss must be one of", lambda key, x: nj.tikhonov_penalty(deep, x, 0.1, loss="hinge")),
        (ValueError, "jax.vmap", lambda key, x: nj.tikhonov_penalty(lambda x: deep(x).sum(), x, 0.1)),
        (TypeError, "f must be a function", lambda key, x: nj.tikhonov_penalty(x, x, 0.1)),
        (TypeError, "x must hold floats", lambda key, x: nj.tikhonov_penalty(deep, x.astype(jnp.int32), 0.1)),
        (ValueError, "x must be a batch", lambda key, x: nj.tikhonov_penalty(deep, x[0, 0], 0.1)),
        (TypeError, "key must be a JAX key", lambda key, x: nj.tikhonov_estimate(0, deep, x, 0.1)),
        (ValueError, "probes must be", lambda key, x: nj.tikhonov_estimate(key, deep, x, 0.1, probes=0)),
    ],
)
def test_bad_input_is_named(error, match, call, key):
    with pytest.raises(error, match=match):
        call(key, jnp.asarray(X, jnp.float32))


@pytest.mark.parametrize("name", ["tikhonov_penalty", "tikhonov_estimate"])
def test_numpy_of_64_bits_is_that_of_32_bits_without_x64(name):
    def of(x):
        given = (jax.random.key(0),) if name == "tikhonov_estimate" else ()
        return getattr(nj, name)(*given, lambda x: jnp.tanh(x @ W.astype(np.float32)), x, 0.25)

    found = of(X)  # a warning of JAX would be an error here
    np.testing.assert_allclose(found, of(X.astype(np.float32)), rtol=1e-5)
