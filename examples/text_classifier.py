"""Does noise in training help a classifier of texts? Under typos, a scanner's confusions and recognized speech.

Three sets of texts, each with the same question. Gains are over training without noise, and one is claimed only where
its interval excludes 0. Noisy training means every text once clean and once noisy; its amounts are fixed, not tuned.

- Reviews of fine foods, is it the best score? Typos and the scanner are made. The learnt noise knows a quarter of the
  training reviews, as they were and as they were scanned.
- Commands to an assistant, 18 scenarios: typed ones for training, spoken ones for the test. What a real recognizer made
  of the spoken ones is part of the data. The learnt noise knows the recordings of half of the sentences; the others are
  the test.
- What people call their region, nine of the census: common names for training, rare ones for the test. It is a negative
  example, because rare names are other words, not misspellings of the common ones.

The last two are read from ``slurp_asr`` and ``region_midwest`` in the folder that the environment variable
NOISEJAX_DIRTY names, or ``../shared/dirty``, and left out where there is none. The reviews are downloaded (see
_reviews.py). The classifier is a linear support vector machine on TF-IDF, and intervals are 95 % t intervals over five
seeds, paired by seed. All of it takes about five minutes on two cores, and the reviews alone a little more than one.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import _reviews
import jax
import numpy as np
import pandas as pd
from rapidfuzz import fuzz, process
from rich.console import Console
from rich.table import Table
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

import noisejax as nj

QUICK = bool(os.environ.get("NOISEJAX_QUICK"))
SEEDS, STEP, LENGTH = (1, 60, 40) if QUICK else (5, 1, 200)  # seeds, every which text, and how much of it
if QUICK:
    jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than running
WORDS = {"ngram_range": (1, 2), "token_pattern": r"\S+"}
CHARACTERS = {"ngram_range": (2, 4), "analyzer": "char_wb"}
TYPOS, DROPPED = nj.bind(nj.text.typos, rate=0.1), nj.bind(nj.text.drop_words, rate=0.1)
SCANNER = nj.bind(nj.text.ocr, rate=0.1)
CONTROLS = ("more clean text", "real noisy text", "all rows")
CONSOLE = Console(width=130)
Labelled = tuple[list[str], list]


def main() -> None:
    started = time.perf_counter()
    name, (train, test) = _reviews.strings(download=not QUICK)
    data = [([text[:LENGTH] for text in texts[::STEP]], list(labels[::STEP])) for texts, labels in (train, test)]
    show(name, lambda seed: reviews(seed, *data), WORDS)
    named = os.environ.get("NOISEJAX_DIRTY")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "dirty"
    if QUICK and not named:
        CONSOLE.print("Commands and regions: skipped for a small budget.")
    elif (folder / "slurp_asr").is_dir() and (folder / "region_midwest").is_dir():
        typed, spoken = (pd.read_parquet(folder / "slurp_asr" / f"{part}.parquet") for part in ("train", "test"))
        typed, spoken = typed[::STEP], spoken[::STEP]
        show("commands to an assistant", lambda seed: commands(seed, typed, spoken), WORDS)
        survey = pd.read_parquet(folder / "region_midwest" / "survey.parquet")
        show("what people call their region", lambda seed: regions(seed, survey), CHARACTERS)
    else:
        CONSOLE.print("Commands and regions: skipped, there is no folder of dirty texts. Set NOISEJAX_DIRTY to it.")
    CONSOLE.print(f"{time.perf_counter() - started:.0f} s")


def reviews(seed: int, train: Labelled, test: Labelled) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """The scanner is a fault of the library, so that this part runs everywhere. `fit_edits` knows only its pairs."""
    order = np.random.default_rng(seed).permutation(len(train[0]))
    known, rest = (chosen(train, rows) for rows in np.split(order, [len(order) // 4]))
    scanned = noisy(SCANNER, known[0], 3000 + seed)
    return trainings(seed, rest, known, scanned), faults(seed, test)


def commands(seed: int, typed: pd.DataFrame, spoken: pd.DataFrame) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """All recordings of a sentence are on one side, so the learnt noise has not heard the sentences of the test."""
    sentences, number = np.unique(spoken["clean_text"], return_inverse=True)
    first = np.isin(number, np.random.default_rng(seed).permutation(len(sentences))[: len(sentences) // 2])
    here, there = spoken[first], spoken[~first]
    train = typed["text"].str[:LENGTH].tolist(), typed["scenario"].tolist()
    known, test = ((part["clean_text"].str[:LENGTH].tolist(), part["scenario"].tolist()) for part in (here, there))
    tests = {**faults(seed, test), "recognized": (there["asr_text"].str[:LENGTH].tolist(), test[1])}
    return trainings(seed, train, known, here["asr_text"].str[:LENGTH].tolist()), tests


def regions(seed: int, survey: pd.DataFrame) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """Pairs for the learnt noise: a rare name, and the common one that looks most like it."""
    survey = survey[survey["region_words"].fillna("").str.strip().ne("") & survey["census_region"].fillna("").ne("")]
    rows = survey["region_words"].tolist(), survey["census_region"].tolist()
    usual = survey.groupby("region_words")["region_words"].transform("size").to_numpy() >= 20
    first = np.random.default_rng(seed).random(len(usual)) < 0.5
    train, test, rare = (chosen(rows, np.flatnonzero(m)) for m in (first & usual, ~first & usual, ~first & ~usual))
    names = sorted(set(train[0]))
    found = [(process.extractOne(name, names, scorer=fuzz.ratio, score_cutoff=60), name)
             for name in chosen(rows, np.flatnonzero(first & ~usual))[0]]  # fmt: skip
    learnt = nj.text.fit_edits(*map(list, zip(*((near[0], name) for near, name in found if near), strict=True)))
    made = {
        "no noise": train,
        "typos at 0.1": with_noise(TYPOS, train, seed),
        "learnt edits": with_noise(nj.bind(nj.text.edits, model=learnt), train, seed),
        "all rows": chosen(rows, np.flatnonzero(first)),
    }
    return made, {"common names": test, "rare names": rare}


def trainings(seed: int, train: Labelled, known: Labelled, heard: list[str]) -> dict[str, Labelled]:
    """Two generic noises, the learnt one, and two controls: what else the pairs are good for, if they have labels.

    `known` and `heard` are the two sides of the pairs. A sentence that was recorded more than once is one clean text.
    """
    model = nj.text.fit_edits(known[0], heard)
    learnt = with_noise(nj.bind(nj.text.edits, model=model), train, seed)
    once = tuple(map(list, zip(*dict(zip(*known, strict=True)).items(), strict=True)))
    if seed == 0:
        CONSOLE.print(str(model), "\nFor example:", highlight=False)
        for text, noised in list(zip(train[0], learnt[0][len(train[0]) :], strict=True))[:3]:
            CONSOLE.print(f"  {text[:100]}\n  {noised[:100]}\n", highlight=False, markup=False)
    return {
        "no noise": train,
        "typos at 0.1": with_noise(TYPOS, train, seed),
        "words dropped at 0.1": with_noise(DROPPED, train, seed),
        "learnt edits": learnt,
        "more clean text": (train[0] + once[0], train[1] + once[1]),
        "real noisy text": (train[0] + heard, train[1] + known[1]),
    }


def faults(seed: int, test: Labelled) -> dict[str, Labelled]:
    found = {"clean": test}
    for name, fault in {"typos": TYPOS, "scanned": SCANNER}.items():
        found[name] = noisy(fault, test[0], 1000 + seed), test[1]
    return found


def noisy(noise: nj.Noise, texts: list[str], seed: int) -> list[str]:
    return nj.text.on_strings(noise)(jax.random.key(seed), texts)


def with_noise(noise: nj.Noise, given: Labelled, seed: int) -> Labelled:
    return given[0] + noisy(noise, given[0], 2000 + seed), given[1] * 2


def chosen(given: Labelled, rows: np.ndarray) -> Labelled:
    return [given[0][row] for row in rows], [given[1][row] for row in rows]


def accuracy(train: Labelled, tests: dict[str, Labelled], features: dict) -> list[float]:
    vectors = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=60_000, **features)
    model = LinearSVC(C=0.3, tol=1e-3, max_iter=300, random_state=0).fit(vectors.fit_transform(train[0]), train[1])
    return [100 * model.score(vectors.transform(texts), labels) for texts, labels in tests.values()]


def show(title: str, part: Callable[[int], tuple[dict, dict]], features: dict) -> None:
    """A table of accuracies, with the gains over training without noise, and the noises that gain or cost."""
    CONSOLE.rule(title)
    found: dict[str, list] = {}
    tests: dict[str, Labelled] = {}
    for seed in range(SEEDS):
        made, tests = part(seed)
        for name, train in made.items():
            found.setdefault(name, []).append(accuracy(train, tests, features))
    table = Table("trained with", *tests, title="accuracy in %; the gain in parentheses is paired by seed")
    base, effects = np.array(found["no noise"]), {"gains": [], "costs": []}
    for name, scores in found.items():
        cells = [interval(column) for column in np.array(scores).T]
        if name != "no noise":
            gains = [interval(column) for column in (np.array(scores) - base).T]
            cells = [f"{cell} ({gain})" for cell, gain in zip(cells, gains, strict=True)]
            for test, gain in zip(tests, (np.array(scores) - base).T, strict=True):
                if name not in CONTROLS and abs(gain.mean()) > half(gain):
                    effects["gains" if gain.mean() > 0 else "costs"].append(f"{name} on {test}")
        table.add_row(name, *cells, end_section=name in ("no noise", "learnt edits"))
    CONSOLE.print(table)
    for effect, names in effects.items():
        CONSOLE.print(f"Noise that {effect} more than its interval: {'; '.join(names) or 'none'}.", highlight=False)


def half(values: np.ndarray) -> float:
    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else float("nan")


def interval(values: np.ndarray) -> str:
    return f"{values.mean():.1f} ± {half(values):.1f}"


if __name__ == "__main__":
    main()
