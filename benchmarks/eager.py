"""The cost of an eager call on a small array, which is all dispatch, compared with an eager jax.random.normal."""

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
    seconds = measure.interleaved(ways, rounds=3 if smoke else 31, calls=10 if smoke else 300)
    base = seconds["jax.random.normal(key, shape)"]
    return [{"call": way, "us": 1e6 * time, "x jax.random.normal": time / base} for way, time in seconds.items()]
