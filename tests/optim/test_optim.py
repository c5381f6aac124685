"""noisejax.optim: gradient noise, Langevin dynamics, anticorrelated noise, gradients at noisy weights."""

import functools
import itertools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from flax import nnx
from flax.training import train_state

import noisejax as nj
import noisejax.optim as no

N = 1 << 16


@pytest.fixture
def standard():
    """Ordinary promotion of dtypes, which optax's own arithmetic needs; ours is tested under the strict one."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def normal(sample, scale=1.0):
    """Whether a Kolmogorov-Smirnov test lets a sample pass as normal; a right one fails once in 10,000 times."""
    return scipy.stats.kstest(np.asarray(sample, np.float64).ravel() / scale, "norm").pvalue > 1e-4


def once(tx, grads):
    """The first updates of a transform."""
    return jax.jit(lambda grads: tx.update(grads, tx.init(grads))[0])(grads)


def run(optimizer, params, steps, grad=lambda p: jax.tree.map(jnp.zeros_like, p)):
    """Parameters after every step of one compiled train step."""
    optimizer = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(grad(params), state, params)
        return optax.apply_updates(params, updates), state

    state, out = optimizer.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        out.append(params)
    assert step._cache_size() == 1, "one trace for all steps"
    return out


PARAMS = {"a": jnp.ones((3, 2)), "b": {"c": jnp.ones(4)}}


# Gradient noise


@pytest.mark.usefixtures("standard")
def test_annealed_std_is_the_papers_and_optaxs():
    std = no.annealed_std(0.3, 0.55)
    for t in (0, 1, 7, 1000):
        np.testing.assert_allclose(std(t), np.sqrt(0.3 / (1 + t) ** 0.55), rtol=1e-5)
    # What optax's transform really adds at its third step.
    theirs, zeros = optax.add_noise(0.3, 0.55, jax.random.key(0)), jnp.zeros(N)
    state = theirs.init(zeros)
    for _ in range(3):
        updates, state = theirs.update(zeros, state)
    assert abs(updates.std() / std(2) - 1) < 5 / np.sqrt(2 * N)


def test_add_noise_is_normal_of_the_scheduled_std_and_new_at_every_step(key):
    a, b, c = np.diff(run(no.add_noise(key, no.annealed_std(0.04, 1.0)), jnp.zeros(N), 3), axis=0, prepend=0)
    for t, noise in enumerate((a, b, c)):
        assert normal(noise, np.sqrt(0.04 / (1 + t)))
    for x, y in ((a, b), (b, c), (a, c)):
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / np.sqrt(N)


@pytest.mark.slow
def test_noise_for_bfloat16_is_drawn_in_float32_and_rounded_once(key):
    tx, g = no.add_noise(key, 0.5), jnp.linspace(-1, 1, N).astype(jnp.bfloat16)
    noise, noisy = once(tx, jnp.zeros(N)), once(tx, g)
    assert noisy.dtype == jnp.bfloat16
    np.testing.assert_array_equal(noisy, (g.astype(jnp.float32) + noise).astype(jnp.bfloat16))
    alone = once(tx, jnp.zeros(N, jnp.bfloat16))
    assert len(np.unique(alone)) > 2000  # jax.random.normal(..., bfloat16) has 128


def test_zero_std_is_the_identity_and_other_leaves_pass(key):
    grads = {"f": jnp.array([1.0, -0.0, jnp.nan, jnp.inf]), "i": jnp.arange(3), "none": None}
    for tx in (no.add_noise(key, 0.0), no.add_langevin_noise(key, 0.1, 0.0), no.add_anticorrelated_noise(key, 0.0)):
        out = once(tx, grads)
        np.testing.assert_array_equal(out["f"], grads["f"])
        np.testing.assert_array_equal(out["i"], grads["i"])
        assert out["none"] is None


class Pair(NamedTuple):
    w: jax.Array
    b: jax.Array


def test_a_leafs_noise_depends_on_its_path_alone(key):
    tx = no.add_noise(key, 1.0)

    def noise(tree):
        return once(tx, jax.tree.map(jnp.zeros_like, tree))

    w, b = jnp.ones((3, 4)), jnp.ones(5)
    small, large = noise({"w": w, "b": b}), noise({"a": {"w": w}, "b": b, "c": w, "w": w})
    np.testing.assert_array_equal(small["w"], large["w"])
    np.testing.assert_array_equal(small["b"], large["b"])
    np.testing.assert_array_equal(small["w"], noise(Pair(w, b)).w)
    np.testing.assert_array_equal(small["w"], noise(nnx.State({"w": nnx.Param(w), "b": nnx.Param(b)}))["w"][...])
    assert not np.array_equal(large["w"], large["c"]) and not np.array_equal(large["w"], large["a"]["w"])


def test_apply_noise_takes_any_noise_with_schedules(key):
    noise = nj.chain(
        nj.bind(nj.mask, rate=0.5), nj.bind(nj.gaussian, std=nj.scheduled(optax.linear_schedule(0.0, 1.0, 1)))
    )
    tx = no.apply_noise(key, noise)
    g = jnp.ones(N)
    state = tx.init(g)
    update = jax.jit(tx.update)
    first, state = update(g, state)
    second, state = update(g, state)
    assert set(np.unique(first)) == {0.0, 1.0} and state.count == 2
    low = np.asarray(second)[np.asarray(second) < 0]  # the half that the mask hit, and a tail of the other
    assert abs(len(low) / N - (0.5 * 0.5 + 0.5 * scipy.stats.norm.cdf(-1))) < 5 * 0.5 / np.sqrt(N)
    foreign = once(no.apply_noise(key, lambda key, x: x + jax.random.normal(key, x.shape)), g * 0)
    assert normal(foreign)


# Langevin dynamics


def test_sgld_has_the_stationary_variance_of_its_discretisation(key):
    """For U = a w^2 / 2 the chain is linear: w' = (1 - lr a) w + sqrt(2 lr T) n, of variance T / (a (1 - lr a / 2))."""
    a = jnp.array([1.0, 4.0]).reshape(2, 1)
    lr, temperature, chains = 0.25, 0.5, 4096
    tx = no.sgld(key, lr, temperature)

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(a * w, state)
        return (w + updates, state), None

    w = jnp.zeros((2, chains))
    (w, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=60))((w, tx.init(w)))
    variance = temperature / (a[:, 0] * (1 - lr * a[:, 0] / 2))
    for sample, expected in zip(np.asarray(w, np.float64), np.asarray(variance), strict=True):
        statistic = (sample**2).sum() / expected
        assert 1e-4 < scipy.stats.chi2(chains).cdf(statistic) < 1 - 1e-4
        assert normal(sample, np.sqrt(expected))


