"""The cost of an eager call on a small array, which is all dispatch.

Calls of single noises are compared with an eager jax.random.normal, and combinators with one bound noise.
"""

import jax
import jax.numpy as jnp

import noisejax as nj
from benchmarks import measure


def run(smoke: bool) -> list[dict]:
    key, x, std = jax.random.key(0), jnp.ones(16), jnp.float32(0.1)
    ways = {
        "jax.random.normal(key, shape)": lambda: jax.random.normal(key, (16,)),
        "nj.gaussian(key, x, 0.1)": lambda: nj.gaussian(key, x, 0.1),
        "nj.gaussian(key, x, array)": lambda: nj.gaussian(key, x, std),
        "nj.dropout(key, x, 0.1)": lambda: nj.dropout(key, x, 0.1),
        "x + 0.1 * jax.random.normal(...)": lambda: x + 0.1 * jax.random.normal(key, (16,)),
    }
    base = "jax.random.normal(key, shape)"
    return [*_compared(ways, base, "x jax.random.normal", smoke), *combinators(smoke)]


def combinators(smoke: bool) -> list[dict]:
    key, x = jax.random.key(0), jnp.ones((32, 16))
    gaussian, mask = nj.bind(nj.gaussian, std=0.1), nj.bind(nj.mask, rate=0.1)
    noises = {
        "bound gaussian": gaussian,
        "chain(gaussian, mask)": nj.chain(gaussian, mask),
        "per_example(gaussian)": nj.per_example(gaussian),
        "choose(gaussian, mask)": nj.choose(gaussian, mask),
        "sometimes(gaussian, 0.5)": nj.sometimes(gaussian, 0.5),
    }
    ways = {name: lambda noise=noise: noise(key, x) for name, noise in noises.items()}
    return _compared(ways, "bound gaussian", "x one noise", smoke)


def _compared(ways: dict, base: str, column: str, smoke: bool) -> list[dict]:
    seconds = measure.interleaved(ways, rounds=3 if smoke else 31, calls=10 if smoke else 300)
    return [{"call": way, "us": 1e6 * time, column: time / seconds[base]} for way, time in seconds.items()]
