"""Rates of a noisy channel from aligned pairs: of segments that were seen, and of classes of unseen ones."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from noisejax.text._learnt.align import Pair, characters_of, distances, words_of
from noisejax.text._learnt.model import CLASSES, LENGTHS, LONGEST
from noisejax.text._learnt.sound import sound

PRIOR = 2.0  # as many occurrences as the rate of unseen segments is worth
_FEW = 20  # hits, below which a class takes those of more segments


@dataclasses.dataclass
class Channel:
    """Probabilities of hits, and what segments become.

    Args:
      rate: for each word that was seen, and each longer segment that was hit, the probability of a hit.
      share: of the same segments, how much of the probability of unseen ones is added.
      became: of the same segments, what they became, as often.
      general: the probability that an unseen segment is hit, for each class.
      pools: what unseen segments become, as pairs of the segment and the new one, for each class.
      alike: the probability that an unseen segment becomes one that sounds alike, for each class.
      sounds: segments by their sound.
      letters: for segments of characters with the next one: the probability, and what they became.
      count: occurrences of the segments of `became`.
    """

    rate: dict[str, float]
    share: dict[str, float]
    became: dict[str, Counter]
    general: np.ndarray
    pools: list[list[tuple[str, str]]]
    alike: np.ndarray
    sounds: dict[str, list[str]]
    letters: dict[str, tuple[float, Counter]]
    count: dict[str, int]

    def hazard(self, words: Sequence[str]) -> float:
        """The expected number of hits of a text, for small rates; without those of characters."""
        total = 0.0
        for start in range(len(words)):
            unknown = False
            for size in range(1, min(LONGEST, len(words) - start) + 1):
                segment = " ".join(words[start : start + size])
                unknown |= words[start + size - 1] not in self.rate
                share = self.share.get(segment, 1.0)
                kind = kind_of(segment, size, unknown)
                total += -np.log1p(-min(self.rate.get(segment, 0.0), 0.98)) + share * self.general[kind]
        return total


def kind_of(segment: str, size: int, unknown: bool) -> int:
    """The class of a segment: of a word its length, and of several whether one of them is unknown."""
    if size == 1:
        return sum(len(segment) > longest for longest in LENGTHS)
    return len(LENGTHS) + 1 + 2 * (size - 2) + unknown


def channel_of(pairs: Sequence[Pair]) -> Channel:
    """The channel of some pairs. What a class of unseen segments does is that of the words of one text alone."""
    repeats = Counter(pair.clean for pair in pairs)
    texts = {pair.clean: pair.words for pair in pairs}
    count, among = Counter(), Counter()
    for clean, words in texts.items():
        for word in words:
            count[word] += repeats[clean]
        among.update(set(words))
    became, sources = defaultdict(Counter), defaultdict(set)
    for pair in pairs:
        for hit in pair.hits:
            became[hit.clean][hit.noisy] += 1
            sources[hit.clean].add(pair.clean)
    common = set(among) | _shared(became)

    at, longer = np.zeros(CLASSES), Counter()
    for clean, words in texts.items():
        for size in range(1, LONGEST + 1):
            for start in range(len(words) - size + 1):
                part = words[start : start + size]
                unknown = any(among[word] == 1 for word in part)
                segment = " ".join(part)
                if size > 1 and segment in became:
                    longer[segment] += repeats[clean]
                if size > 1 or unknown:
                    at[kind_of(segment, size, unknown)] += repeats[clean]
    count.update({segment: n for segment, n in longer.items() if " " in segment})
    for segment in became:  # with other blanks than single spaces
        count[segment] = max(count[segment], sum(became[segment].values()))

    everything: list[list[tuple[str, str]]] = [[] for _ in range(CLASSES)]
    unseen: list[list[tuple[str, str]]] = [[] for _ in range(CLASSES)]
    typed: list[tuple[str, str]] = []
    typed_unseen = 0
    for pair in pairs:
        for hit in pair.hits:
            unknown = any(among[word] == 1 for word in pair.words[hit.start : hit.start + hit.size])
            kind = kind_of(hit.clean, hit.size, unknown)
            rare = unknown if hit.size == 1 else len(sources[hit.clean]) == 1
            if _is_typed(hit.clean, hit.noisy) and not all(word in common for word in words_of(hit.noisy)):
                typed.append((hit.clean, hit.noisy))
                typed_unseen += rare
                continue
            everything[kind].append((hit.clean, hit.noisy))
            if rare:
                unseen[kind].append((hit.clean, hit.noisy))
    singles = sum(n for word, n in count.items() if word in among)
    overall = sum(len(pool) for pool in everything[: len(LENGTHS) + 1]) / max(singles, 1)
    general = np.array([len(pool) for pool in unseen], float) / np.maximum(at, 1)
    few = at[: len(LENGTHS) + 1] / (at[: len(LENGTHS) + 1] + PRIOR)
    general[: len(LENGTHS) + 1] = few * general[: len(LENGTHS) + 1] + (1 - few) * overall
    pools = [own if len(own) >= _FEW else every for own, every in zip(unseen, everything, strict=True)]
    sounds = _sounds(pairs, count)
    alike, pools = _alike(pools, sounds)
    rare_words = at[: len(LENGTHS) + 1].sum()
    factor = (typed_unseen / rare_words) / (len(typed) / singles) if typed and rare_words >= 10 * _FEW else 1.0
    return Channel(
        rate={s: sum(became[s].values()) / (n + PRIOR) if s in became else 0.0 for s, n in count.items()},
        share={s: PRIOR / (n + PRIOR) for s, n in count.items()},
        became=dict(became),
        general=np.minimum(general, 0.98),
        pools=pools,
        alike=alike,
        sounds=sounds,
        letters=_letters(typed, texts, repeats, factor),
        count=dict(count),
    )


def _shared(became: dict[str, Counter]) -> set[str]:
    """The words that different segments became. A typing error is seldom one of them."""
    count = Counter()
    for segment, others in became.items():
        size = len(words_of(segment))
        written = {word for other in others for word in words_of(other) if size == 1 or len(words_of(other)) != size}
        count.update(written)
    return {word for word, n in count.items() if n > 1}


def _is_typed(clean: str, noisy: str) -> bool:
    """Whether few characters differ."""
    if not noisy or noisy.endswith(f" {clean}") or noisy.startswith(f"{clean} "):
        return False
    most = max(1, len(clean) // 3)
    return distances().distance(clean, noisy, score_cutoff=most) <= most


def _sounds(pairs: Sequence[Pair], count: Counter) -> dict[str, list[str]]:
    """The words of clean and noisy texts, and what several words became, by their sound."""
    known = dict.fromkeys(segment for segment in count if " " not in segment)
    for pair in pairs:
        for hit in pair.hits:
            known.update(dict.fromkeys(words_of(hit.noisy)))
            if 1 < len(words_of(hit.noisy)) <= LONGEST:
                known[hit.noisy] = None
    found = defaultdict(list)
    for segment in known:
        found[sound(segment)].append(segment)
    return {key: segments for key, segments in found.items() if len(key) > 1}


def _alike(pools, sounds) -> tuple[np.ndarray, list[list[tuple[str, str]]]]:
    """The probability of a segment that sounds alike, for each class, and the pools without those."""
    alike, left = np.zeros(CLASSES), []
    for kind, pool in enumerate(pools):
        same = [sound(clean) == sound(noisy) for clean, noisy in pool]
        possible = sum(any(other != clean for other in sounds.get(sound(clean), ())) for clean, _ in pool)
        alike[kind] = min(sum(same) / max(possible, 1), 1)
        rest = [pair for pair, is_same in zip(pool, same, strict=True) if not is_same]
        left.append(rest or pool)
    return alike, left


def _letters(typed, texts, repeats, factor: float) -> dict[str, tuple[float, Counter]]:
    """The probabilities of edits of one or two characters, given the next one, over all texts."""
    became = defaultdict(Counter)
    for clean, noisy in typed:
        for place, before, after in characters_of(clean, noisy):
            following = clean[place + len(before)] if place + len(before) < len(clean) else " "
            became[before + following][after] += 1
    if not became:
        return {}
    count = Counter()
    for clean in texts:
        padded = clean + " "
        for size in (2, 3):
            for start in range(len(padded) - size + 1):
                if (key := padded[start : start + size]) in became:
                    count[key] += repeats[clean]
    return {
        key: (min(factor * sum(others.values()) / (count[key] + PRIOR), 0.98), others) for key, others in became.items()
    }
