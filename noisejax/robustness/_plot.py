"""Plots: scores against the noise level, and features before and after noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from noisejax import _checks
from noisejax.robustness._report.compare import check_reports
from noisejax.robustness._report.records import check_share
from noisejax.robustness._report.report import Report


def plot(
    reports: "Report | Mapping[str, Report]",
    *,
    threshold: float | None = None,
    chance: float | None = None,
    faint: Sequence[str] = (),
    percent: bool = False,
    confidence: float = 0.95,
    axes: Any = None,
) -> Any:
    """Plots the score against the noise level, with its confidence interval as a band, one panel for each family.

    Args:
      reports: a report, or a mapping from model names to reports of the same families.
      threshold: a score drawn as a dashed line, such as the score that a model should keep.
      chance: a score drawn as a dotted line, such as that of always predicting the most frequent class.
      faint: the names of models that are drawn thin and grey, without a band.
      percent: whether levels are fractions, to be shown as percentages.
      confidence: the confidence level of the bands.
      axes: the matplotlib axes to draw into, one for each family; None makes a new figure with a legend.

    Returns:
      The matplotlib figure.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((200, 2)), 1.0)
      >>> families = [robustness.Family("gaussian", lambda std: nj.bind(nj.gaussian, std=std), [0.0, 0.5, 1.0])]
      >>> report = robustness.sweep(jax.random.key(1), lambda x: x[:, 0] > 0, (x, x[:, 0] > 0), families)
      >>> figure = robustness.plot({"threshold at 0": report}, threshold=0.95)
      >>> len(figure.axes)
      1
    """
    pyplot = _pyplot("plot")
    reports = {"": reports} if isinstance(reports, Report) else check_reports("plot", reports)
    threshold, chance = (
        None if value is None else _checks.scalar("plot", name, value)
        for name, value in (("threshold", threshold), ("chance", chance))
    )
    percent = _checks.flag("plot", "percent", percent)
    confidence = check_share("plot", "confidence", confidence)
    if not isinstance(faint, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in faint):
        raise TypeError(f"plot: faint must be the names of models, such as ('a', 'b'), got {_checks.shown(faint)}.")
    families = next(iter(reports.values()))._ordered()
    if not families:
        raise ValueError("plot: reports must have a family whose levels are amounts. sensitivity() has columns.")
    if own := axes is None:
        size = (1 + 3.2 * len(families), 3.2)
        _, axes = pyplot.subplots(1, len(families), figsize=size, sharey=True, squeeze=False, layout="constrained")
    axes = np.asarray(axes, object).reshape(-1)
    if len(axes) != len(families):
        raise ValueError(f"plot: axes must hold one for each of the families {families}, got {len(axes)}.")
    colours = pyplot.rcParams["axes.prop_cycle"].by_key()["color"]
    bright = [name for name in reports if name not in faint]
    for ax, family in zip(axes, families, strict=True):
        for name, report in reports.items():
            mean, lower, upper = report.interval(family, confidence=confidence)
            levels = report.levels[family] * (100 if percent else 1)
            if name not in bright:
                label = "others" if name == faint[0] else None
                ax.plot(levels, mean, color="0.75", linewidth=0.8, label=label, zorder=1)
                continue
            colour = colours[bright.index(name) % len(colours)]
            ax.plot(levels, mean, color=colour, linewidth=1.8, label=name or None, zorder=3)
            ax.fill_between(levels, lower, upper, color=colour, alpha=0.1, linewidth=0, zorder=2)
        for label, value, style in (("threshold", threshold, "--"), ("chance", chance, ":")):
            if value is not None:
                ax.axhline(value, color="0.4", linestyle=style, linewidth=1, label=label, zorder=1)
        ax.set_xlabel(f"{family}, %" if percent else family)
        ax.margins(x=0)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(next(iter(reports.values())).metric)
    figure, (handles, labels) = axes[0].figure, axes[0].get_legend_handles_labels()
    if own and labels:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), frameon=False)
    return figure


def plot_features(before: Any, after: Any, names: Sequence[str], *, bins: int = 40, axes: Any = None) -> Any:
    """Plots the distributions of features before and after noise on top of each other.

    Strings, and features with at most 20 different values before and after noise, are drawn as bars that show the
    shares of the ten most frequent values. Other features are drawn as histograms.

    Args:
      before: an array of shape (N, D), or a mapping (a data frame) from names to columns, of numbers or strings.
      after: the same with noise, or a mapping from labels to several of them: ``{"gaussian": x1, "masking": x2}``.
      names: the names of the D features; for a mapping, the names of the features to draw.
      bins: the number of bins of a histogram. It spans the range before noise, extended by a quarter of its width on
        either side.
      axes: the matplotlib axes to draw into, one for each feature; None makes a new figure.

    Returns:
      The matplotlib figure.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> key, x = jax.random.key(0), nj.gaussian(jax.random.key(1), jnp.zeros((500, 2)), 1.0)
      >>> figure = robustness.plot_features(x, {"gaussian": nj.gaussian(key, x, 0.5)}, ["length", "width"])
      >>> len(figure.axes)
      2
    """
    pyplot = _pyplot("plot_features")
    if not isinstance(names, (list, tuple, np.ndarray)) or not len(names):
        raise TypeError(
            f"plot_features: names must be a list with a name for each feature, got {_checks.shown(names)}."
        )
    names = list(names)
    bins = _checks.count("plot_features", "bins", bins, 1)
    many = isinstance(after, Mapping) and all(np.ndim(v) == 2 or isinstance(v, Mapping) for v in after.values())
    sets = {"before": before, **(after if many else {"after": after})}
    columns = {label: _columns(label, value, names) for label, value in sets.items()}
    if axes is None:
        wide = min(len(names), 4)
        _, axes = pyplot.subplots(
            -(-len(names) // wide),
            wide,
            figsize=(3.1 * wide, 2.7 * -(-len(names) // wide)),
            squeeze=False,
            layout="constrained",
        )
    axes = np.asarray(axes, object).reshape(-1)
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(axes, names, strict=False):
        values = {label: of[name] for label, of in columns.items()}
        first = values["before"]
        distinct, counts = np.unique(first, return_counts=True)
        if first.dtype.kind in "OUSb" or all(len(np.unique(column)) <= 20 for column in values.values()):
            _bars(ax, values, distinct[np.argsort(-counts, kind="stable")][:10])
        else:
            low, high = np.nanmin(first), np.nanmax(first)
            edges = np.linspace(low - (high - low) / 4, high + (high - low) / 4, bins + 1)
            for n, (label, column) in enumerate(values.items()):
                weights = np.full(len(column), 1 / len(column))
                filled = (
                    {"histtype": "stepfilled", "color": "0.8"} if n == 0 else {"histtype": "step", "color": f"C{n - 1}"}
                )
                ax.hist(column, edges, weights=weights, label=label, linewidth=1.4, **filled)
        ax.set_title(name, fontsize="medium")
        ax.set_yticks([])
        ax.spines[["top", "right", "left"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize="small")
    return axes[0].figure


def _bars(ax, values, order):
    width = 0.8 / len(values)
    for n, (label, column) in enumerate(values.items()):
        heights = [np.mean(column == value) for value in order]
        ax.bar(
            np.arange(len(order)) + (n + 0.5) * width - 0.4,
            heights,
            width,
            label=label,
            color="0.8" if n == 0 else f"C{n - 1}",
        )
    turned = {"rotation": 30, "ha": "right"} if order.dtype.kind in "OUS" else {}
    ax.set_xticks(
        np.arange(len(order)), [v[:14] if isinstance(v, str) else f"{v:g}" for v in order], fontsize="small", **turned
    )


def _columns(label, value, names):
    if hasattr(value, "keys"):
        if missing := [name for name in names if name not in value.keys()]:  # noqa: SIM118 data frames have keys too
            raise KeyError(
                f"plot_features: names must be columns of before and after, got {missing[0]!r}, which {label} lacks."
            )
        return {name: _column(label, value[name]) for name in names}
    value = _column(label, value)
    if value.ndim != 2 or value.shape[1] != len(names):
        raise ValueError(
            f"plot_features: {label} must have shape (N, {len(names)}), a column for each name in names, got "
            f"{value.shape}. Select columns first: x[:, columns]."
        )
    return {name: value[:, n] for n, name in enumerate(names)}


def _column(label: str, value: Any) -> np.ndarray:
    """An array of numbers or strings."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # keys of JAX, and rows of different lengths
        array = np.zeros((), object)
    strings = array.dtype.kind in "US" or (array.dtype.kind == "O" and all(isinstance(v, str) for v in array.flat))
    if not (array.ndim and (strings or array.dtype.kind in "biuf")):
        raise TypeError(f"plot_features: {label} must hold numbers or strings, got {_checks.shown(value)}.")
    return array


def _pyplot(function: str):
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(f"{function} needs matplotlib: pip install 'noisejax[plot]'.") from error
    return pyplot
