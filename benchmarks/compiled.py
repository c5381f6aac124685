"""What noise adds to compiled programs: loops over x, temporaries and saved memory, here and compiled for an H200.

Each context is compiled without noise, with the library's noise, and with masks and normals from jax.random. The table
shows what each adds to the program without noise. `temporaries` are in arrays of x. For scans over layers the table has
two numbers: the temporaries with 8 layers, and those that each of 8 more layers saves for its backward pass.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

import noisejax as nj
from benchmarks import _h200
from benchmarks.instructions import NOISES

RATE, STD, WIDTH, LAYERS = 0.1, 0.1, 512, 8
Draw = Callable[[jax.Array, jax.Array], jax.Array]


def none(key, x):
    return x


def stock_dropout(key, x):
    return jnp.where(jax.random.bernoulli(key, 1 - RATE, x.shape), x / (1 - RATE), 0)


def stock_gaussian(key, x):
    return x + STD * jax.random.normal(key, x.shape)


DROPOUTS = {"none": none, "noisejax": lambda key, x: nj.dropout(key, x, RATE), "jax.random": stock_dropout}
GAUSSIANS = {"none": none, "noisejax": lambda key, x: nj.gaussian(key, x, STD), "jax.random": stock_gaussian}


def run(smoke: bool) -> list[dict]:
    batch = 32 if smoke else 256
    targets: dict[str, Callable] = {"cpu": on_cpu}
    if not smoke:
        try:
            _h200.target()
        except _h200.Unavailable as missing:
            print(f"not compiled for an H200: {missing}")
        else:
            targets["H200"] = on_h200
    rows = []
    for device, compiled in targets.items():
        rows += [alone(name, noise, 2**16 if smoke else 2**22, device, compiled) for name, noise in NOISES.items()]
    for device, compiled in targets.items():
        for name, (program, arguments, ways) in contexts(batch).items():
            base = None
            for way, noise in ways.items():
                found = compiled(functools.partial(program, noise), *arguments)
                base = base or found
                rows.append(context(name, way, device, found, base, arguments[0]))
    for device, compiled in targets.items():
        for name, unrolled in (("scan over layers, gradient", False), ("layers unrolled, gradient", True)):
            for way, noise in DROPOUTS.items():
                rows.append(saved(name, way, device, noise, unrolled, batch, compiled))
    return rows


def alone(name: str, noise, size: int, device: str, compiled: Callable) -> dict:
    """A noise by itself: one loop over x, forward and backward, is the minimum."""
    data, x = jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((size,), jnp.float32)

    def forward(data, x):
        return noise(jax.random.wrap_key_data(data), x)

    there = compiled(forward, data, x)
    back = compiled(lambda data, x, g: jax.vjp(lambda x: forward(data, x), x)[1](g)[0], data, x, x)
    return {
        "program": name,
        "device": device,
        "size": size,
        "loops over x": there["loops"],
        "temporary bytes": there["temporary"],
        "loops, gradient": back["loops"],
        "temporary bytes, gradient": back["temporary"],
    }


def contexts(batch: int) -> dict[str, tuple[Callable, tuple, dict[str, Draw]]]:
    """Programs of a noise, x and more, with their arguments and the noises they are compiled with."""
    data, two_keys = (jax.ShapeDtypeStruct(shape, jnp.uint32) for shape in ((2,), (2, 2)))
    x = jax.ShapeDtypeStruct((batch, WIDTH), jnp.float32)
    w = jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)
    tokens = jax.ShapeDtypeStruct((max(batch // 64, 1), 64, WIDTH), jnp.float32)
    block = {"in": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in block.items()}

    def residual(noise, x, y, data):
        return y + noise(jax.random.wrap_key_data(data), jax.nn.gelu(x))

    def block_gradient(noise, x, params, data):
        return jax.grad(lambda x, p: jnp.mean(transformer_block(noise, p, x, data) ** 2), (0, 1))(x, params)

    def train_step(noise, x, params, data):
        def loss(p):
            noisy = noise(jax.random.wrap_key_data(data), x)
            return jnp.mean((jax.nn.gelu(noisy @ p[0]) @ p[1]) ** 2)

        return jax.tree.map(lambda p, g: p - 1e-3 * g, params, jax.grad(loss)(params))

    return {
        "gelu, dropout, residual": (residual, (x, x, data), DROPOUTS),
        "transformer block": (lambda n, x, p, d: transformer_block(n, p, x, d), (tokens, params, two_keys), DROPOUTS),
        "transformer block, gradient": (block_gradient, (tokens, params, two_keys), DROPOUTS),
        "train step, noise on the batch": (train_step, (x, (w, w), data), GAUSSIANS),
    }


def transformer_block(noise: Draw, params: dict, x: jax.Array, data: jax.Array) -> jax.Array:
    """Attention of 8 heads and an MLP, normalized before, dropout after each, as most transformers have it."""
    first, second = jax.random.wrap_key_data(data)

    def normalized(x):
        x = x - jnp.mean(x, -1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)

    b, t, _ = x.shape
    q, k, v = (part.reshape(b, t, 8, -1) for part in jnp.split(normalized(x) @ params["in"], 3, -1))
    x = x + noise(first, jax.nn.dot_product_attention(q, k, v).reshape(x.shape) @ params["out"])
    return x + noise(second, jax.nn.gelu(normalized(x) @ params["up"]) @ params["down"])


def context(name: str, way: str, device: str, found: dict, base: dict, x) -> dict:
    return {
        "program": name,
        "device": device,
        "noise": way,
        "kernels": found["kernels"],
        "kernels added": found["kernels"] - base["kernels"],
        "temporaries": round(found["temporary"] / (4 * x.size), 3),
        "temporaries added": round((found["temporary"] - base["temporary"]) / (4 * x.size), 3),
    }


def saved(name: str, way: str, device: str, noise: Draw, unrolled: bool, batch: int, compiled: Callable) -> dict:
    x, temporary = jax.ShapeDtypeStruct((batch, WIDTH), jnp.float32), {}
    for layers in (LAYERS, 2 * LAYERS):
        weights = jax.ShapeDtypeStruct((layers, WIDTH, WIDTH), jnp.float32)
        data = jax.ShapeDtypeStruct((layers, 2), jnp.uint32)
        program = functools.partial(stack_gradient, noise, unrolled)
        temporary[layers] = compiled(program, weights, x, data)["temporary"] / (4 * x.size)
    return {
        "program": name,
        "device": device,
        "noise": way,
        "layers": LAYERS,
        "temporaries": round(temporary[LAYERS], 3),
        "temporaries per layer": round((temporary[2 * LAYERS] - temporary[LAYERS]) / LAYERS, 3),
    }


def stack_gradient(noise: Draw, unrolled: bool, weights, x, data):
    """The gradient in the weights of layers `x + noise(gelu(x @ w))`, in a scan or written out."""

    def layer(x, of_layer):
        w, key = of_layer
        return x + noise(jax.random.wrap_key_data(key), jax.nn.gelu(x @ w)), None

    def loss(weights):
        if not unrolled:
            return jnp.mean(jax.lax.scan(layer, x, (weights, data))[0] ** 2)
        y = x
        for n in range(weights.shape[0]):
            y, _ = layer(y, (weights[n], data[n]))
        return jnp.mean(y**2)

    return jax.grad(loss)(weights)


def on_cpu(function: Callable, *arguments) -> dict:
    compiled = jax.jit(function).lower(*arguments).compile()
    size = max(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(function, *arguments)))
    written = [max((n for n, _ in arrays), default=0) for arrays in _h200.launched(compiled.as_text()).values()]
    return {
        "kernels": len(written),
        "loops": sum(1000 * n >= size for n in written),
        "temporary": compiled.memory_analysis().temp_size_in_bytes,
    }


def on_h200(function: Callable, *arguments) -> dict:
    program = _h200.compile_for(function, *arguments)
    return {
        "kernels": program.launches + program.tiny,
        "loops": program.launches,
        "temporary": program.temporary,
    }
