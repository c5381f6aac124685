"""Checks of arguments that several modules share. Their errors say what is wrong, with the value and the fix.

Only what is known on the host is checked: shapes, dtypes, Python and NumPy numbers. The values of a `jax.Array` are
never read, which would wait for the device, and a tracer has none.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from noisejax._checks.kinds import (
    count as count,
    flag as flag,
    flag_or_none as flag_or_none,
    function as function,
    listed as listed,
    mask as mask,
    native as native,
    number as number,
    operand as operand,
    scalar as scalar,
    several as several,
    shown as shown,
    string as string,
    whole as whole,
)

Amount = float | jax.Array | np.ndarray | np.number
Mask = jax.Array | np.ndarray | None  # the type of `where` and `lengths`


class Range:
    """The values that an amount may take. Called with a host value, it raises if any of its elements lies outside."""

    def __init__(self, text: str, inside: Callable, hint: str):
        self.text, self.inside, self.hint = text, inside, hint

    def __call__(self, function: str, name: str, value) -> None:
        if isinstance(value, (bool, int, float, np.number)):
            if not self.inside(_widened(value)):
                raise ValueError(f"{function}: {name} must be {self.text}, got {value!r}. {self.hint}")
        elif isinstance(value, np.ndarray) and value.size and not np.all(inside := self.inside(_widened(value))):
            worst = value[~np.asarray(inside)].flat[0]
            raise ValueError(f"{function}: every {name} must be {self.text}, got {worst!r} among them. {self.hint}")


def _widened(value):
    """A value in float32 if its dtype is narrower: NumPy would compare it with an end that this dtype cannot hold."""
    dtype = getattr(value, "dtype", None)
    narrow = dtype is not None and jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4
    return value.astype(np.float32) if narrow else value


rate = Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "It is the probability that an element is hit, not kept.")
nonnegative = Range("at least 0 and finite", lambda v: (v >= 0) & (v < math.inf), "0 is the identity.")
summed = Range("at least 0 and at most 1e30", lambda v: (v >= 0) & (v <= 1e30), "Beyond it, sums of noise overflow.")
positive = Range("above 0", lambda v: v > 0, "")
real = Range("a number", lambda v: v == v, "NaN is not an amount.")

floats = ("floats",)
images = ("floats", "uint8 or uint16 images")
numbers = ("floats", "uint8 or uint16 images", "integers", "booleans")
values = (*numbers, "complex numbers")


def key(function: str, value) -> None:
    """Requires a scalar typed key, or a legacy uint32 key of the default implementation."""
    dtype = value.dtype if isinstance(value, (jax.Array, np.ndarray)) else None
    if type(value).__module__.startswith("flax.") and callable(value):  # each call of a stream gives a key
        draw = "rngs.noise()" if type(value).__name__ == "Rngs" else "stream()"
        raise TypeError(f"{function}: key must be a JAX key, got an nnx {type(value).__name__}. Draw one: {draw}.")
    if dtype is None:
        kind = "a raw seed" if isinstance(value, (int, np.integer)) else f"a {type(value).__name__}"
        maker = f"jax.random.key({value!r})" if isinstance(value, (int, np.integer)) else "jax.random.key(seed)"
        raise TypeError(f"{function}: key must be a JAX key, got {kind}, {value!r}. Make one with {maker}.")
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        shape, wanted = value.shape, ()
    elif dtype == jnp.uint32:
        impl = jax.config.jax_default_prng_impl  # pyright: ignore[reportAttributeAccessIssue] set when jax starts
        shape, wanted = value.shape, _default_key_shape(impl)
    else:
        raise TypeError(
            f"{function}: key must be a JAX key, got an array of {dtype}{list(value.shape)}. "
            "Keys come first, then x; make one with jax.random.key(seed)."
        )
    if shape != wanted:
        raise ValueError(
            f"{function}: key must be one key, got shape {shape} of {dtype} (one key has shape {wanted}). "
            "Map over keys with jax.vmap, or make them with jax.random.split."
        )


def _default_key_shape(impl: str) -> tuple[int, ...]:
    if impl not in _KEY_SHAPES:
        _KEY_SHAPES[impl] = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=impl))).shape
    return _KEY_SHAPES[impl]


_KEY_SHAPES: dict[str, tuple[int, ...]] = {"threefry2x32": (2,)}


def array(function: str, value, kinds: tuple[str, ...], name: str = "x") -> None:
    """Requires one array of a dtype that the noise supports."""
    native(function, name, value)
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        if isinstance(value, (tuple, list, dict)):
            raise TypeError(
                f"{function}: {name} must be one array, got a {type(value).__name__}. To apply noise to some entries "
                f"of a batch, name them: nj.on_entries((noise, None)) or nj.on_entries({{'image': noise}})."
            )
        got = f"a {type(value).__name__}: {shown(value)}"
        raise TypeError(f"{function}: {name} must be an array, got {got}. Use jnp.asarray.")
    if jnp.issubdtype(dtype, jnp.floating):
        return
    if dtype in (jnp.uint8, jnp.uint16) and images[1] in kinds:
        return
    if jnp.issubdtype(dtype, jnp.integer) and "integers" in kinds:
        return
    if dtype == jnp.bool_ and "booleans" in kinds:
        return
    if jnp.issubdtype(dtype, jnp.complexfloating) and "complex numbers" in kinds:
        return
    raise TypeError(
        f"{function}: {name} must hold {' or '.join(kinds)}, got {dtype}{list(value.shape)}. "
        f"Cast it first, for instance {name}.astype(jnp.float32)."
    )


def holds(function: str, name: str, value, dtype) -> None:
    """Requires that host values, such as a fill, lie in the range of x's dtype. Fractions are rounded."""
    if not isinstance(value, (bool, int, float, complex, np.generic, np.ndarray)):
        return
    given = np.asarray(value)
    if jnp.issubdtype(given.dtype, jnp.complexfloating):
        fits = np.asarray(jnp.issubdtype(dtype, jnp.complexfloating))
    elif given.dtype == object or not jnp.issubdtype(dtype, jnp.inexact):
        low, high = (0, 1) if dtype == jnp.bool_ else _range_of(dtype)
        # An integer's end may not be a float, so only integers are compared with integers, and floats with floats.
        fits = (given >= low) & (given <= high) if given.dtype.kind in "buiO" else (given >= low) & (given < high + 1)
    else:  # NaN and infinities are values of every float
        size = np.abs(given.astype(np.float64))
        fits = ~np.isfinite(size) | (size <= float(jnp.finfo(dtype).max))
    if not np.all(fits):
        worst = given[~np.broadcast_to(fits, given.shape)].flat[0]
        low, high = (False, True) if dtype == jnp.bool_ else _range_of(dtype)
        raise ValueError(
            f"{function}: {name} must be a value that x of {np.dtype(dtype)} can hold, from {low} to {high}, got "
            f"{worst}. Choose one in this range, or cast x to a wider dtype first."
        )


