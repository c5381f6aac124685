"""The public callables, found by walking the public names of every public module."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import noisejax


def modules() -> list:
    found = [m.name for m in pkgutil.iter_modules(noisejax.__path__) if not m.name.startswith("_")]
    return [noisejax, *(importlib.import_module(f"noisejax.{name}") for name in sorted(found))]


def callables() -> dict[str, Callable]:
    """Every public callable by its address, ``labels.flip`` or, at the top level, ``gaussian``."""
    found = {}
    for module in modules():
        room = module.__name__.removeprefix("noisejax").lstrip(".")
        for name in getattr(module, "__all__", None) or vars(module):
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("noisejax")
            if not name.startswith("_") and not inspect.ismodule(value) and callable(value) and ours:
                found[f"{room}.{name}" if room else name] = value
    return found


def room_of(address: str) -> str:
    """The module of an address, as the table of figures names it."""
    return address.rpartition(".")[0] or "noisejax"
