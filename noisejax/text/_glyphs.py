"""Characters that are mistaken for others: by a scanner, by the eye, and by the shift key."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _checks
from noisejax._batch import padded_noise
from noisejax._contract import Amount, Hit, Mask, Moved, array_noise
from noisejax._padded import Padded
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.text._data.glyphs import JOINED, groups, lookalikes
from noisejax.text._edits import (
    INTEGERS,
    OF,
    Slot,
    check_integers,
    check_shape,
    emit,
    every_other,
    following,
    host_data,
    of_all,
    per_text,
    pick,
    places,
    preceding,
    reaches,
)


class Glyphs(NamedTuple):
    """What each character may become: a range of a list of one or two codes. Static, on the host."""

    start: np.ndarray  # for each code, with one more for all beyond
    count: np.ndarray
    first: np.ndarray
    second: np.ndarray  # 0 for none
    cost: np.ndarray  # the mean number of edits, for each code


def glyphs(table: Mapping[str, tuple[str, ...]]) -> Glyphs:
    size = max(map(ord, table)) + 2
    start, count, cost = np.zeros(size, np.int32), np.zeros(size, np.int32), np.zeros(size, np.float32)
    flat: list[str] = []
    for character, others in table.items():
        code = ord(character)
        start[code], count[code], cost[code] = len(flat), len(others), np.mean(list(map(len, others)))
        flat += others
    first = np.array([ord(other[0]) for other in flat], np.uint32)
    second = np.array([ord(other[1]) if len(other) > 1 else 0 for other in flat], np.uint32)
    return Glyphs(start, count, first, second, cost)


def _row(table: Glyphs, x: jax.Array) -> jax.Array:
    """The place of each code in the table; codes beyond it share the last place, which has no glyphs."""
    return jnp.minimum(x.astype(jnp.uint32), jnp.uint32(len(table.count) - 1)).astype(jnp.int32)


def _cost(table: Glyphs, x: np.ndarray) -> np.ndarray:
    return table.cost[np.minimum(x.astype(np.int64), len(table.cost) - 1)]


def _options(function: str, table: Glyphs, x, of: str) -> None:
    check_integers(function, x)
    _checks.one_of(function, "of", of, OF)
    if int(table.first.max()) > jnp.iinfo(x.dtype).max:
        raise ValueError(
            f"{function}: x of {x.dtype} cannot hold all characters that may be drawn. Encode the text with "
            "dtype=np.uint32."
        )
    if not x.ndim:
        raise ValueError(f"{function}: x must have an axis of characters, (..., L), got a scalar.")


def _substituted(function: str, table: Glyphs, key, x: jax.Array, rate, of: str, where) -> Hit:
    row = _row(table, x)
    count = pick(table.count, row)
    if of == "all":
        rate = of_all(rate, pick(table.cost, row), where)
    hit = sample.bernoulli(words_like(key, function, x), rate) & (count > 0)
    number = _draw(key, f"{function}.glyph", x, count)
    return Hit(hit, pick(table.first, pick(table.start, row) + number).astype(x.dtype))


def _draw(key, tag: str, x: jax.Array, count: jax.Array) -> jax.Array:
    """An integer below each count; 0 where the count is 0."""
    return sample.integers(words_like(key, tag, x), words_like(key, f"{tag}.low", x), jnp.maximum(count, 1))


@functools.cache
def _homoglyphs() -> Glyphs:
    return glyphs(lookalikes())


def _homoglyph_options(x, of) -> None:
    _options("homoglyph", _homoglyphs(), x, of)


def _homoglyph_host(x, where, rate, of) -> None:
    _homoglyph_options(x, of)
    reaches("homoglyph", rate, of, _cost(_homoglyphs(), x), where, "that have look-alikes")


@array_noise(
    _checks.numbers, options=_homoglyph_options, host=_homoglyph_host, ranges={"rate": _checks.rate}, moves=False
)
def homoglyph(
    key: jax.Array, x: jax.Array, rate: Amount, *, of: str = "eligible", where: Mask = None, lengths: Mask = None
) -> Hit:
    """Substitutes characters with others that look the same, such as a Cyrillic а for a Latin a.

    A character becomes any other of its class with equal probabilities. The classes are those of Unicode's table of
    confusable characters, among ASCII, extended Latin, Greek, Cyrillic and Armenian.

    Args:
      key: a JAX key.
      x: code points (..., L), a `noisejax.Padded` as `encode` makes or an array of integers, of 16 bits or more.
      rate: the probability that a character that has look-alikes is hit, in [0, 1]; traced values are clamped. 0 is the
        identity.
      of: ``"eligible"`` if the rate counts characters that have look-alikes; ``"all"`` if it is the error rate of all
        characters of a text. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Code points of x's shape and dtype.

    Raises:
      ValueError: x on the host has too few look-alikes for a rate of all characters, or its dtype holds bytes.

    References:
      Unicode Technical Standard 39, "Unicode security mechanisms": confusables.txt, version 14.0.0.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["pay"])
      >>> nj.text.decode(nj.text.homoglyph(jax.random.key(1), text, 1.0))
      ['рαɣ']
    """
    return _substituted("homoglyph", _homoglyphs(), key, x, rate, of, where)


_CASES = ("swap", "upper", "lower")
_LAST = 0x2000  # letters beyond are of scripts that are seldom written


@functools.cache
def _cases(kind: str) -> Glyphs:
    found = {}
    for code in range(_LAST):
        small, capital = chr(code), chr(code).upper()
        if len(capital) == 1 and capital != small and capital.lower() == small and ord(capital) < _LAST:
            if kind != "lower":
                found[small] = (capital,)
            if kind != "upper":
                found[capital] = (small,)
    return glyphs(found)


def _case_options(x, kind, of) -> None:
    check_integers("case", x)
    _checks.one_of("case", "kind", kind, _CASES)
    _checks.one_of("case", "of", of, OF)
    if not x.ndim:
        raise ValueError("case: x must have an axis of characters, (..., L), got a scalar.")


def _case_host(x, where, rate, kind, of) -> None:
    _case_options(x, kind, of)
    reaches("case", rate, of, _cost(_cases(kind), x), where, f"that kind={kind!r} can change")


@array_noise(_checks.numbers, options=_case_options, host=_case_host, ranges={"rate": _checks.rate}, moves=False)
def case(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    kind: str = "swap",
    of: str = "eligible",
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Changes the case of letters.

    Only letters up to U+1FFF whose capital letter is one character that leads back to them are changed: ß and İ stay.
    At a rate of 0.5, ``kind="swap"`` gives every letter a random case.

    Args:
      key: a JAX key.
      x: code points (..., L), a `noisejax.Padded` as `encode` makes or an array of integers.
      rate: the probability that a letter that can change is hit, in [0, 1]; traced values are clamped. 0 is the
        identity.
      kind: ``"swap"`` changes letters of both cases, ``"upper"`` makes small letters capital, and ``"lower"`` capital
        letters small. Static.
      of: ``"eligible"`` if the rate counts letters that can change; ``"all"`` if it is the error rate of all characters
        of a text. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`.

    Returns:
      Code points of x's shape and dtype. Letters whose other case x's dtype cannot hold stay.

    Raises:
      ValueError: an unknown kind, or x on the host has too few such letters for a rate of all characters.

    References:
      Unicode Standard, section 5.18, "Case mappings".

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["The Straße"])
      >>> nj.text.decode(nj.text.case(jax.random.key(0), text, 1.0))
      ['tHE sTRAßE']
    """
    table, most = _cases(kind), jnp.iinfo(x.dtype).max
    if most < int(table.first.max()):
        fits = table.first[np.minimum(table.start, len(table.first) - 1)] <= most
        table = table._replace(count=np.where(fits, table.count, 0), cost=np.where(fits, table.cost, np.float32(0)))
    return _substituted("case", table, key, x, rate, of, where)