def _range_of(dtype) -> tuple:
    if jnp.issubdtype(dtype, jnp.integer):
        return int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max)
    return float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max)


def unambiguous(function: str, name: str, shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    """Requires that an array of fewer axes than x fits the last axes of x only, and not the first ones as well."""
    missing = len(to) - len(shape)
    first = tuple(to[: len(shape)])
    if missing <= 0 or tuple(shape) != first or max(shape, default=1) == 1:
        return
    if any(a not in (1, b) for a, b in zip(shape, to[missing:], strict=True)):
        return  # it fits the first axes only, which `broadcastable` says
    leading, trailing = ", ".join(["None"] * missing + ["..."]), ", ".join(["..."] + ["None"] * missing)
    raise ValueError(
        f"{function}: {name} of shape {tuple(shape)} is ambiguous for x of shape {tuple(to)}: it fits the first axes "
        f"and the last ones. Give it x's rank: {name}[{trailing}] for the first axes, {name}[{leading}] for the last."
    )


def broadcastable(function: str, name: str, shape: tuple[int, ...], to: tuple[int, ...]) -> None:
    """Requires that an amount broadcasts to the shape of x, which is never broadcast itself."""
    padded = (1,) * (len(to) - len(shape)) + tuple(shape)
    if len(shape) > len(to) or any(a not in (1, b) for a, b in zip(padded, to, strict=True)):
        hint = ""
        if len(shape) == 1 and to and shape[0] == to[0]:
            column = (shape[0],) + (1,) * (len(to) - 1)
            hint = f" For one {name} per example, reshape it to {column} or use nj.per_example."
        elif shape and tuple(shape) == tuple(to[: len(shape)]):
            hint = f" For the first axes of x write {name}[{', '.join(['...'] + ['None'] * (len(to) - len(shape)))}]."
        raise ValueError(f"{function}: {name} of shape {tuple(shape)} does not broadcast to x of shape {to}.{hint}")


def batch(function: str, entries: dict) -> int:
    """The number of examples of a batch. Raises unless all entries are arrays that agree on it."""
    for name, value in entries.items():
        native(function, name, value)
        if getattr(value, "ndim", 0) == 0:
            got = f"{value.dtype}[]" if hasattr(value, "dtype") else f"a {type(value).__name__}, {value!r}"
            raise TypeError(
                f"{function}: {name} must be an array with a leading axis of examples, got {got}. "
                "To leave an entry unmixed, name it in keep=(...)."
            )
    sizes = {value.shape[0] for value in entries.values()}
    if len(sizes) != 1:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in entries.items()) or "a batch with no entries"
        raise ValueError(f"{function}: all entries must have the same number of examples (leading axis), got {shapes}.")
    return sizes.pop()


