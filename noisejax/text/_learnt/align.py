"""Which words of a clean string became which words of a noisy one."""

import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from noisejax.text._edits import SPACES
from noisejax.text._learnt.model import BLOCK, LONGEST

_WORD = re.compile(f"[^{re.escape(SPACES)}]+")


class Hit(NamedTuple):
    """A segment that became another one: its first word, its number of words, and both strings."""

    start: int
    size: int
    clean: str
    noisy: str


class Pair(NamedTuple):
    """A clean string, its words, what became of them, and the word error rate times the number of words."""

    clean: str
    words: list[str]
    hits: list[Hit]
    errors: int


def distances() -> Any:
    """The module of rapidfuzz that measures and aligns."""
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError:
        raise ImportError("fit_edits: alignment needs rapidfuzz: pip install 'noisejax[text]'.") from None
    return Levenshtein


def words_of(string: str) -> list[str]:
    return _WORD.findall(string)


def pair_of(clean: str, noisy: str) -> Pair:
    """The segments of one pair that differ, by an alignment of words with the least edits."""
    before, after = ([found.span() for found in _WORD.finditer(string)] for string in (clean, noisy))
    words = [clean[start:end] for start, end in before]
    heard = [noisy[start:end] for start, end in after]
    if words == heard:
        return Pair(clean, words, [], 0)
    hits = [
        Hit(i, j - i, clean[before[i][0] : before[j - 1][1]], noisy[after[k][0] : after[m - 1][1]] if m > k else "")
        for i, j, k, m in blocks(words, heard, LONGEST)
    ]
    return Pair(clean, words, hits, distances().distance(words, heard))


def characters_of(clean: str, noisy: str) -> list[tuple[int, str, str]]:
    """The parts of a segment that differ: the place, and the characters before and after, of at most two."""
    return [(i, clean[i:j], noisy[k:m]) for i, j, k, m in blocks(clean, noisy, BLOCK)]


def blocks(before: Sequence, after: Sequence, longest: int) -> list[tuple[int, int, int, int]]:
    """Ranges of entries before and after, each of 1 to `longest` entries before, of the parts that differ.

    An inserted part belongs to the entry after it, or to the last one. A longer part is cut into equal ones.
    """
    found: list[list[int]] = []
    if not before:
        return []
    for tag, i, j, k, m in distances().opcodes(before, after):
        if tag == "equal":
            continue
        if i == j and found and found[-1][1] == i:  # it continues the part before
            found[-1][3] = m
            continue
        if i == j:
            i, j, k, m = (i, j + 1, k, m + 1) if j < len(before) else (i - 1, j, k - 1, m)
        if found and found[-1][1] >= i:
            found[-1][1], found[-1][3] = j, m
        else:
            found.append([i, j, k, m])
    return [part for i, j, k, m in found for part in _cut(i, j, k, m, longest)]


def _cut(i: int, j: int, k: int, m: int, longest: int) -> list[tuple[int, int, int, int]]:
    parts = min(j - i, max(-(-(j - i) // longest), -(-(m - k) // longest)))
    ends = [(i + n * (j - i) // parts, k + n * (m - k) // parts) for n in range(parts + 1)]
    return [(a, b, c, d) for (a, c), (b, d) in itertools.pairwise(ends)]
