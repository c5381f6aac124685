"""Runs a JAX predictor on clean and noisy examples, part by part."""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax.robustness._families import Family
from noisejax.robustness._sweep.collect import Cell
from noisejax.robustness._sweep.programs import Noisy, Plan, Scores, fault, noisy_of, scores_of

_BYTES = 2**26  # of noisy examples at several levels at a time


@dataclasses.dataclass
class Ready:
    """A family whose noise is compiled, or is being compiled by a thread."""

    program: Noisy
    attack: bool
    whole: bool  # whether the noise acts on all examples at once
    several: bool = False  # whether it acts at several levels at once
    compiling: threading.Thread | None = None

    def given(self, model: Any, key: Any, x: Any, y: Any, rows: np.ndarray, levels: np.ndarray, n: int) -> Any:
        """The program and its arguments."""
        numbers = None if self.attack or self.whole else rows.astype(np.uint32)
        arguments = model if self.attack else None, key, x, y, numbers
        if self.several:
            return self.program.several, (*arguments, levels, n)
        return self.program.run, (*arguments, levels[0], n)


class OnDevice:
    """A JAX predictor."""

    host = False

    def __init__(self, predict: Callable, x: Any, y: Any, plan: Plan, batch: int, families: Sequence[Family] = ()):
        """`families` are those that may act at several levels at once."""
        self.x, self.y, self.plan, self.batch = x, y, plan, batch
        self.n = len(jax.tree.leaves(y)[0])
        self.model = predict if _is_data(predict) else None
        self.predict = predict
        # Without its parameters as data, a program is not kept: they are constants in it, and may be large.
        self.scores = Scores(plan, predict) if self.model is None else scores_of(plan)
        self._ready: dict[str, Ready] = {}
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(x)) * min(1, batch / self.n)
        longest = max((len(family.levels) for family in families), default=1)
        self.at_once = int(np.clip(_BYTES / max(size, 1), 1, longest))
        self._several = {family.name for family in families if self.at_once > 1}
        if self.n <= batch:
            self.x, self.y = jax.device_put((x, y))

    def groups(self, family: Family, keys: Sequence[Any], levels: Sequence[float]) -> list[list[float]]:
        """The levels that are measured at once."""
        if levels:
            self.ahead(family, keys)
        size = self.at_once if family.name in self._several else 1
        return [list(levels[n : n + size]) for n in range(0, len(levels), size)]

    def one_by_one(self, family: Family) -> None:
        """From now on, levels of the family are measured one after another."""
        self._several.discard(family.name)
        self._ready.pop(family.name, None)

    def ahead(self, family: Family, keys: Sequence[Any]) -> Ready:
        """Begins to compile the noise of a family. What fails here fails again when the noise is applied."""
        if family.name in self._ready:
            return self._ready[family.name]
        attack = family.on == "attack"
        own = attack and self.model is None
        ready = Ready(Noisy(family, self.predict) if own else noisy_of(family), attack, not attack)
        self._ready[family.name] = ready
        ways = [ready.whole] if attack or self.n <= self.batch else [False, True] if family.on == "x" else [True]
        _, rows = next(self._rows())
        for ready.whole in ways:
            if ready.whole and self.n > self.batch:  # all examples at several levels would need much memory
                self._several.discard(family.name)
            ready.several = family.name in self._several
            x, y = (self.x, self.y) if ready.whole else self._part(rows)
            try:
                program, given = ready.given(self.model, keys[0], x, y, rows, self._levels([0.0]), self.n)
                lowered = program.lower(*given)
            except Exception:
                continue
            ready.compiling = threading.Thread(target=_compile, args=(lowered,))
            ready.compiling.start()
            break
        return ready

    def _levels(self, levels: Sequence[float]) -> np.ndarray:
        """As many levels as are measured at once; the last is repeated."""
        return np.pad(np.asarray(levels, np.float32), (0, self.at_once - len(levels)), "edge")

    def _scored(self, family: Family | None, levels: Sequence[float], keys: Sequence[Any]) -> Iterator[Any]:
        """By draw and part: both numbers, functions of the first noisy rows and of the results by level, and y."""
        for draw, start, x, y, several in self._examples(family, levels, keys):
            if several:
                found = self.scores.several(self.model, x, y, np.int32(len(levels)))
            else:
                found = self.scores.run(self.model, x, y)
            by_level = functools.partial(_by_level, several=several)
            heads = functools.partial(by_level, x, len(levels), self.plan.head)
            yield draw, start, heads, functools.partial(by_level, found, len(levels)), y

    def _examples(self, family: Family | None, levels: Sequence[float], keys: Sequence[Any]) -> Iterator[Any]:
        """By part and draw, or by draw and part: both numbers, noisy examples, and whether they are of several levels.

        Those without noise are, too, where all others are: they need no program of their own.
        """
        if family is None:
            several = self.at_once > 1
            for start, rows in self._rows():
                x, y = self._part(rows)
                yield 0, start, jax.tree.map(self._repeated, x) if several else x, y, several
            return
        ready = self.ahead(family, keys)
        if ready.compiling is not None:
            ready.compiling.join()
            ready.compiling = None
        in_parts, at = self.n > self.batch, self._levels(levels)
        if ready.whole:
            x, y = jax.device_put((self.x, self.y))
            for draw, key in enumerate(keys):
                program, given = ready.given(self.model, key, x, y, np.arange(0), at, self.n)
                x_, y_ = program(*given)
                y_ = y if y_ is None else y_
                for start, rows in self._rows():
                    yield draw, start, *(_taken((x_, y_), rows) if in_parts else (x_, y_)), ready.several
            return
        for start, rows in self._rows():
            x, y = self._part(rows)
            for draw, key in enumerate(keys):
                of_part = jax.random.fold_in(key, start) if ready.attack and in_parts else key
                program, given = ready.given(self.model, of_part, x, y, rows, at, self.n)
                x_, y_ = program(*given)
                yield draw, start, x_, y if y_ is None else y_, ready.several

    def _repeated(self, v: Any) -> Any:
        if isinstance(v, jax.Array) and not _is_on_cpu(v):
            return jnp.broadcast_to(v, (self.at_once, *v.shape))
        return jax.device_put(np.broadcast_to(v, (self.at_once, *v.shape)))  # without a program

    def measure(
        self,
        family: Family | None,
        levels: Sequence[float],
        keys: Sequence[Any],
        cells: Sequence[Cell],
        ahead: Sequence[Callable[[], Any]] = (),
    ):
        """Fills the cells of a group of levels. Returns for each the faults found, and the first noisy rows.

        What is prepared ahead is prepared as soon as the device has something to do.
        """
        faults, first, place, draws = [0] * len(cells), None, None, max(1, len(keys))
        same_y = family is not None and family.on != "batch"
        sums: list[dict[str, Any]] = [{} for _ in cells]
        sets: list[list[Any]] = [[] for _ in range(draws)]
        for draw, start, noisy, results, y in _one_behind(self._scored(family, levels, keys)):
            if first is None:
                for prepare in ahead:
                    prepare()
                first = noisy()
            size = min(self.batch, self.n - start)
            if start != place:
                self._add(cells, place, sums, draws)
                sums, place = [{} for _ in cells], start
            for number, (scores, flags, outputs) in enumerate(results()):
                faults[number] = max(faults[number], fault(scores, flags, None if same_y else y))
                of_level = sums[number]
                for name, values in scores.items():
                    of_level[name] = of_level.get(name, 0.0) + values[:, :size].astype(np.float64)
                if outputs is not None:
                    sets[draw].append((outputs[:, :size], np.asarray(y)[:size]))
        self._add(cells, place, sums, draws)
        for parts in filter(None, sets):
            cells[0].outputs.append((np.concatenate([p[0] for p in parts], 1), np.concatenate([p[1] for p in parts])))
        return list(zip(faults, first or [None] * len(cells), strict=True))

    def _add(self, cells: Sequence[Cell], start: Any, sums: list[dict[str, Any]], draws: int) -> None:
        if start is not None:
            for cell, of_level in zip(cells, sums, strict=True):
                cell.add(start, {name: values / draws for name, values in of_level.items()})

    def _rows(self) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, self.n, self.batch):
            yield start, np.minimum(np.arange(start, start + min(self.batch, self.n)), self.n - 1)

    def _part(self, rows: np.ndarray) -> Any:
        return (self.x, self.y) if self.n <= self.batch else jax.device_put(_taken((self.x, self.y), rows))


