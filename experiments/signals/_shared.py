"""What the experiments with signals share: networks for several seeds at once, and tables of paired differences."""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments import _dirty
from experiments.camera_noise import logits, trained

NONE = "none"


def arguments(description: str, folder: str) -> argparse.Namespace | None:
    """The command line, or None with one line if the data are absent."""
    given = _dirty.arguments(description)
    place = _dirty.folder()
    if place is None or not (place / folder).is_dir():
        print(f"skipped: no {folder}. Set NOISEJAX_DIRTY to the folder that holds it.")
        return None
    return given


@functools.partial(jax.jit, static_argnames=("classes", "steps"))
def _networks(seeds, x, y, classes: int, steps: int):
    return jax.vmap(lambda seed: trained(jax.random.key(seed), x, y, classes, steps))(seeds)


def networks(seeds, x: np.ndarray, y: np.ndarray, classes: int, steps: int):
    """A function from rows to the logits of one network per seed, (seeds, rows, classes), on standardized features."""
    mean, std = x.mean(0), x.std(0) + 1e-6
    parameters = _networks(jnp.asarray(seeds), jnp.asarray((x - mean) / std), jnp.asarray(y), classes, steps)

    def predict(rows: np.ndarray) -> np.ndarray:
        rows = jnp.asarray((rows - mean) / std)
        return np.asarray(jax.vmap(lambda p: logits(p, rows))(parameters))

    return predict


def summary(arms: dict[str, dict[str, np.ndarray]], judged: str) -> list[dict]:
    """Each figure of each training over the seeds, and the paired difference of `judged` to training without noise."""
    return [
        {
            "training": name,
            **{figure: _dirty.spread(values) for figure, values in figures.items()},
            "difference": _dirty.spread(figures[judged] - arms[NONE][judged]),
        }
        for name, figures in arms.items()
    ]


def by_group(runs: list[dict], group: str) -> dict[str, dict[str, np.ndarray]]:
    """The figures of the trainings of one group, over the seeds. A run has a dict of figures by (group, training)."""
    return {
        training: {figure: np.array([run[name, training][figure] for run in runs]) for figure in figures}
        for (name, training), figures in runs[0].items()
        if name == group
    }


def shown(rows: list[dict]) -> None:
    for row in rows:
        figures = (f"{name} {_dirty.cell(value)}" for name, value in row.items() if isinstance(value, dict))
        print(f"{row['training']}: {' | '.join(figures)}", flush=True)
