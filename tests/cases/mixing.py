"""Examples that take values of other examples."""

import noisejax as nj
from cases.case import GROUPS, masking

CASES = [
    masking(nj.swap, elementwise=False, gathers=True),
    masking(nj.swap, "rate", (0.6, 0.0, 0.9), elementwise=False, gathers=True, note="groups", groups=GROUPS),
]
