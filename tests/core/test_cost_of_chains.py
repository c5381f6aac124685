"""Law 9: a chain costs at most the sum of its stages, also where a stage reads other examples."""

import itertools

import jax
import jax.numpy as jnp
import pytest

import noisejax as nj

STAGES = {
    "gaussian": nj.bind(nj.gaussian, std=0.1),
    "mask": nj.bind(nj.mask, rate=0.1),
    "dropout": nj.bind(nj.dropout, rate=0.1),
    "swap": nj.bind(nj.swap, rate=0.1),
    "mixup": nj.bind(nj.mixup, alpha=0.5),
}
PAIRS = [pair for pair in itertools.product(STAGES, repeat=2) if {"swap", "mixup"} & set(pair)]


def operations(noise) -> float:
    shapes = jax.random.key(0), jax.ShapeDtypeStruct((256, 128), jnp.float32)
    return jax.jit(noise).lower(*shapes).compile().cost_analysis()["flops"]


@pytest.mark.skipif(jax.__version_info__ < (0, 11, 1), reason="the CPU backend of this jax removes barriers")
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_no_stage_is_computed_again_for_what_reads_it(pair):
    first, second = (STAGES[name] for name in pair)
    assert operations(nj.chain(first, second)) <= 1.1 * (operations(first) + operations(second))
