"""Demand for bicycles that grows: a change that noise on inputs cannot imitate. The protocol is in `__main__`."""

from typing import Any

import jax
import numpy as np
import pandas as pd

import noisejax as nj
from experiments import _dirty

WEATHER, COPIES = ("temp", "atemp", "hum", "windspeed"), 2
FEATURES = (*WEATHER, "hour", "weekday", "holiday", "weathersit")


class Boosting:
    def __init__(self, x: np.ndarray, y: np.ndarray, seed: int):
        from sklearn.ensemble import HistGradientBoostingRegressor

        options: dict[str, Any] = {"early_stopping": False}  # which otherwise depends on the number of rows
        self.predict = HistGradientBoostingRegressor(random_state=seed, **options).fit(x, y).predict


class Ridge:
    """Hours of working days and others, weekdays, kinds of weather, and numbers with squares; the mean for NaN."""

    def __init__(self, x: np.ndarray, y: np.ndarray, seed: int):
        from sklearn.linear_model import Ridge as Linear

        self.mean, self.std = np.nanmean(x[:, :4], 0), np.nanstd(x[:, :4], 0)
        self.model = Linear(1.0, random_state=seed).fit(self.features(x), y)

    def features(self, x: np.ndarray) -> np.ndarray:
        numbers = np.nan_to_num((x[:, :4] - self.mean) / self.std)
        hour, weekday, holiday, kind = x[:, 4:].astype(int).T
        works = (weekday < 5) & (holiday == 0)
        return np.concatenate(
            [numbers, numbers**2, np.eye(48)[hour + 24 * works], np.eye(7)[weekday], np.eye(5)[kind]], 1
        )

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(self.features(x))


def r2(y: np.ndarray, guess: np.ndarray) -> float:
    return float(1 - ((y - guess) ** 2).mean() / y.var())


def with_copies(noise: nj.Noise | None, x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if noise is None:
        return x, y
    sets = [x]
    for n in range(COPIES):
        weather = np.asarray(noise(jax.random.key(1000 * seed + n), np.float32(x[:, :4])))
        sets.append(np.concatenate([weather, x[:, 4:]], 1))
    return np.concatenate(sets), np.tile(y, len(sets))


def recent(time: np.ndarray, y: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """The ratio of demand to predictions over the seven days before the day of each hour."""
    day = ((time - time.min()) / np.timedelta64(1, "D")).astype(int)
    sums = np.zeros((day.max() + 1, 2))
    np.add.at(sums, day, np.stack([y, guess], 1))
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(sums, 0)])
    days = np.arange(day.max() + 1)
    week = total[days] - total[np.maximum(days - 7, 0)]
    return np.where(week[:, 1] > 0, week[:, 0] / np.where(week[:, 1] > 0, week[:, 1], 1), 1)[day]


def bike_sharing(seed: int, smoke: bool = False) -> dict:
    table = _dirty.frame("bike_sharing/bike.parquet").sort_values("date", ignore_index=True)
    x, y = table[list(FEATURES)].to_numpy(float), table["cnt"].to_numpy(float)
    time = table["date"].to_numpy("datetime64[s]")
    first = (table["year"] == 2011).to_numpy()
    rng = np.random.default_rng(seed)
    day = ((time - time.min()) / np.timedelta64(1, "D")).astype(int)
    held = np.isin(day, rng.permutation(365)[: 365 // 5])
    week = day // 7
    known = ~first & np.isin(week, rng.permutation(np.unique(week[~first]))[: len(np.unique(week[~first])) // 2])
    train, clean, test = first & ~held, first & held, ~first & ~known
    month = pd.DatetimeIndex(time).month.to_numpy()
    early, late = train & (month <= 10), first & (month > 10)
    std = x[train, :4].std(0)
    noises = {
        **{f"missing at {rate}": nj.bind(nj.tabular.missing, rate=rate) for rate in (0.1, 0.3)},
        **{f"Gaussian of {level}": nj.bind(nj.gaussian, std=np.float32(level * std)) for level in (0.1, 0.3)},
    }
    schema = nj.tabular.Schema(dict.fromkeys(WEATHER, "number"))
    fitted = nj.bind(nj.tabular.errors, model=nj.tabular.fit_shift(x[train, :4], x[known, :4], schema))
    found: dict = {}
    for kind, make in {"boosting": Boosting, "ridge": Ridge}.items():

        def trained(rows, noise=None, make=make):
            return make(*with_copies(noise, x[rows], y[rows], seed), seed)

        choice = dict(list(noises.items())[:1]) if smoke else noises
        scores = {name: r2(y[late], trained(early, noise).predict(x[late])) for name, noise in choice.items()}
        best = max(scores, key=lambda name: scores[name])
        arms = {
            "none": trained(train),
            "best generic": trained(train, noises[best]),
            "fitted": trained(train, fitted),
            "dirty rows": trained(train | known),
        }
        figures = {
            name: {part: r2(y[rows], arm.predict(x[rows])) for part, rows in (("clean", clean), ("dirty", test))}
            for name, arm in arms.items()
        }
        guess = arms["none"].predict(x)
        scaled = guess * recent(time, y, guess)
        figures["rival: scaled by recent demand"] = {
            part: r2(y[rows], scaled[rows]) for part, rows in (("clean", clean), ("dirty", test))
        }
        found[kind] = {"arms": figures, "chosen": best, "validation": scores}
    return found
