"""Rivals and choices that `experiments.text_training` lacks, for its seeds and halves. Protocol: `__main__`."""

import functools
import re

import numpy as np

import noisejax as nj
from experiments import _dirty, text_training

SPEECH = "rival: 's joined, unknown words dropped"
FREE = "rival: small letters, no punctuation"
GENERIC = {"typos .05": 0.05, "typos .15": 0.15}


def joined(text: str) -> str:
    """The text of a recognizer in the conventions of typed commands."""
    return re.sub(r"\s+'s\b", "'s", re.sub(r"<\s*unk\s*>", " ", text)).strip()


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


@functools.cache
def classifiers(rows: int | None) -> dict:
    """Without noise all seeds train on the same texts, so one classifier of each kind is enough."""
    train = _dirty.frame("slurp_asr/train.parquet")[:rows]
    texts, labels = train["text"].tolist(), train["scenario"].tolist()
    return {kind: text_training.fitted(kind, texts, labels) for kind in text_training.MODELS}


def slurp_asr(seed: int, smoke: bool = False) -> dict:
    test = _dirty.frame("slurp_asr/test.parquet")[: 1500 if smoke else None]
    sentences, number = np.unique(test["clean_text"], return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(sentences))
    there = test[~np.isin(number, order[: len(order) // 2])]
    labels = there["scenario"].tolist()
    found = {}
    for kind, score in classifiers(1000 if smoke else None).items():
        arms = {}
        for name, change in (("none", lambda text: text), (SPEECH, joined)):
            parts = {"clean": "clean_text", "dirty": "asr_text"}
            arms[name] = {part: score(list(map(change, there[c])), labels) for part, c in parts.items()}
        found[kind] = {"arms": arms}
    return found


def region_midwest(seed: int, smoke: bool = False) -> dict:
    del smoke
    table = _dirty.frame("region_midwest/survey.parquet")
    table = table[table["region_words"].fillna("").str.strip().ne("") & table["census_region"].fillna("").ne("")]
    words, regions = table["region_words"].to_numpy(str), table["census_region"].to_numpy(str)
    names, count = np.unique(words, return_counts=True)
    usual = np.isin(words, names[count >= 20])
    first = np.random.default_rng(seed).random(len(words)) < 0.5
    parts = {"clean": ~first & usual, "dirty": ~first & ~usual, "validation": first & ~usual}
    texts, labels = words[first & usual].tolist(), regions[first & usual].tolist()

    def figures(noise=None, change=lambda text: text) -> dict[str, float]:
        given = text_training.with_noise(noise, [change(text) for text in texts], labels, seed)
        score = text_training.fitted("characters", *given)
        return {
            part: score([change(text) for text in words[rows].tolist()], regions[rows].tolist())
            for part, rows in parts.items()
        }

    tried = {name: figures(nj.bind(nj.text.typos, rate=rate)) for name, rate in GENERIC.items()}
    best = max(tried, key=lambda name: tried[name]["validation"])
    arms = {"none": figures(), "best generic": tried[best], FREE: figures(change=plain)}
    return {"characters": {"arms": arms, "chosen": best, "tried": tried}}
