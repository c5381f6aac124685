"""What an outcome is: a right result, an error in the library's words, an internal error, or a silent wrong result."""

import dis
import pathlib
import re
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import noisejax
from bad_input.mutations import ARRAYS, Calls, Mutation, Traced, is_key, kind_of

RIGHT, CLEAR, INTERNAL, SILENT = "right", "clear", "internal", "silent"
CALLS = str(pathlib.Path(__file__).parent / "calls")
PACKAGE = str(pathlib.Path(noisejax.__file__).parent)
OF_PYTHON = re.compile(
    r"missing \d+ required|unexpected keyword|positional argument|multiple values|takes no arguments"
)
ALSO_CALLED = {
    "table": "table|fill",
    "values": "values|x",
    "integers": "integers|columns",
    "columns": "columns|classes|kind",  # what a dict of columns holds are their classes or their kind
    "function": "function|lambda|value|std",  # the amount that a schedule gives
    "step": "step|std",
    "noise": "noises?|bind|certificate",
    "logits": "logits|labels|model",
    "metrics": "metrics?",
    "params": "params|logits",  # the logits that a model of wrong parameters makes
    "dropout_rate": "dropout_rate|rate",
    "lengths": "lengths?",
    "labels": "labels|args",
    "predict": "predict|model|logits|loss",
    "logits_fn": "logits_fn|model|logits|loss",
    "alpha": "alpha",
    "batch": "entry|batch|x",
    "*0": ".*",
    "*1": ".*",
    "spec": "spec|noise",
    "args": "args|loss|labels",
    "rngs": "rngs|key",
    "dropout_rng": "dropout_rng|key",
    "after": "after|noisy",
    "x": "x|inputs|values|embeddings|logits",  # the logits that a model makes of a wrong x
    "rate": "rate|dropout_rate",
}
SECONDS = 60


class Outcome(NamedTuple):
    kind: str
    why: str = ""


class TooLong(BaseException):
    """A call that does not end."""


def run(call, arguments: dict[str, Any], change: Callable | None = None) -> tuple[Any, BaseException | None, list]:
    """The leaves of a result with its structure, or the error; and warnings."""
    given = call.given(arguments)
    args, keywords = (given.args, given.keywords) if change is None else change(given)
    previous = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of processor time: a busy machine makes no call wrong
    jax.config.update("jax_traceback_filtering", "off")  # the raise is judged by where it is
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return plain(call.use(call.called(*args, **keywords))), None, caught
        except (Exception, TooLong) as error:
            return None, error, caught
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)


def _stop(*_):
    raise TooLong(f"no result after {SECONDS} seconds of processor time")


def run_traced(call, name: str, value: Any) -> tuple[Any, BaseException | None, list]:
    """The result of a call inside `jax.jit`, where one argument is traced."""
    found = {}

    def inside(value):
        result, error, caught = run(call, {**call.arguments, name: value})
        found["error"], found["caught"] = error, caught
        if error is not None:
            raise error
        found["structure"] = result[1]
        return [leaf for leaf in result[0] if isinstance(leaf, ARRAYS)]

    try:
        run_it = jax.jit(inside)
        leaves = jax.eval_shape(run_it, value) if call.expensive else run_it(value)
    except Exception as error:
        return None, found.get("error") or error, found.get("caught", [])
    return (leaves, found["structure"]), None, found["caught"]


def plain(result: Any) -> tuple[list, Any]:
    """The leaves of a result as arrays, and its structure."""
    leaves, structure = jax.tree.flatten(result)
    return [_data(leaf) for leaf in leaves], structure


