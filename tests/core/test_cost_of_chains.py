"""Law 9: a chain costs at most the sum of its stages, also where a stage reads other examples."""

import itertools
import re

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
PAIRS = list(itertools.product(STAGES, ("swap", "mixup")))
COMPUTATION = re.compile(r"^(?:%|ENTRY )[^\n]*\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)


def gathering(noise) -> int:
    """How many instructions the largest computation has that gathers: what runs for every element that is gathered."""
    shapes = jax.random.key(0), jax.ShapeDtypeStruct((256, 128), jnp.float32)
    bodies = COMPUTATION.findall(jax.jit(noise).lower(*shapes).compile().as_text())
    found = [body.count("\n") for body in bodies if re.search(r"f32\[[\d,]*\]\S* gather\(", body)]
    assert found, "nothing gathers"
    return max(found)


@pytest.mark.skipif(jax.__version_info__ < (0, 11, 1), reason="the CPU backend of this jax removes barriers")
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_no_stage_is_computed_again_for_what_reads_it(pair):
    first, second = (STAGES[name] for name in pair)
    alone = max(gathering(noise) for noise in (first, second) if noise in (STAGES["swap"], STAGES["mixup"]))
    assert gathering(nj.chain(first, second)) <= 1.1 * alone
