"""The pages of the reference: which public names stand together, by the file that defines them.

A new name needs no line here. It joins the page of its file's neighbours, or else that of its module.
"""

import inspect

from docs import listing

# The beginning of a defining module's name: the page and its title. The longest beginning wins.
PAGES = {
    "noisejax": ("values", "Values and combinators"),
    "noisejax._noises.additive": ("additive", "Additive noise"),
    "noisejax._noises.masking": ("masking", "Masking and dropout"),
    "noisejax._noises.blocks": ("masking", "Masking and dropout"),
    "noisejax._noises.mixing": ("mixing", "Mixing examples"),
    "noisejax._noises.cutmix": ("mixing", "Mixing examples"),
    "noisejax._noises.numeric": ("numeric", "Numbers: impulses, rounding, overflow"),
    "noisejax._noises.penalty": ("penalty", "Noise as a penalty"),
    "noisejax._levels": ("levels", "Levels that move"),
    "noisejax.labels": ("labels", "Labels"),
    "noisejax.tabular": ("tabular", "Tables: faults of cells, rows and columns"),
    "noisejax.tabular._mechanisms": ("tabular-mechanisms", "Tables: where faults hit"),
    "noisejax.tabular._probability": ("tabular-mechanisms", "Tables: where faults hit"),
    "noisejax.tabular._schema": ("tabular-fitted", "Tables: schemas and fitted columns"),
    "noisejax.tabular._columns": ("tabular-fitted", "Tables: schemas and fitted columns"),
    "noisejax.tabular._one_hot": ("tabular-fitted", "Tables: schemas and fitted columns"),
    "noisejax.tabular._learnt": ("tabular-learnt", "Tables: learnt faults"),
    "noisejax.frame": ("frame", "Data frames"),
    "noisejax.text": ("text", "Text: characters and words"),
    "noisejax.text._tokens": ("text-tokens", "Text: tokens"),
    "noisejax.text._learnt": ("text-learnt", "Text: learnt edits"),
    "noisejax.signal": ("signal", "Signals: sensors, time and sound"),
    "noisejax.signal._learnt": ("signal-learnt", "Signals: learnt sensors"),
    "noisejax.image": ("image", "Images: erasing and channels"),
    "noisejax.image._corruptions": ("image-corruptions", "Images: common corruptions"),
    "noisejax.image._operations": ("image-operations", "Images: operations by amounts, policies"),
    "noisejax.image._policies": ("image-operations", "Images: operations by amounts, policies"),
    "noisejax.image._geometry": ("image-geometry", "Images: geometry"),
    "noisejax.image._learnt": ("image-sensors", "Images: sensors"),
    "noisejax.image._raw": ("image-sensors", "Images: sensors"),
    "noisejax.weights": ("weights", "Weights: faults of memories and analog hardware"),
    "noisejax.weights._per_example": ("weights-examples", "Weights: a sample for every example"),
    "noisejax.nnx": ("nnx", "Layers for Flax NNX"),
    "noisejax.linen": ("linen", "Layers for Flax linen"),
    "noisejax.optim": ("optim", "Optimizers: noise on gradients and updates"),
    "noisejax.optim._sharpness": ("optim-sharpness", "Optimizers: adversarial weights"),
    "noisejax.optim._adversary": ("optim-sharpness", "Optimizers: adversarial weights"),
    "noisejax.adversarial": ("adversarial", "Adversarial: attacks"),
    "noisejax.adversarial._threats": ("adversarial-threats", "Adversarial: threats"),
    "noisejax.adversarial._losses": ("adversarial-losses", "Adversarial: losses"),
    "noisejax.adversarial._autoattack": ("adversarial-evaluation", "Adversarial: evaluation"),
    "noisejax.adversarial._training": ("adversarial-training", "Adversarial: training"),
    "noisejax.adversarial._certificates": ("adversarial-certificates", "Adversarial: certificates"),
    "noisejax.fused": ("fused", "Fused operations"),
    "noisejax.robustness": ("robustness", "Robustness: sweeps and reports"),
    "noisejax.robustness._tuning": ("robustness-choice", "Robustness: choosing a noise"),
    "noisejax.robustness._advice": ("robustness-choice", "Robustness: choosing a noise"),
    "noisejax.robustness._models": ("robustness-choice", "Robustness: choosing a noise"),
}


def defined_in(module: str, value) -> str:
    """The module that defines a public value; `module`, where it is exported, for plain data."""
    origin = getattr(inspect.unwrap(value) if callable(value) else value, "__module__", None)
    return origin if origin and origin.startswith(module) else module


def page_of(origin: str) -> str:
    """The longest of the names in `PAGES` that `origin` begins with, by whole parts."""
    parts = origin.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(name for name in names if name in PAGES)


def grouped() -> dict[tuple[str, str], list[tuple[str, object]]]:
    """{(page, title): [(dotted public name, value)]} in the order of `PAGES`, noises first."""
    groups: dict[tuple[str, str], list[tuple[str, object]]] = {page: [] for page in PAGES.values()}
    for module in listing.modules():
        for name in listing.names(module):
            value = getattr(module, name)
            if name != "TYPE_CHECKING":
                found = groups[PAGES[page_of(defined_in(module.__name__, value))]]
                found.append((f"{module.__name__}.{name}", value))
    for found in groups.values():
        found.sort(key=lambda pair: (not listing.is_noise(pair[1]), not callable(pair[1]), pair[0]))
    return {page: found for page, found in groups.items() if found}
