"""How well learnt edits of texts imitate a real recognizer of speech, and how easily they are told from it.

    python -m experiments.text_imitation

Protocol, fixed before the runs. Data: slurp_asr, 13,071 recordings of 2,973 sentences: what was meant, and what a
recognizer wrote. For each of three seeds the sentences are split in two halves. `noisejax.text.fit_edits` learns from
the recordings of one half, and its noise, at strength 1, is drawn once for every recording of the other half. There it
is compared with what the recognizer wrote:

- the word error rate; the bar is 5 % of the real one.
- the kinds of edits (words substituted, deleted, inserted), the lengths of segments (words before and after, up to 4),
  and the share of unchanged texts; the distance is the total variation, and for a share the difference. The bar is 1.5
  times the same distance between two halves of the real data by sentence, averaged over ten other splits.
- what words become that occur at least ten times in both halves: the total variation between what each word became,
  averaged by occurrences. The bar is 1.5 times that of the real halves of the same split.
- a discriminator of real and drawn texts of the second half: logistic regression on TF-IDF of words (1 and 2) and
  characters (2 to 4); trained on half of its sentences and tested on the rest. The bar is an area under the ROC curve
  at least .02 below the best generic noise's. Generic noises: dropped words, words replaced by random ones of the first
  half, typing errors, and both typing errors and dropped words; each at the rate that gives the real word error rate of
  the first half.

The protocol was not changed, but the noise was, after a first run: lengths of segments missed their bar (.080 against
.069), since neighbouring hits make one longer segment. `edits` then left a word between two of them. These seeds were
known at that time. On three other seeds (10 to 12) the change took lengths from .077 to .069, and kinds from .034 to
.024, which is above their bar of .020 there.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments import _dirty

SEEDS, SPLITS, OFTEN = 3, 10, 10
Pairs = list[tuple[str, str]]


def recordings() -> tuple[Pairs, np.ndarray]:
    """Pairs of clean and recognized text, and the number of the sentence of each."""
    table = _dirty.frame("slurp_asr/test.parquet")
    pairs = list(zip(table["clean_text"].tolist(), table["asr_text"].tolist(), strict=True))
    return pairs, np.unique(table["clean_text"], return_inverse=True)[1]


def halves(pairs: Pairs, sentence: np.ndarray, seed: int) -> tuple[Pairs, Pairs]:
    """The recordings of a random half of the sentences, and the rest."""
    order = np.random.default_rng(seed).permutation(sentence.max() + 1)
    first = np.isin(sentence, order[: len(order) // 2])
    return [p for p, f in zip(pairs, first, strict=True) if f], [p for p, f in zip(pairs, first, strict=True) if not f]


def error_rate(pairs: Pairs) -> float:
    from rapidfuzz.distance import Levenshtein

    split = [(a.split(), b.split()) for a, b in pairs]
    return sum(Levenshtein.distance(a, b) for a, b in split) / sum(len(a) for a, _ in split)


class Statistics:
    """What is compared of two sets of pairs."""

    def __init__(self, pairs: Pairs):
        from rapidfuzz.distance import Levenshtein

        opcodes: Any = Levenshtein.opcodes
        self.kinds, self.lengths, self.words = Counter(), Counter(), defaultdict(Counter)
        self.same = float(np.mean([a == b for a, b in pairs]))
        for a, b in pairs:
            before, after = a.split(), b.split()
            block = [0, 0]
            for tag, i, j, k, m in opcodes(before, after):
                if tag == "equal":
                    if any(block):
                        self.lengths[min(block[0], 4), min(block[1], 4)] += 1
                    block = [0, 0]
                    for word in before[i:j]:
                        self.words[word][word] += 1
                    continue
                block = [block[0] + j - i, block[1] + m - k]
                self.kinds[tag] += max(j - i, m - k)
                for n in range(i, j):
                    self.words[before[n]][after[k + n - i] if tag == "replace" else ""] += 1
            if any(block):
                self.lengths[min(block[0], 4), min(block[1], 4)] += 1

    def distances(self, other: "Statistics") -> dict[str, float]:
        return {
            "kinds": variation(self.kinds, other.kinds),
            "segment lengths": variation(self.lengths, other.lengths),
            "unchanged texts": abs(self.same - other.same),
        }


def variation(first: Counter, second: Counter) -> float:
    """The total variation distance between two sets of counts."""
    total = first.total() or 1, second.total() or 1
    return 0.5 * sum(abs(first[key] / total[0] - second[key] / total[1]) for key in first | second)


def confusions(one: Statistics, other: Statistics, often: list[str]) -> float:
    weight = np.array([other.words[word].total() for word in often], float)
    apart = [variation(one.words[word], other.words[word]) for word in often]
    return float(np.average(apart, weights=weight))


def batches(noise: Callable, seed: int) -> Callable[[list[str]], list[str]]:
    """A noise on strings. Repeated strings have errors of their own."""
    import noisejax as nj

    noisy = nj.text.on_strings(noise)
    return lambda strings: noisy(jax.random.key(seed), strings)


def generic(first: Pairs, seed: int) -> dict[str, Callable[[list[str]], list[str]]]:
    """Generic noises at the word error rate of some pairs."""
    import noisejax as nj

    words = [word for a, _ in first for word in a.split()]
    clean = [a for a, _ in first[::10]]

    def replaced(rate: float) -> Callable:
        def noisy(strings):
            random = np.random.default_rng(seed)
            return [
                " ".join(
                    words[random.integers(len(words))] if random.random() < rate else word for word in string.split()
                )
                for string in strings
            ]

        return noisy

    made = {
        "dropped words": lambda rate: batches(nj.bind(nj.text.drop_words, rate=rate), seed),
        "random words": replaced,
        "typos": lambda rate: batches(nj.bind(nj.text.typos, rate=rate), seed),
        "typos and dropped words": lambda rate: batches(
            nj.chain(nj.bind(nj.text.typos, rate=rate / 10), nj.bind(nj.text.drop_words, rate=rate / 2)), seed
        ),
    }
    target, found = error_rate(first), {}
    for name, make in made.items():
        low, high = 0.0, 0.6
        for _ in range(7):
            rate = (low + high) / 2
            got = error_rate(list(zip(clean, make(rate)(clean), strict=True)))
            low, high = (rate, high) if got < target else (low, rate)
        found[name] = make((low + high) / 2)
    return found


def told_apart(real: Pairs, drawn: list[str], seed: int) -> float:
    """The area under the ROC curve of a discriminator, on sentences that it was not trained on."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    sentences = sorted({a for a, _ in real})
    chosen = set(np.random.default_rng(seed).permutation(sentences)[: len(sentences) // 2])
    train = np.array([a in chosen for a, _ in real] * 2)
    texts = [b for _, b in real] + drawn
    label = np.repeat([1, 0], len(real))
    parts = []
    for options in ({"ngram_range": (1, 2), "token_pattern": r"\S+"}, {"ngram_range": (2, 4), "analyzer": "char"}):
        made = TfidfVectorizer(sublinear_tf=True, min_df=2, **options)
        made.fit([text for text, t in zip(texts, train, strict=True) if t])
        parts.append(made.transform(texts))
    x = hstack(parts).tocsr()
    model = LogisticRegression(C=1.0, max_iter=300).fit(x[train], label[train])
    return _dirty.auc(model.decision_function(x[~train]), label[~train] == 1)


def main() -> None:
    import noisejax as nj

    given = _dirty.arguments(__doc__ or "")
    pairs, sentence = recordings()
    if given.smoke:
        pairs, sentence = pairs[:1500], sentence[:1500]
        sentence = np.unique(sentence, return_inverse=True)[1]
    between: dict[str, list[float]] = defaultdict(list)
    for seed in range(1 if given.smoke else SPLITS):
        one, other = map(Statistics, halves(pairs, sentence, 100 + seed))
        for name, distance in one.distances(other).items():
            between[name].append(distance)
    figures: dict[str, list[float]] = defaultdict(list)
    for seed in range(1 if given.smoke else SEEDS):
        first, second = halves(pairs, sentence, seed)
        clean = [a for a, _ in second]
        model = nj.text.fit_edits(*map(list, zip(*first, strict=True)))
        drawn = batches(nj.bind(nj.text.edits, model=model), seed)(clean)
        ours, theirs, before = Statistics(list(zip(clean, drawn, strict=True))), Statistics(second), Statistics(first)
        figures["real word error rate"].append(error_rate(second))
        figures["word error rate"].append(error_rate(list(zip(clean, drawn, strict=True))))
        for name, distance in ours.distances(theirs).items():
            figures[name].append(distance)
        often = [word for word in theirs.words if min(theirs.words[word].total(), before.words[word].total()) >= OFTEN]
        figures["confusions"].append(confusions(ours, theirs, often))
        between["confusions"].append(confusions(before, theirs, often))
        figures["AUC, learnt edits"].append(told_apart(second, drawn, seed))
        for name, noisy in generic(first, seed).items():
            figures[f"AUC, {name}"].append(told_apart(second, noisy(clean), seed))
        print({name: round(values[-1], 4) for name, values in figures.items()}, flush=True)
    result = {
        "figures": {name: _dirty.spread(values) for name, values in figures.items()},
        "real halves": {name: _dirty.spread(values) for name, values in between.items()},
    }
    _dirty.write("text_imitation", result, given.out)
    print({name: round(float(np.mean(values)), 4) for name, values in between.items()})


if __name__ == "__main__":
    main()
