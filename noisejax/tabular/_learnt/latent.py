"""How often cells of each state are hit, and the latent values that keep the hits of one row together.

Every cell of a pair has a latent value, uniform on [0, 1). It lies below the probability of a fault in the cell's state
if and only if the cell has that fault (a randomized probability transform). So the latent values of a donor row can be
compared with the probabilities of a different row: its own states decide what is hit, and the donor which cells are hit
together.
"""

from statistics import NormalDist

import numpy as np

SAME, MISSING, WRONG = 0, 1, 2
_NORMAL = NormalDist()


def shrunk(hits: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The rate of each state, shrunk to the common rate as far as the states do not differ: a beta-binomial model.

    The variance between the states is that of the method of moments (Kleinman, "Proportions with extraneous variance",
    JASA 68, 1973). A state without pairs has the common rate.
    """
    total, wide = hits.sum(), pairs.sum()
    if wide == 0:
        return np.zeros(hits.shape)
    common = total / wide
    within = common * (1 - common)
    spread = wide - (pairs**2).sum() / wide
    if within == 0 or spread <= 0:
        return np.full(hits.shape, common)
    seen = np.maximum(pairs, 1)
    squares = (pairs * (hits / seen - common) ** 2).sum()
    between = (squares - (np.sum(pairs > 0) - 1) * within) / spread
    if between <= 0:
        return np.full(hits.shape, common)
    prior = max(within / between - 1, 0.0)
    return np.where(pairs > 0, (hits + prior * common) / np.maximum(pairs + prior, 1e-300), common)


def rates(state: np.ndarray, outcome: np.ndarray, states: int) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of MISSING and WRONG in each state of one column. The last state is a cell without a value.

    Args:
      state: the state of each pair, (N,).
      outcome: SAME, MISSING or WRONG for each pair, (N,).
      states: the number of states.
    """
    pairs = np.bincount(state, minlength=states).astype(float)
    counts = [np.bincount(state[outcome == kind], minlength=states).astype(float) for kind in (MISSING, WRONG)]
    found = [np.append(shrunk(count[:-1], pairs[:-1]), count[-1] / max(pairs[-1], 1)) for count in counts]
    return found[0], found[1]


def intervals(
    state: np.ndarray, outcome: np.ndarray, missing: np.ndarray, wrong: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of each pair's latent value."""
    first, second = missing[state], np.minimum(missing[state] + wrong[state], 1)
    low = np.choose(outcome, (second, np.zeros(len(state)), first))
    high = np.choose(outcome, (np.ones(len(state)), first, second))
    return low, high


def correlation(hits: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The tetrachoric correlation of the hits of each pair of columns, (C, C); 0 where one of them is never hit.

    It is the correlation of two normal variables that lie below their thresholds as often as the cells are hit, alone
    and together (Drezner and Wesolowsky, "On the computation of the bivariate normal integral", JSCS 35, 1990).

    Args:
      hits: the cells that are hit, (N, C).
      seen: the cells that can be hit, (N, C).
    """
    size = hits.shape[1]
    result = np.eye(size)
    for a in range(size):
        for b in range(a):
            both = seen[:, a] & seen[:, b]
            n = both.sum()
            one, two, together = hits[both, a].sum(), hits[both, b].sum(), (hits[both, a] & hits[both, b]).sum()
            if n == 0 or one in (0, n) or two in (0, n):
                continue
            # Half an observation moves from an empty cell of the table, so that the correlation stays within (-1, 1).
            least, most = max(0, one + two - n) + 0.5, min(one, two) - 0.5
            together = np.clip(together, least, most) if least <= most else one * two / n
            result[a, b] = result[b, a] = _tetrachoric(one / n, two / n, together / n)
    return result


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def _tetrachoric(one: float, two: float, together: float) -> float:
    h, k = _NORMAL.inv_cdf(one), _NORMAL.inv_cdf(two)

    def joint(r: float) -> float:
        # The angle as the variable of integration makes the integrand smooth up to a correlation of one.
        angle = np.arcsin(r) * (_NODES + 1) / 2
        sine, cosine = np.sin(angle), np.cos(angle)
        density = np.exp(-(h * h + k * k - 2 * h * k * sine) / (2 * cosine**2))
        return one * two + np.arcsin(r) / (4 * np.pi) * float(_WEIGHTS @ density)

    low, high = -0.9999, 0.9999
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if joint(middle) < together else (low, middle)
    return (low + high) / 2


def factor(matrix: np.ndarray) -> np.ndarray:
    """A matrix F with F F' next to the given correlations, positive semidefinite and with ones on the diagonal."""
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.maximum(values, 0))
    return root / np.sqrt((root**2).sum(1, keepdims=True))
