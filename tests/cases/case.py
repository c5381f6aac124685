"""What a row of the table says of a noise, the arrays of rows, and constructors that keep a row on one line."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj


def rows(shape=(8, 12), scale=1.0):
    """Features, sensors, activations: standard normal values times a scale."""
    return (scale * np.random.default_rng(7).standard_normal(shape)).astype(np.float32)


def whole():
    """Whole numbers, as floats."""
    return np.round(rows(scale=100.0))


def pictures(shape=(8, 12, 10, 3)):
    """Pictures in [0, 1), channels last, neither square nor even."""
    return np.random.default_rng(7).random(shape, np.float32)


def spectra(shape=(8, 16, 6)):
    """Series or spectrograms: examples, steps, channels."""
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


MARGINALS = nj.marginals(np.random.default_rng(8).standard_normal((100, 12)).astype(np.float32))
GROUPS = (0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8)


@dataclass(frozen=True, eq=False)  # a row is itself: the programs of the laws are kept by it
class Case:
    function: Callable
    amounts: dict  # amounts at which the noise does something
    neutral: dict  # amounts at which it is the identity
    other: dict  # other amounts of the same structure: they must cost no new trace
    x: Callable[[], np.ndarray] = rows
    options: dict = field(default_factory=dict)
    note: str = ""  # tells rows of one function apart
    elementwise: bool = True  # False: draws belong to examples, and only the batch axes may be sharded
    per_example: str | None = None  # an amount that may differ from example to example
    hits: bool = False  # says which elements it hits
    differentiable: bool = True  # gradients in x are those of its own formula (False: straight-through or none)
    integers: bool = False  # acts on integers and booleans of any kind
    codes: bool = False  # acts on integers from 0 to a few, and leaves others as they are
    images: bool = True  # acts on uint8 images
    draws: bool = True  # False: the key has no effect
    unit: bool = False  # white is 1 for floats and 255 for uint8 images
    gathers: bool = False  # takes values of other examples, and so communicates where the batch is sharded
    measures: bool = False  # its draw depends on x, so that laws about x's dtype hold only roughly
    flat: bool = False  # rounds x, so that its gradient in x is 0
    votes: bool = False  # repeats a step until no example changes, and so asks all devices where the batch is sharded
    close: float = 2e-6  # how far its values in two programs may be apart: a few ulp, as compilers contract operations
    heavy: bool = False  # every program of it takes seconds to compile
    reference: Callable | None = None  # scipy's distribution of what it makes of 0, from the scale: ``scale=0.3``

    @property
    def name(self) -> str:
        return self.function.__name__ + (f"-{self.note}" if self.note else "")

    def bind(self, *, learn: bool = False, **amounts) -> nj.Noise:
        noise = nj.bind(self.function, **{**self.amounts, **amounts}, **self.options)
        return nj.learnable(noise) if learn else noise

    def array(self, dtype=jnp.float32) -> jax.Array:
        x = self.x()
        if dtype == jnp.uint8:
            x = np.round(255 * (x - x.min()) / (np.ptp(x) or 1))
        return jnp.asarray(x.astype(dtype))  # cast by NumPy: a cast by JAX is one more program per shape

    def __repr__(self):
        return self.name


PROMISES = {f.name for f in fields(Case)} - {"function", "amounts", "neutral", "other", "options"}


def row(function: Callable, per_example: str | None = None, /, **given) -> Case:
    """A case, from everything it says by name: promises of `Case`, options of the noise, and amounts of the noise.

    An amount is one value, or a tuple of three: where the noise acts, where it is the identity, and another one.
    """
    parameters = inspect.signature(function).parameters
    promises = {name: given.pop(name) for name in PROMISES & given.keys()}
    amounts, options = {}, {}
    for name, value in given.items():
        if name not in parameters:
            raise TypeError(f"{function.__name__} has no parameter {name!r}, and no row promises it.")
        if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY:
            options[name] = value
        else:
            amounts[name] = value if type(value) is tuple else (value,) * 3
    acting, neutral, other = ({name: values[i] for name, values in amounts.items()} for i in range(3))
    return Case(function, acting, neutral, other, options=options, per_example=per_example, **promises)


def additive(function: Callable, amount: str, at: tuple = (0.3, 0.0, 0.7), /, *, reference, **more) -> Case:
    """Something happens to every element, at a scale or a precision.

    `reference` is the distribution of what is added, such as ``stats.laplace``. It is None where x is changed in other
    ways, which the noise's own tests judge.
    """
    return row(function, amount, **{amount: at}, reference=reference, **more)


def masking(function: Callable, rate: str = "rate", at: tuple = (0.3, 0.0, 0.9), /, **more) -> Case:
    """Elements are hit, at a rate. A noise that refuses images refuses integers, unless the row says otherwise."""
    more = {"hits": True, "integers": more.get("images", True), **more}
    return row(function, rate, **{rate: at}, **more)
