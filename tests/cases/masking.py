"""Elements, channels or examples that are dropped or replaced."""

import noisejax as nj
from cases.case import GROUPS, MARGINALS, masking, spectra

CASES = [
    masking(nj.dropout, images=False),
    masking(nj.dropout, images=False, note="shared", broadcast_dims=(1,), x=spectra, elementwise=False),
    masking(nj.spatial_dropout, images=False),
    masking(nj.gaussian_dropout, images=False, hits=False),
    masking(nj.alpha_dropout, images=False),
    masking(nj.drop_path, images=False),
    masking(nj.mask),
    masking(nj.mask, note="marginals", fill=MARGINALS, groups=GROUPS),
]
