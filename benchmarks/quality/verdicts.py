"""Reads the outputs of the batteries: how far one got, what it flagged, and its verdict."""

import json
import re


def practrand(text: str) -> tuple[str | None, list[str]]:
    """The last length reached, and everything that was flagged up to there."""
    length, flagged = None, []
    for line in text.splitlines():
        if match := re.match(r"length= ([\d.]+ \w+) ", line):
            length = match[1]
        elif match := re.match(r"\s+(\S+)\s+R=\s*(\S+)\s+p\s*(.*?)\s{2,}(\S.*?)\s*$", line):
            flagged.append(f"{length}: {match[1]} R={match[2]} p{match[3]} {match[4]}")
    return length, flagged


def testu01(text: str) -> tuple[str | None, list[str]]:
    """ "all" once there is a summary, and the p-values in it, which are those outside [0.001, 0.999]."""
    if "Summary results" not in text:
        return None, []
    summary = text[text.rindex("Summary results") :].splitlines()
    return "all", [" ".join(line.split()) for line in summary if re.match(r"\s*\d+\s+\S", line)]


def special(test: str, text: str) -> tuple[str | None, list[str]]:
    """How much of one of special.c's tests was done, and the lines that exceed its threshold."""
    lines = text.splitlines()
    if test == "dups":
        scores = re.findall(r"\d+ \(([+-][\d.]+)\)", text)
        flagged = [f"equal words: z {z}" for z in scores if abs(float(z)) > 4.5]
        return (f"{len(scores)} counts of 2^24 words" if scores else None), flagged
    if test == "aval":
        cells = re.findall(r"N=(\S+) per cell", text)
        bad = [line.strip() for line in lines if re.match(r"  .* -> out ", line)]
        return (f"{len(cells)} of 3 bases, {cells[0]} words a cell" if cells else None), bad
    if match := re.search(
        r"(?:related|differences|marginals over (\S+)): \d+ of (\d+) bad(?:.*?(2\^\d+) words)?", text
    ):
        bad = [line.strip() for line in lines if line.startswith("*")]
        return f"{match[2]} cases of {match[1] or match[3]} words", bad
    return None, []


def verdict(battery: str, flagged: list[str]) -> str:
    """clean, unusual, suspicious or FAIL: PractRand's own words; of TestU01's p-values one below 1e-6 is a failure."""
    if not flagged:
        return "clean"
    if battery == "special":
        return "FAIL"
    if battery == "practrand":
        said = " ".join(flagged).lower()
        return "FAIL" if "fail" in said else "suspicious" if "suspicious" in said else "unusual"
    return "FAIL" if min(map(distance, flagged)) < 1e-6 else "unusual"


def distance(flagged: str) -> float:
    """How far from the nearer end of [0, 1] a p-value of TestU01 is; it writes `1 - 2.4e-5` and eps near an end."""
    last = flagged.split()[-1]
    if last in ("eps", "eps1"):
        return 0.0
    return min(float(last), 1 - float(last)) if "- " not in flagged else float(last)


def probability(said: str) -> float:
    match = re.search(r"p\s*~?=\s*(?:1-)?\s*([\d.e-]+)", said)
    return float(match[1]) if match else distance(said)


def unpack(text: str) -> dict:
    """results/quality.json with a row for each test; there, tests of equal outcome are one line with all of their axes.

    A line has the keys generator, battery, amount, verdict and axes; and flagged where something was found, and asked
    where the test was cut short. Rows that are not grouped stay as they are.
    """
    results, rows = json.loads(text), []
    for group in results["rows"]:
        axes = group.pop("axes", [group.get("axis")])
        asked = None
        if group["battery"] == "practrand":  # "4 gigabytes" was asked for as "4GB"
            asked = re.sub(r"^(\d+) ([a-z]).*", lambda m: f"{m[1]}{m[2].upper()}B", group["amount"])
        common = {"flagged": [], "complete": "asked" not in group, "asked": asked}
        rows += [{**common, **group, "axis": axis} for axis in axes]
    return {**results, "rows": rows}
