"""Does noise in training help a classifier of texts? On misspelt words, recognized speech and free text.

    python -m experiments.text_training

Protocol. All classifiers are linear support vector machines on TF-IDF, of words (1 and 2) or of characters (2 to 4,
within words), with C = 0.3 and untuned. Training with noise means every text once clean and once noisy. Intervals are
95 % t intervals over five seeds; differences are paired by seed.

What changed on the way: the first plan had logistic regressions (C = 10), 300 characters of a review and all commands.
It took too long, so they were replaced as above, and the tests under `typos` and `ocr` were added. An interrupted run
then gave three seeds of recognized speech; nothing was changed after it. The parts with learnt edits were run again
when `edits` had changed (see `text_imitation`); their other figures stayed the same.

*Misspelt words*, two data sets: reviews of fine foods (is it the best score? first 200 characters), and 6,000 commands
to an assistant (18 scenarios). The words of the shipped table of misspellings are split at random in two halves by
seed. Test texts are misspelt with one half: at a rate of half of all words of a text, as far as its words are in that
half. Training is on a random 80 % of the training texts, and its noise is none, `misspell` with the other half of the
words, `typos`, or `drop_words`. The amount of each is one of three, chosen on a seed of its own by the accuracy of the
model of words on the remaining 20 %, which are misspelt with the other half of the words. The same models are tested
under `typos` at .1, and under `ocr` at .1 of the characters that a scanner confuses; the amounts stay.

*Recognized speech*, slurp_asr: training on the 10,879 typed commands. The spoken sentences are split in halves: on one
half learnt edits are fitted, and the other half is the test, as it was recognized and as it was meant. Noise: none;
`drop_words` at .15; `typos` at .05; learnt edits. Controls: no noise, and the clean text of the first half with its
labels; the same with the real recognizer's text. A gain of noise is claimed where the interval of the difference to
training without noise excludes 0.

*Free text*, region_midwest: the census region from what people call their region. Half of the rows train, of which only
the spellings that occur at least 20 times are used; the test are the rare spellings of the other half. Noise: none;
`typos` at .05 and .15; learnt edits, fitted to pairs of a rare spelling and the most similar common one (similarity
above 60 of 100). Reference: all training rows. It is a negative example: rare entries are other words.
"""

from collections.abc import Callable

import jax
import numpy as np

import noisejax as nj
from experiments import _dirty

SEEDS = range(5)
AMOUNTS = {"misspell": (0.2, 0.5, 1.0), "typos": (0.03, 0.1, 0.2), "drop_words": (0.1, 0.3, 0.5)}
MODELS = {
    "words": {"ngram_range": (1, 2), "token_pattern": r"\S+"},
    "characters": {"ngram_range": (2, 4), "analyzer": "char_wb"},
}
Texts = list[str]


