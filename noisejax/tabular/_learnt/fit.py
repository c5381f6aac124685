"""Learns the faults of a table from pairs of clean and dirty rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax.tabular._learnt import components, latent
from noisejax.tabular._learnt.latent import MISSING, SAME, WRONG
from noisejax.tabular._learnt.model import KINDS, ErrorModel
from noisejax.tabular._schema import Schema

DEPENDENCE = ("donors", "copula", "independent")
LARGEST = 2**24  # indices are stored as floats


def fit_errors(
    clean: jax.Array | np.ndarray,
    dirty: jax.Array | np.ndarray,
    schema: Schema,
    *,
    group: Any = None,
    dependence: str = "donors",
) -> ErrorModel:
    """Learns the faults of a table from pairs of rows, clean and dirty, for the noise `errors`. 50 to 200 are enough.

    The noise then imitates the dirty table: for test sets, reports and tuning on realistic faults. It does not promise
    a more accurate model: where a dirty row has lost its information, no noise in training brings it back, and generic
    noise may help as much (docs/results/learnt-faults.md).

    What is learnt, for each column: the probability that a cell becomes missing or wrong, given its class or whether it
    is missing; the offsets, factors, conversions and values that make a number wrong; and which class becomes which.
    Faults of one row depend on each other, which rates of single columns miss:

    - ``dependence="donors"``: a row takes all faults of the row of a random pair. The model holds the pairs' faults.
    - ``dependence="copula"``: the hits have the fitted correlations. The model holds no rows, and `strength` has its
      full range. It needs more pairs, and the wrong values of one row are independent.
    - ``dependence="independent"``: each column on its own. It is the control, and easy to tell from real faults.

    Args:
      clean, dirty: numbers and codes of shape (N, C), row by row the same records. NaN is a missing value. Use training
        rows only.
      schema: the columns' kinds and classes.
      group: the name of a column with classes, such as the source of a row. A donor is then one of the same group, or
        any one if the pairs have none of this group.
      dependence: as above.

    Returns:
      The fitted model. ``print(model)`` shows it, ``model.rates()`` and ``model.confusion(column)`` have its numbers.

    Raises:
      TypeError: a table that does not hold real numbers, or a schema that is none.
      ValueError: tables of different shapes, or which do not fit the schema; infinite values, clean codes that are no
        classes, a group without classes, or an unknown dependence.

    References:
      Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1), 1979; Nelsen, "An
      introduction to copulas", Springer, 2006.

    Example:
      >>> import numpy as np, noisejax as nj
      >>> clean = np.arange(1.0, 41.0)[:, None]
      >>> dirty = np.where(np.arange(40)[:, None] % 4 == 0, 10 * clean, clean)
      >>> print(nj.tabular.fit_errors(clean, dirty, nj.tabular.Schema({"age": "number"})))
      column  fault     rate   95 % interval   pairs
      ------  --------  -----  --------------  -----
      age     times 10  25.0%  14.2% to 40.2%  40
    """
    if not isinstance(schema, Schema):
        raise TypeError(
            f"fit_errors: schema must be a Schema, got {schema!r}. Write nj.tabular.Schema({{'age': 'number'}})."
        )
    before, after = (numbers("fit_errors", *pair, schema) for pair in (("clean", clean), ("dirty", dirty)))
    if before.shape != after.shape:
        raise ValueError(f"fit_errors: clean and dirty must have one shape, got {before.shape} and {after.shape}.")
    if before.size >= LARGEST:
        raise ValueError(
            f"fit_errors: clean must have fewer than {LARGEST} cells, got {before.size}. Give a random part of the "
            "rows: a few hundred are enough."
        )
    _checks.one_of("fit_errors", "dependence", dependence, DEPENDENCE)
    codes("fit_errors", "clean", before, schema)
    place = None if group is None else schema.place(group)
    if place is not None and not schema.columns[place].num_classes:
        raise ValueError(f"fit_errors: group must be a column with classes, and {group!r} has none in the schema.")

    state = states(before, schema)
    outcome = np.where(np.isnan(after) & ~np.isnan(before), MISSING, np.where(after != before, WRONG, SAME))
    outcome[np.isnan(after) & np.isnan(before)] = SAME
    size = state_count(schema)
    columns = range(len(schema))
    missing, wrong = map(np.stack, zip(*(latent.rates(state[:, c], outcome[:, c], size) for c in columns), strict=True))
    operations = Operations(len(schema), size)
    own = np.full(before.shape, -1.0)
    for c, column in enumerate(schema):
        hit = outcome[:, c] == WRONG
        _learn(operations, own, c, column, before[:, c], after[:, c], state[:, c], hit)
    low, high = map(
        np.stack,
        zip(*(latent.intervals(state[:, c], outcome[:, c], missing[c], wrong[c]) for c in columns), strict=True),
    )
    donors = donor_rows(low.T, high.T, own, outcome, before, schema, place if dependence == "donors" else None)
    if dependence != "donors":
        donors = {name: value[:0] if name in ("low", "high", "own") else value * 0 for name, value in donors.items()}
    seen = ~np.isnan(before)
    correlation = latent.correlation((outcome != SAME) & seen, seen)
    if dependence == "copula":
        kinds = np.concatenate([outcome == MISSING, outcome == WRONG], 1)
        factor = latent.factor(latent.correlation(kinds, np.concatenate([seen, outcome != MISSING], 1)))
    else:
        factor = np.eye(2 * len(schema))
    return ErrorModel(
        missing=missing,
        wrong=wrong,
        **operations.arrays(),
        **donors,
        factor=factor,
        correlation=correlation,
        pairs=np.stack([seen.sum(0), (~seen).sum(0)], 1).astype(float),
        tally=_tally(before, after, outcome, own, operations, schema),
        confused=_confused(before, after, outcome, schema),
        schema=schema,
        group=place if dependence == "donors" else None,
        dependence=dependence,
    )


def numbers(function: str, name: str, table: Any, schema: Schema) -> np.ndarray:
    """A table of numbers as float64, finite or NaN."""
    if isinstance(table, Tracer):
        raise TypeError(f"{function}: {name} must not be traced, since the model is fitted on the host. Fit it first.")
    given = np.asarray(_checks.operand(function, name, table))
    if not (np.issubdtype(given.dtype, np.number) or jnp.issubdtype(given.dtype, jnp.floating)) or np.iscomplexobj(
        given
    ):
        raise TypeError(
            f"{function}: {name} must hold real numbers, got {given.dtype}. For data frames use noisejax.frame.encode, "
            "and for strings nj.tabular.fit_text_errors."
        )
    if given.ndim != 2 or not given.size or given.shape[1] != len(schema):
        raise ValueError(
            f"{function}: {name} must have shape (N, {len(schema)}), with at least one row and the columns of the "
            f"schema, got {given.shape}."
        )
    values = given.astype(np.float64)
    if np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0]
        raise ValueError(
            f"{function}: the column {schema.names[column]!r} of {name} is infinite in row {row}. Replace infinities "
            "by NaN, which is a missing value."
        )
    return values


def codes(function: str, name: str, values: np.ndarray, schema: Schema) -> None:
    """Requires that every observed cell of a column with classes is the code of one of them."""
    classes = np.array([n or np.inf for n in schema.num_classes])
    coded = np.array([n > 0 for n in schema.num_classes])
    valid = (values >= 0) & (values < classes) & (values == np.floor(values))
    wrong = ~np.isnan(values) & ~valid & coded
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"{function}: the column {schema.names[column]!r} of {name} must hold the codes 0 to "
            f"{schema.num_classes[column] - 1}, got {values[row, column]:g} in row {row}. Missing codes are NaN."
        )


def state_count(schema: Schema) -> int:
    return max(schema.num_classes, default=0) + 2


def states(values: np.ndarray, schema: Schema) -> np.ndarray:
    """The state of each cell of a clean table: its class, or one of the last two, observed and missing."""
    observed = state_count(schema) - 2
    coded = np.array([n > 0 for n in schema.num_classes])
    known = np.where(np.isnan(values), 0, values)
    return np.where(np.isnan(values), observed + 1, np.where(coded, known, observed)).astype(int)


class Operations:
    """The operations of all columns and states, one after another."""

    def __init__(self, columns: int, states: int):
        self.pairs: list[np.ndarray] = []
        self.size = 0
        self.start, self.count = np.zeros((columns, states)), np.zeros((columns, states))

    def add(self, column: int, state: Any, pairs: np.ndarray) -> int:
        """Adds the operations (scale, offset) of one column and state, and returns the index of the first."""
        first = self.size
        self.start[column, state], self.count[column, state] = first, len(pairs)
        self.pairs.append(pairs)
        self.size += len(pairs)
        return first

    def arrays(self) -> dict[str, np.ndarray]:
        table = np.concatenate([np.zeros((0, 2)), *self.pairs])
        return {"start": self.start, "count": self.count, "scale": table[:, 0], "offset": table[:, 1]}


def _learn(operations: Operations, own, c: int, column, before, after, state, hit) -> None:
    """The operations of one column. Each wrong number of a donor has its own, and each class those of its pairs."""
    observed = operations.start.shape[1] - 2
    filled = hit & (state == observed + 1)
    if filled.any():
        operations.add(c, observed + 1, replaced(after[filled]))
    changed = hit & ~filled
    if not changed.any():
        return
    if not column.num_classes:
        usual = before[~np.isnan(before)]
        first = operations.add(c, observed, components.operations(before[changed], after[changed], usual))
        own[changed, c] = first + np.arange(changed.sum())
        return
    order = np.flatnonzero(changed)[np.argsort(state[changed], kind="stable")]
    every = operations.add(c, observed, replaced(after[order]))
    where = state[order]
    for code in range(column.num_classes):
        places = np.flatnonzero(where == code)
        # A class without a pair that shows its faults takes any of the column's.
        start, count = (every + places[0], len(places)) if len(places) else (every, len(order))
        operations.start[c, code], operations.count[c, code] = start, count


def replaced(values: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros(len(values)), values], 1)


def donor_rows(low, high, own, outcome, before, schema: Schema, group: int | None) -> dict[str, np.ndarray]:
    """The donor rows, by groups, and in each group those with a fault first."""
    sound = (outcome == SAME).all(1)
    everyone = np.argsort(sound, kind="stable")
    if group is None:
        orders, sizes = [], np.zeros((1, 2))
    else:
        code = np.where(np.isnan(before[:, group]), -1, before[:, group]).astype(int)
        classes = schema.num_classes[group]
        orders = [everyone[code[everyone] == k] for k in range(classes)]
        sizes = np.array([[np.sum(~sound[rows]), np.sum(sound[rows])] for rows in orders] + [[0, 0]], float)
    sizes[-1] = np.sum(~sound), np.sum(sound)
    ends = np.cumsum([0, *sizes.sum(1)])[:-1]
    order = np.concatenate([*orders, everyone]).astype(float)
    return {
        "low": low, "high": high, "own": own, "order": order, "first": ends, "faulty": sizes[:, 0], "sound": sizes[:, 1]
    }  # fmt: skip


def _tally(before, after, outcome, own, operations: Operations, schema: Schema) -> np.ndarray:
    """How many pairs of each column show each kind of fault: rows of column, kind, value and number."""
    table = operations.arrays()
    rows: list[tuple] = []
    for c, column in enumerate(schema):
        gone, wrong = outcome[:, c] == MISSING, outcome[:, c] == WRONG
        filled = wrong & np.isnan(before[:, c])
        if gone.any():
            rows.append((c, KINDS.index("missing"), np.nan, gone.sum()))
        if filled.any():
            values = np.unique(after[filled, c])
            rows.append((c, KINDS.index("filled"), values[0] if len(values) == 1 else np.nan, filled.sum()))
        changed = wrong & ~filled
        if not changed.any():
            continue
        if column.num_classes:
            rows.append((c, KINDS.index("class"), np.nan, changed.sum()))
            continue
        which = own[changed, c].astype(int)
        pairs, counts = np.unique(
            np.stack([table["scale"][which], table["offset"][which]], 1), axis=0, return_counts=True
        )
        rows += _repeated(c, pairs, counts)
    return np.array(rows, float).reshape(-1, 4)


def _repeated(c: int, pairs: np.ndarray, counts: np.ndarray) -> list[tuple]:
    """Operations with a value if they occur in at least 5 % of the wrong cells, and otherwise their kind."""
    kinds = np.select(
        [pairs[:, 0] == 0, (pairs[:, 0] == 1), pairs[:, 1] == 0],
        [KINDS.index("replace"), KINDS.index("add"), KINDS.index("scale")],
        KINDS.index("convert"),
    )
    values = np.where(np.isin(kinds, (KINDS.index("replace"), KINDS.index("add"))), pairs[:, 1], pairs[:, 0])
    often = (counts > 3) & (counts >= 0.05 * counts.sum())
    rows = [(c, k, v, n) for k, v, n in zip(kinds[often], values[often], counts[often], strict=True)]
    for kind in np.unique(kinds[~often]):
        rows.append((c, kind, np.nan, counts[~often & (kinds == kind)].sum()))
    return rows


def _confused(before, after, outcome, schema: Schema) -> np.ndarray:
    rows = []
    for c, column in enumerate(schema):
        changed = (outcome[:, c] == WRONG) & ~np.isnan(before[:, c])
        if column.num_classes and changed.any():
            pairs, counts = np.unique(np.stack([before[changed, c], after[changed, c]], 1), axis=0, return_counts=True)
            rows += [(c, a, b, n) for (a, b), n in zip(pairs, counts, strict=True)]
    return np.array(rows, float).reshape(-1, 4)
