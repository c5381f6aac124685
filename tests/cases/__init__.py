"""The one table: a row per public array noise, in the file of its family. The laws in tests/laws run over every row.

A new noise is one function, one row and one docstring; a test holds this table against the public surface.
"""

import pytest

from cases import additive, blocks, image, masking, mixing, numeric, signal, weights

FAMILIES = (additive, numeric, masking, blocks, mixing, image, signal, weights)
CASES = [case for family in FAMILIES for case in family.CASES]

every = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.slow] * case.slow) for case in CASES],
)