def _compile(lowered: Any) -> None:
    """Fills the cache of the jitted function. Most of it runs outside of Python's lock, while a measurement runs."""
    with contextlib.suppress(Exception):
        lowered.compile()


def _one_behind(items: Iterator[Any]) -> Iterator[Any]:
    """Each item after the next has begun, so that the device computes while the host adds up."""
    last = next(items, None)
    for item in items:
        yield last
        last = item
    if last is not None:
        yield last


def _by_level(tree: Any, count: int, head: int | None = None, *, several: bool) -> list[Any]:
    """Copies on the host by level, or of the first rows of each.

    Only what is not there already is cut by a program, which has to be compiled.
    """
    rows = (slice(None), slice(head)) if several else slice(head)
    if head is not None:
        tree = jax.tree.map(lambda v: v if _is_on_cpu(v) else _cut(v, rows), tree)
        tree = jax.tree.map(lambda v: np.array(np.asarray(v)[rows]), tree)
    else:
        tree = jax.tree.map(np.asarray, tree)
    return [jax.tree.map(lambda v: v[n], tree) for n in range(count)] if several else [tree]  # noqa: B023


def _is_on_cpu(v: Any) -> bool:
    return all(device.platform == "cpu" for device in v.devices()) if isinstance(v, jax.Array) else True


_cut = jax.jit(lambda v, rows: v[rows], static_argnums=1)
_gathered = jax.jit(lambda v, rows: v[rows])


def _taken(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda v: _gathered(v, rows) if isinstance(v, jax.Array) else v[rows], tree)


def _is_data(predict: Any) -> bool:
    """Whether predict is a pytree of arrays, which a compiled program can take as an argument."""
    arrays = (jax.Array, np.ndarray, np.generic)
    return not jax.tree_util.all_leaves([predict]) and all(isinstance(v, arrays) for v in jax.tree.leaves(predict))
