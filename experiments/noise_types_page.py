"""The page about types of noise, made from the stored results: ``python -m experiments.noise_types_page [--check]``

With --check nothing is written, and the exit status says whether the page is what the results say.
"""

import argparse
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
from scipy import stats

from experiments import noise_types

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "noise-types.md"
PUBLISHED = noise_types.RESULTS.with_name("noise_types_published.json")
KINDS = {"Adult census": "tables, classes", "Satellite": "tables, classes", "CASP protein": "tables, numbers"}
SHOWN = {"error": "error", "ece": "ECE", "nll": "NLL"}
WHERE = ("in", "out")


def kind_of(name: str) -> str:
    return KINDS.get(name, "images")


def cells_of(found: dict) -> list[tuple[str, str]]:
    """The figures of a set: (metric, in or out of distribution)."""
    return [(m, w) for m in SHOWN for w in WHERE if m in found["final"]["no noise"][w]]


def values(found: dict, noise: str, metric: str, where: str) -> np.ndarray:
    return np.array(found["final"][noise][where][metric], float)


def difference(found: dict, noise: str, metric: str, where: str) -> tuple[float, float]:
    """The mean paired difference to no noise, and half of its 95 % t interval."""
    paired = values(found, noise, metric, where) - values(found, "no noise", metric, where)
    n = len(paired)
    return float(paired.mean()), float(stats.t.ppf(0.975, n - 1) * paired.std(ddof=1) / n**0.5)


def verdict(found: dict, noise: str, metric: str, where: str) -> int:
    """1 where a noise is better than none beyond the interval, -1 where it is worse, and 0."""
    mean, half = difference(found, noise, metric, where)
    return 0 if not abs(mean) > half else (1 if mean < 0 else -1)


