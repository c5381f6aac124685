"""Certified accuracy by randomized smoothing: a network trained with Gaussian noise, and one trained without.

    python examples/certified.py [out.png]

A smoothed classifier returns the class that its network predicts most often for noisy copies of an image. The frequency
of that class gives a radius within which no change of the image can change the prediction. The certified accuracy at
radius r is the share of test images that are classified correctly with a radius of at least r.
"""

import os
import sys
import time
from pathlib import Path

import _images
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import noisejax as nj
from noisejax import adversarial

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
PICTURES, SAMPLES, STEPS = (20, 200, 60) if QUICK else (300, 2000, 800)
WIDTH, BATCH = 128, 256
# The std of the noise in training, and in smoothing, for each network.
NETWORKS = {"no noise": (0.0, 0.25), "std 0.25": (0.25, 0.25), "std 0.5": (0.5, 0.5)}
RADII = np.linspace(0, 1.5, 301)
SHOWN = np.array([0, 0.25, 0.5, 0.75, 1.0])

started = time.perf_counter()
images = _images.load(small=QUICK)
x, y = (jnp.asarray(a) for a in images.train)
x_test, y_test = (jnp.asarray(a[:PICTURES]) for a in images.test)


def network(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


@jax.jit
def train(key, std):
    sizes = (x.shape[1], WIDTH, WIDTH, 10)
    shapes = zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True)
    params = [(nj.gaussian(k, jnp.zeros((a, b)), (2 / a) ** 0.5), jnp.zeros(b)) for k, a, b in shapes]
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, STEPS))

    def step(carry, key):
        params, state = carry
        rows_key, noise_key = jax.random.split(key)
        rows = jax.random.randint(rows_key, (BATCH,), 0, len(x))

        def loss(params):
            logits = network(params, nj.gaussian(noise_key, x[rows], std))
            return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, STEPS))[0][0]


table = Table("trained with", "smoothed with", "clean", *(f"r = {r:g}" for r in SHOWN), "mean radius")
curves = {}
for name, (train_std, std) in NETWORKS.items():
    params = train(jax.random.key(0), train_std)
    predict = jax.tree_util.Partial(network, params)  # a pytree: the networks share one compiled program
    noise = nj.bind(nj.gaussian, std=std)
    found = adversarial.certify(jax.random.key(1), predict, x_test, noise, samples=SAMPLES, batch_size=2048)
    curves[name] = found.accuracy(y_test, RADII)
    clean = (network(params, x_test).argmax(-1) == y_test).mean()
    at = (f"{share:.1%}" for share in found.accuracy(y_test, SHOWN))
    table.add_row(name, f"std {std:g}", f"{clean:.1%}", *at, f"{found.radius.mean():.2f}")

console = Console(width=110)
console.print(f"{images.name}, {PICTURES} test images, {SAMPLES:,} noisy copies of each, L2 radii, alpha 0.001")
console.print(table)
half = 196 * (0.25 / PICTURES) ** 0.5
print(f"Sampling error of the test images: 95 % intervals of these shares are at most ± {half:.0f} points.")

# A single radius needs fewer samples, since most images are far from its threshold.
few = slice(0, PICTURES // 3)
found = adversarial.certify_at(jax.random.key(2), predict, x_test[few], noise, 0.5, batch_size=2048)
print(
    f"The last network at r = 0.5 only: {found.accuracy(y_test[few]):.1%} of the first {PICTURES // 3} images are "
    f"certified, with {found.samples.mean():,.0f} samples per image on average and {found.samples.max():,} at most."
)

default = Path(__file__).parent / "out" / "certified.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
path.parent.mkdir(parents=True, exist_ok=True)
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for (name, curve), color in zip(curves.items(), ("C7", "C0", "C3"), strict=True):
    ax.plot(RADII, 100 * curve, color=color, label=f"trained with {name}, smoothed with std {NETWORKS[name][1]:g}")
ax.set(xlabel="L2 radius", ylabel="certified accuracy, %", ylim=(0, 100), xlim=(0, RADII[-1]))
ax.set_title(f"{images.name}: no change within the radius changes the prediction", fontsize=10)
ax.legend(frameon=False, fontsize=8)
ax.grid(alpha=0.3)
figure.savefig(path, dpi=150)
print(f"saved {path} after {time.perf_counter() - started:.0f} s")
