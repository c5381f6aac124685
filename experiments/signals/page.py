"""Writes docs/results/signal-faults.md from the results of the experiments: ``python -m experiments.signals.page``"""

import json

import numpy as np

from experiments import _dirty
from experiments.tables import made_by

PAGE = _dirty.ROOT / "docs" / "results" / "signal-faults.md"


def loaded(name: str) -> dict:
    return json.loads((_dirty.RESULTS / f"signals.{name}.json").read_text())


def rows_of(trainings: list[dict], figures: tuple[str, ...]) -> list[list[str]]:
    return [[row["training"], *(_dirty.cell(row[name]) for name in (*figures, "difference"))] for row in trainings]


def digits() -> str:
    result = loaded("spoken_digits")
    head = ["training", "known speakers", "new speaker", "new, minus *none*, over seeds", "the same over speakers"]
    plain = next(row for row in result["trainings"] if row["training"] == "none")
    speakers = ", ".join(f"{value:.2f}" for value in plain["speakers"])
    rows = rows_of(result["trainings"], ("clean", "new"))
    for row, training in zip(rows, result["trainings"], strict=True):
        row.append(_dirty.cell(_dirty.spread(np.subtract(training["speakers"], plain["speakers"]))))
    return f"""## A new speaker and microphone

The accuracy on spoken digits of speakers that the training knows, and of one that it does not, the mean of six. Without
noise the six speakers have {speakers}. {made_by(result)}

{_dirty.table(head, rows)}

The interval over seeds says that these six speakers are recognized better, not that a seventh would be: speakers differ
more than trainings do, and the intervals over the six hold 0. Gain, and a chain of all noises, gain most without a
rival, and the chain together with mean subtraction gains most of all. Warps of time and a limited band do not help. The
chain costs accuracy on known speakers, and mean subtraction does too.
"""


def machine() -> str:
    result = loaded("machine")
    head = ["training", "no fault (clean)", "valve1", "valve2", "mean", "mean, minus *none*"]
    parts = []
    for fault in ("stuck", "bursts", "drift"):
        rows = rows_of(result[fault], ("clean", "valve1", "valve2", "mean"))
        parts.append(f"*sensors that fail by {fault}*\n\n{_dirty.table(head, rows)}\n")
    return f"""## A machine whose sensors fail

The area under the ROC curve of anomalies of a water loop, by the second. The anomalies are real, and the faults of the
sensors are made. {made_by(result)}

{chr(10).join(parts)}
No noise helps by more than its interval here, not even the fault of the test itself. Standardizing each file on its
start does under stuck and lost readings and without faults: runs differ more than faults change them. *fitted* is no
better: `fit` has no stuck sensors, and readings that a recorder holds are no gaps to it. What it learns from both is
noise and drift. Give it recordings in which lost readings are missing.
"""


def sensors() -> str:
    result = loaded("airquality")
    head = ["training", "same period", "September to January", "February on", "February on, minus *none*"]
    parts = []
    for model in ("boosting", "ridge"):
        rows = rows_of(result[model], ("same", "autumn", "late"))
        parts.append(f"*{model}*\n\n{_dirty.table(head, rows)}\n")
    return f"""## What noise cannot do: sensors that age

R2 of NO2 from five gas sensors and the weather, trained on March to August. {made_by(result)}

{chr(10).join(parts)}
The drift to come is not in the training months: one-sided, of several sensors together, and larger than anything that
`signal.fit` can find there. Every noise shrinks the slopes of the ridge regression, which then fails later. Fewer
columns, and above all a few months of labelled deployed hours, do what noise cannot.
"""


HEAD = """# Faults of signals

What training with noise of `noisejax.signal` is good for, and what not. The protocols are in the docstrings of
`experiments/signals/spoken_digits.py`, `machine.py` and `airquality.py`. All figures are means over five seeds with
95 % t intervals; differences are paired. The data are not part of the repository. `python -m experiments.signals.page`
writes this page from `experiments/results`.
"""


def text() -> str:
    return "\n".join([HEAD, digits(), machine(), sensors()]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
