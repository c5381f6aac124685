"""What a deployed table has that the training table has not, without pairs and without labels."""

from typing import Any, NamedTuple

import jax
import numpy as np

from noisejax.tabular._cells import UNITS
from noisejax.tabular._learnt import inference
from noisejax.tabular._learnt.fit import (
    LARGEST,
    Operations,
    codes,
    donor_rows,
    numbers,
    replaced,
    state_count,
)
from noisejax.tabular._learnt.latent import MISSING, SAME, correlation as hit_correlation
from noisejax.tabular._learnt.model import ErrorModel, aligned
from noisejax.tabular._schema import Column, Schema

_KINDS = ("missing", "unit", "scale", "drift", "outliers", "classes", "unseen")
_FEWEST = 20  # observed values on either side below which numbers are not compared
_SHARES = 400  # operations of a column whose wrong values are of two kinds: shares are rounded to one in 400


class Finding(NamedTuple):
    """One difference of a column between a training table and a deployed one.

    Args:
      column: the name of the column.
      kind: `'missing'`, the share of missing values; `'drift'`, the mean without outliers; `'scale'`, the standard
        deviation without outliers; `'unit'`, all quantiles by a known conversion or a power of ten; `'outliers'`,
        the share of values far outside the quartiles; `'classes'`, the share of one class; `'unseen'`, the share of
        one that the training table does not have.
      value: the class; None for others.
      before, after: the figure in the training table and in the deployed one.
      change: the difference; for `'scale'` and `'unit'` the factor.
      low, high: the 95 % interval of the change.
      p: the p-value, not corrected for the number of tests.
    """

    column: Any
    kind: str
    value: Any
    before: float
    after: float
    change: float
    low: float
    high: float
    p: float


class Shift(ErrorModel):
    """The differences between a training table and a deployed one, made by `fit_shift`, for the noise `errors`.

    Args:
      found: the differences: column, kind, class, before, after, change, low, high and p, (F, 9).
    """

    found: Any = None

    def findings(self) -> list[Finding]:
        """The differences, in the order of the columns."""
        result = []
        for row in np.asarray(self.found, np.float64):
            column = self.schema.columns[int(row[0])]
            code = None if np.isnan(row[2]) else int(row[2])
            value = None if code is None else column.classes[code] if code < column.num_classes else "no class"
            result.append(Finding(column.name, _KINDS[int(row[1])], value, *map(float, row[3:])))
        return result

    def report(self) -> str:
        """A table of the differences, in plain text."""
        findings = self.findings()
        if not findings:
            return "no differences found"
        lines = [("column", "difference", "training", "deployed", "change", "95 % interval")]
        for f in findings:
            share = f.kind in ("missing", "outliers", "classes", "unseen")
            figure = (lambda v: f"{v:.1%}") if share else (lambda v: f"{v:.4g}")
            size = (lambda v: f"x {v:.3g}") if f.kind in ("scale", "unit") else (lambda v, figure=figure: figure(v))
            what = _TEXTS[f.kind].format(value=f.value)
            shown = (figure(f.before), figure(f.after), size(f.change), f"{size(f.low)} to {size(f.high)}")
            lines.append((str(f.column), what, *shown))
        return aligned(lines)

    def __str__(self):
        return self.report()


_TEXTS = {
    "missing": "missing values",
    "unit": "a different unit",
    "scale": "spread without outliers",
    "drift": "mean without outliers",
    "outliers": "outliers",
    "classes": "class {value}",
    "unseen": "unseen class {value}",
}


def fit_shift(
    train: jax.Array | np.ndarray, deployed: jax.Array | np.ndarray, schema: Schema, *, level: float = 0.05
) -> Shift:
    """Finds what a deployed table has that the training table has not, without pairs of rows and without labels.

    For each column: the share of missing values, the shares of classes and classes that training has not seen, a
    different unit, a different spread, a drift of the mean, and outliers. All tests together raise a false alarm with a
    probability of at most `level`. The result is a report, and a model for the noise `errors`, which makes training
    rows look like deployed ones. If a difference of missing values is found in any column, they fall together as in the
    deployed rows, in all columns. The other differences are those of single columns, and only those that are found.

    Args:
      train, deployed: numbers and codes of shape (N, C) and (M, C). NaN is a missing value. A deployed code that is no
        class, such as K for "unknown", is an unseen class. A column may be wholly missing. Numbers are compared if both
        tables have at least 20 values.
      schema: the columns' kinds and classes.
      level: the probability of a false alarm in any column, in (0, 1).

    Returns:
      A `Shift`. ``print(shift)`` shows its table, ``shift.findings()`` has its numbers.

    Raises:
      TypeError: a table that does not hold real numbers, or a schema that is none.
      ValueError: a table that does not fit the schema, infinite values, or a level out of range.

    References:
      Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2), 1979;
      Fisher, "Statistical methods for research workers", 1925 (shares); Welch, Biometrika 34, 1947 (means).

    Example:
      >>> import numpy as np, noisejax as nj
      >>> train = np.linspace(1.0, 2.0, 200)[:, None]
      >>> print(nj.tabular.fit_shift(train, 10 * train, nj.tabular.Schema({"length": "number"})))
      column  difference        training  deployed  change  95 % interval
      ------  ----------------  --------  --------  ------  ----------------
      length  a different unit  1.5       15        x 10    x 9.01 to x 11.1
    """
    if not isinstance(schema, Schema):
        raise TypeError(
            f"fit_shift: schema must be a Schema, got {schema!r}. Write nj.tabular.Schema({{'age': 'number'}})."
        )
    before, after = (numbers("fit_shift", *pair, schema) for pair in (("train", train), ("deployed", deployed)))
    codes("fit_shift", "train", before, schema)
    if not 0 < level < 1:
        raise ValueError(f"fit_shift: level must be a probability between 0 and 1, got {level!r}.")
    if after.size >= LARGEST:
        raise ValueError(
            f"fit_shift: deployed must have fewer than {LARGEST} cells, got {after.size}. Give a random part of it."
        )
    tests: list[tuple] = []
    for c, column in enumerate(schema):
        tests += _compared(c, column, before[:, c], after[:, c])
    p = np.array([min(test[-1] * test[1], 1) for test in tests])  # a test of K classes counts K times
    found = [test for test, reject in zip(tests, inference.holm(p, level), strict=True) if reject]
    return _model(before, after, schema, [(c, *rest) for c, _, *rest in found])


