"""Mixing on a mesh: who talks to whom, and that the pairs are those of one device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import noisejax as nj

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
axis_types = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])


class Batch(NamedTuple):
    image: jax.Array
    label: jax.Array


def images(n=6, dtype=np.float32):
    x = np.random.default_rng(1).random((n, 8, 7, 3))
    return jnp.asarray(np.round(255 * x) if dtype == np.uint8 else x).astype(dtype)


def mesh_and(axis_type, *arrays):
    mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(axis_type,) * 2)
    return mesh, [jax.device_put(a, NamedSharding(mesh, P(("a", "b")))) for a in arrays]


def programs(shards):
    options = {"num_classes": 5, "shards": shards}
    mixup, cutmix = nj.bind(nj.mixup, alpha=0.4, **options), nj.bind(nj.cutmix, alpha=1.0, **options)
    return {
        "mixup, rolled": nj.bind(nj.mixup, alpha=0.4, mode="batch", pairing="roll", **options),
        "mixup and cutmix": nj.choose(mixup, cutmix),
        "swap": nj.on_entries((nj.bind(nj.swap, rate=0.3, shards=shards, groups=(0, 1, 1)), None)),
    }


def compiled_on_eight(noise, axis_type, key):
    """The program's text, its results and those of one device, and a gradient in x."""

    def step(x, y):
        mixed, pull, rows = jax.vjp(lambda x: noise(key, (x, y)), x, has_aux=True)
        return mixed, rows, pull(jnp.cos(mixed))[0]

    x, y = images(32), jnp.arange(32) % 5
    mesh, sharded = mesh_and(axis_type, x, y)
    with jax.set_mesh(mesh):
        compiled = jax.jit(step).lower(*sharded).compile()
        return compiled.as_text(), compiled(*sharded), jax.jit(step)(x, y)


@pytest.mark.slow
@axis_types
@pytest.mark.parametrize("name", programs(1))
def test_parts_of_the_batch_mix_without_a_collective(name, axis_type, key):
    text, together, alone = compiled_on_eight(programs(8)[name], axis_type, key)
    assert not [c for c in COLLECTIVES if c in text]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


@pytest.mark.slow
@axis_types
@pytest.mark.parametrize("name", ["mixup, rolled", "swap"])
def test_global_pairs_are_those_of_one_device(name, axis_type, key):
    text, together, alone = compiled_on_eight(programs(1)[name], axis_type, key)
    assert [c for c in COLLECTIVES if c in text]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


@axis_types
def test_two_phases_on_a_mesh(axis_type, key):
    x = images(32)
    mesh, (sharded,) = mesh_and(axis_type, x)

    def hidden(x):
        lam, partner = nj.mixup_pairs(key, len(x), 0.5, shards=8)
        return nj.blend(jnp.tanh(x), lam, partner, shards=8)

    with jax.set_mesh(mesh):
        compiled = jax.jit(hidden).lower(sharded).compile()
        np.testing.assert_allclose(compiled(sharded), hidden(x), atol=2e-6)
    assert not [c for c in COLLECTIVES if c in compiled.as_text()]


def test_inside_shard_map_each_device_pairs_its_own(key):
    x = images(32)
    mesh, (sharded,) = mesh_and(AxisType.Auto, x)
    mapped = jax.shard_map(lambda x: nj.mixup(key, x, 0.5), mesh=mesh, in_specs=P(("a", "b")), out_specs=P(("a", "b")))
    np.testing.assert_allclose(jax.jit(mapped)(sharded)[:4], nj.mixup(key, x[:4], 0.5), atol=2e-6)
