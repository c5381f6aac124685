"""What messages call things: functions, signatures, missing packages and misspelt names."""

import dataclasses
import difflib
import importlib
import inspect
import itertools
import sys
import types
import typing
from typing import Any

import jax


def address(function: Any) -> str:
    """The name of a function in user code: ``nj.gaussian``, ``nj.image.cutout``; the bare name of a user's function.

    Public names of a private module are exported by the package above the first private part of its path.
    """
    name = getattr(function, "__name__", repr(function))
    module = getattr(function, "__module__", None) or ""
    if module.split(".")[0] != "noisejax":
        return name
    public = itertools.takewhile(lambda part: not part.startswith("_"), module.split(".")[1:])
    return ".".join(["nj", *public, name])


def written(signature: inspect.Signature) -> str:
    """A signature as written in the source: ``(key: jax.Array, x: jax.Array, std: float | jax.Array, ...)``."""
    shown = [
        p.replace(annotation=_Text(_annotation(p.annotation))) if p.annotation is not p.empty else p
        for p in signature.parameters.values()
    ]
    return str(signature.replace(parameters=shown, return_annotation=signature.empty))


@dataclasses.dataclass(frozen=True)
class _Text:
    text: str

    def __repr__(self):
        return self.text


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        # NumPy arrays and numbers are accepted wherever JAX arrays are, so they are not shown.
        named = [a for a in typing.get_args(annotation) if getattr(a, "__module__", "") != "numpy"]
        return " | ".join(_annotation(a) for a in named)
    if annotation is jax.Array:
        return "jax.Array"
    if getattr(annotation, "__name__", "") == "Padded":
        return "nj.Padded"
    if annotation is type(None):
        return "None"
    return inspect.formatannotation(annotation)


def extra(module: str, package: str, error: ModuleNotFoundError, extra: str = "") -> ModuleNotFoundError:
    """The error for a module of this library whose optional package is not installed, or a broken package's own one.

    `extra` is the name of the extra that installs the package; by default it is the package's.
    """
    if (error.name or "").split(".")[0] != package:
        return error
    message = f"{module} needs {package}: pip install 'noisejax[{extra or package}]'."
    return ModuleNotFoundError(message, name=error.name)


# With their usual aliases.
_BY_NAME = {"nnx": "njx", "linen": "njl", "optim": "optim", "adversarial": "adversarial", "frame": "frame"}
_ATTRIBUTES = ("fused", "image", "labels", "robustness", "signal", "tabular", "text", "weights")


def unknown_attribute(name: str) -> AttributeError:
    """The error for ``noisejax.<name>``, with the name that was probably meant."""
    message = f"module 'noisejax' has no attribute {name!r}."
    if name.startswith("__"):
        return AttributeError(message)
    if name in _BY_NAME:
        alias = "" if _BY_NAME[name] == name else f" as {_BY_NAME[name]}"
        return AttributeError(f"{message} It needs another package: import it by name, import noisejax.{name}{alias}")
    meant = _closest(name)
    return AttributeError(f"{message} Did you mean {' or '.join(meant)}?" if meant else message)


def _closest(name: str) -> list[str]:
    wanted = _plain(name)
    alone, doors = _addresses()
    for addresses in (alone, doors):
        short = {_plain(address.split(".")[-1]): address for address in reversed(addresses)}
        for form in (wanted, wanted.removesuffix("noise")):
            if form in short:
                return [short[form]]
    short = {_plain(address.split(".")[-1]): address for address in [*doors, *alone]}
    return [short[match] for match in difflib.get_close_matches(wanted, short, n=2, cutoff=0.75)]


def _plain(name: str) -> str:
    """A name without case and underscores, the most common mistakes."""
    return name.replace("_", "").lower()


def _addresses() -> tuple[list[str], list[str]]:
    """Public names: those that need only jax, and those of other modules that are already imported."""
    package = importlib.import_module("noisejax")
    top = [f"noisejax.{name}" for name in vars(package) if not name.startswith("_") and name != "TYPE_CHECKING"]
    doors = [name for name in _BY_NAME if f"noisejax.{name}" in sys.modules]
    inside = [
        [f"noisejax.{module}.{name}" for module in modules for name in getattr(_module(module), "__all__", ())]
        for modules in (_ATTRIBUTES, doors)
    ]
    return top + inside[0], inside[1]


def _module(name: str):
    return importlib.import_module(f"noisejax.{name}")
