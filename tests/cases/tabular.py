"""Faults of tables, at every cell and at mechanisms."""

import numpy as np

import noisejax as nj
from cases.case import GROUPS, masking, row, rows, whole

TABLE = np.random.default_rng(9).standard_normal((300, 12)).astype(np.float32)
COLUMNS = nj.tabular.fit(TABLE)


def groups_of_rows():
    """Larger than a model that was fitted to few pairs."""
    return rows((8, 20, 12))


def learnt(dependence="donors"):
    """A model of wrong numbers, without missing values, from pairs."""
    rng, clean = np.random.default_rng(10), TABLE[:70]
    hit = (rng.random((70, 1)) < 0.6) & (rng.random(clean.shape) < 0.7)
    dirty = np.where(hit, 2 * clean + rng.standard_normal(clean.shape), clean)
    schema = nj.tabular.Schema(dict.fromkeys(range(12), "number"))
    return nj.tabular.fit_errors(clean, dirty, schema, dependence=dependence)


def imitating(note, **more):
    model = learnt(**more)
    return masking(
        nj.tabular.errors,
        "strength",
        (1.0, 0.0, 1.5),
        note=note,
        x=groups_of_rows,
        model=model,
        elementwise=False,
        images=False,
    )


def codes():
    """Codes of five classes, as floats."""
    return np.random.default_rng(7).integers(5, size=(8, 12)).astype(np.float32)


def observed(note, mechanism, **more):
    # The values of a mechanism's probabilities depend on x, so laws about x's dtype hold only roughly.
    return masking(nj.tabular.missing, fill=99.0, note=note, mechanism=mechanism, measures=True, **more)


CASES = [
    masking(nj.tabular.missing, fill=99.0),
    masking(nj.tabular.missing, fill=99.0, note="together", together=GROUPS, elementwise=False),
    observed("at random", nj.tabular.at_random(COLUMNS, 0, 2.0), elementwise=False),
    observed("not at random", nj.tabular.not_at_random(COLUMNS, 2.0, shape="tail"), elementwise=False),
    observed("block", nj.tabular.block(COLUMNS), elementwise=False),
    observed("copula", nj.tabular.copula(0.5), elementwise=False),
    masking(nj.tabular.outlier, columns=COLUMNS, elementwise=False, measures=True),
    masking(nj.tabular.add_delta, delta=3.0),
    masking(nj.tabular.wrong_unit),
    masking(nj.tabular.rounding, images=False, differentiable=False),
    masking(nj.tabular.sign, images=False, integers=True),
    masking(nj.tabular.digit, x=whole, differentiable=False),
    masking(nj.tabular.category, x=codes, num_classes=5, differentiable=False, integers=False),
    masking(nj.tabular.swap_columns, pairs=((0, 1), (4, 7)), elementwise=False),
    masking(nj.tabular.permute_rows, "rate", (0.6, 0.0, 0.9), elementwise=False, gathers=True),
    masking(nj.tabular.duplicate, "rate", (0.6, 0.0, 0.9), elementwise=False, gathers=True),
    imitating(""),
    imitating("copula", dependence="copula"),
    row(
        nj.tabular.drift,
        shift=(3.0, 0.0, 1.0),
        position=(3.0, 3.0, 5.0),
        width=(2.0, 2.0, 4.0),
        kind="incremental",
        hits=True,
        elementwise=False,
        x=rows,
    ),
]
