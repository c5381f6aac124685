"""The masks of what a noise hits, replayed from its key, and of what differs."""

from collections.abc import Callable
from typing import Any

import jax

from noisejax import _checks
from noisejax._calls.replay import HITS
from noisejax._noise import Run
from noisejax._padded import with_lengths


def hits(noise: Callable) -> Callable:
    """The mask of the elements that an element-hitting noise hits: ``hits(noise)(key, x)``, replayed from the key.

    This is the drawn mask: it includes elements that are hit but happen to keep their value. It works through the
    combinators; for a chain it is the union. For the elements that actually differ, use `changed`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> key, x, noise = jax.random.key(0), jnp.ones(6), nj.bind(nj.mask, rate=0.5)
      >>> bool((nj.hits(noise)(key, x) == (noise(key, x) == 0)).all())
      True
    """

    def replay(key: jax.Array, x: Any, *, where=None, lengths=None) -> Any:
        x = x if lengths is None else with_lengths("hits", x, lengths)
        return Run(where, HITS)(noise, key, x)[1]

    return replay


def changed(x: jax.Array, y: jax.Array) -> jax.Array:
    """The mask of the elements in which x and y differ. NaN equals NaN.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> nj.changed(jnp.array([1.0, jnp.nan, 2.0]), jnp.array([1.0, jnp.nan, jnp.nan])).tolist()
      [False, False, True]
    """
    for name, value in (("x", x), ("y", y)):
        _checks.array("changed", value, _checks.values, name)
    if x.shape != y.shape:
        raise ValueError(f"changed: y must have the shape of x, got x of {x.shape} and y of {y.shape}.")
    try:
        return (x != y) & ~((x != x) & (y != y))
    except (TypeError, ValueError):  # JAX promotes no pair of dtypes implicitly that loses values
        raise TypeError(
            f"changed: y must have the dtype of x, or one that JAX promotes, got {y.dtype} for {x.dtype}. Cast it."
        ) from None
