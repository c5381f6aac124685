"""What is learnt from pairs of clean and dirty rows: a fitted value, and the report that a person reads."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from noisejax._calls.fitted import Fitted
from noisejax.tabular._schema import Schema


class Rate(NamedTuple):
    """The rate of one kind of fault in one column, with a 95 % interval.

    Args:
      column: the name of the column.
      kind: `'missing'`, `'add'`, `'scale'`, `'convert'` (both), `'replace'`, `'class'`, or `'filled'`, for a missing
        cell that has a value in the dirty table.
      value: the offset, the factor or the value, if it is the same in several pairs; None otherwise.
      rate: the share of the observed cells that have the fault. For `'filled'`, it is that of the missing cells.
      low, high: the interval.
      error: the standard error of the rate.
    """

    column: Any
    kind: str
    value: Any
    rate: float
    low: float
    high: float
    error: float


class ErrorModel(Fitted):
    """A model of the faults of a table, made by `fit_errors` and `fit_shift`, for the noise `errors`.

    Each cell has a state: its class, observed, or missing. The model has the probability of every fault in each state,
    and how the hits of one row depend on each other: by donor rows, or by a Gaussian copula. The arrays of indices are
    floats, so that the model can be differentiated. `str` makes a table for a person.

    Args:
      missing, wrong: the probabilities that a cell becomes missing or wrong, for each column and state, (C, S). The
        last two states are "observed, without a class" and "missing".
      start, count: the operations that make a cell wrong, for each column and state: a part of `scale` and `offset`,
        (C, S).
      scale, offset: operations. A wrong value is ``scale * x + offset``, and `offset` where the scale is 0, (E,).
      low, high: the interval of the latent value of each cell of a donor row, (N, C).
      own: the operation of each wrong number of a donor row, or -1, (N, C).
      order: the donor rows of each group, those with a fault first; then all donor rows, (2 N,).
      first, faulty, sound: where the donors of each group start in `order`, how many of them have a fault, and how many
        have none, (G + 1,). The last group is that of all donor rows.
      factor: a factor of the correlation of the copula: of the missing cells, then of the wrong ones, (2 C, 2 C).
      correlation: the correlation of the hits of each two columns on the scale of the normal distribution, (C, C).
      pairs: the number of observed and of missing clean cells, (C, 2).
      tally: the number of pairs with each fault, for `rates`: column, kind, value and number, (F, 4).
      confused: the number of pairs with each change of a class, for `confusion`: column, clean code, dirty code and
        number, (F, 4).
      schema: the schema of the columns. Static.
      group: the index of the column in which a donor row must agree. Static.
      dependence: `'donors'`, `'copula'` or `'independent'`. Static.
    """

    missing: Any
    wrong: Any
    start: Any
    count: Any
    scale: Any
    offset: Any
    low: Any
    high: Any
    own: Any
    order: Any
    first: Any
    faulty: Any
    sound: Any
    factor: Any
    correlation: Any
    pairs: Any
    tally: Any
    confused: Any
    schema: Schema = dataclasses.field(metadata={"static": True})
    group: int | None = dataclasses.field(metadata={"static": True})
    dependence: str = dataclasses.field(metadata={"static": True})

    def rates(self) -> list[Rate]:
        """The rate of each kind of fault in each column, the most frequent first.

        Example:
          >>> import numpy as np, noisejax as nj
          >>> clean = np.arange(40.0)[:, None]
          >>> dirty = np.where(np.arange(40)[:, None] % 4 == 0, np.nan, clean)
          >>> model = nj.tabular.fit_errors(clean, dirty, nj.tabular.Schema({"age": "number"}))
          >>> [(rate.column, rate.kind, rate.rate) for rate in model.rates()]
          [('age', 'missing', 0.25)]
        """
        found = []
        for column, kind, value, count in np.asarray(self.tally, np.float64):
            place, kind = int(column), KINDS[int(kind)]
            pairs = np.asarray(self.pairs)[place, 1 if kind == "filled" else 0]
            shown = None if np.isnan(value) else float(f"{value:.7g}")
            rate = float(count / pairs)
            found.append(Rate(self.schema.names[place], kind, shown, rate, *interval(count, pairs)))
        return sorted(found, key=lambda rate: (self.schema.place(rate.column), -rate.rate))

    def confusion(self, column: Any) -> np.ndarray:
        """The number of pairs with each clean and each dirty class of a column, (K, K + 1). The diagonal is 0.

        The last column counts dirty codes that are no class.

        Args:
          column: the name of the column.
        """
        place = self.schema.place(column)
        classes = self.schema.columns[place].num_classes
        table = np.zeros((classes, classes + 1))
        rows = np.asarray(self.confused, np.float64)
        for _, clean, dirty, count in rows[rows[:, 0] == place]:
            table[int(clean), int(min(dirty, classes)) if dirty >= 0 else classes] += count
        return table

    def report(self) -> str:
        """A table of the faults of each column, in plain text."""
        lines = [("column", "fault", "rate", "95 % interval", "pairs")]
        pairs = dict(zip(self.schema.names, np.asarray(self.pairs, np.float64), strict=True))
        for rate in self.rates():
            seen = pairs[rate.column][1 if rate.kind == "filled" else 0]
            what = self._classes(rate.column) if rate.kind == "class" else _fault(rate)
            lines.append((str(rate.column), what, *_shares(rate), f"{seen:.0f}"))
        text = aligned(lines)
        clean = [str(name) for name in self.schema.names if name not in {rate.column for rate in self.rates()}]
        if clean:
            text += f"\n\nno faults: {', '.join(clean)}"
        strong = self._together()
        if strong:
            text += f"\n\nhit together (correlation): {', '.join(strong)}"
        return text

    def _classes(self, column: Any) -> str:
        """The most frequent change of a class, and its share of all changes of the column."""
        table, classes = self.confusion(column), self.schema[column].classes
        before, after = np.unravel_index(table.argmax(), table.shape)
        new = classes[after] if after < len(classes) else "no class"
        return f"a different class ({classes[before]} to {new}: {table.max() / table.sum():.0%})"

    def _together(self) -> list[str]:
        matrix = np.asarray(self.correlation, np.float64)
        names = self.schema.names
        pairs = [(matrix[a, b], a, b) for a in range(len(names)) for b in range(a) if abs(matrix[a, b]) > 0.3]
        return [f"{names[b]} and {names[a]} {r:+.2f}" for r, a, b in sorted(pairs, key=lambda p: -abs(p[0]))[:6]]

    def __str__(self):
        return self.report()

    def __repr__(self):
        return f"<nj.tabular.{type(self).__name__} of {', '.join(map(str, self.schema.names))}>"


KINDS = ("missing", "add", "scale", "convert", "replace", "class", "filled")


def interval(count: float, pairs: float) -> tuple[float, float, float]:
    """Wilson's 95 % interval of a share, and its standard error."""
    if pairs == 0:
        return 0.0, 1.0, float("nan")
    z, share = 1.959963984540054, count / pairs
    centre, width = share + z * z / (2 * pairs), z * np.sqrt(share * (1 - share) / pairs + (z / (2 * pairs)) ** 2)
    low, high = ((centre + side * width) / (1 + z * z / pairs) for side in (-1, 1))
    # At the ends of the range the interval ends there, up to rounding.
    return (
        0.0 if count == 0 else float(low),
        1.0 if count == pairs else float(high),
        float(np.sqrt(share * (1 - share) / pairs)),
    )


def aligned(rows: list[tuple[str, ...]]) -> str:
    """A table as lines of text, the first column to the left and a line under the head."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _shares(rate: Rate) -> tuple[str, str]:
    return f"{rate.rate:.1%}", f"{rate.low:.1%} to {rate.high:.1%}"


def _fault(rate: Rate) -> str:
    value = None if rate.value is None else f"{rate.value:.4g}"
    texts = {
        "missing": "becomes missing",
        "filled": "missing cells are filled" + ("" if value is None else f" with {value}"),
        "add": "an offset, various" if value is None else f"an offset of {rate.value or 0:+.4g}",
        "scale": "a factor, various" if value is None else f"times {value}",
        "convert": "different unit" if value is None else f"different unit, times {value}",
        "replace": "a different value" if value is None else f"always {value}",
    }
    return texts[rate.kind]