@functools.cache
def _scanned() -> Glyphs:
    return glyphs(groups())


def _pairs(x: Any, data: Any, after: Any, xp: Any) -> Any:
    """The glyph that each character and the next one form if they touch, 0 for none."""
    found = xp.zeros_like(x)
    for one, two in JOINED.items():
        if max(map(ord, one + two)) <= jnp.iinfo(x.dtype).max:
            found = xp.where((x == ord(two[0])) & (after == ord(two[1])) & data, x.dtype.type(ord(one)), found)
    return found


def _ocr_cost(count: Any, cost: Any, pair: Any, xp: Any) -> Any:
    """The mean number of edits of a hit: two for a pair, which is taken half of the time where both are possible."""
    return xp.where(pair > 0, xp.where(count > 0, (cost + 2) / 2, 2), cost)


def _ocr_host(x, rate, of) -> None:
    values, table = x.values, _scanned()
    data = host_data(x)
    after = np.concatenate([values[..., 1:], np.zeros_like(values[..., :1])], -1)
    both = data & np.concatenate([data[..., 1:], np.zeros_like(data[..., :1])], -1)
    row = np.minimum(values.astype(np.int64), len(table.count) - 1)
    cost = _ocr_cost(table.count[row], table.cost[row], _pairs(values, both, after, np), np)
    reaches("ocr", rate, of, cost, data, "that scanners confuse, by the edits of each")


