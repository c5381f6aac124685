"""Beers whose texts have units, percent signs and states in the wrong column. The protocol is in `__main__`."""

import re
from typing import Any

import jax
import numpy as np
import pandas as pd

import noisejax as nj
from experiments import _dirty

NUMBERS, COLUMNS, COPIES, PAIRS = ("abv", "ibu", "ounces"), ("abv", "ibu", "ounces", "city", "state"), 2, 200
FAMILIES = {
    "IPA": r"IPA|India",
    "pale ale": r"Pale Ale|APA|Bitter",
    "wheat": r"Wheat|Wit|[Ww]eiss|[Ww]eizen",
    "lager": r"Lager|Pils|Märzen|Helles|[Bb]ock|Kölsch|Schwarz",
    "stout or porter": r"Stout|Porter|Black Ale",
    "amber, red or brown": r"Amber|Red|Brown|Scot|Altbier|Dark Mild",
    "Belgian": r"Saison|Belgian|Tripel|Dubbel|Quad|Abbey|Garde|Grisette",
    "fruit, spice or cider": r"Fruit|Pumpkin|Cider|Herb|Mead|Shandy|Radler|Chile|Gose|Braggot|Winter",
    "other": "",
}


def family(style: str) -> int:
    return next(n for n, pattern in enumerate(FAMILIES.values()) if re.search(pattern, style))


def parsed(table: Any) -> Any:
    """Numbers are read out of texts, and a state that moved into the city moves back."""
    table = table.copy()
    for name in NUMBERS:
        found = table[name].str.extract(r"(\d+(?:\.\d+)?)")[0]
        table[name] = [f"{float(value):g}" if isinstance(value, str) else "" for value in found]
    cut = table["city"].str.extract(r"^(.*) ([A-Z]{2})$")
    moved = (table["state"] == "") & cut[1].notna()
    table.loc[moved, "city"], table.loc[moved, "state"] = cut[0][moved], cut[1][moved]
    return table


class Trees:
    """Boosting on what `float` reads, and the state as a category."""

    def __init__(self, table: Any, y: np.ndarray, seed: int):
        from sklearn.ensemble import HistGradientBoostingClassifier

        self.states = pd.Index(sorted({state for state in table["state"] if re.fullmatch("[A-Z]{2}", state)}))
        options: dict[str, Any] = {"categorical_features": [3], "max_iter": 50}
        self.model = HistGradientBoostingClassifier(random_state=seed, **options)
        self.empty = np.zeros(4, bool)
        self.empty = np.isnan(self.features(table)).all(0)  # the trees refuse columns without values
        self.model.fit(self.features(table), y)

    def features(self, table: Any) -> np.ndarray:
        numbers = [np.asarray(pd.to_numeric(table[name], errors="coerce"), float) for name in NUMBERS]
        state = self.states.get_indexer(pd.Index(table["state"])).astype(float)
        return np.where(self.empty, 0, np.stack([*numbers, np.where(state < 0, np.nan, state)], 1))

    def accuracy(self, table: Any, y: np.ndarray) -> float:
        return float((self.model.predict(self.features(table)) == y).mean())


class Characters:
    """A linear support vector machine on characters of each cell."""

    def __init__(self, table: Any, y: np.ndarray, seed: int):
        from sklearn.compose import ColumnTransformer
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        def cells():
            return TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True, lowercase=False)

        each = ColumnTransformer([(name, cells(), name) for name in COLUMNS])
        self.model = make_pipeline(each, LinearSVC(C=0.3, random_state=seed)).fit(table, y)

    def accuracy(self, table: Any, y: np.ndarray) -> float:
        return float((self.model.predict(table) == y).mean())


def lost(key, table: Any, rate: float) -> Any:
    gone = np.isnan(np.asarray(nj.tabular.missing(key, np.zeros(table.shape, np.float32), rate)))
    return table.mask(gone, "")


def mistyped(key, table: Any, rate: float) -> Any:
    typos = nj.text.on_strings(nj.bind(nj.text.typos, rate=rate))
    cells = typos(key, table.to_numpy(str).ravel().tolist())
    return pd.DataFrame(np.array(cells, object).reshape(table.shape), columns=table.columns).astype(str)


GENERIC = {
    **{f"empty cells at {rate}": lambda key, table, rate=rate: lost(key, table, rate) for rate in (0.1, 0.3, 0.5)},
    **{f"typos at {rate}": lambda key, table, rate=rate: mistyped(key, table, rate) for rate in (0.05, 0.15)},
}


def with_copies(noise, table: Any, seed: int) -> Any:
    table = table.reset_index(drop=True)
    copies = [noise(jax.random.key(1000 * seed + n), table) for n in range(COPIES)] if noise else []
    return pd.concat([table, *copies], ignore_index=True)


def beers(seed: int, smoke: bool = False) -> dict:
    clean, dirty = (_dirty.frame(f"beers/{kind}.parquet") for kind in ("clean", "dirty"))
    y = np.array([family(style) for style in clean["style"]])
    breweries = clean["brewery_id"].to_numpy(str)
    clean, dirty = (table[list(COLUMNS)].fillna("").astype(object) for table in (clean, dirty))
    order = np.random.default_rng(seed).permutation(np.unique(breweries))
    train, test = (np.isin(breweries, half) for half in (order[: len(order) // 2], order[len(order) // 2 :]))
    rank = np.argsort(order)[np.searchsorted(np.unique(breweries), breweries)]
    # the first breweries of the training half, until they have 200 beers
    known = np.flatnonzero(train)[np.argsort(rank[train], kind="stable")]
    edge = rank[known[PAIRS - 1]]
    pairs, rest = known[:PAIRS], known[rank[known] > edge]
    model = nj.tabular.fit_text_errors(clean.iloc[pairs], dirty.iloc[pairs])

    def fitted(key, table):
        return pd.DataFrame(model.apply(key, table)).astype(object)

    found: dict = {}
    for kind, make in {"trees": Trees, "characters": Characters}.items():

        def trained(rows, noise=None, tables=clean, make=make):
            table = with_copies(noise, tables.iloc[rows], seed)
            return make(table, np.tile(y[rows], len(table) // len(rows)), seed)

        choice = dict(list(GENERIC.items())[:1]) if smoke else GENERIC
        scores = {name: trained(rest, noise).accuracy(dirty.iloc[pairs], y[pairs]) for name, noise in choice.items()}
        best = max(scores, key=lambda name: scores[name])
        arms = {
            "none": trained(known),
            "best generic": trained(known, GENERIC[best]),
            "fitted": trained(known, fitted),
            "dirty rows": trained(known, None, dirty),
        }
        figures = {
            name: {"clean": arm.accuracy(clean[test], y[test]), "dirty": arm.accuracy(dirty[test], y[test])}
            for name, arm in arms.items()
        }
        figures["rival: parser"] = {
            "clean": arms["none"].accuracy(parsed(clean[test]), y[test]),
            "dirty": arms["none"].accuracy(parsed(dirty[test]), y[test]),
        }
        found[kind] = {"arms": figures, "chosen": best, "validation": scores}
    return found
