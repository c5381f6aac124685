"""Scores of whole sets: functions of (outputs, y, weights), for many rows of weights at once, in float64.

A row of weights says how often each example was drawn into a resample. Ties of outputs count half in rankings.
"""

from typing import Any

import numpy as np

from noisejax.robustness._metrics import examples


def _share(a: Any, b: Any) -> Any:
    return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 0)


def _mean(values: Any, axis: int) -> Any:
    """The mean of the values that are defined; NaN if none is."""
    known = np.isfinite(values)
    return _share(np.where(known, values, 0).sum(axis), known.sum(axis))


def _counts(outputs, y, w, metric):
    """Weighted numbers of right predictions, predictions and labels of each class that occurs in y: (R, classes)."""
    predicted, true = examples.classes(outputs, len(y), metric), examples.labels(outputs, y, metric)
    known = np.union1d(true, predicted)
    p, t = predicted[:, None] == known, true[:, None] == known
    return w @ (p & t), w @ p.astype(float), w @ t.astype(float)


def balanced_accuracy(outputs, y, w):
    """The mean over the classes of the share of their examples that is recognized."""
    right, _, true = _counts(outputs, y, w, "balanced_accuracy")
    return _mean(_share(right, true), 1)


def f1(outputs, y, w):
    """The F1 score: of class 1 for booleans and two classes, otherwise the mean over the classes."""
    predicted, true = examples.classes(outputs, len(y), "f1"), examples.labels(outputs, y, "f1")
    binary = set(np.union1d(true, predicted).tolist()) <= {0, 1} and (examples.classes_of(outputs) or 2) == 2
    if binary:
        p, t = predicted.astype(bool), true.astype(bool)
        both = w @ (p & t)
        return _share(2 * both, w @ p.astype(float) + w @ t.astype(float))
    right, chosen, labelled = _counts(outputs, y, w, "f1")
    return _mean(_share(2 * right, chosen + labelled), 1)


def _auc(score, positive, w):
    order = np.argsort(score, kind="stable")
    s, w = score[order], w[:, order]
    hit, miss = w * positive[order], w * ~positive[order]
    below = np.concatenate([np.zeros((len(w), 1)), np.cumsum(miss, 1)], 1)
    first, last = np.searchsorted(s, s, "left"), np.searchsorted(s, s, "right")
    wins = (hit * (below[:, first] + below[:, last]) / 2).sum(1)
    return _share(wins, hit.sum(1) * miss.sum(1))


def auc(outputs, y, w):
    """The area under the ROC curve: of class 1, or the mean over the classes, each against the rest."""
    if outputs.ndim == 1:
        true = y.astype(bool)
        return _auc(outputs, true, w)
    true = examples.labels(outputs, y, "auc")
    if outputs.shape[1] == 2:  # the difference ranks logits and probabilities alike
        return _auc(outputs[:, 1] - outputs[:, 0], true == 1, w)
    return _mean(np.stack([_auc(outputs[:, c], true == c, w) for c in range(outputs.shape[1])]), 0)


BINS = 15
_SURELY = 3.4  # standard deviations: 15 gaps are all within them with a probability of 0.5 % less than 1, on one side


def calibration_error(outputs, y, w):
    """The expected calibration error in 15 bins of equal width (Naeini et al. 2015, Guo et al. 2017)."""
    gaps, _ = _gaps(outputs, y)
    return np.abs(w @ gaps).sum(1) / w.sum(1)


def calibration_bounds(outputs, y, blocks, normals):
    """The calibration error, and bounds of its deviation from that of the population in R resamples: (R,) each.

    The population's error is that of the same bins: the sum of ``|gap|``, where a gap is the expected confidence minus
    correctness of one bin. The estimate is biased upwards, since the absolute value of a gap around 0 never is around
    0, and the bootstrap doubles that bias: 95 % intervals covered 67 % of the time. With e for the deviation of the
    estimated gap, ``|gap + e| - |gap|`` falls as ``|gap|`` rises: it is at least e with the sign of the gap, and at
    most its value at the smallest ``|gap|`` that is plausible. So the quantiles of the sums of these two bounds give an
    interval that holds whatever the gaps are, and which is the usual one where all gaps are surely not 0. Searching
    nuisance parameters within a confidence set is the method of Berger and Boos (1994).

    A bin in which all answers are right has resamples that hardly vary. Normal noise, from `normals` of shape
    (R, bins), adds the variance that is missing to that of a share with two more successes and failures (Agresti and
    Coull 1998).

    Args:
      blocks: rows of weights: first of all examples, then of R resamples; more are ignored.
    """
    gaps, right = _gaps(outputs, y)
    n, resamples = len(gaps), len(normals)
    drawn = np.concatenate([w @ gaps for w in blocks])[: resamples + 1] / n
    found, deviations = drawn[0], drawn[1:] - drawn[0]
    inside = gaps != 0
    examples_, hits = inside.sum(0), (inside & right[:, None]).sum(0)
    share = (hits + 2) / (examples_ + 4)
    varies = (gaps**2).sum(0) / n**2 - found**2 / n
    missing = np.maximum(examples_ * share * (1 - share) / n**2 - varies, 0)
    sign = np.where(found < 0, -1.0, 1.0)
    signed = sign * (deviations + np.sqrt(missing) * normals)
    least = np.maximum(np.abs(found) - _SURELY * np.sqrt(np.maximum(varies, 0) + missing), 0)
    return np.abs(found).sum(), (np.abs(least + signed) - least).sum(1), signed.sum(1)


def _gaps(outputs, y):
    """Confidence minus correctness of each example, in the column of its bin, and whether it is right."""
    if outputs.ndim != 2:
        raise ValueError(
            "sweep: for calibration_error, predict must return logits or probabilities (..., B, classes), got "
            f"{outputs.dtype}{list(outputs.shape)}."
        )
    sure = outputs.max(1)
    right = outputs.argmax(1) == examples.labels(outputs, y, "calibration_error")
    of = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    return (sure - right)[:, None] * (of[:, None] == np.arange(BINS)), right


def r2(outputs, y, w):
    """One minus the squared error over that of the mean of y."""
    error = w @ (examples.numbers(outputs, y, "r2") - y) ** 2
    mean = (w @ y) / w.sum(1)
    return 1 - _share(error, w @ (y - y.mean()) ** 2 - w.sum(1) * (mean - y.mean()) ** 2)


def rmse(outputs, y, w):
    return np.sqrt((w @ (examples.numbers(outputs, y, "rmse") - y) ** 2) / w.sum(1))


def _ranks(values, w):
    order = np.argsort(values, kind="stable")
    s = values[order]
    below = np.concatenate([np.zeros((len(w), 1)), np.cumsum(w[:, order], 1)], 1)
    found = np.empty(w.shape)
    found[:, order] = (below[:, np.searchsorted(s, s, "left")] + below[:, np.searchsorted(s, s, "right")]) / 2
    return found


def spearman(outputs, y, w):
    """Spearman's rank correlation of outputs and y."""
    a, b = (_ranks(v, w) for v in (examples.numbers(outputs, y, "spearman"), y))
    total = w.sum(1, keepdims=True)
    a, b = a - (w * a).sum(1, keepdims=True) / total, b - (w * b).sum(1, keepdims=True) / total
    return _share((w * a * b).sum(1), np.sqrt((w * a * a).sum(1) * (w * b * b).sum(1)))
