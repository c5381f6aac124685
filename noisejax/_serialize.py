"""A noise written down: as code that makes it again (its repr), and as a dictionary for JSON."""

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

from noisejax._contract import Fitted, address, fields_of
from noisejax._noise import Combinator, Noise, Schedule

VERSION = 1
_WHOLE = 16  # arrays of up to so many entries are written out in a repr


def code(noise: Noise) -> str:
    """Code that makes the noise, with `nj` and `np` imported as usual; long arrays by dtype and shape alone."""
    function = noise.function
    if isinstance(function, Combinator):
        arguments, keywords = (function.spelled or _spelled)(noise)
        keywords = {n: v for n, v in keywords.items() if not _is_default(function, n, v)}
        text = f"nj.{function.name}({_arguments(arguments, keywords)})"
    elif not noise.amounts and not noise.options and not hasattr(function, "__noise__"):
        return address(function)  # a user's function (key, x) -> x, which combinators take as it is
    else:
        text = f"nj.bind({_arguments([function], {**noise.amounts, **dict(noise.options)})})"
    return f"nj.learnable({text})" if noise.learn and not isinstance(function, Combinator) else text


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
    """Writes nodes; remembers whose names were used, so that one name never stands for two functions."""

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
                f"to_dict: {function!r} has no name of its own. Name it: noise.to_dict(functions={{'name': function}})."
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
            raise TypeError("to_dict: an amount is traced. Call it outside of jit and other transformations.")
        if isinstance(value, (np.generic, np.ndarray, jax.Array)):
            return {"array": _array_node(value)}
        if isinstance(value, tuple):
            return {"tuple": [self.value(part) for part in value]}
        if isinstance(value, Schedule):
            return {"schedule": self.function(value.function)}
        if isinstance(value, Fitted):
            fields = {field.name: self.value(getattr(value, field.name)) for field in fields_of(value)}
            return {"fitted": _class_address(type(value)), "fields": fields}
        if isinstance(value, PartitionSpec):
            return {"partition_spec": self.value(tuple(value))}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if callable(value):
            return {"function": self.function(value)}
        raise TypeError(f"to_dict: {value!r}, a {type(value).__name__}, has no form in JSON.")


def _array_node(value: Any) -> dict[str, Any]:
    if jnp.issubdtype(value.dtype, jax.dtypes.extended):
        raise TypeError(f"to_dict: an amount is an array of {value.dtype}, which has no form in JSON.")
    flat = np.asarray(value).reshape(-1)
    if jnp.issubdtype(value.dtype, jnp.floating):
        # float64 holds every narrower float, and JSON has no NaN and no infinities.
        data: list = [number if math.isfinite(number) else repr(number) for number in flat.astype(np.float64).tolist()]
    elif jnp.issubdtype(value.dtype, jnp.integer) or value.dtype == jnp.bool_:
        data = flat.tolist()
    else:
        raise TypeError(f"to_dict: an amount is an array of {value.dtype}, which has no form in JSON.")
    return {"dtype": str(value.dtype), "shape": list(value.shape), "data": data}


def _class_address(kind: type) -> str:
    return address(kind).replace("nj.", "noisejax.", 1)


def from_dict(document: Mapping[str, Any], functions: Mapping[str, Callable] | None = None) -> Noise:
    """The noise that `Noise.to_dict` wrote.

    Args:
      document: what `Noise.to_dict` gave, or what `json.loads` makes of it.
      functions: by their names, the functions and fitted classes that are not this library's.

    Returns:
      A noise equal to the one that was written.

    Raises:
      ValueError: no such document, one of a later version, or one that names a function that is not given.

    Example:
      >>> import json, noisejax as nj
      >>> noise = nj.chain(nj.bind(nj.gaussian, std=0.1), nj.clip(0, 1))
      >>> text = json.dumps(noise.to_dict())
      >>> nj.from_dict(json.loads(text)) == noise
      True
    """
    if not isinstance(document, Mapping) or "noisejax" not in document or "noise" not in document:
        raise ValueError(f"from_dict: document must be what noise.to_dict() gave, got {document!r}.")
    if document["noisejax"] != VERSION:
        raise ValueError(
            f"from_dict: the document has version {document['noisejax']!r}, and this noisejax reads version {VERSION}."
        )
    try:
        return _Reader(functions or {}).noise(document["noise"])
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"from_dict: document is not what noise.to_dict() gave: {error}.") from error


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
            raise ValueError(f"from_dict: {name!r} is no noise of noisejax. Give it: functions={{{name!r}: ...}}.")
        if (short := name.removeprefix("noisejax.")) in Combinator.registry:
            return Combinator.registry[short]
        function = _public(short)
        if not hasattr(function, "__noise__"):
            raise ValueError(f"from_dict: {name!r} is no noise of noisejax.")
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
            kind = self.functions.get(value["fitted"]) or _public(value["fitted"].removeprefix("noisejax."))
            if not (isinstance(kind, type) and issubclass(kind, Fitted)):
                raise ValueError(f"from_dict: {value['fitted']!r} is no nj.Fitted.")
            return kind(**{name: _on_device(self.value(part)) for name, part in value["fields"].items()})
        raise ValueError(f"from_dict: {sorted(value)} is no value that noise.to_dict() writes.")


def _on_device(value: Any) -> Any:
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def _in_order(function: Any, names: Iterable[str]) -> list[str]:
    """Names of amounts in the order in which a `Noise` holds them, whatever order JSON has kept."""
    parameters = list(inspect.signature(function.body if isinstance(function, Combinator) else function).parameters)
    return sorted(names, key=lambda name: (parameters.index(name) if name in parameters else len(parameters), name))


def _check(noise: Noise) -> None:
    """Amounts of this library's noises lie in their ranges, as `bind` would have them."""
    spec = getattr(noise.function, "__noise__", None)
    if spec is None:
        return
    for name, value in noise.amounts.items():
        if name not in spec.amounts:
            raise ValueError(f"from_dict: {address(noise.function)} has no amount {name!r}.")
        if name in spec.ranges and isinstance(value, np.ndarray):
            spec.ranges[name](f"from_dict: {address(noise.function)}", name, value[()] if value.ndim == 0 else value)


def _public(name: str) -> Any:
    """A public name of this library, by its address without `noisejax`."""
    *modules, last = name.split(".")
    if any(part.startswith("_") for part in (*modules, last)):
        raise ValueError(f"from_dict: {name!r} is no public name of noisejax.")
    return getattr(importlib.import_module(".".join(["noisejax", *modules])), last)


Noise.writers.update(code=code, dict=to_dict)
