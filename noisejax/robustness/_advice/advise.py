"""`advise`: which noises to start with for a table at hand, why, and where they hurt."""

from typing import Any, NamedTuple

import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._combinators.compose import on_columns, on_entries
from noisejax._combinators.deterministic import keyless
from noisejax._noise import Noise, bind
from noisejax._noises.additive import gaussian
from noisejax._noises.masking import dropout
from noisejax._noises.mixing import mixup, swap
from noisejax.labels import smooth
from noisejax.robustness._advice import evidence
from noisejax.tabular import Schema, missing

SMALL = 1000  # rows
STD, RATE, STRONG = 0.2, 0.1, 0.5  # starting amounts; STD and STRONG in standard deviations of a column


class Advice(NamedTuple):
    """A noise to start with, as returned by `advise`. All text is for reading."""

    noise: Noise | None  # None where the amount is an argument of the training function
    place: str  # what it acts on
    why: str
    evidence: str  # a measurement with its page
    warning: str  # where it hurts; '' if nothing is known

    def __str__(self) -> str:
        lines = [f"{self.place}: {'' if self.noise is None else _short(self.noise)}", f"  why: {self.why}"]
        lines.append(f"  evidence: {self.evidence}")
        return "\n".join(lines + ([f"  warning: {self.warning}"] if self.warning else []))


def advise(x: Any, y: Any, schema: Schema | None = None) -> list[Advice]:
    """Noises to start with for a table, scaled to its columns, each with a measurement and a warning.

    They are starting points. Amounts that were right for one table cost up to several points on another, so let `tune`
    choose them.

    Args:
      x: rows of numbers and codes (B, columns), as `noisejax.frame.encode` makes them. NaN is a missing value.
      y: (B,): integers, booleans or names for classes, floats for a regression.
      schema: what the columns are; None for numbers. Columns of zeros and ones get no Gaussian noise.

    Returns:
      A list of `Advice`. The noises of x act on x, in its units; write ``nj.on_entries((noise, None))`` for `mlp`.

    Raises:
      TypeError: x is no table of numbers, or y no labels.
      ValueError: shapes differ, there is one class only, or the schema has other columns.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import robustness
      >>> x = jax.random.normal(jax.random.key(0), (2000, 2)) * jnp.array([[1.0, 50.0]])
      >>> advice = robustness.advise(x, (x[:, 0] > 0).astype(int))
      >>> [a.place for a in advice]
      ['numbers', 'cells', 'cells', 'the batch', 'labels', 'hidden units', 'each step']
      >>> [f"{std:.0f}" for std in jax.tree.leaves(advice[0].noise)[0] * 5]
      ['1', '50']
    """
    x, y, classes = _entered(x, y)
    n = len(x)
    if schema is not None and not isinstance(schema, Schema):
        raise TypeError(f"advise: schema must be a noisejax.tabular.Schema, got {_checks.shown(schema)}.")
    if schema is not None and len(schema) != x.shape[1]:
        raise ValueError(f"advise: schema must have a column for each of {x.shape[1]} in x, got {len(schema)}.")
    coded = set() if schema is None else set(schema.places("category", "ordinal", "flag"))
    known = np.isfinite(x)
    spread = np.array([x[known[:, c], c].std() if known[:, c].any() else 0.0 for c in range(x.shape[1])])
    flags = {c for c in range(x.shape[1]) if np.isin(x[known[:, c], c], (0, 1)).all()}
    numbers = tuple(c for c in range(x.shape[1]) if c not in coded | flags and spread[c] > 0)
    found = []
    if numbers:
        found.append(_gaussian(n, x, numbers, spread, classes))
    found += [_missing(float((~np.isfinite(x)).mean())), _wrong()]
    if classes:
        found += _of_classes(n, classes)
    found.append(_dropout())
    found.append(
        Advice(
            None,
            "each step",
            "An adversary chooses inputs within a bound: train with robustness.mlp(fgsm=0.05), or with "
            "noisejax.adversarial.",
            _text(evidence.FGSM),
            "Against other faults it gains less than noise of their kind. Never use it without tuning its size, and "
            "measure with a strong attack.",
        )
    )
    return found