def test_langevin_noise_stands_after_the_learning_rate(key):
    lr = optax.exponential_decay(0.1, 1, 0.5)
    grad = functools.partial(jax.tree.map, lambda p: 3 * p)
    whole = run(no.sgld(key, lr, 0.3), PARAMS, 3, grad)
    chained = run(optax.chain(optax.sgd(lr), no.add_langevin_noise(key, lr, 0.3)), PARAMS, 3, grad)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), whole, chained)
    cold = run(no.sgld(key, lr, 0.0), PARAMS, 3, grad)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), cold, run(optax.sgd(lr), PARAMS, 3, grad))
    noise = no.add_langevin_noise(key, 0.02, 4.0)
    assert normal(once(noise, jnp.zeros(N)), np.sqrt(2 * 0.02 * 4.0))


def test_preconditioned_sgld_is_the_papers_formula(key):
    lr, decay, eps = 0.01, 0.9, 0.1
    g1, g2 = (np.linspace(low, 2, N, dtype=np.float32) for low in (-1, 0.5))
    updates = {}
    for temperature in (0.0, 0.7):
        tx = no.preconditioned_sgld(key, lr, temperature, decay, eps)
        update = jax.jit(tx.update)
        _, state = update(jnp.asarray(g1), tx.init(jnp.zeros(N)))
        updates[temperature], state = update(jnp.asarray(g2), state)
    nu = (1 - decay) * (decay * g1**2 + g2**2)
    preconditioner = 1 / (eps + np.sqrt(nu))
    np.testing.assert_allclose(state.nu, nu, rtol=1e-5)
    np.testing.assert_allclose(updates[0.0], -lr * preconditioner * g2, rtol=1e-5)
    assert normal((updates[0.7] - updates[0.0]) / np.sqrt(2 * lr * 0.7 * preconditioner))


