"""Weight noise: a different sample for every example of a layer, and one for a train step of ten million parameters.

The layer is a Linear of 1024 to 1024 features on a batch of 1024, forward, and forward and backward (of the sum of
squares, in x and w, and for noisy_net in std, which it trains). Where the std differs from weight to weight there is a
second product of the same size as the plain one, so that the forward pass takes at least twice as long. Brute force
draws a whole weight for each example, one after the other, since all at once they would take 4 GB. It is timed on a
part of the batch, and its time is scaled up. The step is forward, backward and Adam of an MLP in one jitted program
with donated state; its memory is what the compiler reports.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import optax

import noisejax as nj
from benchmarks import measure
from noisejax import weights

STEP_NOISES = {
    "gaussian": nj.bind(nj.gaussian, std=0.01),
    "relative": nj.bind(weights.relative_gaussian, std=0.02, channel_axis=-1),
    "drop_connect": nj.bind(weights.drop_connect, rate=0.1),
    "fake_quantize": nj.bind(weights.fake_quantize, bits=8, channel_axis=-1),
    "bit_flips": nj.bind(weights.bit_flips, rate=1e-4, bits=("sign", "mantissa")),
    "phase_change": nj.bind(weights.phase_change, time=3600.0),
}


def run(smoke: bool) -> Iterator[dict]:
    yield from layer(smoke)
    yield from step(smoke)


def layer(smoke: bool) -> Iterator[dict]:
    size = 64 if smoke else 1024
    keys = jax.random.split(jax.random.key(0), 3)
    x, w = jax.random.normal(keys[0], (size, size)), jax.random.normal(keys[1], (size, size)) / size**0.5
    full, scalar = jnp.full((size, size), 0.01), jnp.float32(0.01)
    ways = {
        "plain": (lambda key, x, w, std: x @ w, scalar),
        "local_reparam, one std": (weights.local_reparam, scalar),
        "low_rank, one std": (weights.low_rank, scalar),
        "noisy_net, one std": (weights.noisy_net, scalar),
        "local_reparam, std of each weight": (weights.local_reparam, full),
        "flipout, std of each weight": (weights.flipout, full),
        "noisy_net, std of each weight": (weights.noisy_net, full),
        "one sample for the batch": (lambda key, x, w, std: weights.flipout(key, x, w, std, mode="batch"), full),
    }
    part = x[: size // 32]
    for mode in ("forward", "forward and backward"):
        rivals = {name: caller(name, f, mode, keys[2], x, w, std) for name, (f, std) in ways.items()}
        rivals["brute force"] = caller("brute force", brute_force, mode, keys[2], part, w, scalar)
        times = measure.samples(rivals, calls=1 if not measure.accelerator() else None, rounds=3 if smoke else 31)
        times["brute force"] = [32 * t for t in times["brute force"]]
        for name, own in times.items():
            ratio = statistics.median(t / p for t, p in zip(own, times["plain"], strict=True))
            yield {"layer": f"{mode}: {name}", "ms": 1e3 * statistics.median(own), "times plain": ratio}


def caller(name: str, function: Callable, mode: str, key, x, w, std) -> Callable:
    if mode == "forward":
        compiled = jax.jit(function)
    else:
        trained = (1, 2, 3) if "noisy_net" in name else (1, 2)
        compiled = jax.jit(jax.grad(lambda key, *a: jnp.sum(function(key, *a) ** 2), argnums=trained))
    return lambda: compiled(key, x, w, std)


def brute_force(key, x, w, std):
    """One weight for each example."""
    return jax.lax.map(lambda kx: kx[1] @ nj.gaussian(kx[0], w, std), (jax.random.split(key, len(x)), x))


def step(smoke: bool) -> Iterator[dict]:
    sizes, batch = ((16, 32, 8), 8) if smoke else ((784, 2048, 2048, 2048, 10), 512)
    params = [
        {"kernel": jax.random.normal(jax.random.key(n), shape) / shape[0] ** 0.5, "bias": jnp.zeros((1, shape[1]))}
        for n, shape in enumerate(itertools.pairwise(sizes))
    ]
    x = jax.random.normal(jax.random.key(8), (batch, sizes[0]))
    y = jax.random.randint(jax.random.key(9), (batch,), 0, sizes[-1])
    optimizer = optax.adam(1e-3)

    def loss(params, x, y):
        *hidden, last = params
        for p in hidden:
            x = jax.nn.relu(x @ p["kernel"] + p["bias"])
        return optax.softmax_cross_entropy_with_integer_labels(x @ last["kernel"] + last["bias"], y).mean()

    def program(noise):
        def one(state, key):
            params, momenta = state
            noisy = (lambda p: p) if noise is None else (lambda p: weights.perturb(key, p, noise))
            value, gradient = jax.value_and_grad(lambda p: loss(noisy(p), x, y))(params)
            updates, momenta = optimizer.update(gradient, momenta)
            return (optax.apply_updates(params, updates), momenta), value

        copy = jax.tree.map(jnp.copy, params)
        state = (copy, optimizer.init(copy))
        return jax.jit(one, donate_argnums=0).lower(state, jax.random.key(0)).compile(), state

    programs = {"without noise": program(None), **{name: program(noise) for name, noise in STEP_NOISES.items()}}
    times = measure.samples(
        {name: stepper(*made) for name, made in programs.items()},
        calls=1 if not measure.accelerator() else None,
        rounds=3 if smoke else 15,
    )
    leaves = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    plain = programs["without noise"][0].memory_analysis().temp_size_in_bytes
    for name, own in times.items():
        ratio = statistics.median(t / p for t, p in zip(own, times["without noise"], strict=True))
        memory = programs[name][0].memory_analysis().temp_size_in_bytes
        yield {
            "step": name,
            "ms": 1e3 * statistics.median(own),
            "overhead %": 100 * (ratio - 1),
            "more memory, copies of the weights": (memory - plain) / leaves,
        }


def stepper(compiled, state) -> Callable:
    keys = iter(range(10**9))

    def call():
        nonlocal state
        state, value = compiled(state, jax.random.key(next(keys)))
        return value, state

    return call