def _gaussian(n: int, x: np.ndarray, numbers: tuple, spread: np.ndarray, classes: int) -> Advice:
    small = n < SMALL
    std = (STRONG if small else STD) * spread[list(numbers)]
    warning = _text(evidence.TOO_MUCH if small else evidence.LINEAR)
    size = np.array([np.nanmax(np.abs(x[:, c])) for c in numbers])
    if narrow := int((spread[list(numbers)] < 1e-3 * size).sum()):
        warning = (
            f"{narrow} columns vary by less than a thousandth of their size: standardize them, or float32 rounds the "
            f"noise. {warning}"
        )
    if without := x.shape[1] - len(numbers):
        warning = f"{without} columns are categories, flags or constant and get none. {warning}"
    why = f"Measured numbers are inexact. The std is {STD if not small else STRONG} of each column's spread"
    why += ", strong because rows are few." if small else "."
    why += "" if classes else " For a regression it is the first noise to try."
    shown = evidence.SMALL if small else evidence.GAUSSIAN if classes else evidence.REGRESSION
    return Advice(
        on_columns(bind(gaussian, std=std.astype(np.float32)), numbers), "numbers", why, _text(shown), warning
    )


def _missing(share: float) -> Advice:
    rate = float(f"{min(max(share, RATE), 0.5):.2g}")
    if share:
        why = f"{share:.1%} of the cells are missing. Training with more teaches the model to do without."
    else:
        why = "Cells may be missing after deployment, although none is missing here."
    return Advice(
        bind(missing, rate=rate),
        "cells",
        why,
        _text(evidence.MASKING),
        "The model must accept missing values; robustness.mlp takes them as the mean.",
    )


def _wrong() -> Advice:
    return Advice(
        bind(swap, rate=RATE),
        "cells",
        "Cells may be wrong. A cell takes the value of another row, so it stays plausible.",
        f"{_text(evidence.SWAPPING)} {_text(evidence.MIXTURE)}",
        "Rare combinations of values become common.",
    )


def _of_classes(n: int, classes: int) -> list[Advice]:
    tiny = n < SMALL
    return [
        Advice(
            bind(mixup, alpha=0.2, num_classes=classes),
            "the batch",
            "Classification: mixed rows and labels smooth what the network says between classes.",
            _text(evidence.MIXUP),
            "Categories as codes cannot be mixed: encode them by one_hot first.",
        ),
        Advice(
            on_entries((None, keyless(smooth, alpha=0.1, num_classes=classes))),
            "labels",
            "Classification: softened labels keep the network from being too sure.",
            _text(evidence.SMOOTHING),
            f"Rows are few ({n}). Do not add wrong labels on purpose: there is no measurement in favour of it."
            if tiny
            else "",
        ),
    ]


def _dropout() -> Advice:
    return Advice(
        bind(dropout, rate=0.1),
        "hidden units",
        "Deep networks: robustness.mlp(dropout=0.1), or noisejax.nnx.Dropout.",
        _text(evidence.DROPOUT),
        "A linear model has no hidden units.",
    )


def _text(shown: tuple[str, str]) -> str:
    text, page = shown
    return f"{text} ({page})" if page else text


def _short(noise: Noise) -> str:
    text = repr(noise)
    return text if len(text) <= 300 else f"{text[:297]}..."


def _entered(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray, int]:
    x, y = (_array(name, value) for name, value in (("x", x), ("y", y)))
    if x.dtype.kind not in "biuf" or x.ndim != 2 or not x.size:
        raise TypeError(
            f"advise: x must be numbers and codes of shape (B, columns), got {_checks.shown(x)}. noisejax.frame.encode "
            "makes them of a data frame."
        )
    if y.shape != x.shape[:1] or y.dtype.kind not in "biufOSU":
        raise ValueError(f"advise: y must have one label for each of {len(x)} rows of x, got {_checks.shown(y)}.")
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            raise ValueError("advise: y must be finite numbers. Leave out rows without a target.")
        return x.astype(float), y, 0
    names = np.unique(y.astype(str) if y.dtype.kind == "O" else y)
    if len(names) < 2:
        raise ValueError(f"advise: y must have at least two classes, got {names[0]!r} alone.")
    return x.astype(float), y, len(names)


def _array(name: str, value: Any) -> np.ndarray:
    try:
        if not isinstance(value, Tracer):
            return np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"advise: {name} must be an array of known values, got {_checks.shown(value)}.")
