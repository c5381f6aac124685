"""Faults of tables, at every cell and at mechanisms."""

import numpy as np

import noisejax as nj
from cases.case import GROUPS, masking, row, rows, spectra, whole

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
        heavy=True,
    )


def codes():
    """Codes of five classes, as floats."""
    return np.random.default_rng(7).integers(5, size=(8, 12)).astype(np.float32)


def observed(note, mechanism, **more):
    # The values of a mechanism's probabilities depend on x, so laws about x's dtype hold only roughly.
    more = {"hits": True, "codes": True, "measures": True, "elementwise": False, **more}
    return row(nj.tabular.missing, rate=(0.3, 0.0, 0.9), fill=99.0, note=note, mechanism=mechanism, **more)


# Hits of all faults of cells are drawn by the same code: the fast laws run over `missing`, and few of them over others.
like_missing = {"heavy": True}
moves = {"hits": True, "integers": True, "elementwise": False, "gathers": True, "heavy": True, "x": spectra}

CASES = [
    masking(nj.tabular.missing, fill=99.0),
    masking(nj.tabular.missing, fill=99.0, note="together", together=GROUPS, elementwise=False),
    observed("at random", nj.tabular.at_random(COLUMNS, 0, 2.0)),
    observed("not at random", nj.tabular.not_at_random(COLUMNS, 2.0, shape="tail")),
    observed("block", nj.tabular.block(COLUMNS)),
    observed("copula", nj.tabular.copula(0.5)),
    masking(nj.tabular.outlier, columns=COLUMNS, elementwise=False, measures=True),
    masking(nj.tabular.add_delta, delta=3.0, **like_missing),
    masking(nj.tabular.wrong_unit, **like_missing),
    masking(nj.tabular.rounding, images=False, differentiable=False, **like_missing),
    masking(nj.tabular.sign, images=False, integers=True, **like_missing),
    masking(nj.tabular.digit, x=whole, differentiable=False, measures=True, **like_missing),
    masking(nj.tabular.category, x=codes, num_classes=5, differentiable=False, codes=True, **like_missing),
    masking(nj.tabular.swap_columns, pairs=((0, 1), (4, 7)), elementwise=False),
    row(nj.tabular.permute_rows, rate=(0.6, 0.0, 0.9), **moves),
    row(nj.tabular.duplicate, rate=(0.6, 0.0, 0.9), **moves),
    imitating(""),
    imitating("copula", dependence="copula"),
    row(
        nj.tabular.drift,
        shift=(3.0, 0.0, 1.0),
        position=(1.0, 1.0, 5.0),
        width=(2.0, 2.0, 4.0),
        kind="gradual",
        hits=True,
        integers=True,
        elementwise=False,
        x=rows,
    ),
]
