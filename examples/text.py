"""A small transformer that classifies reviews, with noise on words and on their embeddings.

    python examples/text.py

The data are Amazon reviews of fine foods (4,000 for training). The noise on words is a chain of two noises. `nj.mask`,
which takes integers as well as floats, makes words unknown, and a function defined here moves words to nearby places.
NEFTune is a layer after the embedding. The amounts are data, so one compiled train step serves all recipes.
"""

import os
import time

import _reviews
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
SEEDS, EPOCHS, BATCH, LENGTH, WIDTH = (2, 1, 64, 16, 8) if QUICK else (4, 4, 64, 48, 32)
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running

RECIPES = {  # NEFTune's alpha, the rate of unknown words, and the distance that a word may move
    "no noise": {"alpha": 0.0, "rate": 0.0, "reach": 0.0},
    "NEFTune": {"alpha": 5.0, "rate": 0.0, "reach": 0.0},
    "noise on words": {"alpha": 0.0, "rate": 0.2, "reach": 3.0},
    "both": {"alpha": 5.0, "rate": 0.2, "reach": 3.0},
}


def shuffle_nearby(key, words, reach):
    """Moves words by less than `reach` places (Lample et al., 2018). Any function (key, x, ...) is a noise."""
    places = jnp.arange(words.shape[-1]) + reach * jax.random.uniform(key, words.shape)
    order = jnp.argsort(jnp.where(words == _reviews.PAD, jnp.inf, places))  # padding stays last
    return jnp.take_along_axis(words, order, axis=-1)


def word_noise(rate, reach):
    return nj.chain(nj.bind(nj.mask, rate=rate, fill=_reviews.UNKNOWN), nj.bind(shuffle_nearby, reach=reach))


class Reader(nnx.Module):
    def __init__(self, words: int, classes: int, rngs: nnx.Rngs):
        self.embed = nnx.Embed(words, WIDTH, rngs=rngs)
        self.place = nnx.Param(0.02 * rngs.normal((LENGTH, WIDTH)))
        self.word_noise = njx.ActivationNoise(word_noise(0.0, 0.0), rngs=rngs)
        self.neftune = njx.NEFTune(0.0, rngs=rngs)
        self.dropout = njx.AttentionDropout(0.1, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, WIDTH, attention_fn=self.dropout, decode=False, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(3)])
        self.wide, self.narrow = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs), nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, classes, rngs=rngs)

    def __call__(self, words):
        valid = words != _reviews.PAD
        words = self.word_noise(words, where=valid)
        x = self.neftune(self.embed(words), where=valid[..., None]) + self.place
        x = x + self.attend(self.norms[0](x), mask=valid[:, None, None, :])
        x = x + self.narrow(nnx.relu(self.wide(self.norms[1](x))))
        share = valid / valid.sum(1, keepdims=True)
        return self.head(jnp.einsum("bl,bld->bd", share, self.norms[2](x)))


adam, traces = optax.adamw(2e-3, weight_decay=0.01), 0


@nnx.jit
def train_step(model, optimizer, words, y, amounts):
    global traces
    traces += 1  # only tracing runs this line
    njx.set_amounts(model, **amounts)

    def loss(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(words), y).mean()

    optimizer.update(model, nnx.grad(loss)(model))


@nnx.jit
def accuracies(model, words, y):
    """Accuracy on clean texts, with unknown words, and with moved words; the same faults for every network."""
    model, valid = nnx.view(model, deterministic=True), words != _reviews.PAD
    faults = word_noise(0.0, 0.0), word_noise(0.3, 0.0), word_noise(0.0, 6.0)
    faulty = (fault(jax.random.key(1), words, where=valid) for fault in faults)
    return jnp.stack([(model(words).argmax(-1) == y).mean() for words in faulty])


def run(seed, recipe, texts):
    model = Reader(texts.words, texts.classes, nnx.Rngs(seed))
    optimizer = nnx.Optimizer(model, adam, wrt=nnx.Param)
    step = nnx.cached_partial(train_step, model, optimizer)  # avoids traversing the model in every call
    amounts = {name: jnp.float32(amount) for name, amount in recipe.items()}
    (words, y), rows = texts.train, np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for batch in rows.permutation(len(y))[: len(y) // BATCH * BATCH].reshape(-1, BATCH):
            step(words[batch], y[batch], amounts)
    return 100 * np.asarray(accuracies(model, *texts.test), np.float64)


def interval(values):
    """The mean over seeds, and half the width of its 95 % Student interval."""
    return f"{values.mean():.1f} ± {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.1f}"


def main():
    started, texts = time.perf_counter(), _reviews.load(LENGTH, download=not QUICK)
    if QUICK:
        texts = texts._replace(train=tuple(a[:256] for a in texts.train), test=tuple(a[:100] for a in texts.test))
    found = {}
    for name, recipe in RECIPES.items():
        found[name] = np.array([run(seed, recipe, texts) for seed in range(SEEDS)])

    columns = ("clean", "30 % of words unknown", "words moved")
    title = f"{texts.name}: accuracy in %, {SEEDS} seeds, 95 % intervals; the gain in parentheses is paired by seed"
    table = Table("trained with", *columns, title=title)
    for name, values in found.items():
        gain = values - found["no noise"]
        cells = (f"{interval(v)}  ({interval(g)})" for v, g in zip(values.T, gain.T, strict=True))
        table.add_row(name, *(map(interval, values.T) if name == "no noise" else cells))
    Console(width=120).print(table)
    majority = np.bincount(texts.test[1]).max() / len(texts.test[1])
    print(f"Accuracy of the most frequent class: {majority:.1%}. The train step was traced {traces} time(s).")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
