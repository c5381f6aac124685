"""Serialization of noises: as code that makes them again (the repr), and as a dictionary for JSON."""

import dataclasses
import importlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import PartitionSpec

from noisejax._calls.fitted import Fitted, fields_of
from noisejax._checks.texts import address
from noisejax._noise import Combinator, Noise, Schedule, is_noise

VERSION = 1
_WHOLE = 16  # arrays with up to this number of entries are written out in a repr


def code(noise: Noise) -> str:
    """Code that makes the noise, with `nj` and `np` imported as usual. Long arrays appear as dtype and shape."""
    text = _made(noise)
    return f"nj.learnable({text})" if noise.learn else text


def _made(noise: Noise) -> str:
    """The code without `learnable`, which sets the flag of all noises inside."""
    function = noise.function
    if isinstance(function, Combinator):
        arguments, keywords = (function.spelled or _spelled)(_still(noise) if noise.learn else noise)
        keywords = {n: v for n, v in keywords.items() if not _is_default(function, n, v)}
        return f"nj.{function.name}({_arguments(arguments, keywords)})"
    if not noise.amounts and not noise.options and not hasattr(function, "__noise__"):
        return address(function)  # a user's function (key, x) -> x, which combinators take as it is
    return f"nj.bind({_arguments([function], {**noise.amounts, **dict(noise.options)})})"


def _still(noise: Noise) -> Noise:
    """The noise, and those inside it, as they were before `learnable`."""

    def inside(value):
        return _still(value) if is_noise(value) else value

    amounts = {name: jax.tree.map(inside, value, is_leaf=is_noise) for name, value in noise.amounts.items()}
    return Noise(noise.function, amounts, noise.options)


def _spelled(noise: Noise) -> tuple[list, dict]:
    named = {**noise.amounts, **dict(noise.options)}
    return list(named.pop("noises", ())), named


def _is_default(function: Combinator, name: str, value: Any) -> bool:
    parameter = inspect.signature(_public(function.name)).parameters.get(name)
    return parameter is not None and isinstance(value, _PLAIN) and parameter.default == value


_PLAIN = (str, int, bool, type(None))


def _arguments(arguments: list, keywords: dict) -> str:
    return ", ".join([*map(_value, arguments), *(f"{name}={_value(value)}" for name, value in keywords.items())])


def _value(value: Any) -> str:
    if isinstance(value, Noise):
        return code(value)
    if isinstance(value, Tracer):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        return _array(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_value(part)}' for key, part in value.items())}}}"
    if isinstance(value, Schedule):
        return f"nj.scheduled({address(value.function)})"
    if isinstance(value, PartitionSpec):
        return f"jax.sharding.PartitionSpec({', '.join(map(repr, value))})"
    return address(value) if callable(value) and hasattr(value, "__name__") else repr(value)


def _array(value: Any) -> str:
    whole = value.size <= _WHOLE and not jnp.issubdtype(value.dtype, jax.dtypes.extended)
    if not whole:
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    text = _nested(np.asarray(value))
    return text if value.ndim == 0 else f"np.array({text}, '{value.dtype}')"


def _nested(value: np.ndarray) -> str:
    if value.ndim:
        return f"[{', '.join(_nested(part) for part in value)}]"
    number = value.item()
    if not isinstance(number, float):
        return repr(number)
    # The shortest decimal that reads back as the same number of its dtype.
    return str(value[()]) if math.isfinite(number) else f"float('{number}')"


def to_dict(noise: Noise, functions: Mapping[str, Callable] | None = None) -> dict[str, Any]:
    """`Noise.to_dict`."""
    names = {id(function): name for name, function in (functions or {}).items()}
    return {"noisejax": VERSION, "noise": _Writer(names).noise(noise)}


