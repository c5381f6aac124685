"""Writes docs/results/text-faults.md from results of experiments: ``python -m experiments.text_page``"""

import json

from benchmarks import kept
from experiments import _dirty

PAGE = _dirty.ROOT / "docs" / "results" / "text-faults.md"

HEAD = """# Faults of texts

Written by `python -m experiments.text_page` from the results in `experiments/results`. Each program states its
protocol. Intervals are 95 %, over seeds.
"""

SHORT = """Half of the messages are shorter than 20 characters. Errors merge less near the ends of a
text, and the curve behind the rate is that of long texts; `typos` and `transpose` say by how much."""


def results(name: str) -> dict | None:
    path = _dirty.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def source(result: dict) -> str:
    return f"`{result['command']}`, {result['date']}, {result['machine']}.\n"


def imitation() -> str:
    if (result := results("text_imitation")) is None:
        return ""
    figures, halves = result["figures"], result["real halves"]
    ours, real = (figures[name]["mean"] for name in ("word error rate", "real word error rate"))
    rows = [["word error rate", f"{ours:.4f}", f"real: {real:.4f}", "within 5 %", met(abs(ours / real - 1) <= 0.05)]]
    for name, what in (
        ("kinds", "kinds of edits"),
        ("segment lengths", "lengths of segments"),
        ("unchanged texts", "share of unchanged texts"),
        ("confusions", "what frequent words become"),
    ):
        apart, floor = figures[name]["mean"], halves[name]["mean"]
        rows.append([what, f"{apart:.4f}", f"real halves: {floor:.4f}", "at most 1.5 times", met(apart <= 1.5 * floor)])
    learnt = figures["AUC, learnt edits"]
    rivals = {n.removeprefix("AUC, "): f for n, f in figures.items() if n.startswith("AUC, ") and f is not learnt}
    best = min(rivals, key=lambda name: rivals[name]["mean"])
    rows.append(
        [
            "real or drawn? AUC",
            _dirty.cell(learnt),
            f"best generic ({best}): {_dirty.cell(rivals[best])}",
            "at least .02 below",
            met(learnt["mean"] <= rivals[best]["mean"] - 0.02),
        ]
    )
    table = _dirty.table(["figure", "learnt edits", "compared with", "bar", ""], rows)
    others = _dirty.table(["generic noise", "AUC"], [[name, _dirty.cell(f)] for name, f in rivals.items()])
    return f"""
## Imitation of a recognizer of speech

{source(result)}
`fit_edits` learns from the recordings of one half of the sentences of slurp_asr, and its noise on the sentences of the
other half is compared with what the recognizer wrote there. Distances are total variations. "Real halves" is the same
distance between two halves of the real data.

{table}

An AUC of .5 means that a discriminator cannot tell real from drawn texts. Generic noises have the real word error rate:

{others}
"""


def met(yes: bool) -> str:
    return "met" if yes else "**missed**"


def training() -> str:
    if (result := results("text_training")) is None:
        return ""
    parts = [f"\n## Training with noise\n\n{source(result)}"]
    if note := result.get("note"):
        parts.append(f"\n{note}\n")
    for name, found in result.get("misspelt words", {}).items():
        amounts = ", ".join(f"`{kind}` at {amount}" for kind, amount in found["amounts"].items())
        conditions = [name for name in found if isinstance(found[name], dict) and name != "amounts"]
        rows = [
            [
                kind,
                _dirty.cell(found["clean"][kind]["score"]),
                *(_dirty.cell(found[c][kind]["gain"]) for c in conditions),
            ]
            for kind in found["clean"]
        ]
        base = ", ".join(f"{c} {found[c]['none']['score']['mean']:.3f}" for c in conditions)
        head = ["noise in training", "clean accuracy", *(f"gain, {condition}" for condition in conditions)]
        parts.append(
            f"\n### Misspelt words: {name}\n\nThe tested misspellings are of words whose misspellings were not seen in "
            f"training; {found['changed words']:.0%} of the words of a test text are misspelt. Chosen on validation "
            f"texts: {amounts}. Accuracy without noise in training: {base}.\n\n{_dirty.table(head, rows)}\n"
        )
    for name, found in result.get("recognized speech", {}).items():
        rows = [[kind, _dirty.cell(figure["score"]), _dirty.cell(figure["gain"])] for kind, figure in found.items()]
        parts.append(f"\n### slurp_asr: {name}\n\n{_dirty.table(['training', 'accuracy', 'gain'], rows)}\n")
    if found := result.get("free text"):
        rows = [[kind, _dirty.cell(figure["score"]), _dirty.cell(figure["gain"])] for kind, figure in found.items()]
        parts.append(
            "\n### region_midwest, rare entries\n\nA negative example: rare entries are other words, not misspellings "
            f"of common ones.\n\n{_dirty.table(['training', 'accuracy', 'gain'], rows)}\n"
        )
    return "".join(parts)


def rates() -> str:
    if (result := results("text_rates")) is None:
        return ""
    rows, every = result["rows"], sorted({row["rate"] for row in result["rows"]})
    head = (
        "The error rate that was measured, for each rate. The bar for the difference is .005, or three standard errors."
    )
    more = "Where it is missed, the figure is bold. A dash: some text has too few characters that can change."
    parts = [f"\n## Error rates that were asked for\n\n{source(result)}\n{head} {more}\n"]
    for script in dict.fromkeys(row["script"] for row in rows):
        table = []
        for fault in dict.fromkeys(row["fault"] for row in rows):
            found = {row["rate"]: row for row in rows if row["script"] == script and row["fault"] == fault}
            table.append([f"`{fault}`", *(shown(found.get(rate)) for rate in every)])
        parts.append(f"\n{script}\n\n{_dirty.table(['', *map(str, every)], table)}\n")
    missed = [row["script"] for row in rows if abs(row["error rate"] - row["rate"]) > row["bar"]]
    why = SHORT if set(missed) == {"Russian, messages"} else ""
    parts.append(f"\nMissed: {len(missed)} of {len(rows)}. {why}\n")
    return "".join(parts)


def shown(row: dict | None) -> str:
    if row is None:
        return "–"
    figure = f"{row['error rate']:.4f}"
    return figure if abs(row["error rate"] - row["rate"]) <= row["bar"] else f"**{figure}**"


def speed() -> str:
    path = _dirty.ROOT / "benchmarks" / "results" / "texts-cpu.json"
    result = kept.unpack(path.read_text())
    rows = []
    for row in result["rows"]:
        times, bar = row["times as fast"], row["bar"]
        reached = "" if bar is None else f"at least {bar:g}: {met(times >= bar)}"
        rates = f"{row['error rate']:.3f} / {row['peer error rate']:.3f}"
        rows.append(
            [f"`{row['fault']}`", row["form"], row["peer"], f"{row['texts/s']:,.0f}", f"{times:.1f}", rates, reached]
        )
    head = ["fault", "form", "peer", "texts/s", "times as fast", "error rate, ours / peer", "bar"]
    return f"""
## Speed

`{result["command"]}`, {result["date"]}, one core of a busy machine. Texts have 192
characters. `strings` includes encoding and decoding. nlpaug has no error rate, and runs at its default amounts.

{_dirty.table(head, rows)}
"""


def page() -> str:
    return HEAD + imitation() + training() + rates() + speed()


if __name__ == "__main__":
    PAGE.write_text(page())
