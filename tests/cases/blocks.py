"""Blocks of activations that are dropped."""

import noisejax as nj
from cases.case import masking, pictures

CASES = [
    masking(nj.drop_block, images=False, block_size=3, x=pictures, elementwise=False),
]
