"""perturb: which leaves take noise, and from which stream."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from noisejax.weights import perturb

NOISE = nj.bind(nj.gaussian, std=0.1)


def tree():
    return {
        "a": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3, jnp.bfloat16)},
        "b": [{"kernel": jnp.ones((3, 4))}, None],
        "step": jnp.int32(3),
        "key": jax.random.key(0),
        "name": "text",
    }


class Model(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.first(x))


def changed(before, after):
    """The paths of the leaves that differ."""
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in jax.tree.leaves_with_path(before)]
    pairs = zip(names, jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return {name for name, a, b in pairs if a is not b}


def test_floating_leaves_take_noise_and_nothing_else_is_touched(key):
    before = tree()
    after = perturb(key, before, NOISE)
    assert changed(before, after) == {"a/kernel", "a/bias", "b/0/kernel"}
    assert after["a"]["bias"].dtype == jnp.bfloat16
    assert jax.tree.structure(after) == jax.tree.structure(before)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("*/kernel", {"a/kernel", "b/0/kernel"}),
        ("a/*", {"a/kernel", "a/bias"}),
        (("a/bias", "b/?/kernel"), {"a/bias", "b/0/kernel"}),
        (lambda path, leaf: leaf.ndim == 1, {"a/bias"}),
        ("*", {"a/kernel", "a/bias", "b/0/kernel"}),
    ],
)
def test_only_selects(only, expected, key):
    before = tree()
    assert changed(before, perturb(key, before, NOISE, only=only)) == expected


def test_a_function_selects_integers_for_a_noise_that_takes_them(key):
    before = {"q": jnp.zeros(64, jnp.int8), "n": jnp.int32(1), "w": jnp.ones(3)}
    after = perturb(key, before, nj.bind(nj.weights.bit_flips, rate=0.5), only=lambda _, leaf: leaf.dtype == jnp.int8)
    assert changed(before, after) == {"q"} and after["q"].dtype == jnp.int8
    with pytest.raises(TypeError, match="int32"):
        perturb(key, before, NOISE, only=lambda path, _: path == "n")


FLIPS = nj.bind(nj.weights.bit_flips, rate=0.5)
QUANTIZED = ("int8", "uint8", "int4", "uint4", "int2", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", QUANTIZED)
@pytest.mark.parametrize(
    "noise", [FLIPS, nj.chain(FLIPS, nj.sometimes(FLIPS, 0.9, mode="batch"))], ids=["flips", "a chain"]
)
def test_bit_flips_hit_quantized_weights(noise, dtype, key):
    before = {"k": jnp.zeros((8, 8), dtype), "scale": jnp.ones(8), "step": jnp.int32(3), "count": jnp.uint32(1)}
    for only in (None, ("k", "scale"), "[ks]*"):
        after = perturb(key, before, noise, only=only)
        assert changed(before, after) == {"k", "scale"}
        assert after["k"].dtype == dtype and bool((after["k"].astype(jnp.float32) != 0).any())


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32"])
def test_bit_flips_hit_wide_integers_and_no_counters(dtype, key):
    before = {"k": jnp.zeros((8, 8), dtype), "scale": jnp.ones(8), "step": jnp.zeros((), dtype)}
    assert changed(before, perturb(key, before, FLIPS)) == {"k", "scale"}
    assert changed(before, perturb(key, before, nj.bind(nj.mask, rate=0.5))) == {"scale"}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int4"])
def test_quantized_weights_and_a_noise_of_floats(dtype, key):
    """A noise that selects values acts on them. One that calculates says so, instead of perturbing the scale alone."""
    before = {"k": jnp.ones((8, 8), dtype), "scale": jnp.ones(8)}
    assert changed(before, perturb(key, before, nj.bind(nj.mask, rate=0.5))) == {"k", "scale"}
    if dtype != "uint8":  # images are uint8, and Gaussian noise takes them
        with pytest.raises(TypeError, match=f"perturb: the noise must accept the quantized weights 'k' of {dtype}"):
            perturb(key, before, NOISE)
    with pytest.raises(TypeError, match="must keep the dtype of the quantized weights 'k'"):
        perturb(key, before, lambda key, w: w.astype(jnp.float32))
    floats = perturb(key, before, NOISE, only=lambda path, leaf: jnp.issubdtype(leaf.dtype, jnp.floating))
    assert changed(before, floats) == {"scale"}


def test_errors(key):
    with pytest.raises(
        ValueError, match=r"only='\*/kernl' selects no floating-point leaf of the tree; its leaves are a/bias, a/kernel"
    ):
        perturb(key, tree(), NOISE, only="*/kernl")
    with pytest.raises(TypeError, match="only must be a pattern"):
        perturb(key, tree(), NOISE, only=["*"])
    with pytest.raises(TypeError, match="bind gaussian first"):
        perturb(key, tree(), nj.gaussian)
    with pytest.raises(TypeError, match=r"jax\.random\.key"):
        perturb(3, tree(), NOISE)
    assert perturb(key, {}, NOISE) == {}


def test_another_leaf_changes_no_draw(key):
    before = tree()
    more = {**before, "0": {"kernel": jnp.ones((9, 9))}, "b": [*before["b"], {"bias": jnp.ones(2)}]}
    few = {"b": [{"kernel": before["b"][0]["kernel"]}]}
    whole, larger, smaller = (perturb(key, t, NOISE) for t in (before, more, few))
    np.testing.assert_array_equal(whole["a"]["kernel"], larger["a"]["kernel"])
    np.testing.assert_array_equal(whole["b"][0]["kernel"], larger["b"][0]["kernel"])
    np.testing.assert_array_equal(whole["b"][0]["kernel"], smaller["b"][0]["kernel"])


def test_leaves_of_one_shape_draw_different_noise(key):
    after = perturb(key, {"a": jnp.zeros(500), "b": jnp.zeros(500)}, nj.bind(nj.gaussian, std=1.0))
    assert abs(np.corrcoef(after["a"], after["b"])[0, 1]) < 4 / 500**0.5  # p of about 1e-4


def test_the_noise_may_be_a_chain_or_a_function_of_the_users(key):
    before = {"w": jnp.ones((8, 8))}
    chained = perturb(key, before, nj.chain(NOISE, nj.bind(nj.weights.drop_connect, rate=0.5)))
    assert bool((chained["w"] == 0).any()) and bool((chained["w"] != 0).any())
    seen = []
    foreign = perturb(key, before, lambda k, w: seen.append(k) or w + 1)
    np.testing.assert_array_equal(foreign["w"], 2)
    assert jnp.issubdtype(seen[0].dtype, jax.dtypes.prng_key)
    bound = nj.bind(perturb, noise=NOISE, only="w")  # a noise of trees, for combinators
    assert bool((bound(key, before)["w"] != 1).all())


@functools.cache
def model():
    return Model(nnx.Rngs(0))


def test_of_flax_variables_only_params_take_noise(key):
    state = nnx.state(model())
    after = perturb(key, state, NOISE)
    expected = {"first/bias", "first/kernel", "norm/bias", "norm/scale"}
    assert changed(state, after) == {f"{name}/value" for name in expected}
    assert isinstance(after, nnx.State)


def test_state_pure_dict_graph_state_and_module_draw_the_same_noise(key):
    params = nnx.state(model(), nnx.Param)
    after = perturb(key, params, NOISE)
    pure = perturb(key, nnx.to_pure_dict(params), NOISE)
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(after), pure)
    module = perturb(key, model(), NOISE)
    assert isinstance(module, Model)
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(module, nnx.Param)), pure)
    flat = perturb(key, nnx.to_flat_state(params), NOISE)
    assert len(jax.tree.leaves(flat)) == 4
    graph, state, rest = nnx.split(model(), nnx.Param, ...)
    y = nnx.merge(graph, perturb(key, state, NOISE), rest)(jnp.ones((2, 3)))
    assert bool((y != model()(jnp.ones((2, 3)))).any())


def test_linen_variables(key):
    variables = linen.BatchNorm(use_running_average=True).init(key, jnp.ones((2, 3)))
    after = perturb(key, variables, NOISE, only="params/*")
    assert changed(variables, after) == {"params/bias", "params/scale"}


def test_jit_vmap_and_traced_amounts(key):
    before = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}
    traces = []

    @jax.jit
    def run(key, before, noise):
        traces.append(0)
        return perturb(key, before, noise)

    for std in (0.1, 0.2):
        noise = nj.bind(nj.gaussian, std=std)
        jax.tree.map(np.testing.assert_allclose, run(key, before, noise), perturb(key, before, noise))
    assert len(traces) == 1
    keys = jax.random.split(key, 3)
    ensemble = jax.vmap(lambda k: perturb(k, before, NOISE))(keys)
    for n in range(3):
        one = perturb(keys[n], before, NOISE)
        jax.tree.map(lambda e, o, n=n: np.testing.assert_allclose(e[n], o, rtol=1e-6), ensemble, one)


def test_gradients_go_straight_to_the_clean_weights(key):
    """One sample for forward and backward: the gradient is the one at the noisy weights."""
    before = {"w": jnp.ones((4, 3)), "b": jnp.ones((1, 3))}
    x = jnp.asarray(np.random.default_rng(0).standard_normal((5, 4)), jnp.float32)

    def loss(params):
        return jnp.mean(jnp.tanh(x @ params["w"] + params["b"]) ** 2)

    noisy = perturb(key, before, NOISE)
    gradient = jax.grad(lambda params: loss(perturb(key, params, NOISE)))(before)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), gradient, jax.grad(loss)(noisy))


def test_the_optimizer_updates_the_clean_weights(key):
    """SGD in a scan with another sample each step, against the same steps written out."""
    noise, optimizer = nj.bind(nj.gaussian, std=0.3), optax.sgd(0.1)

    def gradient(params, k):
        return jax.grad(lambda params: jnp.sum(perturb(k, params, noise)["w"] ** 2))(params)

    def step(carry, k):
        params, state = carry
        updates, state = optimizer.update(gradient(params, k), state)
        return (optax.apply_updates(params, updates), state), None

    start, keys = {"w": jnp.ones(6)}, jax.random.split(key, 3)
    (scanned, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), keys)
    w = start["w"]
    for k in keys:
        w = w - 0.1 * 2 * perturb(k, {"w": w}, noise)["w"]
    np.testing.assert_allclose(scanned["w"], w, rtol=1e-5)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_sharded_weights_draw_the_same_without_a_collective(axis_type, key):
    before = {"w": jnp.ones((8, 6)), "b": jnp.ones(8)}
    noise = nj.chain(NOISE, nj.bind(nj.weights.drop_connect, rate=0.5))
    alone = perturb(key, before, noise)
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        layout = {"w": NamedSharding(mesh, P("a", "b")), "b": NamedSharding(mesh, P("a"))}
        sharded = jax.device_put(before, layout)
        compiled = jax.jit(lambda t: perturb(key, t, noise)).lower(sharded).compile()
        result = compiled(sharded)
    assert not any(name in compiled.as_text() for name in ("all-reduce", "all-gather", "collective-permute"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(np.asarray(a), b, rtol=1e-6), result, alone)


def test_memory_is_one_copy_of_the_noised_leaves(key):
    """The compiled gradient of a deep product: temporaries beyond those without noise are the noisy leaves at most."""
    params = [jnp.ones((256, 256)) for _ in range(4)]
    x = jnp.ones((8, 256))

    def loss(params):
        h = x
        for w in params:
            h = jnp.tanh(h @ w)
        return jnp.sum(h)

    def temporary(function):
        return jax.jit(jax.grad(function)).lower(params).compile().memory_analysis().temp_size_in_bytes

    noisy = temporary(lambda params: loss(perturb(key, params, NOISE)))
    size = sum(w.nbytes for w in params)
    assert noisy - temporary(loss) < 1.05 * size
