"""A noise on every leaf of a tree of parameters."""

import fnmatch
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax._noise import stages
from noisejax._random.stream import enter, stage


def perturb(
    key: jax.Array,
    tree: Any,
    noise: Callable,
    *,
    only: str | tuple[str, ...] | Callable[[str, Any], bool] | None = None,
) -> Any:
    """Applies a noise to the weights in a tree, each leaf with a stream of its own, derived from its path.

    So that another leaf, added or removed, changes no draw of the rest. A path is the names on the way to a leaf, as in
    ``"encoder/layers/0/kernel"``; the value that a Flax variable holds adds no name of its own, so that a state, its
    dictionary of plain arrays and the module draw the same noise.

    The result is an ordinary function of the clean weights: differentiate ``loss(perturb(key, params, noise))`` in
    `params` and update those. One call gives the forward and the backward pass the same sample.

    Args:
      key: a JAX key.
      tree: any pytree: dictionaries of parameters, an nnx state or module, linen's variables, an equinox module. Of
        Flax's variables those that are a `Param` take noise; statistics and random states do not.
      noise: a bound noise, a combinator, or any function ``(key, x) -> x`` of one array.
      only: which leaves take noise. A pattern of the path, such as ``"*/kernel"`` (``*`` stands for any text, ``?`` for
        a character, ``[ab]`` for one of these), or a tuple of patterns, selects among the floating-point leaves;
        nothing selected is an error. A function of the path and the leaf selects any arrays, integers too, if the noise
        takes those. None for all floating-point leaves. Static.

    Returns:
      A tree of the same structure, shapes and dtypes; leaves that are not selected are the same objects.

    Raises:
      ValueError: a pattern that selects nothing.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}, "step": jnp.int32(7)}
      >>> noise = nj.bind(nj.gaussian, std=0.1)
      >>> noisy = nj.weights.perturb(jax.random.key(0), params, noise, only="*/kernel")
      >>> noisy["dense"]["bias"] is params["dense"]["bias"]
      True
    """
    stream = enter("perturb", key)
    (noise,) = stages("perturb", (noise,))
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = paths(tree)
    chosen = [_selected(only, name, leaf, variable) for (name, variable), (_, leaf) in zip(names, leaves, strict=True)]
    if leaves and only is not None and not callable(only) and not any(chosen):
        raise ValueError(
            f"perturb: only={only!r} selects no floating-point leaf of {', '.join(name for name, _ in names[:8])}"
            f"{', ...' if len(names) > 8 else ''}."
        )
    noisy = [
        noise(stage(stream, name), leaf) if take else leaf
        for (name, _), (_, leaf), take in zip(names, leaves, chosen, strict=True)
    ]
    return jax.tree_util.tree_unflatten(structure, noisy)


def paths(tree: Any) -> list[tuple[str, Any]]:
    """The path of every leaf, as text, and the Flax variable that holds it, or None."""
    found = []
    for path, node in jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_variable)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not _is_variable(node):
            found.append((name, None))
            continue
        inner = [p for p, _ in jax.tree_util.tree_flatten_with_path(node)[0]]
        for p in inner:  # one array as a rule, whose own name says nothing
            rest = jax.tree_util.keystr(p[1:], simple=True, separator="/")
            found.append((f"{name}/{rest}" if rest else name, node))
    return found


def _is_variable(node: Any) -> bool:
    """A Flax nnx variable, told by its class's name, since this room does not import Flax."""
    return any(c.__name__ == "Variable" and c.__module__.startswith("flax.") for c in type(node).__mro__)


def _selected(only, name: str, leaf: Any, variable: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or jnp.issubdtype(dtype, jax.dtypes.extended):
        return False
    if callable(only):
        return bool(only(name, leaf))
    if not jnp.issubdtype(dtype, jnp.floating):
        return False
    if variable is not None and not any(c.__name__ == "Param" for c in type(variable).__mro__):
        return False
    if only is None:
        return True
    patterns = (only,) if isinstance(only, str) else only
    if not isinstance(patterns, tuple) or not all(isinstance(p, str) for p in patterns):
        raise TypeError(
            f"perturb: only must be a pattern such as '*/kernel', a tuple of them, or a function of the path and the "
            f"leaf, got {only!r}."
        )
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
