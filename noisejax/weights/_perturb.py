"""Applying a noise to every leaf of a tree of parameters."""

import fnmatch
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._noise import Noise, is_noise, stages
from noisejax._random.stream import enter, stage
from noisejax.weights._digital import bit_flips


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
        nnx variables, only those of type `Param` are perturbed; statistics and random states are not. The amounts of
        noises in the tree are no weights, unless they are `noisejax.learnable`.
      noise: a bound noise, a combinator, or any function ``(key, x) -> x`` of one array.
      only: the leaves to perturb; None for all weights: floating-point leaves, and integers of at most 8 bits, which
        are quantized weights. `bit_flips` also hits wider integers, except scalars, which are counters. A pattern of
        the path, such as ``"*/kernel"``, or a tuple of patterns selects among these: ``*`` matches any text, ``?`` one
        character and ``[ab]`` one of these characters. A function of the path and the leaf may select any arrays.
        Static.

    Returns:
      A tree of the same structure, shapes and dtypes. Leaves that are not selected are the same objects.

    Raises:
      ValueError: the patterns select no leaf.
      TypeError: quantized weights are selected, and the noise does not accept their dtype.

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
    leaves, structure = jax.tree_util.tree_flatten(tree)
    chosen = _selection("perturb", tree, only, 64 if _flips_bits(noise) else 8)
    if not callable(only):
        for (name, _), leaf, take in zip(paths(tree), leaves, chosen, strict=True):
            if take and not jnp.issubdtype(leaf.dtype, jnp.floating):
                _check_accepted(noise, name, leaf)
    noisy = [
        _noisy(noise, stage(stream, name), name, leaf) if take else leaf
        for (name, _), leaf, take in zip(paths(tree), leaves, chosen, strict=True)
    ]
    return jax.tree_util.tree_unflatten(structure, noisy)


def selected(function: str, tree: Any, only: Any) -> Any:
    """A tree of booleans: the floating-point weights that `only` selects, as described by `perturb`."""
    return jax.tree.unflatten(jax.tree.structure(tree), _selection(function, tree, only, 0))


def check_only(function: str, only: Any) -> None:
    """Requires a selection of leaves, as described by `perturb`."""
    patterns = only if isinstance(only, tuple) else (only,)
    if only is not None and not callable(only) and not all(isinstance(p, str) for p in patterns):
        raise TypeError(
            f"{function}: only must be a pattern such as '*/kernel', a tuple of patterns, or a function of the path "
            f"and the leaf, got {only!r}."
        )


def _selection(function: str, tree: Any, only: Any, widest: int) -> list[bool]:
    """Whether each leaf is selected; integers are weights if they have at most `widest` bits."""
    check_only(function, only)
    patterns = (only,) if isinstance(only, str) else only
    named, leaves = paths(tree), jax.tree.leaves(tree)
    chosen = [
        not fixed and _is_selected(patterns, name, leaf, variable, widest)
        for (name, variable), leaf, fixed in zip(named, leaves, fixed_amounts(tree), strict=True)
    ]
    if leaves and patterns is not None and not callable(only) and not any(chosen):
        names = ", ".join(name for name, _ in named[:8]) + (", ..." if len(named) > 8 else "")
        raise ValueError(
            f"{function}: only={only!r} selects no floating-point leaf of the tree; its leaves are {names}."
        )
    return chosen


def _noisy(noise: Callable, key: Any, name: str, leaf: Any) -> Any:
    noisy = noise(key, leaf)
    if getattr(noisy, "shape", None) != leaf.shape:
        raise TypeError(
            f"perturb: noise must return weights of the shape that it is given, {leaf.shape} for {name!r}, got "
            f"{_checks.shown(noisy)}."
        )
    return noisy


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


def fixed_amounts(tree: Any) -> list[bool]:
    """For each leaf, whether it is an amount of a noise that is not `learnable`."""
    found = []
    for node in jax.tree.leaves(tree, is_leaf=is_noise):
        if not isinstance(node, Noise):
            found.append(False)
            continue
        for leaf in jax.tree.leaves(tuple(node.amounts.values()), is_leaf=is_noise):
            found += fixed_amounts(leaf) if isinstance(leaf, Noise) else [not node.learn]
    return found


def _flips_bits(noise: Any) -> bool:
    """Whether a noise consists of bit flips alone, which act on memory, whatever it holds."""
    if not isinstance(noise, Noise):
        return False
    inner = [leaf for leaf in jax.tree.leaves(noise.amounts, is_leaf=is_noise) if isinstance(leaf, Noise)]
    return noise.function is bit_flips or (bool(inner) and all(map(_flips_bits, inner)))


def _is_selected(only, name: str, leaf: Any, variable: Any, widest: int) -> bool:
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or jnp.issubdtype(dtype, jax.dtypes.extended):
        return False
    if callable(only):
        return bool(only(name, leaf))
    if jnp.issubdtype(dtype, jnp.integer):
        bits = jnp.iinfo(dtype).bits
        if bits > widest or (bits > 8 and jnp.ndim(leaf) == 0):  # a wide scalar is a counter
            return False
    elif not jnp.issubdtype(dtype, jnp.floating):
        return False
    if variable is not None and not any(c.__name__ == "Param" for c in type(variable).__mro__):
        return False
    return only is None or any(fnmatch.fnmatchcase(name, pattern) for pattern in only)


def _check_accepted(noise: Callable, name: str, leaf: Any) -> None:
    """Requires that a noise acts on integers. Otherwise only the scales of a quantized model would be noisy."""
    advice = (
        "Perturb the dequantized weights, or select others: only=lambda path, leaf: jnp.issubdtype(leaf.dtype, "
        "jnp.floating)."
    )
    try:
        noisy = jax.eval_shape(noise, jax.random.key(0), leaf)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"perturb: the noise must accept the quantized weights {name!r} of {leaf.dtype}, got {noise!r}. {advice} "
            f"({error})"
        ) from None
    if (noisy.shape, noisy.dtype) != (leaf.shape, leaf.dtype):
        raise TypeError(
            f"perturb: the noise must keep the dtype of the quantized weights {name!r}, {leaf.dtype}, got "
            f"{noisy.dtype}. {advice}"
        )