def grid(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def listed(names) -> str:
    names = list(names)
    return "none" if not names else names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def table_of_set(found: dict) -> str:
    cells = cells_of(found)
    first = ["no noise", *(f"{values(found, 'no noise', *cell).mean():.4f}" for cell in cells)]
    rows = [first]
    for noise in list(found["final"])[1:]:
        row = [noise + (f" ({' + '.join(found['best two'])})" if noise == "best two" else "")]
        for cell in cells:
            mean, half = difference(found, noise, *cell)
            lost = np.count_nonzero(np.isnan(values(found, noise, *cell)))
            text = f"diverged in {lost} runs" if lost else f"{mean:+.4f} ± {half:.4f}"
            row.append(f"**{text}**" if verdict(found, noise, *cell) else text)
        rows.append(row)
    return grid(["", *(f"{SHOWN[m]}, {w}" for m, w in cells)], rows)


def ranks(scores: dict[str, float]) -> dict[str, float]:
    """The rank of each noise, 1 for the lowest score; scores that agree to a thousandth are ties."""
    names = list(scores)
    rounded = [np.inf if np.isnan(scores[n]) else float(f"{scores[n]:.3g}") for n in names]  # a divergence is last
    return dict(zip(names, stats.rankdata(rounded), strict=True))


def mean_ranks(sets: list[dict[str, float]]) -> dict[str, float]:
    common = [n for n in sets[0] if all(n in s for s in sets)]
    each = [ranks({n: s[n] for n in common}) for s in sets]
    return {n: float(np.mean([r[n] for r in each])) for n in common}


def scores(ours: dict, theirs: dict, kind: str, metric: str, where: str) -> tuple[list, list]:
    """The mean scores of every noise on our sets of a kind and on the published ones, noises that both have."""
    mine = [found for name, found in ours.items() if kind_of(name) == kind]
    noises = [n for n in mine[0]["final"] if n in next(iter(theirs[kind].values()))]
    return (
        [{n: float(values(found, n, metric, where).mean()) for n in noises} for found in mine],
        [{n: rows[n][where][metric] for n in noises} for rows in theirs[kind].values()],
    )


def table_of_ranks(ours: dict, theirs: dict, kind: str) -> tuple[str, dict]:
    """Our mean rank and theirs, by metric; and Kendall's tau of the two, with its p-value."""
    metrics = [m for m in SHOWN if m in next(iter(theirs[kind].values()))["no noise"]["in"]]
    columns, tau = [], {}
    for metric in metrics:
        for where in WHERE:
            pair = [mean_ranks(s) for s in scores(ours, theirs, kind, metric, where)]
            columns.append(pair)
            noises = list(pair[0])
            tau[metric, where] = stats.kendalltau([pair[0][n] for n in noises], [pair[1][n] for n in noises])
    rows = [[n, *(f"{a[n]:.1f} / {b[n]:.1f}" for a, b in columns)] for n in columns[0][0]]
    rows.append(["*Kendall's τ (p)*", *(f"{t.statistic:+.2f} ({t.pvalue:.2f})" for t in tau.values())])
    return grid(["ours / theirs", *(f"{SHOWN[m]}, {w}" for m in metrics for w in WHERE)], rows), tau


def transfer(ours: dict) -> tuple[str, int, int]:
    """How many noises keep a gain of the validation NLL with the amounts that were tuned on another set."""
    rows, kept, possible = [], 0, 0
    for target, found in ours.items():
        base = min(found["tuning"]["no noise"])
        row = [target]
        for source, other in ours.items():
            both = [n for n in noise_types.NOISES if n in found["tuning"] and n in other["tuning"]]
            gains = [found["tuning"][n][int(np.argmin(other["tuning"][n]))] < base for n in both]
            row.append(f"{sum(gains)} of {len(both)}")
            if source != target:
                kept, possible = kept + sum(gains), possible + len(both)
        rows.append(row)
    return grid(["judged on, tuned on", *ours], rows), kept, possible


WRAP: dict = {"width": 120, "break_long_words": False, "break_on_hyphens": False}
OPENING = """Which noise should a network be trained with, and does it serve the error and the calibration? This page is
written by `python -m experiments.noise_types_page` from the results of `{command}` ({measured})."""
ROWS = """The first row has the figures without noise. The others have differences to it, with 95 % intervals. Lower is
better throughout, and bold differences are beyond their interval."""
RANKS = """The mean rank of each noise over the sets of a kind, ours and that of the study; 1 is best. Their ranks are
computed here from their published results of fully connected networks: five tables with classes, five with numbers, and
SVHN. Scores that agree to three digits are ties."""
MOVED = """The number of noises whose validation NLL is below that of no noise, with the amounts that were tuned on the
set of the column."""

LIMITS = """Four small sets and one small network show directions, not sizes, of effects elsewhere. Our shifts are noise
on the inputs, which favours noise on the inputs; those of the study are noise that grows with the inputs, and for
images the corruptions of CIFAR-10-C. Of several noises the best is named, so its difference is a little too large."""


def paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), **WRAP)


def bullet(text: str) -> str:
    return textwrap.fill(text, initial_indent="- ", subsequent_indent="  ", **WRAP)


def effects(ours: dict, theirs: dict, kinds) -> tuple[list, list]:
    """What is beyond our intervals on all sets of a kind: the effects with the direction of most of their sets, and
    the others; each as (kind, noise, metric, where, 1 for better or -1, how many of their sets agree, of how many).
    """
    agree, differ = [], []
    for kind in kinds:
        sets = {n: f for n, f in ours.items() if kind_of(n) == kind}
        for metric, where in cells_of(next(iter(sets.values()))):
            for noise in scores(ours, theirs, kind, metric, where)[0][0]:
                verdicts = {verdict(f, noise, metric, where) for f in sets.values()}
                if noise == "no noise" or len(verdicts) > 1 or verdicts == {0}:
                    continue
                published = [rows[noise][where][metric] for rows in theirs[kind].values()]
                without = [rows["no noise"][where][metric] for rows in theirs[kind].values()]
                better = sum(a < b for a, b in zip(published, without, strict=True))
                (one,) = verdicts
                same = better if one > 0 else len(published) - better
                effect = (kind, noise, SHOWN[metric], where, one, same, len(published))
                (agree if same > len(published) / 2 else differ).append(effect)
    return agree, differ


