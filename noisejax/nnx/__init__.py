"""Noise layers for Flax NNX, used like `nnx.Dropout`; ``import noisejax.nnx as njx``."""

from noisejax._checks import texts

try:
    import flax as flax
except ModuleNotFoundError as error:
    raise texts.extra("noisejax.nnx", "flax", error) from None


from noisejax.nnx._activation import (
    ActivationNoise as ActivationNoise,
    GaussianNoise as GaussianNoise,
    NEFTune as NEFTune,
)
from noisejax.nnx._attention import (
    AttentionDropout as AttentionDropout,
    dot_product_attention as dot_product_attention,
)
from noisejax.nnx._dropout import (
    AlphaDropout as AlphaDropout,
    DropBlock as DropBlock,
    Dropout as Dropout,
    DropPath as DropPath,
    GaussianDropout as GaussianDropout,
    PatchDropout as PatchDropout,
    SpatialDropout as SpatialDropout,
)
from noisejax.nnx._layer import Amount as Amount
from noisejax.nnx._mixup import ManifoldMixup as ManifoldMixup
from noisejax.nnx._model import functional as functional, reseed as reseed, set_amounts as set_amounts
from noisejax.nnx._weights import (
    DropConnectLinear as DropConnectLinear,
    NoisyLinear as NoisyLinear,
    PerExampleWeightNoise as PerExampleWeightNoise,
    WeightNoise as WeightNoise,
)

__all__ = [
    "ActivationNoise",
    "AlphaDropout",
    "Amount",
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
    "functional",
    "reseed",
    "set_amounts",
]
