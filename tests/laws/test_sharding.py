"""Law 6 on a mesh: the same draws on one device and on eight, and no device talks to another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj
from cases import every

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def there_and_back(noise, key, x):
    return noise(key, x), jax.grad(lambda x: jnp.sum(noise(key, x)))(x)


def array(case):
    """x of a size that the mesh divides: along the batch and, where elements may be sharded, along the last axis."""
    x = case.x()
    return np.tile(x, (1,) * (x.ndim - 1) + (2,)) if case.elementwise and x.shape[-1] % 2 else x


def specs(case):
    """The spec that is hardest for the noise, then the easier one."""
    x = array(case)
    over_elements = case.elementwise and x.shape == case.x().shape
    return [P("a", *[None] * (x.ndim - 2), "b")] * over_elements + [P(("a", "b"))]


def mesh_of(axis_type):
    return jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)


def holds(case, axis_type, spec, key):
    x, noise = array(case), case.bind()
    alone = np.asarray(noise(key, x))
    mesh = mesh_of(axis_type)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, spec))
        compiled = jax.jit(there_and_back).lower(noise, key, sharded).compile()
        result, _ = compiled(noise, key, sharded)
    found = [name for name in COLLECTIVES if name in compiled.as_text() and not (case.votes and name == "all-reduce")]
    assert not found, f"{spec}: {found}"
    np.testing.assert_allclose(np.asarray(result), alone, rtol=case.close, atol=case.close)


GATHERS = "it may communicate; tests/noises/test_mixing_sharded.py holds its local form, which does not"


@every
def test_one_device_and_eight_draw_the_same_without_a_collective(case, key):
    if case.gathers:
        pytest.skip(GATHERS)
    holds(case, AxisType.Auto, specs(case)[0], key)


@pytest.mark.slow
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
@every
def test_all_ways_to_shard_draw_the_same_without_a_collective(case, axis_type, key):
    if case.gathers:
        pytest.skip(GATHERS)
    for spec in specs(case)[axis_type is AxisType.Auto :]:
        holds(case, axis_type, spec, key)


@every
def test_explicit_shardings_are_kept_by_the_noise_and_its_gradient(case, key):
    if case.gathers:
        pytest.skip(GATHERS)
    mesh = mesh_of(AxisType.Explicit)
    for spec in specs(case):
        with jax.set_mesh(mesh):
            x = jax.ShapeDtypeStruct(array(case).shape, jnp.float32, sharding=NamedSharding(mesh, spec))
            value, gradient = jax.eval_shape(there_and_back, case.bind(), key, x)
        whole = P(*spec, *[None] * (len(x.shape) - len(spec)))
        assert value.sharding.spec == gradient.sharding.spec == whole


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_each_device_works_on_its_own_part_only(axis_type, key):
    noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1))
    x = jnp.ones((512, 512))
    whole = jax.jit(noise).lower(key, x).compile().cost_analysis()["flops"]
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("a", "b")))
        part = jax.jit(noise).lower(key, sharded).compile().cost_analysis()["flops"]
    assert part < 1.2 * whole / 8
