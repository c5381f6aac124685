"""Writes docs/results/learnt-faults.md from the results of the experiments: ``python -m experiments.tables``"""

import json

from experiments import _dirty

PAGE = _dirty.ROOT / "docs" / "results" / "learnt-faults.md"


def loaded(name: str) -> dict:
    return json.loads((_dirty.RESULTS / f"{name}.json").read_text())


def made_by(result: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"`{result['command']}`, {result['date']}, {result['machine']}; {versions}."


def recovery() -> str:
    result = loaded("recovery")
    errors = result["errors"]
    rows = [[name, f"{value:.3g}" if isinstance(value, float) else str(value)] for name, value in errors.items()]
    shifts = [
        [
            name,
            f"{row['found']} of {result['seeds']}",
            f"{row['size']:.3g}",
            _dirty.cell(row["change"]) if row["change"] else "",
            f"{row['held']} of {row['found']}",
            str(row["elsewhere"]),
        ]
        for name, row in result["shifts"].items()
    ]
    head = ["planted", "found", "size", "size found (mean of the seeds)", "interval holds the size", "other columns"]
    return f"""## Planted faults and shifts are found

Adult census, {result["seeds"]} seeds. {made_by(result)}

{_dirty.table(["`fit_errors`", ""], rows)}

`fit_shift` found something in {result["alarms"]} of {result["splits"]} random splits of 4,000 rows into halves. Its
level is 5 % for all columns together. Planted shifts, in one half of 6,000 rows:

{_dirty.table(head, shifts)}
"""


def imitation() -> str:
    result = loaded("imitation")
    parts = []
    for name in ("flights", "beers", "heart_sites"):
        pairs = list(dict.fromkeys(row["pairs"] for row in result[name]))
        figures = {(row["noise"], row["pairs"]): row for row in result[name]}
        rows = []
        for noise in dict.fromkeys(row["noise"] for row in result[name]):
            shown = []
            for n in pairs:
                row = figures[noise, n]
                shown.append(_dirty.cell(row["auc"]) + (f" (bar {row['bar']})" if row["bar"] else ""))
            rows.append([noise, *shown])
        parts.append(f"*{name}*\n\n{_dirty.table(['model, pairs', *pairs], rows)}")
    hearts = {row["noise"]: row for row in result["heart_sites"]}
    ours, own = (hearts[name]["auc"]["mean"] for name in ("fit_shift", "the fitted half itself"))
    if ours > hearts["fit_shift"]["bar"]:
        parts[-1] += (
            "\n\nThe bar of heart_sites is missed. Two halves of one hospital differ by chance: the masks of the fitted"
            f"\nhalf itself, drawn with replacement, reach {own:.3f}, and `fit_shift` {ours:.3f}."
        )
    return f"""## Imitation

The AUC of a classifier that tells real dirty rows from imitated ones, on rows (flights, hospitals) that were not used
for fitting; 0.5 means that it cannot. Five seeds, with 95 % t intervals. {made_by(result)}

{chr(10).join(part + chr(10) for part in parts)}"""


def flights() -> str:
    result = loaded("flights")
    parts = []
    for model in ("boosting", "network"):
        rows = [
            [row["training"], *(_dirty.cell(row[name], 1) for name in ("clean", "dirty", "difference"))]
            for row in result[model]
        ]
        head = ["training", "clean rows", "dirty rows", f"dirty rows, minus *{result[model][0]['minus']}*"]
        parts.append(f"*{model}*\n\n{_dirty.table(head, rows)}")
    return f"""## Accuracy on dirty flights

The mean absolute error of the arrival in minutes, under absolute loss: trained on clean rows with noise, judged on
really dirty rows of other flights. Five seeds of five folds, with 95 % t intervals over the seeds; the difference is
paired. {made_by(result)}

{chr(10).join(part + chr(10) for part in parts)}"""


def camera_noise() -> str:
    results = {features: loaded(name) for features, name in CAMERA.items()}
    parts = []
    for features, result in results.items():
        for part in ("all cameras", "NikonD800", "Canon5D2"):
            rows = [
                [row["training"], *(_dirty.cell(row[name]) for name in ("clean", "real", "fitted minus this"))]
                for row in result[part]
            ]
            fitted = next(row["training"] for row in result[part] if not any(row["fitted minus this"]["values"]))
            title = "all cameras" if part == "all cameras" else f"fitted to {part}, scored on the other cameras"
            head = ["training", "clean patches", "real patches", f"*{fitted}* minus this, real"]
            parts.append(f"*{features}, {title}*\n\n{_dirty.table(head, rows)}\n")
    return f"""## Accuracy on real camera noise

The accuracy on patches of real noisy shots and of their means, after training with noise that `image.fit_sensor` found
in a few pairs of other scenes. Five seeds with other calibration scenes each, and 95 % t intervals; differences are
paired. There are two sets of features:

{chr(10).join(f"- *{features}*: {made_by(result)}" for features, result in results.items())}

JPEG is what matters. The pictures are stored with quality 75 after their noise, which removes the weak frequencies of
each block together with the noise in them. With wavelets, which see that, noise gains about .06 if it is only added,
and .18 to .24 if the noisy patches are stored as the camera does, in arms *stored*. Noise fitted before the compression
(`fit_sensor` with `after`) from five pairs is .055 ± .019 better than white noise of U(0, 8), also stored, and .176 ±
.022 better than that noise as it is; the bar was .05. It is better than the best of three denoisers, which is chosen on
these test patches, and not shown to be better than the best of the four generic noises when they are stored. Fitted to
one camera, it is better on the other four than both generic noises of U(0, 8), stored. Training on real shots is far
better than any noise.

With moments every noise helps much against none, and the bar is missed: fitted noise is as good as generic noise, and
denoising by total variation is better. Those arms were not stored.

{chr(10).join(parts)}"""


CAMERA = {"moments": "camera_noise", "wavelets": "camera_noise.wavelets"}


HEAD = """# Learnt faults

What `noisejax.tabular.fit_errors`, `fit_text_errors`, `fit_shift` and `image.fit_sensor` reach, and what they do not.
The protocols are in the docstrings of `experiments/recovery.py`, `experiments/imitation.py`, `experiments/flights.py`
and `experiments/camera_noise.py`. The dirty data are not part of the repository. `python -m experiments.tables` writes
this page from `experiments/results`.

Learnt faults imitate. They do not promise a more accurate model: on the flights, every noise that hides values helps
alike, since what the dirty rows have lost is gone. A KNN imputer helps boosted trees as much, without any noise. [All
really dirty sets](dirty.md) are in one table, with generic noise that is chosen on validation rows.
"""


def main() -> None:
    PAGE.write_text("\n".join([HEAD, recovery(), imitation(), flights(), camera_noise()]).rstrip() + "\n")


if __name__ == "__main__":
    main()
