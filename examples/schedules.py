"""Noise that changes during training: along an optax schedule, or raised only while validation accuracy holds.

    python examples/schedules.py

The data are handwritten digits (scikit-learn). The level is a traced amount, so all runs share one compiled train step.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import noisejax as nj

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
EPOCHS, BATCH, CEILING = (6 if QUICK else 60), 100, 1.0

x, y = load_digits(return_X_y=True)
split = train_test_split(np.float32(x / 16), np.int32(y), test_size=0.4, random_state=0, stratify=y)
x_train, x_valid, y_train, y_valid = map(jnp.asarray, split)
STEPS = EPOCHS * (len(x_train) // BATCH)


class MLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.hidden, self.out = nnx.Linear(64, 64, rngs=rngs), nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


adam, traces = optax.adam(3e-3), 0  # the optimizer is static, so all runs share one


@nnx.jit
def train_step(model, optimizer, noise, key, x, y):
    global traces
    traces += 1  # runs only during tracing
    x = noise(key, x)
    grads = nnx.grad(lambda m: optax.softmax_cross_entropy_with_integer_labels(m(x), y).mean())(model)
    optimizer.update(model, grads)


@nnx.jit
def accuracy(model, x):
    return (model(x).argmax(-1) == y_valid).mean()


def train(level_at, after_epoch=lambda accuracy: None):
    """Trains with Gaussian noise of std `level_at(step)`; returns the model and (level, accuracy) per epoch."""
    model = MLP(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, adam, wrt=nnx.Param)
    noise, key, history = nj.bind(nj.gaussian, std=nj.scheduled(level_at)), jax.random.key(1), []
    for step in range(STEPS):
        key, order_key, noise_key = jax.random.split(key, 3)
        rows = jax.random.choice(order_key, len(x_train), (BATCH,), replace=False)
        train_step(model, optimizer, nj.at_step(noise, step), noise_key, x_train[rows], y_train[rows])
        if (step + 1) % (STEPS // EPOCHS) == 0:
            history.append((float(level_at(step)), float(accuracy(model, x_valid))))
            after_epoch(history[-1][1])
    return model, history


clean_model, clean = train(lambda step: 0.0)
scheduled_model, scheduled = train(optax.linear_schedule(0.0, CEILING, STEPS))

# Raises the noise until it costs about 1% of the clean model's accuracy, averaged over its last epochs.
rule = nj.adaptive(0.0, 0.05, CEILING, rtol=0.01, mode="max")
state = rule.init(reference=np.mean([share for _, share in clean[-5:]]))


def update(value):
    global state
    state = rule.update(state, value=value)


adaptive_model, adaptive = train(lambda step: state.level, update)
for note in rule.notes(state):
    print(note)
assert traces == 1, f"the train step was traced {traces} times"

table = Table("epoch", title=f"std of the noise → validation accuracy, {traces} trace of the train step")
for name in ("clean", "along a schedule", "adaptive"):
    table.add_column(name, justify="right")
for epoch in range(0, EPOCHS, max(1, EPOCHS // 10)):
    rows = (history[epoch] for history in (clean, scheduled, adaptive))
    table.add_row(str(epoch + 1), *(f"{level:.2f} → {share:.3f}" for level, share in rows))
table.add_section()
for std in (0.0, 0.2, 0.4, 0.6):
    noisy = nj.gaussian(jax.random.key(2), x_valid, std)
    models = (clean_model, scheduled_model, adaptive_model)
    table.add_row(f"under std {std:.1f}", *(f"{float(accuracy(model, noisy)):.3f}" for model in models))
Console().print(table)
