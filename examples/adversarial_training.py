"""Adversarial training of a convolutional network, and its accuracy under attacks of increasing strength.

    python examples/adversarial_training.py

On Fashion-MNIST an adversary may change every pixel by 0.1. The same network is trained plainly, on one-step
adversarial examples (FGSM from a random start), on those of PGD, and by TRADES. The networks have BatchNorm. The train
step calls them in train mode, and its attack uses `noisejax.nnx.functional`, a copy in eval mode without side effects.
The radius grows in the first third of training. It is data, so each step is compiled once.
"""

import functools
import os
import time
from typing import Any

import _images
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.table import Table

import noisejax.nnx as njx
from noisejax import adversarial

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
STEPS, BATCH, PICTURES, WIDTH, ASCENT = (12, 32, 40, 8, 2) if QUICK else (800, 128, 500, 32, 7)
EVAL_STEPS, RESTARTS = (3, 2) if QUICK else (50, 10)
FEW = 8 if QUICK else 100
AUTO: dict[str, Any] = {"version": ("apgd-ce",), "steps": 2} if QUICK else {"version": "standard"}
EPS, BOUNDS = 0.1, (0, 1)
CHECKS = 1 if QUICK else 8  # how often the FGSM training is checked
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running


class Net(nnx.Module):
    """Convolutions over patches, which are cheap on a CPU."""

    def __init__(self, side: int, rngs: nnx.Rngs):
        self.patches = nnx.Conv(1, WIDTH, (4, 4), strides=4, use_bias=False, rngs=rngs)
        self.first = nnx.BatchNorm(WIDTH, rngs=rngs)
        self.conv = nnx.Conv(WIDTH, 2 * WIDTH, (3, 3), strides=2, use_bias=False, rngs=rngs)
        self.second = nnx.BatchNorm(2 * WIDTH, rngs=rngs)
        self.head = nnx.Linear(2 * WIDTH * ((side + 7) // 8) ** 2, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.first(self.patches(x)))
        x = nnx.relu(self.second(self.conv(x)))
        return self.head(x.reshape(len(x), -1))


# A recipe returns the loss of each example. `model` is in train mode, and `attacked` is a pure function for the attack.
# Attacks are unrolled because XLA's convolutions are slow inside loops on CPUs.


def plain(key, model, attacked, x, y, threat):
    return adversarial.cross_entropy(model(x), y)


def fgsm_rs(key, model, attacked, x, y, threat):
    step = 1.25 * threat.eps
    x_adv = adversarial.fgsm(key, adversarial.untargeted(attacked), x, threat, step, args=(y,), random_start=True)
    return adversarial.cross_entropy(model(x_adv), y)


def pgd_at(key, model, attacked, x, y, threat):
    loss = adversarial.untargeted(attacked)
    x_adv = adversarial.pgd(key, loss, x, threat, args=(y,), steps=ASCENT, unroll=ASCENT)
    return adversarial.cross_entropy(model(x_adv), y)


def trades(key, model, attacked, x, y, threat):
    return adversarial.trades(key, model, x, y, threat, 6.0, attacked=attacked, steps=ASCENT, unroll=ASCENT)


def seen(model):
    """The model as a pure function in eval mode, and its state."""
    return njx.functional(nnx.view(model, use_running_average=True))


@functools.partial(nnx.jit, static_argnames="recipe")
def train_step(model, optimizer, key, x, y, eps, recipe):
    def loss(model):
        attacked = functools.partial(*seen(model))
        return recipe(key, model, attacked, x, y, adversarial.Linf(eps, BOUNDS)).mean()

    value, grads = nnx.value_and_grad(loss)(model)
    optimizer.update(model, grads)
    return value


@functools.partial(jax.jit, static_argnames=("predict", "steps", "restarts"))
def robust(predict, state, key, x, y, *, steps, restarts):
    """Which examples are classified correctly after PGD; with 0 steps, without an attack."""
    net = functools.partial(predict, state)
    x_adv = adversarial.pgd(
        key,
        adversarial.untargeted(net),
        x,
        adversarial.Linf(EPS, BOUNDS),
        args=(y,),
        steps=steps,
        random_start=steps > 0,
        restarts=restarts,
        success=adversarial.misclassified(net),
        unroll=max(steps, 1),
    )
    return net(x_adv).argmax(-1) == y


def train(recipe, images):
    x, y = images
    model = Net(x.shape[1], nnx.Rngs(0))
    model.train()
    optimizer = nnx.Optimizer(model, optax.adam(optax.cosine_decay_schedule(3e-3, STEPS)), wrt=nnx.Param)
    step = nnx.cached_partial(train_step, model, optimizer)
    guard = adversarial.overfitting_guard(drop=0.2)
    guarded, rows, started = guard.init(seen(model)[1]), np.random.default_rng(0), time.perf_counter()
    for n in range(STEPS):
        batch = rows.choice(len(x), BATCH, replace=False)
        key = jax.random.fold_in(jax.random.key(1), n)
        step(key, x[batch], y[batch], jnp.float32(EPS * min(1, 3 * n / STEPS)), recipe=recipe)
        if recipe is fgsm_rs and (n + 1) % (STEPS // CHECKS) == 0:  # one batch, a short attack
            state = seen(model)[1]
            right = robust(PREDICT, state, key, x[batch], y[batch], steps=5, restarts=1)
            guarded = guard.update(guarded, state, value=right.mean())
            if guarded.overfit:
                print(f"FGSM training collapsed before step {n + 1}. The weights of the previous check are used.")
                return guarded.kept, time.perf_counter() - started
    return seen(model)[1], time.perf_counter() - started


images = _images.load(small=QUICK)
side = images.shape[0]
train_set, (x, y) = ((x.reshape(-1, side, side, 1), y) for x, y in (images.train, images.test))
x, y = jnp.asarray(x[:PICTURES]), jnp.asarray(y[:PICTURES])
PREDICT, _ = seen(Net(side, nnx.Rngs(0)))  # one function for all networks, whose states are data

strong = f"PGD-{EVAL_STEPS}-{RESTARTS}"
table = Table("training", "clean", "FGSM", strong, f"{strong}, first {FEW}", f"AutoAttack, first {FEW}", "time")
recipes = {"plain": plain, "FGSM-RS": fgsm_rs, f"PGD-{ASCENT}": pgd_at, "TRADES": trades}
for name in ("FGSM-RS", "TRADES") if QUICK else recipes:
    state, seconds = train(recipes[name], train_set)
    measured = [
        robust(PREDICT, state, jax.random.key(2), x, y, steps=steps, restarts=restarts)
        for steps, restarts in ((0, 1), (1, 1), (EVAL_STEPS, RESTARTS))
    ]
    net = jax.tree_util.Partial(PREDICT, state)
    found = adversarial.autoattack(jax.random.key(3), net, x[:FEW], y[:FEW], adversarial.Linf(EPS, BOUNDS), **AUTO)
    shares = [right.mean() for right in (*measured, measured[-1][:FEW], found.robust)]
    table.add_row(name, *(f"{share:.1%}" for share in shares), f"{seconds:.0f} s")
Console(width=110).print(f"{images.name}, {PICTURES} test images, every pixel ± {EPS}", table)
half, few = (196 * (0.25 / count) ** 0.5 for count in (PICTURES, FEW))
print(f"Sampling error: 95 % intervals are at most ± {half:.0f} points, and ± {few:.0f} for the first {FEW} images.")