class _Writer:
    """Writes nodes, and remembers the names in use, so that no two functions share a name."""

    def __init__(self, names: dict[int, str]):
        self.names, self.used = names, {}

    def noise(self, noise: Noise) -> dict[str, Any]:
        node = {
            "function": self.function(noise.function),
            "amounts": {name: self.value(value) for name, value in noise.amounts.items()},
            "options": {name: self.value(value) for name, value in noise.options},
        }
        return node | ({"learn": True} if noise.learn else {})

    def function(self, function: Any) -> str:
        if isinstance(function, Combinator):
            return f"noisejax.{function.name}"
        known = address(function)
        if known.startswith("nj.") and hasattr(function, "__noise__"):
            return "noisejax" + known.removeprefix("nj")
        name = self.names.get(id(function), getattr(function, "__name__", ""))
        if not name or name == "<lambda>":
            raise ValueError(
                f"to_dict: {function!r} has no name. Name it: noise.to_dict(functions={{'name': function}})."
            )
        if self.used.setdefault(name, function) is not function:
            raise ValueError(
                f"to_dict: two functions are called {name!r}. Name them: noise.to_dict(functions={{'name': function}})."
            )
        return name

    def value(self, value: Any) -> Any:
        if isinstance(value, Noise):
            return {"noise": self.noise(value)}
        if isinstance(value, Tracer):
            raise TypeError("to_dict: an amount is traced. Call to_dict outside of jit and other transformations.")
        if isinstance(value, (np.generic, np.ndarray, jax.Array)):
            return {"array": _array_node(value)}
        if isinstance(value, tuple):
            return {"tuple": [self.value(part) for part in value]}
        if isinstance(value, Schedule):
            return {"schedule": self.function(value.function)}
        if isinstance(value, Fitted):
            fields = {field.name: self.value(getattr(value, field.name)) for field in fields_of(value)}
            return {"fitted": _class_address(type(value)), "fields": fields}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):  # static parts of a fitted value: a schema
            fields = {field.name: self.value(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"dataclass": _class_address(type(value)), "fields": fields}
        if isinstance(value, PartitionSpec):
            return {"partition_spec": self.value(tuple(value))}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if callable(value):
            return {"function": self.function(value)}
        raise TypeError(f"to_dict: {value!r}, a {type(value).__name__}, cannot be written as JSON.")


def _array_node(value: Any) -> dict[str, Any]:
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        raise TypeError(f"to_dict: an amount is an array of {value.dtype}, which cannot be written as JSON.")
    flat = np.asarray(value).reshape(-1)
    if jnp.issubdtype(value.dtype, jnp.floating):
        # float64 holds every narrower float, and JSON has no NaN and no infinities.
        data: list = [number if math.isfinite(number) else repr(number) for number in flat.astype(np.float64).tolist()]
    elif jnp.issubdtype(value.dtype, jnp.integer) or value.dtype == jnp.bool_:
        data = flat.tolist()
    else:
        raise TypeError(f"to_dict: an amount is an array of {value.dtype}, which cannot be written as JSON.")
    return {"dtype": str(value.dtype), "shape": list(value.shape), "data": data}


def _class_address(kind: type) -> str:
    return address(kind).replace("nj.", "noisejax.", 1)


def from_dict(document: Mapping[str, Any], functions: Mapping[str, Callable] | None = None) -> Noise:
    """The noise that `Noise.to_dict` has written.

    Args:
      document: the result of `Noise.to_dict`, also after `json.dumps` and `json.loads`.
      functions: the functions and fitted classes that are not part of this library, by name.

    Returns:
      A noise equal to the one that was written.

    Raises:
      ValueError: a different document, one of a different version, or one with a function that is not given.

    Example:
      >>> import json, noisejax as nj
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.clip(0, 1))
      >>> text = json.dumps(noise.to_dict())
      >>> nj.from_dict(json.loads(text)) == noise
      True
    """
    if not isinstance(document, Mapping) or "noisejax" not in document or "noise" not in document:
        raise ValueError(f"from_dict: document must be the result of noise.to_dict(), got {document!r}.")
    if not isinstance(document["noisejax"], int) or document["noisejax"] != VERSION:
        raise ValueError(
            f"from_dict: the document has version {document['noisejax']!r}, but this noisejax reads version {VERSION}."
        )
    try:
        return _Reader(functions or {}).noise(document["noise"])
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"from_dict: document is not the result of noise.to_dict(): {error}.") from error


