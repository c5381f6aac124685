"""Hand-written kernels compared with XLA's versions of their specifications: in context on a GPU, or compiled for one.

A kernel moves into the package when it wins here, inside the computation that it is for. Without a GPU each is
interpreted on small arrays and compared with its specification. If this machine can compile for an H200, launches and
bytes of temporaries are counted. Nothing is timed then.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import _h200, measure
from benchmarks.kernels.dropout_norm import dropout_norm
from benchmarks.kernels.noisy_matmul import noisy_matmul
from benchmarks.kernels.normal_pairs import normal_pairs


def run(smoke: bool) -> Iterator[dict]:
    gpu = jax.default_backend() == "gpu"
    for dtype in (jnp.bfloat16, jnp.float32):
        for name, (job, small, large) in jobs().items():
            key = jax.random.key_data(jax.random.key(0))
            row = {"kernel": name, "dtype": jnp.dtype(dtype).name}
            arrays = [key, *(jnp.cos(jnp.arange(np.prod(s))).astype(dtype).reshape(s) for s in small)]
            row["differs by"] = difference(
                *(jax.jit(job, static_argnums=0)(how, *arrays) for how in ("xla", "pallas" if gpu else "interpret"))
            )
            if gpu and not smoke:
                row |= timed(job, [key, *(jnp.ones(s, dtype) for s in large)])
            elif not smoke:
                row |= compiled(job, [jax.ShapeDtypeStruct((2,), jnp.uint32), *(jnp.ones(s, dtype) for s in large)])
            yield row


def jobs() -> dict[str, tuple[Callable, list, list]]:
    """The kernels' uses: a function of the implementation, key data and arrays, and small and large shapes."""
    n, wrap = 4096, jax.random.wrap_key_data

    def products(how, key, x, w):
        # Two layers with the GELU between them, so that a fusion which the kernel prevents is counted against it.
        hidden = jax.nn.gelu(noisy_matmul(wrap(key), x, w, 0.01, implementation=how))
        return noisy_matmul(jax.random.fold_in(wrap(key), 1), hidden, w, 0.01, implementation=how)

    def norm(how, key, x, scale):
        # The sum feeds the next layer, the norm this one: both are read again.
        h, y = dropout_norm(wrap(key), jax.nn.gelu(x), x, scale, 0.1, implementation=how)
        return h + jax.nn.gelu(y)

    def pairs(how, key, x):
        return normal_pairs(wrap(key), x, 0.1, implementation=how)

    named = {
        f"noisy matmul twice, batch {b}": (products, [(8, 128), (128, 128)], [(b, n), (n, n)]) for b in (1, 16, 256)
    }
    named["gelu, dropout, residual, RMSNorm, gelu"] = norm, [(8, 128), (128,)], [(n, n), (n,)]
    named["gaussian, two normals from a word"] = pairs, [(4096,)], [(2**24,)]
    return named


def timed(job: Callable, arrays: list) -> dict:
    run = jax.jit(job, static_argnums=0)
    ways = {"XLA": lambda: run("xla", *arrays), "kernel": lambda: run("pallas", *arrays)}
    if job.__name__ == "pairs":
        x, key = arrays[1], jax.random.wrap_key_data(arrays[0])
        copy, gaussian = jax.jit(lambda x: x * jnp.asarray(1.5, x.dtype)), jax.jit(nj.bind(nj.gaussian, std=0.1))
        ways |= {"copy": lambda: copy(x), "nj.gaussian": lambda: gaussian(key, x)}
    seconds = measure.interleaved(ways)
    row = {f"{way} ms": 1e3 * time for way, time in seconds.items()}
    return row | {"kernel is faster": seconds["XLA"] / seconds["kernel"]}


def compiled(job: Callable, arrays: list) -> dict:
    row = {}
    for way, how in {"XLA": "xla", "kernel": "compile"}.items():
        try:
            program = _h200.compile_for(lambda *a, how=how: job(how, *a), *arrays)
        except _h200.Unavailable:
            return {}
        row |= {f"{way} launches": program.launches + program.tiny, f"{way} temporary bytes": program.temporary}
    return row


def difference(one, other) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).max()) for a, b in pairs)
