"""What missing values, wrong units and wrong digits do to a forest, and whether copies with faults help it.

    python examples/report.py                           print the reports
    python examples/report.py report.html [report.png]  write the page and the picture, too

Breast cancer of Wisconsin (569 rows, 30 numbers), in scikit-learn. Half of the rows train, the other half is tested.
"""

import sys

import jax
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

import noisejax as nj
from noisejax import frame, robustness

FAULTS = {
    "missing": lambda rate: nj.bind(nj.tabular.missing, rate=rate),
    "wrong unit": lambda rate: nj.bind(nj.tabular.wrong_unit, rate=rate, scale=10.0),
    "wrong digit": lambda rate: nj.bind(nj.tabular.digit, rate=rate),
}


def main(page: str | None = None, picture: str | None = None) -> None:
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    train, test = (x[::2], y[::2]), (x[1::2].reset_index(drop=True), y[1::2].to_numpy())
    faulty = [(None, FAULTS["missing"](0.2)), (None, FAULTS["wrong unit"](0.05))]
    copies = frame.augment(jax.random.key(0), train[0], faulty, copies=2)
    models = {
        "clean rows": RandomForestClassifier(random_state=0).fit(*train),
        "with two faulty copies": RandomForestClassifier(random_state=0).fit(copies, pd.concat([train[1]] * 3)),
    }

    def of(fault):
        return lambda rate: frame.noise([(None, fault(rate))])

    levels = (0.0, 0.05, 0.1, 0.2, 0.4)
    families = [robustness.Family(name, of(fault), levels, on="host") for name, fault in FAULTS.items()]
    reports = {
        name: robustness.sweep(
            jax.random.key(1), model.predict_proba, test, families, metrics=["accuracy", "auc"], draws=3
        )
        for name, model in models.items()
    }
    print(reports["clean rows"])
    for level in levels[1:]:
        difference = robustness.compare(reports, "clean rows", level=level)["with two faulty copies"]
        print(f"faulty copies in training, {difference.notes() or f'at {level}: no difference shown'}")
    if page is not None:
        reports["clean rows"].to_html(page, title="A forest under faults of its table")
        print("written to", page)
    if picture is not None:
        figure = robustness.plot(reports, percent=True)
        figure.savefig(picture, dpi=80)
        plt.close(figure)
        print("written to", picture)


if __name__ == "__main__":
    main(*sys.argv[1:3])
