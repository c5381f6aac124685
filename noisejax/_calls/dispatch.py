"""Eager calls of combinators: one compiled dispatch instead of dozens of small ones.

`per_example`, `choose` and `sometimes` calculate with draws of their own. Called eagerly, each of these operations was
a dispatch, and the `vmap` of `per_example` was traced again in every call, at 30 to 200 times the cost of one noise.
A noise is a pytree, so one compiled function serves all of them: it is traced once for each structure of noise and x.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_SMALL = 4096  # bytes of amounts on the host that are compared by value
_MOST = 512
_known: dict[Any, bool] = {}  # whether a call of this kind can be compiled; its checks on the host have passed


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def program(body: Callable, replay: Any, noise: Any, key: Any, x: Any, where: Any) -> Any:
    """``body`` as one program; the two first arguments are static."""
    return body(replay, noise, key, x, where)


def compiled(body: Callable, replay: Any, noise: Any, key: Any, x: Any, where: Any, ours: Callable) -> Any:
    """``body(replay, noise, key, x, where)``, as one program if the call is eager and this changes nothing else.

    Args:
      body: a module's function, since programs are found by its identity.
      ours: a function of the noise that says whether it consists of functions of this library only. Others may read
        values and have side effects, so they run as they are.
    """
    arguments = noise, key, x, where
    leaves, structure = jax.tree.flatten(arguments)
    kind = _kind(leaves, structure, replay, len(jax.tree.leaves(noise)))
    if kind is None:
        return body(replay, *arguments)
    if kind not in _known:
        if possible := ours(noise):
            # Amounts on the host are checked against x here, since inside the program they are traced.
            jax.eval_shape(lambda: body(replay, *arguments))
        if len(_known) >= _MOST:
            _known.clear()
        _known[kind] = possible
    return program(body, replay, *arguments) if _known[kind] else body(replay, *arguments)


def _kind(leaves: list, structure: Any, replay: Any, amounts: int) -> Any:
    """What decides whether the checks of a call pass; None for a call that is not to be compiled."""
    described = []
    for n, leaf in enumerate(leaves):
        if isinstance(leaf, Tracer):
            return None
        if isinstance(leaf, jax.Array):
            described.append((leaf.shape, leaf.dtype))
        elif not isinstance(leaf, (np.ndarray, np.generic)):
            return None
        elif n < amounts:
            if leaf.nbytes > _SMALL or leaf.dtype.hasobject:
                return None
            described.append((leaf.shape, leaf.dtype, leaf.tobytes()))
        elif jnp.issubdtype(leaf.dtype, jnp.floating):
            described.append((leaf.shape, leaf.dtype))
        else:  # labels on the host are checked by value
            return None
    return structure, replay, tuple(described)
