"""Public names as they are written in code: `nj.mask`, `njx.Dropout`, `robustness.sweep`."""

import re

PREFIXES = {"nj": "noisejax", "njx": "noisejax.nnx", "njl": "noisejax.linen"}
# Those that code names without their package, as in `from noisejax import robustness`.
MODULES = ("adversarial", "frame", "fused", "labels", "optim", "robustness", "signal", "tabular", "text", "weights")


def dotted(code: str) -> str | None:
    """The public name that a piece of code may be: 'nj.mask(rate=0.1)' and 'nj.mask' are 'noisejax.mask'."""
    name = re.fullmatch(r"([A-Za-z_]\w*(?:\.\w+)+)(?:\(.*\))?", code)
    if name is None:
        return None
    first, _, rest = name[1].partition(".")
    if first in MODULES:
        return f"noisejax.{name[1]}"
    return f"{PREFIXES.get(first, first)}.{rest}"
