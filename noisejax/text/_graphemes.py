"""Grapheme clusters: characters as users perceive them, each with one code."""

import unicodedata

import numpy as np

_FIRST = 0x110000  # the first private code, beyond the last code point


class Graphemes:
    """A code for each grapheme cluster of some strings. `noisejax.text.graphemes` makes it."""

    def __init__(self, clusters: tuple[tuple[int, ...], ...]):
        self.clusters = clusters
        self._codes = {cluster: _FIRST + n for n, cluster in enumerate(clusters)}

    @classmethod
    def of(cls, flat: np.ndarray, lengths: np.ndarray) -> "Graphemes":
        starts = cluster_starts(flat, lengths)
        return cls(tuple(sorted(set(_long_clusters(flat, starts)[1]))))

    def __eq__(self, other):
        return isinstance(other, Graphemes) and self.clusters == other.clusters

    def __hash__(self):
        return hash(self.clusters)

    def __repr__(self):
        return f"Graphemes({len(self.clusters)} clusters of several code points)"

    def coded(self, function: str, flat: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One code for each cluster, and the number of clusters of each string."""
        starts = cluster_starts(flat, lengths)
        which, clusters = _long_clusters(flat, starts)
        codes = flat[starts].copy()
        for place, cluster in zip(which, clusters, strict=True):
            if cluster not in self._codes:
                raise ValueError(
                    f"{function}: alphabet has no code for {''.join(map(chr, cluster))!r}. Make the alphabet from all "
                    "strings that are to be encoded: nj.text.graphemes(strings)."
                )
            codes[place] = self._codes[cluster]
        ends = np.cumsum(lengths)
        counts = np.searchsorted(starts, ends) - np.searchsorted(starts, ends - lengths)
        return codes, counts.astype(np.int32)

    def points(self, function: str, flat: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The code points of codes, and the number of code points of each string."""
        private = flat >= _FIRST
        if np.any(flat[private] >= _FIRST + len(self.clusters)):
            raise ValueError(f"{function}: text was encoded with a different alphabet, which has more clusters.")
        sizes = np.ones(len(flat), np.int64)
        sizes[private] = [len(self.clusters[code - _FIRST]) for code in flat[private]]
        points = np.repeat(flat, sizes)
        first = np.cumsum(sizes) - sizes
        for place in np.flatnonzero(private):
            points[first[place] : first[place] + sizes[place]] = self.clusters[flat[place] - _FIRST]
        ends = np.cumsum(lengths)
        total = np.concatenate([[0], np.cumsum(sizes)])
        return points, (total[ends] - total[ends - lengths]).astype(np.int64)


def _long_clusters(flat: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Which clusters have several code points, and the code points of each of them."""
    ends = np.append(starts[1:], len(flat))
    which = np.flatnonzero(ends - starts > 1)
    return which, [tuple(flat[starts[n] : ends[n]].tolist()) for n in which]


def cluster_starts(flat: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places in the code points of several strings at which a grapheme cluster starts."""
    known, index = np.unique(flat, return_inverse=True)
    extends = np.array([_extends(int(code)) for code in known], bool)[index]
    before = flat[:-1]
    joined = np.zeros(len(flat), bool)
    after = flat[1:]
    together = extends[1:] & ~np.isin(before, _CONTROLS)  # GB4, GB9, GB9a
    together |= (before == 0x0D) & (after == 0x0A)  # GB3
    together |= (before == 0x200D) & _pictographic(after)  # GB11
    leads, vowels, tails = _jamo(before)
    next_leads, next_vowels, next_tails = _jamo(after)
    pairs = (_in(before, 0xAC00, 0xD7A3) & ((before - 0xAC00) % 28 == 0), _in(before, 0xAC00, 0xD7A3))
    together |= leads & (next_leads | next_vowels | _in(after, 0xAC00, 0xD7A3))  # GB6
    together |= (vowels | pairs[0]) & (next_vowels | next_tails)  # GB7
    together |= (tails | pairs[1]) & next_tails  # GB8
    joined[1:] = together
    ends = np.cumsum(lengths)
    first = (ends - lengths)[lengths > 0]
    joined[first] = False
    flags = _in(flat, 0x1F1E6, 0x1F1FF)
    # The second, fourth, ... regional indicator of a run belongs to the flag of the one before it (GB12, GB13).
    begins = flags.copy()
    begins[1:] &= ~flags[:-1]
    begins[first] = flags[first]
    place = np.arange(len(flat))
    run = np.maximum.accumulate(np.where(begins, place, -1)) if len(flat) else place
    return np.flatnonzero(~(joined | (flags & ((place - run) % 2 == 1))))


_CONTROLS = np.array(
    [0x0D, 0x0A, *range(0x0A), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0), 0x200B, 0x2028, 0x2029]
)


def _extends(code: int) -> bool:
    """Whether a code point continues a cluster: marks, joiners, skin tones and tags."""
    marked = unicodedata.category(chr(code)) in ("Mn", "Me", "Mc") or code in (0x200C, 0x200D, 0xFF9E, 0xFF9F)
    return marked or 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F


def _pictographic(codes: np.ndarray) -> np.ndarray:
    symbols = _in(codes, 0x2190, 0x2BFF) | _in(codes, 0x1F000, 0x1FAFF) | np.isin(codes, (0xA9, 0xAE, 0x3030, 0x303D))
    return symbols & ~_in(codes, 0x1F1E6, 0x1F1FF)


def _jamo(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    leads = _in(codes, 0x1100, 0x115F) | _in(codes, 0xA960, 0xA97C)
    vowels = _in(codes, 0x1160, 0x11A7) | _in(codes, 0xD7B0, 0xD7C6)
    return leads, vowels, _in(codes, 0x11A8, 0x11FF) | _in(codes, 0xD7CB, 0xD7FB)


def _in(codes: np.ndarray, low: int, high: int) -> np.ndarray:
    return (codes >= low) & (codes <= high)
