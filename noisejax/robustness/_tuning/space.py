"""`Space`: the noises that a search may try, and how candidates are drawn from it."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from noisejax import _checks
from noisejax._noise import Noise
from noisejax._random import sample
from noisejax._random.stream import stage, words


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """Noises of one structure, by amounts within ranges.

    Args:
      make: a function of the amounts, by name, that returns a noise. Noises differ in their amounts alone.
      ranges: by the name of an amount, (low, high) or (low, high, 'log'). With 'log', amounts are drawn uniformly in
        their logarithm.

    Raises:
      TypeError: `make` is no function, or returns no `Noise`.
      ValueError: a range is empty, or `make` refuses its ends.

    Example:
      >>> import noisejax as nj
      >>> from noisejax import robustness
      >>> def make(std, rate):
      ...     return nj.on_entries((nj.chain(nj.bind(nj.gaussian, std=std), nj.bind(nj.mask, rate=rate)), None))
      >>> robustness.Space(make, {"std": (0.01, 1.0, "log"), "rate": (0.0, 0.5)}).at(0.5, 0.5)
      {'std': 0.1, 'rate': 0.25}
    """

    make: Callable[..., Noise]
    ranges: Mapping[str, tuple]

    def __post_init__(self):
        _checks.function("Space", "make", self.make, "of the amounts that returns a noise")
        if not isinstance(self.ranges, Mapping) or not self.ranges:
            raise TypeError(
                f"Space: ranges must be a mapping from amounts to (low, high), got {_checks.shown(self.ranges)}."
            )
        found = {}
        for name, ends in self.ranges.items():
            if not isinstance(ends, (tuple, list)) or len(ends) not in (2, 3) or (len(ends) == 3 and ends[2] != "log"):
                raise ValueError(
                    f"Space: ranges must be (low, high) or (low, high, 'log') for each amount, got for {name!r} "
                    f"{_checks.shown(ends)}."
                )
            low, high = (_checks.scalar("Space", f"the ends in ranges of {name!r}", end) for end in ends[:2])
            if not low < high or (len(ends) == 3 and low <= 0):
                above = " above 0" if len(ends) == 3 else ""
                raise ValueError(
                    f"Space: ranges must go from a low number{above} to a higher one, got {ends} for {name!r}."
                )
            found[str(name)] = (low, high, *ends[2:])
        object.__setattr__(self, "ranges", found)
        ends = [self.noise(self.at(*[u] * len(found))) for u in (0.0, 1.0)]
        if _structure(ends[0]) != _structure(ends[1]):
            raise ValueError(
                f"Space: make must return noises that differ in their amounts alone, got {ends[0]!r} and {ends[1]!r}."
            )

    def at(self, *shares: float) -> dict[str, float]:
        """The amounts at a share of each range, in [0, 1]."""
        found = {}
        for (name, (low, high, *log)), share in zip(self.ranges.items(), shares, strict=True):
            value = low * (high / low) ** share if log else low + share * (high - low)
            found[name] = float(f"{value:.6g}")
        return found

    def noise(self, amounts: Mapping[str, float]) -> Noise:
        """The noise with these amounts."""
        try:
            made = self.make(**amounts)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Space: make refuses {dict(amounts)}. {error}") from error
        if not isinstance(made, Noise):
            raise TypeError(
                f"Space: make must return a noise that is made by nj.bind or a combinator, got {_checks.shown(made)}."
            )
        return made


class Entry(NamedTuple):
    """A noise to try."""

    name: str
    amounts: dict[str, float]
    noise: Noise


def _structure(noise: Noise) -> Any:
    leaves, structure = jax.tree.flatten(noise)
    return structure, tuple((np.shape(leaf), np.result_type(leaf)) for leaf in leaves)


def entries(key: jax.Array, candidates: Any, budget: int, search: str) -> list[Entry]:
    """The noises to try, in order."""
    if isinstance(candidates, Space):
        candidates = {"noise": candidates}
    if isinstance(candidates, (list, tuple)) and candidates and all(isinstance(c, Noise) for c in candidates):
        return [Entry(str(n), {}, noise) for n, noise in enumerate(candidates)][:budget]
    if (
        not isinstance(candidates, Mapping)
        or not candidates
        or not all(isinstance(c, Space) for c in candidates.values())
    ):
        raise TypeError(
            "tune: candidates must be a robustness.Space, a mapping from names to spaces, or a list of noises, got "
            f"{_checks.shown(candidates)}."
        )
    if budget < len(candidates):
        raise ValueError(f"tune: budget must be at least one noise for each of {len(candidates)} spaces, got {budget}.")
    found = []
    for number, (name, space) in enumerate(candidates.items()):
        count = budget // len(candidates) + (number < budget % len(candidates))
        size = len(space.ranges)
        if search == "grid":
            points = int(np.floor(count ** (1 / size) + 1e-9))
            along = np.linspace(0, 1, points) if points > 1 else [0.5]
            shares: Any = list(itertools.product(along, repeat=size))
        else:
            streams = [stage(key, "search", str(name), amount) for amount in space.ranges]
            shares = np.stack([np.asarray(sample.uniform(words(s, "share", (count,)))) for s in streams], 1)
        for share in shares:
            amounts = space.at(*map(float, share))
            found.append(Entry(str(name), amounts, space.noise(amounts)))
    return found


def groups(found: list[Entry]) -> list[list[int]]:
    """The numbers of the entries that share one structure, so that one program trains them."""
    by: dict[Any, list[int]] = {}
    for number, entry in enumerate(found):
        by.setdefault(_structure(entry.noise), []).append(number)
    return list(by.values())
