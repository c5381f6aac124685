import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import noisejax as nj
from noisejax._contract import array_noise


def scaled(key, x, scale, *, flip=False):
    """A user's own noise, by the star law."""
    n = jax.random.normal(key, x.shape)
    return x + scale * (-n if flip else n)


def test_leaves_are_the_amounts_as_strong_float32():
    noise = nj.bind(nj.gaussian, std=0.1)
    (leaf,) = jax.tree.leaves(noise)
    assert leaf.dtype == np.float32
    assert jax.tree.leaves(nj.bind(nj.gaussian, std=jnp.bfloat16(0.5)))[0].dtype == jnp.float32
    assert jax.tree.leaves(nj.bind(nj.gaussian, std=np.float64(0.5)))[0].dtype == np.float32
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(noise)]
    assert paths == ["['std']"]


def test_other_kinds_of_the_same_amount_cost_no_trace(key):
    traces = []

    @jax.jit
    def step(noise, x):
        traces.append(1)
        return noise(key, x)

    for std in (0.1, 1, np.float64(0.2), np.float32(0.3), jnp.float32(0.4), jnp.asarray(0.5, jnp.bfloat16)):
        step(nj.bind(nj.gaussian, std=std), jnp.ones(4))
    assert len(traces) == 1


def test_static_part_is_compared_by_value():
    def one():
        return nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.gaussian, std=jnp.ones((2, 1))))

    assert jax.tree.structure(one()) == jax.tree.structure(one())
    assert jax.tree.structure(one()) != jax.tree.structure(nj.bind(nj.gaussian, std=0.1))


def test_repr_reads_like_the_code():
    noise = nj.chain(
        nj.bind(nj.gaussian, std=0.1),
        nj.sometimes(nj.bind(nj.mask, rate=jnp.ones((32, 1)), fill=-1.0), 0.5),
        nj.keyless(jnp.tanh),
        nj.learnable(nj.bind(scaled, scale=2.0, flip=True)),
    )
    assert repr(noise) == (
        "nj.chain(nj.bind(nj.gaussian, std=0.1), nj.sometimes(nj.bind(nj.mask, rate=float32[32,1], fill=-1.0), "
        "rate=0.5), nj.keyless(tanh), nj.learnable(nj.bind(scaled, scale=2.0, flip=True)))"
    )


def test_users_functions_are_bound_alike(key):
    x = jnp.zeros(8)
    noise = nj.bind(scaled, scale=2.0, flip=True)
    np.testing.assert_array_equal(noise(key, x), scaled(key, x, jnp.float32(2), flip=True))
    where = jnp.arange(8) < 4
    assert bool((noise(key, x, where=where)[4:] == 0).all())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nj.bind(nj.gaussian, sd=0.1), TypeError, ["'sd'", "gaussian(", "std"]),
        (lambda: nj.bind(nj.gaussian), TypeError, ["'std'", "gaussian("]),
        (lambda: nj.bind(nj.gaussian, std=-1.0), ValueError, ["std", "-1.0"]),
        (lambda: nj.bind(nj.mask, rate=1.2), ValueError, ["rate", "1.2", "[0, 1]"]),
        (lambda: nj.bind(nj.mask, rate=np.array([0.1, 1.5])), ValueError, ["rate", "1.5"]),
        (lambda: nj.bind(nj.mask, rate=float("nan")), ValueError, ["rate", "nan"]),
        (lambda: nj.bind(scaled, scale=1.0, flip=[1]), TypeError, ["flip", "hashable", "tuple"]),
        (lambda: nj.bind(3, std=0.1), TypeError, ["function", "3"]),
        (lambda: nj.bind(nj.bind(nj.gaussian, std=0.1)), TypeError, ["function"]),
    ],
)
def test_bad_bindings_are_refused_with_the_name_the_value_and_a_way_out(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


def test_pickle_and_structure_survive(key):
    x = jnp.ones((4, 3))
    noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.sometimes(nj.bind(nj.mask, rate=0.5), 0.5), nj.clip(0, 1))
    again = pickle.loads(pickle.dumps(noise))
    assert jax.tree.structure(again) == jax.tree.structure(noise)
    np.testing.assert_array_equal(again(key, x), noise(key, x))


def test_orbax_restores_a_noise(tmp_path, key):
    import orbax.checkpoint as ocp

    noise = nj.chain(nj.bind(nj.gaussian, std=0.3), nj.bind(nj.mask, rate=jnp.full((4, 1), 0.5)))
    state = {"noise": noise, "step": jnp.int32(3)}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        blank = jax.tree.map(jnp.zeros_like, state)
        restored = checkpointer.restore(tmp_path / "state", blank)
    x = jnp.ones((4, 3))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    np.testing.assert_array_equal(restored["noise"](key, x), noise(key, x))


class Model(nnx.Module):
    def __init__(self, std, rngs):
        self.linear = nnx.Linear(3, 2, rngs=rngs)
        self.noise = nnx.data(nj.bind(nj.gaussian, std=std))

    def __call__(self, key, x):
        return self.linear(self.noise(key, x))


def test_an_nnx_attribute_traces_once_over_three_amounts(key):
    traces = []

    @nnx.jit
    def run(model, key, x):
        traces.append(1)
        return model(key, x)

    outs = [run(Model(std, nnx.Rngs(0)), key, jnp.ones((4, 3))) for std in (0.0, 0.1, 0.5)]
    assert len(traces) == 1
    assert bool((outs[0] != outs[1]).any()) and bool((outs[1] != outs[2]).any())


