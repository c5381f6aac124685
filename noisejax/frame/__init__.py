"""Faults of real data on pandas and polars data frames and Arrow tables, through narwhals.

`corrupt` takes a frame and returns a frame of the same dtypes, index and order, with the mask of the cells that differ.
Numbers run through the noises of arrays, in 64 bits on the CPU. Faults of strings draw from the same stream in NumPy. A
draw depends on the key, the fault, the column's name and the row's number, so it does not depend on chunks or engines.
"""

from noisejax._checks import texts

try:
    import narwhals as narwhals
except ModuleNotFoundError as error:
    raise texts.extra("noisejax.frame", "narwhals", error, extra="frame") from None

from noisejax.frame._corrupt import (
    FrameNoise as FrameNoise,
    augment as augment,
    corrupt as corrupt,
    noise as noise,
)
from noisejax.frame._encode import Encoded as Encoded, decode as decode, encode as encode
from noisejax.frame._engines import grain_map as grain_map, map_batches as map_batches, numpy_door as numpy_door
from noisejax.frame._layouts import Layout as Layout, layout as layout
from noisejax.frame._schema import schema as schema
from noisejax.frame._strings import (
    misspelt as misspelt,
    mistyped as mistyped,
    mojibake as mojibake,
    similar as similar,
)

__all__ = [
    "Encoded",
    "FrameNoise",
    "Layout",
    "augment",
    "corrupt",
    "decode",
    "encode",
    "grain_map",
    "layout",
    "map_batches",
    "misspelt",
    "mistyped",
    "mojibake",
    "noise",
    "numpy_door",
    "schema",
    "similar",
]
