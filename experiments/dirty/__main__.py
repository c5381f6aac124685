"""Does training with noise help on really dirty rows? Every set with four references: ``python -m experiments.dirty``

    python -m experiments.dirty                     run what is missing, and write results/dirty.json
    python -m experiments.dirty --sets beers        one set
    python -m experiments.dirty --smoke             one seed and little data: does it run? Nothing is written
    python -m experiments.dirty.page                write docs/results/dirty.md and the picture

Protocol, fixed before the runs that are stored.

Models train on clean rows and are judged on really dirty ones. Five seeds, 0 to 4. Differences are paired by seed, with
95 % t intervals, not corrected for their number. A noise in training adds noisy copies to the clean rows (two; eight in
heart_sites). Models are untuned. The arms of each model:

- *none*: clean rows.
- *best generic*: the generic noise, of those listed, that is best on validation rows. They are training rows, and the
  models of the choice have not seen them. Where the fitted noise is fitted to dirty rows, the choice knows the same.
- *fitted*: the noise that the library fits to a few dirty training rows, where it fits one.
- *rival*: the simple answer without noise. Where there are two, the better one on the test rows is taken.
- *dirty rows*: dirty training rows with labels, which says whether there was room at all.

The sets:

- *flights*: the actual arrival from the other three times, mean absolute error in minutes, five folds of flights by
  seed. Models: boosted trees with absolute loss, and the network of `experiments.flights` on rows with copies. A fifth
  of the training flights (by seed and fold) gives 200 pairs. Fitted: `tabular.fit_errors` on them. Generic: missing at
  .1, .3 and .5, values of other rows at .1, Gaussian of 15 minutes; the choice trains on the other flights and is
  judged on the 200 dirty rows. The chosen one then trains on all. Rival: a KNN imputer. Room: all training rows, dirty.
- *beers*: one of nine families of styles, by name, from abv, ibu, ounces, city and state as texts; accuracy. Half of
  the breweries train. Models: boosted trees (50 rounds) on what `float` reads of abv, ibu and ounces, and the state; a
  linear support vector machine (C = .3) on characters (1 to 4) of each cell. 200 pairs come from breweries of the
  training half. Fitted: `tabular.fit_text_errors` on them. Generic: empty cells at .1, .3 and .5, `text.typos` at .05
  and .15; the choice trains on the other breweries and is judged on the 200 dirty rows. Rival: a parser that reads
  numbers out of texts, empties "N/A" and moves a state out of the city. Room: all training rows, dirty.
- *heart_sites*: disease at three other hospitals, trained on four fifths of Cleveland; AUC, the mean of the hospitals.
  The other fifth is the clean test. A cholesterol of 0 is missing. Models: logistic regression on standardized columns
  with medians for missing values, and boosted trees. Half of each hospital is known without labels, and the other half
  is the test. Fitted: `tabular.fit_shift` on Cleveland and the known half. Generic: missing at .1, .3 and .5, Gaussian
  of .1 and .3 standard deviations on numbers; chosen by five-fold cross-validation in Cleveland, where validation rows
  have the fitted faults of the hospital. Rivals: columns dropped that are more than half missing in the known half; an
  iterative imputer. Room: the known half with labels, added.
- *bike_sharing*: the demand of an hour in 2012 from the hour, the weekday, holidays and the weather, trained on four
  fifths of the days of 2011 (the other fifth is the clean test); R2. Models: boosted trees; a ridge regression with
  indicators of hours on working days and others. Weeks of 2012 are split at random in known ones and tests. Fitted:
  `tabular.fit_shift` on the weather of 2011 and of the known weeks, without labels. Generic, on the weather: missing at
  .1 and .3, Gaussian of .1 and .3 standard deviations; the choice trains on January to October and is judged on
  November and December. Rival: predictions scaled by the ratio of demand to predictions over the seven days before,
  which needs the demand of these days. Room: the known weeks with labels, added.
- *spoken_digits*: as in `experiments.signals.spoken_digits`, on takes below 25 of the new speaker, the mean of six
  speakers; accuracy. Generic: all types and amounts there, chosen on the validation speaker, by the mean of the seeds.
  Nothing is fitted. Rival: mean subtraction. Room: takes from 25 of the new speaker, added.
- *slurp_asr* and *region_midwest*: `experiments.text_training` has the noises and the references; rivals are added
  here, for the same seeds, halves and models. Rival on recognized speech: "'s" is joined to its word and unknown words
  are dropped; on free text: small letters and no punctuation, in training and tests. The generic noise of free text,
  `text.typos` at .05 or .15, is chosen by seed on the rare spellings of the training half, with their labels. This
  choice was added when the figures had been seen: at first the amount was taken that is best on the test rows.

The page adds the figures of `experiments.text_training`, `experiments.camera_noise`, `experiments.signals.machine` and
`experiments.signals.airquality`. There, and on recognized speech, generic noises were fixed and not chosen, except in
*machine*; the page takes the one with the best mean on the test rows, which favours generic noise. The faults of
sensors of *machine* are made.

A noise is *a gain* for a model if the interval of its difference to *none* is above 0, and its rival does not beat it:
the interval of noise minus rival is not below 0. It *beats all* if it is also beyond the interval over the rival and,
for a fitted noise, over the best generic one.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import importlib
import json
from collections.abc import Callable
from pathlib import Path

from experiments import _dirty, measured

SEEDS = range(5)
SETS = {
    "beers": "beers",
    "heart_sites": "hearts",
    "bike_sharing": "bikes",
    "slurp_asr": "texts",
    "region_midwest": "texts",
    "flights": "flights",
    "spoken_digits": "digits",
}
RESULTS = _dirty.RESULTS / "dirty.json"


def run(name: str, of_seed: Callable[[int], dict], seeds, path: Path) -> None:
    """Measures the seeds of a set that are not stored. What is stored is whole at every moment."""
    for seed in seeds:
        if str(seed) in loaded(path).get(name, {}):
            continue
        found = {"measured": measured(), **of_seed(seed)}
        stored = loaded(path)  # another set may have been stored in the meantime
        stored.setdefault(name, {})[str(seed)] = found
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(stored, indent=1) + "\n")
        partial.replace(path)
        print(name, seed, json.dumps(found), flush=True)


def loaded(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS), metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="one seed and little data; nothing is written")
    given = parser.parse_args()
    if (why := _dirty.missing()) is not None:
        print(why)
        return
    for name in given.sets:
        module = importlib.import_module(f"experiments.dirty.{SETS[name]}")
        of_seed = getattr(module, name)
        if given.smoke:
            kinds = of_seed(0, smoke=True)  # figures are not shown: protocols are fixed before they are seen
            print(name, {kind: list(found["arms"]) for kind, found in kinds.items()}, flush=True)
        else:
            run(name, of_seed, SEEDS, RESULTS)


if __name__ == "__main__":
    main()
