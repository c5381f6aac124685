"""The transformation of `grain_map`, in a module of its own since its base class needs grain."""

import dataclasses
from typing import Any

import numpy as np

try:
    import grain.transforms
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "grain":
        raise
    raise ModuleNotFoundError("grain_map needs grain: pip install grain.", name=error.name) from None

from noisejax.frame._engines import on_record


@dataclasses.dataclass(frozen=True, eq=False)
class RecordNoise(grain.transforms.RandomMap):
    """Noise on each record, drawn from its number."""

    data: np.ndarray
    implementation: Any
    noise: Any
    ids: str

    def random_map(self, element: Any, rng: Any) -> Any:
        return on_record(self.data, self.implementation, self.noise, self.ids, element)