def _compared(c: int, column: Column, before: np.ndarray, after: np.ndarray) -> list[tuple]:
    """Tests of one column: its index, their number if they are alike, kind, class and the figures."""
    lost = inference.shares(np.isnan(before).sum(), len(before), np.isnan(after).sum(), len(after))
    found: list[tuple] = [(c, 1, _KINDS.index("missing"), np.nan, *lost)]
    before, after = before[~np.isnan(before)], after[~np.isnan(after)]
    if column.num_classes:
        known = np.arange(column.num_classes)
        unknown = after[~np.isin(after, known)]
        for code in [*known, *([column.num_classes] if len(unknown) else [])]:
            one = int(np.sum(before == code))
            two = int(np.sum(after == code)) if code < column.num_classes else len(unknown)
            kind = _KINDS.index("classes" if one else "unseen")
            found.append((c, len(known) + 1, kind, code, *inference.shares(one, len(before), two, len(after))))
    elif min(len(before), len(after)) >= _FEWEST:
        found += [(c, 1, *test) for test in _numbers(before, after)]
    return found


def _numbers(before: np.ndarray, after: np.ndarray) -> list[tuple]:
    if np.ptp(before) == 0 and np.ptp(after) == 0 and before[0] == after[0]:
        return []
    # The fences are those of all values, alike for both samples. So without a difference the tests are exact, also
    # where many values are equal and quartiles jump.
    fences = _fences(np.concatenate([before, after]))
    first, second = _inside(before, fences), _inside(after, fences)
    if min(len(first), len(second)) < _FEWEST:
        return []
    drift = inference.means(first, second)
    scale = inference.spreads(first, second)
    moved = min(drift.p, scale.p) < 1e-4
    each = [_fences(values) if moved else fences for values in (before, after)]
    out = [len(values) - len(_inside(values, own)) for values, own in zip((before, after), each, strict=True)]
    outliers = inference.shares(out[0], len(before), out[1], len(after))
    unit = _unit(before, after) if min(drift.p, scale.p) < 1e-4 else None
    moves = [(_KINDS.index("drift"), np.nan, *drift), (_KINDS.index("scale"), np.nan, *scale)]
    if unit is not None:
        moves = [(_KINDS.index("unit"), np.nan, drift.before, drift.after, *unit, min(drift.p, scale.p))]
    return [*moves, (_KINDS.index("outliers"), np.nan, *outliers)]


def _inside(values: np.ndarray, fences: tuple[float, float]) -> np.ndarray:
    """The values within the fences of the box plot, so that outliers do not count as drift."""
    return values[(values >= fences[0]) & (values <= fences[1])]


def _fences(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, (0.25, 0.75))
    if low == high:  # more than half the values are equal: their spread says nothing of the others
        low, high = np.quantile(values, (0.01, 0.99))
        return float(low), float(high)
    return float(low - 3 * (high - low)), float(high + 3 * (high - low))


