"""Writes docs/results/dirty.md and docs/assets/dirty.png from stored results: ``python -m experiments.dirty.page``"""

import json

from experiments import _dirty
from experiments.dirty import __main__ as program
from experiments.dirty.collect import DIRTY, FITTED, GENERIC, NONE, RIVAL, Entry, collected

PAGE = _dirty.ROOT / "docs" / "results" / "dirty.md"
PICTURE = _dirty.ROOT / "docs" / "assets" / "dirty.png"
GAIN, ALL, BEATEN, HARM, NOTHING = "gain", "beats all", "the rival is better", "harm", "no gain shown"


def shown(entry: Entry, figure: dict | None) -> str:
    """A difference in which better is positive; bold if its interval excludes 0."""
    if figure is None:
        return "–"
    text = f"{figure['mean']:+.{entry.digits}f} ± {figure['half']:.{entry.digits}f}"
    return f"**{text}**" if abs(figure["mean"]) > figure["half"] else text


def named(entry: Entry, arm: str) -> str:
    return f"{arm}: {entry.names[arm]}" if arm in entry.names else arm


def verdict(entry: Entry, noise: str) -> str:
    none, generic, rival = (entry.gain(noise, other) for other in (NONE, GENERIC, RIVAL))
    assert none is not None
    if none["mean"] <= none["half"]:
        return HARM if none["mean"] < -none["half"] else NOTHING
    if rival is not None and rival["mean"] < -rival["half"]:
        return BEATEN
    over = [rival, *([generic] if noise == FITTED else [])]
    return ALL if all(d is not None and d["mean"] > d["half"] for d in over) else GAIN


def verdicts(entries: list[Entry]) -> list[tuple[Entry, str, str]]:
    return [(e, noise, verdict(e, noise)) for e in entries for noise in (GENERIC, FITTED) if noise in e.arms]


def summary(entries: list[Entry]) -> str:
    rows = []
    for entry, noise, found in verdicts(entries):
        against = [None if noise == GENERIC and o == GENERIC else entry.gain(noise, o) for o in (NONE, GENERIC, RIVAL)]
        room, clean = entry.gain(DIRTY, NONE), entry.gain(NONE, noise, "clean")
        cells = [shown(entry, d) for d in (*against, room, clean)]
        strong = f"**{found}**" if found in (GAIN, ALL) else found
        rows.append([entry.title, entry.model, noise, *cells, strong])
    head = ["set", "model", "noise", "over none", "over best generic", "over rival", "room", "clean cost", "verdict"]
    return _dirty.table(head, rows)


def counted(entries: list[Entry]) -> str:
    """The bar of the experiment, in words."""

    entries = [e for e in entries if not e.made]

    def names(*which: str) -> list[str]:
        return list(dict.fromkeys(e.title for e, _, found in verdicts(entries) if found in which))

    gains, best, beaten = names(GAIN, ALL), names(ALL), names(BEATEN)
    beaten = [name for name in beaten if name not in gains]
    titles = list(dict.fromkeys(e.title for e in entries))
    fitted = list(dict.fromkeys(e.title for e, noise, found in verdicts(entries) if noise == FITTED and found == ALL))
    nothing = [name for name in titles if name not in (*gains, *beaten)]
    bars = (
        f"Expected were gains on at least two sets: {'met' if len(gains) >= 2 else '**missed**'} ({len(gains)})."
        "\nExpected was a fitted noise beyond the best generic noise and the rival on at least one set: "
        f"{'met' if fitted else '**missed**'} ({len(fitted)})."
    )
    return f"""Of {len(titles)} sets:

- A gain for at least one model: {listed(gains)}.
- Beyond no noise and the rival (and, for a fitted noise, the best generic one): {listed(best)}.
- More than no noise for some model, but the rival is better: {listed(beaten)}.
- No gain shown, or harm: {listed(nothing)}.

{bars}"""


def listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


def detail(entry: Entry) -> str:
    rows = []
    for arm in entry.arms:
        figures = [entry.score(arm, part) for part in ("clean", "dirty")]
        cells = ["–" if f is None else _dirty.cell(f, entry.digits) for f in figures]
        gain = "" if arm == NONE else shown(entry, entry.gain(arm, NONE))
        rows.append([named(entry, arm), *cells, gain])
    table = _dirty.table(["training", "clean rows", "dirty rows", "better than none by"], rows)
    more = f"\n\n{entry.note}" if entry.note else ""
    return f"*{entry.title}, {entry.model}*: {entry.figure}, {entry.seeds} seeds.\n\n{table}{more}"


def text(entries: list[Entry], missing: list[str], made: list[str]) -> str:
    protocol = (program.__doc__ or "").split("Protocol, fixed before the runs that are stored.")[1].strip()
    absent = f"\nNot measured yet: {', '.join(missing)}.\n" if missing else ""
    body = "\n\n".join(detail(entry) for entry in entries)
    return f"""# Really dirty data

Does training with noise help on rows whose errors are real? Models train on clean rows, with and without noise, and are
judged on really dirty ones. They are compared with the simple answer that needs no noise, and with training on dirty
rows.

![{ALT}](../assets/{PICTURE.name})

The dots are gains over training without noise, with 95 % intervals, for the model of each set that is best on dirty
rows without noise.

{counted(entries)}
{absent}
## The whole table

Differences are positive where the noise is better, in the figure of the set: accuracy, AUC, R2, or minutes of error.
Bold intervals exclude 0. *Room* is training on dirty rows minus no noise. *Clean cost* is what the noise costs on clean
rows. The names of noises and rivals are in the tables of the sets below. The faults of *skab_valves* are made, so it is
not counted above.

{summary(entries)}

## Protocol

Fixed before the runs that are stored.

{protocol}

## Every set

{body}

*{"; ".join(made)}. Written by `python -m experiments.dirty.page`.*
"""


ALT = (
    "Gains on really dirty rows over training without noise, for generic noise, fitted noise, the rival and dirty rows"
)


def main() -> None:
    from experiments.dirty.picture import draw

    stored = json.loads(program.RESULTS.read_text())
    entries, missing = collected()
    runs = {run["measured"] for runs in stored.values() for run in runs.values()}
    PAGE.write_text(text(entries, missing, sorted(runs)))
    draw(entries, PICTURE)
    for entry, noise, found in verdicts(entries):
        print(f"{entry.title}, {entry.model}, {named(entry, noise)}: {found}")


if __name__ == "__main__":
    main()
