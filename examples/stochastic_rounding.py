"""Training in pure bfloat16: rounding to nearest loses small updates, and stochastic rounding keeps them.

    python examples/stochastic_rounding.py

A small MLP is trained on handwritten digits (scikit-learn). Parameters, gradients and the optimizer's state are
bfloat16, without any float32 copy. The three columns start from the same weights and use the same batches.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import noisejax as nj
import noisejax.optim

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SEEDS, STEPS, BATCH, HIDDEN = (2, 30, 50, 32) if QUICK else (8, 2000, 50, 64)

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = map(
    jnp.asarray, train_test_split(np.float32(x / 16), np.int32(y), test_size=0.4, random_state=0, stratify=y)
)


def predict(params, x):
    hidden = jax.nn.relu(x.astype(params["w"].dtype) @ params["w"] + params["b"])
    return (hidden @ params["v"] + params["c"]).astype(jnp.float32)


def loss(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(predict(params, x), y).mean()


def start(key):
    """The initial parameters of one seed, in float32."""
    w_key, v_key = jax.random.split(key)
    return {
        "w": nj.gaussian(w_key, jnp.zeros((64, HIDDEN)), 64**-0.5),
        "b": jnp.zeros(HIDDEN),
        "v": nj.gaussian(v_key, jnp.zeros((HIDDEN, 10)), HIDDEN**-0.5),
        "c": jnp.zeros(10),
    }


def train(params, batches, optimizer):
    """Training loss and test accuracy after training in the dtype of the parameters."""

    def step(carry, rows):
        params, state = carry
        grads = jax.grad(loss)(params, x_train[rows], y_train[rows])
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), batches)
    return loss(params, x_train, y_train), (predict(params, x_test).argmax(-1) == y_test).mean()


def interval(values):
    """The mean over seeds, and half the width of Student's 95% interval."""
    values = np.asarray(values, np.float64)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():.4f} ± {half:.4f}"


OPTIMIZERS = {
    "SGD, rate 0.01": optax.sgd(0.01),
    "SGD + momentum, 0.03 → 0": optax.sgd(optax.cosine_decay_schedule(0.03, STEPS), momentum=0.9),
    "Adam, 0.001 → 0": optax.adam(optax.cosine_decay_schedule(1e-3, STEPS), b2=0.98),
}
if QUICK:
    OPTIMIZERS = {name: OPTIMIZERS[name] for name in ("SGD, rate 0.01",)}

start_key, batch_key, rounding_key = jax.random.split(jax.random.key(0), 3)
params = jax.vmap(start)(jax.random.split(start_key, SEEDS))
low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
batches = jax.random.randint(batch_key, (SEEDS, STEPS, BATCH), 0, len(x_train))
keys = jax.random.split(rounding_key, SEEDS)


def train_stochastically(params, batches, key, optimizer):
    return train(params, batches, optax.chain(optimizer, noisejax.optim.stochastic_rounding(key)))


table = Table("", "", title=f"digits, {STEPS} steps, mean over {SEEDS} seeds and its 95% interval")
for column in ("float32", "bfloat16, nearest", "bfloat16, stochastic"):
    table.add_column(column, justify="right", no_wrap=True)
for name, optimizer in OPTIMIZERS.items():
    run = jax.jit(jax.vmap(functools.partial(train, optimizer=optimizer)))
    run_stochastic = jax.jit(jax.vmap(functools.partial(train_stochastically, optimizer=optimizer)))
    results = [run(params, batches), run(low, batches), run_stochastic(low, batches, keys)]
    table.add_row(name, "training loss", *(interval(losses) for losses, _ in results))
    table.add_row("", "test accuracy", *(interval(accuracies) for _, accuracies in results))
Console(width=130).print(table)