def _unit(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float] | None:
    """The factor of a conversion that explains the quantiles of the deployed column, and a 95 % interval of the factor.

    None if no conversion explains them, or if they have not changed.
    """
    levels = np.linspace(0.1, 0.9, 9)
    a, b = np.quantile(before, levels), np.quantile(after, levels)
    # The standard error of a quantile, with the density of the deployed values around it.
    around = np.quantile(after, levels + 0.05) - np.quantile(after, levels - 0.05)
    error = np.sqrt(levels * (1 - levels) * (1 / len(before) + 1 / len(after))) * around / 0.1
    limit = 4 * error + 1e-9 * np.abs(b)
    known = [(10.0**k, 0.0) for k in range(-6, 7) if k] + list(UNITS.values())
    fits = [(float(np.abs(s * a + o - b).max()), s) for s, o in known if np.all(np.abs(s * a + o - b) <= limit)]
    if not fits or np.all(np.abs(a - b) <= limit) or a[-1] == a[0]:
        return None
    middle, half = np.log((b[-1] - b[0]) / (a[-1] - a[0])), 1.96 * np.hypot(error[0], error[-1]) / (b[-1] - b[0])
    return min(fits)[1], float(np.exp(middle - half)), float(np.exp(middle + half))


def _model(before, after, schema: Schema, found: list[tuple]) -> Shift:
    size, columns = state_count(schema), range(len(schema))
    missing, wrong = np.zeros((len(schema), size)), np.zeros((len(schema), size))
    operations = Operations(len(schema), size)
    patterns = any(row[1] == _KINDS.index("missing") for row in found)
    for c, column in enumerate(schema):
        own = {(_KINDS[int(row[1])], row[2]): row for row in found if row[0] == c}
        kinds = {kind for kind, _ in own}
        # The patterns of missing cells are one fault of the whole row. So where one column differs, all are imitated.
        had, has = np.isnan(before[:, c]).mean(), np.isnan(after[:, c]).mean()
        if patterns and has > had:
            missing[c, :-1] = (has - had) / (1 - had)
        old, new = (v[~np.isnan(v)] for v in (before[:, c], after[:, c]))
        if kinds & {"classes", "unseen"}:
            _classes(operations, wrong, c, column, old, new)
        elif kinds & {"drift", "scale", "unit", "outliers"}:
            _moved(operations, wrong, c, old, new, kinds, own)
        wrong[c] *= 1 - missing[c]
    outcome = np.where(np.isnan(after), MISSING, SAME)
    gone = (outcome == MISSING).mean(0)
    # A deployed row says which cells are missing together, and nothing of how the others were before.
    low = np.where(outcome == MISSING, 0, gone)
    high = np.where(outcome == MISSING, gone, 1)
    every = np.full(after.shape, MISSING)
    donors = donor_rows(low, high, np.full(after.shape, -1.0), every, after, schema, None)
    return Shift(
        missing=missing,
        wrong=wrong,
        **operations.arrays(),
        **donors,
        factor=np.eye(2 * len(schema)),
        correlation=hit_correlation(outcome == MISSING, np.ones(after.shape, bool)),
        pairs=np.stack([(~np.isnan(after)).sum(0), np.isnan(after).sum(0)], 1).astype(float),
        tally=np.zeros((0, 4)),
        confused=np.zeros((0, 4)),
        schema=schema,
        group=None,
        dependence="donors",
        found=np.array([row for c in columns for row in found if row[0] == c], float).reshape(-1, 9),
    )


def _classes(operations: Operations, wrong, c: int, column: Column, old, new) -> None:
    """Classes that are rarer in the deployed table become those that are more frequent, and no more than needed."""
    count = column.num_classes
    code = np.where(np.isin(new, np.arange(count)), new, count).astype(int)
    shares = [np.bincount(v.astype(int), minlength=count + 1) / max(len(v), 1) for v in (old, code)]
    less, more = np.maximum(shares[0] - shares[1], 0), np.maximum(shares[1] - shares[0], 0)
    if more.sum() == 0:
        return
    copies = np.round(_SHARES * more / more.sum()).astype(int)
    operations.add(c, slice(0, -1), replaced(np.repeat(np.arange(count + 1.0), copies)))
    wrong[c, :count] = (less / np.maximum(shares[0], 1e-300))[:count]


def _moved(operations: Operations, wrong, c: int, old, new, kinds: set[str], own: dict) -> None:
    """Numbers are scaled and moved, and some become outliers of the deployed table."""
    first, second = (_inside(values, _fences(values)) for values in (old, new))
    scale = 1.0
    for (kind, _), row in own.items():
        if kind in ("scale", "unit") and np.isfinite(row[5]):
            scale = row[5]
    moves = bool(kinds & {"drift", "scale", "unit"})
    offset = second.mean() - scale * first.mean()
    offset = 0.0 if abs(offset) < 1e-9 * abs(second.mean()) else offset
    share = next((max(row[4] - row[3], 0) / (1 - row[3]) for (kind, _), row in own.items() if kind == "outliers"), 0.0)
    low, high = _fences(new)
    outside = new[(new < low) | (new > high)]
    rare = replaced(np.resize(outside, max(round(_SHARES * share), 1))) if share and len(outside) else np.zeros((0, 2))
    if moves:
        usual = np.tile([[scale, offset]], (_SHARES - min(len(rare), _SHARES - 1), 1))
        operations.add(c, slice(0, -1), np.concatenate([usual, rare]))
        wrong[c, :-1] = 1
    elif len(rare):
        operations.add(c, slice(0, -1), rare)
        wrong[c, :-1] = share
