"""A negative example: sensors that age. ``python -m experiments.signals.airquality [--smoke]``

Protocol, fixed before the runs. The data: hourly readings of five cheap gas sensors and the weather for 13 months, and
a certified analyser's NO2 (De Vito et al., 2008; folder ``airquality``). A model predicts NO2. It trains on hours
before September 2004, without one day in five, which are the test of the same period. Later hours are two tests: to
January, and from February on. The figure is R2. The models are a ridge regression (weight 1, on standardized columns)
and boosted trees (scikit-learn's histogram boosting at its defaults).

The drift is learnt where a deployment could learn it: on the training months. The reference of each sensor is what the
analysers (CO, C6H6, NOx, NO2) and the weather predict by least squares, each month is one recording, and
`nj.signal.fit` gives the gain and the offset of a month and the drift. Noise is `nj.signal.faults` of this model
without its white part, on each hour: four noisy copies, and the clean hours. The strength of an hour is the root of a
number of months that is uniform up to eight, as changes of months sum up; and twice that. Generic noise is Gaussian of
standard deviation .3, on the standardized sensors. Rivals without noise: no weather columns, and sensors standardized
in each month, which sees the test month. The upper reference also trains on September to January, months of labelled
deployed hours. Five seeds draw the days and the noise.

What must be seen: whether noise that is learnt from the training months helps in later ones, and what it costs.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments import _dirty
from experiments.signals import _shared
from noisejax import signal

SEEDS, COPIES, MONTHS = range(5), 4, 8
SENSORS = ("PT08.S1(CO)", "PT08.S2(NMHC)", "PT08.S3(NOx)", "PT08.S4(NO2)", "PT08.S5(O3)")
WEATHER = ("T", "RH", "AH")
ANALYSERS = ("CO(GT)", "C6H6(GT)", "NOx(GT)", "NO2(GT)")
PERIODS = ("same", "autumn", "late")


def loaded() -> dict:
    """Readings, targets and times of the hours in which nothing is missing."""
    table = _dirty.frame("airquality/airquality.parquet").replace(-200, np.nan)
    table = table.dropna(subset=[*SENSORS, *WEATHER, "NO2(GT)"])
    month = (12 * table["time"].dt.year + table["time"].dt.month).to_numpy() - 12 * 2004
    return {
        "x": table[[*SENSORS, *WEATHER]].to_numpy(float),
        "y": table["NO2(GT)"].to_numpy(float),
        "analysers": table[list(ANALYSERS)].to_numpy(float),
        "month": month,
        "day": (table["time"] - table["time"].min()).dt.days.to_numpy(),
    }


def learnt(x: np.ndarray, data: dict, rows: np.ndarray) -> signal.FaultModel:
    """What changes between the months of training: gains, offsets and drift, without the white noise."""
    known = rows & ~np.isnan(data["analysers"]).any(1)
    given = np.concatenate([data["analysers"], x[:, 5:]], 1)[known]
    given = np.concatenate([np.ones((len(given), 1)), given, np.log(np.maximum(given[:, :4], 0.1))], 1)
    reference = given @ np.linalg.lstsq(given, x[known, :5], rcond=None)[0]
    months = [np.flatnonzero(data["month"][known] == month) for month in np.unique(data["month"][known])]
    model = signal.fit([reference[m] for m in months], [x[known][m, :5] for m in months])
    none = np.zeros_like(model.noise)
    spread = np.sqrt(model.offset_std**2 + model.walk**2 * 24 * 30)  # of one month
    return dataclasses.replace(
        model, offset_std=spread, gain=none + 1, offset=none, walk=none, noise=none, low=None, high=None, step=None
    )


def r2(y: np.ndarray, guess: np.ndarray) -> float:
    return float(1 - ((y - guess) ** 2).mean() / y.var())


def models(seed: int) -> dict:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge

    return {"boosting": HistGradientBoostingRegressor(random_state=seed), "ridge": Ridge(1.0)}


def of_seed(data: dict, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    early, late = data["month"] < 9, data["month"] >= 14
    test = np.isin(data["day"], rng.permutation(400)[:80])
    rows = early & ~test
    tests = {"same": early & test, "autumn": ~early & ~late, "late": late}
    mean, std = data["x"][rows].mean(0), data["x"][rows].std(0)
    x = (data["x"] - mean) / std
    model = learnt(x, data, rows)
    own = x.copy()
    for month in np.unique(data["month"]):
        hours = data["month"] == month
        own[hours, :5] = (x[hours, :5] - x[hours, :5].mean(0)) / x[hours, :5].std(0)

    def copies(draw) -> np.ndarray:
        """Clean hours and noisy ones: the sensors of each hour as a series of one step."""
        sensors = jnp.asarray(x[rows, None, :5], jnp.float32)
        drawn = [np.asarray(draw(jax.random.key(100 * seed + n), sensors))[:, 0] for n in range(COPIES)]
        return np.concatenate([x[rows], *[np.concatenate([part, x[rows, 5:]], 1) for part in drawn]])

    def drifting(strength):
        def draw(key, sensors):
            months, noise = jax.random.split(key)
            grown = jnp.sqrt(jax.random.uniform(months, (len(sensors), 1, 1), maxval=float(MONTHS)))
            return signal.faults(noise, sensors, model, strength * grown)

        return draw

    y = np.tile(data["y"][rows], COPIES + 1)
    both = rows | tests["autumn"]
    trainings = {
        _shared.NONE: (x[rows], data["y"][rows], x),
        "Gaussian .3": (copies(lambda key, s: s + 0.3 * jax.random.normal(key, s.shape)), y, x),
        "fitted drift": (copies(drifting(1.0)), y, x),
        "fitted drift, twice": (copies(drifting(2.0)), y, x),
        "rival: no weather": (x[rows, :5], data["y"][rows], x[:, :5]),
        "rival: each month standardized": (own[rows], data["y"][rows], own),
        "also trained on autumn": (x[both], data["y"][both], x),
    }
    found = {}
    for name, (given, target, judged) in trainings.items():
        for kind, estimator in models(seed).items():
            guess = estimator.fit(given, target).predict(judged)
            found[kind, name] = {period: r2(data["y"][hours], guess[hours]) for period, hours in tests.items()}
    found["model"] = {"offset": model.offset_std.tolist(), "gain": model.gain_std.tolist()}
    return found


def main() -> None:
    if (given := _shared.arguments(__doc__ or "", "airquality")) is None:
        return
    data = loaded()
    seeds = [of_seed(data, seed) for seed in (SEEDS[:1] if given.smoke else SEEDS)]
    result: dict = {"learnt": seeds[0].pop("model")}
    for kind in ("boosting", "ridge"):
        result[kind] = _shared.summary(_shared.by_group(seeds, kind), "late")
        print(kind)
        _shared.shown(result[kind])
    if not given.smoke:
        _dirty.write("signals.airquality", {"seeds": list(SEEDS), **result}, given.out)


if __name__ == "__main__":
    main()
