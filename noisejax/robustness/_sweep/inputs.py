"""What a sweep is given: examples, labels, groups and a predictor, checked and described."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax.robustness._sweep import programs
from noisejax.robustness._sweep.on_host import as_array, part

_BYTES = 2**26  # of x that is noised and predicted at a time
_MOST_CLASSES = 100  # for scores of each class


def entered(data: Any) -> tuple[Any, Any, Any]:
    """x, y and the names of the classes, if y has names."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"sweep: data must be (x, y), got a {type(data).__name__}.")
    x, y = data
    if isinstance(x, (str, bytes)) or not (is_arrays(x) or hasattr(x, "__len__")):
        raise TypeError(
            f"sweep: data must be (x, y) with one entry of x for each example, got {_checks.shown(x)} as x."
        )
    names = None
    if hasattr(y, "to_numpy") and not isinstance(y, jax.Array):  # a column of a data frame
        y = y.to_numpy()
    if isinstance(y, list):
        y = np.asarray(y)
    if isinstance(y, np.ndarray) and y.dtype.kind in "OSU":
        names, y = np.unique(y.astype(str), return_inverse=True)
        names = names.tolist()
    if is_arrays(x):
        x = jax.tree.map(lambda v: v if isinstance(v, jax.Array) else np.asarray(v), x)
    if not is_arrays(y):
        raise TypeError(f"sweep: y in data must be an array of labels or targets, got {_checks.shown(y)}.")
    y = jax.tree.map(lambda v: v if isinstance(v, jax.Array) else np.asarray(v), y)
    sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(y)}
    sizes |= {leaf.shape[:1] for leaf in jax.tree.leaves(x)} if is_arrays(x) else {(len(x),)}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise ValueError(
            "sweep: data must be (x, y) with one leading axis of at least one example, got lengths "
            f"{sorted(map(str, sizes))}."
        )
    return x, y, names


def is_arrays(tree: Any) -> bool:
    """Whether all leaves are arrays of numbers."""
    leaves = jax.tree.leaves(tree)
    arrays = (jax.Array, np.ndarray, np.generic)
    return bool(leaves) and all(isinstance(v, arrays) and np.dtype(v.dtype).kind not in "OSUmM" for v in leaves)


def runs_on_host(predict: Callable, x: Any, names: Any) -> bool:
    """Asks predict once: what takes a traced x runs in JAX, what takes two rows of NumPy runs on the host."""
    if not is_arrays(x) or names is not None:
        return True
    try:
        jax.eval_shape(lambda x: programs.called(predict, x), jax.tree.map(lambda v: v[:2], x))
    except programs.TrainMode:
        raise
    except Exception as error:
        try:
            predict(jax.tree.map(np.asarray, part(x, 0, 2)))
        except Exception:
            raise error from None
        return True
    return False


def batch_of(x: Any, n: int) -> int:
    """How many examples fit into the memory that a sweep uses at a time."""
    if not is_arrays(x):
        return n
    size = sum(np.size(leaf) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(x)) / n
    return int(np.clip(_BYTES / max(size, 1), 1, 2**14))


def are_probabilities(predict: Callable, x: Any, y: Any, host: bool) -> bool:
    """Whether outputs of the first examples are rows of probabilities; otherwise they are logits."""
    first = jax.tree.map(lambda v: v[:256], x) if is_arrays(x) else part(x, 0, 256)
    given = jax.tree.map(np.asarray, first) if host and is_arrays(x) else first
    found = as_array(programs.called(predict, given)).astype(np.float64)
    inside = np.all((found >= -1e-6) & (found <= 1 + 1e-6))
    return bool(found.ndim < 2 or (inside and np.allclose(found.sum(-1), 1, atol=1e-2)))


def parts_of(y: Any, groups: Any, names: Any, n: int, classified: bool) -> dict[str, Any]:
    """By 'class' and by the name of each grouping: the names of the parts, and the code of each example."""
    found: dict[str, Any] = {}
    labels = np.asarray(y) if is_arrays(y) and len(jax.tree.leaves(y)) == 1 else None
    if classified and labels is not None and labels.ndim == 1 and labels.dtype.kind in "biu":
        values, codes = np.unique(labels, return_inverse=True)
        if len(values) <= _MOST_CLASSES:
            found["class"] = ([names[v] if names else str(v) for v in values.tolist()], codes)
    if groups is None:
        return found
    for name, values in (groups if isinstance(groups, Mapping) else {"group": groups}).items():
        values = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if values.shape != (n,):
            raise ValueError(
                f"sweep: groups must have one entry for each of {n} examples, got shape {values.shape} for {name!r}."
            )
        if values.dtype.kind == "O":
            values = values.astype(str)
        kinds, codes = np.unique(values, return_inverse=True)
        if len(kinds) > 1000:
            raise ValueError(
                f"sweep: groups must be at most 1000, got {len(kinds)} for {name!r}. Put numbers into ranges first: "
                "np.digitize(values, edges)."
            )
        found[str(name)] = ([str(kind) for kind in kinds.tolist()], codes)
    return found


def refuse(faults: int, y: Any) -> None:
    """Raises for a fault without noise."""
    if faults == programs.IMPOSSIBLE:
        known = np.asarray(y)
        got = f"from {known.min()} to {known.max()} in data" if known.ndim == 1 else "rows with NaN"
        raise ValueError(
            f"sweep: labels must be classes of predict, numbered from 0, got others without noise (labels {got}). They "
            "would count as errors. Leave out examples without a label: keep = y >= 0 and data=(x[keep], y[keep])."
        )
    if faults == programs.NOT_FINITE:
        raise FloatingPointError(
            "sweep: predict or the metric returned values that are not finite without noise. Such a model would be "
            "scored as if it always chose one class. To score such outputs anyway, replace them in predict: "
            "jnp.nan_to_num(model(x))."
        )


def problem(faults: int) -> str:
    """The mark of a level under noise."""
    return {
        0: "",
        programs.NOT_FINITE: "predict or the metric returned values that are not finite",
        programs.IMPOSSIBLE: "the noise made labels that are not classes of the model; fix its num_classes",
    }[faults]


def listed(rows: Any) -> Any:
    """A few rows as JSON: numbers rounded to float32, strings, and names of columns."""
    if hasattr(rows, "columns") or hasattr(rows, "column_names"):
        names = [str(name) for name in (rows.columns if hasattr(rows, "columns") else rows.column_names)]
        columns = [_plain(np.asarray(rows[name])) for name in (rows.columns if hasattr(rows, "columns") else names)]
        return {"columns": names, "rows": [list(row) for row in zip(*columns, strict=True)]}
    leaves = jax.tree.leaves(rows)
    if len(leaves) != 1 and hasattr(rows, "values") and hasattr(rows, "lengths"):  # a Padded
        leaves = [rows.values]
    if isinstance(rows, list):
        return {"rows": [str(row)[:300] for row in rows]}
    if not leaves or not hasattr(leaves[0], "shape") or np.size(leaves[0]) > 3 * 256 * 256 * 3:
        return None
    return {"rows": _plain(np.asarray(leaves[0]))}


def _plain(values: np.ndarray) -> Any:
    if values.dtype.kind not in "biuf":
        return [str(v)[:100] for v in values.reshape(-1).tolist()]
    if values.dtype.kind == "f":
        values = np.array([float(f"{v:.6g}") for v in values.reshape(-1).astype(float)]).reshape(values.shape)
        return jax.tree.map(lambda v: v if np.isfinite(v) else str(v), values.tolist())
    return values.tolist()


def key_words(key: jax.Array) -> Any:
    return np.asarray(jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key)
