"""Axes of 2**31 entries and more: right, or a clear error. Programs are lowered and never run: nothing is allocated."""

import jax
import jax.numpy as jnp
import pytest

import noisejax as nj

LONG = 2**31 + 8
KEY = jax.ShapeDtypeStruct((2,), jnp.uint32)


def lowered(function, shape):
    run = jax.jit(lambda data, x: function(jax.random.wrap_key_data(data), x))
    return run.lower(KEY, jax.ShapeDtypeStruct(shape, jnp.float32))


REFUSED = {
    "swap": (lambda key, x: nj.swap(key, x, 0.5), (LONG, 2)),
    "colored": (lambda key, x: nj.signal.colored(key, x, 0.5), (1, LONG, 1)),
    "time_mask": (lambda key, x: nj.signal.time_mask(key, x, 5.0), (1, LONG, 1)),
    "freq_mask": (lambda key, x: nj.signal.freq_mask(key, x, 5.0), (1, 1, LONG)),
    "cutout": (lambda key, x: nj.image.cutout(key, x, 5.0), (1, LONG, 2, 1)),
    "random_erasing": (lambda key, x: nj.image.random_erasing(key, x, 0.5), (1, LONG, 2, 1)),
    "coarse_dropout": (lambda key, x: nj.image.coarse_dropout(key, x, 3.0), (1, LONG, 2, 1)),
    "grid_mask": (lambda key, x: nj.image.grid_mask(key, x, 0.5), (1, 2, LONG, 1)),
    "drop_block": (lambda key, x: nj.drop_block(key, x, 0.5), (1, LONG, 1)),
    "mixup": (lambda key, x: nj.mixup(key, x, 0.5), (LONG, 1)),
    "cutmix": (lambda key, x: nj.cutmix(key, x, 0.5), (1, LONG, 2, 1)),
    "mask": (lambda key, x: nj.mask(key, x, 0.5, lengths=jnp.full(1, 3)), (1, LONG)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_positions_beyond_32_bits_are_refused(name):
    function, shape = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^{name}: (x must be shorter than 2\*\*31|lengths)"):
        lowered(function, shape)


def test_a_period_that_is_longer_than_the_axis():
    with pytest.raises(ValueError, match="colored: x must be shorter"):
        lowered(lambda key, x: nj.signal.colored(key, x, 0.5), (1, 2**31 - 1, 1))


@pytest.mark.parametrize(
    ("noise", "shape"),
    [
        (nj.bind(nj.gaussian, std=0.1), (LONG,)),
        (nj.bind(nj.mask, rate=0.5), (2**32 + 8,)),
        (nj.bind(nj.swap, rate=0.5), (2, LONG)),
        (nj.bind(nj.signal.gaussian_snr, snr_db=1.0), (1, LONG)),
        (nj.per_example(nj.bind(nj.gaussian, std=0.1)), (LONG, 1)),
    ],
)
def test_noises_that_count_in_64_bits_take_them(noise, shape):
    assert lowered(noise, shape).out_info.shape == shape
