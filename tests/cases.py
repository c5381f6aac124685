"""The one table: a row per public array noise. The laws in tests/laws run over every row.

A new noise is one function, one row here and one docstring; a test holds this table against the public surface.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

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


CASES = [
    Case(nj.gaussian, {"std": 0.3}, {"std": 0.0}, {"std": 0.7}, per_example="std"),
    Case(
        nj.dropout, {"rate": 0.3}, {"rate": 0.0}, {"rate": 0.9}, per_example="rate", hits=True, images=False
    ),
    Case(nj.mask, {"rate": 0.3}, {"rate": 0.0}, {"rate": 0.9}, per_example="rate", hits=True, integers=True),
]

ids = [case.name for case in CASES]
