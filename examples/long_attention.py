"""A transformer with attention dropout at a length of 4096, on a CPU and within 512 MB of temporaries.

    python examples/long_attention.py

The model predicts the next character of Python's own library. Its attention, the ends of its residual blocks and its
loss come from `noisejax.fused`. The same model with ordinary attention is compiled as well, but not run: the table
shows the memory that each train step needs.
"""

import argparse
import inspect
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import noisejax as nj

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
LENGTH, STEPS = (1024, 2) if QUICK else (4096, 60)  # a full run takes four minutes on two cores
LAYERS, HEADS, FEATURES, CLASSES, RATE = 2, 4, 128, 128, 0.1
MEMORY = 512 * 2**20 // (8 if QUICK else 1)  # bytes

text = np.frombuffer(inspect.getsource(argparse).encode("ascii", "replace"), np.uint8).astype(np.int32)
train, held_out = text[: -2 * LENGTH], text[-2 * LENGTH :]


def init(key):
    def matrix(key, n, m):
        return jax.random.normal(key, (n, m)) / np.sqrt(n)

    keys = jax.random.split(key, LAYERS + 2)
    shapes = {"qkv": (FEATURES, 3 * FEATURES), "out": (FEATURES, FEATURES), "up": (FEATURES, 2 * FEATURES)}
    shapes["down"] = (2 * FEATURES, FEATURES)
    layers = [
        {name: matrix(k, *shape) for k, (name, shape) in zip(jax.random.split(key, 4), shapes.items(), strict=True)}
        for key in keys[2:]
    ]
    gains = [{"attention": jnp.ones(FEATURES), "mlp": jnp.ones(FEATURES)} for _ in layers]
    tokens, places = matrix(keys[0], CLASSES, FEATURES), matrix(keys[1], LENGTH, FEATURES)
    return {"tokens": tokens, "places": places, "layers": layers, "gains": gains}


def fused(key, q, k, v, rate):
    return nj.fused.attention(key, q, k, v, rate, causal=True)


def ordinary(key, q, k, v, rate):
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1])
    seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = nj.dropout(key, jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)), rate)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)


def logits_of(params, key, tokens, rate, attention):
    h = normed = params["tokens"][tokens] + params["places"]
    for layer, gain in zip(params["layers"], params["gains"], strict=True):
        key, inner, first, second = jax.random.split(key, 4)
        q, k, v = jnp.split((normed @ layer["qkv"]).reshape(*tokens.shape, 3 * HEADS, -1), 3, axis=2)
        branch = attention(inner, q, k, v, rate).reshape(h.shape) @ layer["out"]
        h, normed = nj.fused.dropout_residual_norm(first, branch, h, rate, gain["attention"])
        branch = jax.nn.gelu(normed @ layer["up"]) @ layer["down"]
        h, normed = nj.fused.dropout_residual_norm(second, branch, h, rate, gain["mlp"])
    return normed @ params["tokens"].T


def loss(params, key, window, rate, attention, alpha=0.0):
    logits = logits_of(params, key, window[:, :-1], rate, attention)
    return nj.fused.cross_entropy(logits, window[:, 1:], alpha).mean()


optimizer = optax.adam(2e-3)


def step(params, state, key, window, attention):
    value, gradient = jax.value_and_grad(loss)(params, key, window, RATE, attention, 0.05)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, value


params = init(jax.random.key(0))
state, key = optimizer.init(params), jax.random.key(1)
window = jnp.asarray(train[None, : LENGTH + 1])
programs = {
    name: jax.jit(step, static_argnums=4).lower(params, state, key, window, attention).compile()
    for name, attention in (("fused", fused), ("ordinary", ordinary))
}
table = Table("attention", "temporaries of a train step", f"fits {MEMORY / 2**20:.0f} MB")
needed = {}
for name, program in programs.items():
    analysis = program.memory_analysis()
    assert analysis is not None
    needed[name] = size = analysis.temp_size_in_bytes
    table.add_row(name, f"{size / 2**20:.0f} MB", "yes" if size <= MEMORY else "no")
assert needed["fused"] <= MEMORY < needed["ordinary"]

evaluate = jax.jit(lambda params, key, window: loss(params, key, window, 0.0, fused))
test = jnp.asarray(held_out[None, : LENGTH + 1])
before, start = float(evaluate(params, key, test)), time.perf_counter()
draw = np.random.default_rng(0)
for _ in range(STEPS):
    key, step_key = jax.random.split(key)
    first = draw.integers(len(train) - LENGTH)
    params, state, _ = programs["fused"](params, state, step_key, jnp.asarray(train[None, first : first + LENGTH + 1]))
seconds = (time.perf_counter() - start) / STEPS
Console().print(table)
after = float(evaluate(params, key, test))
print(f"{seconds:.2f} s per step of {LENGTH} characters; held-out loss {before:.2f} → {after:.2f} nats per character")
