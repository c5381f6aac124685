"""Wrong categories: uniform, by frequency, or to a class whose name looks alike."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax._sharding import automatic
from noisejax.tabular._columns import Columns, place_of
from noisejax.tabular._hit import cells, options
from noisejax.tabular._probability import Mechanism


def _category_options(x, num_classes, **shared) -> None:
    options("category")(x, **shared)
    each = num_classes if isinstance(num_classes, tuple) else (num_classes,)
    if not all(isinstance(k, (int, np.integer)) and not isinstance(k, bool) and k >= 0 for k in each):
        raise ValueError(f"category: num_classes must be an integer, or one for each column, got {num_classes!r}.")
    if isinstance(num_classes, tuple) and (x.ndim == 0 or len(num_classes) != x.shape[-1]):
        raise ValueError(
            f"category: num_classes must be one integer for each column of x, of shape {x.shape}, got {num_classes!r}. "
            "0 marks a column that holds no classes."
        )
    if not isinstance(num_classes, tuple) and num_classes < 2:
        raise ValueError(f"category: num_classes must be at least 2, got {num_classes!r}.")
    if jnp.issubdtype(x.dtype, jnp.integer) and max(each) - 1 > jnp.iinfo(x.dtype).max:
        raise ValueError(
            f"category: x of {x.dtype} cannot hold the {max(each)} classes of num_classes. Cast it to a wider integer."
        )
    if jnp.issubdtype(x.dtype, jnp.floating) and max(each) > 2 / float(jnp.finfo(x.dtype).eps):
        raise ValueError(
            f"category: x of {x.dtype} cannot hold the {max(each)} codes of num_classes exactly. Cast it to a wider "
            "float, or group classes."
        )


def _transition(function: str, name: str, value: Any) -> None:
    value = np.asarray(value)
    if value.ndim != 2 or value.shape[1] not in (value.shape[0], value.shape[0] + 1):
        raise ValueError(
            f"{function}: {name} must have shape (K, K), or (K, K + 1) with the code K for an unknown class, got "
            f"{value.shape}."
        )
    if np.any(~(value >= 0)) or not np.all(value.sum(-1) < np.inf):
        raise ValueError(f"{function}: {name} must hold weights of at least 0, got {value[~(value >= 0)].flat[:1]}.")


@array_noise(
    ("floats", "uint8 or uint16 images", "integers"),
    options=_category_options,
    tables=("transition",),
    ranges={"rate": _checks.rate, "transition": _transition},
    widen=False,
)
def category(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    transition: jax.Array | np.ndarray | None = None,
    mechanism: Mechanism | None = None,
    *,
    num_classes: int | tuple[int, ...],
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Wrong categories: the code of a class becomes that of a different class.

    Without a transition, the new class is uniform among the others. `by_frequency` and `neighbours` make transitions.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns) of codes 0, ..., K - 1, integers or floats, or an array of any shape without a
        mechanism. Values that are no codes, NaN among them, are unchanged and no hits.
      rate: the probability that a code is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity.
      transition: weights ``T[i, j]`` of the new class j for a code i, of shape (K, K), or (K, K + 1) with the code K
        for "unknown". Its diagonal is ignored: a hit always changes the class. A class whose row is zero is never hit.
      mechanism: where hits fall, as in `missing`.
      num_classes: the number of classes K, or one for each column, 0 for columns without classes. Static.
      exact, together: as in `missing`.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit.

    References:
      Jung et al., "tab-err" (CategorySwap), with the random classes of ``labels.flip``.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> codes = jnp.array([[0, 5.0], [1, 7.0]])
      >>> nj.tabular.category(jax.random.key(0), codes, 1.0, num_classes=(2, 0)).tolist()
      [[1.0, 5.0], [0.0, 7.0]]
    """
    each = np.asarray(num_classes, np.int32)
    each = each.reshape((1,) * (x.ndim - 1) + each.shape) if each.ndim else each
    floats = jnp.issubdtype(x.dtype, jnp.floating)
    valid = (x >= 0) & (x <= jnp.asarray(each - 1).astype(x.dtype)) & ((x == jnp.floor(x)) if floats else True)
    valid = valid & (each >= 2)
    code = jnp.where(valid, x, 0).astype(jnp.int32)
    w = words_like(key, "tabular.category.class", x)
    if transition is None:
        low = words_like(key, "tabular.category.class.low", x)
        new = (code + 1 + sample.integers(w, low, jnp.asarray(np.maximum(each - 1, 1)))) % np.maximum(each, 1)
    else:
        if isinstance(num_classes, tuple) or transition.ndim != 2 or transition.shape[0] != num_classes:
            raise ValueError(
                f"category: transition must have one row for each of {num_classes} classes, and num_classes must be "
                f"one integer, got shape {transition.shape}. Select columns that share it with nj.on_columns."
            )
        weights = jnp.where(np.eye(*transition.shape, dtype=bool), 0, transition)
        ends = jnp.cumsum(weights, axis=-1)
        total = ends[:, -1]
        ends = (ends / jnp.where(total > 0, total, 1)[:, None])[:, :-1]

        def drawn(code, u, ends):
            return jnp.sum(u[..., None] >= ends[code], axis=-1, dtype=jnp.int32)

        new = automatic(drawn, code, sample.uniform(w), ends)
        valid = valid & (total > 0)[code]
    return cells(key, "category", x, rate, jnp.where(valid, new.astype(x.dtype), x), mechanism, exact, together, where)


