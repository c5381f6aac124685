"""Which leaves of a tree an optimizer may train: all but the amounts of noises."""

from typing import Any

import jax

from noisejax.weights._perturb import fixed_amounts


def trainable(tree: Any) -> Any:
    """A mask for `optax.masked`: False for the amounts of a noise, unless it is `noisejax.learnable`; else True.

    A noise in a tree of parameters has no gradient, but weight decay and similar rules need none: `optax.adamw` would
    shrink the noise to nothing. Write ``optax.masked(optax.adamw(1e-3), optim.trainable)``, around the whole chain. The
    transforms of this module leave such amounts alone without a mask.

    Args:
      tree: parameters or gradients, with noises anywhere in them.

    Returns:
      A tree of the same structure that holds booleans.

    Example:
      >>> import jax.numpy as jnp, optax, noisejax as nj
      >>> from noisejax import optim
      >>> params = {"w": jnp.ones(2), "noise": nj.bind(nj.gaussian, std=0.1)}
      >>> optim.trainable(params)
      {'noise': nj.bind(nj.gaussian, std=False), 'w': True}
      >>> optimizer = optax.masked(optax.adamw(1e-3), optim.trainable)
      >>> state = optimizer.init(params)
    """
    return jax.tree.unflatten(jax.tree.structure(tree), [not fixed for fixed in fixed_amounts(tree)])
