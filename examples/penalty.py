"""Gaussian input noise acts as a penalty on the Jacobian (Bishop 1995), measured on a linear model and an MLP.

    python examples/penalty.py [out.png]

The models predict diabetes progression from ten measurements (scikit-learn) with the squared loss 1/2 (f(x) - y)^2. All
variables are standardized.
"""

import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_diabetes

import noisejax as nj

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
STEPS, DRAWS = (50, 200) if QUICK else (300, 20_000)
LEVELS = np.array([0.05, 0.1, 0.2, 0.4, 0.8], np.float32)

x, y = (np.float32((a - a.mean(0)) / a.std(0)) for a in load_diabetes(return_X_y=True))


def linear(params, x):
    return x @ params


def mlp(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def losses(f, params, x):
    return 0.5 * (f(params, x) - y) ** 2


def train(f, params):
    adam = optax.adam(0.02)

    def step(carry, _):
        params, state = carry
        grads = jax.grad(lambda p: losses(f, p, x).mean())(params)
        updates, state = adam.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, adam.init(params)), length=STEPS)[0][0]


@jax.jit
def added_loss(key, model, std):
    """The increase of the mean loss under noise of this std: the mean over draws, and its standard error."""
    f = MODELS[0] if isinstance(model, jax.Array) else MODELS[1]
    clean = losses(f, model, x)
    draws = jax.lax.map(
        lambda key: (losses(f, model, nj.gaussian(key, x, std)) - clean).mean(),
        jax.random.split(key, DRAWS),
        batch_size=100,
    )
    return draws.mean(), draws.std() / DRAWS**0.5


MODELS = (linear, mlp)
w, v = nj.gaussian(jax.random.key(0), jnp.zeros((10, 16)), 0.3), nj.gaussian(jax.random.key(1), jnp.zeros(16), 0.3)
trained = (train(linear, jnp.zeros(10)), train(mlp, {"w": w, "b": jnp.zeros(16), "v": v}))

table = Table("std", title="increase of the mean loss: measured under input noise, and by the penalty")
for name in ("linear: noise", "penalty", "MLP: noise", "penalty", "ratio"):
    table.add_column(name, justify="right", no_wrap=True)
curves = [[], []]
for std in LEVELS:
    row, ratio = [f"{std:.2f}"], 1.0
    for f, params, curve in zip(MODELS, trained, curves, strict=True):
        added, error = added_loss(jax.random.key(2), params, std)
        penalty = nj.tikhonov_penalty(lambda x, f=f, p=params: f(p, x), jnp.asarray(x), std).mean()
        curve.append((float(added), float(error), float(penalty)))
        row += [f"{added:.5f} ± {error:.5f}", f"{penalty:.5f}"]
        ratio = penalty / added  # of the MLP, which is the last
    table.add_row(*row, f"{ratio:.2f}")
Console().print(table)
print("The penalty is exact if f is linear. For the MLP it omits two terms: residual times curvature, and order std^4.")

path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out" / "penalty.png"
path.parent.mkdir(parents=True, exist_ok=True)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, title, curve in zip(axes, ("linear model", "MLP, 16 tanh units"), curves, strict=True):
    added, error, penalty = np.array(curve).T
    ax.loglog(LEVELS, penalty, "-", color="C1", label="penalty, std²/2 · ‖J‖²")
    ax.errorbar(LEVELS, added, error, fmt="o", color="C0", label=f"noise, {DRAWS:,} draws")
    ax.set(title=title, xlabel="std of the noise (features have 1)")
    ax.set_xticks(LEVELS, [f"{std:g}" for std in LEVELS], minor=False)
    ax.set_xticks([], minor=True)
axes[0].set_ylabel("added loss")
axes[0].legend(frameon=False)
figure.savefig(path, dpi=150)
print(f"saved {path}")
