"""The one table: a row per public array noise. The laws in tests/laws run over every row.

A new noise is one function, one row here and one docstring; a test holds this table against the public surface.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


CASES = [
    Case(nj.gaussian, {"std": 0.3}, {"std": 0.0}, {"std": 0.7}, per_example="std"),
    Case(nj.uniform, {"scale": 0.3}, {"scale": 0.0}, {"scale": 0.7}, per_example="scale"),
    Case(nj.laplace, {"scale": 0.3}, {"scale": 0.0}, {"scale": 0.7}, per_example="scale"),
    Case(
        nj.student_t,
        {"scale": 0.3, "df": 3.0},
        {"scale": 0.0, "df": 3.0},
        {"scale": 0.3, "df": np.inf},
        per_example="df",
    ),
    Case(
        nj.gaussian_snr,
        {"snr_db": 10.0},
        {"snr_db": np.inf},
        {"snr_db": 0.0},
        per_example="snr_db",
        elementwise=False,
        measures=True,
    ),
    Case(nj.speckle, {"std": 0.3}, {"std": 0.0}, {"std": 0.7}, per_example="std"),
    Case(
        nj.shot,
        {"photons": 20.0},
        {"photons": np.inf},
        {"photons": 300.0},
        x=pictures,
        per_example="photons",
        differentiable=False,
    ),
    Case(
        nj.colored,
        {"std": 0.3, "exponent": 1.0},
        {"std": 0.0, "exponent": 1.0},
        {"std": 0.3, "exponent": 2.0},
        per_example="exponent",
        elementwise=False,
    ),
    Case(
        nj.salt_and_pepper,
        {"amount": 0.3, "high": 3.0},
        {"amount": 0.0, "high": 3.0},
        {"amount": 0.9, "high": 3.0},
        per_example="amount",
        hits=True,
        integers=True,
    ),
    Case(
        nj.salt_and_pepper,
        {"amount": 0.3, "high": 3.0},
        {"amount": 0.0, "high": 3.0},
        {"amount": 0.9, "high": 3.0},
        x=pictures,
        options={"channel_axis": -1},
        note="pixels",
        per_example="amount",
        elementwise=False,
        hits=True,
        integers=True,
    ),
    Case(
        nj.impulse,
        {"amount": 0.3, "high": 3.0},
        {"amount": 0.0, "high": 3.0},
        {"amount": 0.9, "high": 3.0},
        per_example="amount",
        hits=True,
        integers=True,
    ),
    Case(
        nj.impulse,
        {"amount": 0.3, "high": 3.0},
        {"amount": 0.0, "high": 3.0},
        {"amount": 0.9, "high": 3.0},
        options={"values": "random"},
        note="random",
        per_example="amount",
        hits=True,
        integers=True,
    ),
    Case(
        nj.nonfinite,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        differentiable=False,  # a difference of infinities is NaN
        images=False,
    ),
    Case(
        nj.quantize,
        {"step": 0.4},
        {"step": 0.0},
        {"step": 0.7},
        options={"rounding": "stochastic"},
        note="stochastic",
        per_example="step",
        differentiable=False,
    ),
    Case(
        nj.reduce_precision,
        {"mantissa_bits": 2.0},
        {"mantissa_bits": np.inf},
        {"mantissa_bits": 4.0},
        options={"rounding": "stochastic"},
        note="stochastic",
        per_example="mantissa_bits",
        differentiable=False,
        images=False,
    ),
    Case(
        nj.dropout,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.dropout,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        options={"broadcast_dims": (1,)},
        note="shared",
        x=spectra,
        elementwise=False,
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.spatial_dropout,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.gaussian_dropout,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        images=False,
    ),
    Case(
        nj.alpha_dropout,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.drop_path,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.drop_block,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        x=pictures,
        options={"block_size": 3},
        elementwise=False,
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.mask,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        integers=True,
    ),
    Case(
        nj.mask,
        {"rate": 0.3, "fill": MARGINALS},
        {"rate": 0.0, "fill": MARGINALS},
        {"rate": 0.9, "fill": MARGINALS},
        options={"groups": (0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8)},
        note="marginals",
        per_example="rate",
        hits=True,
        integers=True,
    ),
    Case(
        nj.channel_dropout,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        integers=True,
    ),
    Case(
        nj.pixel_dropout,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        x=spectra,
        per_example="rate",
        hits=True,
        integers=True,
    ),
    Case(
        nj.random_erasing,
        {"p": 0.5},
        {"p": 0.0},
        {"p": 0.9},
        per_example="p",
        x=pictures,
        elementwise=False,
        hits=True,
    ),
    Case(
        nj.random_erasing,
        {"p": 0.5},
        {"p": 0.0},
        {"p": 0.9},
        options={"noise": "channel"},
        note="channel",
        per_example="p",
        x=pictures,
        elementwise=False,
        hits=True,
    ),
    Case(
        nj.cutout,
        {"size": 5.0},
        {"size": 0.0},
        {"size": 8.0},
        per_example="size",
        integers=True,
        x=pictures,
        elementwise=False,
        hits=True,
    ),
    Case(
        nj.coarse_dropout,
        {"holes": 3.0},
        {"holes": 0.0},
        {"holes": 5.5},
        per_example="holes",
        integers=True,
        x=pictures,
        elementwise=False,
        hits=True,
    ),
    Case(
        nj.grid_mask,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        integers=True,
        x=pictures,
        elementwise=False,
        hits=True,
    ),
    Case(
        nj.time_mask,
        {"width": 6.0},
        {"width": 0.0},
        {"width": 9.0},
        options={"count": 2},
        x=spectra,
        elementwise=False,
        hits=True,
        integers=True,
        per_example="width",
    ),
    Case(
        nj.freq_mask,
        {"width": 4.0},
        {"width": 0.0},
        {"width": 6.0},
        x=spectra,
        elementwise=False,
        hits=True,
        integers=True,
        per_example="width",
    ),
    Case(
        nj.swap,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        elementwise=False,
        gathers=True,
        per_example="rate",
        hits=True,
        integers=True,
    ),
    Case(
        nj.swap,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        options={"groups": (0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7, 8)},
        note="groups",
        elementwise=False,
        gathers=True,
        per_example="rate",
        hits=True,
        integers=True,
    ),
    Case(
        nj.weights.relative,
        {"std": 0.1},
        {"std": 0.0},
        {"std": 0.3},
        options={"channel_axis": 0},
        elementwise=False,
        per_example="std",
        images=False,
        measures=True,
    ),
    Case(
        nj.weights.drop_connect,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.weights.ternary_mask,
        {"rate": 0.3, "flip": 0.2},
        {"rate": 0.0, "flip": 0.0},
        {"rate": 0.5, "flip": 0.9},
        per_example="rate",
        hits=True,
        images=False,
    ),
    Case(
        nj.weights.stuck_at,
        {"rate": 0.3},
        {"rate": 0.0},
        {"rate": 0.9},
        options={"value": ("zero", "min", "max"), "channel_axis": 0},
        elementwise=False,
        per_example="rate",
        hits=True,
        images=False,
        measures=True,
    ),
    Case(
        nj.weights.fake_quantize,
        {"bits": 4.0},
        {"bits": np.inf},
        {"bits": 2.0},
        options={"channel_axis": 0, "rounding": "stochastic", "symmetric": False},
        elementwise=False,
        per_example="bits",
        differentiable=False,
        images=False,
        measures=True,
    ),
    Case(
        nj.weights.quant_noise,
        {"rate": 0.3, "bits": 3.0},
        {"rate": 0.0, "bits": 3.0},
        {"rate": 0.9, "bits": 4.0},
        options={"channel_axis": 0, "axis": -1, "block_size": 5},
        elementwise=False,
        per_example="rate",
        hits=True,
        differentiable=False,
        images=False,
        measures=True,
    ),
    Case(
        nj.weights.bit_flips,
        {"rate": 0.02},
        {"rate": 0.0},
        {"rate": 0.3},
        options={"bits": 0},
        note="lowest",
        x=lambda: np.round(rows(scale=100.0)),
        per_example="rate",
        hits=True,
        differentiable=False,
        integers=True,
        measures=True,  # what it flips are the bits of x's own dtype
    ),
    Case(
        nj.weights.conductance_drift,
        {"time": 1e5, "nu": 0.05, "nu_std": 0.01},
        {"time": 0.0, "nu": 0.05, "nu_std": 0.01},
        {"time": 20.0, "nu": 0.1, "nu_std": 0.0},
        per_example="time",
        images=False,
    ),
    Case(
        nj.weights.programming_noise,
        {"scale": 1.0},
        {"scale": 0.0},
        {"scale": 3.0},
        options={"channel_axis": 0},
        elementwise=False,
        per_example="scale",
        images=False,
        measures=True,
    ),
    Case(
        nj.weights.read_noise,
        {"time": 3600.0, "scale": 1.0},
        {"time": 3600.0, "scale": 0.0},
        {"time": 0.0, "scale": 2.0},
        options={"channel_axis": 0},
        elementwise=False,
        per_example="time",
        images=False,
        measures=True,
    ),
    Case(
        nj.weights.phase_change,
        {"time": 3600.0, "scale": 1.0},
        {"time": 3600.0, "scale": 0.0},
        {"time": 0.0, "scale": 2.0},
        options={"channel_axis": 0},
        elementwise=False,
        per_example="time",
        images=False,
        measures=True,
    ),
]

# Compiling them takes seconds for every law, and a note is another form of a noise whose laws have run: slow tests.
HEAVY = {nj.random_erasing, nj.coarse_dropout, nj.weights.programming_noise, nj.weights.phase_change}

every = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] * bool(case.note or case.function in HEAVY))
        for case in CASES
    ],
)