def _ocr_options(shape, batch_ndim, of) -> None:
    check_shape("ocr")(shape, batch_ndim)
    _checks.one_of("ocr", "of", of, OF)


@padded_noise(INTEGERS, options=_ocr_options, host=_ocr_host, ranges={"rate": _checks.rate}, aligned=True)
def ocr(key: jax.Array, x: Padded, rate: Amount, *, of: str = "eligible", lengths: Mask = None) -> Moved:
    """Characters that a scanner misreads: O as 0, l as 1, m as rn, and cl as d.

    A character becomes one of those that look like it, with equal probabilities. Where it may also form one glyph with
    the next character, it does so half of the time. The table has Latin and Russian glyphs.

    Args:
      key: a JAX key.
      x: a text, as `encode` makes.
      rate: the probability that a character that the table has is misread, in [0, 1]; traced values are clamped. 0 is
        the identity.
      of: ``"eligible"`` if the rate counts characters that the table has; ``"all"`` if it is the character error rate
        of all characters, of which a pair read as one glyph costs two. Static.
      lengths: shorthand for a `noisejax.Padded`.

    Returns:
      A text of x's shape and dtype with new lengths. Characters beyond the capacity are cut and counted in `lost`.

    Raises:
      ValueError: x on the host has too few such characters for a rate of all characters.

    References:
      Kukich, "Techniques for automatically correcting words in text", ACM Computing Surveys 24(4), 1992, section 1.2.2,
      on the errors of optical recognition: substitutions by shape, and characters that are split and merged.

    Example:
      >>> import jax, noisejax as nj
      >>> text = nj.text.encode(["clear modern type"])
      >>> nj.text.decode(nj.text.ocr(jax.random.key(0), text, 0.4))
      ['eloor maderb tyPe']
    """
    check_integers("ocr", x.values)
    table, values, data = _scanned(), x.values, x.mask
    row = _row(table, values)
    count = pick(table.count, row)
    pair = _pairs(values, data & following(data), following(values), jnp)
    rate = per_text("ocr", "rate", rate, x)
    if of == "all":
        rate = of_all(rate, _ocr_cost(count, pick(table.cost, row), pair, jnp), data)
    hit = sample.bernoulli(words_like(key, "ocr", values), rate) & data & ((count > 0) | (pair > 0))
    joins = (pair > 0) & ((count == 0) | (words_like(key, "ocr.joins", values) < jnp.uint32(2**31)))
    joined = every_other(hit & joins)
    taken = preceding(joined)
    alone = hit & ~joins & ~taken
    number = pick(table.start, row) + _draw(key, "ocr.glyph", values, count)
    first, second = (pick(codes, number).astype(values.dtype) for codes in (table.first, table.second))
    seen = jnp.where(joined, pair, jnp.where(alone, first, values))
    return emit(x, [Slot(data & ~taken, seen, places(values)), Slot(alone & (second > 0), second)])