def fitted(model: str, texts: Texts, labels: list) -> Callable[[Texts, list], float]:
    """A trained classifier as a function from texts and labels to its accuracy."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    vectors = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=60_000, **MODELS[model])
    made = LinearSVC(C=0.3, tol=1e-3, max_iter=300).fit(vectors.fit_transform(texts), labels)
    return lambda texts, labels: float(made.score(vectors.transform(texts), labels))


def noisy(noise: nj.Noise, texts: Texts, seed: int) -> Texts:
    return nj.text.on_strings(noise)(jax.random.key(seed), texts)


def with_noise(noise: nj.Noise | None, texts: Texts, labels: list, seed: int) -> tuple[Texts, list]:
    return (texts, labels) if noise is None else (texts + noisy(noise, texts, seed), labels * 2)


def paired(scores: dict[str, list[float]]) -> dict:
    """Every score, and its difference to training without noise."""
    base = np.array(scores["none"])
    return {
        name: {"score": _dirty.spread(values), "gain": _dirty.spread(np.array(values) - base)}
        for name, values in scores.items()
    }


def misspelt_words(smoke: bool) -> dict:
    found = {}
    for name, (texts, labels), (test, answers) in data_sets(smoke):
        chosen = {kind: choice(kind, texts, labels) for kind in AMOUNTS}
        for model in MODELS:
            scores: dict[str, dict[str, list[float]]] = {"clean": {}, "misspelt": {}, "typos": {}, "scanned": {}}
            for seed in SEEDS[:2] if smoke else SEEDS:
                seen, unseen = tables(seed)
                rows = np.random.default_rng(seed).permutation(len(texts))[: len(texts) * 4 // 5]
                part, marks = [texts[row] for row in rows], [labels[row] for row in rows]
                wrong = noisy(nj.bind(nj.text.misspell, rate=0.5, table=unseen, of="all"), test, 1000 + seed)
                tests = {"clean": test, "misspelt": wrong}
                for condition, fault in (("typos", nj.text.typos), ("scanned", nj.text.ocr)):
                    tests[condition] = noisy(nj.bind(fault, rate=0.1), test, 1000 + seed)
                for kind in ("none", *AMOUNTS):
                    noise = None if kind == "none" else made(kind, chosen[kind], seen)
                    score = fitted(model, *with_noise(noise, part, marks, seed))
                    for condition, given in tests.items():
                        scores[condition].setdefault(kind, []).append(score(given, answers))
            found[f"{name}, {model}"] = {
                "amounts": chosen, "changed words": changed(test, wrong), **{k: paired(v) for k, v in scores.items()}
            }  # fmt: skip
            print(name, model, found[f"{name}, {model}"], flush=True)
    return found


def data_sets(smoke: bool):
    import sys

    sys.path.insert(0, str(_dirty.ROOT / "examples"))
    import _reviews  # pyright: ignore[reportMissingImports]

    name, (train, test) = _reviews.strings(download=not smoke)
    yield name, *(([text[:200] for text in texts][: 300 if smoke else None], labels[: 300 if smoke else None])
                  for texts, labels in (train, test))  # fmt: skip
    if _dirty.folder() is None:
        return
    table = _dirty.frame("slurp_asr/train.parquet")
    order = np.random.default_rng(0).permutation(len(table))[: 1200 if smoke else 6000]
    texts, labels = table["text"].to_numpy()[order].tolist(), table["scenario"].to_numpy()[order].tolist()
    cut = len(texts) * 4 // 5
    yield "commands", (texts[:cut], labels[:cut]), (texts[cut:], labels[cut:])


def tables(seed: int) -> tuple:
    """The shipped misspellings of a random half of the words, and of the rest."""
    from noisejax.text._words.table import listed

    words = listed()
    first = np.random.default_rng(seed).random(len(words)) < 0.5
    halves = [{w: others for (w, others), f in zip(words.items(), first, strict=True) if f == half} for half in (1, 0)]
    return tuple(nj.text.misspellings(half) for half in halves)


def made(kind: str, amount: float, table) -> nj.Noise:
    more = {"table": table} if kind == "misspell" else {}
    return nj.bind(getattr(nj.text, kind), rate=amount, **more)


def choice(kind: str, texts: Texts, labels: list) -> float:
    """The amount with the best accuracy on validation texts that are misspelt with words of training."""
    seen, _ = tables(99)
    order = np.random.default_rng(99).permutation(len(texts))
    cut = len(order) * 4 // 5
    part, rest = ([texts[row] for row in rows] for rows in (order[:cut], order[cut:]))
    marks, answers = ([labels[row] for row in rows] for rows in (order[:cut], order[cut:]))
    wrong = noisy(nj.bind(nj.text.misspell, rate=0.5, table=seen, of="all"), rest, 99)
    scores = {
        amount: fitted("words", *with_noise(made(kind, amount, seen), part, marks, 99))(wrong, answers)
        for amount in AMOUNTS[kind]
    }
    return max(scores, key=lambda amount: scores[amount])


def changed(clean: Texts, other: Texts) -> float:
    pairs = [p for a, b in zip(clean, other, strict=True) for p in zip(a.split(), b.split(), strict=False)]
    return float(np.mean([a != b for a, b in pairs]))


def speech(smoke: bool) -> dict:
    train, test = _dirty.frame("slurp_asr/train.parquet"), _dirty.frame("slurp_asr/test.parquet")
    if smoke:
        train, test = train[:1000], test[:1500]
    texts, labels = train["text"].tolist(), train["scenario"].tolist()
    sentences, number = np.unique(test["clean_text"], return_inverse=True)
    scores: dict[str, dict] = {f"{model}, {part}": {} for model in MODELS for part in ("clean", "recognized")}
    for seed in SEEDS[:2] if smoke else SEEDS:
        order = np.random.default_rng(seed).permutation(len(sentences))
        first = np.isin(number, order[: len(order) // 2])
        here, there = test[first], test[~first]
        known = nj.text.fit_edits(here["clean_text"].tolist(), here["asr_text"].tolist())
        once = here.drop_duplicates("clean_text")
        sets = {
            "none": (texts, labels),
            "drop_words": with_noise(nj.bind(nj.text.drop_words, rate=0.15), texts, labels, seed),
            "typos": with_noise(nj.bind(nj.text.typos, rate=0.05), texts, labels, seed),
            "learnt edits": with_noise(nj.bind(nj.text.edits, model=known), texts, labels, seed),
            "more clean text": (texts + once["clean_text"].tolist(), labels + once["scenario"].tolist()),
            "real recognizer text": (texts + here["asr_text"].tolist(), labels + here["scenario"].tolist()),
        }
        for model in MODELS:
            for name, given in sets.items():
                score = fitted(model, *given)
                for part, column in (("clean", "clean_text"), ("recognized", "asr_text")):
                    value = score(there[column].tolist(), there["scenario"].tolist())
                    scores[f"{model}, {part}"].setdefault(name, []).append(value)
        print(
            seed, {name: {k: round(v[-1], 4) for k, v in values.items()} for name, values in scores.items()}, flush=True
        )
    return {name: paired(values) for name, values in scores.items()}


def free_text(smoke: bool) -> dict:
    from rapidfuzz import fuzz, process

    table = _dirty.frame("region_midwest/survey.parquet")
    table = table[table["region_words"].fillna("").str.strip().ne("") & table["census_region"].fillna("").ne("")]
    words, regions = table["region_words"].to_numpy(str), table["census_region"].to_numpy(str)
    names, count = np.unique(words, return_counts=True)
    common = set(names[count >= 20])
    scores: dict[str, list[float]] = {}
    for seed in SEEDS[:2] if smoke else SEEDS:
        first = np.random.default_rng(seed).random(len(words)) < 0.5
        usual = np.array([word in common for word in words])
        train, rest = first & usual, ~first & ~usual
        texts, labels = words[train].tolist(), regions[train].tolist()
        pairs = []
        for word in words[first & ~usual].tolist():
            near = process.extractOne(word, sorted(common), scorer=fuzz.ratio, score_cutoff=60)
            pairs += [(near[0], word)] if near else []
        known = nj.text.fit_edits(*map(list, zip(*pairs, strict=True)))
        noises = {
            "none": None,
            "typos .05": nj.bind(nj.text.typos, rate=0.05),
            "typos .15": nj.bind(nj.text.typos, rate=0.15),
            "learnt edits": nj.bind(nj.text.edits, model=known),
        }
        sets = {name: with_noise(noise, texts, labels, seed) for name, noise in noises.items()}
        sets["all rows"] = (words[first].tolist(), regions[first].tolist())
        for name, given in sets.items():
            score = fitted("characters", *given)(words[rest].tolist(), regions[rest].tolist())
            scores.setdefault(name, []).append(score)
    return paired(scores)


def main() -> None:
    given = _dirty.arguments(__doc__ or "")
    result = {}
    for name, part in (("recognized speech", speech), ("free text", free_text), ("misspelt words", misspelt_words)):
        result[name] = part(given.smoke)
        _dirty.write("text_training", result, given.out)  # what is measured before an interruption is not lost


if __name__ == "__main__":
    main()
