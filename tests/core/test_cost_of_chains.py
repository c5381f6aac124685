"""Law 9: a chain costs at most the sum of its stages, also where a stage reads other examples, or axes are short."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisejax as nj

STAGES = {
    "gaussian": nj.bind(nj.gaussian, std=0.1),
    "mask": nj.bind(nj.mask, rate=0.1),
    "dropout": nj.bind(nj.dropout, rate=0.1),
    "swap": nj.bind(nj.swap, rate=0.1),
    "mixup": nj.bind(nj.mixup, alpha=0.5),
}
PAIRS = list(itertools.product(STAGES, ("swap", "mixup")))
IMAGES = STAGES | {
    "cutmix": nj.bind(nj.cutmix, alpha=0.5),
    "random_erasing": nj.bind(nj.image.random_erasing, rate=0.5),
}
IMAGE_PAIRS = [
    ("gaussian", "gaussian"),
    ("swap", "gaussian"),
    ("swap", "mask"),
    ("cutmix", "dropout"),
    ("random_erasing", "mask"),
    ("mask", "random_erasing"),
    ("random_erasing", "swap"),
]
COMPUTATION = re.compile(r"^(?:%|ENTRY )[^\n]*\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)


@functools.cache
def compiled(noise, shape):
    return jax.jit(noise).lower(jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)).compile()


def computations(noise, shape):
    return COMPUTATION.findall(compiled(noise, shape).as_text())


def gathering(noise) -> int:
    """How many instructions the largest computation has that gathers: what runs for every element that is gathered."""
    bodies = computations(noise, (256, 128))
    found = [body.count("\n") for body in bodies if re.search(r"f32\[[\d,]*\]\S* gather\(", body)]
    assert found, "nothing gathers"
    return max(found)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_no_stage_is_computed_again_for_what_reads_it(pair):
    first, second = (STAGES[name] for name in pair)
    alone = max(gathering(noise) for noise in (first, second) if noise in (STAGES["swap"], STAGES["mixup"]))
    assert gathering(nj.chain(first, second)) <= 1.1 * alone


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="on CPUs alone a long loop over three channels is slow")
@pytest.mark.parametrize("pair", IMAGE_PAIRS, ids="-".join)
def test_noises_of_images_have_loops_of_their_own_on_cpus(pair):
    def largest(noise):
        return max(body.count("\n") for body in computations(noise, (16, 8, 8, 3)))

    stages = [IMAGES[name] for name in pair]
    assert largest(nj.chain(*stages)) <= 1.1 * max(map(largest, stages)) + 8  # the entry has a few calls more
    read = [compiled(noise, (16, 8, 8, 3)).cost_analysis()["bytes accessed"] for noise in (nj.chain(*stages), *stages)]
    assert read[0] <= 1.1 * sum(read[1:])


def lowered(noise, shape, platform):
    shapes = jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.jit(noise).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()


def test_on_other_devices_a_chain_of_elementwise_noises_stays_one_loop():
    chain = nj.chain(STAGES["gaussian"], STAGES["mask"], STAGES["dropout"])
    for platform in ("cuda", "tpu"):
        assert "optimization_barrier" not in lowered(chain, (16, 8, 8, 3), platform)
    assert "optimization_barrier" not in lowered(chain, (16, 64), "cpu")
    assert "optimization_barrier" in lowered(chain, (16, 8, 8, 3), "cpu")
    assert "optimization_barrier" in lowered(nj.chain(STAGES["gaussian"], STAGES["swap"]), (16, 64), "cuda")


@pytest.mark.slow
def test_transformations_pass_through_separated_stages(key):
    chain = nj.chain(STAGES["gaussian"], STAGES["swap"], IMAGES["cutmix"], nj.bind(nj.speckle, std=0.5))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 4, 4, 3)), jnp.float32)
    run = jax.jit(lambda x: chain(key, x))
    y, tangent = jax.jvp(run, (x,), (jnp.ones_like(x),))
    np.testing.assert_allclose(y, chain(key, x), rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda x: run(x).sum())(x)
    np.testing.assert_allclose(slope.sum(), tangent.sum(), rtol=1e-5)
    keys = jax.random.split(key, 3)
    many = jax.jit(jax.vmap(chain, in_axes=(0, None)))(keys, x)
    np.testing.assert_allclose(many[2], jax.jit(chain)(keys[2], x), rtol=1e-5, atol=1e-6)
