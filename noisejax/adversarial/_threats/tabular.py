"""Threats to table rows: integers stay integers, categories stay one-hot, and relations between columns hold."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import straight_through
from noisejax._random import sample
from noisejax.adversarial._threats.balls import Threat, divide_or, max_abs, words_per_element


class Tabular(Threat):
    """A threat whose adversarial examples are valid table rows.

    The loss of an attack only ever sees valid rows. The perturbation lives in a relaxed space, with a real number for
    each integer and a number in [0, 1] for each category. Rows are made valid from there, and gradients pass straight
    through that step (`derive` is differentiated). A row that cannot be made valid inside the ball becomes its clean
    row.

    A step changes relaxed categories by a share of [0, 1]. The default step_size of `pgd` and similar attacks accounts
    for this.

    Args:
      threat: `Linf`, `L2` or `L1` for the numeric columns, with bounds as wide as x. Leave columns that may not change
        out of `mutable`. The threat does not measure categorical and derived columns.
      integers: columns that hold integers. They are rounded; where rounding would leave the ball, they are rounded
        towards x.
      categories: groups of columns, each the one-hot encoding of one category. The 1 is placed at the largest relaxed
        value. If a column of a group is not `mutable`, the whole group stays fixed.
      switches: how many categories of an example may change; None for all of them. The categories whose relaxed values
        changed most take precedence.
      derive: a function ``x -> x`` from (B, D) to (B, D) that computes columns from other columns, such as a total from
        its parts. It is called after rounding, and may only change `derived` columns.
      derived: the columns that `derive` sets.

    References:
      Simonetto et al., "Constrained adaptive attack: effective adversarial attack against deep neural networks for
      tabular data", NeurIPS 2024: the kinds of constraints. They correct types once at the end; here types are
      corrected at every step.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> numeric = adversarial.Linf(jnp.array([[0.5, 2.0, 0.0, 0.0, 0.0]]), bounds=None)
      >>> total = lambda x: x.at[:, 4].set(x[:, 0] + x[:, 1])
      >>> threat = adversarial.Tabular(numeric, integers=(1,), categories=((2, 3),), derive=total, derived=(4,))
      >>> x = jnp.array([[1.0, 3.0, 1.0, 0.0, 4.0]])
      >>> threat.perturbed(x, jnp.array([[0.25, 1.75, -0.75, 0.5, 0.0]])).tolist()
      [[1.25, 5.0, 0.0, 1.0, 6.25]]
    """

    _data: ClassVar[tuple[str, ...]] = ("threat",)
    _static: ClassVar[tuple[str, ...]] = ("integers", "categories", "switches", "derive", "derived")

    def __init__(
        self,
        threat: Threat,
        *,
        integers: Sequence[int] = (),
        categories: Sequence[Sequence[int]] = (),
        switches: int | None = None,
        derive: Callable | None = None,
        derived: Sequence[int] = (),
    ):
        if not isinstance(threat, Threat) or isinstance(threat, Tabular) or not hasattr(threat, "eps"):
            raise TypeError(f"Tabular: threat must be Linf, L2 or L1 for the numeric columns, got {threat!r}.")
        self.threat = threat
        self.integers = _columns("integers", integers)
        if not isinstance(categories, (list, tuple)):
            got = _checks.shown(categories)
            raise TypeError(f"Tabular: categories must be a tuple of groups of columns, got {got}.")
        self.categories = tuple(_columns("categories", group) for group in categories)
        self.derived = _columns("derived", derived)
        named = [*self.integers, *(c for group in self.categories for c in group), *self.derived]
        if len(set(named)) != len(named):
            raise ValueError(
                f"Tabular: a column may appear only once in integers, categories and derived, got {sorted(named)}."
            )
        if any(len(group) < 2 for group in self.categories):
            raise ValueError(f"Tabular: each of categories must have at least two columns, got {categories!r}.")
        if switches is not None:
            switches = _checks.count("Tabular", "switches", switches, 0, "None for any number.")
        if (derive is None) != (not self.derived):
            raise ValueError("Tabular: derive is the function that sets the derived columns. Pass both or neither.")
        self.switches, self.derive = switches, derive

    eps = property(lambda self: self.threat.eps)
    bounds = property(lambda self: self.threat.bounds)
    mutable = property(lambda self: self.threat.mutable)

    def fitted(self, x):
        if x.ndim != 2 or any(c >= x.shape[1] for c in self._named()):
            raise ValueError(f"Tabular: x must have shape (B, D) and contain all named columns, got {x.shape}.")
        threat = object.__new__(Tabular)
        for name in self._static:
            setattr(threat, name, getattr(self, name))
        threat.threat = self.threat.fitted(x)
        return threat

    def norm(self, delta):
        """The size of the perturbation of the numeric columns."""
        return self.threat.norm(jnp.where(self._numeric(delta), delta, 0))

    def reach(self, x):
        return jnp.where(self._is(x, self._in_groups()), 1, self.threat.reach(x))

    def masked(self, delta):
        free = delta if self.threat.mutable is None else self.threat.masked(delta)
        return jnp.where(self._is(delta, self.derived), 0, free)

    def contains(self, delta, x, atol=1e-6):
        """Whether a perturbation gives a valid row: ball, bounds, types and relations."""
        threat = self.fitted(x)
        point = x + delta
        inside = threat._inside(point, x, atol)
        near = jnp.abs(jnp.round(point) - point) <= atol * (1 + jnp.abs(point))
        inside = inside & jnp.all(near | ~self._is(x, self.integers), axis=1)
        for group in self.categories:
            now = point[:, np.array(group)]
            hot = jnp.sum((now == 1).astype(jnp.float32), axis=1)
            cold = jnp.sum((now == 0).astype(jnp.float32), axis=1)
            inside = inside & (hot == 1) & (cold == len(group) - 1)
        if self.switches is not None and self.categories:
            inside = inside & (self._switched(point, x) <= self.switches)
        if self.derive is not None:
            inside = inside & jnp.all(jnp.abs(self.derive(point) - point) <= atol * (1 + jnp.abs(point)), axis=1)
        return inside

    def perturbed(self, x, delta):
        threat = self.fitted(x)
        category = self._is(x, self._in_groups())
        delta = threat.masked(delta)
        numeric = jnp.where(category, 0, delta)
        base = threat.threat
        point = base.into_bounds(x + numeric)
        # The nearest integer may lie outside the ball; the next one towards x does not.
        integer = self._is(x, self.integers)
        nearest = jnp.where(integer, jnp.round(point), point)
        shorter = jnp.where(integer, x + jnp.trunc(point - x), point)
        nearest = jnp.where(_column(threat._inside(nearest, x, 1e-6)), nearest, shorter)
        valid = jnp.where(category, threat._one_hot(x, delta), nearest)
        point = straight_through(valid, x + delta)
        if self.derive is not None:
            point = jnp.where(self._is(x, self.derived), self.derive(point), point)
        kept = _column(threat._inside(jax.lax.stop_gradient(point), x, 1e-6))
        return jnp.where(kept, point, straight_through(x, x + delta))

    ahead = perturbed

    def _inside(self, point, x, atol):
        """Whether numeric columns lie inside the ball, all lie inside the bounds, and immutable ones are unchanged."""
        delta = point - x
        numeric = jnp.where(self._numeric(x), delta, 0)
        inside = self.threat._within(numeric, atol * (1 + self.threat.eps))
        if self.threat.mutable is not None:
            inside = inside & jnp.all(self.threat.mutable | (delta == 0) | self._is(x, self.derived), axis=1)
        if self.threat.bounds is not None:
            low, high = self.threat.bounds
            inside = inside & jnp.all((point >= low - atol) & (point <= high + atol), axis=1)
        return inside

    def _one_hot(self, x, delta):
        """x with the categories that the relaxed values select, at most `switches` of them changed."""
        result, gains, proposals = x, [], []
        for group in self.categories:
            columns = np.array(group)
            relaxed = (x + delta)[:, columns]
            best = jnp.argmax(relaxed, axis=1).astype(jnp.int32)
            hot = best[:, None] == jnp.arange(len(group), dtype=jnp.int32)[None]
            now = x[:, columns] > 0.5
            gains.append(jnp.max(relaxed, axis=1) - jnp.sum(jnp.where(now, relaxed, 0), axis=1))
            proposals.append((columns, hot))
        if not gains:
            return result
        gain = jnp.stack(gains, axis=1)
        allowed = gain > 0
        if self.switches is not None:
            rank = jnp.argsort(jnp.argsort(-gain, axis=1), axis=1)
            allowed = allowed & (rank < self.switches)
        for n, (columns, hot) in enumerate(proposals):
            changed = jnp.where(allowed[:, n : n + 1], hot.astype(x.dtype), x[:, columns])
            result = result.at[:, columns].set(changed)
        return result

    def _switched(self, point, x):
        changed = [jnp.any(point[:, np.array(group)] != x[:, np.array(group)], axis=1) for group in self.categories]
        return jnp.sum(jnp.stack(changed, axis=1), axis=1, dtype=jnp.int32)

    def _project(self, delta, x):
        result = self._ball(x).project(delta, x)
        for group in self.categories:  # project each relaxed category onto the simplex
            columns = np.array(group)
            p = (x + delta)[:, columns]
            largest = -jnp.sort(-p, axis=1)
            size = jnp.arange(1, len(group) + 1, dtype=x.dtype)[None]
            excess = jnp.max((jnp.cumsum(largest, axis=1) - 1) / size, axis=1, keepdims=True)
            result = result.at[:, columns].set(jnp.maximum(p - excess, 0) - x[:, columns])
        return result

    def _draw(self, stream, x, surface):
        u = sample.uniform(words_per_element(stream, "adversarial.categories", x))
        return jnp.where(self._is(x, self._in_groups()), u - x, self._ball(x)._draw(stream, x, surface))

    def _steepest(self, grad, x, delta):
        result = self._ball(x).steepest(grad, x, delta)
        for group in self.categories:
            columns = np.array(group)
            tangent = grad[:, columns] - jnp.mean(grad[:, columns], axis=1, keepdims=True)
            result = result.at[:, columns].set(divide_or(tangent, max_abs(tangent)))
        return result

    def _ball(self, x):
        """The threat restricted to the numeric columns."""
        ball = self.threat.fitted(x)
        numeric = self._numeric(x)
        ball.mutable = numeric if ball.mutable is None else numeric & ball.mutable
        return ball

    def _named(self):
        return (*self.integers, *self._in_groups(), *self.derived)

    def _in_groups(self):
        return tuple(c for group in self.categories for c in group)

    def _numeric(self, x):
        return ~self._is(x, (*self._in_groups(), *self.derived))

    def _is(self, x, columns: Sequence[int]) -> jax.Array:
        mask = np.zeros((1, x.shape[1]), bool)
        mask[:, list(columns)] = True
        return jnp.asarray(mask)


def _columns(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list, range, np.ndarray)):
        raise TypeError(f"Tabular: {name} must be columns, such as (0, 3), got {value!r}.")
    if not all(isinstance(c, (int, np.integer)) and c >= 0 for c in value):
        raise TypeError(f"Tabular: {name} must be columns, numbered from 0, got {value!r}.")
    return tuple(int(c) for c in value)


def _column(inside: jax.Array) -> jax.Array:
    return inside[:, None]
