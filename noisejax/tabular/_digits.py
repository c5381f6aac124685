"""Mistyped digits of codes and numbers, in integer arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.tabular._cells import NUMBERS, real
from noisejax.tabular._hit import cells, options
from noisejax.tabular._probability import Mechanism

OPERATIONS = ("transpose", "drop", "repeat", "replace")
_MOST = 9  # digits of the largest int32 that may all be 9
# The keys next to each key of a numeric keypad, 789 / 456 / 123 / 0, left, right, above and below.
_ADJACENT = {0: (1, 2), 1: (0, 2, 4), 2: (0, 1, 3, 5), 3: (2, 6), 4: (1, 5, 7), 5: (2, 4, 6, 8), 6: (3, 5, 9)}
_ADJACENT |= {7: (4, 8), 8: (5, 7, 9), 9: (6, 8)}


def _digit_options(x, kind, decimals, **shared) -> None:
    options("digit")(x, **shared)
    _checks.one_of("digit", "kind", kind, OPERATIONS)
    if not isinstance(decimals, (int, np.integer)) or isinstance(decimals, bool) or not 0 <= decimals <= 9:
        raise ValueError(f"digit: decimals must be an integer from 0 to 9, got {decimals!r}.")
    if decimals and jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(f"digit: decimals is for floats, got {decimals} for x of {x.dtype}. Leave it out.")


@array_noise(NUMBERS, options=_digit_options, ranges={"rate": _checks.rate}, widen=False)
def digit(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    mechanism: Mechanism | None = None,
    *,
    kind: str = "transpose",
    decimals: int = 0,
    exact: bool = False,
    together: tuple[int, ...] | None = None,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Mistyped numbers: one decimal digit is transposed with the next, dropped, typed twice or replaced.

    A float is read as ``round(x * 10**decimals)``. The place is uniform among those at which the number changes: two
    equal neighbours are never transposed.

    Args:
      key: a JAX key.
      x: a table (..., rows, columns) of integers or floats, or an array of any shape without a mechanism.
      rate: the probability that a cell that can change is hit, in [0, 1], broadcastable to x; traced values are
        clamped. 0 is the identity.
      mechanism: where hits fall, as in `missing`.
      kind: `'transpose'`, `'drop'`, `'repeat'`, or `'replace'` by a neighbouring key of a numeric keypad. Static.
      decimals: the number of decimals in which floats are written, from 0 to 9. Static.
      exact, together: as in `missing`.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      An array of x's shape and dtype; cells that are not hit are unchanged to the bit. Signs are preserved. Numbers of
      more than 9 digits, or more than x's precision holds, are unchanged and no hits.

    References:
      Wiseman, Cairns and Cox, "A taxonomy of number entry error", BCS HCI 2011.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> nj.tabular.digit(jax.random.key(0), jnp.array([12, 33, 7]), 1.0).tolist()
      [21, 33, 7]
      >>> nj.tabular.digit(jax.random.key(0), jnp.array([19.5]), 1.0, kind="drop", decimals=1).tolist()
      [9.5]
    """
    floats = jnp.issubdtype(x.dtype, jnp.floating)
    scale = 10.0**decimals
    limit = 10**_MOST
    if floats:
        scaled = jnp.round(real(x) * scale)
        # Beyond the integers that x's precision holds, the last digits are those of the rounding.
        fits = jnp.abs(scaled) < min(limit, 1 / float(jnp.finfo(x.dtype).eps) * 2)
        whole = jnp.where(fits, scaled, 0).astype(jnp.int32)
    else:
        fits = (x > -min(limit, jnp.iinfo(x.dtype).max)) & (x < min(limit, jnp.iinfo(x.dtype).max))
        whole = jnp.where(fits, x, 0).astype(jnp.int32)
    size = jnp.abs(whole)
    chosen, found = _mistyped(size, words_like(key, "tabular.digit.place", x), kind)
    chosen = jnp.where(whole < 0, -chosen, chosen)
    if floats:
        value = jnp.where(fits & found, chosen.astype(real(x).dtype) / scale, real(x))
    else:
        value = jnp.where(fits & found & _holds(chosen, x.dtype), chosen.astype(x.dtype), x)
    return cells(key, "digit", x, rate, value, mechanism, exact, together, where)


def _holds(value: jax.Array, dtype) -> jax.Array:
    info = jnp.iinfo(dtype)
    return (value >= max(info.min, -(2**31))) & (value <= min(info.max, 2**31 - 1))


def _mistyped(size: jax.Array, w: jax.Array, kind: str) -> tuple[jax.Array, jax.Array]:
    """One of the numbers that the operation makes, uniform over places, and whether there is any."""
    candidates = list(_candidates(size, w, kind))
    count = jnp.stack([valid for _, valid in candidates]).sum(0, dtype=jnp.int32)
    pick = (sample.uniform(w) * count.astype(jnp.float32)).astype(jnp.int32)
    pick = jnp.minimum(pick, count - 1)
    chosen, seen = size, jnp.zeros_like(size)
    for value, valid in candidates:
        chosen = jnp.where(valid & (seen == pick), value, chosen)
        seen = seen + valid.astype(jnp.int32)
    return chosen, count > 0


def _candidates(size: jax.Array, w: jax.Array, kind: str):
    """For each place, from the last digit on: the number with that digit mistyped, and whether it differs and fits."""
    for place in range(_MOST):
        unit = 10**place
        exists = size >= unit if place else size >= 0  # 0 is one digit
        high, digit, low = size // (unit * 10) if place < _MOST - 1 else size * 0, size // unit % 10, size % unit
        if kind == "transpose":
            upper = high % 10
            value = size + (upper - digit) * unit + (digit - upper) * unit * 10 if place < _MOST - 1 else size
            yield value, (size >= unit * 10) & (upper != digit) if place < _MOST - 1 else size < 0
        elif kind == "drop":
            value = high * unit + low
            yield value, exists & (size >= 10) & (value != size)
        elif kind == "repeat":
            fits = size < 10 ** (_MOST - 1)
            high = jnp.where(fits, size // unit, 0)  # with the digit itself
            value = (high * 10 + digit) * unit + low
            yield value, exists & fits & (value != size)
        else:
            # The low bits of the word: its high bits choose the place.
            table = np.array([[_ADJACENT[d][n % len(_ADJACENT[d])] for n in range(12)] for d in range(10)])
            which = (w & jnp.uint32(0xFFF)).astype(jnp.int32) * 12 >> 12  # uniform on 2, 3 and 4 neighbours alike
            other = jnp.asarray(table, jnp.int32).reshape(-1).at[digit * 12 + which].get(mode="promise_in_bounds")
            yield size + (other - digit) * unit, exists
