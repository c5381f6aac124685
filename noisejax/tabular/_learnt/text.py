"""Learns the faults of columns of strings, on the host: edits that depend on the clean cell and on other columns."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from noisejax import _checks
from noisejax._calls.fitted import Fitted
from noisejax._random.stream import Stream, enter, fold, words
from noisejax.tabular._learnt import latent
from noisejax.tabular._learnt.edits import Edit, applied, edits_of, is_missing, shape
from noisejax.tabular._learnt.fit import donor_rows
from noisejax.tabular._learnt.latent import SAME, WRONG
from noisejax.tabular._learnt.model import aligned, interval
from noisejax.tabular._schema import Schema

_OFTEN, _VALUES, _SHAPES = 5, 100, 30  # per column; the cells of rarer shapes share a state


class TextErrors(Fitted):
    """A model of the faults of columns of strings, made by `fit_text_errors`. `str` makes a table for a person.

    Args:
      wrong: the probability of a fault, for each column and state, (C, S). A state is a frequent clean text, or the
        shape of others; the last two are any other shape, and empty.
      low, high, own: of each cell of a donor row: the interval of its latent value, and its edit or -1, (N, C).
      order, first, faulty, sound: the donor rows by groups, as in `ErrorModel`.
      pairs, hits: the number of pairs, and of those with a fault, for each column and state, (C, S).
      names: the names of the columns. Static.
      edits: the edits of each column. Static.
      shapes: the frequent texts, each after the sign =, and the shapes of each column. Static.
      choices: the edits seen in each state of each column, as often as they were seen. Static.
      groups: the values of the column in which a donor must agree. Static.
      group: the index of that column, or None. Static.
    """

    wrong: Any
    low: Any
    high: Any
    own: Any
    order: Any
    first: Any
    faulty: Any
    sound: Any
    pairs: Any
    hits: Any
    names: tuple = dataclasses.field(metadata={"static": True})
    edits: tuple[tuple[Edit, ...], ...] = dataclasses.field(metadata={"static": True})
    shapes: tuple[tuple[str, ...], ...] = dataclasses.field(metadata={"static": True})
    choices: tuple[tuple[tuple[int, ...], ...], ...] = dataclasses.field(metadata={"static": True})
    groups: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    group: int | None = dataclasses.field(metadata={"static": True})

    def apply(
        self, key: jax.Array, rows: Mapping[Any, Sequence[Any]], strength: float = 1.0, *, ids: Any = None
    ) -> dict[Any, list]:
        """Rows with faults like those of the fitted pairs.

        Args:
          key: a JAX key.
          rows: columns of strings by name, such as a dict of lists or a data frame. All columns of the model are
            needed. Missing cells are None, NaN or empty strings.
          strength: how much more often rows have faults than in the fitted pairs, at least 0. 0 is the identity.
          ids: the number of each row, integers of shape (N,), None for 0, 1, ..., N - 1. The faults of a row depend on
            the key and its number alone, so a table can be worked through in parts.

        Returns:
          The columns of the model as lists, by name. Cells that are not hit are the given objects.

        Raises:
          ValueError: a column that is missing, columns of different lengths, or a strength below 0.

        Example:
          >>> import jax, noisejax as nj
          >>> clean = {"size": ["12", "16", "8", "10"]}
          >>> model = nj.tabular.fit_text_errors(clean, {"size": ["12 oz", "16 oz", "8 oz", "10 oz"]})
          >>> model.apply(jax.random.key(0), {"size": ["24", "6"]})
          {'size': ['24 oz', '6 oz']}
        """
        checked = enter("apply", key)
        given = columns_of("apply", "rows", rows, self.names, "the model")
        if not np.ndim(strength) == 0 or not 0 <= float(strength) < np.inf:
            raise ValueError(f"apply: strength must be one number of at least 0, got {strength!r}.")
        size = len(given[0])
        if size == 0:
            return {name: list(column) for name, column in zip(self.names, given, strict=True)}
        ids = np.arange(size) if ids is None else np.asarray(_checks.ids("apply", ids))
        if ids.shape != (size,):
            raise ValueError(f"apply: ids must have shape ({size},), one number per row, got {ids.shape}.")
        count = len(self.names)
        word = _words(fold(checked, ids), 3 + 2 * count)
        donor, active = self._donors(given, word, float(strength))
        own, low, high = (np.asarray(values)[donor] for values in (self.own, self.low, self.high))
        u = _uniform(word[:, 3 : 3 + count])
        value = np.where(active[:, None], np.minimum(low + u * (high - low), 1 - 2**-24), 1)
        texts = [[text_of(cell) for cell in column] for column in given]
        wrong = np.asarray(self.wrong, np.float64)
        states = np.stack(
            [_states(column, shapes, wrong.shape[1]) for column, shapes in zip(texts, self.shapes, strict=True)], 1
        )
        hit = value < wrong[np.arange(count), states]
        result = [list(column) for column in given]
        for row, c in np.argwhere(hit):
            cells = [column[row] for column in texts]
            state = int(states[row, c])
            edit = self._edit(c, state, int(own[row, c]), cells, word[row, 3 + count + c])
            if edit is not None:
                result[c][row] = applied(edit, cells, c)
        return dict(zip(self.names, result, strict=True))

    def _donors(self, given, word, strength: float) -> tuple[np.ndarray, np.ndarray]:
        first, faulty, sound, order = (
            np.asarray(v).astype(int) for v in (self.first, self.faulty, self.sound, self.order)
        )
        group = np.full(len(word), len(first) - 1)
        if self.group is not None:
            number = {name: n for n, name in enumerate(self.groups)}
            group = np.array([number.get(text_of(cell), len(first) - 1) for cell in given[self.group]], int)
        share = faulty[group] / (faulty + sound)[group]
        some = np.clip(strength * share, 0, 1)
        none = np.minimum(min(strength, 1) * (1 - share), 1 - some)
        u = _uniform(word[:, 0])
        size = np.where(u < some, faulty[group], sound[group])
        number = (word[:, 1].astype(np.uint64) * np.maximum(size, 1).astype(np.uint64)) >> np.uint64(32)
        start = first[group] + np.where(u < some, 0, faulty[group])
        place = np.minimum(start + number.astype(int), len(order) - 1)
        return order[place], (u < some + none) & (size > 0)

    def _edit(self, c: int, state: int, own: int, cells: list[str], word) -> Edit | None:
        """The donor's own edit if it fits the cell, otherwise one that was seen in the state or in the column."""
        tried = self.choices[c][state]
        if own >= 0 and own in tried and applied(self.edits[c][own], cells, c) != cells[c]:
            return self.edits[c][own]
        fits = [n for n in tried if applied(self.edits[c][n], cells, c) != cells[c]]
        return self.edits[c][fits[int(word) * len(fits) >> 32]] if fits else None

    def report(self) -> str:
        """A table of the faults of each column, with the most frequent edits, in plain text."""
        lines = [("column", "clean cell", "rate", "95 % interval", "pairs", "most frequent edits")]
        pairs, hits = np.asarray(self.pairs), np.asarray(self.hits)
        for c, name in enumerate(self.names):
            for empty in (False, True):
                part = slice(-1, None) if empty else slice(None, -1)
                n, k = pairs[c, part].sum(), hits[c, part].sum()
                if k == 0:
                    continue
                low, high, _ = interval(k, n)
                seen = Counter(self.choices[c][-1 if empty else -2])
                often = "; ".join(self.edits[c][e].described(self.names) for e, _ in seen.most_common(3))
                what = "empty" if empty else "text"
                lines.append((str(name), what, f"{k / n:.1%}", f"{low:.1%} to {high:.1%}", f"{n:.0f}", often))
        return aligned(lines)

    def __str__(self):
        return self.report()

    def __repr__(self):
        return f"<nj.tabular.TextErrors of {', '.join(map(str, self.names))}>"


