"""A linear classifier of three features, whose certified radius is the distance to its boundary."""

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj

W, B = np.float32([1.5, -2.0, 0.5]), np.float32(0.3)


def side(w, x):
    return (x @ w + B > 0).astype(jnp.int32)


linear = jax.tree_util.Partial(side, W)  # a pytree: all tests of one shape share a program


def at_margin(margins):
    """Examples whose distances to the boundary of `linear` are given, on the side of class 1."""
    margins = np.float64(margins)[:, None]
    return np.float32((margins - B / np.linalg.norm(W)) * W / np.linalg.norm(W))


KEY = jax.random.key(0)
gaussian = nj.bind(nj.gaussian, std=0.5)
