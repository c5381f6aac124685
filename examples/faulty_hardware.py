"""Training a network that survives faulty memory: weights in few bits, bit flips, analog cells that drift.

    python examples/faulty_hardware.py [out.png]

One small network is trained in four ways: without noise, with clipped weights (Stutz et al., 2021), and with clipped
weights under Gaussian noise or bit flips. The weights are then stored in increasingly faulty memories: fewer bits,
8-bit integers whose bits flip, and phase-change cells that are read a month after programming, with the measured noise
and drift scaled up. All networks are tested on the same faults. Validation images determine the level at which the
network trained without noise has lost half of its accuracy. Test images give the accuracy of each network at this
level. Biases are exact, and each output has its own scale.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import _images
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from rich.console import Console
from rich.table import Table
from scipy import stats

import noisejax as nj

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SEEDS, STEPS, DRAWS, POINTS, WIDTH = (2, 60, 1, 2, 16) if QUICK else (5, 1000, 3, 8, 128)
HELD, TEST = (300, 300) if QUICK else (1000, 10_000)
BATCH, MONTH, CLIP = 128, 30 * 86400.0, 0.15
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running


def int8_memory(key, w, rate):
    """Weights stored as 8-bit integers, where each bit flips with probability `rate`."""
    step = jnp.maximum(jnp.max(jnp.abs(w), axis=0, keepdims=True) / 127, 1e-8)
    stored = nj.weights.bit_flips(key, jnp.round(w / step).astype(jnp.int8), rate)
    return w + jax.lax.stop_gradient(step * stored.astype(w.dtype) - w)  # straight-through gradient


# For each fault, a function from a level to a noise, and levels from harmless to destructive.
FLIPS, BITS, CELLS = "bit-error rate, int8", "bits per weight", "phase-change noise, × measured"
FAULTS: dict[str, tuple[Callable, np.ndarray]] = {
    FLIPS: (lambda rate: nj.bind(int8_memory, rate=rate), np.geomspace(0.001, 0.5, 33)),
    BITS: (lambda bits: nj.bind(nj.weights.fake_quantize, bits=bits, channel_axis=-1), np.arange(8.0, 1.0, -1)),
    CELLS: (
        lambda scale: nj.bind(nj.weights.phase_change, time=MONTH, scale=scale, compensate=True, channel_axis=-1),
        np.geomspace(0.5, 32, 33),
    ),
}
if QUICK:
    FAULTS = {FLIPS: FAULTS[FLIPS]}


def gaussian(std):
    return nj.bind(nj.weights.relative_gaussian, std=std, channel_axis=-1)


PLAIN, CLIPPED = "no noise", "no noise, clipped"
NETWORKS = {  # the training noise, its level, the clipping bound
    PLAIN: (gaussian, 0.0, np.inf),
    CLIPPED: (gaussian, 0.0, CLIP),
    "Gaussian, std 0.35, clipped": (gaussian, 0.35, CLIP),
    "bit flips, rate 0.12, clipped": (FAULTS[FLIPS][0], 0.12, CLIP),
}


def network(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    return x @ last["kernel"] + last["bias"]


@functools.partial(jax.jit, static_argnums=0)
def train(noise, level, clip, x, y):
    """Trains one network per seed. Every step draws new noise on the weights and updates the clean weights."""
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, STEPS))

    def step(carry, time_key):
        (params, state), (time, key) = carry, time_key
        rows_key, noise_key = jax.random.split(key)
        rows = jax.random.randint(rows_key, (BATCH,), 0, len(x))
        now = noise(level * jnp.minimum(2 * time, 1))  # rises over the first half

        def loss(params):
            logits = network(nj.weights.perturb(noise_key, params, now, only="*kernel"), x[rows])
            return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        params = optax.apply_updates(params, updates)
        return ([layer | {"kernel": jnp.clip(layer["kernel"], -clip, clip)} for layer in params], state), None

    def one(key):
        sizes, keys = (x.shape[1], WIDTH, WIDTH, 10), jax.random.split(key, 3)
        shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
        params = [
            {"kernel": nj.gaussian(k, jnp.zeros((a, b)), (2 / a) ** 0.5), "bias": jnp.zeros(b)} for k, a, b in shapes
        ]
        steps = jnp.arange(STEPS) / STEPS, jax.random.split(key, STEPS)
        return jax.lax.scan(step, (params, optimizer.init(params)), steps)[0][0]

    return jax.vmap(one)(jax.random.split(jax.random.key(0), SEEDS))


@functools.partial(jax.jit, static_argnums=0)
def accuracy(fault, level, params, x, y):
    """The accuracy of each seed, averaged over draws of the fault, which are the same for every network and level."""

    def drawn(key):
        worn = params
        if fault is not None:
            worn = jax.vmap(lambda p: nj.weights.perturb(key, p, fault(level), only="*kernel"))(params)
        return (jax.vmap(network, (0, None))(worn, x).argmax(-1) == y).mean(-1)

    return jax.lax.map(drawn, jax.random.split(jax.random.key(1), 1 if fault is None else DRAWS)).mean(0)


def interval(values):
    """The mean over seeds in %, and half the width of its Student 95 % interval."""
    values = 100 * np.asarray(values, np.float64)
    return values.mean(), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def kept(fault, level, params, data):
    return interval(accuracy(fault, level, params, *data) / accuracy(None, 0.0, params, *data))


def half_lost(fault, levels, params, data):
    """The first level at which the whole 95 % interval has lost half of the accuracy, found by bisection."""
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if sum(kept(fault, levels[middle], params, data)) <= 50 else (middle + 1, high)
    return levels[low]


def main():
    started, images = time.perf_counter(), _images.load(small=QUICK)
    (x, y), test = map(jnp.asarray, images.train), [jnp.asarray(a[:TEST]) for a in images.test]
    valid, few = (x[:HELD], y[:HELD]), [a[:HELD] for a in test]
    trained = {name: train(*recipe, x[HELD:], y[HELD:]) for name, recipe in NETWORKS.items()}
    at = {name: half_lost(*fault, trained[PLAIN], valid) for name, fault in FAULTS.items()}
    rate = half_lost(*FAULTS[FLIPS], trained[CLIPPED], valid)

    columns = [(name, at[name]) for name in FAULTS] + [(FLIPS, rate)]
    title = f"{images.name}: accuracy under faults in % of the clean accuracy; {SEEDS} seeds, 95 % intervals"
    table, shares = Table("trained with", "clean accuracy", *(f"{n}: {v:.3g}" for n, v in columns), title=title), {}
    for name, params in trained.items():
        shares[name] = [kept(FAULTS[fault][0], level, params, test) for fault, level in columns]
        row = (interval(accuracy(None, 0.0, params, *test)), *shares[name])
        table.add_row(name, *(f"{mean:.1f} ± {half:.1f}" for mean, half in row))
    Console(width=130).print(table)
    for (fault, level), (lost, _), *others in zip(columns[:-1], *shares.values(), strict=False):
        names = [name for name, (mean, half) in zip(list(NETWORKS)[1:], others, strict=True) if mean - half >= 90]
        print(
            f"{fault} {level:.3g}: without noise in training, {lost:.0f} %. 90 % or more: {'; '.join(names) or 'none'}."
        )
    print("90 % or more refers to the whole interval. At the level of the last column, clipping alone has lost half.")

    size = (4 * len(FAULTS), 3.8)
    figure, axes = plt.subplots(1, len(FAULTS), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, (label, (fault, levels)) in zip(axes[0], FAULTS.items(), strict=True):
        shown = levels[:: max(len(levels) // POINTS, 1)]
        for (name, params), color in zip(trained.items(), ("C7", "C1", "C0", "C3"), strict=True):
            mean, half = np.array([interval(accuracy(fault, level, params, *few)) for level in shown]).T
            ax.plot(shown, mean, color=color, label=name)
            ax.fill_between(shown, mean - half, mean + half, color=color, alpha=0.2, lw=0)
        ax.axvline(at[label], color="k", lw=0.6, ls=":")
        ax.set(xlabel=label, xscale="linear" if label == BITS else "log", xlim=(levels[0], levels[-1]), ylim=(0, 100))
        ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel("accuracy, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out" / "faulty_hardware.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"saved {path} after {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
