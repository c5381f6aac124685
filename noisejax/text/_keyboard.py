"""Slips to a neighbouring key, with weights that follow from the geometry of a keyboard."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.text._data.keyboards import LAYOUTS, OFFSETS
from noisejax.text._edits import check_integers, of_all, reaches

_REACH, _WIDTH = 1.25, 0.6  # key widths: the largest distance of a neighbour, and the std of a slip


@functools.cache
def neighbours(layout: str) -> dict[str, dict[str, float]]:
    """The probabilities of the neighbours of each key, by its character. Shift stays as it is."""
    found = {}
    for shift in (0, 1):
        keys = [
            (character, OFFSETS[row] + column, float(row))
            for row, strings in enumerate(LAYOUTS[layout])
            for column, character in enumerate(strings[shift])
        ]
        for character, x, y in keys:
            squares = {other: (x - u) ** 2 + (y - v) ** 2 for other, u, v in keys if other != character}
            near = {other: np.exp(-d / (2 * _WIDTH**2)) for other, d in squares.items() if d <= _REACH**2}
            found[character] = {other: float(weight / sum(near.values())) for other, weight in near.items()}
    return found


@functools.cache
def _table(layout: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The row of each code, row 0 for codes without a key; for each row cumulative probabilities, and codes."""
    keys = neighbours(layout)
    width = max(map(len, keys.values()))
    rows = np.zeros(max(map(ord, keys)) + 1, np.int32)
    ends, codes = np.ones((len(keys) + 1, width), np.float32), np.zeros((len(keys) + 1, width), np.uint32)
    for number, (character, near) in enumerate(keys.items(), 1):
        rows[ord(character)] = number
        ends[number, : len(near) - 1] = np.cumsum(list(near.values()))[:-1]
        codes[number, : len(near)] = list(map(ord, near))
    return rows, ends, codes


def _options(x, layout, of) -> None:
    check_integers("keyboard", x)
    _checks.one_of("keyboard", "layout", layout, tuple(LAYOUTS))
    _checks.one_of("keyboard", "of", of, ("eligible", "all"))
    if int(_table(layout)[2].max()) > jnp.iinfo(x.dtype).max:
        raise ValueError(
            f"keyboard: x of {x.dtype} cannot hold the characters of layout={layout!r}. Encode the text with "
            "dtype=np.uint32."
        )
    if not x.ndim:
        raise ValueError("keyboard: x must have an axis of characters, (..., L), got a scalar.")


def _reachable(x, where, rate, layout, of) -> None:
    """Requires that texts known on the host have enough keys for a rate of all characters."""
    _options(x, layout, of)
    keys = np.isin(x, np.flatnonzero(_table(layout)[0])).astype(np.float32)
    reaches("keyboard", rate, of, keys, where, f"that are keys of layout={layout!r}")


@array_noise(_checks.numbers, options=_options, host=_reachable, ranges={"rate": _checks.rate}, moves=False)
def keyboard(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    layout: str = "qwerty",
    of: str = "eligible",
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Substitutes characters with those of neighbouring keys.

    Keys are neighbours within 1.25 key widths. A slip over a distance d has weight ``exp(-d**2 / (2 * 0.6**2))``. Rows
    start at 0, 0.5, 0.75 and 1.25 key widths, and shift stays as it is. Characters without a key stay.

    Args:
      key: a JAX key.
      x: code points (..., L), a `noisejax.Padded` as `encode` makes or an array of integers.
      rate: the probability that a character is hit, in [0, 1]; traced values are clamped. 0 is the identity.
      layout: ``"qwerty"``, ``"qwertz"``, ``"azerty"``, ``"dvorak"`` or ``"jcuken"`` (Russian). Static.
      of: ``"eligible"`` if the rate counts characters that have a key; ``"all"`` if it is the error rate of all
        characters of a text, which raises it for those with a key, up to 1. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Code points of x's shape and dtype.

    Raises:
      ValueError: the layout is unknown, or x on the host has too few keys for a rate of all characters.

    References:
      Offsets of rows as on ANSI keyboards; Belinkov and Bisk, "Synthetic and natural noise both break neural machine
      translation", ICLR 2018, for typing errors by neighbouring keys.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["the quick brown fox"])
      >>> nj.text.decode(nj.text.keyboard(jax.random.key(0), text, 0.2))
      ['tye auick brown fox']
    """
    rows, ends, codes = map(jnp.asarray, _table(layout))
    code = x.astype(jnp.uint32)
    row = rows.at[jnp.minimum(code, jnp.uint32(len(rows) - 1))].get(mode="promise_in_bounds")
    row = jnp.where(code < jnp.uint32(len(rows)), row, 0)
    eligible = row > 0
    if of == "all":
        rate = of_all(rate, eligible.astype(jnp.float32), where)
    hit = sample.bernoulli(words_like(key, "keyboard", x), rate) & eligible
    u = sample.uniform(words_like(key, "keyboard.key", x))
    passed = u[..., None] >= ends.at[row].get(mode="promise_in_bounds")
    place = row * codes.shape[1] + jnp.sum(passed, axis=-1, dtype=jnp.int32)
    near = codes.reshape(-1).at[place].get(mode="promise_in_bounds")
    return Hit(hit, near.astype(x.dtype))