def by_frequency(columns: Columns, column: int | str) -> jax.Array:
    """A transition for `category`: the new class is drawn by its frequency among the other classes, f_j / (1 - f_i).

    Args:
      columns: the fitted distribution of a table, from `fit` with a schema.
      column: the index, or the name in the schema, of a column with K classes.

    Returns:
      Weights of shape (K, K) with a diagonal of 0.

    Raises:
      ValueError: the column has no classes.
      IndexError, KeyError: there is no such column.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> schema = nj.tabular.Schema({"job": ("clerk", "nurse", "cook")})
      >>> columns = nj.tabular.fit(jnp.array([[0.0], [0.0], [1.0], [2.0]]), schema)
      >>> nj.tabular.by_frequency(columns, 0)[0].tolist()
      [0.0, 0.5, 0.5]
    """
    if not isinstance(columns, Columns):
        raise TypeError(f"by_frequency: columns must be fitted, nj.tabular.fit(table, schema), got {columns!r}.")
    column = place_of("by_frequency", "column", columns, column)
    classes = columns.schema.columns[column].num_classes
    if not classes:
        raise ValueError(
            f"by_frequency: the column {columns.schema.names[column]!r} has no classes. Give fit a schema in which its "
            "kind is 'category'."
        )
    share = jnp.asarray(np.asarray(columns.frequencies)[column, :classes], jnp.float32)[None]
    weights = jnp.where(np.eye(classes, dtype=bool), 0, share)
    total = weights.sum(-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)


def neighbours(
    classes: Sequence[str],
    temperature: float = 1.0,
    *,
    unknown: float = 0.0,
    distance: Callable[[str, str], float] | None = None,
) -> jax.Array:
    """A transition for `category`: a class becomes one whose name is similar, with weight exp(-distance / temperature).

    Args:
      classes: the K names, in the order of their codes: ``schema["job"].classes``.
      temperature: the number of edits over which the weight falls by a factor of e, above 0.
      unknown: the probability of the code K, which stands for a misspelling that is no class, in [0, 1].
      distance: a distance of two strings; None for the number of insertions, deletions, substitutions and
        transpositions of neighbours.

    Returns:
      Probabilities of shape (K, K), or (K, K + 1) if `unknown` is above 0, with a diagonal of 0.

    Raises:
      ValueError: fewer than two classes, or an argument outside its range.
      ImportError: rapidfuzz is missing and no distance is given.

    References:
      Damerau, "A technique for computer detection and correction of spelling errors", CACM 7(3), 1964.

    Example:
      >>> import noisejax as nj
      >>> nj.tabular.neighbours(["cat", "cut", "cup"]).argmax(1).tolist()
      [1, 0, 1]
    """
    if isinstance(classes, (str, jax.Array)) or not isinstance(classes, Iterable):
        raise TypeError(f"neighbours: classes must be a sequence of names, got {_checks.shown(classes)}.")
    names = [str(name) for name in classes]
    if len(names) < 2:
        raise ValueError(f"neighbours: classes must be at least two names, got {classes!r}.")
    temperature = _checks.scalar("neighbours", "temperature", temperature, 0)
    unknown = _checks.scalar("neighbours", "unknown", unknown, 0, 1)
    if temperature == 0:
        raise ValueError(f"neighbours: temperature must be above 0 and finite, got {temperature!r}.")
    apart = _distances(names) if distance is None else np.array([[distance(a, b) for b in names] for a in names], float)
    np.fill_diagonal(apart, np.inf)
    weights = np.exp(-(apart - apart.min(1, keepdims=True)) / temperature)
    weights = (1 - unknown) * weights / weights.sum(1, keepdims=True)
    if unknown:
        weights = np.append(weights, np.full((len(names), 1), unknown), axis=1)
    return jnp.asarray(weights, jnp.float32)


def _distances(names: list[str]) -> np.ndarray:
    try:
        from rapidfuzz import distance, process
    except ImportError:
        raise ImportError(
            "neighbours: edit distances need rapidfuzz. Install it, pip install 'noisejax[frame]', or pass distance=..."
        ) from None
    return process.cdist(names, names, scorer=distance.OSA.distance).astype(np.float64)
