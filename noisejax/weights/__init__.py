"""Noise on weights: trees of parameters, quantized and faulty memories, and another sample for every example.

`perturb` applies a noise to every leaf of a tree of parameters. A noise of a weight is a noise like any other,
``f(key, x, amount)``: `noisejax.gaussian`, `noisejax.uniform`, `noisejax.speckle`, and those of this room. The
products (`local_reparam`, `flipout`, `noisy_net`, `low_rank`) give each example of a batch a weight of its own.
"""

from noisejax.weights._analog import (
    conductance_drift as conductance_drift,
    phase_change as phase_change,
    programming_noise as programming_noise,
    read_noise as read_noise,
    relative_gaussian as relative_gaussian,
)
from noisejax.weights._digital import (
    bit_flips as bit_flips,
    fake_quantize as fake_quantize,
    quant_noise as quant_noise,
)
from noisejax.weights._masks import (
    drop_connect as drop_connect,
    stuck_at as stuck_at,
    ternary_mask as ternary_mask,
)
from noisejax.weights._per_example import (
    flipout as flipout,
    local_reparam as local_reparam,
    low_rank as low_rank,
    low_rank_factors as low_rank_factors,
    noisy_net as noisy_net,
)
from noisejax.weights._perturb import perturb as perturb
from noisejax.weights._product import Conv as Conv

__all__ = [
    "Conv",
    "bit_flips",
    "conductance_drift",
    "drop_connect",
    "fake_quantize",
    "flipout",
    "local_reparam",
    "low_rank",
    "low_rank_factors",
    "noisy_net",
    "perturb",
    "phase_change",
    "programming_noise",
    "quant_noise",
    "read_noise",
    "relative_gaussian",
    "stuck_at",
    "ternary_mask",
]