def _data(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(leaf)
    return leaf


def judge(call, name: str, mutation: Mutation, base: tuple) -> Outcome:
    """The outcome of one spoilt call."""
    value = mutation.value
    if isinstance(value, Calls):
        result, error, caught = run(call, call.arguments, value.change)
    elif isinstance(value, Traced):
        result, error, caught = run_traced(call, name, value.value)
    else:
        result, error, caught = run(call, {**call.arguments, name: value})
    for warning in caught:
        if not re.match(r"[\w.]+: ", str(warning.message)):
            return Outcome(INTERNAL, f"warns {warning.category.__name__}: {warning.message}")
    if error is not None:
        why = unclear(call, name, value, error)
        return Outcome(INTERNAL, why) if why else Outcome(CLEAR, f"{type(error).__name__}: {error}")
    why = wrong(call, name, mutation, result, base)
    return Outcome(SILENT, why) if why else Outcome(RIGHT)


def unclear(call, name: str, value: Any, error: BaseException) -> str:
    """Why an error is not in the library's words; empty if it is."""
    text = f"{type(error).__name__}: {error}"
    short = call.address.rpartition(".")[2]
    if isinstance(value, Calls) and isinstance(error, TypeError) and OF_PYTHON.search(str(error)):
        return (
            ""
            if re.search(
                rf"\b({short}|__init__|{call.called.__name__ if hasattr(call.called, '__name__') else short})\b",
                str(error),
            )
            else f"does not name the function: {text}"
        )
    if not isinstance(error, (TypeError, ValueError, LookupError, FloatingPointError)):
        return f"of its own type: {text}"
    frames = list(traceback.walk_tb(error.__traceback__))
    files = [f.f_code.co_filename for f, _ in frames]
    last = max((i for i, file in enumerate(files) if file.startswith(PACKAGE)), default=-1)
    if last >= 0 and any(file.startswith(CALLS) for file in files[last:]):
        return ""  # the user's own function raised it, about values that the library has accepted
    own = [v.__name__ for v in (value, *call.arguments.values()) if hasattr(v, "__name__")]
    if isinstance(error, TypeError) and OF_PYTHON.search(str(error)) and any(n in str(error) for n in own):
        return ""  # Python names the user's own function
    frame, _ = frames[-1]
    place = f"{frame.f_code.co_filename.replace(PACKAGE, 'noisejax')}:{frames[-1][1]}"
    if not frame.f_code.co_filename.startswith(PACKAGE):
        ours = [
            f"{f.f_code.co_filename.replace(PACKAGE, '')}:{line}"
            for f, line in frames
            if f.f_code.co_filename.startswith(PACKAGE)
        ]
        return f"raised by {place} from {ours[-1] if ours else 'the test'}: {text}"
    if not raised(error):
        return f"no raise at {place}: {text}"
    message = str(error.args[0]) if error.args else ""
    head = re.match(r"`?([\w.<>]+)", message)
    heads = {short, "<lambda>", *call.heads}
    if not head or head[1].rpartition(".")[2] not in heads:
        return f"headed by another function at {place}: {text}"
    called = ALSO_CALLED.get(name, re.escape(name))
    if name and not re.search(rf"\b({called})\b", message):
        return f"does not name {name} at {place}: {text}"
    return ""


def raised(error: BaseException) -> bool:
    """Whether the innermost frame raised the error by a statement, and not by an operation that failed."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    at = next((i for i in dis.get_instructions(trace.tb_frame.f_code) if i.offset == trace.tb_lasti), None)
    return at is not None and at.opname in ("RAISE_VARARGS", "RERAISE")


def wrong(call, name: str, mutation: Mutation, result: tuple, base: tuple) -> str:
    """Why a result is wrong; empty if it is right, or if nothing says what is right."""
    value = mutation.value
    if isinstance(value, Traced):  # strings and the like do not leave a compiled function
        base = [leaf for leaf in base[0] if isinstance(leaf, ARRAYS)], base[1]
    if mutation.verdict == "wrong":
        return f"accepted, with the result {_short(result)}"
    if mutation.verdict == "same":
        return different(result, base, shapes_only=isinstance(value, Traced) and call.expensive)
    if mutation.verdict == "as":
        expected, error, _ = run(call, {**call.arguments, name: mutation.canonical})
        if error is not None:
            return f"accepted, but {mutation.canonical!r} gives {type(error).__name__}: {error}"
        return different(result, expected)
    return broken(call, name, mutation, result, base)


def different(result: tuple, expected: tuple, shapes_only: bool = False) -> str:
    if result[1] != expected[1] and not shapes_only:
        return f"has the structure {result[1]} instead of {expected[1]}"
    if len(result[0]) != len(expected[0]):
        return f"has {len(result[0])} leaves instead of {len(expected[0])}"
    for got, wanted in zip(result[0], expected[0], strict=True):
        if not hasattr(wanted, "dtype"):
            if got != wanted and not (got != got and wanted != wanted):
                return f"is {got!r} instead of {wanted!r}"
            continue
        if not isinstance(got, (*ARRAYS, jax.ShapeDtypeStruct)):
            return f"is a {type(got).__name__}"
        kept = jax.dtypes.canonicalize_dtype(got.dtype) == jax.dtypes.canonicalize_dtype(wanted.dtype)
        if got.shape != wanted.shape or not kept:
            return f"is {got.dtype}{got.shape} instead of {wanted.dtype}{wanted.shape}"
        if not shapes_only and not np.allclose(_wide(got), _wide(wanted), rtol=1e-3, atol=1e-4, equal_nan=True):
            return f"is {_short(result)} instead of {_short(expected)}"
    return ""


def broken(call, name: str, mutation: Mutation, result: tuple, base: tuple) -> str:
    """Why a result breaks the contract that holds for any argument."""
    value = mutation.value
    if call.noise and name == "x":
        given, got = jnp.asarray(value), result[0][0]
        if got.shape != given.shape or (got.dtype != given.dtype and not call.address.endswith(("hits", "keyless"))):
            return f"is {got.dtype}{got.shape} for x of {given.dtype}{given.shape}"
    number = isinstance(value, (int, float, np.number)) and kind_of(call.arguments[name]) == "float"
    if number and not call.shapes and list(map(np.shape, result[0])) != list(map(np.shape, base[0])):
        return f"has other shapes: {_short(result)}"
    finite = all(np.isfinite(_wide(leaf)).all() for leaf in base[0] if hasattr(leaf, "dtype"))
    known = _finite(value)
    if finite and known:
        overflows = mutation.name in ("huge", "3e+38", "1e+300")
        bad = np.isnan if overflows else lambda v: ~np.isfinite(v)
        if (call.noise or not overflows) and any(
            bad(_wide(leaf)).any() for leaf in result[0] if hasattr(leaf, "dtype")
        ):
            return f"is not finite: {_short(result)}"
    return ""


def _finite(value: Any) -> bool:
    leaves = [
        np.asarray(leaf)
        for leaf in jax.tree.leaves(value)
        if isinstance(leaf, (float, int, *ARRAYS)) and not is_key(leaf)
    ]
    return all(np.isfinite(_wide(leaf)).all() for leaf in leaves if leaf.dtype != object)


def _wide(leaf: Any) -> np.ndarray:
    leaf = np.asarray(leaf)
    if leaf.dtype.kind in "SUOMm" or leaf.dtype.names:
        return np.zeros(0)
    return leaf if leaf.dtype.kind in "biuc" else leaf.astype(np.float64)


def _short(result: tuple) -> str:
    return " ".join(str(leaf).replace("\n", " ")[:60] for leaf in result[0][:2])
