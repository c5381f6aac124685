"""Faults of tables (..., rows, columns) of numbers and codes.

Values are missing, outlying, mistyped, in the wrong unit or the wrong field; rows are duplicated or permuted;
distributions drift. Where faults hit is a mechanism, which is fitted to clean data and passed as an amount.
"""

from noisejax.tabular._categories import by_frequency as by_frequency, category as category, neighbours as neighbours
from noisejax.tabular._cells import (
    UNITS as UNITS,
    add_delta as add_delta,
    missing as missing,
    outlier as outlier,
    rounding as rounding,
    sign as sign,
    wrong_unit as wrong_unit,
)
from noisejax.tabular._columns import Columns as Columns, fit as fit
from noisejax.tabular._digits import digit as digit
from noisejax.tabular._drift import drift as drift, drift_weight as drift_weight
from noisejax.tabular._learnt.errors import errors as errors
from noisejax.tabular._learnt.fit import fit_errors as fit_errors
from noisejax.tabular._learnt.model import ErrorModel as ErrorModel, Rate as Rate
from noisejax.tabular._learnt.shift import Finding as Finding, Shift as Shift, fit_shift as fit_shift
from noisejax.tabular._learnt.text import TextErrors as TextErrors, fit_text_errors as fit_text_errors
from noisejax.tabular._mechanisms import (
    at_random as at_random,
    block as block,
    bursty as bursty,
    copula as copula,
    not_at_random as not_at_random,
)
from noisejax.tabular._one_hot import one_hot as one_hot
from noisejax.tabular._probability import Mechanism as Mechanism
from noisejax.tabular._rows import (
    duplicate as duplicate,
    imbalance as imbalance,
    permute_rows as permute_rows,
    swap_columns as swap_columns,
)
from noisejax.tabular._schema import Column as Column, Schema as Schema

__all__ = [
    "UNITS",
    "Column",
    "Columns",
    "ErrorModel",
    "Finding",
    "Mechanism",
    "Rate",
    "Schema",
    "Shift",
    "TextErrors",
    "add_delta",
    "at_random",
    "block",
    "bursty",
    "by_frequency",
    "category",
    "copula",
    "digit",
    "drift",
    "drift_weight",
    "duplicate",
    "errors",
    "fit",
    "fit_errors",
    "fit_shift",
    "fit_text_errors",
    "imbalance",
    "missing",
    "neighbours",
    "not_at_random",
    "one_hot",
    "outlier",
    "permute_rows",
    "rounding",
    "sign",
    "swap_columns",
    "wrong_unit",
]
