"""noisejax.optim: stochastic rounding, the value, the update and the flow through optax and Flax."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import scipy.stats
from flax import nnx
from flax.training import train_state
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import noisejax.optim as no
from noisejax.optim import _rounding, _streams

BF16 = ml_dtypes.bfloat16
ALL_WORDS = jnp.arange(1 << 16, dtype=jnp.uint32) << jnp.uint32(16)  # every value of the bits that decide


rounded = jax.jit(no.stochastic_round, static_argnums=2)
to_bfloat16, to_float16 = jax.jit(_rounding._to_bfloat16), jax.jit(_rounding._to_float16)


def every_bfloat16():
    return np.arange(1 << 16, dtype=np.uint16).view(BF16)


def bits(x):
    return np.asarray(x).view(np.uint16)


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [
        (1 + 2.0**-7 * 0.3, 1.0, 1.0078125),
        (-1 - 2.0**-7 * 0.9, -1.0, -1.0078125),
        (2 - 2.0**-20, 1.9921875, 2.0),  # across a power of two
        (3e-39, 2.938736e-39, 3.030571e-39),  # subnormal, and so are its neighbours
        (-1e-45, -0.0, -9.183550e-41),
        (3.2e38, 3.190147e38, 3.203439e38),
    ],
)
def test_bfloat16_probabilities_are_exact(x, low, high):
    """Over all 2**16 values of the random bits: the count of each neighbour is its probability times 2**16."""
    x32 = np.float32(x)
    y = to_bfloat16(ALL_WORDS, jnp.full(1 << 16, x32))
    values, counts = np.unique(np.asarray(y).astype(np.float64), return_counts=True)
    share = (x32.astype(np.float64) - values[0]) / (values[1] - values[0])
    assert counts[1] == share * 2**16
    np.testing.assert_allclose(sorted(values, key=abs), [low, high], rtol=1e-6, atol=0)


@pytest.mark.parametrize("x", [1 + 2.0**-10 * 0.3, -1000.3, 6.0e-6, -3e-8, 0.1, 65503.0])
def test_float16_probabilities_are_exact(x):
    x32 = np.float32(x)
    y = np.asarray(to_float16(ALL_WORDS, jnp.full(1 << 16, x32)))
    values, counts = np.unique(y.astype(np.float64), return_counts=True)
    share = (x32.astype(np.float64) - values[0]) / (values[1] - values[0])
    assert abs(counts[1] - share * 2**16) <= 1  # of 2**16 of the 2**32 words
    below, above = np.float16(values)
    assert np.nextafter(below, np.float16(np.inf)) == above and below < x32 < above


def test_counts_of_a_real_draw_are_binomial(key):
    x = jnp.asarray(np.repeat(np.linspace(-2, 2, 41, dtype=np.float32)[:, None], 4096, axis=1))
    for dtype in (jnp.bfloat16, jnp.float16):
        y = np.asarray(rounded(key, x, dtype)).astype(np.float64)
        for row, value in zip(y, np.asarray(x[:, 0]).astype(np.float64), strict=True):
            low, high = row.min(), row.max()
            if low == high:
                continue
            p = scipy.stats.binomtest(int((row == high).sum()), row.size, (value - low) / (high - low)).pvalue
            assert p > 1e-6  # 82 tests: a right one fails once in 10,000 runs


def test_what_the_dtype_has_stays_to_the_bit(key):
    x = every_bfloat16()
    y = bits(rounded(key, jnp.asarray(x.astype(np.float32)), jnp.bfloat16))
    nan = np.isnan(x.astype(np.float32))
    np.testing.assert_array_equal(y[~nan], bits(x)[~nan])  # both zeros, infinities and subnormals among them
    assert np.isnan(y[nan].view(BF16).astype(np.float32)).all()
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        z = np.asarray(rounded(key, jnp.asarray(halves.astype(np.float32)), jnp.float16))
    finite = ~np.isnan(halves)
    np.testing.assert_array_equal(bits(z)[finite], bits(halves)[finite])
    assert np.isnan(z[~finite]).all()


def test_nothing_finite_becomes_infinite(key):
    large = jnp.asarray(np.tile(np.float32([1, -1]) * np.finfo(np.float32).max, 500))
    for dtype, limit in ((jnp.bfloat16, 3.3895314e38), (jnp.float16, 65504.0)):
        y = np.asarray(rounded(key, large, dtype)).astype(np.float32)
        np.testing.assert_allclose(np.unique(y), [-limit, limit], rtol=1e-6)


def test_errors_of_rounding(key):
    with pytest.raises(ValueError, match="dtype must be bfloat16 or float16"):
        no.stochastic_round(key, jnp.ones(3), jnp.float32)
    with pytest.raises(TypeError, match="must hold floats"):
        no.stochastic_round(key, jnp.arange(3))
    tx = no.stochastic_rounding(key)
    with pytest.raises(ValueError, match=r"needs the parameters: update\(g, state, params\)"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))


# In updates


def test_small_updates_are_kept_in_expectation(key):
    """1000 updates of -1e-4: nearest rounding loses all of them, stochastic rounding none in the mean."""
    params, update = jnp.ones(4096, jnp.bfloat16), jnp.full(4096, -1e-4)

    def step(params, key):
        return no.apply_updates(key, params, update), None

    final, _ = jax.jit(lambda p: lax.scan(step, p, jax.random.split(key, 1000)))(params)
    assert final.dtype == jnp.bfloat16
    final = np.asarray(final).astype(np.float64)
    assert abs(final.mean() - 0.9) < 5 * final.std() / 64
    with jax.numpy_dtype_promotion("standard"):
        assert (optax.apply_updates(params, update) == 1).all()


def pairs(dtype):
    """Parameters of every exponent and sign, and updates from 2**-30 to 2**20 of their size."""
    with np.errstate(invalid="ignore"):
        p = every_bfloat16().astype(np.float32)
        p = p[np.isfinite(p) & (abs(p) < 1e30) & ((abs(p) > 1e-30) | (p == 0))]
    if dtype == np.float16:
        p = np.float32(np.float16(p[(abs(p) < 6e4) & ((abs(p) > 6.2e-5) | (p == 0))]))
    i = np.arange(p.size)
    size = np.where(p == 0, 1, p) * np.exp2(-30 + i * 7919 % 51)
    if dtype == np.float16:
        size = np.clip(size, -1e4, 1e4)
    u = size * (1 + i * 104729 % 997 / 997) * np.where(i % 3 == 0, -1, 1)
    return jnp.asarray(p.astype(dtype)), jnp.asarray(u.astype(np.float32))


@pytest.mark.parametrize("dtype", [BF16, np.float16])
def test_optax_arrives_at_the_rounded_value_to_the_bit(dtype, key):
    p, u = pairs(dtype)
    assert p.size > 7000
    tx = no.stochastic_rounding(key)
    state = tx.init(p)
    emitted, _ = jax.jit(tx.update)(u, state, p)
    assert emitted.dtype == jnp.float32
    stream = _streams.at_path(_streams.at_step(key, state), "stochastic_round", ())
    wanted = jax.jit(lambda p, u: no.stochastic_round(stream, p.astype(jnp.float32) + u, p.dtype))(p, u)
    with jax.numpy_dtype_promotion("standard"):
        arrived = jax.jit(optax.apply_updates)(p, emitted)
    assert arrived.dtype == p.dtype
    np.testing.assert_array_equal(np.asarray(arrived), np.asarray(wanted))


def test_infinities_and_nan_arrive_where_a_sum_would(key):
    values = [jnp.inf, -jnp.inf, jnp.nan, 1.0]
    u = jnp.asarray(np.tile(np.float32(values), (4, 1)))
    p = u.T.astype(jnp.bfloat16)
    tx = no.stochastic_rounding(key)
    with jax.numpy_dtype_promotion("standard"):
        step = jax.jit(lambda p, u: optax.apply_updates(p, tx.update(u, tx.init(p), p)[0]))
        arrived = np.asarray(step(p, u)).astype(np.float32)
    with np.errstate(invalid="ignore"):
        total = np.asarray(p).astype(np.float32) + np.asarray(u)
    np.testing.assert_array_equal(np.isnan(arrived), np.isnan(total))
    np.testing.assert_array_equal(arrived[np.isinf(total)], total[np.isinf(total)])


def test_other_dtypes_are_updated_as_optax_does(key):
    params = {"f": jnp.ones(3), "i": jnp.arange(3), "none": None, "h": jnp.ones(3, jnp.bfloat16)}
    updates = {"f": jnp.full(3, 1e-3), "i": jnp.ones(3, jnp.int32), "none": None, "h": jnp.zeros(3)}
    new = jax.jit(no.apply_updates)(key, params, updates)
    np.testing.assert_array_equal(new["f"], params["f"] + updates["f"])
    np.testing.assert_array_equal(new["i"], params["i"] + 1)
    np.testing.assert_array_equal(new["h"], params["h"])  # an update of 0 moves nothing
    assert new["none"] is None
    tx = no.stochastic_rounding(key)
    out, _ = tx.update(updates, tx.init(params), params)
    assert out["f"] is updates["f"] and out["i"] is updates["i"]


def test_train_steps_of_flax_and_wrappers_round_stochastically(key):
    """The mean weight after 8 steps of 0.1% of a unit in the last place of nearest rounding: it moves, and rightly."""
    step_size, n = 2.0**-12, 64
    x = jnp.ones((1, n), jnp.bfloat16)

    def check(w):
        assert w.dtype == jnp.bfloat16
        w = np.asarray(w).astype(np.float64)
        assert abs(w.mean() - (1 + 8 * step_size)) < 5 * w.std() / n

    def loss(out):
        return -jnp.sum(out.astype(jnp.float32))

    with jax.numpy_dtype_promotion("standard"):
        accumulated = optax.MultiSteps(optax.sgd(step_size), 2).gradient_transformation()
        tx = optax.chain(optax.apply_if_finite(accumulated, 3), no.stochastic_rounding(key))

        model = nnx.Linear(n, n, use_bias=False, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        model.kernel[...] = jnp.ones((n, n), jnp.bfloat16)
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @nnx.jit
        def nnx_step(model, optimizer):
            optimizer.update(model, nnx.grad(lambda model: loss(model(x)))(model))

        state = train_state.TrainState.create(
            apply_fn=lambda w: x @ w["kernel"], params={"kernel": jnp.ones((n, n), jnp.bfloat16)}, tx=tx
        )
        step = jax.jit(lambda s: s.apply_gradients(grads=jax.grad(lambda w: loss(s.apply_fn(w)))(s.params)))
        for _ in range(16):
            nnx_step(model, optimizer)
            state = step(state)
    check(model.kernel[...])
    check(state.params["kernel"])
    np.testing.assert_array_equal(model.kernel[...], state.params["kernel"])  # one path, one stream


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_sharded_parameters_round_as_whole_ones(axis_type, key):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(axis_type,) * 2)
    p, u = jnp.ones((8, 8), jnp.bfloat16), jnp.full((8, 8), 1e-3)
    tx = no.stochastic_rounding(key)

    @jax.jit
    def step(p, u):
        return no.apply_updates(key, p, u), tx.update(u, tx.init(p), p)[0]

    whole = step(p, u)
    with jax.set_mesh(mesh):
        place = NamedSharding(mesh, PartitionSpec("x", "y"))
        arguments = jax.device_put(p, place), jax.device_put(u, place)
        compiled = step.lower(*arguments).compile()
        sharded = compiled(*arguments)
    jax.tree.map(np.testing.assert_array_equal, whole, sharded)
    assert not any(word in compiled.as_text() for word in ("all-gather", "all-reduce", "collective-permute"))


def test_updates_of_a_different_structure(key):
    params, updates = jnp.ones((2, 2)), {"kernel": jnp.ones((2, 2))}
    for dtype in (jnp.float32, jnp.bfloat16):
        for a, b in ((params.astype(dtype), updates), (updates, params.astype(dtype))):
            with pytest.raises(ValueError, match=r"apply_updates: (params|updates) must have the structure of"):
                no.apply_updates(key, a, b)
