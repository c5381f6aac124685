from noisejax import labels as labels, weights as weights
from noisejax._blocks import drop_block as drop_block, patch_dropout as patch_dropout
from noisejax._choose import choose as choose, sometimes as sometimes
from noisejax._compose import (
    at as at,
    chain as chain,
    changed as changed,
    clip as clip,
    entries as entries,
    hits as hits,
    keyless as keyless,
    per_example as per_example,
)
from noisejax._continuous import (
    colored as colored,
    gaussian as gaussian,
    gaussian_snr as gaussian_snr,
    laplace as laplace,
    shot as shot,
    speckle as speckle,
    student_t as student_t,
    uniform as uniform,
)
from noisejax._cutmix import cutmix as cutmix
from noisejax._hidden import linear_rates as linear_rates
from noisejax._keys import key as key
from noisejax._levels import (
    Adaptive as Adaptive,
    AdaptiveState as AdaptiveState,
    adaptive as adaptive,
    at_step as at_step,
)
from noisejax._masking import (
    Marginals as Marginals,
    alpha_dropout as alpha_dropout,
    channel_dropout as channel_dropout,
    drop_path as drop_path,
    dropout as dropout,
    gaussian_dropout as gaussian_dropout,
    marginals as marginals,
    mask as mask,
    pixel_dropout as pixel_dropout,
    spatial_dropout as spatial_dropout,
)
from noisejax._mixing import blend as blend, mixup as mixup, mixup_pairs as mixup_pairs, swap as swap
from noisejax._noise import Noise as Noise, bind as bind
from noisejax._numeric import (
    impulse as impulse,
    nonfinite as nonfinite,
    quantize as quantize,
    reduce_precision as reduce_precision,
    salt_and_pepper as salt_and_pepper,
)
from noisejax._penalty import tikhonov_estimate as tikhonov_estimate, tikhonov_penalty as tikhonov_penalty
from noisejax._regions import (
    coarse_dropout as coarse_dropout,
    cutout as cutout,
    freq_mask as freq_mask,
    grid_mask as grid_mask,
    random_erasing as random_erasing,
    time_mask as time_mask,
)
from noisejax._shards import in_shard_map as in_shard_map

__version__ = "0.1.0"
