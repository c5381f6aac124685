"""Threats in pictures: an image, the change, and the changed image, for each threat.

    python examples/threats.py [out.png]

Two small networks are trained on Fashion-MNIST, one plainly and one on adversarial examples of FGSM (Linf, 0.1). PGD
with 100 steps then attacks both.
"""

import functools
import os
import sys
from pathlib import Path

import _images
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import PIL.Image

import noisejax as nj
from noisejax import adversarial

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
STEPS, BATCH, WIDTH, ASCENT = (50, 64, 32, 3) if QUICK else (1500, 256, 256, 100)
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running
CLASSES = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
BOX = (0, 1)

images = _images.load(small=QUICK)
side = images.shape[0]
x, y = (jnp.asarray(a) for a in images.train)
patch = np.zeros((side, side), bool)
patch[side // 8 : side // 2, side // 8 : side // 2] = True
THREATS = {
    "Linf, 0.1: every pixel a little": adversarial.Linf(0.1, BOX),
    "L2, 2: the sum of squares": adversarial.L2(2.0, BOX),
    "L1, 12: the sum": adversarial.L1(12.0, BOX),
    "L0, 12 pixels: anything": adversarial.L0(12, BOX),
    "a patch: anything inside": adversarial.Linf(1.0, BOX, mutable=patch.reshape(-1)),
}


def network(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    return x @ params[-1][0] + params[-1][1]


@jax.jit
def train(key, eps):
    sizes = (side * side, WIDTH, WIDTH, 10)
    shapes = zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True)
    params = [(nj.gaussian(k, jnp.zeros((a, b)), (2 / a) ** 0.5), jnp.zeros(b)) for k, a, b in shapes]
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, STEPS))

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (BATCH,), 0, len(x))

        def loss(params):
            net, threat = functools.partial(network, params), adversarial.Linf(eps, BOX)
            attack = functools.partial(adversarial.fgsm, key, adversarial.untargeted(net), x[rows], threat)
            return adversarial.cross_entropy(net(attack(1.25 * eps, (y[rows],), random_start=True)), y[rows]).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, STEPS))[0][0]


@jax.jit
def attack(params, threat, x, y):
    net = functools.partial(network, params)
    x_adv = adversarial.pgd(jax.random.key(1), adversarial.untargeted(net), x, threat, args=(y,), steps=ASCENT)
    return x_adv, net(x_adv).argmax(-1)


def shown(ax, picture, low, title=""):
    ax.imshow(np.asarray(picture).reshape(images.shape), cmap="gray" if low == 0 else "RdBu_r", vmin=low, vmax=1)
    ax.set_title(title, fontsize=7, pad=2)
    ax.set(xticks=[], yticks=[])


networks = {"trained plainly": train(jax.random.key(0), 0.0), "trained against Linf 0.1": train(jax.random.key(0), 0.1)}
x_test, y_test = (jnp.asarray(a[:200]) for a in images.test)
known = np.all([network(params, x_test).argmax(-1) == y_test for params in networks.values()], axis=0)
chosen = [np.argmax(known & (np.asarray(y_test) == label)) for label in (0, 2, 4, 8, 9)]
names = CLASSES if images.name != "digits" else [str(n) for n in range(10)]

rows = 2 if QUICK else len(THREATS)
place = {"left": 0.1, "right": 0.99, "top": 0.92, "bottom": 0.01, "wspace": 0.05, "hspace": 0.16}
figure, axes = plt.subplots(rows, 5, figsize=(6.2, 1.37 * rows), gridspec_kw=place)
for row, (name, threat), n in zip(axes, THREATS.items(), chosen, strict=False):
    clean = x_test[n]
    shown(row[0], clean, 0, names[int(y_test[n])])
    row[0].set_ylabel(name.replace(": ", ":\n"), fontsize=7)
    for (label, params), pair in zip(networks.items(), (row[1:3], row[3:5]), strict=True):
        x_adv, said = attack(params, threat, x_test[n : n + 1], y_test[n : n + 1])
        change = np.asarray(x_adv[0] - clean)
        size = np.abs(change).max()
        shown(pair[0], change / max(size, 1e-9), -1, f"± {size:.2f}")
        shown(pair[1], x_adv[0], 0, f"says {names[int(said[0])]}")
        print(f"{name.split(':')[0]:>15}, {label}: {names[int(y_test[n])]} -> {names[int(said[0])]}")
for across, label in zip((0.46, 0.82), networks, strict=True):
    figure.text(across, 0.965, label, ha="center", fontsize=8)
path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "out" / "threats.png"
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=100)
with PIL.Image.open(path) as picture:
    small = picture.convert("RGB").quantize(128)  # a fraction of the bytes
small.save(path, optimize=True)
print(f"saved {path}")
