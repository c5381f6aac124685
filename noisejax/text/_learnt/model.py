"""What is learnt from pairs of clean and noisy strings: a fitted value, and the report that a person reads."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from noisejax._calls.fitted import Fitted
from noisejax._statistics import wilson_interval

LONGEST = 4  # words of a segment
BLOCK = 2  # characters of a segment of characters
WORDS, SOUNDS, CHARACTERS = range(3)  # levels of the table of hashes
PART, WHOLE, BEFORE, AFTER = range(4)  # kinds of edits
END = 2**32 - 1
LENGTHS = (3, 5, 8)  # the longest words of the first classes, in characters; longer ones are the last class
CLASSES = len(LENGTHS) + 1 + 2 * (LONGEST - 1)  # single words by length; longer segments by whether all are known


class Edit(NamedTuple):
    """A segment of the fitted texts and what it became, with the rate and a 95 % interval.

    Args:
      clean: one to four words.
      noisy: the words in their place; an empty string if they are deleted.
      rate: the share of the occurrences of the segment that became this.
      low, high: the interval.
      hits: the number of those occurrences.
      count: the number of all occurrences.
    """

    clean: str
    noisy: str
    rate: float
    low: float
    high: float
    hits: int
    count: int


class EditModel(Fitted):
    """A noisy channel for texts, made by `fit_edits`, for the noise `edits`. `str` makes a table for a person.

    A rate is a hazard: a segment is hit with probability ``1 - exp(-strength * level * rate)``, in which the level is
    drawn for each text.

    Args:
      salt: of the hashes, a uint32.
      keys, row: the second hash of the strings of each bucket, and their row below, (buckets, width); row -1 for none.
        The strings are segments of words, sounds of words, and segments of characters with the next one.
      rate: of each row, (R,).
      share: how much of the rate of unseen segments a row keeps, (R,). It is 0 for a word that was seen often.
      steady: whether the rate of a row is the same in all texts, (R,).
      first, count: the edits of each row, a range of `which`, (R,).
      which: numbers of edits, as often as they were seen, (P,).
      kind: of each edit: whether it replaces a part of the segment, all of it, or is put before or after it, (E,).
      kept, taken: the part: how many characters stay before it, and how many it has, (E,).
      given, place: how many characters take its place, and where they start in `letters`, (E,).
      key: the hash of what takes the place of all of a segment, (E,).
      letters: code points.
      general: the rates of unseen segments, by the class of the segment, (10,).
      pool_first, pool_count: the edits of unseen segments, a range of `which`, (10,).
      alike: the probability that an unseen segment becomes one that sounds alike, if there is one, (10,).
      levels, below: the levels of texts, and the probabilities up to each, (M,).
      seen: of each edit of `rates`: the number of hits and of occurrences, (N, 2); 0 for none.
      names: the clean and the noisy segments of those, as code points, each followed by 2**32 - 1.
      observed: the word error rate of the pairs and the share of unchanged texts, (2,).
      bits: how many bits a text needs to hold the characters of the edits, 8 or 32. Static.

    The sizes are powers of 2, with room that is not used, so that another model often needs no new compilation.
    """

    salt: Any
    keys: Any
    row: Any
    rate: Any
    share: Any
    steady: Any
    first: Any
    count: Any
    which: Any
    kind: Any
    kept: Any
    taken: Any
    given: Any
    place: Any
    key: Any
    letters: Any
    general: Any
    pool_first: Any
    pool_count: Any
    alike: Any
    levels: Any
    below: Any
    seen: Any
    names: Any
    observed: Any
    bits: int = dataclasses.field(metadata={"static": True})

    def rates(self) -> list[Edit]:
        """The segments that became others, the most frequent edits first.

        Example:
          >>> import noisejax as nj
          >>> model = nj.text.fit_edits(["turn it on", "turn it off"] * 10, ["turn on", "turn it of"] * 10)
          >>> [(edit.clean, edit.noisy, edit.rate) for edit in model.rates()]
          [('it', '', 0.5), ('off', 'of', 1.0)]
        """
        found, names = [], self._names()
        for clean, noisy, (hits, count) in zip(names[::2], names[1::2], np.asarray(self.seen).tolist(), strict=False):
            rate = hits / count
            low, high = wilson_interval(rate, count, 1.96)
            found.append(Edit(clean, noisy, rate, float(low), float(high), hits, count))
        return found

    def _names(self) -> list[str]:
        ends = np.flatnonzero(np.asarray(self.names) == END)
        codes = np.asarray(self.names)[: ends[-1] + 1 if len(ends) else 0]
        parts = np.split(codes, ends + 1)[:-1]
        return [part[:-1].astype("<u4").tobytes().decode("utf-32-le") for part in parts]

    def report(self) -> str:
        """The error rate, and a table of the twenty most frequent edits, in plain text."""
        error, same = np.asarray(self.observed).tolist()
        lines = [f"word error rate {error:.1%}, unchanged texts {same:.1%}, {len(self.rates())} different edits", ""]
        rows: list[tuple[str, ...]] = [("segment", "becomes", "rate", "95 % interval", "occurrences")]
        for edit in self.rates()[:20]:
            span = f"{edit.low:.1%} to {edit.high:.1%}"
            rows.append((edit.clean, edit.noisy or "(deleted)", f"{edit.rate:.1%}", span, str(edit.count)))
        width = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(1, tuple("-" * n for n in width))
        lines += ["  ".join(cell.ljust(n) for cell, n in zip(row, width, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)

    def __str__(self):
        return self.report()

    def __repr__(self):
        edits = int(np.asarray(self.seen)[:, 1].astype(bool).sum())
        return f"<nj.text.EditModel: {edits} edits, word error rate {float(self.observed[0]):.1%}>"
