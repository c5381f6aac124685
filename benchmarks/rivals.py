"""Three jobs (Gaussian noise, dropout, a chain of five noises) as noisejax, jax.random, flax, NumPy and torch do them.

Each way of a job is a pair of functions without arguments on an existing array: the forward pass, and forward and
backward as a train step has them, which are two programs and the values that the first saves for the second. A way that
lacks one of the two has None.
"""

import importlib.util
import math
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import noisejax as nj

IMPLEMENTATIONS = ("threefry2x32", "rbg", "unsafe_rbg", "philox2x32", "philox4x32", "threefry4x32", "nj.key")
FEW = ("threefry2x32", "philox4x32")  # the default and one of the best: programs of jax.random take long to compile
STD, RATE = 0.1, 0.3
CHAIN = (
    (nj.gaussian, {"std": 0.1}),
    (nj.mask, {"rate": 0.1}),
    (nj.speckle, {"std": 0.1}),
    (nj.uniform, {"half_width": 0.1}),
    (nj.dropout, {"rate": 0.1}),
)
NOISEJAX = {
    "gaussian": nj.bind(nj.gaussian, std=STD),
    "dropout": nj.bind(nj.dropout, rate=RATE),
    "chain of five": nj.chain(*(nj.bind(f, **a) for f, a in CHAIN)),
}


def ways(
    job: str,
    shape: tuple[int, ...],
    dtype,
    *,
    implementations: tuple[str, ...] = IMPLEMENTATIONS,
    compiled_torch: bool = False,
) -> dict[str, tuple[Callable, Callable | None]]:
    """For one job, shape and dtype, every way to do it that this machine has; the first is a copy."""
    x = data(shape, dtype)
    found = {"copy": copy(x), "noisejax": pair(NOISEJAX[job], jax.random.key(0), x)}
    if job == "dropout":
        layer = nnx.Dropout(RATE)
        found["flax nnx.Dropout"] = pair(lambda key, x: layer(x, rngs=key), jax.random.key(0), x)
    for impl in implementations:
        try:
            key = nj.key(0) if impl == "nj.key" else jax.random.key(0, impl=impl)
        except ValueError:  # an older jax has fewer of them
            continue
        found[f"jax.random, {impl}"] = pair(IDIOMS[job], key, x)
    if jax.devices()[0].platform == "cpu" and jnp.dtype(dtype) == jnp.float32:
        found["numpy SFC64"] = _numpy(job, np.asarray(x)), None
    return found | _torch(job, shape, jnp.dtype(dtype).name, compiled_torch)


def copy(x: jax.Array) -> tuple[Callable, Callable]:
    """The limit: x is read once and the result written once, and the same again backward."""
    floats = jnp.issubdtype(x.dtype, jnp.floating)  # processors have no product of bytes
    times = jax.jit(lambda x: x * jnp.asarray(1.5, x.dtype) if floats else x + jnp.asarray(1, x.dtype))
    return lambda: times(x), lambda: (times(x), times(x))


def pair(noise: Callable, key: jax.Array, x: jax.Array) -> tuple[Callable, Callable]:
    forward = jax.jit(noise)
    saving = jax.jit(lambda key, x: jax.vjp(lambda x: noise(key, x), x))
    backward = jax.jit(lambda pull, cotangent: pull(cotangent)[0])

    def both():
        y, pull = saving(key, x)
        return y, backward(pull, x)

    return lambda: forward(key, x), both


def data(shape: tuple[int, ...], dtype) -> jax.Array:
    values = jax.jit(lambda: jnp.sin(jnp.arange(math.prod(shape), dtype=jnp.float32)).astype(dtype).reshape(shape))
    return values()


# The usual code, with draws in float32 also where x is narrower: a bfloat16 normal of jax.random has 128
# values. Amounts are Python floats, which do not widen x.


def _normal(key, x):
    return x + STD * jax.random.normal(key, x.shape, jnp.float32).astype(x.dtype)


def _dropout(key, x):
    return jnp.where(jax.random.bernoulli(key, 1 - RATE, x.shape), x / (1 - RATE), 0)


def _five(key, x):
    keys = jax.random.split(key, 5)
    x = x + 0.1 * jax.random.normal(keys[0], x.shape, jnp.float32).astype(x.dtype)
    x = jnp.where(jax.random.bernoulli(keys[1], 0.1, x.shape), 0, x)
    x = x + x * (0.1 * jax.random.normal(keys[2], x.shape, jnp.float32).astype(x.dtype))
    x = x + jax.random.uniform(keys[3], x.shape, jnp.float32, -0.1, 0.1).astype(x.dtype)
    return jnp.where(jax.random.bernoulli(keys[4], 0.9, x.shape), x / 0.9, 0)


IDIOMS = {"gaussian": _normal, "dropout": _dropout, "chain of five": _five}


def _numpy(job: str, x: np.ndarray) -> Callable:
    rng, size, single = np.random.Generator(np.random.SFC64(0)), x.shape, np.float32

    def five():
        y = x + single(0.1) * rng.standard_normal(size, single)
        y = np.where(rng.random(size, single) < 0.1, single(0), y)
        y = y + y * (single(0.1) * rng.standard_normal(size, single))
        y = y + (single(0.2) * rng.random(size, single) - single(0.1))
        return np.where(rng.random(size, single) < 0.1, single(0), y / single(0.9))

    return {
        "gaussian": lambda: x + single(STD) * rng.standard_normal(size, single),
        "dropout": lambda: np.where(rng.random(size, single) < RATE, single(0), x / single(1 - RATE)),
        "chain of five": five,
    }[job]


def _torch(job: str, shape: tuple[int, ...], dtype: str, compiled: bool) -> dict[str, tuple[Callable, Callable | None]]:
    """Empty where torch is not installed, or cannot use the accelerator that jax uses."""
    if importlib.util.find_spec("torch") is None:
        return {}
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no helpers that outlive the compilation
    import torch
    import torch.nn.functional as F

    device = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}.get(jax.devices()[0].platform)
    if device is None or (device == "cuda" and not torch.cuda.is_available()):
        return {}

    def five(x):
        x = x + 0.1 * torch.randn_like(x)
        x = torch.where(torch.rand_like(x) < 0.1, 0.0, x)
        x = x + x * (0.1 * torch.randn_like(x))
        x = x + (0.2 * torch.rand_like(x) - 0.1)
        return F.dropout(x, 0.1)

    function = {
        "gaussian": lambda x: x + STD * torch.randn_like(x),
        "dropout": lambda x: F.dropout(x, RATE),
        "chain of five": five,
    }[job]
    x = torch.sin(torch.arange(math.prod(shape), device=device, dtype=torch.float32))
    x = x.reshape(shape).to(getattr(torch, dtype))
    leaf = x.clone().requires_grad_()

    def way(function):
        def both():
            y = function(leaf)
            return y, torch.autograd.grad(y, leaf, x)[0]

        return lambda: function(x), both

    found = {"torch eager": way(function)}
    if compiled:
        # Its caches belong to the code of a function: without this, the ninth shape would silently run eagerly.
        torch._dynamo.reset()
        quick = way(torch.compile(function, dynamic=False))
        try:
            quick[0](), quick[1]()
            found["torch compiled"] = quick
        except Exception as error:  # no compiler on this machine: then the others are measured without it
            print(f"torch.compile fails here and is left out: {type(error).__name__}: {str(error).splitlines()[0]}")
    return found
