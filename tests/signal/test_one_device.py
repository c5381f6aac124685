"""Fourier sums take another way on a single device than on the eight of the tests; the results are the same."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import noisejax as nj


def drawn() -> dict[str, np.ndarray]:
    key, rng = jax.random.key(3), np.random.default_rng(0)
    x, bank = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 95), (3, 40)))
    pictures = np.full((2, 24, 28, 3), 0.5, np.float32)

    def power(x):
        return (nj.signal.reverb(key, x, bank) ** 2).sum()

    found = {
        "devices": np.array(jax.device_count()),
        "colored": nj.signal.colored(key, x, 0.5, 1.0),
        "reverb": nj.signal.reverb(key, x, bank),
        "reverb, gradient": jax.grad(power)(x),
        "brownish_noise": nj.image.brownish_noise(key, pictures, 3),
    }
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.mark.slow
def test_one_device_draws_what_eight_draw(tmp_path):
    file, settings = tmp_path / "one.npz", {**os.environ, "JAX_PLATFORMS": "cpu"}
    settings.pop("XLA_FLAGS", None)  # the tests' eight devices
    done = subprocess.run([sys.executable, __file__, file], env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    alone, here = np.load(file), drawn()
    assert alone["devices"] == 1 and here.pop("devices") == 8
    for name, value in here.items():
        np.testing.assert_allclose(alone[name], value, rtol=0, atol=1e-6 * np.abs(value).max(), err_msg=name)


if __name__ == "__main__":
    np.savez(sys.argv[1], **drawn())
