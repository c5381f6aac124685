"""Several levels in one program: the scores are those of levels that are measured one after another."""

import jax
import numpy as np
import pytest

import noisejax as nj
from noisejax.robustness import Family
from noisejax.robustness._sweep import amounts, programs, run
from robustness.sweeps import LEVELS, N, gaussian, masking, sweep

FAMILIES = {
    "gaussian": (gaussian, LEVELS),
    "swap": (lambda rate: nj.bind(nj.swap, rate=rate), (0.1, 0.3, 0.5, 0.7)),
    "chain": (lambda std: nj.chain(gaussian(std), nj.on_columns(masking(0.3), [1])), (0.5,)),
    "own": (lambda std: lambda key, x: x + std, LEVELS),
    "labels": (lambda rate: nj.on_entries((None, nj.bind(nj.labels.flip, rate=rate, num_classes=2))), LEVELS, "batch"),
}


def compared(found, expected):
    for family in expected.levels:
        for metric in expected.metrics:
            same = [report.scores(family, metric[0]) for report in (found, expected)]
            np.testing.assert_allclose(*same, rtol=1e-5, atol=1e-6)
        assert found.shown[family] == expected.shown[family]


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("rows", [1000, 2 * N, 1])
def test_levels_together_and_one_after_another(batch_size, rows, monkeypatch, tmp_path):
    """With memory for all levels, for two at a time (the last group is filled up), and for one."""
    options = {"families": FAMILIES, "metrics": ["log_loss", "accuracy"], "draws": 2, "batch_size": batch_size}
    expected = sweep(**options, checkpoint=tmp_path / "levels")  # a checkpoint keeps every level at once
    monkeypatch.setattr(run, "_BYTES", rows * 4 * 4)
    compared(sweep(**options), expected)


def test_levels_that_fail_together_are_measured_one_after_another(monkeypatch):
    def fail(self, model, key, x, y, rows, levels, n):
        raise RuntimeError("out of memory")

    options = {"families": {name: FAMILIES[name] for name in ("swap", "gaussian")}}
    expected = sweep(**options)
    monkeypatch.setattr(programs.Noisy, "_several", fail)
    programs.noisy_of.cache_clear()
    compared(sweep(**options), expected)
    programs.noisy_of.cache_clear()


def test_a_level_that_is_not_finite_does_not_mark_the_others():
    def broken(x):
        return jax.numpy.log(2 - x[:, :2].max(-1, keepdims=True) * np.ones(2))

    x = np.ones((N, 4), np.float32)
    with pytest.warns(UserWarning, match="1 levels could not be measured"):
        found = sweep(broken, (x, np.zeros(N, int)), {"gaussian": (gaussian, (0.0, 1e-6, 10.0))})
    assert list(found.problems["gaussian"]) == [2] and np.isfinite(found.scores("gaussian")[:2]).all()


@pytest.mark.parametrize(
    ("noise_at", "on", "together"),
    [
        (gaussian, "x", True),
        (FAMILIES["swap"][0], "x", True),
        (FAMILIES["chain"][0], "x", True),
        (lambda v: nj.bind(nj.quantize, step=v), "x", True),
        (lambda v: nj.bind(nj.image.fog, severity=v), "x", False),
        (lambda v: nj.chain(gaussian(v), nj.bind(nj.image.fog, severity=v)), "x", False),
        (lambda v: nj.sometimes(gaussian(v), 0.5), "x", False),
        (lambda v: nj.chain(gaussian(v), nj.keyless(lambda x: x)), "x", False),
        (FAMILIES["own"][0], "x", False),
        (gaussian, "batch", False),
    ],
)
def test_which_noises_act_at_several_levels_at_once(noise_at, on, together):
    assert amounts.draws_once(Family("f", noise_at, (0.0, 0.5), on=on)) == together


def test_what_is_drawn_at_several_levels_is_drawn_once():
    """Random words are the only unsigned integers of the size of x."""
    noise = programs.Noisy(Family("f", gaussian, (0.0, 0.5)))
    x, levels = np.zeros((8, 4), np.float32), np.linspace(0, 1, 10, dtype=np.float32)
    text = noise.several.lower(None, jax.random.key(0), x, x, None, levels, 8).as_text()
    assert "tensor<10x8x4xf32>" in text and "tensor<8x4xui32>" in text and "tensor<10x8x4xui32>" not in text
