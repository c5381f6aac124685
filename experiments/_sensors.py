"""Two sets of sensors as tables, for `experiments.noises`. Their readings are part of the dirty data.

*Air quality*: NO2 of an hour from five gas sensors and the weather. *Water loop*: is a second of a water loop anomalous
by its eight sensors? Rows are drawn at random, so neighbours in time fall into training and tests, for all recipes.
"""

import numpy as np
import pandas as pd

from experiments import _dirty
from experiments._tables import Table

NAMES = ("Air quality", "Water loop")


def load(name: str) -> Table | str:
    """The table, or one line that says what is missing."""
    if _dirty.missing() is not None:
        return f"{name} is skipped: no dirty data. Set NOISEJAX_DIRTY to the folder that holds flights."
    if name == "Air quality":
        from experiments.signals.airquality import SENSORS, WEATHER, loaded

        data = loaded()
        frame, target, classes = pd.DataFrame(data["x"], columns=[*SENSORS, *WEATHER]), data["y"], 0
    else:
        from experiments.signals.machine import loaded

        data = loaded()
        frame = pd.DataFrame(np.concatenate(data["x"]).astype(float))
        target, classes = np.concatenate(data["y"]).astype(int), 2
    columns = tuple(range(frame.shape[1]))
    return Table(name, frame, target, classes, columns, columns)
