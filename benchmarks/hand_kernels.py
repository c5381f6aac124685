"""Hand-written kernels against what XLA makes of their specifications: in context on a GPU, agreement elsewhere.

A kernel moves into the package when it wins here, inside the computation that it is for. Without a GPU it is
interpreted on small arrays and compared with its specification, and nothing is timed.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import measure
from benchmarks.kernels.dropout_norm import dropout_norm
from benchmarks.kernels.noisy_matmul import noisy_matmul
from benchmarks.kernels.normal_pairs import normal_pairs


def run(smoke: bool) -> Iterator[dict]:
    timed = jax.default_backend() == "gpu" and not smoke
    for dtype in (jnp.bfloat16, jnp.float32):
        for name, job in jobs(dtype, large=timed).items():
            ways = {way: jax.jit(lambda how=how, job=job: job(how)) for way, how in implementations(timed).items()}
            row = {"kernel": name, "dtype": jnp.dtype(dtype).name, "differs by": difference(*ways.values())}
            if timed:
                if "gaussian" in name:
                    ways |= baselines(dtype)
                seconds = measure.interleaved(ways)
                row |= {f"{way} ms": 1e3 * time for way, time in seconds.items()}
                row["kernel is faster"] = seconds["XLA"] / seconds["kernel"]
            yield row


def implementations(timed: bool) -> dict[str, str]:
    return {"XLA": "xla", "kernel": "pallas" if timed else "interpret"}


def jobs(dtype, large: bool) -> dict[str, Callable]:
    """What the kernels are for: name -> a function of the implementation."""
    key, n = jax.random.key(0), 4096 if large else 128
    weights, rows, scale = jnp.ones((n, n), dtype) / n, jnp.ones((n, n), dtype), jnp.ones(n, dtype)
    flat = jnp.ones(2**24 if large else 4096, dtype)

    def products(batch: int) -> Callable:
        # Two layers with what stands between them, so that a fusion which the kernel prevents is counted against it.
        x = jnp.ones((batch, n), dtype)

        def job(how):
            hidden = jax.nn.gelu(noisy_matmul(key, x, weights, 0.01, implementation=how))
            return noisy_matmul(jax.random.fold_in(key, 1), hidden, weights, 0.01, implementation=how)

        return job

    def norm(how):
        # The sum feeds the next layer, the norm this one: both are read again.
        h, y = dropout_norm(key, jax.nn.gelu(rows), rows, scale, 0.1, implementation=how)
        return h + jax.nn.gelu(y)

    batches = (1, 16, 64, 256) if large else (8,)
    named = {f"noisy matmul twice, batch {b}, {n} features": products(b) for b in batches}
    named["gelu, dropout, residual, RMSNorm, gelu"] = norm
    named["gaussian, two normals from a word"] = lambda how: normal_pairs(key, flat, 0.1, implementation=how)
    return named


def baselines(dtype) -> dict[str, Callable]:
    key, flat = jax.random.key(0), jnp.ones(2**24, dtype)
    copy, gaussian = jax.jit(lambda x: x * jnp.asarray(1.5, dtype)), jax.jit(nj.bind(nj.gaussian, std=0.1))
    return {"copy": lambda: copy(flat), "nj.gaussian": lambda: gaussian(key, flat)}


def difference(one: Callable, other: Callable) -> float:
    pairs = zip(jax.tree.leaves(one()), jax.tree.leaves(other()), strict=True)
    return max(float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).max()) for a, b in pairs)
