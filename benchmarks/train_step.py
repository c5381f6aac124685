"""What noise adds to a whole train step: the same step without noise, with noisejax, and with flax and jax.random.

A step is forward, backward and Adam in one jitted program with donated state. The networks are functions of a tree of
parameters. They know noise only as two functions, one for inputs and one for activations, so that the three steps are
the same program except for these. They take turns. The overhead is the median over rounds of a step's time divided by
that of the step without noise in the same round.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import noisejax as nj
from benchmarks import measure


class Noise(NamedTuple):
    """The two functions that a network calls. Each call gets its own key."""

    inputs: Callable  # (key, x) -> x: Gaussian noise of std 0.1
    dropout: Callable  # (key, x, rate) -> x


def _flax_dropout(key, x, rate):
    return nnx.Dropout(rate)(x, rngs=key)


NOISES = {
    "without": Noise(lambda key, x: x, lambda key, x, rate: x),
    "noisejax": Noise(lambda key, x: nj.gaussian(key, x, 0.1), nj.dropout),
    "flax, jax.random": Noise(
        lambda key, x: x + 0.1 * jax.random.normal(key, x.shape, jnp.float32).astype(x.dtype), _flax_dropout
    ),
}


class Task(NamedTuple):
    """A network with the batch it is measured on."""

    parameters: dict
    loss: Callable  # (parameters, noise, key, x, y) -> scalar
    x: jax.Array
    y: jax.Array
    noised: int  # elements that get noise in a step


def run(smoke: bool) -> Iterator[dict]:
    for name, make in tasks(smoke).items():
        task = make()
        times = measure.samples(
            {way: stepper(task, noise) for way, noise in NOISES.items()},
            calls=1 if not measure.accelerator() else None,
            rounds=3 if smoke else None,
            budget=12.0,
        )
        for way, seconds in times.items():
            ratios = [mine / plain for mine, plain in zip(seconds, times["without"], strict=True)]
            yield {
                "step": name,
                "noise": way,
                "ms": 1e3 * statistics.median(seconds),
                "overhead %": 100 * (statistics.median(ratios) - 1),
                "quartiles %": [round(100 * (q - 1), 1) for q in statistics.quantiles(ratios, n=4)[::2]],
                "noised elements": 0 if way == "without" else task.noised,
            }


def tasks(smoke: bool) -> dict[str, Callable[[], Task]]:
    if smoke:
        small = {"batch": 2, "time": 8, "width": 16, "heads": 2, "dtype": jnp.float32}
        return {"transformer block 2x8x16": lambda: transformer(**small, attention_dropout=True)}
    if measure.accelerator():
        size = {"batch": 32, "time": 1024, "width": 1024, "heads": 16, "dtype": jnp.bfloat16}
        first = {"MLP 8192x108, 3 x 2048": lambda: mlp(8192, 2048), "convnet 1024x28x28": lambda: convnet(1024, 64)}
    else:
        size = {"batch": 16, "time": 128, "width": 256, "heads": 4, "dtype": jnp.float32}
        first = {"MLP 512x108, 3 x 256": lambda: mlp(512, 256), "convnet 128x28x28": lambda: convnet(128, 32)}
    block = "transformer block {batch}x{time}x{width}".format(**size)
    return first | {
        block: lambda: transformer(**size, attention_dropout=False),
        f"{block}, attention too": lambda: transformer(**size, attention_dropout=True),
    }


def stepper(task: Task, noise: Noise) -> Callable:
    """A function without arguments that makes one step, its state kept here."""
    optimizer = optax.adam(1e-3)

    def step(parameters, state, count, x, y):
        key = jax.random.fold_in(jax.random.key(0), count)
        loss, gradient = jax.value_and_grad(task.loss)(parameters, noise, key, x, y)
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, count + 1, loss

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    carried = [(jax.tree.map(jnp.copy, task.parameters), optimizer.init(task.parameters), jnp.int32(0))]

    def one():
        *state, loss = compiled(*carried[0], task.x, task.y)
        carried[0] = tuple(state)
        return loss, state

    return one


def mlp(batch: int, hidden: int) -> Task:
    """Rows like Adult's, three hidden layers."""
    sizes = [108, hidden, hidden, hidden, 2]
    rng = np.random.default_rng(0)
    layers = [_dense(rng, a, b) for a, b in itertools.pairwise(sizes)]

    def loss(parameters, noise, key, x, y):
        keys = jax.random.split(key, len(sizes))
        x = noise.inputs(keys[0], x)
        for n, layer in enumerate(parameters["layers"]):
            x = x @ layer["w"] + layer["b"]
            if n < len(sizes) - 2:
                x = noise.dropout(keys[n + 1], jax.nn.relu(x), 0.2)
        return _cross_entropy(x, y)

    x, y = _array(rng, (batch, 108)), jnp.asarray(rng.integers(2, size=batch))
    return Task({"layers": layers}, loss, x, y, batch * (108 + 3 * hidden))


