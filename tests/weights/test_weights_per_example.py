"""Products with another weight for every example, against one weight sample drawn for each example.

A product is linear in its weight, so the noise of the outputs of example b is J_b (std * E_b), with J_b the Jacobian
of the plain product: the reference for means, covariances and samples, for any product. Thresholds allow one false
alarm in 10,000 runs for each test; the keys are fixed.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from noisejax.weights import Conv, flipout, local_reparam, low_rank, low_rank_factors, noisy_net

SAMPLES = 20_000
FUNCTIONS = {
    "local_reparam": local_reparam,
    "flipout": flipout,
    "noisy_net": noisy_net,
    "low_rank": functools.partial(low_rank, rank=2),
}
VARIANCE = {"noisy_net": 2 / np.pi}  # of one weight's noise, in units of std**2

PRODUCTS = {
    "dense": ("...i,io->...o", (2, 4), (4, 3)),
    "tokens": ("...i,io->...o", (2, 2, 3), (3, 2)),
    "heads": ("nta,ahb->nthb", (2, 2, 3), (3, 2, 2)),
    "shared-label": ("nha,hab->nhb", (2, 2, 3), (2, 3, 2)),
    "conv": (Conv(strides=2), (2, 5, 2), (3, 2, 2)),
    "groups": (Conv(padding=1, feature_group_count=2), (2, 3, 4), (3, 2, 4)),
}
SHARES = {"flipout", "noisy_net", "low_rank"}  # one weight sample for all positions of an example


def arrays(name):
    product, x_shape, w_shape = PRODUCTS[name]
    random = np.random.default_rng(5)
    x, w, std = random.standard_normal(x_shape), random.standard_normal(w_shape), random.uniform(0.2, 1, w_shape)
    return product, *(jnp.asarray(a, jnp.float32) for a in (x, w, std))


def plain(product, x, w):
    if isinstance(product, str):
        return jnp.einsum(product, x, w)
    step = product.strides if isinstance(product.strides, int) else product.strides[0]
    padding = product.padding if isinstance(product.padding, str) else [(product.padding,) * 2]
    dimensions = ("NWC", "WIO", "NWC")
    groups = product.feature_group_count
    return jax.lax.conv_general_dilated(
        x, w, (step,), padding, dimension_numbers=dimensions, feature_group_count=groups
    )


def jacobian(product, x, w):
    """Of each output (examples, outputs of one) in each weight, in float64."""
    j = jax.jacobian(lambda w: plain(product, x, w))(w)
    return np.asarray(j, np.float64).reshape(x.shape[0], -1, w.size)


@functools.cache
def draws(function, name, scalar):
    """The noise of SAMPLES calls: (samples, examples, outputs of one)."""
    product, x, w, std = arrays(name)
    std = jnp.float32(0.5) if scalar else std
    call = functools.partial(FUNCTIONS[function], product=product)
    noise = jax.jit(jax.vmap(lambda k: call(k, x, w, std) - plain(product, x, w)))
    return np.asarray(noise(jax.random.split(jax.random.key(1), SAMPLES)), np.float64).reshape(SAMPLES, len(x), -1)


def z_scores(values, expected):
    """How many standard errors the mean of the first axis is away from what is expected."""
    error = values.std(0) / math.sqrt(len(values))
    return (values.mean(0) - expected) / np.where(error > 0, error, 1)


def threshold(count):
    return scipy.stats.norm.isf(0.5e-4 / count)


CASES = [(f, p) for f in FUNCTIONS for p in PRODUCTS if not (f.startswith("low_rank") and p in ("conv", "groups"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "name", "scalar"),
    [(f, p, scalar) for f, p in CASES for scalar in (False, True) if not scalar or p in ("tokens", "conv")],
)
def test_mean_and_covariance_are_those_of_one_weight_sample_per_example(function, name, scalar):
    """Conv and noisy_net: the taps of a kernel share factors, which changes covariances within an example only."""
    product, x, w, std = arrays(name)
    std = np.full(w.shape, 0.5) if scalar else np.asarray(std, np.float64)
    j = jacobian(product, x, w) * std.reshape(-1)
    noise = draws(function, name, scalar)
    assert abs(z_scores(noise, 0)).max() < threshold(noise[0].size)

    expected = np.einsum("bpw,bqw->bpq", j, j) * VARIANCE.get(function, 1)
    positions = expected.shape[1] // w.shape[-1]
    if function not in SHARES:  # independent positions
        sameposition = np.eye(positions).repeat(w.shape[-1], 0).repeat(w.shape[-1], 1)
        if name in ("heads", "shared-label"):  # the outputs of one row are more than the last axis
            rows = 2 if name == "heads" else 1
            sameposition = np.eye(rows).repeat(noise.shape[2] // rows, 0).repeat(noise.shape[2] // rows, 1)
        expected = expected * sameposition
    if function == "noisy_net" and name in ("conv", "groups"):
        channels = j.reshape(*j.shape[:2], -1, *w.shape[1:]).sum(2)
        expected = np.einsum("bpio,bqio->bpq", channels, channels) * 2 / np.pi
    products = noise[:, :, :, None] * noise[:, :, None, :]
    assert abs(z_scores(products, expected)).max() < threshold(expected.size)
    across = noise[:, 0, :, None] * noise[:, 1, None, :]
    assert abs(z_scores(across, 0)).max() < threshold(across[0].size)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["local_reparam", "flipout"])
@pytest.mark.parametrize("name", ["dense", "tokens", "conv"])
def test_each_output_is_normal_as_theory_says(function, name):
    product, x, w, std = arrays(name)
    j = jacobian(product, x, w) * np.asarray(std, np.float64).reshape(-1)
    scale = np.sqrt((j**2).sum(-1))
    noise = draws(function, name, False)
    p = [scipy.stats.kstest(noise[:, b, o] / scale[b, o], "norm").pvalue for b, o in np.ndindex(scale.shape)]
    assert min(p) > 1e-4 / scale.size


@pytest.mark.parametrize("function", ["noisy_net", "low_rank"])
def test_outputs_are_distributed_as_with_a_weight_drawn_by_numpy(function):
    _, x, _, std = arrays("tokens")
    random, n, rank = np.random.default_rng(6), SAMPLES, 2 if function == "low_rank" else 1
    a, b = random.standard_normal((n, 3, rank)), random.standard_normal((n, 2, rank))
    if function == "noisy_net":
        a, b = (np.sign(v) * np.sqrt(abs(v)) for v in (a, b))
    weights = np.asarray(std) * np.einsum("nir,nor->nio", a, b) / np.sqrt(rank)
    expected = np.einsum("ti,nio->nto", np.asarray(x)[0], weights).reshape(n, -1)
    noise = draws(function, "tokens", False)[:, 0]
    for statistic in (lambda v: v[:, 0], lambda v: v[:, 3], lambda v: v[:, 0] * v[:, 1], lambda v: v[:, 0] + v[:, 2]):
        assert scipy.stats.ks_2samp(statistic(noise), statistic(expected)).pvalue > 1e-4 / 4


def test_what_flipout_shares_and_local_reparam_does_not():
    """The squares of two examples' noise: independent for local_reparam, correlated under flipout's shared sample."""
    for function, shared in (("local_reparam", False), ("flipout", True), ("noisy_net", False), ("low_rank", False)):
        squares = draws(function, "dense", False)[:, :, 0] ** 2
        r, p = scipy.stats.spearmanr(squares[:, 0], squares[:, 1])
        assert (p < 1e-6 and r > 0) if shared else p > 1e-4, function


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_batch_mode_is_one_weight_for_the_call(function, key):
    _, x, w, std = arrays("tokens")
    same = jnp.broadcast_to(x[:1], x.shape)
    for amount in (std, 0.5):
        y = FUNCTIONS[function](key, same, w, amount, mode="batch")
        np.testing.assert_allclose(y[0], y[1], rtol=1e-6)
        # otherwise one for each example: flipout's signs agree by chance for one key in some ten, not for half of eight
        each = jax.vmap(lambda k, a=amount: FUNCTIONS[function](k, same, w, a))(jax.random.split(key, 8))
        assert (np.asarray(each[:, 0] != each[:, 1]).any((1, 2))).sum() >= 4
        # linear in x: a weight, and not noise of the outputs
        twice = FUNCTIONS[function](key, 2 * same, w, amount, mode="batch")
        np.testing.assert_allclose(twice, 2 * y, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_std_of_any_shape_means_the_same_as_the_full_one(function, key):
    _, x, w, _ = arrays("heads")
    call = functools.partial(FUNCTIONS[function], key, x, w, product="nta,ahb->nthb")
    for shape in ((), (2,), (2, 1), (3, 1, 1)):
        std = jnp.asarray(np.random.default_rng(1).uniform(0.2, 1, shape), jnp.float32)
        np.testing.assert_allclose(call(std), call(jnp.broadcast_to(std, w.shape)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_contract(function, key):
    call, (_, x, w, std) = FUNCTIONS[function], arrays("tokens")
    np.testing.assert_allclose(call(key, x, w, 0.0), plain("...i,io->...o", x, w), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(call)(key, x, w, std), call(key, x, w, std), rtol=1e-5)
    keys = jax.random.split(key, 2)
    mapped = jax.vmap(call, (0, None, None, None))(keys, x, w, std)
    np.testing.assert_allclose(mapped, jnp.stack([call(k, x, w, std) for k in keys]), rtol=1e-5, atol=1e-6)
    low = call(key, *(a.astype(jnp.bfloat16) for a in (x, w)), std)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(low.astype(jnp.float32), call(key, x, w, std), rtol=0.05, atol=0.05)
    one = call(key, x[0, 0], w, std)  # one example alone
    assert one.shape == (2,)
    with jax.enable_x64(True):
        assert call(key, x.astype(jnp.float64), w.astype(jnp.float64), std).dtype == jnp.float64
    traces = []
    step = jax.jit(lambda std: traces.append(0) or call(key, x, w, std))
    step(0.1), step(0.2)
    assert len(traces) == 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients(function, key):
    """Reverse, forward and numeric derivatives agree, in x, w and std; nothing is NaN at 0."""
    _, x, w, std = arrays("dense")
    direction = jax.tree.map(
        lambda a: jnp.asarray(np.random.default_rng(2).standard_normal(a.shape), a.dtype), (x, w, std)
    )

    @jax.jit
    def modes(arguments):
        def loss(arguments):
            return jnp.sum(jnp.sin(FUNCTIONS[function](key, *arguments)))

        def step(h):
            return [a + h * d for a, d in zip(arguments, direction, strict=True)]

        numeric = (loss(step(1e-2)) - loss(step(-1e-2))) / 2e-2
        gradient = jax.grad(loss)(arguments)
        at_zero = jax.grad(loss)(jax.tree.map(jnp.zeros_like, arguments))
        return numeric, jax.jvp(loss, (arguments,), (direction,))[1], gradient, at_zero

    numeric, forward, gradient, at_zero = modes((x, w, std))
    reverse = sum(jnp.vdot(g, d) for g, d in zip(gradient, direction, strict=True))
    np.testing.assert_allclose(forward, reverse, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(numeric, reverse, rtol=2e-2, atol=2e-2)
    assert all(bool(jnp.isfinite(g).all()) for g in (*gradient, *at_zero))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("scalar", [False, True], ids=["full", "scalar"])
def test_the_backward_pass_saves_no_draw(function, scalar, key):
    from jax._src.ad_checkpoint import saved_residuals

    x, w = jnp.ones((16, 8)), jnp.ones((8, 4))
    std = jnp.float32(0.1) if scalar else jnp.full((8, 4), 0.1)
    saved = saved_residuals(lambda x, w, std: FUNCTIONS[function](key, x, w, std), x, w, std)
    arguments = [x.shape, w.shape, *([] if scalar else [w.shape])]
    assert sorted(a.shape for a, _ in saved if a.size > 1) == sorted(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_sharded_batch_draws_the_same_without_a_collective(function, axis_type, key):
    x, w, std = jnp.ones((16, 3, 8)), jnp.ones((8, 4)), jnp.full((8, 4), 0.1)
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    for amount in (std,) if axis_type is AxisType.Auto else (jnp.float32(0.1),):
        call = jax.jit(FUNCTIONS[function])
        alone = np.asarray(call(key, x, w, amount))
        with jax.set_mesh(mesh):
            sharded = jax.device_put(x, NamedSharding(mesh, P(("a", "b"))))
            compiled = call.lower(key, sharded, w, amount).compile()
            result = compiled(key, sharded, w, amount)
        assert not any(name in compiled.as_text() for name in ("all-reduce", "all-gather", "collective-permute"))
        np.testing.assert_allclose(np.asarray(result), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["example", "batch"])
def test_factors_replay_the_population(mode, key):
    _, x, w, _ = arrays("tokens")
    a, b = low_rank_factors(key, x, w, rank=2, mode=mode)
    y = plain("...i,io->...o", x, w)
    if mode == "example":
        assert (a.shape, b.shape) == ((2, 3, 2), (2, 2, 2))
        noise = jnp.einsum("bti,bir,bor->bto", x, a, b)
    else:
        noise = jnp.einsum("bti,ir,or->bto", x, a, b)
    np.testing.assert_allclose(
        low_rank(key, x, w, 0.1, rank=2, mode=mode), y + 0.1 * noise / 2**0.5, rtol=1e-4, atol=1e-5
    )
    mirrored = low_rank(key, x, w, -0.1, rank=2, mode=mode)
    np.testing.assert_allclose(mirrored, y - 0.1 * noise / 2**0.5, rtol=1e-4, atol=1e-5)


def test_noisy_net_shares_the_factor_of_outputs_with_the_bias(key):
    """Equations 9 to 11 written out with the factors read back from the function itself: x = 0 shows f(e')."""
    x, w = jnp.eye(3), jnp.zeros((3, 4))
    outputs = noisy_net(key, jnp.zeros((3, 3)), w, 0.0, jnp.arange(4.0), 1.0) - jnp.arange(4.0)[None]
    both = noisy_net(key, x, w, 0.5, 2.0, 0.25)
    inputs = (both - 2.0 - 0.25 * outputs) / (0.5 * outputs)
    np.testing.assert_allclose(inputs, inputs[:, :1] * jnp.ones((1, 4)), rtol=1e-4)  # one factor for each row's input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda k, x, w: flipout(k, x, w, -0.1), ValueError, "std must be at least 0"),
        (lambda k, x, w: flipout(k, x, w, jnp.ones(5)), ValueError, r"std of shape \(5,\) does not broadcast to w"),
        (lambda k, x, w: flipout(k, x, w.astype(jnp.bfloat16), 0.1), TypeError, "w must have x's dtype, float32"),
        (lambda k, x, w: flipout(0, x, w, 0.1), TypeError, "jax.random.key"),
        (lambda k, x, w: flipout(k, x, w, 0.1, mode="element"), ValueError, "'example', 'batch'"),
        (lambda k, x, w: flipout(k, x, w, 0.1, product="bi,io->b"), ValueError, "sums o over one operand"),
        (lambda k, x, w: flipout(k, x, w, 0.1, product="bio,io->bo"), ValueError, "does not fit x with 2"),
        (lambda k, x, w: flipout(k, x, w, 0.1, product="bb,bo->bo"), ValueError, "repeats a label"),
        (lambda k, x, w: flipout(k, x, w, 0.1, product="bi,io"), ValueError, "with its result"),
        (lambda k, x, w: flipout(k, x, w, 0.1, product=3), TypeError, "product must be"),
        (lambda k, x, w: flipout(k, x[:, :2], w, 0.1), ValueError, "length 2 in one and 3 in the other"),
        (lambda k, x, w: flipout(k, x, w, 0.1, product=Conv()), ValueError, "as many axes"),
        (
            lambda k, x, w: flipout(k, x[None], w[None], 0.1, product=Conv(feature_group_count=2)),
            ValueError,
            "channels",
        ),
        (lambda k, x, w: low_rank(k, x, w, 0.1, product=Conv()), TypeError, "flipout"),
        (lambda k, x, w: low_rank(k, x, w, 0.1, rank=0), ValueError, "rank must be"),
        (lambda k, x, w: noisy_net(k, x, w, 0.1, jnp.ones(3)), ValueError, "bias of shape"),
        (lambda k, x, w: noisy_net(k, x, w, np.inf), ValueError, "noisy_net: std must be finite, got inf"),
        (lambda k, x, w: noisy_net(k, x, w, 0.1, 0.0, np.nan), ValueError, "noisy_net: bias_std must be finite"),
        (lambda k, x, w: low_rank(k, x, w, -np.inf), ValueError, "low_rank: std must be finite"),
    ],
)
def test_errors_name_the_argument(call, error, message, key):
    with pytest.raises(error, match=message):
        call(key, jnp.ones((2, 3)), jnp.ones((3, 4)))


def test_streams_are_noises_keys_too(key):
    """A layer's stream, made of a path, draws another sample."""
    from noisejax._random.stream import stage

    x, w = jnp.ones((2, 3)), jnp.ones((3, 4))
    assert bool((nj.weights.flipout(stage(key, "a"), x, w, 0.1) != flipout(stage(key, "b"), x, w, 0.1)).any())


@pytest.mark.parametrize("function", [flipout, local_reparam, low_rank, noisy_net, low_rank_factors])
def test_a_product_is_a_string_or_a_convolution(function, key):
    amounts = () if function is low_rank_factors else (0.1,)
    for product in (["...i,io->...o"], None, 3):
        with pytest.raises(TypeError, match=f"{function.__name__}: product must be an einsum"):
            function(key, jnp.ones((2, 3)), jnp.ones((3, 4)), *amounts, product=product)
