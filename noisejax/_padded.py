"""`Padded`: examples of different lengths in one array, with their lengths, so that padding follows the data."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks


@jax.tree_util.register_pytree_with_keys_class
class Padded:
    """Examples of different lengths, padded to one length. Every array noise accepts it in place of x.

    A noise leaves padding untouched, never counts it, and returns a `Padded`. A noise that deletes, inserts or drops
    entries returns new lengths, so the next noise of a chain sees them. A `Padded` is a pytree of its three arrays: it
    passes through `jax.jit`, `jax.vmap`, `jax.grad` (with ``allow_int=True``), sharding and checkpoints. It is not an
    array and has no shape of its own.

    Args:
      values: an array of shape (*batch, L, ...).
      lengths: integers of shape (*batch): the number of entries of each example that are data, counted from the start
        of the axis after the batch axes. Converted to int32. Values on the host must lie in [0, L]; others are not
        read, and count as if they did.
      lost: integers of shape (*batch): the number of entries that did not fit into L, summed over the noises that were
        applied. None for 0.

    Raises:
      TypeError: values is not an array, or lengths are not integers.
      ValueError: the shape of lengths is not that of the leading axes of values, or a length lies outside [0, L].

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = nj.Padded(jnp.ones((2, 4)), jnp.array([4, 2]))
      >>> y = nj.mask(jax.random.key(0), x, 1.0)
      >>> y.values.tolist(), y.lengths.tolist()
      ([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]], [4, 2])
      >>> y.mask.tolist()
      [[True, True, True, True], [True, True, False, False]]
    """

    values: jax.Array
    lengths: jax.Array
    lost: jax.Array

    def __init__(
        self,
        values: jax.Array | np.ndarray,
        lengths: jax.Array | np.ndarray | Sequence[int],
        lost: jax.Array | np.ndarray | None = None,
    ):
        if not (hasattr(values, "ndim") and hasattr(values, "dtype")):
            raise TypeError(f"Padded: values must be an array, got a {type(values).__name__}. Use jnp.asarray.")
        _checks.native("Padded", "values", values)
        lengths = check_lengths("Padded", values, lengths)
        self._set(values, lengths, _lost(lost, lengths))

    def _set(self, values: Any, lengths: Any, lost: Any) -> None:
        for name, value in (("values", values), ("lengths", lengths), ("lost", lost)):
            object.__setattr__(self, name, value)

    @property
    def mask(self) -> jax.Array:
        """Whether each entry is data: booleans of shape (*batch, L)."""
        axis = self.lengths.ndim
        place = jax.lax.broadcasted_iota(jnp.int32, self.values.shape[: axis + 1], axis)
        return place < jnp.asarray(self.lengths)[..., None]

    def with_values(self, values: Any) -> "Padded":
        """A `Padded` with other values and the same lengths."""
        return self.tree_unflatten(None, (values, self.lengths, self.lost))

    def tree_flatten_with_keys(self):
        names = ("values", "lengths", "lost")
        return tuple((jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in names), None

    def tree_flatten(self):
        return (self.values, self.lengths, self.lost), None

    @classmethod
    def tree_unflatten(cls, static, children):
        padded = object.__new__(cls)  # unchecked: transformations replace leaves with objects that are not arrays
        padded._set(*children)
        return padded

    def __setattr__(self, name: str, value: Any):
        raise AttributeError(f"Padded: {name} cannot be assigned. Make a new value: nj.Padded(values, lengths).")

    def __getattr__(self, name: str):
        hint = f" It holds an array and its lengths: read .values.{name}." if name in _ARRAY else ""
        raise AttributeError(f"a Padded has no attribute {name!r}.{hint}")

    def __reduce__(self):
        return _restored, (self.values, self.lengths, self.lost)

    def __repr__(self):
        return f"Padded({_show(self.values)}, lengths={_show(self.lengths)})"


_ARRAY = ("shape", "ndim", "dtype", "size", "astype", "reshape", "at", "T")


def check_lengths(function: str, values: Any, given: Any) -> Any:
    """The lengths as int32, checked against the array whose entries they count."""
    plain = isinstance(given, (list, tuple, int))
    lengths: Any = _checks.listed(function, "lengths", given) if plain else given
    _checks.native(function, "lengths", lengths)
    dtype = getattr(lengths, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
        got = f"a {type(lengths).__name__}" if dtype is None else f"{dtype}{list(lengths.shape)}"
        raise TypeError(
            f"{function}: lengths must be integers, the number of valid entries of each example, got {got}. For a "
            "boolean mask use where=mask."
        )
    axis = lengths.ndim
    if axis >= values.ndim or lengths.shape != values.shape[:axis]:
        raise ValueError(
            f"{function}: lengths must have the shape of x's leading axes, and count valid entries along the next "
            f"axis: for x of shape {values.shape}, for instance, shape {values.shape[:1]}, got {tuple(lengths.shape)}."
        )
    _checks.short(function, values.shape, (axis,))
    if isinstance(lengths, (np.ndarray, np.generic)):
        lengths = np.asarray(lengths)
        wrong = (lengths < 0) | (lengths > values.shape[axis])
        if np.any(wrong):
            raise ValueError(
                f"{function}: every length must be in [0, {values.shape[axis]}], the length of axis {axis} of x, got "
                f"{lengths[wrong].flat[0]} among them."
            )
        return np.asarray(lengths, np.int32)
    # Positions are compared with lengths in int32: an 8-bit dtype could not hold them.
    return lengths if lengths.dtype == jnp.int32 else lengths.astype(jnp.int32)


def _lost(lost: Any, lengths: Any) -> Any:
    if lost is None:
        return np.zeros(lengths.shape, np.int32) if isinstance(lengths, np.ndarray) else jnp.zeros_like(lengths)
    if getattr(lost, "shape", None) != lengths.shape or not jnp.issubdtype(lost.dtype, jnp.integer):
        raise ValueError(f"Padded: lost must be integers of lengths' shape {lengths.shape}, got {_show(lost)}.")
    return lost.astype(np.int32)


def _restored(values, lengths, lost) -> Padded:
    return Padded.tree_unflatten(None, (values, lengths, lost))


def _show(value: Any) -> str:
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    return repr(value) if dtype is None or shape is None else f"{dtype}[{','.join(map(str, shape))}]"


def is_padded(x: Any) -> bool:
    return isinstance(x, Padded)


def values_of(x: Any) -> Any:
    """The array of a `Padded`; anything else as it is."""
    return x.values if isinstance(x, Padded) else x


def first_array(x: Any) -> Any:
    """The first array of a batch. For a `Padded` these are its values."""
    return jax.tree.leaves(x)[0]


def with_lengths(function: str, x: Any, lengths: Any) -> Any:
    """x with its lengths: a `Padded`, or a batch in which some entries are."""
    if isinstance(x, Padded):
        raise TypeError(f"{function}: x is a Padded, which already has lengths: leave out lengths=...")
    if isinstance(x, dict) and isinstance(lengths, dict):
        return {name: _with(part, lengths.get(name)) for name, part in x.items()}
    if isinstance(x, (tuple, list)) and isinstance(lengths, (tuple, list)) and len(lengths) <= len(x):
        return _like_tuple(x, map(_with, x, [*lengths, *[None] * (len(x) - len(lengths))]))
    if hasattr(x, "ndim"):
        return _with(x, lengths)
    raise TypeError(
        f"{function}: lengths of a batch must be given by entry, as lengths={{'text': lengths}} for a dict or "
        f"(lengths, None) for a tuple, got a {type(lengths).__name__} for a {type(x).__name__}."
    )


def without_lengths(y: Any, lengths: Any) -> Any:
    """The arrays in place of every `Padded` that `with_lengths` made."""
    if isinstance(y, dict) and isinstance(lengths, dict):
        return {name: part if lengths.get(name) is None else values_of(part) for name, part in y.items()}
    if isinstance(y, (tuple, list)):
        counted = [n < len(lengths) and lengths[n] is not None for n in range(len(y))]
        return _like_tuple(y, (values_of(part) if c else part for part, c in zip(y, counted, strict=True)))
    return values_of(y)


def _with(values: Any, lengths: Any) -> Any:
    return values if lengths is None else Padded(values, lengths)


def _like_tuple(batch: Any, parts: Iterable[Any]) -> Any:
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)


def padding(function: str, x: jax.Array, where, lengths) -> jax.Array | None:
    """One mask of x's rank, True where x is data, from a mask and/or the numbers of valid entries per example."""
    mask = None
    if where is not None:
        where = jnp.asarray(_checks.mask(function, "where", where))
        _check_mask(function, x, where)
        mask = where.reshape((1,) * (x.ndim - where.ndim) + where.shape)
    if lengths is not None:
        lengths = jnp.asarray(check_lengths(function, x, lengths))
        axis = lengths.ndim
        shape = lengths.shape + (1,) * (x.ndim - axis)
        along = tuple(n if a == axis else 1 for a, n in enumerate(x.shape))
        valid = jax.lax.broadcasted_iota(jnp.int32, along, axis) < lengths.reshape(shape)
        mask = valid if mask is None else mask & valid
    return mask


