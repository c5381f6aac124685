"""The rows of a result file that the pages print: `benchmarks/results` keeps these and no others.

``python -m benchmarks.kept FOLDER`` copies the results of a run elsewhere (``--out FOLDER``, every row) into
`benchmarks/results`. Numbers keep six significant digits.
"""

import json
import pathlib
import sys

RESULTS = pathlib.Path(__file__).parent / "results"
MAIN = (2**20, 2**26)  # the sizes at which every rival is measured, on a CPU and on an accelerator
JOBS = ("gaussian", "dropout", "chain of five")
STOCK = ("jax.random.normal", "jax.random.bernoulli")
CELLS = {("words", "flat"), ("normal", "flat"), *(("dropout", shape) for shape in ("flat", "2-D", "odd", "16 keys"))}


def kept(name: str, rows: list[dict]) -> list[dict]:
    """What a file of this name, without its ``.json``, keeps of these rows."""
    program = name.rpartition("-")[0]
    choose = {
        "throughput": throughput,
        "compositions": compositions,
        "instructions": cycles if name.endswith("-tpu") else instructions,
        "generators": generators if name.endswith("-h200") else times,
    }.get(program)
    return [{k: digits(v) for k, v in row.items()} for row in (choose(rows) if choose else rows)]


def throughput(rows: list[dict]) -> list[dict]:
    """The three jobs at the main size, forward."""
    columns = ("job", "mode", "size", "dtype", "way", "ms", "% of copy", "noisejax is faster")
    return [
        columns_of(row, columns)
        for row in rows
        if row["mode"] == "forward" and row["noisejax is faster"] is not None and row["size"] in MAIN
    ]


def compositions(rows: list[dict]) -> list[dict]:
    """The ratios."""
    return [{name: value for name, value in row.items() if not name.startswith("ms")} for row in rows]


def instructions(rows: list[dict]) -> list[dict]:
    """Flat arrays, and Gaussian noise over all shapes, forward."""
    columns = ("program", "dtype", "shape", "direction", "instructions per element", "budget", "of copy")
    named = [row for row in rows if row["direction"] == "forward" and row["program"] in (*JOBS, *STOCK)]
    return [columns_of(row, columns) for row in named if row["shape"] == "flat" or row["program"] == "gaussian"]


def cycles(rows: list[dict]) -> list[dict]:
    columns = ("program", "device", "dtype", "shape", "estimated cycles, x copy")
    return [columns_of(row, columns) for row in rows if row["shape"] == "2-D" and row["program"] in JOBS]


def generators(rows: list[dict]) -> list[dict]:
    """The cells of the table, and for each generator a row with its largest number of launches."""
    columns = ("generator", "job", "shape", "launches", "instructions per element")
    most: dict[str, dict] = {}
    for row in rows:
        best = most.setdefault(row["generator"], row)
        # Of equal rows one that is printed anyway.
        rank = (row["launches"], (row["job"], row["shape"]) in CELLS)
        if rank > (best["launches"], (best["job"], best["shape"]) in CELLS):
            most[row["generator"]] = row
    return [
        columns_of(row, columns) for row in rows if (row["job"], row["shape"]) in CELLS or row is most[row["generator"]]
    ]


def times(rows: list[dict]) -> list[dict]:
    return [columns_of(row, ("job", "size", "generator", "ms")) for row in rows]


def columns_of(row: dict, names: tuple[str, ...]) -> dict:
    return {name: row[name] for name in names}


def digits(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def pack(results: dict) -> str:
    """JSON with a table for each stretch of rows of equal keys: the names of its columns, then one row a line."""
    tables = []
    for row in results["rows"]:
        if not tables or tables[-1][0] != list(row):
            tables.append((list(row), []))
        tables[-1][1].append(_line(list(row.values())))
    head = [f" {_line(key)}: {_line(value)}" for key, value in results.items() if key != "rows"]
    body = ",\n".join(
        f'  {{"columns": {_line(columns)}, "rows": [\n   ' + ",\n   ".join(rows) + "\n  ]}" for columns, rows in tables
    )
    return "{\n" + ",\n".join([*head, f' "tables": [\n{body}\n ]']) + "\n}\n"


def unpack(text: str) -> dict:
    """What `pack` was given; a file that has its rows as they are is read too."""
    results = json.loads(text)
    if "tables" in results:
        tables = results.pop("tables")
        results["rows"] = [dict(zip(t["columns"], row, strict=True)) for t in tables for row in t["rows"]]
    return results


def _line(value) -> str:
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*-*.json")):
        results = unpack(path.read_text())
        results["rows"] = kept(path.stem, results["rows"])
        (RESULTS / path.name).write_text(pack(results))
        print("written to", RESULTS / path.name)


if __name__ == "__main__":
    main()
