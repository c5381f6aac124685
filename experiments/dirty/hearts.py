"""Heart disease in hospitals that do not take every measurement. The protocol is in `__main__`."""

import functools

import jax
import numpy as np

import noisejax as nj
from experiments import _dirty

SITES, COPIES = ("hungarian", "switzerland", "va"), 8
NUMBERS = ("age", "trestbps", "chol", "thalach", "oldpeak")


def logistic(seed: int):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    medians = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(medians, StandardScaler(), LogisticRegression(max_iter=500, random_state=seed))


def boosting(seed: int):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=seed)


def auc(model, x: np.ndarray, y: np.ndarray) -> float:
    return _dirty.auc(model.predict_proba(x)[:, 1], y == 1)


def with_copies(noise, x: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    copies = [noise(jax.random.key(1000 * seed + n), np.float32(x)) for n in range(COPIES)] if noise is not None else []
    return np.concatenate([x, *map(np.asarray, copies)]), np.tile(y, len(copies) + 1)


def generic(names: list[str], x: np.ndarray) -> dict:
    std = np.nanstd(x, 0) * np.isin(names, NUMBERS)
    return {
        **{f"missing at {rate}": nj.bind(nj.tabular.missing, rate=rate) for rate in (0.1, 0.3, 0.5)},
        **{f"Gaussian of {level}": nj.bind(nj.gaussian, std=np.float32(level * std)) for level in (0.1, 0.3)},
    }


def heart_sites(seed: int, smoke: bool = False) -> dict:
    table = _dirty.frame("heart_sites/heart.parquet")
    names = [name for name in table if name not in ("num", "site")]
    table["chol"] = table["chol"].replace(0, np.nan)
    schema = nj.tabular.Schema(dict.fromkeys(names, "number"))
    rng = np.random.default_rng(seed)

    def halves(site: str, share: float):
        rows = table[table["site"] == site]
        x, y = rows[names].to_numpy(float), (rows["num"] > 0).to_numpy(int)
        order = rng.permutation(len(x))
        cut = int(share * len(x))
        return (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]])

    (x, y), clean = halves("cleveland", 0.8)
    sites = {site: halves(site, 0.5) for site in SITES}
    shifts = {
        site: nj.bind(nj.tabular.errors, model=nj.tabular.fit_shift(x, known[0], schema))
        for site, (known, _) in sites.items()
    }
    found = {}
    for kind, make in {"logistic": logistic, "boosting": boosting}.items():
        fit = functools.partial(trained, make, seed)
        noises = generic(names, x)
        if smoke:
            noises = dict(list(noises.items())[:1])
        scores = validation(fit, noises, shifts, x, y, seed)
        arms: dict[str, list] = {}
        plain = fit(None, x, y)
        for site, (known, test) in sites.items():
            best = max(scores, key=lambda name, site=site: scores[name][site])
            few = np.isnan(known[0]).mean(0) <= 0.5
            imputed = imputer(x, seed)
            models = {
                "none": (plain, lambda x: x),
                "best generic": (fit(noises[best], x, y), lambda x: x),
                "fitted": (fit(shifts[site], x, y), lambda x: x),
                "rival: columns dropped": (fit(None, x[:, few], y), lambda x, few=few: x[:, few]),
                "rival: iterative imputer": (plain, imputed.transform),
                "dirty rows": (fit(None, *map(np.concatenate, zip((x, y), known, strict=True))), lambda x: x),
            }
            for name, (model, change) in models.items():
                figures = [auc(model, change(x), y) for x, y in (clean, test)]
                arms.setdefault(name, []).append(figures)
        means = {name: np.mean(figures, 0) for name, figures in arms.items()}
        found[kind] = {
            "arms": {name: {"clean": float(m[0]), "dirty": float(m[1])} for name, m in means.items()},
            "chosen": [max(scores, key=lambda name, site=site: scores[name][site]) for site in SITES],
            "validation": scores,
        }
    return found


def trained(make, seed: int, noise, x: np.ndarray, y: np.ndarray):
    return make(seed).fit(*with_copies(noise, x, y, seed))


def imputer(x: np.ndarray, seed: int):
    from sklearn.experimental import enable_iterative_imputer as enable_iterative_imputer
    from sklearn.impute import IterativeImputer

    return IterativeImputer(random_state=seed, max_iter=20, tol=1e-2).fit(x)


def validation(fit, noises: dict, shifts: dict, x: np.ndarray, y: np.ndarray, seed: int) -> dict:
    """The mean AUC of each generic noise on validation rows with the fitted faults of each hospital."""
    from sklearn.model_selection import StratifiedKFold

    scores: dict[str, dict[str, list[float]]] = {name: {site: [] for site in shifts} for name in noises}
    for n, (train, rest) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(x, y)):
        for name, noise in noises.items():
            model = fit(noise, x[train], y[train])
            for site, shift in shifts.items():
                faulty = [
                    np.asarray(shift(jax.random.key(100 * seed + 10 * n + k), np.float32(x[rest]))) for k in range(4)
                ]
                scores[name][site].append(auc(model, np.concatenate(faulty), np.tile(y[rest], 4)))
    return {name: {site: float(np.mean(v)) for site, v in each.items()} for name, each in scores.items()}