def test_an_optimizer_trains_the_model_and_not_the_noise(key):
    model = Model(0.5, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
    gradients = nnx.grad(lambda model: jnp.sum(model(key, jnp.ones((4, 3))) ** 2))(model)
    before = np.asarray(model.linear.kernel[...])
    optimizer.update(model, gradients)
    assert bool((model.linear.kernel[...] != before).any())
    assert float(model.noise.amounts["std"]) == 0.5


@pytest.mark.slow
def test_learned_amounts_follow_their_gradient(key):
    x = jnp.zeros(1000)

    def spread(noise):
        return jnp.mean(noise(key, x) ** 2)

    stopped = jax.grad(spread)(nj.bind(nj.gaussian, std=0.5))
    learned = jax.grad(spread)(nj.learnable(nj.bind(nj.gaussian, std=0.5)))
    assert float(stopped.amounts["std"]) == 0
    np.testing.assert_allclose(learned.amounts["std"], 2 * 0.5, rtol=0.15)
    direct = jax.grad(lambda std: jnp.mean(nj.gaussian(key, x, std) ** 2))(0.5)
    np.testing.assert_allclose(direct, learned.amounts["std"], rtol=1e-5)


def test_an_amount_on_a_schedule_needs_its_step_and_traces_once(key):
    schedule = nj.scheduled(optax.linear_schedule(0.0, 1.0, 10))
    noise = nj.chain(nj.bind(nj.gaussian, std=schedule), nj.bind(nj.mask, rate=0.5))
    with pytest.raises(ValueError, match=r"std follows a schedule.*at_step"):
        noise(key, jnp.ones(3))
    traces = []

    @jax.jit
    def step(n):
        traces.append(1)
        return nj.at_step(noise, n).amounts["noises"][0].amounts["std"]

    assert [float(step(n)) for n in (0, 5, 10)] == [0.0, 0.5, 1.0]
    assert len(traces) == 1


def test_amounts_may_be_bound_in_the_order_of_the_function(key):
    assert nj.bind(nj.student_t, 0.1, 3.0) == nj.bind(nj.student_t, scale=0.1, df=3.0)
    assert nj.bind(nj.mask, 0.1, fill=2.0) == nj.bind(nj.mask, rate=0.1, fill=2.0)
    for call, match in (
        (lambda: nj.bind(nj.gaussian, 0.1, std=0.2), "two values for 'std'"),
        (lambda: nj.bind(nj.gaussian, 0.1, 0.2), "gaussian has 1 amount"),
        (lambda: nj.bind(nj.gaussian, std=0.1, where=np.ones(3, bool)), "padding belongs to the batch"),
        (lambda: nj.bind(nj.labels.flip, rate=0.1), "needs the option 'num_classes'"),
        (lambda: nj.bind(nj.gaussian, std=0.1, learn=True), "nj.learnable"),
        (lambda: nj.bind(nj.gaussian, std=lambda step: step), r"std=nj\.scheduled\("),
        (lambda: nj.scheduled(0.1), "a function of the step"),
        (lambda: nj.learnable(nj.gaussian), "a bound noise"),
    ):
        with pytest.raises(TypeError, match=match):
            call()


@pytest.mark.slow
def test_learnable_reaches_every_noise_inside_and_nothing_else_changes(key):
    noise = nj.chain(nj.bind(nj.gaussian, std=0.5), nj.sometimes(nj.bind(nj.gaussian, std=0.5), 1.0))
    learning = nj.learnable(noise)
    np.testing.assert_array_equal(learning(key, jnp.ones(5)), noise(key, jnp.ones(5)))
    gradient = jax.grad(lambda noise: jnp.sum(noise(key, jnp.zeros(50)) ** 2))
    assert all(float(leaf) == 0 for leaf in jax.tree.leaves(gradient(noise)))
    outer, inner = gradient(learning).stages
    assert float(outer.amounts["std"]) != 0 and float(inner.amounts["noises"][0].amounts["std"]) != 0


def test_stages_are_those_of_a_chain():
    gaussian, mask = nj.bind(nj.gaussian, std=0.5), nj.bind(nj.mask, rate=0.1)
    assert nj.chain(gaussian, mask).stages == (gaussian, mask)
    assert gaussian.stages == (gaussian,)
    assert nj.sometimes(gaussian, 0.5).stages == (nj.sometimes(gaussian, 0.5),)


def test_a_name_that_is_no_amount_is_refused_when_the_noise_is_made():
    for misspelt in ({"ranges": {"scael": None}}, {"ranges": {}, "like_x": ("fil",)}, {"ranges": {}, "tables": ("t",)}):
        with pytest.raises(TypeError, match="not one of its amounts"):

            @array_noise(**misspelt)
            def broken(key, x, scale, *, where=None, lengths=None):
                return x


def test_errors_print_the_signature_as_it_is_written():
    with pytest.raises(TypeError) as caught:
        nj.dropout(jax.random.key(0), jnp.ones(3))
    assert str(caught.value).startswith(
        "dropout(key: jax.Array, x: jax.Array, rate: float | jax.Array, *, broadcast_dims: tuple[int, ...] = (), "
        "where: jax.Array | None = None, lengths: jax.Array | None = None)"
    )
