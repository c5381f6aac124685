"""Noises that change lengths or shapes: a row says how its result's lengths follow from those of x."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

import noisejax as nj


@dataclass(frozen=True, eq=False)
class PaddedCase:
    function: Callable
    check: Callable[[nj.Padded, nj.Padded], None]  # (x, y): that y's shape and lengths can come from x's
    amounts: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = (8, 12, 3)
    note: str = ""

    @property
    def name(self) -> str:
        return self.function.__name__ + (f"-{self.note}" if self.note else "")

    @property
    def arguments(self) -> dict[str, Any]:
        return {**self.amounts, **self.options}

    def bind(self) -> nj.Noise:
        return nj.bind(self.function, **self.arguments)

    def array(self) -> nj.Padded:
        values = np.random.default_rng(7).standard_normal(self.shape).astype(np.float32)
        n = self.shape[1]
        lengths = np.resize(np.array([n, n - 1, n // 2, 2, n, 3, n - 2], np.int32), self.shape[:1])
        return nj.Padded(jnp.asarray(values), jnp.asarray(lengths), jnp.arange(self.shape[0], dtype=jnp.int32))

    @staticmethod
    def mask(x: nj.Padded):
        mask = x.mask
        return mask.reshape(mask.shape + (1,) * (x.values.ndim - mask.ndim))


def shortened(share: float, prefix: int) -> Callable:
    """A share of the entries after a prefix is gone, and padding goes first."""

    def check(x: nj.Padded, y: nj.Padded) -> None:
        tokens = x.values.shape[1] - prefix
        kept = prefix + max(1, int(tokens * (1 - share) + 1e-9))
        assert y.values.shape == (x.values.shape[0], kept, *x.values.shape[2:])
        np.testing.assert_array_equal(y.lengths, np.minimum(x.lengths, kept))

    return check


PADDED = [
    PaddedCase(nj.patch_dropout, shortened(0.5, 1), options={"rate": 0.5}),
    PaddedCase(nj.patch_dropout, shortened(0.3, 0), options={"rate": 0.3, "num_prefix_tokens": 0}, note="no-prefix"),
]