def fit_text_errors(
    clean: Mapping[Any, Sequence[Any]], dirty: Mapping[Any, Sequence[Any]], *, group: Any = None
) -> TextErrors:
    """Learns the faults of columns of strings from pairs of rows, clean and dirty. 50 to 200 are enough.

    Each wrong cell shows an edit: text put before or after the clean text, a part that is replaced, a different case,
    or a different text. Text that repeats another column of the row is a template: the state that is copied into the
    city is `{state}`. Edits and their probabilities depend on the clean cell: whether it is empty, its text if that is
    frequent, and otherwise its shape (digits, capital and small letters). A row takes all edits of a random pair, so
    faults that occur together stay together.

    The result imitates the dirty table: for test sets, reports and tuning on realistic faults. It does not promise a
    more accurate model.

    Args:
      clean, dirty: columns of strings by name, row by row the same records, such as dicts of lists or data frames.
        Missing cells are None, NaN or empty strings. Use training rows only.
      group: the name of a column in which the pair must agree with the row, such as its source. Any pair is taken where
        none does.

    Returns:
      A model whose `apply` makes rows dirty. ``print(model)`` shows it.

    Raises:
      TypeError: columns that are not given by name.
      ValueError: a column that is missing, columns of different lengths, or no rows.

    Example:
      >>> import jax, noisejax as nj
      >>> clean = {"city": ["Bend", "Gary", "Boise", "Tampa"], "state": ["OR", "IN", "ID", "FL"]}
      >>> dirty = {"city": ["Bend OR", "Gary IN", "Boise ID", "Tampa FL"], "state": ["", "", "", ""]}
      >>> model = nj.tabular.fit_text_errors(clean, dirty)
      >>> model.apply(jax.random.key(0), {"city": ["Mill Valley"], "state": ["CA"]})
      {'city': ['Mill Valley CA'], 'state': ['']}
    """
    names = tuple(_named("fit_text_errors", "clean", clean))
    before = columns_of("fit_text_errors", "clean", clean, names, "clean")
    after = columns_of("fit_text_errors", "dirty", dirty, names, "clean")
    rows = [len(column) for column in (*before[:1], *after[:1])]
    if not names or rows[0] == 0 or rows[0] != rows[1]:
        raise ValueError(f"fit_text_errors: clean and dirty must have the same rows, at least one, got {rows}.")
    if group is not None and group not in names:
        raise ValueError(f"fit_text_errors: group must be one of the columns {names}, got {group!r}.")
    texts = [[text_of(cell) for cell in column] for column in before]
    found = [edits_of(texts, after[c], c) for c in range(len(names))]
    shapes = tuple(_known(column) for column in texts)
    size = max(map(len, shapes)) + 2
    state = np.stack([_states(column, own, size) for column, own in zip(texts, shapes, strict=True)], 1)
    edits = tuple(tuple(dict.fromkeys(edit for edit in column if edit is not None)) for column in found)
    numbers = [{edit: n for n, edit in enumerate(own)} for own in edits]
    own = np.array(
        [[-1 if edit is None else numbers[c][edit] for edit in column] for c, column in enumerate(found)], int
    ).T
    outcome = np.where(own >= 0, WRONG, SAME)
    columns = range(len(names))
    wrong = [latent.rates(state[:, c], outcome[:, c], size)[1] for c in columns]
    bounds = [latent.intervals(state[:, c], outcome[:, c], 0 * wrong[c], wrong[c]) for c in columns]
    low, high = (np.stack(side, 1) for side in zip(*bounds, strict=True))
    place = None if group is None else names.index(group)
    groups = () if place is None else tuple(sorted(set(texts[place])))
    schema = Schema({c: groups if c == place else "number" for c in columns})
    coded = np.zeros(state.shape)
    if place is not None:
        coded[:, place] = [groups.index(text) for text in texts[place]]
    return TextErrors(
        wrong=np.stack(wrong),
        **donor_rows(low, high, own.astype(float), outcome, coded, schema, place),
        pairs=np.stack([np.bincount(state[:, c], minlength=size) for c in columns]).astype(float),
        hits=np.stack([np.bincount(state[own[:, c] >= 0, c], minlength=size) for c in columns]).astype(float),
        names=names,
        edits=edits,
        shapes=shapes,
        choices=tuple(_choices(texts[c], own[:, c], shapes[c], size) for c in columns),
        groups=groups,
        group=place,
    )


