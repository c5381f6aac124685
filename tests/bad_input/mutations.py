"""Wrong arguments, and what is right for each: the mutations of one argument of a right call."""

import fractions
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj


class Mutation(NamedTuple):
    """A value for an argument, and its verdict.

    The verdicts: ``same``, the result is that of the right call; ``as``, that of the canonical value; ``wrong``, there
    is no right result; ``open``, a result must keep the contract of shapes, dtypes and finite values. An error in the
    library's words is right for each of them.
    """

    name: str
    value: Any
    verdict: str
    canonical: Any = None


class Traced(NamedTuple):
    """The value is an argument of `jax.jit`, so that only its shape and dtype are known."""

    value: Any


class Calls(NamedTuple):
    """The call itself is wrong: a function from positional and named arguments to those of the wrong call."""

    change: Callable


class Tensor:
    """An array of another library, as far as NumPy needs it."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype, self.ndim, self.shape = f"tensor.{self.values.dtype}", self.values.ndim, self.values.shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)

    def __len__(self):
        return len(self.values)


class Anything:
    """An object that is nothing in particular."""

    def __repr__(self):
        return "<anything>"


ARRAYS = (np.ndarray, jax.Array, np.generic)
SMALL = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float16")


def is_key(value: Any) -> bool:
    return isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def kind_of(value: Any) -> str:
    if is_key(value):
        return "key"
    if isinstance(value, (nj.Noise, nj.Padded)):
        return type(value).__name__
    for kind in (bool, str):
        if isinstance(value, kind):
            return kind.__name__
    if isinstance(value, (int, np.integer)):
        return "int"
    if isinstance(value, (float, np.floating)):
        return "float"
    if isinstance(value, ARRAYS):
        return "array"
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        return "tuple"
    if isinstance(value, dict):
        return "dict"
    return "function" if callable(value) else "other"


def mutations(call, name: str) -> list[Mutation]:
    """Every mutation of an argument of a call, in a fixed order."""
    base = call.arguments[name]
    kind = kind_of(base)
    found = [*_nothing(call, name, base, kind), *globals()[f"_{kind.lower()}"](call, name, base)]
    leaves = jax.tree.leaves(base)
    if kind in ("key", "array", "float", "int", "Noise", "Padded", "dict", "bool") and all(map(_may_be_traced, leaves)):
        found.append(Mutation("traced", Traced(base), "same"))
    skipped = (*call.skip.get(name, ()), *(("a function",) if name == "only" else ()))  # of a path and a leaf
    return [m for m in found if m.name not in skipped]


def _may_be_traced(leaf: Any) -> bool:
    return isinstance(leaf, (bool, int, float, *ARRAYS))


def of_the_call(call) -> list[Mutation]:
    """Mutations of the list of arguments: their number, order and names."""
    names = list(call.arguments)
    found = [
        Mutation("unknown name", Calls(lambda given: (given.args, {**given.keywords, "quux": 1})), "wrong"),
        Mutation("one more", Calls(lambda given: ((*given.args, *[Anything()] * 30), given.keywords)), "wrong"),
    ]
    for needed in call.needed:

        def without(given, needed=needed):
            return (), {n: v for n, v in {**given.named, **given.keywords}.items() if n != needed}

        found.append(Mutation(f"no {needed}", Calls(without), "wrong"))
    if len(call.given(call.arguments).args) > 1 and kind_of(call.arguments[names[0]]) != kind_of(
        call.arguments[names[1]]
    ):

        def swapped(given):
            return (given.args[1], given.args[0], *given.args[2:]), given.keywords

        found.append(Mutation("swapped", Calls(swapped), "wrong"))
    return [m for m in found if m.name not in call.skip.get("", ())]


def _nothing(call, name: str, base: Any, kind: str) -> Iterator[Mutation]:
    """What is no argument of any kind, unless the argument may be any tree."""
    if kind == "dict" and name in call.anything:
        return
    default = call.defaults.get(name, Anything)
    if default is None:
        yield Mutation("None", None, "open")
    elif name not in call.none:
        yield Mutation("None", None, "wrong")
    yield Mutation("an object", Anything(), "wrong")
    if kind not in ("str", "dict", "function"):
        yield Mutation("a string", "a", "wrong")
        yield Mutation("bytes", b"1", "wrong")
    if kind not in ("dict",):
        yield Mutation("a dict", {"a": 1}, "wrong")
    if kind != "tuple":
        yield Mutation("a set", {1, 2}, "wrong")
    if kind not in ("function", "Noise", "key"):
        yield Mutation("a function", lambda *args, **keywords: None, "wrong")
        yield Mutation("a key", jax.random.key(3), "open" if kind == "dict" else "wrong")
    if kind != "function":
        yield Mutation("a class", Anything, "wrong")
    tree = "open" if kind == "dict" else "wrong"  # an array is a tree of one leaf
    if kind not in ("array", "float", "key", "bool", "int"):
        yield Mutation("a number", 3, tree)
    if kind not in ("array", "float", "tuple", "key", "int", "bool", "Padded"):
        yield Mutation("an array", np.ones((2, 2), np.float32), tree)


def _key(call, name: str, base: Any) -> Iterator[Mutation]:
    yield Mutation("an int", 42, "wrong")
    yield Mutation("an int64", np.int64(42), "wrong")
    yield Mutation("a float", 0.5, "wrong")
    yield Mutation("an array", np.ones((2, 3), np.float32), "wrong")
    yield Mutation("raw", jax.random.key_data(base), "same")
    yield Mutation("raw of numpy", np.asarray(jax.random.key_data(base)), "same")
    yield Mutation("raw of four", np.zeros(4, np.uint32), "wrong")
    yield Mutation("raw of int32", np.zeros(2, np.int32), "wrong")
    yield Mutation("keys", jax.random.split(base, 3), "wrong")
    yield Mutation("one key in a row", jax.random.split(base, 1), "wrong")
    yield Mutation("no keys", jax.random.split(base, 0), "wrong")
    yield Mutation("rbg", jax.random.key(0, impl="rbg"), "open")
    yield Mutation("ours", nj.key(0), "open")
    yield Mutation("a list", [1, 2], "wrong")
    if name not in ("rngs",):
        from flax import nnx

        yield Mutation("rngs", nnx.Rngs(0), "wrong")
        yield Mutation("a stream", nnx.Rngs(0).default, "wrong")


def _float(call, name: str, base: float) -> Iterator[Mutation]:
    numpy_kinds, jax_kinds = (np.float32, np.float64, np.float16), (jnp.float32, jnp.bfloat16, jnp.float8_e4m3fn)
    for library, kinds in (("numpy", numpy_kinds), ("jax", jax_kinds)):
        for kind in kinds:
            with np.errstate(over="ignore"):
                value = kind(base)
            if np.float32(value) == np.float32(base):
                yield Mutation(f"{kind.__name__} of {library}", value, "same")
    yield Mutation("an array without axes", np.asarray(base), "same")
    yield Mutation("a tensor", Tensor(np.float32(base)), "same")
    yield Mutation("big-endian", np.asarray(base, ">f4"), "same")
    yield Mutation("a fraction", fractions.Fraction(base).limit_denominator(64), "open")
    for value in (True, False, 1, np.int64(1), np.uint8(1), np.bool_(True)):
        yield Mutation(f"{type(value)} {value}", value, "as", float(value))
    # The values of an array of JAX are never read, so one out of range counts as it does inside jit.
    yield Mutation("int32 of jax", jnp.int32(1), "as", jnp.float32(1))
    yield Mutation("zero", 0.0, "open")
    wrong = [
        1j,
        np.complex64(base),
        np.array(["1"]),
        np.array([None]),
        np.datetime64("2020-01-01"),
        "0.5",
        [[1], [1, 2]],
    ]
    for value in wrong:
        yield Mutation(f"{type(value).__name__} {value}", value, "wrong")
    if name not in call.anything:
        yield Mutation("nan", float("nan"), "wrong")
        yield Mutation("nan of float32", np.float32("nan"), "wrong")
        yield Mutation("nan in an array", np.array([base, np.nan], np.float32), "wrong")
    if name not in call.signed:
        yield Mutation("negative", -0.1, "wrong")
        yield Mutation("negative of numpy", np.float32(-0.1), "wrong")
    if name in ("rate", "dropout_rate", "start"):
        yield Mutation("above one", 1.5, "wrong")
        yield Mutation("an int above one", 2, "wrong")
    for value in (float("inf"), -float("inf"), 1e300, 1e-300, 3e38, 1e6):
        yield Mutation(str(value), value, "open")
    for shape in ((0,), (1,), (7,), (2, 2), (1,) * 6):
        yield Mutation(f"of shape {shape}", np.full(shape, base, np.float32), "open")
    yield Mutation("a list of one", [base], "open")
    yield Mutation("a series of strings", _series(["a", "b"]), "wrong")


def _int(call, name: str, base: int) -> Iterator[Mutation]:
    for kind in (np.int64, np.int32, np.uint8):
        if 0 <= base < 256 or kind != np.uint8:
            yield Mutation(kind.__name__, kind(base), "same")
    yield Mutation("an array without axes", np.asarray(base), "same")
    yield Mutation("of jax", jnp.int32(base), "same")
    yield Mutation("a tensor", Tensor(base), "same")
    yield Mutation("a whole float", float(base), "same")
    for value in (True, False):
        yield Mutation(f"bool {value}", value, "as", int(value))
    for value in (2.5, float("nan"), 1j, "3", np.array(["1"]), [[1], [1, 2]], np.ones((2, 2))):
        yield Mutation(f"{type(value).__name__} {value}", value, "wrong")
    yield Mutation("zero", 0, "open")
    if name not in call.signed:
        yield Mutation("negative", -1, "wrong")
    if name not in call.slow:
        yield Mutation("huge", 2**70, "open" if name in call.anything else "wrong")
        yield Mutation("negative and huge", -(2**70), "wrong" if name not in call.anything else "open")


def _bool(call, name: str, base: bool) -> Iterator[Mutation]:
    yield Mutation("of numpy", np.bool_(base), "same")
    yield Mutation("an int", int(base), "same")
    for value in ("no", 2, 0.5, [], [1], np.ones(2), float("nan")):
        yield Mutation(f"{type(value).__name__} {value}", value, "wrong")


def _str(call, name: str, base: str) -> Iterator[Mutation]:
    yield Mutation("of numpy", np.str_(base), "same")
    if name not in call.anything:
        for value in ("quux", "", base + " ", ("quux",), b"quux"):
            yield Mutation(repr(value), value, "wrong")
        yield Mutation("in a list", [base], "open")
    yield Mutation("a float", 0.5, "wrong")


def _tuple(call, name: str, base: tuple) -> Iterator[Mutation]:
    yield Mutation("a list", list(base), "same")
    if all(isinstance(v, (int, float)) for v in base):
        yield Mutation("an array", np.asarray(base), "same")
        yield Mutation("of jax", jnp.asarray(base), "same")
        yield Mutation("a tensor", Tensor(base), "same")
        for value in ("a", None, Anything(), float("nan"), 1j):
            yield Mutation(f"{type(value).__name__} in it", (value, *base[1:]), "wrong")
        yield Mutation("huge in it", (2**70, *base[1:]), "open")
        yield Mutation("negative in it", (-100, *base[1:]), "open")
    else:
        for value in ("a", None, Anything()):
            yield Mutation(f"{type(value).__name__} in it", (value, *base[1:]), "open")
    changed = {"empty": (), "twice": (*base, *base), "one less": base[:-1], "nested": (base,)}
    yield from (Mutation(title, value, "open") for title, value in changed.items())
    yield Mutation("a float", 0.5, "wrong")


def _array(call, name: str, base: Any) -> Iterator[Mutation]:
    given = np.asarray(base)
    if isinstance(base, np.ndarray):
        yield Mutation("of jax", jnp.asarray(base), "same")
    else:
        yield Mutation("of numpy", given, "same")
    yield Mutation("a list", given.tolist(), "same")
    yield Mutation("a tensor", Tensor(given), "same")
    yield Mutation("big-endian", given.astype(given.dtype.newbyteorder(">")), "same")
    yield Mutation("transposed in memory", np.asfortranarray(given), "same")
    if given.ndim in (1, 2):
        yield Mutation("of pandas", _series(given) if given.ndim == 1 else _frame(given), "same")
    yield Mutation("of strings", given.astype(str), "wrong")
    yield Mutation("of objects", np.full(given.shape, None), "wrong")
    yield Mutation("of dates", np.zeros(given.shape, "M8[s]"), "wrong")
    yield Mutation("a ragged list", [[1], [1, 2]], "wrong")
    yield Mutation("a record", np.zeros(given.shape, [("a", "f4")]), "wrong")
    yield Mutation("complex", given.astype(np.complex64), "open" if name in call.anything else "wrong")
    if given.dtype.kind == "f":
        yield Mutation("float64", given.astype(np.float64), "same")
        for dtype in SMALL:
            yield Mutation(dtype, jnp.asarray(given).astype(dtype), "open")
        yield Mutation("nan", np.full_like(given, np.nan), "open")
        yield Mutation("inf", np.full_like(given, np.inf), "open")
        yield Mutation("huge", np.full_like(given, 1e38), "open")
        yield Mutation("integers", given.astype(np.int32), "open")
    elif given.dtype.kind in "iu":
        yield Mutation("int64", given.astype(np.int64), "same")
        yield Mutation("uint8", given.astype(np.uint8), "open")
        yield Mutation("int8", given.astype(np.int8), "open")
        yield Mutation("floats", given.astype(np.float32), "open")
        yield Mutation("nan", np.full(given.shape, np.nan, np.float32), "open")
        yield Mutation("negative", -1 - given, "wrong" if name in call.classes else "open")
        yield Mutation("huge", np.full(given.shape, 2**31 - 1, np.int32), "wrong" if name in call.classes else "open")
    yield Mutation("booleans", given.astype(bool), "open")
    yield Mutation("below 0", -1 - given if given.dtype.kind == "f" else ~given, "open")
    yield Mutation("one more axis", given[None], "open")
    yield Mutation("a last axis", given[..., None], "open")
    yield Mutation("flat", given.reshape(-1), "open")
    yield Mutation("a scalar", given.reshape(-1)[0], "open")
    yield Mutation("a number", 0.5, "open")
    yield Mutation("no examples", given[:0], "wrong" if name in call.batch else "open")
    yield Mutation("no features", given[..., :0], "open")
    if given.ndim:
        worse = "wrong" if name in call.batch else "open"
        yield Mutation("an example less", given[:-1], worse)
        yield Mutation("twice the examples", np.concatenate([given, given]), worse)
        yield Mutation("one example", given[:1], "open")
    yield Mutation("an example", given[0] if given.ndim else given, "open")


def _noise(call, name: str, base: Any) -> Iterator[Mutation]:
    yield Mutation("not bound", nj.gaussian, "wrong")
    yield Mutation("a list", [base], "open")
    yield from _results(call, name)


def _function(call, name: str, base: Any) -> Iterator[Mutation]:
    yield Mutation("a name", "relu", "wrong")
    if isinstance(base, type):
        return
    yield Mutation("takes nothing", lambda: None, "wrong")
    yield from _results(call, name)


def _results(call, name: str) -> Iterator[Mutation]:
    """Functions that take anything, and return what nobody can use."""
    verdict = "open" if name in call.anything or kind_of(call.arguments[name]) == "Noise" else "wrong"
    yield Mutation("gives None", lambda *args, **keywords: None, verdict)
    yield Mutation("gives a string", lambda *args, **keywords: "a", verdict)
    yield Mutation("gives an object", lambda *args, **keywords: Anything(), verdict)
    yield Mutation("gives a tuple", lambda *args, **keywords: (jnp.ones(2), jnp.ones(2)), "open")
    yield Mutation("gives a number", lambda *args, **keywords: jnp.float32(1), "open")
    yield Mutation("gives no rows", lambda *args, **keywords: jnp.ones((0, 3)), "open")
    yield Mutation("gives other rows", lambda *args, **keywords: jnp.ones((7, 5)), "open")


def _padded(call, name: str, base: nj.Padded) -> Iterator[Mutation]:
    yield Mutation("an array", base.values, "open")
    yield Mutation("a tuple", (base.values, base.lengths), "wrong")
    yield Mutation("of numpy", nj.Padded(*map(np.asarray, jax.tree.leaves(base))), "same")
    yield Mutation("no examples", nj.Padded(base.values[:0], base.lengths[:0]), "open")
    yield Mutation("nothing in it", nj.Padded(base.values, 0 * base.lengths), "open")


def _dict(call, name: str, base: dict) -> Iterator[Mutation]:
    yield Mutation("empty", {}, "open")
    yield Mutation("one more", {**base, "quux": np.ones(3, np.float32)}, "open")
    yield Mutation("one less", dict(list(base.items())[1:]), "open")
    yield Mutation("the values", list(base.values()), "open")
    first = next(iter(base))
    allowed = ("None", "key") if name not in call.anything else ("None", "key", "object", "string")
    for title, value in (("object", Anything()), ("string", "a"), ("None", None), ("key", jax.random.key(3))):
        yield Mutation(f"{title} in it", {**base, first: value}, "open" if title in allowed else "wrong")
    yield Mutation("nan in it", {**base, first: np.full((2, 2), np.nan, np.float32)}, "open")


def _other(call, name: str, base: Any) -> Iterator[Mutation]:
    yield Mutation("its class", type(base), "wrong")
    yield Mutation("a tuple", (0.1, (0, 1)), "wrong")


def _series(values):
    import pandas

    return pandas.Series(values)


def _frame(values):
    import pandas

    return pandas.DataFrame(values)
