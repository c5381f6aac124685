"""Noise on weights: trees of parameters, quantized and faulty memories, and another sample for every example.

`perturb` applies a noise to every leaf of a tree of parameters. A noise of a weight is a noise like any other,
``f(key, x, amount)``: `noisejax.gaussian`, `noisejax.uniform`, `noisejax.speckle`, and those of this room. The
products (`local_reparam`, `flipout`, `noisy_net`, `low_rank`) give each example of a batch a weight of its own.
"""

from noisejax.weights._per_example import (
    flipout as flipout,
    local_reparam as local_reparam,
    low_rank as low_rank,
    low_rank_factors as low_rank_factors,
    noisy_net as noisy_net,
)
from noisejax.weights._product import Conv as Conv

__all__ = [
    "Conv",
    "flipout",
    "local_reparam",
    "low_rank",
    "low_rank_factors",
    "noisy_net",
]