def columns_of(function: str, name: str, table: Any, names: Sequence[Any], owner: str) -> list[list]:
    """The columns of a table as lists, in the order of the names, which are those of the owner."""
    present = _named(function, name, table)
    for column in names:
        if column not in present:
            raise ValueError(f"{function}: {name} has no column {column!r} of {owner}. Its columns are {present}.")
    for column in names:
        cells = table[column]
        if not _checks.several(cells):
            raise TypeError(f"{function}: the column {column!r} of {name} must be a list of cells, got {cells!r}.")
    found = [list(table[column]) for column in names]
    lengths = {len(column) for column in found}
    if len(lengths) > 1:
        raise ValueError(f"{function}: the columns of {name} must be of one length, got {sorted(lengths)}.")
    return found


def _named(function: str, name: str, table: Any) -> list:
    names = table.keys() if isinstance(table, Mapping) else getattr(table, "columns", None)
    if names is None or not hasattr(table, "__getitem__"):
        raise TypeError(
            f"{function}: {name} must be columns by name, such as a dict of lists or a data frame, got "
            f"{type(table).__name__}."
        )
    return list(names)


def text_of(cell: Any) -> str:
    """The text of a cell; empty if it is missing."""
    return "" if is_missing(cell) else str(cell)


def _known(texts: Sequence[str]) -> tuple[str, ...]:
    """The states of a column: texts that occur often, each after the sign =, and the most frequent shapes."""
    values = [text for text, count in Counter(filter(None, texts)).most_common(_VALUES) if count >= _OFTEN]
    shapes = Counter(map(shape, filter(None, texts))).most_common(_SHAPES)
    return tuple([f"={text}" for text in values] + [name for name, _ in shapes])


