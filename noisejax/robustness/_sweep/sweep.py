"""The sweep: scores of a predictor under families of noise, at each of their levels."""

import contextlib
import dataclasses
import functools
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from noisejax import _checks
from noisejax._random.host import known, typed_keys
from noisejax._random.stream import stage
from noisejax.robustness._families import Family, checked
from noisejax.robustness._metrics.metric import CLASSES, KNOWN, PROBABILITIES, Metric, chosen
from noisejax.robustness._report.records import fingerprint
from noisejax.robustness._report.report import CLEAN, Report
from noisejax.robustness._report.shift import shift_of
from noisejax.robustness._sweep import amounts, inputs, programs, run
from noisejax.robustness._sweep.collect import Cell, Setup
from noisejax.robustness._sweep.journal import Journal
from noisejax.robustness._sweep.on_host import OnHost, part


def sweep(
    key: jax.Array,
    predict: Callable[..., Any],
    data: tuple[Any, Any],
    families: Sequence[Family],
    *,
    metrics: str | Callable[..., Any] | Metric | Sequence[Any] = "accuracy",
    draws: int = 1,
    groups: Any = None,
    batch_size: int | None = None,
    host: bool | None = None,
    resamples: int = 1000,
    shift: bool = False,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = False,
) -> Report:
    """Measures a model, or several models at once, under increasing noise.

    The draws depend only on the key, the family's name and the example. They are the same at every level and for every
    model, so curves are smooth and the reports of two models can be compared example by example. Levels are traced: a
    family compiles once, whatever the number of its levels. Noises of single elements, and others without a domain,
    draw once for all levels, or for as many as fit into 64 MiB, unless a level is to be kept at once (`checkpoint`).

    Args:
      key: a JAX key.
      predict: a function of x: of JAX (a function, an nnx module in eval mode, a `jax.tree_util.Partial`), or of the
        host (scikit-learn, XGBoost, torch on the CPU, ONNX Runtime). Outputs are those that the metrics take. With JAX,
        leading axes of the outputs are separate models, for instance from `jax.vmap` over the parameters of several
        seeds. If `predict` is a pytree of arrays, different parameters of the same shapes cost no new compilation.
      data: (x, y). x is an array, a `Padded`, a pytree of arrays, or for a host predictor a data frame; y holds class
        numbers, rows of probabilities or targets, and for a host predictor also names of classes.
      families: a list of `Family`.
      metrics: names, functions of (outputs, y) or `Metric`; the first is the one that the report shows by default. Of
        each example: 'accuracy', 'log_loss', 'brier', 'squared_error', 'absolute_error', 'ndcg'. Of a whole set: 'auc',
        'f1', 'balanced_accuracy', 'calibration_error', 'r2', 'rmse', 'spearman'.
      draws: the number of noise draws that are averaged.
      groups: the group of each example, an array of B names or numbers, or a mapping from names to such arrays. The
        report then has the scores of each group, and always those of each class, for metrics of examples.
      batch_size: the number of examples that are noised and predicted at a time, to bound memory; None for as many as
        fit into 64 MiB of x. It changes no draw, except the random starts of attacks. A noise that sees several
        examples (mixing, a function of your own) acts on all of them at once.
      host: whether predict runs on the host; None asks it once with a traced x.
      resamples: the number of bootstrap resamples for metrics of whole sets.
      shift: whether to compare the distributions of the columns of the first 1000 rows of x before and after noise.
      checkpoint: the path of a file that keeps every level as soon as it is measured. A sweep that was killed continues
        there and gives the same report. A file of a different key, data, metric or model raises. The noise itself is
        not compared, so choose a new path if you change it.
      progress: whether to show a progress bar (needs rich).

    Returns:
      A `Report`. Levels at which the predictor failed, or gave values that are not finite, are marked in it and in a
      warning; the other levels are measured.

    Raises:
      FloatingPointError: an output or a score without noise is not finite.
      ValueError: a level gives an amount outside its range, or a label is not a class of the model.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((2000, 2)), 1.0)
      >>> y = (x[:, 0] > 0).astype(int)
      >>> gaussian = robustness.Family("gaussian", lambda std: nj.bind(nj.gaussian, std=std), [0.0, 0.3, 2.0])
      >>> report = robustness.sweep(jax.random.key(1), lambda x: x[:, 0] > 0, (x, y), [gaussian])
      >>> report.interval("gaussian").mean.round(1).tolist()
      [1.0, 0.9, 0.6]
    """
    _checks.key("sweep", key)
    known("sweep", key)
    families, measures = checked(families), chosen(metrics)
    draws = _checks.count("sweep", "draws", draws, 1)
    resamples = _checks.count("sweep", "resamples", resamples, 100)
    batch_size = None if batch_size is None else _checks.count("sweep", "batch_size", batch_size, 1)
    host = _checks.flag_or_none("sweep", "host", host)
    shift, progress = _checks.flag("sweep", "shift", shift), _checks.flag("sweep", "progress", progress)
    _checks.function("sweep", "predict", predict, "of x")
    x, y, names = inputs.entered(data)
    n = len(jax.tree.leaves(y)[0])
    host = inputs.runs_on_host(predict, x, names) if host is None else host
    number = -(-n // min(n, batch_size or inputs.batch_of(x, n)))
    batch = -(-n // number)  # parts of one size: the last is filled up
    for family in families:
        if amounts.check(family, host) and not host:
            amounts.ask(family, key, x, y)
    parts = inputs.parts_of(y, groups, names, n, any(KNOWN.get(m.name) is m and m.name in CLASSES for m in measures))
    setup = Setup(measures, n, parts, resamples)
    plan = programs.Plan(measures, head=min(n, programs.COMPARED if shift else programs.SHOWN))

    # A level is kept as soon as it is measured, and outputs of a set at several levels would need much memory.
    one_by_one = checkpoint is not None or any(measure.over == "set" for measure in measures)
    together = [] if one_by_one or host else [family for family in families if amounts.draws_once(family)]

    def runner(plan):
        return OnHost(predict, x, y, plan, batch, names) if host else run.OnDevice(predict, x, y, plan, batch, together)

    if any(metric.name in PROBABILITIES for metric in measures):
        plan = dataclasses.replace(plan, probabilities=inputs.are_probabilities(predict, x, y, host))
        setup.probabilities = plan.probabilities
    runs = runner(plan)
    clean_cell = Cell(setup)
    keys = {family.name: typed_keys(stage(key, family.name), draws) for family in families}
    for family in families[: 0 if checkpoint else 1]:
        runs.ahead(family, keys[family.name])
    ((faults, _),) = runs.measure(None, [0.0], [], [clean_cell])
    inputs.refuse(faults, y)
    clean = clean_cell.finish()
    report = Report(
        levels={family.name: family.levels for family in families},
        labels={family.name: tuple(family.labels) for family in families if family.labels is not None},
        metrics=tuple((m.name, m.over, m.higher_is_better, m.best) for m in measures),
        draws=draws,
        examples=n,
        counts=setup.counts,
        parts={name: (list(names_), counts) for name, (names_, _, counts) in setup.parts.items()},
        cells={CLEAN: [clean]},
        problems={},
        shown={CLEAN: [inputs.listed(part(x, 0, min(n, programs.SHOWN)))]},
        shift={},
        pairing=fingerprint(inputs.key_words(key), x, y),
    )
    head = {
        "key or data": report.pairing,
        "metric": [list(metric) for metric in report.metrics],
        "number of draws": draws,
        "resamples or groups": [resamples, {name: names_ for name, (names_, _) in report.parts.items()}, shift],
        "clean": {},
    }
    head["clean"] = np.round(clean[f"{measures[0].name}/values"].astype(float), 6).tolist()
    kept = Journal(checkpoint, head)
    columns = part(x, 0, plan.head) if shift else None
    failures: list[Exception] = []
    with _bar(progress, sum(len(family.levels) for family in families)) as advance:
        missing = [f for f in families if any(kept.cell(f.name, float(level)) is None for level in f.levels)]
        following = {family: missing[n + 1 : n + 3] for n, family in enumerate(missing)}  # compile while it runs
        for family in families:
            ahead = [functools.partial(runs.ahead, soon, keys[soon.name]) for soon in following.get(family, ())]
            found = _measured(family, runs, setup, kept, keys[family.name], columns, failures, advance, ahead)
            report.cells[family.name] = [cell["arrays"] or None for cell in found]
            report.shown[family.name] = [cell["shown"] for cell in found]
            report.problems[family.name] = {i: c["problem"] for i, c in enumerate(found) if c["problem"]}
            report.shift[family.name] = [cell["shift"] for cell in found]
    marked = {name: list(texts.values()) for name, texts in report.problems.items() if texts}
    if failures and not any(cell for name in report.levels for cell in report.cells[name]):
        raise failures[0]
    if marked:
        name, texts = next(iter(marked.items()))
        warnings.warn(
            f"sweep: {sum(map(len, marked.values()))} levels could not be measured and are marked in the report, first "
            f"of {name!r}: {texts[0]}",
            stacklevel=2,
        )
    return report


def _measured(family, runs, setup, kept, keys, columns, failures, advance, ahead) -> list[dict[str, Any]]:
    """The levels of one family: arrays, the problem if there is one, first rows, and the shift of columns."""
    found = {level: kept.cell(family.name, level) for level in map(float, family.levels)}
    for _ in range(sum(cell is not None for cell in found.values())):
        advance()
    groups = runs.groups(family, keys, [level for level, cell in found.items() if cell is None])
    while groups:
        levels = groups.pop(0)
        cells = [{"arrays": {}, "problem": "", "shown": None, "shift": None} for _ in levels]
        collected = [Cell(setup) for _ in levels]
        try:
            measured = runs.measure(family, levels, keys, collected, ahead)
            for cell, (faults, first), scores in zip(cells, measured, collected, strict=True):
                cell["problem"] = inputs.problem(faults)
                if first is not None:
                    cell["shown"] = inputs.listed(part(first, 0, programs.SHOWN))
                    cell["shift"] = None if columns is None else shift_of(columns, first)
                if not faults:
                    cell["arrays"] = scores.finish()
        except programs.TrainMode:
            raise
        except Exception as error:  # finished levels are not lost
            if len(levels) > 1:
                runs.one_by_one(family)
                groups = [[level] for level in itertools.chain(levels, *groups)]
                continue
            failures.append(error)
            cells[0]["problem"] = f"{type(error).__name__}: {error}"[:500]
        for level, cell in zip(levels, cells, strict=True):
            found[level] = cell
            kept.keep(family.name, level, cell)
            advance()
    return list(found.values())


@contextlib.contextmanager
def _bar(shown: bool, total: int) -> Iterator[Callable[[], None]]:
    if not shown:
        yield lambda: None
        return
    try:
        from rich.progress import Progress
    except ImportError as error:
        raise ImportError("sweep: progress=True needs rich: pip install 'noisejax[report]'.") from error
    with Progress() as bar:
        task = bar.add_task("sweep", total=total)
        yield lambda: bar.advance(task)