def findings(ours: dict, theirs: dict, taus: dict, kept: int, possible: int) -> list[str]:
    found = []
    for kind, tau in taus.items():
        each = [f"{SHOWN[m]} {w} {t.statistic:+.2f}" for (m, w), t in tau.items()]
        found.append(f"**Rankings, {kind}** (Kendall's τ between our mean ranks and theirs): {', '.join(each)}.")
    agree, differ = effects(ours, theirs, taus)
    found.append(
        f"**Where we agree.** Of {len(agree) + len(differ)} effects that are beyond our intervals (on all our sets of "
        f"the kind), {len(agree)} have the direction that most of their sets have."
    )
    if differ:
        shown = [
            f"{n}, {m} {w} ({k}): {'better' if one > 0 else 'worse'} here, as on {same} of {of} of theirs"
            for k, n, m, w, one, same, of in differ
        ]
        found.append(f"**Where we do not.** {'; '.join(shown)}.")
    for name, f in ours.items():
        singles = [n for n in f["final"] if n not in ("no noise", "best two")]
        best = min(singles, key=lambda n: difference(f, n, "nll", "in")[0])
        mean, half = difference(f, best, "nll", "in")
        far = min(singles, key=lambda n: difference(f, n, "nll", "out")[0])
        apart, by = difference(f, far, "nll", "out")
        good = [n for n in singles if verdict(f, n, "nll", "in") > 0]
        bad = [n for n in singles if verdict(f, n, "nll", "in") < 0]
        found.append(
            f"**{name}.** The best single noise by the NLL in distribution is {best} ({mean:+.4f} ± {half:.4f}), and "
            f"out of distribution {far} ({apart:+.4f} ± {by:.4f}). In distribution, better than no noise: "
            f"{listed(good)}; worse: {listed(bad)}."
        )
    both, one = [], []
    for name, f in ours.items():
        if "ece" in f["final"]["no noise"]["in"]:
            for n in list(f["final"])[1:]:
                marks = verdict(f, n, "error", "in"), verdict(f, n, "ece", "in")
                if 1 in marks:
                    (both if marks == (1, 1) else one).append(f"{n} ({name})")
    found.append(
        f"**Error and calibration at once**, in distribution: {len(both)} improve both beyond the intervals "
        f"({listed(both)}), and {len(one)} improve one alone. The study stresses that both together are hard."
    )
    helped = [
        name
        for name, f in ours.items()
        if difference(f, "best two", "nll", "in")[0] < min(difference(f, n, "nll", "in")[0] for n in f["best two"])
    ]
    found.append(
        "**Two noises together**, without tuning them again, have a lower NLL than the better of the two on "
        f"{len(helped)} of {len(ours)} sets ({listed(helped)}). The study finds combinations effective."
    )
    found.append(
        f"**Amounts from another set.** With the amounts that were tuned on another set, {kept} of {possible} noises "
        "still have a lower validation NLL than no noise. The study finds that amounts transfer within a domain, but "
        "not between domains. The diagonal of the last table is what their own amounts reach, on the rows that chose "
        "them."
    )
    return [bullet(text) for text in found]


def page(result: dict, published: dict) -> str:
    ours = {name: found for name, found in result["sets"].items() if found.get("done")}
    theirs = published["sets"]
    protocol = noise_types.__doc__ or ""
    rules = protocol[protocol.index("The study is that of") :].rstrip()
    tables = {kind: table_of_ranks(ours, theirs, kind) for kind in dict.fromkeys(map(kind_of, ours))}
    moved, kept, possible = transfer(ours)
    parts = [
        "# Types of noise: error and calibration",
        paragraph(OPENING.format(**result)),
        "\n".join(findings(ours, theirs, {k: tau for k, (_, tau) in tables.items()}, kept, possible)),
        paragraph(LIMITS),
        "## Protocol",
        rules,
        "## Results",
        paragraph(ROWS),
        *(f"*{name}*\n\n{table_of_set(found)}" for name, found in ours.items()),
        "## Ranks",
        paragraph(RANKS),
        *(f"*{kind}*\n\n{text}" for kind, (text, _) in tables.items()),
        paragraph(f"The published figures: {published['source'][0].lower()}{published['source'][1:]}"),
        "## Amounts from another set",
        paragraph(MOVED),
        moved,
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if the page is not what the results say")
    given = parser.parse_args()
    made = page(json.loads(noise_types.RESULTS.read_text()), json.loads(PUBLISHED.read_text()))
    if given.check:
        sys.exit(PAGE.read_text() != made)
    PAGE.write_text(made)


if __name__ == "__main__":
    main()
