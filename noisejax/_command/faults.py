"""The faults that the command line measures and tunes against."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax._combinators.compose import chain, on_columns, on_entries
from noisejax._command.table import Table
from noisejax._noise import Noise, bind
from noisejax._noises.additive import gaussian
from noisejax._noises.masking import mask
from noisejax._noises.mixing import mixup, swap
from noisejax.robustness import Family, Space
from noisejax.tabular import missing

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


def spread(table: Table) -> np.ndarray:
    """The standard deviation of each column of numbers."""
    return np.nan_to_num(np.nanstd(table.x[:, table.numbers], 0)).astype(np.float32)


def noise(table: Table, gaussian_: Any = 0.0, mask_: Any = 0.0, swap_: Any = 0.0) -> Noise:
    """Gaussian noise in standard deviations of a column, and shares of cells that are masked and swapped."""
    stages = [
        bind(swap, rate=swap_, groups=table.groups),
        bind(mask, rate=mask_, fill=table.fill, groups=table.groups),
    ]
    if table.numbers:
        stages.append(on_columns(bind(gaussian, std=gaussian_ * spread(table)), table.numbers))
    return chain(*stages)


def families(table: Table, levels: Any = LEVELS) -> list[Family]:
    """Missing cells, cells with the value of another row, Gaussian noise on numbers."""
    found = [
        Family("missing", lambda rate: bind(mask, rate=rate, fill=table.fill, groups=table.groups), levels),
        Family("wrong", lambda rate: bind(swap, rate=rate, groups=table.groups), levels),
    ]
    if table.numbers:
        stds = spread(table)
        found.append(Family("gaussian", lambda v: on_columns(bind(gaussian, std=v * stds), table.numbers), levels))
    return found


def features(table: Table) -> list[Family]:
    """Each feature missing in all rows, and wrong in all rows."""
    groups = jnp.array(table.groups)

    def only(feature: Any, other: Any):
        def hit(key: jax.Array, x: jax.Array) -> jax.Array:
            here = groups[None] == jnp.asarray(feature, jnp.float32).astype(jnp.int32)
            return jnp.where(here, other(key, x), x)

        return hit

    fill = bind(mask, rate=1.0, fill=table.fill, groups=table.groups)
    numbers = np.arange(len(table.names), dtype=float)
    return [
        Family("feature missing", lambda n: only(n, fill), numbers, labels=table.names),
        Family(
            "feature wrong", lambda n: only(n, bind(swap, rate=1.0, groups=table.groups)), numbers, labels=table.names
        ),
    ]


def spaces(table: Table) -> dict[str, Space]:
    """What `tune` tries: single techniques and their mixture."""

    def made(**amounts: float) -> Noise:
        return on_entries((noise(table, **{f"{name}_": v for name, v in amounts.items()}), None))

    found = {"masking": Space(made, {"mask": (0.02, 0.5)}), "swapping": Space(made, {"swap": (0.02, 0.5)})}
    mixed = {"mask": (0.0, 0.4), "swap": (0.0, 0.4)}
    if table.numbers:
        found["gaussian"] = Space(made, {"gaussian": (0.02, 0.6)})
        mixed["gaussian"] = (0.0, 0.6)
    if table.classes:
        classes = len(table.classes)
        found["mixup"] = Space(lambda alpha: bind(mixup, alpha=alpha, num_classes=classes), {"alpha": (0.02, 1.0)})
    return {**found, "mixture": Space(made, mixed)}


def of_frames(frame: Any, levels: Any = LEVELS) -> list[Family]:
    """The same faults on a data frame, for a model of the user's own."""
    from noisejax import frame as frames

    numeric = [str(name) for name in frame.columns if np.asarray(frame[name].to_numpy()).dtype.kind in "iuf"]
    stds = {name: float(np.nanstd(np.asarray(frame[name].to_numpy(), float))) for name in numeric}
    whole = {name for name in numeric if np.asarray(frame[name].to_numpy()).dtype.kind in "iu"}

    def noisy(level: float):
        return frames.noise([(n, bind(gaussian, std=level * stds[n])) for n in numeric if n not in whole])

    found = [
        Family("missing", lambda rate: frames.noise([(None, bind(missing, rate=rate))]), levels, on="host"),
        Family("wrong", lambda rate: frames.noise([(None, bind(swap, rate=rate))]), levels, on="host"),
    ]
    if set(numeric) - whole:
        found.append(Family("gaussian", noisy, levels, on="host"))
    return found
