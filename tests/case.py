"""What a row of the table in tests/cases.py says of a noise, and the arrays that rows use."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

import noisejax as nj


def rows(shape=(8, 12), scale=1.0):
    """Features, sensors, activations: standard normal values times a scale."""
    return (scale * np.random.default_rng(7).standard_normal(shape)).astype(np.float32)


def pictures(shape=(8, 12, 10, 3)):
    """Pictures in [0, 1), channels last, neither square nor even."""
    return np.random.default_rng(7).random(shape, np.float32)


def spectra(shape=(8, 16, 6)):
    """Series or spectrograms: examples, steps, channels."""
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


MARGINALS = nj.marginals(np.random.default_rng(8).standard_normal((100, 12)).astype(np.float32))


@dataclass(frozen=True)
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
    images: bool = True  # acts on uint8 images
    gathers: bool = False  # takes values of other examples, and so communicates where the batch is sharded
    measures: bool = False  # its draw depends on x, so that laws about x's dtype hold only roughly

    @property
    def name(self) -> str:
        return self.function.__name__ + (f"-{self.note}" if self.note else "")

    def bind(self, **amounts) -> nj.Noise:
        return nj.bind(self.function, **{**self.amounts, **amounts}, **self.options)

    def array(self, dtype=jnp.float32) -> jax.Array:
        x = self.x()
        if dtype == jnp.uint8:
            x = np.round(255 * (x - x.min()) / (np.ptp(x) or 1))
        return jnp.asarray(x).astype(dtype)

    def __repr__(self):
        return self.name
