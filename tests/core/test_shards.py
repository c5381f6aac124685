"""Inside shard_map: every shard draws its own part of what the whole array draws, or the noise refuses."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from cases import every

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
AXIS_TYPES = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])


def mesh_of(axis_type=AxisType.Auto):
    return jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)


def in_shards(noise, spec, key, x, axis_type=AxisType.Auto, **options):
    """What the shards draw together, and no collective in it."""
    mesh = mesh_of(axis_type)
    local = jax.shard_map(nj.in_shard_map(noise, spec), mesh=mesh, in_specs=(P(), spec), out_specs=spec, **options)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, spec))
        compiled = jax.jit(local).lower(key, sharded).compile()
        assert not [name for name in COLLECTIVES if name in compiled.as_text()]
        return np.asarray(compiled(key, sharded))


@pytest.mark.slow
@every
def test_every_noise_draws_its_part_or_refuses(case, key):
    """Cut along the leading and one more axis where it sees elements, else along the leading one, else refused."""
    x, noise = case.array(), case.bind()
    pictures = case.function.__module__.startswith("noisejax.image.")  # they have a fixed number of channels
    axis = x.ndim - 1 - pictures
    x = jnp.concatenate([x, x], axis) if x.shape[axis] % 2 else x
    leading, both = P(("b", "a")), P("a", *[None] * (axis - 1), "b")
    sees = case.function.__noise__.sees
    spec = both if sees == "element" and "groups" not in case.options else leading
    alone = np.asarray(jax.jit(noise)(key, x))
    if sees == "batch":
        with pytest.raises(ValueError, match="sees the whole batch, but x is sharded along axis 0"):
            in_shards(noise, spec, key, x)
        return
    np.testing.assert_allclose(in_shards(noise, spec, key, x), alone, rtol=case.close, atol=case.close)
    if sees == "example":
        with pytest.raises(ValueError, match="sees a whole example, but x is sharded along axis"):
            in_shards(noise, both, key, x)


@AXIS_TYPES
def test_a_chain_of_everything(axis_type, key):
    noise = nj.chain(
        nj.bind(nj.gaussian, std=0.1),
        nj.clip(-2, 2),
        nj.sometimes(nj.bind(nj.mask, rate=0.5), 0.5),
        nj.choose(nj.bind(nj.speckle, std=0.1), nj.bind(nj.drop_path, rate=0.5)),
        nj.per_example(nj.bind(nj.dropout, rate=0.3)),
        nj.bind(nj.spatial_dropout, rate=0.3),
    )
    x = jnp.asarray(np.random.default_rng(0).standard_normal((16, 6, 4)), jnp.float32)
    drawn = in_shards(noise, P("a", None, "b"), key, x, axis_type)
    np.testing.assert_allclose(drawn, jax.jit(noise)(key, x), rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(drawn == 0, jax.jit(noise)(key, x) == 0)


@pytest.mark.parametrize("spec", [P("a"), P(None, "b"), P(("a", "b")), P("b", "a"), P(None, ("b", "a"))])
def test_any_cut_gives_the_whole_draw_to_the_bit(spec, key):
    x, noise = jnp.ones((16, 8)), nj.bind(nj.dropout, rate=0.5)
    for k in (key, nj.key(1, generator="threefry2x32"))[: 2 if spec == P("b", "a") else 1]:
        np.testing.assert_array_equal(in_shards(noise, spec, k, x), jax.jit(noise)(k, x))


def test_shards_of_one_element_know_what_is_shared(key):
    """One example on each device: drop_path drops examples by themselves, or in batch mode all of them."""
    x = jnp.ones((8, 4))
    for mode in ("example", "batch"):
        noise = nj.bind(nj.drop_path, rate=0.5, mode=mode)
        np.testing.assert_array_equal(in_shards(noise, P(("a", "b")), key, x), noise(key, x))
    assert len(np.unique(in_shards(nj.bind(nj.drop_path, rate=0.5), P(("a", "b")), key, x)[:, 0])) == 2


def test_without_it_every_shard_draws_the_same(key):
    """The trap that it is for."""
    x, spec = jnp.ones((8, 16)), P(("a", "b"))
    trap = jax.shard_map(nj.bind(nj.dropout, rate=0.5), mesh=mesh_of(), in_specs=(P(), spec), out_specs=spec)
    rows = np.asarray(jax.jit(trap)(key, x))
    assert (rows == rows[0]).all()
    assert len(np.unique(in_shards(nj.bind(nj.dropout, rate=0.5), spec, key, x), axis=0)) == 8


@AXIS_TYPES
def test_where_some_mesh_axes_stay_automatic(axis_type, key):
    x = jnp.ones((16, 8))
    noise = nj.bind(nj.dropout, rate=0.5)
    drawn = in_shards(noise, P("a"), key, x, axis_type, axis_names={"a"})
    np.testing.assert_array_equal(drawn, jax.jit(noise)(key, x))


@pytest.mark.slow
def test_hits_gradients_and_padding(key):
    x, spec, mesh = jnp.ones((8, 6)), P("a", "b"), mesh_of()
    noise = nj.bind(nj.dropout, rate=0.5)
    local = nj.in_shard_map(noise, spec)

    def run(f, *specs):
        return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=(P(), *specs), out_specs=spec))

    np.testing.assert_array_equal(run(nj.hits(local), spec)(key, x), nj.hits(noise)(key, x))
    grad = jax.grad(lambda x: run(local, spec)(key, x).sum())(x)
    np.testing.assert_array_equal(grad, jax.grad(lambda x: noise(key, x).sum())(x))
    where = jnp.arange(6)[None] < jnp.arange(8)[:, None]
    padded = run(lambda key, x, where: local(key, x, where=where), spec, spec)(key, x, where)
    np.testing.assert_array_equal(padded, noise(key, x, where=where))
    lengths, rows = jnp.arange(8), nj.in_shard_map(noise, P("a"))
    by_row = jax.shard_map(
        lambda key, x, n: rows(key, x, lengths=n), mesh=mesh, in_specs=(P(), P("a"), P("a")), out_specs=P("a")
    )
    np.testing.assert_array_equal(jax.jit(by_row)(key, x, lengths), noise(key, x, lengths=lengths))
    with pytest.raises(ValueError, match="lengths count along axis 1, sharded over"):
        run(lambda key, x, n: local(key, x, lengths=n), spec, P("a"))(key, x, lengths)


def test_a_draw_beyond_32_bit_indices(key):
    """Eight shards of 2**33 elements each; only the last element of the last shard is computed."""
    mesh, shape = mesh_of(), (2**19, 2**17)

    def last(key):
        x = jnp.broadcast_to(jnp.float32(1), (shape[0] // 4, shape[1] // 2))
        return nj.in_shard_map(nj.bind(nj.gaussian, std=1.0), P("a", "b"))(key, x)[-1:, -1:]

    drawn = jax.jit(jax.shard_map(last, mesh=mesh, in_specs=P(), out_specs=P("a", "b"))).lower(key).compile()
    assert drawn.memory_analysis().temp_size_in_bytes < 2**20
    whole = jax.jit(lambda key: nj.gaussian(key, jnp.broadcast_to(jnp.float32(1), shape), 1.0)[-1, -1])
    np.testing.assert_allclose(drawn(key)[-1, -1], whole(key), rtol=2e-6)


def test_what_cannot_be_right_is_refused(key):
    x = jnp.ones((8, 6))
    cases = [
        (lambda key, x: x + jax.random.normal(key, x.shape), P("a"), "draws from a JAX key"),
        (nj.bind(nj.mixup, alpha=0.2), P("a"), "mixup: sees the whole batch"),
        (nj.bind(nj.signal.colored, std=0.1, axis=0), P("a"), "along axis 0"),
        (nj.bind(nj.image.cutout, size=2.0, axes=(0, 1)), P("a"), "along axis 0"),
        (nj.in_shard_map(nj.bind(nj.gaussian, std=0.1), P("a")), P("a"), "must not be nested"),
        (nj.bind(nj.gaussian, std=0.1), P("a", None, None), "x must be one array with the axes"),
    ]
    for noise, spec, words in cases:
        with pytest.raises(ValueError, match=words):
            in_shards(noise, P(*spec[:2]), key, x) if len(spec) < 3 else nj.in_shard_map(noise, spec)(key, x)
    with pytest.raises(ValueError, match="along axis 0"):
        in_shards(nj.bind(nj.signal.colored, std=0.1), P("a"), key, jnp.ones(8))
    with pytest.raises(TypeError, match="PartitionSpec"):
        nj.in_shard_map(nj.bind(nj.gaussian, std=0.1), "a")
    with pytest.raises(ValueError, match=r"one by one: nj\.on_entries"):
        nj.in_shard_map(nj.bind(nj.gaussian, std=0.1), P("a"))(key, (x, x))


def test_entries_of_a_batch_and_the_value_itself(key):
    noise = nj.on_entries((nj.in_shard_map(nj.bind(nj.gaussian, std=0.1), P("a")), None))
    assert pickle.loads(pickle.dumps(noise)) is not noise
    assert repr(noise) == (
        "nj.on_entries((nj.in_shard_map(nj.bind(nj.gaussian, std=0.1), jax.sharding.PartitionSpec('a')), None))"
    )
    batch = (jnp.ones((8, 6)), jnp.arange(8))
    run = jax.shard_map(noise, mesh=mesh_of(), in_specs=(P(), (P("a"), P("a"))), out_specs=(P("a"), P("a")))
    expected = nj.on_entries((nj.bind(nj.gaussian, std=0.1), None))(key, batch)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(run)(key, batch), expected)
