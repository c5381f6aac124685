"""Noise layers for Flax linen, with the names of those in `noisejax.nnx`; ``import noisejax.linen as njl``."""

from noisejax._checks import texts

try:
    import flax as flax
except ModuleNotFoundError as error:
    raise texts.extra("noisejax.linen", "flax", error) from None


from noisejax.linen._activation import (
    ActivationNoise as ActivationNoise,
    AlphaDropout as AlphaDropout,
    DropBlock as DropBlock,
    Dropout as Dropout,
    DropPath as DropPath,
    GaussianDropout as GaussianDropout,
    GaussianNoise as GaussianNoise,
    ManifoldMixup as ManifoldMixup,
    NEFTune as NEFTune,
    PatchDropout as PatchDropout,
    SpatialDropout as SpatialDropout,
)
from noisejax.linen._attention import (
    AttentionDropout as AttentionDropout,
    dot_product_attention as dot_product_attention,
)
from noisejax.linen._weights import (
    DropConnectLinear as DropConnectLinear,
    NoisyLinear as NoisyLinear,
    PerExampleWeightNoise as PerExampleWeightNoise,
    WeightNoise as WeightNoise,
)

__all__ = [
    "ActivationNoise",
    "AlphaDropout",
    "AttentionDropout",
    "DropBlock",
    "DropConnectLinear",
    "DropPath",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "ManifoldMixup",
    "NEFTune",
    "NoisyLinear",
    "PatchDropout",
    "PerExampleWeightNoise",
    "SpatialDropout",
    "WeightNoise",
    "dot_product_attention",
]