# Anticorrelated noise


def test_anticorrelated_increments_telescope(key):
    paths = np.asarray(run(no.add_anticorrelated_noise(key, 0.3), jnp.zeros(N), 4), np.float64)
    for w in paths:  # one perturbation after any number of steps, and never their sum
        assert normal(w, 0.3)
    for earlier, later in itertools.pairwise(paths):
        assert abs(np.corrcoef(earlier, later)[0, 1]) < 5 / np.sqrt(N)
    increments = np.diff(paths, axis=0)
    assert abs(np.corrcoef(increments[0], increments[1])[0, 1] + 0.5) < 5 / np.sqrt(N)
    ended = run(no.add_anticorrelated_noise(key, optax.linear_schedule(0.3, 0.0, 3)), jnp.ones(100), 4)[-1]
    np.testing.assert_allclose(ended, 1, atol=1e-6)


def test_anticorrelated_noise_is_gradient_descent_at_noisy_weights(key):
    noise, lr = no.add_anticorrelated_noise(key, 0.3), 0.1
    start = jnp.linspace(-2, 2, 50)

    def grad(w):
        return jnp.sin(3 * w) + w**3

    perturbations = run(noise, jnp.zeros(50), 5)  # without gradients the parameters are the perturbation
    seen, z, xi = run(optax.chain(optax.sgd(lr), noise), start, 5, grad), start, jnp.zeros(50)
    for w, following in zip(seen, perturbations, strict=True):
        z, xi = z - lr * grad(z + xi), following
        np.testing.assert_allclose(w, z + xi, atol=2e-5)


# Gradients at noisy weights


