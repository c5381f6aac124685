"""Gaps of recordings: how often they begin, and how long they last, as one chain or two of a good and a bad state."""

from itertools import pairwise

import numpy as np


def chains(missing: list[np.ndarray], known: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The rates and mean lengths of the short and the long gaps of one channel, (2,) each, from masks (T,).

    What one chain leaves in good steps begins at the same rate in every good step, so onsets are counted there. The
    lengths are one geometric distribution, or two if the likelihood gains more than the two parameters cost (BIC).
    """
    starts = good = 0
    lengths, ended = [], []
    for lost, seen in zip(missing, known, strict=True):
        both = seen[:-1] & seen[1:]
        starts += int((both & ~lost[:-1] & lost[1:]).sum())
        good += int((both & ~lost[:-1]).sum())
        for length, whole in _runs(lost, seen):
            lengths.append(length)
            ended.append(whole)
    if not starts:
        # Gaps that reach over the start of the recordings say nothing about how often they begin.
        return np.zeros(2), np.ones(2)
    begin, (weights, leave) = starts / good, _lengths(np.array(lengths, float), np.array(ended))
    onset = begin * weights
    rate = onset / (onset + leave)
    return rate, np.where(weights > 0, np.maximum(1 / leave, 1 / (1 - rate)), 1)


def _runs(lost: np.ndarray, seen: np.ndarray) -> list[tuple[int, bool]]:
    """The gaps that begin after a good step, and whether each is seen to end."""
    state = np.where(seen, lost.astype(int), 2)
    edges = np.flatnonzero(np.diff(state)) + 1
    bounds = [0, *edges, len(state)]
    found = []
    for n, (first, last) in enumerate(pairwise(bounds)):
        if state[first] == 1 and n > 0 and state[first - 1] == 0:
            found.append((last - first, last < len(state) and state[last] == 0))
    return found


def _lengths(length: np.ndarray, ended: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights and the rates of leaving of one geometric distribution of lengths, or of a mixture of two."""
    stays = length - 1
    one = max(ended.sum(), 0.5) / (ended.sum() + stays.sum())
    single = np.array([1.0, 0.0]), np.array([one, 1.0])
    if len(length) < 8:
        return single
    likelihood = np.sum(stays * np.log(max(1 - one, 1e-12)) + ended * np.log(one))
    # The start: gaps shorter than the mean, and the others.
    leave = np.array([1 / length[length <= length.mean()].mean(), min(1 / length.max() * 2, 0.9)])
    weights = np.array([0.5, 0.5])
    for _ in range(500):
        log = np.log(np.maximum(weights, 1e-300)) + stays[:, None] * np.log(np.maximum(1 - leave, 1e-12))
        log += ended[:, None] * np.log(leave)
        top = log.max(1, keepdims=True)
        share = np.exp(log - top)
        total = share.sum(1, keepdims=True)
        share /= total
        weights = share.mean(0)
        leave = (share * ended[:, None]).sum(0) / np.maximum((share * (ended[:, None] + stays[:, None])).sum(0), 1e-12)
        leave = np.clip(leave, 1e-9, 1)
    double = float((top + np.log(total)).sum())
    if double - likelihood <= np.log(len(length)):
        return single
    order = np.argsort(-leave)
    return weights[order], leave[order]
