"""Where faults hit: at random given a column, not at random, in a block of values, in bursts, together.

A mechanism is passed to a fault as its last amount. The rate of the fault is the mean of its probability over the
fitted distribution.
"""

from typing import Any

import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._checks import Amount
from noisejax.tabular._columns import Columns, place_of
from noisejax.tabular._probability import Bursty, Copula, Logistic, Mechanism, Window

SHAPES = ("right", "left", "mid", "tail")


def at_random(columns: Columns, on: int | str, slope: Amount = 1.0, *, shape: str = "right") -> Mechanism:
    """Faults at random (MAR): the probability of a hit depends on the value of one column, which is known.

    The probability of a cell is ``sigmoid(slope * g(z) + b)``. Here z is the standardized value of the column `on` in
    the same row, and b is found so that the mean over the fitted distribution is the fault's `rate`. Where the value
    itself is missing, the probability is `rate`.

    Args:
      columns: the fitted distribution of the table, from `fit`.
      on: the conditioning column: its index in the whole table, also inside `noisejax.on_columns`, or its name in the
        schema. Static.
      slope: how strongly the probability depends on z. 0 is completely at random.
      shape: `'right'`, g(z) = z; `'left'`, -z; `'mid'`, 0.75 - abs(z); `'tail'`, abs(z) - 0.75. `'upper'` and `'lower'`
        hit exactly the values beyond a quantile, and have no slope. Static.

    Returns:
      A mechanism.

    References:
      Rubin, "Inference and missing data", Biometrika 63(3), 1976; Schouten, Lugtig and Vink, "Generating missing values
      for simulation purposes", JSCS 88(15), 2018 (the shapes, as in pyampute).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jax.random.normal(jax.random.key(1), (1000, 2))
      >>> old = nj.tabular.at_random(nj.tabular.fit(x), on=0, slope=4.0)
      >>> y = nj.on_columns(nj.bind(nj.tabular.missing, rate=0.3, mechanism=old), (1,))(jax.random.key(0), x)
      >>> lost = jnp.isnan(y[:, 1])
      >>> bool(x[lost, 0].mean() > 0.5), abs(float(lost.mean()) - 0.3) < 0.05
      (True, True)
    """
    _fitted("at_random", columns)
    on = place_of("at_random", "on", columns, on)
    _checks.one_of("at_random", "shape", shape, (*SHAPES, "upper", "lower"))
    if shape in ("upper", "lower"):
        names = columns.schema.names
        return Window(columns.knots[on], columns.below[on], columns.upto[on], on=on, side=shape, names=names)
    return _logistic("at_random", columns, on, slope, shape)


def not_at_random(columns: Columns, slope: Amount = 1.0, *, shape: str = "right") -> Mechanism:
    """Faults not at random (MNAR): the probability of a hit depends on the value of the cell itself.

    As `at_random`, with z the standardized value of the cell. ``shape="upper"`` and ``"lower"`` are the threshold form:
    the largest or smallest values of each column are hit, up to the share `rate`.

    Args:
      columns: the fitted distribution of the table, from `fit`.
      slope: how strongly the probability depends on z. 0 is completely at random.
      shape: `'right'`, `'left'`, `'mid'`, `'tail'`, `'upper'` or `'lower'`, as in `at_random`. Static.

    Returns:
      A mechanism.

    References:
      Rubin, "Inference and missing data", Biometrika 63(3), 1976; Schouten, Lugtig and Vink, "Generating missing values
      for simulation purposes", JSCS 88(15), 2018.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(100.0)[:, None]
      >>> largest = nj.tabular.not_at_random(nj.tabular.fit(x), shape="upper")
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.1, mechanism=largest)
      >>> jnp.flatnonzero(jnp.isnan(y[:, 0])).tolist()
      [90, 91, 92, 93, 94, 95, 96, 97, 98, 99]
    """
    _fitted("not_at_random", columns)
    _checks.one_of("not_at_random", "shape", shape, (*SHAPES, "upper", "lower"))
    if shape in ("upper", "lower"):
        names = columns.schema.names
        return Window(columns.knots, columns.below, columns.upto, on=None, side=shape, names=names)
    return _logistic("not_at_random", columns, None, slope, shape)


def block(columns: Columns, on: int | str | None = None) -> Mechanism:
    """Faults in a block of values: all cells whose conditioning value lies in a random window of the quantiles.

    The window is [u, u + rate], with u uniform on [0, 1 - rate], drawn once for each key and column. A value that
    occurs often is hit with the share of it that lies in the window, so the expected rate is `rate` for discrete
    columns too.

    Args:
      columns: the fitted distribution of the table, from `fit`.
      on: the conditioning column: its index in the whole table, or its name in the schema; None for the column that is
        hit. Static.

    Returns:
      A mechanism.

    References:
      Jung et al., "tab-err", the mechanisms EAR (a conditioning column) and ENAR (None), to which ties are added here.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.arange(100.0)[:, None]
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.2, mechanism=nj.tabular.block(nj.tabular.fit(x)))
      >>> lost = jnp.flatnonzero(jnp.isnan(y[:, 0]))
      >>> int(lost[-1] - lost[0] + 1 - len(lost))
      0
    """
    _fitted("block", columns)
    names = columns.schema.names
    if on is None:
        return Window(columns.knots, columns.below, columns.upto, on=None, side=None, names=names)
    on = place_of("block", "on", columns, on)
    return Window(columns.knots[on], columns.below[on], columns.upto[on], on=on, side=None, names=names)