def convnet(batch: int, channels: int) -> Task:
    """Two convolutions with pooling and two dense layers, on pictures like Fashion-MNIST's."""
    rng = np.random.default_rng(0)
    parameters = {
        "convolutions": [_array(rng, (3, 3, 1, channels)) / 3, _array(rng, (3, 3, channels, 2 * channels)) / 20],
        "dense": [_dense(rng, 7 * 7 * 2 * channels, 128), _dense(rng, 128, 10)],
    }

    def loss(parameters, noise, key, x, y):
        keys = iter(jax.random.split(key, 4))
        x = noise.inputs(next(keys), x)
        for kernel in parameters["convolutions"]:
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x)
            b, h, w, c = x.shape
            x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
            x = noise.dropout(next(keys), x, 0.25)
        first, last = parameters["dense"]
        x = jax.nn.relu(x.reshape(len(x), -1) @ first["w"] + first["b"])
        x = noise.dropout(next(keys), x, 0.5)
        return _cross_entropy(x @ last["w"] + last["b"], y)

    x, y = _array(rng, (batch, 28, 28, 1)), jnp.asarray(rng.integers(10, size=batch))
    noised = batch * (28 * 28 + 14 * 14 * channels + 7 * 7 * 2 * channels + 128)
    return Task(parameters, loss, x, y, noised)


def transformer(*, batch: int, time: int, width: int, heads: int, dtype, attention_dropout: bool) -> Task:
    """One block, norms first, dropout on both residual branches and, if asked, on the attention weights.

    Most transformers of today have none on the weights, since fused attention never writes them.
    """
    rng = np.random.default_rng(0)
    shapes = {"qkv": (width, 3 * width), "out": (width, width), "up": (width, 4 * width), "down": (4 * width, width)}
    parameters = {name: _array(rng, shape) / shape[0] ** 0.5 for name, shape in shapes.items()}

    def normed(x):
        wide = x.astype(jnp.float32)
        return (wide * jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + 1e-6)).astype(x.dtype)

    def loss(parameters, noise, key, x, y):
        p = jax.tree.map(lambda w: w.astype(dtype), parameters)
        first, second, third, fourth = jax.random.split(key, 4)
        x = noise.inputs(first, x)
        q, k, v = jnp.split((normed(x) @ p["qkv"]).reshape(batch, time, 3 * heads, width // heads), 3, axis=2)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32) * (heads / width) ** 0.5
        weights = jax.nn.softmax(scores).astype(dtype)
        if attention_dropout:
            weights = noise.dropout(second, weights, 0.1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(batch, time, width)
        x = x + noise.dropout(third, mixed @ p["out"], 0.1)
        x = x + noise.dropout(fourth, jax.nn.gelu(normed(x) @ p["up"]) @ p["down"], 0.1)
        return jnp.mean((x - y).astype(jnp.float32) ** 2)

    x, y = (_array(rng, (batch, time, width)).astype(dtype) for _ in range(2))
    noised = 3 * x.size + (batch * heads * time * time if attention_dropout else 0)
    return Task(parameters, loss, x, y, noised)


def _cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def _dense(rng, inputs: int, outputs: int) -> dict:
    return {"w": _array(rng, (inputs, outputs)) * (2 / inputs) ** 0.5, "b": jnp.zeros(outputs)}


def _array(rng, shape) -> jax.Array:
    return jnp.asarray(rng.standard_normal(shape, np.float32))
