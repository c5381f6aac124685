"""The picture of the experiment on really dirty rows: gains over training without noise, one panel for each set."""

from pathlib import Path

import numpy as np

from experiments.dirty.collect import DIRTY, FITTED, GENERIC, NONE, RIVAL, Entry

ARMS = {
    GENERIC: "best generic noise",
    FITTED: "fitted noise",
    RIVAL: "simple rival, no noise",
    DIRTY: "trained on dirty rows",
}
COLORS = {GENERIC: "#2563eb", FITTED: "#0f766e", RIVAL: "#b45309", DIRTY: "#6b7280"}
TITLES = {
    "flights": "flights: minutes of error",
    "beers": "beers: accuracy",
    "heart_sites": "hospitals: AUC",
    "bike_sharing": "bicycles: R2",
    "spoken_digits": "new speaker: accuracy",
    "polyu_camera_noise": "camera noise: accuracy",
    "slurp_asr": "recognized speech: accuracy",
    "region_midwest": "free text: accuracy",
    "airquality": "ageing sensors: R2",
}


def panels(entries: list[Entry]) -> list[Entry]:
    """For each set with real dirt, the model that is best on dirty rows without noise."""
    found = []
    for name in TITLES:
        models = [e for e in entries if e.title == name]
        if models:
            found.append(max(models, key=lambda e: e.sign * np.mean(e.arms[NONE]["dirty"])))
    return found


def draw(entries: list[Entry], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = panels(entries)
    height = -(-len(chosen) // 3)
    figure, axes = plt.subplots(height, 3, figsize=(10, 0.4 + 1.75 * height), facecolor="white", squeeze=False)
    for n, axis in enumerate(axes.flat):
        if n >= len(chosen):
            axis.set_visible(False)
            continue
        entry = chosen[n]
        for row, arm in enumerate(ARMS):
            gain = entry.gain(arm, NONE)
            if gain is None:
                axis.text(
                    0, -row, " not fitted" if arm == FITTED else " none", va="center", fontsize=7, color="#6b7280"
                )
                continue
            axis.errorbar(gain["mean"], -row, xerr=gain["half"], fmt="o", color=COLORS[arm], ms=5, lw=1.6, capsize=2.5)
        axis.axvline(0, color="#111827", lw=0.8)
        axis.set_yticks([-row for row in range(len(ARMS))], list(ARMS.values()) if n % 3 == 0 else [""] * len(ARMS))
        axis.set_ylim(-len(ARMS) + 0.4, 0.6)
        axis.set_title(f"{TITLES[entry.title]} ({entry.model})", fontsize=9, loc="left")
        axis.tick_params(labelsize=8, length=0)
        axis.locator_params(axis="x", nbins=4)
        axis.grid(axis="x", color="#e5e7eb", lw=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
    figure.suptitle("Gain on really dirty rows over training without noise (line at 0), 95 % intervals", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
