"""How fast a noise is: against a copy, the idiom of jax.random under each key implementation, and flax.

Times are of one jitted call on an array that is there already, in milliseconds; `x copy` is the time over that of a
copy (x * 1.5), the limit of what reads x and writes y once.
"""

import jax
import jax.numpy as jnp
from flax import nnx

import noisejax as nj
from benchmarks import measure

IMPLEMENTATIONS = ("threefry2x32", "rbg", "philox4x32", "threefry4x32")


def rivals(size: int, dtype) -> dict[str, dict]:
    """For each job, the ways to do it: name -> a function without arguments."""
    x = jnp.ones(size, dtype)
    keys = {}
    for impl in IMPLEMENTATIONS:
        try:
            keys[impl] = jax.random.key(0, impl=impl)
        except ValueError:  # an older jax has fewer of them
            continue
    key = keys["threefry2x32"]
    gaussian, dropout = jax.jit(nj.bind(nj.gaussian, std=0.1)), jax.jit(nj.bind(nj.dropout, rate=0.3))
    chain = jax.jit(nj.chain(*(nj.bind(f, **a) for f, a in CHAIN)))
    layer = nnx.Dropout(0.3, rngs=nnx.Rngs(dropout=0))
    graph, state = nnx.split(layer)
    copy = jax.jit(lambda x: x * jnp.asarray(1.5, dtype))

    @jax.jit
    def stock_normal(key, x):
        return x + (0.1 * jax.random.normal(key, x.shape)).astype(x.dtype)

    @jax.jit
    def stock_dropout(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0)

    @jax.jit
    def flax_dropout(state, x):
        return nnx.merge(graph, state)(x)

    def by_key(function):
        return {f"jax.random, {impl}": (lambda k=k: function(k, x)) for impl, k in keys.items()}

    return {
        "gaussian": {"copy": lambda: copy(x), "noisejax": lambda: gaussian(key, x), **by_key(stock_normal)},
        "dropout": {
            "copy": lambda: copy(x),
            "noisejax": lambda: dropout(key, x),
            "flax nnx.Dropout": lambda: flax_dropout(state, x),
            **by_key(stock_dropout),
        },
        "chain of five": {"copy": lambda: copy(x), "noisejax": lambda: chain(key, x)},
    }


CHAIN = (
    (nj.gaussian, {"std": 0.1}),
    (nj.mask, {"rate": 0.1}),
    (nj.speckle, {"std": 0.1}),
    (nj.uniform, {"scale": 0.1}),
    (nj.dropout, {"rate": 0.1}),
)


def run(smoke: bool) -> list[dict]:
    sizes = [2**12] if smoke else [2**16, 2**20, 2**22]
    rows = []
    for size in sizes:
        for dtype in (jnp.float32, jnp.bfloat16):
            rounds = 3 if smoke else max(7, min(61, 2**26 // size))
            for job, ways in rivals(size, dtype).items():
                seconds = measure.interleaved(ways, rounds=rounds, calls=1 if size > 2**18 else 20)
                for way, time in seconds.items():
                    rows.append(
                        {
                            "job": job,
                            "size": size,
                            "dtype": jnp.dtype(dtype).name,
                            "way": way,
                            "ms": 1e3 * time,
                            "x copy": time / seconds["copy"],
                            "noisejax is faster": time / seconds["noisejax"],
                        }
                    )
    return rows
