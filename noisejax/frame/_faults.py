"""Faults of a data frame: which columns each one hits, and the noise as it is for these columns alone."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from noisejax import tabular
from noisejax._calls.fitted import is_fitted
from noisejax._checks.texts import address
from noisejax._combinators.compose import reads_batch
from noisejax._noise import Combinator, Noise
from noisejax._random import host
from noisejax._random.stream import Stream
from noisejax.tabular._mechanisms import Copula, Logistic, Mechanism, Window
from noisejax.tabular._schema import KINDS

TEXT = "text"
_ROWS = ("permute_rows", "duplicate")  # faults that move values between rows, of any dtype


class On(Mechanism):
    """A mechanism with the values of its conditioning column, which a frame holds in a different dtype."""

    mechanism: Any  # fitted to one column
    values: Any  # (rows, 1), NaN where missing

    def probability(self, key, x, rate):
        return self.mechanism.probability(key, self.values, rate)


@dataclasses.dataclass(frozen=True)
class Step:
    """One noise on one or several columns.

    Args:
      place: the fault's number in the sequence.
      path: the positions of the noise in its chains.
      names: the columns that it hits: one, or several that it must see at once.
      noise: the bound noise.
      width, at: the number of columns that the fault selects, and the first one's number among them.
      whole: why the noise needs all rows at once; None if each row is separate.
    """

    place: int
    path: tuple[int, ...]
    names: tuple
    noise: Noise
    width: int
    at: int
    whole: str | None

    @property
    def strings(self) -> bool:
        return hasattr(self.noise.function, "__strings__")

    @property
    def texts(self) -> bool:
        """Whether it is a noise of texts, or a combination of such noises."""
        named = (getattr(part.function, "__module__", "") for part in _walk(self.noise) if isinstance(part, Noise))
        return any(name.startswith("noisejax.text.") for name in named)

    @property
    def rows(self) -> bool:
        """Whether values move between rows, so that their dtype does not matter."""
        if self.noise.function not in (tabular.permute_rows, tabular.duplicate):
            return False
        near = np.any(np.asarray(self.noise.amounts.get("std", 0)) != 0)
        return not near and dict(self.noise.options).get("keep") is None

    @property
    def loses(self) -> bool:
        """Whether the noise makes cells missing, and does nothing else."""
        return _loses(self.noise)

    def stream(self, base: host.HostStream) -> Stream:
        """The stream of the noise on these columns: by the place of the fault and the columns' names."""
        folded = host.fold(base, self.number)
        key = np.concatenate([folded.k0, folded.k1])
        return Stream(jax.numpy.asarray(key), path=self.path, generator=folded.generator)

    def host_stream(self, base: host.HostStream) -> host.HostStream:
        return dataclasses.replace(host.fold(base, self.number), path=self.path)

    @property
    def number(self) -> int:
        names = [name.item() if isinstance(name, np.generic) else name for name in self.names]
        text = repr((self.place, tuple(names) if len(names) > 1 else names[0]))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def steps(function: str, faults: Any, names: Sequence, describe: Callable, kind: Callable, ids: Any) -> list[Step]:
    """The faults as steps, in order.

    Args:
      function: the public function, for errors.
      faults: pairs of columns and a noise.
      names: all columns of the frame.
      describe: from a name to the `Column` of it, or None for text and other objects.
      kind: from a name, and the kind that is wanted, to the column's kind.
      ids: the column that numbers the rows, which faults must not hit; or anything else.
    """
    ids = ids if isinstance(ids, str) else None
    check_faults(function, faults)
    found = []
    for place, (columns, noise) in enumerate(faults):
        chosen = _selected(function, place, columns, names, kind, ids)
        if not isinstance(noise, Noise) and callable(noise) and not hasattr(noise, "__noise__"):
            for name in chosen:  # a noise for each column, made from its description
                if (column := describe(name)) is None:
                    raise TypeError(
                        f"{function}: fault {place} makes its noise from the description of a column, and {name!r} has "
                        "none, since it holds text or objects. Name the columns it is for, or a kind."
                    )
                found += _of_columns(function, place, (name,), noise(column))
        else:
            found += _of_columns(function, place, chosen, noise)
    return found


