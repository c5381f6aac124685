"""Law 6 on a mesh: the same draws on one device and on eight, and no device talks to another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from cases import every

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def specs(case, ndim):
    yield P(("a", "b"))
    if case.elementwise:
        yield P("a", *[None] * (ndim - 2), "b")


@every
@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_one_device_and_eight_draw_the_same_without_a_collective(case, axis_type, key):
    if case.gathers:
        pytest.skip("it may communicate; tests/test_mixing.py holds its local form, which does not")
    x = case.array()
    if case.elementwise:  # a size that every spec divides
        x = jnp.tile(x, (1,) * (x.ndim - 1) + (2,)) if not case.options else x
    noise = case.bind()

    def there_and_back(key, x):
        return noise(key, x), jax.grad(lambda x: jnp.sum(noise(key, x)))(x)

    alone = np.asarray(noise(key, x))
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    for spec in specs(case, x.ndim):
        if x.shape[-1] % 2 and len(spec) == x.ndim:
            continue
        with jax.set_mesh(mesh):
            sharded = jax.device_put(x, NamedSharding(mesh, spec))
            compiled = jax.jit(there_and_back).lower(key, sharded).compile()
            result, _ = compiled(key, sharded)
        found = [name for name in COLLECTIVES if name in compiled.as_text()]
        assert not found, f"{spec}: {found}"
        np.testing.assert_allclose(np.asarray(result), alone, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_each_device_works_on_its_own_part_only(axis_type, key):
    from cases import nj

    noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1))
    x = jnp.ones((512, 512))
    whole = jax.jit(noise).lower(key, x).compile().cost_analysis()["flops"]
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("a", "b")))
        part = jax.jit(noise).lower(key, sharded).compile().cost_analysis()["flops"]
    assert part < 1.2 * whole / 8
