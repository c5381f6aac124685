"""All results on really dirty rows in one form: those of this experiment, and those of programs of their own."""

import dataclasses
import json

import numpy as np

from experiments import _dirty

NONE, GENERIC, FITTED, RIVAL, DIRTY = "none", "best generic", "fitted", "rival", "dirty rows"
ORDER = (NONE, GENERIC, FITTED, RIVAL, DIRTY)


@dataclasses.dataclass
class Entry:
    """One model on one set: scores of each arm by seed, on clean and on dirty rows."""

    title: str
    model: str
    figure: str
    arms: dict[str, dict[str, list[float]]]
    names: dict[str, str]
    digits: int = 3
    sign: int = 1  # -1: less is better
    note: str = ""
    made: bool = False  # the faults of the test rows are not real

    def __post_init__(self):
        self.arms = {arm: self.arms[arm] for arm in ORDER if arm in self.arms}

    @property
    def seeds(self) -> int:
        return min(len(arm["dirty"]) for arm in self.arms.values())

    def score(self, arm: str, part: str) -> dict | None:
        return _dirty.spread(self.arms[arm][part]) if part in self.arms[arm] else None

    def gain(self, arm: str, other: str, part: str = "dirty") -> dict | None:
        """How much better an arm is than another, paired by seed."""
        if arm not in self.arms or other not in self.arms or arm == other:
            return None
        if part not in self.arms[arm] or part not in self.arms[other]:
            return None
        a, b = (np.array(self.arms[name][part]) for name in (arm, other))
        shared = min(len(a), len(b))  # seeds are in order
        return _dirty.spread(self.sign * (a[:shared] - b[:shared]))


def better(arms: dict[str, dict], names: list[str], sign: int = 1) -> str:
    """The arm with the best mean on the test rows."""
    return max(names, key=lambda name: sign * np.mean(arms[name]["dirty"]))


def entry(title: str, model: str, figure: str, arms: dict[str, dict], roles: dict[str, list[str]], **more) -> Entry:
    """An entry from named arms. A role with several arms is the one with the best mean on the test rows."""
    chosen = {role: better(arms, names, more.get("sign", 1)) for role, names in roles.items() if names}
    shown = {role: name.removeprefix("rival: ") for role, name in chosen.items() if name != role}
    return Entry(title, model, figure, {role: arms[name] for role, name in chosen.items()}, shown, **more)


FIGURES = {
    "flights": ("mean absolute error in minutes", 1, -1),
    "beers": ("accuracy", 3, 1),
    "heart_sites": ("AUC", 3, 1),
    "bike_sharing": ("R2", 3, 1),
    "spoken_digits": ("accuracy", 3, 1),
    "region_midwest": ("accuracy on rare spellings", 3, 1),
}
FITS = {
    "flights": "`fit_errors`, 200 pairs",
    "beers": "`fit_text_errors`, 200 pairs",
    "heart_sites": "`fit_shift`",
    "bike_sharing": "`fit_shift`",
}


def loaded(name: str) -> dict:
    path = _dirty.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def own(name: str, runs: dict) -> list[Entry]:
    """The entries of a set of `experiments.dirty`."""
    figure, digits, sign = FIGURES[name]
    runs = {seed: runs[seed] for seed in sorted(runs, key=int)}
    first = next(iter(runs.values()))
    found = []
    for model in (key for key in first if key != "measured"):
        arms = {
            arm: {part: [run[model]["arms"][arm][part] for run in runs.values()] for part in ("clean", "dirty")}
            for arm in first[model]["arms"]
        }
        roles = {role: [arm for arm in arms if arm.partition(":")[0] == role] for role in ORDER}
        made = entry(name, model, figure, arms, roles, digits=digits, sign=sign, note=NOTES.get(name, ""))
        made.names[GENERIC] = counts([run[model]["chosen"] for run in runs.values()])
        made.names |= {FITTED: FITS[name]} if FITTED in made.arms else {}
        found.append(made)
    return found


NOTES = {
    "wavelets": """These features were added when the figures of *moments* were known, and the arms that are stored as
JPEG after a run without them ([camera noise](learnt-faults.md#accuracy-on-real-camera-noise)).""",
    "spoken_digits": """The intervals are over seeds, for these six speakers. Speakers differ more than trainings do, so
they do not say that a seventh would gain ([over speakers](signal-faults.md)).""",
}


def counts(chosen: list) -> str:
    """What was chosen, with how often, the most frequent first."""
    flat = [name for one in chosen for name in (one if isinstance(one, list) else [one])]
    names, number = np.unique([str(name) for name in flat], return_counts=True)
    order = np.argsort(-number, kind="stable")
    if len(names) == 1:
        return str(names[0])
    return ", ".join(f"{names[n]} ({number[n]})" for n in order)


