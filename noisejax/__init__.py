"""Noise injection for JAX: pure functions of a key and an array, ``f(key, x, amount, *, option=...)``.

The top level contains:

- Noises of activations, and noises for which the axes of an array have no meaning: `gaussian`, `mask`, `dropout`,
  `mixup`, ...
- `bind` and the combinators, which turn noises into values: `chain`, `choose`, `sometimes`, `on_entries`,
  `on_columns`, `per_example`, ...
- Tools that work with any noise: `Padded`, `key`, `hits`, `at_step`, `adaptive`, ...

Modules that need only jax are attributes of this package:

- `noisejax.image`: images (B, H, W, C): erased boxes, grids, pixels and channels.
- `noisejax.signal`: series, waveforms and spectrograms: masked bands, colored noise, noise at a signal-to-noise ratio.
- `noisejax.tabular`: tables of numbers and codes: missing values, outliers, wrong units, digits and categories, drift.
- `noisejax.text`: code points and token ids: typing errors at a character error rate, masked tokens, alignment.
- `noisejax.labels`: wrong, missing and softened labels.
- `noisejax.weights`: noise on parameters: memory faults, analog devices, a sample for each example.
- `noisejax.fused`: attention with dropout, losses and products whose noise is drawn inside and never stored.
- `noisejax.robustness`: accuracy under increasing noise, with intervals, reports and plots.

Modules that need another package are imported by name:

- ``import noisejax.nnx as njx``, ``import noisejax.linen as njl``: Flax layers (needs flax).
- ``from noisejax import frame``: faults on pandas, polars and Arrow tables (needs narwhals).
- ``import noisejax.optim``: noise around an optimizer, as optax transforms (needs optax).
- ``import noisejax.adversarial``: threats, attacks, adversarial training and certificates (needs optax).
"""

from typing import TYPE_CHECKING

from noisejax import (
    fused as fused,
    image as image,
    labels as labels,
    robustness as robustness,
    signal as signal,
    tabular as tabular,
    text as text,
    weights as weights,
)
from noisejax._calls.fitted import Fitted as Fitted
from noisejax._combinators.choose import choose as choose, sometimes as sometimes
from noisejax._combinators.compose import (
    chain as chain,
    on_columns as on_columns,
    on_entries as on_entries,
    per_example as per_example,
)
from noisejax._combinators.deterministic import clip as clip, keyless as keyless
from noisejax._combinators.masks import changed as changed, hits as hits
from noisejax._combinators.shards import in_shard_map as in_shard_map
from noisejax._levels import (
    Adaptive as Adaptive,
    AdaptiveState as AdaptiveState,
    adaptive as adaptive,
    at_step as at_step,
    linear_rates as linear_rates,
    scheduled as scheduled,
)
from noisejax._noise import Noise as Noise, bind as bind, learnable as learnable
from noisejax._noises.additive import (
    alpha_stable as alpha_stable,
    gaussian as gaussian,
    laplace as laplace,
    shot as shot,
    speckle as speckle,
    student_t as student_t,
    uniform as uniform,
)
from noisejax._noises.blocks import drop_block as drop_block, patch_dropout as patch_dropout
from noisejax._noises.cutmix import cutmix as cutmix
from noisejax._noises.masking import (
    Marginals as Marginals,
    alpha_dropout as alpha_dropout,
    drop_path as drop_path,
    dropout as dropout,
    gaussian_dropout as gaussian_dropout,
    marginals as marginals,
    mask as mask,
    spatial_dropout as spatial_dropout,
)
from noisejax._noises.mixing import blend as blend, mixup as mixup, mixup_pairs as mixup_pairs, swap as swap
from noisejax._noises.numeric import (
    impulse as impulse,
    nonfinite as nonfinite,
    quantize as quantize,
    reduce_precision as reduce_precision,
    salt_and_pepper as salt_and_pepper,
)
from noisejax._noises.penalty import tikhonov_estimate as tikhonov_estimate, tikhonov_penalty as tikhonov_penalty
from noisejax._padded import Padded as Padded
from noisejax._random.keys import key as key
from noisejax._serialize import from_dict as from_dict

__version__ = "0.1.0"

if not TYPE_CHECKING:  # otherwise type checkers would accept every name

    def __getattr__(name: str):
        from noisejax._checks import texts

        raise texts.unknown_attribute(name)
