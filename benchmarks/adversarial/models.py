"""Two classifiers with the same weights in JAX and in torch, and the images on which they are attacked.

They are trained here, deterministically and in seconds, and stored in the system's folder for temporary files.
"""

import gzip
import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

PLACES = (
    pathlib.Path(__file__).parents[2] / "examples" / "data" / "fashion-mnist",
    pathlib.Path("/usr/share/datasets/fashion-mnist"),
)


class Model(NamedTuple):
    """A trained classifier: images of shape (B, H, W, 1) in [0, 1], labels, and logits in both frameworks."""

    name: str
    x: np.ndarray
    y: np.ndarray
    predict: Callable  # of (B, H, W, 1)
    params: dict
    eps: dict[str, float]  # a radius per norm at which some images are misclassified

    def torch(self):
        """The same model of torch tensors of shape (B, 1, H, W)."""
        return _torch(self)


def digits(count: int = 597) -> Model:
    """An MLP 64-64-10 on scikit-learn's digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = (x[order] / 16).astype(np.float32).reshape(-1, 8, 8, 1), y[order].astype(np.int32)
    params = _trained("digits", x[:1200], y[:1200], _mlp_init(64, 64), mlp, steps=2000, batch=128)
    part = slice(1200, 1200 + count)
    return Model("digits MLP 64-64-10", x[part], y[part], mlp, params, {"linf": 0.1, "l2": 0.5, "l1": 2.0})


def fashion(count: int = 256) -> Model | None:
    """A small convnet on Fashion-MNIST; None where the data set is not installed (see examples/_images.py)."""
    for place in PLACES:
        if (place / "train-images-idx3-ubyte.gz").exists():
            break
    else:
        return None
    x, y = _idx(place, "train")
    params = _trained("fashion", x[:20000], y[:20000], _convnet_init(), convnet, steps=1500, batch=64)
    x, y = _idx(place, "t10k")
    eps = {"linf": 0.03, "l2": 0.5, "l1": 5.0}
    return Model("Fashion-MNIST convnet", x[:count], y[:count], convnet, params, eps)


def wide(features: int = 784, hidden: int = 1024, count: int = 512) -> Model:
    """An untrained MLP whose gradient takes about 10 ms on a CPU, for timing only."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(count, 28, 28, 1)).astype(np.float32)
    y = rng.integers(0, 10, count).astype(np.int32)
    return Model(f"MLP {features}-{hidden}-10", x, y, mlp, _mlp_init(features, hidden), {"linf": 0.1})


def mlp(params, x):
    hidden = jax.nn.relu(x.reshape(x.shape[0], -1) @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def convnet(params, x):
    for n in (1, 2):
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, params[f"k{n}"], (2, 2), ((1, 1), (1, 1)), dimension_numbers=layout)
        x = jax.nn.relu(x + params[f"c{n}"])
    return mlp(params, x)


def _mlp_init(features, hidden, seed=0):
    rng = np.random.default_rng(seed)
    w1 = rng.normal(size=(features, hidden)) * np.sqrt(2 / features)
    w2 = rng.normal(size=(hidden, 10)) * np.sqrt(1 / hidden)
    params = {"w1": w1, "b1": np.zeros(hidden), "w2": w2, "b2": np.zeros(10)}
    return {name: value.astype(np.float32) for name, value in params.items()}


def _convnet_init():
    rng = np.random.default_rng(1)
    kernels = {f"k{n}": rng.normal(size=(4, 4, i, o)) * np.sqrt(2 / (16 * i)) for n, i, o in ((1, 1, 16), (2, 16, 32))}
    params = {**kernels, "c1": np.zeros(16), "c2": np.zeros(32)}
    return {n: v.astype(np.float32) for n, v in params.items()} | _mlp_init(7 * 7 * 32, 100)


def _trained(name, x, y, params, predict, *, steps, batch):
    path = pathlib.Path(tempfile.gettempdir()) / f"noisejax-benchmark-{name}.npz"
    if path.exists():
        return dict(np.load(path))
    optimizer = optax.adam(2e-3)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            # Smoothed labels bound the logits. Where a softmax rounds to 1, float32 gradients are rounding errors, on
            # which no two frameworks agree.
            labels = optax.smooth_labels(jax.nn.one_hot(y, 10), 0.1)
            return optax.softmax_cross_entropy(predict(params, x), labels).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    rng = np.random.default_rng(2)
    for _ in range(steps):
        chosen = rng.integers(0, len(y), batch)
        params, state = step(params, state, x[chosen], y[chosen])
    params = {n: np.asarray(v) for n, v in params.items()}
    np.savez(path, **params)
    return params


def _idx(place, part):
    with gzip.open(place / f"{part}-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16)
    with gzip.open(place / f"{part}-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    return (x.reshape(-1, 28, 28, 1) / 255).astype(np.float32), y.astype(np.int32)


def _torch(model: Model):
    import torch

    p = {name: torch.tensor(np.asarray(value)) for name, value in model.params.items()}

    class Same(torch.nn.Module):
        def forward(self, x):
            for n in (1, 2):
                if f"k{n}" in p:
                    kernel = p[f"k{n}"].permute(3, 2, 0, 1)
                    x = torch.relu(torch.nn.functional.conv2d(x, kernel, p[f"c{n}"], stride=2, padding=1))
            x = x.permute(0, 2, 3, 1).flatten(1)  # in the channel order of JAX
            return torch.relu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]

    return Same().eval()


def to_torch(x):
    import torch

    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


def from_torch(x) -> np.ndarray:
    return np.moveaxis(x.detach().numpy(), 1, -1)


def bound(model: Model) -> Callable:
    """A function from images to logits, with the parameters bound."""
    params = jax.tree.map(jnp.asarray, model.params)
    return lambda x: model.predict(params, x)
