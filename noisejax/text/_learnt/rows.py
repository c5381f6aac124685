"""The arrays of a learnt channel of edits."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from noisejax.text._learnt.channel import Channel
from noisejax.text._learnt.model import AFTER, BEFORE, CHARACTERS, END, PART, SOUNDS, WHOLE, WORDS, EditModel
from noisejax.text._words.buckets import leveled
from noisejax.text._words.split import host_hashes
from noisejax.text._words.table import difference


class _Edits:
    """All edits, each once, and the letters that they write."""

    def __init__(self):
        self.numbers: dict[tuple, int] = {}
        self.which: list[int] = []

    def range(self, edits: list[tuple]) -> tuple[int, int]:
        """Where the numbers of some edits start in `which`, and how many there are."""
        first = len(self.which)
        self.which += [self.numbers.setdefault(edit, len(self.numbers)) for edit in edits]
        return first, len(edits)

    def arrays(self, salt: int) -> dict[str, np.ndarray]:
        letters, rows, places = [], [], {}
        for kind, kept, taken, given in self.numbers or {(WHOLE, 0, 0, ""): 0}:
            place = places.setdefault(given, len(letters))
            if place == len(letters):
                letters += map(ord, given)
            key = host_hashes(given, salt)[1] if kind == WHOLE else 0
            rows.append((kind, kept, taken, len(given), place, key))
        *table, key = np.array(rows, np.int64).T
        names = ("kind", "kept", "taken", "given", "place")
        found = {name: roomy(values, np.int32) for name, values in zip(names, table, strict=True)}
        more = {
            "key": roomy(key, np.uint32),
            "letters": roomy(letters, np.uint32),
            "which": roomy(self.which, np.int32),
        }
        return found | more


def roomy(values: Any, dtype: Any, fill: int = 0) -> np.ndarray:
    """An array with room behind its entries, so that its size is a power of 2."""
    values = np.asarray(values)
    size = 1 << max(len(values) - 1, _LEAST - 1).bit_length()
    out = np.full((size, *values.shape[1:]), fill, dtype)
    out[: len(values)] = values
    return out


_LEAST = 256


def part_of(clean: str, noisy: str) -> tuple:
    """The edit of a segment that was seen."""
    return (PART, *difference(clean, noisy)) if noisy else (WHOLE, 0, 0, "")


def like(clean: str, noisy: str) -> tuple:
    """The edit of an unseen segment, which became to it what `noisy` was to `clean`."""
    if noisy.endswith(f" {clean}"):
        return BEFORE, 0, 0, noisy[: -len(clean)]
    if noisy.startswith(f"{clean} "):
        return AFTER, 0, 0, noisy[len(clean) :]
    return WHOLE, 0, 0, noisy


def tables(channel: Channel, hazard: Callable, limit: float, levels, below, observed) -> EditModel:
    """The model of a channel. `hazard` turns a probability up to `limit` into a rate."""
    edits, rows, names = _Edits(), [], []
    for segment, rate in channel.rate.items():
        others = channel.became.get(segment, Counter())
        steady = rate > limit
        own = -np.log1p(-min(rate, 0.995)) if steady else hazard(rate)
        picked = [part_of(segment, noisy) for noisy, n in others.items() for _ in range(n)]
        rows.append((float(own), channel.share[segment], steady, *edits.range(picked)))
        names.append((segment, WORDS))
    for key, segments in channel.sounds.items():
        rows.append((0.0, 1.0, False, *edits.range([(WHOLE, 0, 0, segment) for segment in segments])))
        names.append((key, SOUNDS))
    for key, (rate, others) in channel.letters.items():
        size = len(key) - 1
        picked = [
            (PART, *difference(key[:size], noisy)) if noisy else (PART, 0, size, "")
            for noisy, n in others.items()
            for _ in range(n)
        ]
        rows.append((float(hazard(rate)), 1.0, False, *edits.range(picked)))
        names.append((key, CHARACTERS))
    pools = [edits.range([like(*pair) for pair in pool]) for pool in channel.pools]
    salt, keys, row = _hashed(names)
    rate, share, steady, first, count = zip(*rows, strict=True)
    pool_first, pool_count = np.array(pools, np.int32).T
    seen = Counter({(a, b): n for a, others in channel.became.items() for b, n in others.items()}).most_common()
    arrays = edits.arrays(salt)
    texts = [code for pair, _ in seen for text in pair for code in (*map(ord, text), END)]
    return EditModel(
        salt=np.uint32(salt),
        keys=keys,
        row=row,
        rate=roomy(rate, np.float32),
        share=roomy(share, np.float32),
        steady=roomy(steady, bool),
        first=roomy(first, np.int32),
        count=roomy(count, np.int32),
        **arrays,
        general=np.asarray(hazard(channel.general), np.float32) * (pool_count > 0).astype(np.float32),
        pool_first=pool_first,
        pool_count=pool_count,
        alike=channel.alike.astype(np.float32),
        levels=np.asarray(levels, np.float32),
        below=np.asarray(below, np.float32),
        seen=roomy(np.array([(n, channel.count[a]) for (a, _), n in seen]).reshape(-1, 2), np.int32),
        names=roomy(texts, np.uint32),
        observed=observed,
        bits=8 if arrays["letters"].max() < 256 else 32,
    )


def _hashed(names: list[tuple[str, int]]) -> tuple[int, Any, Any]:
    numbers = {name: n for n, name in enumerate(names)}
    salt, size, found = leveled(names, _BITS)
    width = max(_WIDTH, *map(len, found.values()))
    keys, row = np.zeros((size, width), np.uint32), np.full((size, width), -1, np.int32)
    for bucket, entries in found.items():
        for column, (key, entry) in enumerate(entries.items()):
            keys[bucket, column], row[bucket, column] = key, numbers[entry if isinstance(entry, tuple) else (entry, 0)]
    return salt, keys, row


_WIDTH, _BITS = 4, 10  # at least: entries of a bucket, and bits of the number of buckets