def batch_size(function: str, x) -> int:
    """The length of the leading axis that all arrays of a pytree share."""
    for leaf in jax.tree.leaves(x):
        native(function, "x", leaf)
        if not hasattr(leaf, "shape"):
            raise TypeError(f"{function}: x must be an array or a pytree of arrays, got {shown(leaf)} in it.")
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(sizes) != 1 or () in sizes:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{function}: all arrays of x must share a leading axis of examples, got shapes {shapes}.")
    return sizes.pop()[0]


def labels(
    function: str, name: str, value, num_classes: int, where=None, *, missing: str, cure: str = "Fix num_classes."
) -> None:
    """Requires that NumPy labels lie in [0, num_classes), except for padding. Device arrays are not read.

    Args:
      missing: what to write for labels that are missing.
      cure: what to do if they are classes.
    """
    if not isinstance(value, np.ndarray) or isinstance(where, jax.Array):
        return
    wrong = (value < 0) | (value >= num_classes)
    wrong = wrong if where is None else wrong & where
    if np.any(wrong):
        raise ValueError(
            f"{function}: {name} must hold labels in [0, {num_classes}), got {value[wrong].flat[0]} among them. "
            f"{cure} If some labels are missing, {missing}"
        )


def layout(function: str, cuts: tuple[tuple[str, ...], ...], sees: str, options: dict) -> None:
    """Inside shard_map: requires that x is not sharded along an axis on which a noise sees more than one element."""
    cut = {axis: names for axis, names in enumerate(cuts) if names}
    sees = "batch" if options.get("exact") else sees  # it counts along the rows
    if sees == "element" or not cut:
        return
    along = options.get("axis", options.get("axes"))  # the options that name the axes along which a noise works
    along = {axis % len(cuts) for axis in ((along,) if isinstance(along, int) else along or ())}
    seen = sorted(axis for axis in cut if sees == "batch" or axis or axis in along or len(cuts) == 1)
    if seen:
        what = "the whole batch" if sees == "batch" else "a whole example"
        raise ValueError(
            f"{function}: sees {what}, but x is sharded along axis {seen[0]} over the mesh axes {cut[seen[0]]}. Apply "
            "it outside of shard_map, where x is the whole array."
        )