def _states(texts: Sequence[str], known: tuple[str, ...], size: int) -> np.ndarray:
    """The state of each cell: the place of its text or its shape; and of the last two, any other shape and empty."""
    places = {name: place for place, name in enumerate(known)}

    def place(text: str) -> int:
        return places.get(f"={text}", places.get(shape(text), size - 2)) if text else size - 1

    return np.array([place(text) for text in texts], int)


def _choices(texts: Sequence[str], own: np.ndarray, known: tuple[str, ...], size: int) -> tuple[tuple[int, ...], ...]:
    """The edits seen in each state. A text that shows none takes those of its shape, and a shape those of all texts."""
    seen: dict[str, list[int]] = {name: [] for name in ("any", "", *known)}
    for text, edit in zip(texts, own.tolist(), strict=True):
        if edit >= 0:
            for name in ("any", f"={text}", shape(text)) if text else ("",):
                if name in seen:
                    seen[name].append(edit)
    found = [seen[name] or (name[:1] == "=" and seen.get(shape(name[1:]))) or seen["any"] for name in known]
    found += [seen["any"]] * (size - 1 - len(known)) + [seen[""]]
    return tuple(tuple(edits) for edits in found)


def _words(streams: Stream, count: int) -> np.ndarray:
    """Words for each row: of a table of rows and draws."""
    return np.asarray(jax.vmap(lambda stream: words(stream, "tabular.text_errors", (count,)))(streams))


def _uniform(word: np.ndarray) -> np.ndarray:
    return (word >> 8) * 2.0**-24
