"""`Family`: a noise at growing levels, the unit that sweeps, reports and tuning share."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._noise import stages

ON = ("x", "batch", "host", "attack")


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """A noise at growing levels.

    Args:
      name: the name in reports. It is a part of the key of every draw.
      noise_at: a function of a level. What it returns depends on `on`.
      levels: finite numbers in increasing order.
      on: what the noise acts on.

        - ``'x'``: ``noise_at(level)`` is a noise ``(key, x) -> x``. The level is traced, so all levels share one
          compilation.
        - ``'batch'``: a noise ``(key, (x, y)) -> (x, y)``, for wrong labels and for mixing. The level is traced.
        - ``'host'``: a function ``(key, x) -> x`` of the whole x on the host, for data frames and strings. The level is
          a float.
        - ``'attack'``: a function ``(key, predict, (x, y)) -> x``. The level is traced, and a float if the sweep has
          ``host=True``.
      labels: names of the levels if these are numbers of things without an order, as `by_column` makes them.

    Raises:
      TypeError: name is no string, noise_at no function, or levels are no numbers.
      ValueError: the levels are not finite and increasing, or `on` is not one of the four.

    Example:
      >>> import noisejax as nj
      >>> from noisejax import robustness
      >>> robustness.Family("gaussian", lambda std: nj.bind(nj.gaussian, std=std), (0.0, 0.1, 0.2)).levels.tolist()
      [0.0, 0.1, 0.2]
    """

    name: str
    noise_at: Callable[..., Any]
    levels: Any
    on: str = "x"
    labels: Sequence[str] | None = None

    def __post_init__(self):
        _checks.string("Family", "name", self.name)
        _checks.function("Family", "noise_at", self.noise_at, "of a level, such as lambda std: nj.bind(..., std=std)")
        try:
            levels = np.asarray(self.levels, np.float64)
        except (TypeError, ValueError):
            levels = None
        if levels is None or levels.ndim != 1:
            raise TypeError(f"Family: levels must be a list of numbers, got {_checks.shown(self.levels)}.")
        if not levels.size or not np.all(np.isfinite(levels)) or np.any(np.diff(levels) <= 0):
            raise ValueError(f"Family: levels of {self.name!r} must be finite and increasing, got {levels.tolist()}.")
        _checks.one_of("Family", "on", self.on, ON)
        object.__setattr__(self, "levels", levels)
        if self.labels is not None:
            if isinstance(self.labels, str) or len(self.labels) != len(levels):
                raise ValueError(
                    f"Family: labels must be a list with a name for each of the {len(levels)} levels, got "
                    f"{_checks.shown(self.labels)}."
                )
            object.__setattr__(self, "labels", tuple(map(str, self.labels)))


def by_column(name: str, noise: Callable[..., Any], columns: Sequence[str] | int) -> Family:
    """A family that hits one column at a time, which shows the column that hurts a model most.

    Args:
      name: the name in reports.
      noise: a noise ``(key, x) -> x`` of tables (rows, columns), such as ``nj.bind(nj.tabular.missing, rate=1.0)`` or
        ``nj.bind(nj.swap, rate=1.0)``.
      columns: the names of the columns in order, or their number.

    Returns:
      A `Family` whose levels are the numbers of the columns. All columns share one compilation. `Report.sensitivity`
      ranks them.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((500, 2)), 1.0)
      >>> wrong = robustness.by_column("wrong", nj.bind(nj.swap, rate=1.0), ["size", "weight"])
      >>> report = robustness.sweep(jax.random.key(1), lambda x: x[:, 1] > 0, (x, x[:, 1] > 0), [wrong])
      >>> [row.column for row in report.sensitivity()["wrong"]]
      ['weight', 'size']
    """
    _checks.string("by_column", "name", name)
    _checks.function("by_column", "noise", noise, "(key, x) -> x")
    stages("by_column", (noise,))  # a noise of this library must be bound
    if isinstance(columns, (int, np.integer)) and not isinstance(columns, bool):
        columns = [str(n) for n in range(_checks.count("by_column", "columns", columns, 1))]
    if isinstance(columns, str) or not isinstance(columns, (list, tuple, np.ndarray)) or not len(columns):
        raise TypeError(
            f"by_column: columns must be a list of names or a number of columns, got {_checks.shown(columns)}."
        )
    names = list(map(str, columns))

    def only(column):
        def hit(key, x):
            if x.ndim != 2 or x.shape[1] != len(names):
                raise ValueError(f"by_column: x must have {len(names)} columns, got shape {tuple(x.shape)}.")
            hit_here = jnp.arange(len(names)) == jnp.asarray(column, jnp.float32).astype(jnp.int32)
            return jnp.where(hit_here[None], noise(key, x), x)

        return hit

    return Family(name, only, np.arange(len(names), dtype=float), labels=names)


def checked(families: Any, function: str = "sweep", name: str = "families") -> tuple[Family, ...]:
    """A list of families."""
    if isinstance(families, Family):
        families = [families]
    if not isinstance(families, (list, tuple)) or not all(isinstance(family, Family) for family in families):
        raise TypeError(
            f"{function}: {name} must be a list of robustness.Family(name, noise_at, levels), got "
            f"{_checks.shown(families)}."
        )
    names = [family.name for family in families]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{function}: {name} must have different names, got {twice[0]!r} twice.")
    return tuple(families)


def is_traced(family: Family, host: bool) -> bool:
    """Whether the level is a traced number."""
    return family.on in ("x", "batch") or (family.on == "attack" and not host)
