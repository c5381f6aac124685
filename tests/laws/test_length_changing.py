"""Law 4 of noises that change lengths: they take and return a `Padded`, alone and through every combinator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from cases.padded import PADDED
from cases.text import TEXT

FAST = {nj.patch_dropout, nj.text.delete}  # texts are changed by the same few parts
every_padded = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] * (bool(case.note) or case.function not in FAST))
        for case in [*PADDED, *TEXT]
    ],
)


@every_padded
def test_lengths_and_lost_entries_come_back(case, key):
    x, noise = case.array(), case.bind()
    y = noise(key, x)
    assert isinstance(y, nj.Padded)
    case.check(x, y)
    np.testing.assert_array_equal(y.lost, x.lost)
    assert (y.values.dtype, y.lengths.dtype) == (x.values.dtype, jnp.int32)
    assert y.lengths.shape == x.lengths.shape


@every_padded
def test_a_plain_array_with_lengths_gives_the_values(case, key):
    x, noise = case.array(), case.bind()
    expected = noise(key, x).values
    np.testing.assert_array_equal(noise(key, x.values, lengths=x.lengths), expected)
    np.testing.assert_array_equal(case.function(key, x.values, lengths=x.lengths, **case.arguments), expected)


@every_padded
def test_rubbish_in_the_padding_changes_nothing(case, key):
    x, noise = case.array(), case.bind()
    clean = noise(key, x)
    rubbish = noise(key, x.with_values(jnp.where(case.mask(x), x.values, jnp.asarray(99, x.values.dtype))))
    np.testing.assert_array_equal(rubbish.lengths, clean.lengths)
    np.testing.assert_array_equal(
        np.where(case.mask(clean), rubbish.values, 0), np.where(case.mask(clean), clean.values, 0)
    )


@every_padded
def test_same_key_same_bits_and_jit_equals_eager_with_one_trace(case, key):
    x, noise, traces = case.array(), case.bind(), []

    @jax.jit
    def run(noise, key, x):
        traces.append(1)
        return noise(key, x)

    outs = []
    for k in jax.random.split(key, 4):
        for lengths in (x.lengths, x.lengths[::-1]):
            padded = nj.Padded(x.values, lengths)
            jax.tree.map(np.testing.assert_array_equal, run(noise, k, padded), noise(k, padded))
        outs.append(np.asarray(noise(k, x).values).tobytes())
    assert len(set(outs)) > 1
    assert len(traces) == 1


@every_padded
def test_vmap_over_keys_and_over_examples_equals_a_loop(case, key):
    x, noise = case.array(), case.bind()
    keys = jax.random.split(key, len(x.lengths))
    over_keys = jax.vmap(noise, (0, None))(keys, x)
    over_examples = jax.vmap(noise)(keys, x)
    assert over_examples.lengths.shape == x.lengths.shape
    for i, k in enumerate(keys):
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), over_keys, noise(k, x))
        alone = noise(k, jax.tree.map(lambda leaf, i=i: leaf[i], x))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), over_examples, alone)


@every_padded
def test_per_example_draws_do_not_depend_on_the_batch(case, key):
    x, ids = case.array(), np.arange(len(case.array().lengths), dtype=np.int32) * 7 + 3
    whole = nj.per_example(case.bind(), ids)(key, x)
    part = nj.per_example(case.bind(), ids[2:5])(key, jax.tree.map(lambda leaf: leaf[2:5], x))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2:5], b), whole, part)


@every_padded
def test_chains_choices_and_entries_carry_the_new_lengths(case, key):
    x, noise = case.array(), case.bind()
    one = nj.chain(noise)(key, x)
    two = nj.chain(noise, case.bind())(key, x)
    case.check(one, two)
    chosen = nj.choose(noise, noise)(key, x)
    case.check(x, chosen)
    batch = nj.on_entries({"text": noise, "label": None})(key, {"text": x, "label": jnp.arange(len(x.lengths))})
    case.check(x, batch["text"])
    assert isinstance(batch["text"], nj.Padded)
    values = nj.on_entries({"text": noise})(key, {"text": x.values}, lengths={"text": x.lengths})["text"]
    np.testing.assert_array_equal(values, batch["text"].values)


@every_padded
def test_eight_devices_draw_what_one_draws(case, key):
    x, noise = case.array(), case.bind()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, P("data"))), x)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(noise)(key, sharded), noise(key, x))


@every_padded
def test_orbax_restores_a_batch(case, key, tmp_path):
    import orbax.checkpoint as ocp

    state = {"batch": case.bind()(key, case.array()), "noise": case.bind()}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", jax.tree.map(jnp.zeros_like, state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored["batch"], state["batch"])


@every_padded
def test_gradients_in_the_values_are_finite_and_reach_the_data(case, key):
    x, noise = case.array(), case.bind()
    if not jnp.issubdtype(x.values.dtype, jnp.floating):
        pytest.skip("it has no gradient")
    gradient = jax.grad(lambda p: jnp.sum(noise(key, p).values ** 2), allow_int=True)(x).values
    assert np.isfinite(gradient).all() and (np.asarray(gradient) != 0).any()


@every_padded
def test_what_cannot_be_right_is_refused_with_a_way_out(case, key):
    x, noise = case.array(), case.bind()
    if case.function.__noise__.kind == "padded":
        with pytest.raises(TypeError, match=r"moves entries.*nj\.Padded\(values, lengths\)"):
            noise(key, x, where=case.mask(x))
        with pytest.raises(TypeError, match=f"hits: {case.function.__name__} changes lengths"):
            nj.hits(noise)(key, x)
    with pytest.raises(TypeError, match="leave out lengths"):
        case.function(key, x, lengths=x.lengths, **case.arguments)
    with pytest.raises(TypeError, match="raw seed"):
        case.function(3, x, **case.arguments)
    with pytest.raises(ValueError, match="lengths must have the shape"):
        noise(key, x.values, lengths=np.ones(3, np.int32))