def check_faults(function: str, faults: Any) -> None:
    """Requires a list of pairs."""
    if isinstance(faults, (Noise, str, bytes, dict)) or not isinstance(faults, Sequence):
        raise TypeError(
            f"{function}: faults must be a list of pairs (columns, noise), such as "
            f"[('age', nj.bind(nj.tabular.missing, rate=0.1))], got {faults!r}."
        )
    for place, fault in enumerate(faults):
        if not isinstance(fault, tuple) or len(fault) != 2:
            raise TypeError(
                f"{function}: faults must be pairs, and fault {place} must be a pair (columns, noise), got {fault!r}."
            )


def _selected(function: str, place: int, columns: Any, names: Sequence, kind: Callable, ids: Any) -> tuple:
    if columns is None:
        return tuple(name for name in names if name != ids)
    several = isinstance(columns, list) or (isinstance(columns, tuple) and columns not in names)
    chosen = []
    for column in columns if several else (columns,):
        if column in names and column == ids:
            raise ValueError(f"{function}: fault {place} names the column {ids!r}, which numbers the rows by ids=...")
        if column in names:
            chosen.append(column)
        elif isinstance(column, str) and column in (*KINDS, TEXT):
            chosen += [name for name in names if name != ids and kind(name, column) == column]
        else:
            shown = ", ".join(map(repr, list(names)[:20])) + (", ..." if len(names) > 20 else "")
            raise KeyError(
                f"{function}: fault {place} names the column {column!r}. The columns are {shown}; the kinds are "
                f"{', '.join(map(repr, (*KINDS, TEXT)))}."
            )
    return tuple(dict.fromkeys(chosen))


def _of_columns(function: str, place: int, names: tuple, noise: Any) -> Iterator[Step]:
    if not isinstance(noise, Noise):
        raise TypeError(
            f"{function}: fault {place} must be a bound noise, such as nj.bind(nj.tabular.missing, rate=0.1), got "
            f"{noise!r}."
        )
    for path, stage in _stages(noise, ()):
        if stage.function is tabular.imbalance:
            raise TypeError(
                f"{function}: imbalance draws whole rows again by their labels, and a fault changes cells. Draw row "
                "numbers, nj.tabular.imbalance(key, (np.arange(len(df)), labels), shares)[0], and take these rows."
            )
        whole = needs_all_rows(stage)
        if not names:
            continue
        if joint(stage):
            yield Step(place, path, names, stage, len(names), 0, whole)
        else:
            for at, name in enumerate(names):
                yield Step(place, path, (name,), stage, len(names), at, whole)


def _stages(noise: Noise, path: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Noise]]:
    inside = noise.stages
    if inside == (noise,):
        yield path, noise
        return
    for position, stage in enumerate(inside):
        yield from _stages(stage, (*path, position))


def _walk(value: Any) -> Iterator[Any]:
    """All noises and fitted values in a noise, itself among them."""
    yield value
    if isinstance(value, Noise):
        for amount in value.amounts.values():
            for part in jax.tree.leaves(amount, is_leaf=lambda leaf: isinstance(leaf, Noise) or is_fitted(leaf)):
                if isinstance(part, Noise) or is_fitted(part):
                    yield from _walk(part)


def joint(noise: Noise) -> bool:
    """Whether a noise must see its columns together."""
    for part in _walk(noise):
        if isinstance(part, Copula):
            return True
        if isinstance(part, Noise):
            options = dict(part.options)
            several = part.function in (tabular.swap_columns, tabular.duplicate)
            if several or options.get("together") is not None or options.get("keep") is not None:
                return True
    return False


