"""Hand-written kernels of `noisejax.fused` compared with the plain forms: in context on a GPU, or compiled for one.

A kernel becomes the default on a device when it wins here, inside the computation that it is for. Without a GPU each is
interpreted on small arrays and compared with its plain form. If this machine can compile for an H200, launches and
bytes of temporaries are counted. Nothing is timed then.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj
from benchmarks import _h200, measure
from noisejax.fused import _norm
from noisejax.fused._attention.call import attend_by_blocks
from noisejax.fused._dense import dense_by_tiles


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
    n, wrap, noise = 4096, jax.random.wrap_key_data, nj.bind(nj.gaussian, std=0.01)

    def products(how, key, x, w):
        # Two layers with the GELU between them, so that a fusion which the kernel prevents is counted against it.
        hidden = jax.nn.gelu(dense_by_tiles(wrap(key), x, w, noise, implementation=how))
        return dense_by_tiles(jax.random.fold_in(wrap(key), 1), hidden, w, noise, implementation=how)

    def norm(how, key, x, scale):
        # The sum feeds the next layer, the norm this one: both are read again.
        x, rate, static = jax.nn.gelu(x), jnp.float32(0.1), ("rms", 1e-6)
        if how == "xla":
            h, y = _norm._compiled(static, x, x, scale, None, rate, wrap(key))
        else:
            way = (("interpret", how == "interpret"), ("gpu", how != "interpret"))
            h, y = _norm._by_kernel(static, way, x, x, scale, None, rate, wrap(key))
        return h + jax.nn.gelu(y)

    def attention(how, key, q, k, v):
        return attend_by_blocks(wrap(key), q, k, v, 0.1, causal=True, implementation=how)

    def attention_gradient(how, key, *given):
        return jax.grad(lambda *given: (attention(how, key, *given).astype(jnp.float32) ** 2).sum(), (0, 1, 2))(*given)

    named: dict[str, tuple[Callable, list, list]] = {
        f"noisy product twice, batch {b}": (products, [(8, 128), (128, 128)], [(b, n), (n, n)]) for b in (1, 16, 256)
    }
    named["gelu, dropout, residual, RMSNorm, gelu"] = norm, [(8, 128), (128,)], [(n, n), (n,)]
    small, large = [(1, 128, 2, 32)] * 3, [(1, n, 16, 64)] * 3
    named["causal attention"] = attention, small, large
    named["causal attention, gradient"] = attention_gradient, small, large
    return named


def timed(job: Callable, arrays: list) -> dict:
    run = jax.jit(job, static_argnums=0)
    ways = {"XLA": lambda: run("xla", *arrays), "kernel": lambda: run("pallas", *arrays)}
    seconds = measure.interleaved(ways)
    row = {f"{way} ms": 1e3 * time for way, time in seconds.items()}
    return row | {"kernel is faster": seconds["XLA"] / seconds["kernel"]}


def compiled(job: Callable, arrays: list) -> dict:
    row = {}
    for way, how in {"XLA": "xla", "kernel": "gpu"}.items():
        try:
            program = _h200.compile_for(lambda *a, how=how: job(how, *a), *arrays)
        except _h200.Unavailable:
            return {}
        row |= {f"{way} launches": program.launches + program.tiny, f"{way} temporary bytes": program.temporary}
    return row


def difference(one, other) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).max()) for a, b in pairs)