def rows(listed: list[dict], clean: str, dirty: str) -> dict[str, dict]:
    """Arms from the rows of a stored table."""
    return {row["training"]: {"clean": row[clean]["values"], "dirty": row[dirty]["values"]} for row in listed}


def camera() -> list[Entry]:
    """One entry for each set of features."""
    found = []
    for result, model, fitted in (
        ("camera_noise", "moments", "fitted, 5 pairs"),
        ("camera_noise.wavelets", "wavelets", "fitted, 5 pairs, stored"),
    ):
        arms = rows(loaded(result)["all cameras"], "clean", "real")
        roles = {
            NONE: ["none"],
            GENERIC: [name for name in arms if "Gaussian U(" in name],
            FITTED: [fitted],
            RIVAL: [name for name in arms if name.startswith("denoising")],
            DIRTY: ["trained on real shots"],
        }
        found.append(entry("polyu_camera_noise", model, "accuracy", arms, roles, note=NOTES.get(model, "")))
    return found


def airquality() -> list[Entry]:
    roles = {
        NONE: ["none"],
        GENERIC: ["Gaussian .3"],
        FITTED: ["fitted drift"],
        RIVAL: ["rival: no weather", "rival: each month standardized"],
        DIRTY: ["also trained on autumn"],
    }
    stored = loaded("signals.airquality")
    models = ("boosting", "ridge")
    return [entry("airquality", m, "R2 from February on", rows(stored[m], "same", "late"), roles) for m in models]


def machine() -> list[Entry]:
    roles = {
        NONE: ["none"],
        GENERIC: ["Gaussian"],
        FITTED: ["fitted"],
        RIVAL: ["rival: files standardized on their start", "rival: readings without windows"],
        DIRTY: ["the fault itself"],
    }
    stored, found = loaded("signals.machine"), []
    for fault in ("stuck", "bursts", "drift"):
        arms = rows(stored[fault], "clean", "mean")
        found.append(entry(f"skab_valves: {fault}", "network", "AUC", arms, roles, made=True))
    return found


def texts() -> tuple[list[Entry], list[str]]:
    """Recognized speech and free text, with the rivals of this experiment."""
    training, here = loaded("text_training"), loaded("dirty")
    found = []

    def rival(name: str, model: str) -> dict:
        if len(here.get(name, {})) < 5:
            return {}
        runs = [here[name][seed][model]["arms"] for seed in sorted(here[name], key=int)]
        which = [arm for arm in runs[0] if arm.startswith("rival")]
        return {arm: {part: [run[arm][part] for run in runs] for part in ("clean", "dirty")} for arm in which}

    for model in ("words", "characters"):
        clean, dirty = (training["recognized speech"][f"{model}, {part}"] for part in ("clean", "recognized"))
        arms = {n: {"clean": clean[n]["score"]["values"], "dirty": dirty[n]["score"]["values"]} for n in dirty}
        arms |= (rivals := rival("slurp_asr", model))
        roles = {
            NONE: ["none"],
            GENERIC: ["drop_words", "typos"],
            FITTED: ["learnt edits"],
            RIVAL: list(rivals),
            DIRTY: ["real recognizer text"],
        }
        a, b = (np.array(arms[name]["dirty"]) for name in ("real recognizer text", "more clean text"))
        control = _dirty.cell(_dirty.spread(a - b))
        note = (
            f"The dirty rows are further sentences. Against the clean text of the same sentences they gain {control}."
        )
        found.append(entry("slurp_asr", model, "accuracy", arms, roles, note=note))
    if "free text" not in training:
        return found, ["region_midwest"]
    if len(here.get("region_midwest", {})) < 5:
        return found, ["region_midwest"]
    arms = {n: {"dirty": values["score"]["values"]} for n, values in training["free text"].items()}
    made = own("region_midwest", here["region_midwest"])[0]
    made.arms = {FITTED: arms["learnt edits"], DIRTY: arms["all rows"], **made.arms}
    made.arms = {arm: made.arms[arm] for arm in ORDER}
    made.names |= {FITTED: "learnt edits", DIRTY: "all rows of the training half"}
    return [*found, made], []


def collected() -> tuple[list[Entry], list[str]]:
    """Every model of every set whose seeds are all stored, and the names of the other sets."""
    here = loaded("dirty")
    names = [name for name in FIGURES if name != "region_midwest"]
    missing = [name for name in names if len(here.get(name, {})) < 5]
    found = [made for name in names if name not in missing for made in own(name, here[name])]
    more, absent = texts()
    return [*found, *camera(), *more, *airquality(), *machine()], missing + absent
