"""Severities: what all corruptions share. 0 is the identity, 1 to 5 are the published levels, and any number between.

Where the parameters of a corruption change evenly, a real severity has the parameters between those of its neighbours
(`between`). Elsewhere it mixes the two neighbouring results, which come from the same draws (`mixed`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._checks import Amount, Mask
from noisejax._random.stream import stream
from noisejax.image._corruptions.tables import NAMES, TABLES
from noisejax.image._pictures import (
    check_shape,
    check_unit,
    converted,
    each_picture,
    of_examples as of_examples,
    rounded_to,
    unit as unit,
)

SEVERITY = _checks.Range(
    "in [0, 5]", lambda v: (v >= 0) & (v <= 5), "0 is the identity, and 1 to 5 are the published levels."
)
LEVELS = 5


def settings(name: str, colour: bool = False, least: Callable[[str], int] | None = None) -> dict[str, Any]:
    """Arguments of `array_noise` for one corruption: its checks, all at trace time or of NumPy pictures."""

    def options(x, table, **_) -> None:
        _checks.one_of(name, "table", table, tuple(t for t in NAMES if name in TABLES[t]) or NAMES)
        check_shape(name, x, (3,) if colour else (1, 3))
        smallest = 1 if least is None else least(table)
        if min(x.shape[-3:-1]) < smallest:
            raise ValueError(
                f"{name}: x must have a height and width of at least {smallest} for table={table!r}, got shape "
                f"{x.shape}. Resize the pictures first, or use the table of their size."
            )

    def host(x, where, **_) -> None:
        check_unit(name, x, where)

    return {"options": options, "host": host, "ranges": {"severity": SEVERITY}, "widen": False}


class Pictures(NamedTuple):
    """Pictures in float32 in [0, 1], without their padding, and the severity in [0, 5]."""

    given: jax.Array
    values: jax.Array
    severity: jax.Array  # a scalar, or of shape (..., 1, 1, 1)
    where: jax.Array | None

    @property
    def scalar(self) -> bool:
        return self.severity.ndim == 0

    def finish(self, values: jax.Array) -> jax.Array:
        return finished(values, self.severity, self.given)


def finished(values: jax.Array, severity: jax.Array, given: jax.Array) -> jax.Array:
    """The result, clipped and rounded once; the pictures themselves at severity 0."""
    return jnp.where(severity > 0, rounded_to(given.dtype, jnp.clip(values, 0, 1)), given)


def pictures(name: str, x: jax.Array, severity: Amount, where: Mask) -> Pictures:
    severity = jnp.asarray(severity, jnp.float32)
    where = None if where is None else jnp.asarray(where)
    if severity.ndim and severity.shape[-3:] != (1, 1, 1):
        raise ValueError(
            f"{name}: severity must be one number, or one per example, of shape (B, 1, 1, 1), got {severity.shape}. "
            "Reshape it: severity.reshape(-1, 1, 1, 1)."
        )
    severity = severity.reshape(()) if severity.size == 1 else severity
    values = converted(x)
    if where is not None:
        values = jnp.where(where, values, mean_of(values, where))
    return Pictures(x, values, jnp.clip(severity, 0, LEVELS), where)


def as_lines(key: Any, seen: Pictures) -> Pictures:
    """The same pictures as one channel of longer lines (..., H, W C, 1), whose draws are the same.

    A CPU vectorizes long loops over the elements of lines, but not over three channels. Where axes may be sharded, and
    for a tile of a larger array, the pictures stay as they are.
    """
    parent = stream(key)
    if parent.layout is not None or parent.tile is not None or not jax.sharding.get_abstract_mesh().empty:
        return seen
    *lead, width, channels = seen.given.shape
    return seen._replace(
        given=seen.given.reshape(*lead, width * channels, 1), values=seen.values.reshape(*lead, width * channels, 1)
    )


def mean_of(values: jax.Array, where: jax.Array | None) -> jax.Array:
    """The mean of each channel of each picture, over its data."""
    if where is None:
        # Sums of whole rows, every eighth one at first, are vectors, and short sums are more accurate than a long one.
        *lead, height, width, channels = values.shape
        apart = 8 if height % 8 == 0 else 1
        rows = values.reshape(*lead, height // apart, apart, width * channels).sum(-3).sum(-2)
        return rows.reshape(*lead, 1, width, channels).sum(-2, keepdims=True) * np.float32(1 / max(height * width, 1))
    where = jnp.broadcast_to(where, values.shape)
    count = jnp.maximum(where.sum((-3, -2), keepdims=True, dtype=jnp.float32), 1)
    return jnp.where(where, values, 0).sum((-3, -2), keepdims=True) / count


def row(name: str, table: str) -> np.ndarray:
    """The table of one corruption as an array: one row per severity, one column per parameter."""
    return np.asarray(TABLES[table][name], np.float32)


def pairs(name: str, table: str) -> Any:
    """The same as tuples of Python numbers, for parameters that decide about whole numbers."""
    return TABLES[table][name]


def between(severity: jax.Array, points: np.ndarray, zero: float) -> jax.Array:
    """A parameter at a real severity, on straight lines through its published values and `zero` at severity 0."""
    knots = np.concatenate([np.full(1, zero), points]).astype(np.float32)
    found = jnp.full_like(severity, knots[0])
    for n in range(LEVELS):
        found = found + (knots[n + 1] - knots[n]) * jnp.clip(severity - n, 0, 1)
    return found


def mixed(image: jax.Array, severity: jax.Array, at: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """(1 - f) at(n) + f at(n + 1) for the scalar severity n + f; at(0) is the picture. It costs one level if f is 0."""
    low = jnp.floor(severity)
    share, level = severity - low, low.astype(jnp.int32)

    def add(total, term):
        level, weight = term
        more = (weight > 0) & (level > 0)
        return lax.cond(more, lambda: total + weight * at(jnp.maximum(level, 1)), lambda: total), None

    start = jnp.where(level > 0, jnp.zeros_like(image), (1 - share) * image)
    terms = (jnp.stack([level, jnp.minimum(level + 1, LEVELS)]), jnp.stack([1 - share, share]))
    return lax.scan(add, start, terms)[0]


def branches(functions: Sequence[Callable], level: jax.Array, *args) -> jax.Array:
    """The function of one level, 1 to 5. Equal entries are compiled once."""
    unique = list(dict.fromkeys(functions))
    which = np.array([unique.index(f) for f in functions], np.int32)
    if len(unique) == 1:
        return unique[0](*args)
    return lax.switch(jnp.asarray(which)[jnp.clip(level - 1, 0, LEVELS - 1)], unique, *args)


def each(function: Callable, seen: Pictures, *draws: jax.Array, shared: tuple[jax.Array, ...] = ()) -> jax.Array:
    """The finished results of ``function(picture, severity, *draws, *shared)`` for every picture."""
    own = () if seen.where is None else (seen.values,)  # padding has been replaced

    def one(given, severity, *rest):
        values = rest[0] if own else converted(given)
        return finished(function(values, severity, *rest[len(own) :]), severity, given)

    return each_picture(one, seen.given, (seen.severity,), (*own, *draws), shared)