def ids(function: str, value) -> jax.Array:
    """Integers as a JAX array that holds all their bits: without x64 JAX silently keeps only 32 of them."""
    value = operand(function, "ids", value, integers=True)
    if isinstance(value, jax.Array):
        return value
    value = np.asarray(value)
    if not jax.config.jax_enable_x64 and value.size:  # pyright: ignore[reportAttributeAccessIssue]
        low, high = int(value.min()), int(value.max())
        if low < -(2**31) or high >= (2**31 if low < 0 else 2**32):
            raise ValueError(
                f"{function}: ids must fit into 32 bits unless jax_enable_x64 is set, got {low} to {high}. "
                "Renumber the records, or hash their numbers to 32 bits."
            )
        value = value.astype(np.uint32 if high >= 2**31 else np.int32)
    return jnp.asarray(value)


def groups(function: str, shape: tuple[int, ...], value) -> None:
    """Requires the number of a group for each feature, where features are the last axis."""
    sized = shape and isinstance(value, (tuple, list, range)) and len(value) == shape[-1]
    if not sized or not all(isinstance(g, (int, np.integer)) and 0 <= g < 2**31 for g in value):
        raise ValueError(
            f"{function}: groups must be one nonnegative integer for each of x's features (x has shape {shape}), "
            f"the same for features that are hit together, got {value!r}."
        )


def transition(function: str, name: str, value) -> None:
    """Requires square matrices whose rows are probabilities."""
    if not isinstance(value, np.ndarray):
        value = np.asarray(value)
    if value.ndim < 2 or value.shape[-1] != value.shape[-2]:
        raise ValueError(f"{function}: {name} must be a square matrix, one row per clean class, got {value.shape}.")
    rows, columns = value.sum(-1), value.sum(-2)
    if np.any(value < 0) or not np.allclose(rows, 1, atol=1e-4):
        worst = rows.flat[np.abs(rows - 1).argmax()]
        hint = "Its columns do: transpose it. " if np.all(value >= 0) and np.allclose(columns, 1, atol=1e-4) else ""
        raise ValueError(
            f"{function}: {name} must be probabilities T[i, j] = P(noisy j | clean i), so that every row sums to 1; "
            f"the smallest entry is {value.min():g} and a row sums to {worst:g}. {hint}(cleanlab's noise_matrix holds "
            "P(noisy i | clean j), which is the transpose.)"
        )


def one_of(function: str, name: str, value, allowed: tuple) -> None:
    if not (isinstance(value, (str, int, float, type(None))) and value in allowed):
        raise ValueError(f"{function}: {name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")


def axis(function: str, name: str, value, ndim: int) -> int:
    """An axis of an array of ndim axes, as a nonnegative integer."""
    place = whole(function, name, value)
    if not -ndim <= place < ndim:
        raise ValueError(f"{function}: {name} must be an axis of x, which has {ndim} axes, got {value!r}.")
    return place % ndim


def short(function: str, shape: tuple, axes: tuple[int, ...]) -> None:
    """Requires axes along which positions can be counted in int32."""
    for axis in axes:
        if isinstance(shape[axis], int) and shape[axis] >= 2**31:
            raise ValueError(
                f"{function}: x must be shorter than 2**31 along axis {axis}, since positions are counted in 32 bits, "
                f"got shape {shape}. Reshape x, or apply the noise to parts of it."
            )


def axes(function: str, name: str, value, ndim: int) -> tuple[int, ...]:
    """Different axes of an array of ndim axes, as nonnegative integers."""
    integers = isinstance(value, tuple) and all(isinstance(axis, (int, np.integer)) for axis in value)
    if not integers or any(isinstance(axis, bool) for axis in value):
        raise TypeError(f"{function}: {name} must be a tuple of integers, got {value!r}.")
    if not all(-ndim <= axis < ndim for axis in value):
        raise ValueError(f"{function}: {name} must be axes of x, which has {ndim} axes, got {value!r}.")
    found = tuple(int(axis) % ndim for axis in value)
    if len(set(found)) != len(found):
        raise ValueError(f"{function}: {name} must be different axes, got {value!r} for x with {ndim} axes.")
    return found