def needs_all_rows(noise: Noise) -> str | None:
    """The part of a noise that needs the whole table, as users write it; None if each row is separate."""
    if (reader := reads_batch(noise)) is not None:
        return reader
    for part in _walk(noise):
        if isinstance(part, Noise) and not hasattr(part.function, "__strings__"):
            known = isinstance(part.function, Combinator) or hasattr(part.function, "__noise__")
            if not known or getattr(part.function, "name", "") == "keyless":
                return f"the function {address(dict(part.options).get('function', part.function))}"
    return None


def _loses(noise: Noise) -> bool:
    fill = np.asarray(noise.amounts.get("fill", np.nan), np.float64)
    return noise.function is tabular.missing and bool(np.all(np.isnan(fill)))


def makes_missing(noise: Noise) -> bool:
    """Whether a noise, or one inside it, makes cells missing."""
    return any(isinstance(part, Noise) and _loses(part) for part in _walk(noise))


def fitted_to(function: str, noise: Noise, step: Step, numbers: Callable[[Any], np.ndarray]) -> Noise:
    """The noise for the columns of a step alone: fitted values and amounts of these columns, names resolved.

    Args:
      numbers: from a column's name to its values as float64, for mechanisms that condition on it.
    """

    def narrowed(leaf):
        if isinstance(leaf, tabular.Columns):
            return _columns(function, leaf, _places(function, leaf.schema.names, step.names))
        if isinstance(leaf, Copula):
            inner = None if leaf.mechanism is None else narrowed(leaf.mechanism)
            return dataclasses.replace(leaf, mechanism=inner)
        if isinstance(leaf, (Logistic, Window)):
            return _mechanism(function, leaf, step, numbers)
        if is_fitted(leaf) or np.ndim(leaf) == 0:
            return leaf
        row = np.ndim(leaf) == 1 or (np.ndim(leaf) == 2 and np.shape(leaf)[0] == 1)  # no transition matrix
        own = row and step.width > 1 and np.shape(leaf)[-1] == step.width and len(step.names) == 1
        return leaf[..., step.at : step.at + 1] if own else leaf

    return jax.tree.map(narrowed, noise, is_leaf=is_fitted)


def _mechanism(function: str, leaf: Any, step: Step, numbers: Callable) -> Any:
    arrays = {f.name: getattr(leaf, f.name) for f in dataclasses.fields(leaf)}
    if leaf.on is None:
        places = _places(function, leaf.names, step.names)
        wide = {name: v[list(places)] for name, v in arrays.items() if name in _PER_COLUMN}
        return dataclasses.replace(leaf, **wide)
    if not leaf.names:
        raise ValueError(f"{function}: the mechanism {leaf!r} does not know its columns' names. Make it again.")
    return On(dataclasses.replace(leaf, on=0), numbers(leaf.names[leaf.on])[:, None])


_PER_COLUMN = ("mean", "std", "points", "shares", "knots", "below", "upto")


def _places(function: str, fitted: tuple, names: tuple) -> tuple[int, ...]:
    for name in names:
        if name not in fitted:
            raise ValueError(
                f"{function}: the column {name!r} is none of the fitted ones, {', '.join(map(repr, fitted))}. Fit with "
                "the names of the frame: x, schema, _ = frame.encode(df); nj.tabular.fit(x, schema)."
            )
    return tuple(fitted.index(name) for name in names)


def _columns(function: str, columns: Any, places: tuple[int, ...]) -> Any:
    pick = list(places)
    names = {field.name for field in dataclasses.fields(columns)} - {"correlation", "schema"}
    arrays = {name: getattr(columns, name)[pick] for name in names}
    schema = tabular.Schema([columns.schema.columns[place] for place in places])
    return dataclasses.replace(columns, **arrays, correlation=columns.correlation[np.ix_(pick, pick)], schema=schema)
