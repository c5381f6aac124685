"""A convolutional network with three noises in one compiled train step; their amounts rise during training.

    python examples/convnet.py

The data are Fashion-MNIST, with 2,000 training images. A small residual network has DropPath on its branches, DropBlock
on its feature maps and noise on its weights. The amounts are data, so the step is compiled once for all rates of the
schedule. The plain network uses the same program with amounts of 0.
"""

import os
import time

import _images
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.table import Table
from scipy import stats

import noisejax as nj
import noisejax.nnx as njx

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SEEDS, STEPS, BATCH, PICTURES, TEST, WIDTHS = (
    (2, 4, 16, 200, 100, (4, 8)) if QUICK else (5, 900, 32, 2000, 2000, (16, 32))
)
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running

# Amounts at the end of training: the rate of the last branch, the dropped share of a feature map, and the std in units
# of the largest weight of each output channel.
RECIPES = {
    "plain": {"path": 0.0, "block": 0.0, "weight": 0.0},
    "three noises": {"path": 0.2, "block": 0.1, "weight": 0.1},
}
WORN, DRAWS = 0.2, 8  # noise on a trained network's weights: its std in units of a layer's largest weight, its draws
weight_noise = nj.bind(nj.weights.relative_gaussian, std=0.0, channel_axis=-1)


class Block(nnx.Module):
    """x + branch(x), with a noisy branch."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.first = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.second = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.drop_block = njx.DropBlock(0.0, block_size=3, rngs=rngs)
        self.drop_path = njx.DropPath(0.0, rngs=rngs)

    def __call__(self, x):
        branch = self.second(nnx.relu(self.drop_block(self.first(self.norm(x)))))
        return x + self.drop_path(branch)


class Body(nnx.Module):
    def __init__(self, pixels: int, rngs: nnx.Rngs):
        narrow, wide = WIDTHS
        self.stem = nnx.Conv(1, narrow, (3, 3), strides=2, rngs=rngs)
        self.blocks = nnx.List([Block(narrow, rngs), Block(narrow, rngs), Block(wide, rngs), Block(wide, rngs)])
        self.widen = nnx.Conv(narrow, wide, (2, 2), strides=2, rngs=rngs)
        self.head = nnx.Linear(wide * pixels // 16, 10, rngs=rngs)

    def __call__(self, x):
        x = self.stem(x)
        for place, block in enumerate(self.blocks):
            x = block(self.widen(x) if place == 2 else x)
        return self.head(nnx.relu(x).reshape(len(x), -1))


def make(seed, pixels):
    """The network; one wrapper gives all convolutions and the head noisy weights."""
    rngs = nnx.Rngs(seed)
    return njx.WeightNoise(Body(pixels, rngs), weight_noise, only="*kernel", rngs=rngs)


adam, traces = optax.adamw(optax.cosine_decay_schedule(3e-3, STEPS), weight_decay=1e-4), 0


@nnx.jit
def train_step(model, optimizer, x, y, amounts):
    global traces
    traces += 1  # only tracing runs this line
    rise = optimizer.step[...] / STEPS
    njx.set_amounts(model, njx.DropPath, rate=list(nj.linear_rates(rise * amounts["path"], 4)))
    njx.set_amounts(model, njx.DropBlock, rate=rise * amounts["block"])
    njx.set_amounts(model, njx.WeightNoise, std=rise * amounts["weight"])
    loss, grads = nnx.value_and_grad(lambda model: optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean())(
        model
    )
    optimizer.update(model, grads)
    return loss


@nnx.jit
def accuracies(model, x, y):
    """Accuracy on clean images, with a hidden square, and with noisy weights; the same faults for every network.

    One draw of noisy weights says little, so the last one is a mean over draws.
    """
    predict, state = njx.functional(model)
    hidden = nj.image.cutout(jax.random.key(1), x, x.shape[1] // 2)
    noise = nj.bind(nj.weights.relative_gaussian, std=WORN)

    def right(state, x):
        return (predict(state, x).argmax(-1) == y).mean()

    def worn(key):
        return right(nj.weights.perturb(key, state, noise, only="*kernel"), x)

    draws = jax.lax.map(worn, jax.random.split(jax.random.key(2), DRAWS))
    return jnp.stack([right(state, x), right(state, hidden), draws.mean()])


def run(seed, recipe, train, test):
    model = make(seed, train[0][0].size)
    optimizer = nnx.Optimizer(model, adam, wrt=nnx.Param)
    step = nnx.cached_partial(train_step, model, optimizer)  # avoids traversing the model in every call
    amounts = {name: jnp.float32(amount) for name, amount in recipe.items()}
    rows = np.random.default_rng(seed)
    for _ in range(STEPS):
        batch = rows.choice(len(train[0]), BATCH, replace=False)
        step(train[0][batch], train[1][batch], amounts)
    return 100 * np.asarray(accuracies(model, *test), np.float64)


def interval(values):
    """The mean over seeds, and half the width of its 95 % Student interval."""
    return f"{values.mean():.1f} ± {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.1f}"


def main():
    started, images = time.perf_counter(), _images.load(small=QUICK)
    train, test = (
        (x[:n].reshape(-1, *images.shape, 1), y[:n]) for (x, y), n in ((images.train, PICTURES), (images.test, TEST))
    )
    found = {}
    for name, recipe in RECIPES.items():
        found[name] = np.array([run(seed, recipe, train, test) for seed in range(SEEDS)])

    columns = ("clean", "hidden square", "noisy weights")
    title = f"{images.name}: accuracy in %, {SEEDS} seeds, 95 % intervals; the gain in parentheses is paired by seed"
    table = Table("network", *columns, title=title)
    for name, values in found.items():
        gain = values - found["plain"]  # the same initial weights, batches and faults
        cells = (f"{interval(v)}  ({interval(g)})" for v, g in zip(values.T, gain.T, strict=True))
        table.add_row(name, *(map(interval, values.T) if name == "plain" else cells))
    Console(width=120).print(table)
    runs = len(RECIPES) * SEEDS
    print(f"{runs} runs of {STEPS} steps with rising rates; the train step was traced {traces} time(s).")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
