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
from noisejax.frame._schema import schema as schema
from noisejax.frame._strings import (
    misspelt as misspelt,
    mistyped as mistyped,
    mojibake as mojibake,
    similar as similar,
)

__all__ = [
    "FrameNoise",
    "augment",
    "corrupt",
    "misspelt",
    "mistyped",
    "mojibake",
    "noise",
    "schema",
    "similar",
]
