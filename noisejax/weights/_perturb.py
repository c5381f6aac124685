"""Applying a noise to every leaf of a tree of parameters."""

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
    """Applies a noise to the weights in a tree. Each leaf has its own stream, derived from its path.

    So adding or removing a leaf does not change the draws of the others. A path consists of the names that lead to a
    leaf, such as ``"encoder/layers/0/kernel"``. The value inside a Flax variable adds no name to the path, so a state,
    its dictionary of plain arrays and the module draw the same noise.

    The result is an ordinary function of the clean weights: differentiate ``loss(perturb(key, params, noise))`` with
    respect to `params` and update `params`. The forward and backward passes of one call use the same sample.

    Args:
      key: a JAX key.
      tree: any pytree: dictionaries of parameters, an nnx state or module, linen variables, an equinox module. Among
        nnx variables, only those of type `Param` are perturbed; statistics and random states are not.
      noise: a bound noise, a combinator, or any function ``(key, x) -> x`` of one array.
      only: the leaves to perturb; None for all floating-point leaves. A pattern of the path, such as ``"*/kernel"``, or
        a tuple of patterns selects among the floating-point leaves: ``*`` matches any text, ``?`` one character and
        ``[ab]`` one of these characters. A function of the path and the leaf may select any arrays, also integers if
        the noise accepts them. Static.

    Returns:
      A tree of the same structure, shapes and dtypes. Leaves that are not selected are the same objects.

    Raises:
      ValueError: the patterns select no leaf.

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
    """The path of every leaf as text, with the Flax variable that holds the leaf, or None."""
    found = []
    for path, node in jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_variable)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not _is_variable(node):
            found.append((name, None))
            continue
        inner = [p for p, _ in jax.tree_util.tree_flatten_with_path(node)[0]]
        for p in inner:  # usually one array, whose own name is not part of the path
            rest = jax.tree_util.keystr(p[1:], simple=True, separator="/")
            found.append((f"{name}/{rest}" if rest else name, node))
    return found


def _is_variable(node: Any) -> bool:
    """Whether a node is a Flax nnx variable, recognized by its class name because this module does not import Flax."""
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
            f"perturb: only must be a pattern such as '*/kernel', a tuple of patterns, or a function of the path and "
            f"the leaf, got {only!r}."
        )
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
