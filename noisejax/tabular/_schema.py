"""What the columns of a table are: the static description that fits, faults, encoders and models share."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from noisejax import _checks

KINDS = ("number", "integer", "category", "ordinal", "datetime", "flag")
CODED = ("category", "ordinal", "flag")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
      name: the column's name.
      kind: `'number'`, `'integer'`, `'category'` (classes without an order), `'ordinal'` (classes in order),
        `'datetime'` or `'flag'` (two classes).
      classes: the classes of a category, an ordinal or a flag, in the order of their codes 0, 1, ... An integer K
        means the classes 0, ..., K - 1. A flag without classes has False and True.
      low, high: the smallest and the largest valid value, if there is one.
      decimals: the number of decimal places in which the values are written, if it is known.
      mutable: whether the column's values can be wrong. An adversary must not change the others either.

    Raises:
      ValueError: an unknown kind, classes that are missing, repeated or not needed, or an empty range.

    Example:
      >>> import noisejax as nj
      >>> nj.tabular.Column("job", "category", ("clerk", "nurse")).num_classes
      2
    """

    name: Any
    kind: str = "number"
    classes: Any = ()
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    mutable: bool = True

    def __post_init__(self):
        try:
            hash(self.name)
        except TypeError:
            raise TypeError(f"Column: name must be hashable, such as a string, got {self.name!r}.") from None
        if self.name is None or isinstance(self.name, type) or callable(self.name):
            raise TypeError(f"Column: name must be a name, such as a string, got {_checks.shown(self.name)}.")
        _checks.one_of("Column", "kind", self.kind, KINDS)
        classes = self.classes
        if isinstance(classes, (int, np.integer)) and not isinstance(classes, bool):
            classes = tuple(range(int(classes)))
        elif not _checks.several(classes):
            raise TypeError(f"Column: classes of {self.name!r} must be a tuple of classes, got {classes!r}.")
        classes = (False, True) if self.kind == "flag" and not tuple(classes) else tuple(classes)
        if self.kind in CODED and not classes:
            raise ValueError(
                f"Column: {self.name!r} is of kind {self.kind!r} and needs its classes: classes=('a', 'b'), or their "
                "number."
            )
        if self.kind not in CODED and classes:
            raise ValueError(
                f"Column: {self.name!r} is of kind {self.kind!r}, which has no classes, got {classes!r}. For classes "
                "write kind='category' or kind='ordinal'."
            )
        try:
            hash(classes)
        except TypeError:
            raise TypeError(
                f"Column: classes of {self.name!r} must be hashable, such as strings, got {_checks.shown(classes[0])}."
            ) from None
        if len(set(classes)) != len(classes):
            raise ValueError(f"Column: the classes of {self.name!r} must be different, got {classes!r}.")
        if self.kind == "flag" and len(classes) != 2:
            raise ValueError(f"Column: the flag {self.name!r} must have two classes, got {classes!r}.")
        for name in ("low", "high"):
            if (end := getattr(self, name)) is not None:
                value = _checks.scalar("Column", name, end)
                if isinstance(end, (list, tuple)) or getattr(end, "shape", ()):
                    raise ValueError(f"Column: {name} of {self.name!r} must be one number, got {_checks.shown(end)}.")
                # A large integer stays one; arrays and tensors would not be hashable.
                object.__setattr__(self, name, end if isinstance(end, (int, float)) else value)
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"Column: low of {self.name!r} must be at most high, got {self.low!r} and {self.high!r}.")
        plain = tuple(label.item() if isinstance(label, np.generic) else label for label in classes)
        object.__setattr__(self, "classes", plain)

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 for numbers, integers and dates."""
        return len(self.classes)


@dataclasses.dataclass(frozen=True, repr=False)
class Schema:
    """The columns of a table, in the order of the array's last axis. Static and hashable.

    Args:
      columns: `Column` values. A mapping from names to kinds is accepted as well. In it, a tuple of classes or their
        number means a category.

    Raises:
      TypeError: an entry that is no column.
      ValueError: two columns of one name.

    Example:
      >>> import noisejax as nj
      >>> schema = nj.tabular.Schema({"age": "integer", "job": ("clerk", "nurse"), "smokes": "flag"})
      >>> schema = schema.replace("age", low=0, high=120)
      >>> schema.names, schema.num_classes, schema.places("category", "flag")
      (('age', 'job', 'smokes'), (0, 2, 2), (1, 2))
    """

    columns: Any

    def __post_init__(self):
        columns: Any = self.columns
        if isinstance(columns, Mapping):
            columns = [_named(name, what) for name, what in columns.items()]
        if not _checks.several(columns):
            raise TypeError(f"Schema: columns must be Column values or a dict, got {columns!r}.")
        columns = tuple(columns)
        for column in columns:
            if not isinstance(column, Column):
                raise TypeError(
                    f"Schema: columns must be Column values, got {column!r}. Write nj.tabular.Column('age', "
                    "'integer'), or pass a dict: {'age': 'integer'}."
                )
        names = [column.name for column in columns]
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if len(set(names)) < len(names):
            raise ValueError(f"Schema: two columns have the name {twice!r}. Rename one of them.")
        object.__setattr__(self, "columns", columns)

    @property
    def names(self) -> tuple:
        return tuple(column.name for column in self.columns)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(column.kind for column in self.columns)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """The number of classes of each column; 0 for numbers, integers and dates."""
        return tuple(column.num_classes for column in self.columns)

    def place(self, name: Any) -> int:
        """The index of a column in the array's last axis."""
        if name not in self.names:
            raise KeyError(f"Schema: there is no column {name!r}. The columns are {', '.join(map(repr, self.names))}.")
        return self.names.index(name)

    def places(self, *kinds: str) -> tuple[int, ...]:
        """The indices of all columns of the given kinds, for `noisejax.on_columns`."""
        for kind in kinds:
            _checks.one_of("places", "kind", kind, KINDS)
        return tuple(n for n, kind in enumerate(self.kinds) if kind in kinds)

    def replace(self, name: Any, **fields: Any) -> "Schema":
        """The schema with some fields of one column changed."""
        place = self.place(name)
        changed = dataclasses.replace(self.columns[place], **fields)
        return Schema((*self.columns[:place], changed, *self.columns[place + 1 :]))

    @property
    def groups(self) -> tuple[int, ...]:
        """The group number of every feature that `one_hot` makes, for the option `groups` of `noisejax.mask`."""
        return tuple(n for n, column in enumerate(self.columns) for _ in range(max(column.num_classes, 1)))

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: Any) -> Column:
        return self.columns[self.place(name)]

    def __repr__(self) -> str:
        return f"nj.tabular.Schema([{', '.join(_written(column) for column in self.columns)}])"

    def __str__(self) -> str:
        rows = [(str(c.name), c.kind, _described(c)) for c in self.columns]
        widths = [max((len(row[n]) for row in rows), default=0) for n in (0, 1)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)


def _named(name: Any, what: Any) -> Column:
    if isinstance(what, Column):
        return dataclasses.replace(what, name=name)
    if isinstance(what, str):
        return Column(name, what)
    return Column(name, "category", what)


def _written(column: Column) -> str:
    """A column as the code that makes it."""
    parts = [repr(column.name)]
    defaults = {f.name: f.default for f in dataclasses.fields(Column)}
    parts += [
        f"{name}={getattr(column, name)!r}"
        for name in ("kind", "classes", "low", "high", "decimals", "mutable")
        if getattr(column, name) != defaults[name]
    ]
    return f"nj.tabular.Column({', '.join(parts)})"


def _described(column: Column) -> str:
    parts = []
    if column.classes:
        shown = ", ".join(map(str, column.classes[:5])) + (", ..." if column.num_classes > 5 else "")
        parts.append(f"{column.num_classes} classes: {shown}")
    if column.low is not None or column.high is not None:
        low, high = ("" if end is None else f"{end:g}" for end in (column.low, column.high))
        parts.append(f"{low} to {high}".strip())
    if column.decimals is not None:
        parts.append(f"{column.decimals} decimals")
    if not column.mutable:
        parts.append("fixed")
    return "; ".join(parts)