def test_the_gradient_is_taken_at_noisy_weights_and_moves_clean_ones(key):
    def loss(params):
        return sum(0.5 * jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    params = {"w": jnp.full(N, 2.0), "b": jnp.ones(3)}
    value, grads = jax.jit(no.perturbed_gradients(jax.value_and_grad(loss), 0.5))(key, params)
    assert normal(grads["w"] - 2, 0.5)  # the gradient of this loss is the weight it sees
    np.testing.assert_allclose(value, loss(grads), rtol=1e-6)  # forward saw the same
    some = no.perturbed_gradients(jax.grad(loss), 0.5, only=lambda path, leaf: path == "w")
    only = jax.jit(some)(key, params)
    np.testing.assert_array_equal(only["w"], grads["w"])
    np.testing.assert_array_equal(only["b"], params["b"])
    bound = jax.jit(no.perturbed_gradients(jax.grad(loss), nj.bind(nj.gaussian, std=0.5)))(key, params)
    np.testing.assert_array_equal(bound["w"], grads["w"])
    stds = jnp.array([0.0, 1.0])
    traced = jax.jit(jax.vmap(lambda std: no.perturbed_gradients(jax.grad(loss), std)(key, params)))(stds)
    np.testing.assert_array_equal(traced["w"][0], params["w"])


def test_perturbed_gradients_in_train_steps_of_flax(key):
    x, y = jnp.linspace(-1, 1, 12).reshape(6, 2), jnp.ones((6, 1))
    w = jnp.array([[0.3], [-0.2]])

    def squares(prediction, y):
        return jnp.mean((prediction - y) ** 2)

    def noisy(grad_fn):
        return no.perturbed_gradients(grad_fn, 0.1)

    @nnx.jit
    def nnx_step(model, optimizer):
        graphdef, params, rest = nnx.split(model, nnx.Param, ...)
        grads = noisy(jax.grad(lambda params: squares(nnx.merge(graphdef, params, rest)(x), y)))(key, params)
        optimizer.update(model, grads)

    model = nnx.Linear(2, 1, use_bias=False, rngs=nnx.Rngs(0))
    model.kernel[...] = w
    nnx_step(model, nnx.Optimizer(model, optax.sgd(0.5), wrt=nnx.Param))

    dense = nn.Dense(1, use_bias=False)
    state = train_state.TrainState.create(apply_fn=dense.apply, params={"kernel": w}, tx=optax.sgd(0.5))
    linen = jax.jit(
        lambda s: s.apply_gradients(
            grads=noisy(jax.grad(lambda p: squares(s.apply_fn({"params": p}, x), y)))(key, s.params)
        )
    )(state)
    np.testing.assert_allclose(model.kernel[...], linen.params["kernel"], rtol=1e-5)  # the same streams, too
    whole = nnx.Linear(2, 1, use_bias=False, rngs=nnx.Rngs(0))
    whole.kernel[...] = w
    grads = noisy(nnx.grad(lambda model: squares(model(x), y)))(key, whole)  # the module itself, noised as a copy
    np.testing.assert_array_equal(whole.kernel[...], w)
    np.testing.assert_allclose(w - 0.5 * grads["kernel"][...], linen.params["kernel"], rtol=1e-5)
    clean = w - 0.5 * jax.grad(lambda w: squares(x @ w, y))(w)
    difference = np.abs(linen.params["kernel"] - clean).max()
    assert 1e-4 < difference < 0.3  # the step differs, by the noise's share of the gradient


def test_errors_name_the_argument_and_mend_it(key):
    with pytest.raises(TypeError, match=r"add_noise: key must be a JAX key.*jax.random.key\(0\)"):
        no.add_noise(0, 0.1)
    with pytest.raises(ValueError, match="add_noise: std must be at least 0"):
        no.add_noise(key, -1.0)
    with pytest.raises(ValueError, match="multi_transform"):
        no.add_noise(key, np.ones(3))
    with pytest.raises(TypeError, match="apply_noise"):
        no.add_noise(key, nj.bind(nj.gaussian, std=0.1))
    with pytest.raises(ValueError, match="sgld: temperature must be at least 0"):
        no.sgld(key, 0.1, -1.0)
    with pytest.raises(TypeError, match="bound noise"):
        no.apply_noise(key, nj.gaussian)
    with pytest.raises(TypeError, match=r"bind the noise first: nj.bind\(nj.gaussian"):
        no.perturbed_gradients(jax.grad(jnp.sum), nj.gaussian)
    with pytest.raises(TypeError, match="grad_fn must be a function"):
        no.perturbed_gradients(0.1, 0.1)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: no.annealed_std(0.1, -1.0), "annealed_std: gamma must be at least 0 and finite"),
        (lambda: no.annealed_std(0.1, float("inf")), "annealed_std: gamma"),
        (lambda: no.asam(optax.sgd(0.1), eta=float("inf")), "asam: eta must be above 0 and finite"),
        (lambda: no.asam(optax.sgd(0.1), eta="0.1"), "asam: eta must be a number"),
        (lambda: no.asam(optax.sgd(0.1), eta=lambda step: 0.1), "asam: eta must be a number, got the function"),
        (lambda: no.gsam(optax.sgd(0.1), alpha=np.ones(3)), "gsam: alpha must be one number"),
        (lambda: no.asam(optax.sgd(0.1), adaptive=True), "asam: adaptive must be a function of a leaf"),
        (lambda: no.awp(optax.sgd(0.1), perturbed=None), "awp: perturbed must be a function of a leaf"),
        (lambda: no.sam(optax.sgd(0.1), only=["*"]), "sam: only must be a pattern"),
        (lambda: no.sam(optax.sgd(0.1), alternate=0.05), "alternate must be True or False, got 0.05"),
        (lambda: no.perturbed_gradients(jax.grad(jnp.sum), 0.1, only=3), "perturbed_gradients: only must be a pattern"),
    ],
)
def test_host_values_are_checked_where_they_are_given(call, match):
    with pytest.raises((TypeError, ValueError), match=match):
        call()