class _Reader:
    def __init__(self, functions: Mapping[str, Callable]):
        self.functions = functions

    def noise(self, node: Mapping[str, Any]) -> Noise:
        function = self.function(node["function"])
        amounts = {name: self.value(node["amounts"][name]) for name in _in_order(function, node["amounts"])}
        options = tuple((name, self.value(value)) for name, value in sorted(node["options"].items()))
        noise = Noise(function, amounts, options, bool(node.get("learn", False)))
        _check(noise)
        return noise

    def function(self, name: str) -> Any:
        if name in self.functions:
            return self.functions[name]
        if not name.startswith("noisejax."):
            raise ValueError(f"from_dict: {name!r} is not a noise of noisejax. Pass it: functions={{{name!r}: ...}}.")
        if (short := name.removeprefix("noisejax.")) in Combinator.registry:
            return Combinator.registry[short]
        function = _public(short)
        if not hasattr(function, "__noise__"):
            raise ValueError(f"from_dict: {name!r} is not a noise of noisejax.")
        return function

    def value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if "noise" in value:
            return self.noise(value["noise"])
        if "array" in value:
            node = value["array"]
            numbers = [float(number) if isinstance(number, str) else number for number in node["data"]]
            return np.asarray(numbers, jnp.dtype(node["dtype"])).reshape(node["shape"])
        if "tuple" in value:
            return tuple(self.value(part) for part in value["tuple"])
        if "schedule" in value:
            return Schedule(self.function(value["schedule"]))
        if "float" in value:
            return float(value["float"])
        if "function" in value:
            return self.function(value["function"])
        if "partition_spec" in value:
            return PartitionSpec(*self.value(value["partition_spec"]))
        if "fitted" in value:
            kind = self.functions.get(value["fitted"]) or _fitted_class(value["fitted"])
            if not (isinstance(kind, type) and issubclass(kind, Fitted)):
                raise ValueError(f"from_dict: {value['fitted']!r} is not an nj.Fitted.")
            return kind(**{name: _on_device(self.value(part)) for name, part in value["fields"].items()})
        if "dataclass" in value:
            kind = _public(value["dataclass"].removeprefix("noisejax."))
            if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
                raise ValueError(f"from_dict: {value['dataclass']!r} is not a dataclass of noisejax.")
            return kind(**{name: self.value(part) for name, part in value["fields"].items()})
        raise ValueError(f"from_dict: {sorted(value)} is not a value that noise.to_dict() writes.")


def _on_device(value: Any) -> Any:
    held = isinstance(value, np.ndarray) and jax.dtypes.canonicalize_dtype(value.dtype) == value.dtype
    return jnp.asarray(value) if held else value  # float64 stays on the host unless x64 is enabled


def _fitted_class(name: str) -> Any:
    """A class of this library that is derived from `Fitted`, by its address, whether users see its name or not."""
    kinds = [Fitted]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return next((k for k in kinds if k.__module__.startswith("noisejax.") and _class_address(k) == name), None)


def _in_order(function: Any, names: Iterable[str]) -> list[str]:
    """Names of amounts in the order in which a `Noise` holds them, for any order in the JSON."""
    parameters = list(inspect.signature(function.body if isinstance(function, Combinator) else function).parameters)
    return sorted(names, key=lambda name: (parameters.index(name) if name in parameters else len(parameters), name))


def _check(noise: Noise) -> None:
    """Requires that the amounts of this library's noises lie in their ranges, as `bind` does."""
    spec = getattr(noise.function, "__noise__", None)
    if spec is None:
        return
    for name, value in noise.amounts.items():
        if name not in spec.amounts:
            raise ValueError(f"from_dict: {address(noise.function)} has no amount {name!r}.")
        if name in spec.ranges and isinstance(value, np.ndarray):
            spec.ranges[name](f"from_dict: {address(noise.function)}", name, value[()] if value.ndim == 0 else value)


def _public(name: str) -> Any:
    """A public object of this library, by its name without the prefix `noisejax.`."""
    *modules, last = name.split(".")
    if any(part.startswith("_") for part in (*modules, last)):
        raise ValueError(f"from_dict: {name!r} is not a public name of noisejax.")
    return getattr(importlib.import_module(".".join(["noisejax", *modules])), last)


Noise.writers.update(code=code, dict=to_dict)