def padding_of(function: str, x: Any, where) -> Any:
    """`padding` of an array or a `Padded`."""
    return padding(function, values_of(x), where, x.lengths if isinstance(x, Padded) else None)


def _check_mask(function: str, x: Any, where: Any) -> None:
    if where.dtype != jnp.bool_:
        raise TypeError(
            f"{function}: where must be boolean, True where x is data, got {where.dtype}{list(where.shape)}. For a "
            "mask of zeros and ones write where=mask > 0."
        )
    _checks.broadcastable(function, "where", where.shape, x.shape)
    _checks.unambiguous(function, "where", where.shape, x.shape)


def host_mask(function: str, x: np.ndarray, where, lengths) -> Any:
    """The padding as it is known on the host: a NumPy mask, or a JAX array, which must not be read."""
    if where is not None:
        _check_mask(function, x, where)
    if lengths is None or isinstance(where, jax.Array):
        return where
    axis = lengths.ndim
    place = np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    valid = np.broadcast_to(place < lengths.reshape(lengths.shape + (1,) * (x.ndim - axis)), x.shape)
    return valid if where is None else valid & where


def restored(function: str, x: Any, result: Any, where: Any) -> Any:
    """The result of a function that does not support `where`, with masked elements restored."""
    if where is None:
        return result
    before, after = values_of(x), values_of(result)
    if not hasattr(before, "ndim"):
        raise TypeError(f"{function} acts on a whole batch: pass padding to its entries, with nj.on_entries.")
    if before.shape != getattr(after, "shape", None):
        got = f"shape {after.shape}" if hasattr(after, "shape") else _checks.shown(after)
        raise ValueError(
            f"{function}: a noise must keep the shape of x, {before.shape}, under a mask (where, or nj.on_columns), "
            f"and the result is {got}. If it changes lengths, give them instead: nj.Padded(values, lengths)."
        )
    values = jnp.where(padding_of(function, before, where), after, before)
    return result.with_values(values) if isinstance(result, Padded) else values