def bursty(burst: Amount) -> Mechanism:
    """Faults in bursts along the rows: runs of hit rows with a mean length of `burst`, in each column separately.

    The state follows a Gilbert chain that leaves a burst with probability 1 / burst and enters one so that the share of
    hit rows is the fault's `rate`. The first state is drawn from the stationary distribution. This needs
    ``burst >= 1 / (1 - rate)``; for shorter bursts rows are hit independently.

    Args:
      burst: the mean length of a burst in rows, at least 1, broadcastable to x but the same in all rows.

    Returns:
      A mechanism, for tables in the order of time. It reads neighbouring rows: it works neither inside
      `noisejax.per_example` nor with ``exact=True``.

    Raises:
      ValueError: a burst shorter than one row.

    References:
      Gilbert, "Capacity of a burst-noise channel", Bell System Technical Journal 39(5), 1960.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((10_000, 1))
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.2, mechanism=nj.tabular.bursty(10.0))
      >>> lost = jnp.isnan(y[:, 0]).astype(int)
      >>> starts = int((jnp.diff(lost) == 1).sum())
      >>> bool(7 < lost.sum() / starts < 13)
      True
    """
    burst = arithmetic_amount("bursty", "burst", burst, _burst)
    if np.ndim(burst) > 1:
        raise ValueError(f"bursty: burst must be one number, or one for each column, got shape {np.shape(burst)}.")
    return Bursty(burst)


def copula(correlation: Amount, mechanism: Mechanism | None = None) -> Mechanism:
    """Faults whose hits are correlated between columns: a Gaussian copula, with the rate of each column unchanged.

    Each row has a Gaussian variable for every column, with the given correlation. A cell is hit if its variable lies
    below the normal quantile of its probability.

    Args:
      correlation: one correlation in [0, 1] for all pairs of columns, or a correlation matrix (C, C) of the whole table
        that is positive semidefinite, known on the host.
      mechanism: the mechanism that gives the probabilities; None for completely at random.

    Returns:
      A mechanism.

    Raises:
      ValueError: a correlation outside [0, 1], or a matrix that is no correlation matrix.

    References:
      Nelsen, "An introduction to copulas", Springer, 2006.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.zeros((1000, 2))
      >>> y = nj.tabular.missing(jax.random.key(0), x, 0.3, mechanism=nj.tabular.copula(1.0))
      >>> bool((jnp.isnan(y[:, 0]) == jnp.isnan(y[:, 1])).all())
      True
    """
    if mechanism is not None and (not isinstance(mechanism, Mechanism) or isinstance(mechanism, (Bursty, Copula))):
        raise TypeError(
            "copula: mechanism must be None, at_random(...), not_at_random(...) or block(...), which give "
            f"probabilities, got {mechanism!r}."
        )
    if isinstance(correlation, (list, tuple)):
        correlation = _checks.listed("copula", "correlation", correlation)
    if np.ndim(correlation) == 0:
        return Copula(arithmetic_amount("copula", "correlation", correlation, _correlation), mechanism)
    if isinstance(correlation, Tracer):
        raise TypeError("copula: correlation must be one number if it is traced, since a matrix needs the host.")
    matrix = np.asarray(_checks.operand("copula", "correlation", correlation), np.float64)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    if not square or not np.allclose(matrix, matrix.T, atol=1e-6) or not np.allclose(np.diag(matrix), 1, atol=1e-6):
        raise ValueError(
            f"copula: correlation must be a symmetric matrix with ones on its diagonal, or one number, got {matrix!r}."
        )
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < -1e-6 * len(matrix):
        raise ValueError(
            f"copula: correlation must be positive semidefinite, and its smallest eigenvalue is {values[0]:g}. "
            "Correlations of different pairs of columns contradict each other."
        )
    return Copula((vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32), mechanism)


_burst = _checks.Range("at least 1", lambda v: v >= 1, "It is the mean number of consecutive rows that are hit.")
_correlation = _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "For other signs give a matrix.")


def _fitted(function: str, columns: Any) -> None:
    if not isinstance(columns, Columns):
        raise TypeError(f"{function}: columns must be fitted, nj.tabular.fit(table), got {columns!r}.")


def _logistic(function: str, columns: Columns, on: int | None, slope: Any, shape: str) -> Logistic:
    slope = arithmetic_amount(function, "slope", slope, _checks.real)
    if np.ndim(slope) != 0:
        raise ValueError(f"{function}: slope must be one number, got shape {np.shape(slope)}.")
    pick = slice(None) if on is None else on
    mean, std = columns.mean[pick], columns.std[pick]
    atoms = columns.upto[pick] - columns.below[pick]
    gaps = np.append(columns.below[pick][..., 1:], np.ones_like(columns.below[pick][..., :1]), axis=-1)
    gaps = np.maximum(gaps - columns.upto[pick], 0)
    points = np.concatenate([columns.knots[pick], columns.between[pick]], axis=-1)
    points = (points - mean[..., None]) / np.where(std > 0, std, 1)[..., None]
    shares, names = np.concatenate([atoms, gaps], axis=-1), columns.schema.names
    return Logistic(slope, mean, std, points, shares, on=on, shape=shape, names=names)
