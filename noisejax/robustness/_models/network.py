"""The network of `mlp`. Imported only when a network is trained, since it needs Flax."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from noisejax._noises.masking import dropout


class Network(nnx.Module):
    """Dense layers with ReLU between them. With a key, hidden units are dropped."""

    def __init__(self, sizes: tuple[int, ...], rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])

    def __call__(self, x: jax.Array, key: Any = None, rate: Any = None) -> jax.Array:
        *hidden, last = self.layers
        for n, layer in enumerate(hidden):
            x = nnx.relu(layer(x))
            if key is not None:
                x = dropout(jax.random.fold_in(key, n), x, rate)
        return last(x)


def made(key: jax.Array, sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """The structure and the parameters."""
    return nnx.split(Network(sizes, nnx.Rngs(key)))


def applied(model: tuple[Any, Any], x: jax.Array, key: Any = None, rate: Any = None) -> jax.Array:
    return nnx.merge(*model)(x, key, rate)


def scales(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean and the standard deviation of each column, without missing values; 0 and 1 for columns of 0 and 1."""
    known = ~jnp.isnan(x)
    count = jnp.maximum(known.sum(0), 1).astype(x.dtype)
    mean = jnp.where(known, x, 0).sum(0) / count
    std = jnp.sqrt(jnp.where(known, jnp.square(x - mean[None]), 0).sum(0) / count)
    kept = jnp.all((x == 0) | (x == 1) | ~known, 0)
    # The deviation of a constant column is the rounding error of its mean, which would multiply noise by millions.
    constant = jnp.where(known, x, -jnp.inf).max(0) <= jnp.where(known, x, jnp.inf).min(0)
    return jnp.where(kept, 0, mean), jnp.where(kept | constant | (std == 0), 1, std)


def standardized(x: jax.Array, scale: tuple[jax.Array, jax.Array]) -> jax.Array:
    """A missing value becomes the mean of its column."""
    x = (x - scale[0][None]) / scale[1][None]
    return jnp.where(jnp.isnan(x), 0, x)


def predict(models: Any, inputs: Any, targets: Any, x: jax.Array) -> jax.Array:
    """Outputs of stacked models, for the same x: (seeds, B, classes), or numbers in the units of the targets."""
    x = jnp.asarray(x, jnp.float32)
    if x.ndim != 2 or x.shape[1] != len(inputs[0]):
        raise ValueError(f"mlp: x must have shape (B, {len(inputs[0])}), as in training, got {tuple(x.shape)}.")
    outputs = jax.vmap(applied, (0, None))(models, standardized(x, inputs))
    return outputs if targets is None else outputs[..., 0] * targets[1] + targets[0]
