"""How far distributions of columns have moved: Kolmogorov-Smirnov, Wasserstein, population stability index."""

from typing import Any

import numpy as np

_MOST = 64  # columns


def shift_of(before: Any, after: Any) -> dict[str, list] | None:
    """By column of a table: the two-sample KS statistic, the Wasserstein distance in standard deviations, and PSI.

    Missing values are left out of the first two and are a bin of their own in PSI.
    """
    from scipy import stats

    names, columns = _columns(before)
    _, others = _columns(after)
    if not columns or len(columns) != len(others):
        return None
    found: dict[str, list] = {"column": [], "ks": [], "wasserstein": [], "psi": []}
    for name, a, b in zip(names[:_MOST], columns, others, strict=False):
        known, noisy = a[np.isfinite(a)], b[np.isfinite(b)]
        found["column"].append(name)
        found["psi"].append(round(psi(a, b), 6))
        if not len(known) or not len(noisy):
            found["ks"].append(None)
            found["wasserstein"].append(None)
            continue
        test: Any = stats.ks_2samp(known, noisy, method="asymp")
        found["ks"].append(round(float(test.statistic), 6))
        spread = float(known.std()) or 1.0
        found["wasserstein"].append(round(float(stats.wasserstein_distance(known, noisy)) / spread, 6))
    return found


def psi(before: np.ndarray, after: np.ndarray, bins: int = 10) -> float:
    """The population stability index over deciles of `before`, and one bin of missing values; shares are at least 1e-4.

    ``sum((q - p) * log(q / p))`` (Siddiqi 2006).
    """
    known = before[np.isfinite(before)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.zeros(0)

    def shares(values):
        finite = values[np.isfinite(values)]
        counts = np.bincount(np.searchsorted(edges, finite, "left"), minlength=len(edges) + 1)
        return np.maximum(np.append(counts, len(values) - len(finite)) / max(len(values), 1), 1e-4)

    p, q = shares(before), shares(after)
    return float(((q - p) * np.log(q / p)).sum())


def _columns(table: Any) -> tuple[list[str], list[np.ndarray]]:
    if hasattr(table, "columns"):
        kept = []
        for name in table.columns:
            try:
                kept.append((str(name), np.asarray(table[name], np.float64)))
            except (TypeError, ValueError):
                continue  # strings
        return [name for name, _ in kept], [column for _, column in kept]
    if not hasattr(table, "shape") or len(table.shape) != 2:
        return [], []
    values = np.asarray(table, np.float64)
    return [str(n) for n in range(values.shape[1])], list(values.T)
