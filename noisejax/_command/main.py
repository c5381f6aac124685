"""The parser of the command line, and its three commands."""

import argparse
import functools
import importlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from noisejax import robustness
from noisejax._command import faults, tables as shown
from noisejax._command.table import Problem, Table, read, split, table
from noisejax._random.stream import jax_key, stage


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, or 2 for what the user can fix, which is written to stderr."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    except (ValueError, TypeError, KeyError, FloatingPointError, ImportError) as error:  # of the library, in its words
        print(f"error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m noisejax", description="Measured robustness of models of tables.")
    commands = parser.add_subparsers(required=True, metavar="report | tune | preview")
    report = commands.add_parser("report", help="how robust a model is to missing, wrong and noisy cells")
    _shared(report)
    report.add_argument("--model", help="module:function of your own, which takes a data frame without the target")
    report.add_argument("--metric", help="a metric of robustness.sweep; default: accuracy, or r2 for a regression")
    report.add_argument("--html", metavar="PATH", help="write one page with curves and tables")
    report.set_defaults(run=_report)
    tune = commands.add_parser("tune", help="which noise to train with, and how much")
    _shared(tune)
    tune.add_argument("--budget", type=int, default=40, help="the number of noises to try; default: 40")
    tune.add_argument("--clean-cost", type=float, default=0.01, help="allowed loss on clean rows; default: 0.01")
    tune.add_argument("--search", choices=("random", "grid", "halving"), default="random")
    tune.add_argument("--checkpoint", metavar="PATH", help="continue a search that was killed")
    tune.set_defaults(run=_tune)
    preview = commands.add_parser("preview", help="a table before and after noise")
    preview.add_argument("data", help="a CSV or Parquet file; it is only read")
    preview.add_argument("--noise", action="append", required=True, metavar="NAME:AMOUNT=VALUE,...",
                         help="such as gaussian:std=0.5 or tabular.missing:rate=0.2, or a JSON file of Noise.to_dict; "
                         "repeat for several")  # fmt: skip
    preview.add_argument(
        "--columns", help="names, separated by commas; default: decimal numbers, or all for missing and swap"
    )
    preview.add_argument("--picture", metavar="PATH", help="write a picture of the distributions")
    preview.add_argument("--seed", type=int, default=0)
    preview.set_defaults(run=_preview)
    return parser


def _shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help="a CSV or Parquet file; it is only read")
    parser.add_argument("--target", required=True, help="the column that is predicted")
    parser.add_argument("--task", choices=("classification", "regression"), help="default: from the target")
    parser.add_argument("--seeds", type=int, default=5, help="networks that are trained; default: 5")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--json", metavar="PATH", help="write the result as JSON")


def _key(given: Any) -> jax.Array:
    return jax_key(stage(jax.random.key(given.seed), "command"))


def _metric(given: Any, of: Table) -> str:
    return getattr(given, "metric", None) or ("accuracy" if of.classes else "r2")


def _trainer(given: Any, of: Table) -> Callable:
    classes = len(of.classes) or None
    return functools.partial(robustness.mlp, classes=classes, seeds=given.seeds, epochs=given.epochs)


def _report(given: Any) -> None:
    of = table(read(given.data), given.target, given.task)
    key = _key(given)
    training, rest = split(len(of.y), key)
    metrics = [_metric(given, of)]
    if given.model is None:
        predict = _trainer(given, of)(key, (of.x[training], of.y[training]))
        families = [*faults.families(of), *faults.features(of)]
        report = robustness.sweep(key, predict, (of.x[rest], of.y[rest]), families, metrics=metrics)
    else:
        predict = _imported(given.model)
        rows = of.frame.iloc[rest] if hasattr(of.frame, "iloc") else of.frame[rest]
        y = np.array(of.classes)[of.y[rest]] if of.classes else of.y[rest]
        if of.classes and all(re.fullmatch(r"\d+", name) for name in of.classes):
            y = y.astype(int)
        report = robustness.sweep(key, predict, (rows, y), faults.of_frames(rows), metrics=metrics, host=True)
    shown.report(report, f"{given.data}: {given.target}")
    if given.model is None:
        shown.advice(robustness.advise(of.x, np.array(of.classes)[of.y] if of.classes else of.y))
    _write(given.json, report.to_json)
    if given.html:
        _write(given.html, lambda: report.to_html(title=f"{Path(given.data).name}: {given.target}"))


def _tune(given: Any) -> None:
    of = table(read(given.data), given.target, given.task)
    best = robustness.tune(
        _key(given),
        _trainer(given, of),
        (of.x, of.y),
        faults.spaces(of),
        faults.families(of, faults.LEVELS[1:]),
        budget=given.budget,
        clean_cost=given.clean_cost,
        search=given.search,
        metric=_metric(given, of),
        checkpoint=given.checkpoint,
    )
    shown.tuned(best)
    _write(given.json, best.to_json)


def _preview(given: Any) -> None:
    from noisejax import frame

    before = read(given.data)
    columns = given.columns.split(",") if given.columns else None
    key, after = _key(given), before
    for number, text in enumerate(given.noise):
        noise = _noise(text)
        floats = [n for n in before.columns if _is_float(before[n])]
        everywhere = None if getattr(noise.function, "__name__", "") in ("missing", "swap") else floats
        if columns is None and everywhere == []:
            raise Problem(f"--noise {text}: the table has no column of decimal numbers. Name columns: --columns a,b.")
        after, _ = frame.corrupt(jax.random.fold_in(key, number), after, [(columns or everywhere, noise)])
    shown.preview(before, after)
    if given.picture:
        names = columns or list(map(str, before.columns))[:12]
        drawn = [{n: shown.plain(df[n]) for n in names} for df in (before, after)]
        figure = robustness.plot_features(drawn[0], {"with noise": drawn[1]}, names)
        figure.savefig(given.picture, dpi=110)


def _is_float(column: Any) -> bool:
    """Whether a column holds decimal numbers: noises of numbers refuse whole ones."""
    return np.asarray(column.to_numpy()).dtype.kind == "f"


def _noise(text: str) -> Any:
    """A noise of the library from its address and amounts, or from the JSON of `Noise.to_dict`. Nothing is executed."""
    import noisejax

    if text.endswith(".json"):
        try:
            return noisejax.from_dict(json.loads(Path(text).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise Problem(f"--noise: {text!r} cannot be read as the JSON of a noise: {error}") from None
    name, _, rest = text.partition(":")
    found: Any = noisejax
    for part in name.split("."):
        found = None if part.startswith("_") else getattr(found, part, None)
    if not hasattr(found, "__noise__"):
        raise Problem(f"--noise: there is no noise {name!r}. Examples: gaussian:std=0.5, tabular.missing:rate=0.2.")
    amounts = {}
    for part in filter(None, rest.split(",")):
        amount, _, value = part.partition("=")
        try:
            amounts[amount.strip()] = float(value)
        except ValueError:
            raise Problem(f"--noise: {part!r} must be an amount and a number, such as std=0.5.") from None
    return noisejax.bind(found, **amounts)


def _imported(path: str) -> Callable:
    """The function at module:function, also from the current folder."""
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise Problem(f"--model must be module:function, such as my_model:predict, got {path!r}.")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever the module raises while it runs
        raise Problem(f"--model: {module!r} cannot be imported: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise Problem(f"--model: {module!r} has no function {name!r}.")
    return found


def _write(path: str | None, text: Callable[[], str]) -> None:
    if path is None:
        return
    try:
        Path(path).write_text(text(), encoding="utf-8")
    except OSError as error:
        raise Problem(f"{path!r} cannot be written: {error}") from None
