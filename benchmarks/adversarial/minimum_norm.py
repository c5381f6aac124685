"""Minimum-norm and black-box attacks compared with the norms of foolbox and the flags of the official AutoAttack code.

``python -m benchmarks.run adversarial.minimum_norm``. Peers that are not installed (torch with foolbox or pyautoattack)
are skipped. All use the same images and the same weights. Misclassified images are skipped.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.adversarial import models
from benchmarks.adversarial.models import Model, bound, from_torch, to_torch
from noisejax import adversarial

# Wide enough to count every perturbation that foolbox may find, since it has no radius.
WIDE = {
    "linf": lambda: adversarial.Linf(1.0, (0, 1)),
    "l2": lambda: adversarial.L2(100.0, (0, 1)),
    "l1": lambda: adversarial.L1(1000.0, (0, 1)),
    "l0": lambda: adversarial.L0(1000, (0, 1)),
}
BALLS = {"linf": adversarial.Linf, "l2": adversarial.L2, "l1": adversarial.L1}
OFFICIAL = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def run(smoke: bool) -> Iterator[dict]:
    for model in (models.digits(16 if smoke else 256), None if smoke else models.fashion(40)):
        if model is None:
            continue
        right = np.asarray(bound(model)(model.x).argmax(-1)) == model.y
        model = model._replace(x=model.x[right], y=model.y[right])
        if importlib.util.find_spec("foolbox"):
            yield from norms(model, smoke)
        if importlib.util.find_spec("pyautoattack"):
            yield from flags(model, smoke)


def norms(model: Model, smoke: bool) -> Iterator[dict]:
    """The size of the smallest perturbation, compared with that of foolbox."""
    import foolbox.attacks as peers

    steps, cw_steps = (5, 10) if smoke else (100, 200 if small(model) else 100)
    cw = {"binary_search_steps": 9, "steps": cw_steps, "stepsize": 0.01, "initial_const": 1e-3, "abort_early": False}
    rows = (
        ("deepfool", "l2", {"steps": 50}, peers.L2DeepFoolAttack(steps=50, candidates=10, overshoot=0.02)),
        ("deepfool", "linf", {"steps": 50}, peers.LinfDeepFoolAttack(steps=50, candidates=10, overshoot=0.02)),
        ("ddn", "l2", {"steps": steps}, peers.DDNAttack(steps=steps)),
        ("fmn", "linf", {"steps": steps}, peers.LInfFMNAttack(steps=steps)),
        ("fmn", "l2", {"steps": steps}, peers.L2FMNAttack(steps=steps)),
        ("fmn", "l1", {"steps": steps}, peers.L1FMNAttack(steps=steps)),
        ("fmn", "l0", {"steps": steps}, peers.L0FMNAttack(steps=steps)),
        ("cw", "l2", {"steps": cw_steps}, peers.L2CarliniWagnerAttack(**cw)),
    )
    for name, norm, options, peer in rows[::3] if smoke else rows:
        threat = WIDE[norm]()
        ours, compiling, seconds = timed(model, name, threat, **options)
        start = time.perf_counter()
        theirs = foolboxed(model, peer)
        peers_seconds = time.perf_counter() - start
        found = [measured(model, threat, points) for points in (ours, theirs)]
        medians = [float(np.median(sizes)) for sizes in found]
        yield {
            "model": model.name,
            "attack": name,
            "norm": norm,
            "images": len(model.x),
            "found": float(np.mean(found[0] < np.inf)),
            "found by foolbox": float(np.mean(found[1] < np.inf)),
            "median": medians[0],
            "median of foolbox": medians[1],
            "ratio of medians": medians[0] / medians[1] if np.isfinite(medians[1]) else None,
            "share within 1% or smaller": float(np.mean(found[0] <= 1.01 * found[1])),
            "seconds": seconds,
            "seconds to compile": compiling,
            "noisejax is faster": peers_seconds / seconds,
        }


def flags(model: Model, smoke: bool) -> Iterator[dict]:
    """Which images are robust at the radius of the model, compared with the official code of AutoAttack."""
    from pyautoattack.fab_pt import FABAttack_PT
    from pyautoattack.square import SquareAttack

    count = 8 if smoke else 128 if small(model) else 24
    model = model._replace(x=model.x[:count], y=model.y[:count])
    steps, queries, targets = (3, 20, 2) if smoke else (100, 1000, 9)
    for norm, ball in list(BALLS.items())[: 1 if smoke else 3]:
        eps = model.eps[norm]
        predict = model.torch()
        kind = OFFICIAL[norm]
        fab = FABAttack_PT(
            predict, norm=kind, eps=eps, n_iter=steps, targeted=True, n_target_classes=targets, device="cpu"
        )
        options = {"norm": kind, "eps": eps, "n_queries": queries, "resc_schedule": False, "device": "cpu"}
        random = SquareAttack(predict, **options)
        for name, ours_options, peer in (
            ("fab", {"steps": steps, "targets": targets}, fab),
            ("square", {"queries": queries}, random),
        ):
            threat = ball(eps, (0, 1))
            ours, compiling, seconds = timed(model, name, threat, **ours_options)
            start = time.perf_counter()
            theirs = perturbed(model, peer)
            peers_seconds = time.perf_counter() - start
            fallen = [measured(model, threat, points) < np.inf for points in (ours, theirs)]
            fixed = None
            if name == "square":
                everywhere = perturbed(model, _every_window(SquareAttack)(predict, **options))
                fixed = float(np.mean(measured(model, threat, everywhere) == np.inf))
            yield {
                "model": model.name,
                "attack": name,
                "norm": norm,
                "eps": eps,
                "images": count,
                "robust": float(1 - fallen[0].mean()),
                "robust, official code": float(1 - fallen[1].mean()),
                "the same with windows at every place": fixed,
                "fallen here alone": int((fallen[0] & ~fallen[1]).sum()),
                "fallen there alone": int((fallen[1] & ~fallen[0]).sum()),
                "seconds": seconds,
                "seconds to compile": compiling,
                "noisejax is faster": peers_seconds / seconds,
            }


def _every_window(square):
    """The official Square Attack with a fix: originally its windows never touch the last row and column."""

    class EveryWindow(square):
        def random_int(self, low=0, high=1, shape=(1,)):
            return super().random_int(low, high + 1, shape)

    return EveryWindow


def timed(model: Model, name: str, threat, **options) -> tuple[np.ndarray, float, float]:
    """The adversarial images, the seconds of the first call, and those of the second call."""
    attack, predict, key = getattr(adversarial, name), bound(model), jax.random.key(0)
    run = jax.jit(lambda x, y, threat: attack(key, predict, x, y, threat, **options))
    arguments = jnp.asarray(model.x), jnp.asarray(model.y), threat
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        points = measure_ready(run(*arguments))
        seconds.append(time.perf_counter() - start)
    return points, seconds[0] - seconds[1], seconds[1]


def measure_ready(points) -> np.ndarray:
    measure.wait(points)
    return np.asarray(points)


def measured(model: Model, threat, points: np.ndarray) -> np.ndarray:
    """The size of each perturbation; infinite if it does not fool the model or lies outside the threat."""
    x = jnp.asarray(model.x)
    fooled = np.asarray(bound(model)(points).argmax(-1)) != model.y
    inside = np.asarray(threat.contains(jnp.asarray(points) - x, x, atol=1e-5))
    return np.where(fooled & inside, np.asarray(threat.norm(jnp.asarray(points) - x)), np.inf)


def small(model: Model) -> bool:
    return model.x.shape[1] == 8


def torch_threads(model: Model) -> None:
    """More than one thread makes small models slower."""
    import torch

    torch.set_num_threads(1 if small(model) else os.cpu_count() or 1)


def foolboxed(model: Model, attack: Callable) -> np.ndarray:
    import foolbox
    import torch

    torch_threads(model)
    x, y = to_torch(model.x), torch.tensor(model.y).long()
    wrapped = foolbox.PyTorchModel(model.torch(), bounds=(0, 1), device="cpu")
    return from_torch(attack(wrapped, x, y, epsilons=None)[1])


def perturbed(model: Model, attack) -> np.ndarray:
    import torch

    torch_threads(model)
    return from_torch(attack.perturb(to_torch(model.x), torch.tensor(model.y).long()))
