"""Tables of misspellings, looked up on the device by the hash of a word."""

import dataclasses
import functools
import lzma
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import jax
import numpy as np

from noisejax import _checks
from noisejax._calls.fitted import Fitted
from noisejax.text._words.buckets import buckets

_GROWTH = 8


class Misspellings(Fitted):
    """Words and their misspellings. `noisejax.text.misspellings` makes it.

    Args:
      salt: of the hashes, a uint32.
      keys: the second hash of the words of each bucket, (buckets, width); the first hash numbers the bucket.
      start, count: the misspellings of those words, (buckets, width): a range of the arrays below; 0 of them for none.
      kept: for each misspelling, how many letters of the word stay before the part that differs.
      taken: how many letters of the word that part has, at least one.
      given: how many letters the part has in the misspelling.
      place: where they start in `letters`.
      letters: code points.
      growth: the most letters by which a misspelling is longer than its word. Static.
      largest: the largest code point of a misspelling. Static.
    """

    salt: Any
    keys: Any
    start: Any
    count: Any
    kept: Any
    taken: Any
    given: Any
    place: Any
    letters: Any
    growth: int = dataclasses.field(metadata={"static": True})
    largest: int = dataclasses.field(metadata={"static": True})

    def __repr__(self):
        return f"<nj.text.Misspellings: {len(self.kept)} misspellings of {int((self.count > 0).sum())} words>"


def misspellings(pairs: Iterable[tuple[str, str]] | Mapping[str, Iterable[str]] | None = None) -> Misspellings:
    """A table of misspellings for `misspell`, from pairs of a word and a misspelling of it.

    Args:
      pairs: pairs (word, misspelling), or a mapping from a word to its misspellings. Words consist of letters alone,
        and are found in texts in any case. None for the table that the library ships: 58,000 misspellings of 18,000
        English words.

    Returns:
      A `Misspellings`, an amount of `misspell`.

    Raises:
      TypeError: pairs are not pairs of strings.
      ValueError: there are none, a word does not consist of letters, or a misspelling is more than 8 letters longer
        than its word.

    References:
      The shipped table is taken from the project typos (crate-ci), which collects misspellings that people made in
      programs and their documentation; licensed under MIT or Apache-2.0.

    Example:
      >>> import jax, noisejax as nj
      >>> table = nj.text.misspellings({"receive": ["recieve"], "weird": ["wierd"]})
      >>> text = nj.text.encode(["Weird: you receive RECEIVE"])
      >>> nj.text.decode(nj.text.misspell(jax.random.key(0), text, 1.0, table))
      ['Wierd: you recieve RECIEVE']
    """
    return shipped() if pairs is None else _table(_checked(pairs))


@functools.cache
def shipped() -> Misspellings:
    return _table(listed())


def listed() -> dict[str, tuple[str, ...]]:
    """The words of the shipped table, and their misspellings."""
    content = resources.files("noisejax.text._data").joinpath("misspellings.txt.xz").read_bytes()
    lines = [line.split() for line in lzma.decompress(content).decode().splitlines() if not line.startswith("#")]
    return {word: tuple(others) for word, *others in lines}


def _checked(pairs: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    if isinstance(pairs, (str, bytes, jax.Array)) or not isinstance(pairs, Iterable):
        raise TypeError(f"misspellings: pairs must be pairs (word, misspelling), or a mapping, got {pairs!r:.60}.")
    if isinstance(pairs, Mapping):
        for word, others in pairs.items():
            if isinstance(others, (str, bytes, jax.Array)) or not isinstance(others, Iterable):
                got = _checks.shown(others)[:60]
                raise TypeError(
                    f"misspellings: pairs must hold a list of misspellings for each word, got {got} for {word!r:.40}."
                )
        pairs = [(word, other) for word, others in pairs.items() for other in others]
    for pair in pairs:
        if isinstance(pair, str) or not isinstance(pair, Iterable) or len(pair := tuple(pair)) != 2:
            raise TypeError(f"misspellings: pairs must be pairs (word, misspelling), got {pair!r:.60} among them.")
        word, other = pair
        if not isinstance(word, str) or not isinstance(other, str):
            raise TypeError(f"misspellings: pairs must hold strings, got {_checks.shown(pair)[:60]}.")
        word, other = word.lower(), other.lower()
        if not word.isalpha() or any(ord(letter) >= 0x3000 for letter in word):
            raise ValueError(
                f"misspellings: words must consist of letters up to U+2FFF, got {word!r:.40}. Phrases cannot be "
                "looked up: leave them out."
            )
        if len(other) > len(word) + _GROWTH:
            raise ValueError(
                f"misspellings: a misspelling may be at most {_GROWTH} letters longer than its word, got {other!r:.60} "
                f"for {word!r:.40}. Leave it out."
            )
        if other != word:
            found.setdefault(word, {})[other] = None
    if not found:
        raise ValueError("misspellings: pairs must hold at least one word with a different spelling, got none.")
    return {word: tuple(others) for word, others in found.items()}


def _table(known: Mapping[str, tuple[str, ...]]) -> Misspellings:
    salt, count_of_buckets, found = buckets(known)
    width = max(map(len, found.values()))
    keys, start, count = (np.zeros((count_of_buckets, width), dtype) for dtype in (np.uint32, np.int32, np.int32))
    parts, letters = [], []
    for bucket, words in found.items():
        for column, (key, word) in enumerate(words.items()):
            keys[bucket, column], start[bucket, column] = key, len(parts)
            count[bucket, column] = len(known[word])
            for other in known[word]:
                kept, taken, part = difference(word, other)
                parts.append((kept, taken, len(part), len(letters)))
                letters += part
    kept, taken, given, place = np.array(parts, np.int32).T
    codes = np.array([*map(ord, letters), 0], np.uint32)  # one more, so that there is always one to read
    growth = max(int((given - taken).max()), 0)
    return Misspellings(np.uint32(salt), keys, start, count, kept, taken, given, place, codes, growth, int(codes.max()))


def difference(word: str, other: str) -> tuple[int, int, str]:
    """How many letters stay at the start, how many differ, at least one, and what takes their place."""
    short = min(len(word), len(other))
    kept = next((n for n in range(short) if word[n] != other[n]), short)
    same = next((n for n in range(short - kept) if word[-1 - n] != other[-1 - n]), short - kept)
    if kept + same == len(word):  # letters are only inserted: they follow one that is replaced by itself
        kept, same = (kept - 1, same) if kept else (kept, same - 1)
    return kept, len(word) - kept - same, other[kept : len(other) - same]
