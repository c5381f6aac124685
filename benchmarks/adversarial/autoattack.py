"""Auto-PGD and AutoAttack compared with the official code on the same weights: which attacks succeed, and the time.

``python -m benchmarks.run adversarial.autoattack``. Without the official code (pyautoattack, torch) only the times and
accuracies of noisejax are reported.
"""

import contextlib
import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.adversarial import models
from benchmarks.adversarial.models import Model, bound, from_torch, to_torch
from noisejax import adversarial
from noisejax.adversarial._attacks.boundary import rival_classes

BALLS = {"linf": adversarial.Linf, "l2": adversarial.L2, "l1": adversarial.L1}
OFFICIAL = {"linf": "Linf", "l2": "L2", "l1": "L1"}
# Read when torch starts: threads that spin while they wait make it many times slower on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
LOSSES = {"ce": adversarial.cross_entropy, "dlr": adversarial.dlr, "targeted dlr": adversarial.targeted_dlr}


def run(smoke: bool) -> Iterator[dict]:
    if smoke:
        yield from single(models.digits(16), "linf", 10, {"dlr": adversarial.dlr})
        yield whole(models.digits(16), "linf", 3, 5, version=("apgd-ce", "square"))
        return
    digits, fashion = models.digits(597), models.fashion(1000)
    for norm in BALLS:
        yield from single(digits, norm, 100, LOSSES)
    for norm in BALLS:
        yield whole(digits, norm, 100, 5000)
    if fashion is not None:
        yield whole(fashion, "linf", 100, 5000)
        for norm in BALLS:
            yield from single(fashion._replace(x=fashion.x[:256], y=fashion.y[:256]), norm, 100, LOSSES)


def show(rows: list[dict]) -> None:
    for keys in {tuple(row): None for row in rows}:
        measure.table([row for row in rows if tuple(row) == keys])


def single(model: Model, norm: str, steps: int, losses: dict) -> Iterator[dict]:
    """Auto-PGD from the same start, which noisejax draws."""
    predict, key = quick(model), jax.random.key(0)
    x, y = jnp.asarray(model.x), jnp.asarray(model.y)
    threat = BALLS[norm](model.eps[norm], (0, 1))
    start = threat.boundary(key, x)
    third = rival_classes(predict(x), y, 2)[:, 1]
    for name, loss in losses.items():
        args = (y, third) if name == "targeted dlr" else (y,)

        @jax.jit
        def ours(x, start, args, loss=loss):
            return adversarial.apgd(
                key,
                adversarial.untargeted(predict, loss),
                x,
                threat,
                args,
                steps=steps,
                start=start,
                success=lambda x, labels, *_: adversarial.misclassified(predict)(x, labels),
            )

        rivals_ = {"noisejax": lambda args=args, ours=ours: np.asarray(ours(x, start, args))}
        if importlib.util.find_spec("pyautoattack"):
            rivals_ |= _threads(model, _single(model, norm, name, steps, x + start, third))
        found, seconds = {}, {}
        for way, call in rivals_.items():
            if way == "noisejax":
                call()  # compiles
            seconds[way] = []
            for _ in range(3 if way == "noisejax" else 1):
                begin = time.perf_counter()
                found[way] = call()
                seconds[way].append(time.perf_counter() - begin)
        robust = {way: np.asarray(predict(point).argmax(-1) == y) for way, point in found.items()}
        times = {way: min(of) for way, of in seconds.items()}
        theirs = [way for way in found if way != "noisejax"]
        fastest = min(theirs, key=times.__getitem__, default=None)
        own = exact = None
        if fastest is not None:
            own = _against_itself(model, norm, name, steps, start, third, robust[fastest])
            exact = _without_residues(model, norm, name, steps, x + start, third, robust["noisejax"])
        yield {
            "model": model.name,
            "attack": f"APGD-{steps} {norm}",
            "loss": name,
            "images": len(x),
            "robust accuracy": float(robust["noisejax"].mean()),
            "official": None if fastest is None else float(robust[fastest].mean()),
            "flags that differ": None if fastest is None else int((robust["noisejax"] != robust[fastest]).sum()),
            "official against itself, x moved by 1e-7": own,
            "from the official that counts no residues": exact,
            "ms": 1e3 * times["noisejax"],
            "official ms": None if fastest is None else 1e3 * times[fastest],
            "noisejax is faster": None if fastest is None else times[fastest] / times["noisejax"],
        }


def whole(model: Model, norm: str, steps: int, queries: int, version: str | tuple[str, ...] = "standard") -> dict:
    """The standard version of AutoAttack: once to compile and once for the time; the official code once per threads.

    Wall time and the time of all cores are both reported, since the latter varies less on a machine with other load.
    The compiled version runs again after the official code, and the mean of both runs counts.
    """
    predict = quick(model)
    x, y = model.x, model.y
    threat = BALLS[norm](model.eps[norm], (0, 1))
    found = None

    def ours(n):
        nonlocal found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = adversarial.autoattack(
                jax.random.key(n), predict, x, y, threat, version=version, steps=steps, queries=queries, batch_size=256
            )

    first, again = _seconds(lambda: ours(0)), [_seconds(lambda: ours(1))]
    official, robust = {}, None
    if importlib.util.find_spec("pyautoattack"):
        for way, call in _threads(model, _whole(model, norm, steps, queries, version)).items():
            given = []
            official[way] = _seconds(lambda given=given, call=call: given.append(call()))
            robust = np.asarray(predict(given[0]).argmax(-1) == y)
        again.append(_seconds(lambda: ours(1)))
    assert found is not None
    wall, cpu = np.mean(again, axis=0)
    row = {
        "model": model.name,
        "attack": f"AutoAttack {norm}",
        "images": len(x),
        **{f"after {name}": value for name, value in found.accuracy.items()},
        "s, with compilation": first[0],
        "s": float(wall),
        "cpu s": float(cpu),
    }
    if robust is not None:
        fastest = min(official.values())
        row |= {
            "official accuracy": float(robust.mean()),
            "flags that differ": int((robust != found.robust).sum()),
            "official s": fastest[0],
            "official cpu s": fastest[1],
            **{f"{way}, s": seconds for way, (seconds, _) in official.items()},
            "noisejax is faster": fastest[0] / float(wall),
            "faster, with compilation": fastest[0] / first[0],
        }
    return row


def _seconds(call: Callable) -> tuple[float, float]:
    """The wall time of a call, and the time of all cores together."""
    begin = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def quick(model: Model) -> Callable:
    """The model. A convnet is written as matrix products, since XLA's convolutions inside loops are slow on CPUs.

    Its kernels are 4 by 4 with a stride of 2, so an output depends on four blocks of 2 by 2 inputs. Each block is a row
    of a matrix, and four products are added. The first layer computes its outputs in such blocks, as one product with
    the 8 by 8 pixels around a block, of which 6 by 6 matter. This larger product is cheaper than reordering outputs.
    """
    if "k1" not in model.params:
        return bound(model)
    assert model.x.shape[1:] == (28, 28, 1)
    params = jax.tree.map(jnp.asarray, model.params)
    first, second = (np.asarray(model.params[name]) for name in ("k1", "k2"))
    outputs = first.shape[-1]
    kernel = np.zeros((8, 8, 2, 2, outputs), np.float32)
    for down, across in np.ndindex(2, 2):
        kernel[2 * down : 2 * down + 4, 2 * across : 2 * across + 4, down, across] = first[:, :, 0]
    kernel = kernel.reshape(2, 4, 2, 4, -1).transpose(0, 2, 1, 3, 4).reshape(64, -1)
    bias = np.tile(model.params["c1"], 4)
    # The outermost outputs of the blocks are the zero padding of the next layer.
    inside = np.pad(np.ones((14, 14, outputs), np.float32), ((1, 1), (1, 1), (0, 0)))
    inside = inside.reshape(8, 2, 8, 2, outputs).transpose(0, 2, 1, 3, 4).reshape(8, 8, -1)
    corners = second.reshape(2, 2, 2, 2, outputs, -1).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * outputs, -1)
    four = [(down, across) for down in (0, 1) for across in (0, 1)]

    def predict(x):
        pixels = jnp.pad(x[..., 0], ((0, 0), (3, 5), (3, 5))).reshape(-1, 9, 4, 9, 4)
        pixels = pixels.transpose(0, 1, 3, 2, 4).reshape(-1, 9, 9, 16)
        around = jnp.concatenate([pixels[:, i : 8 + i, j : 8 + j] for i, j in four], axis=-1)
        hidden = jax.nn.relu(around @ kernel + bias) * inside
        hidden = sum(hidden[:, i : 7 + i, j : 7 + j] @ corners[i, j] for i, j in four)
        return models.mlp(params, jax.nn.relu(hidden + params["c2"]))

    assert np.allclose(predict(model.x[:8]), bound(model)(model.x[:8]), atol=1e-4)
    return predict


def _threads(model: Model, call: Callable) -> dict[str, Callable]:
    """The official code on one core and on all cores: more threads make small models slower."""
    import torch

    def on(threads):
        def run():
            torch.set_num_threads(threads)
            with warnings.catch_warnings(), _silent():
                warnings.simplefilter("ignore")
                return call()

        return run

    cores = os.cpu_count() or 1
    return {f"official, {n} thread{'s' * (n > 1)}": on(n) for n in sorted({1, cores})}


@contextlib.contextmanager
def _silent():
    logger = logging.getLogger("auto-attack")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _single(model: Model, norm: str, loss: str, steps: int, start, third) -> Callable:
    import torch
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    common = {"norm": OFFICIAL[norm], "eps": model.eps[norm], "n_iter": steps, "seed": 0, "device": "cpu"}
    if loss == "targeted dlr":
        attack = APGDAttack_targeted(model.torch(), **common)
        attack.y_target = torch.tensor(np.asarray(third)).long()
    else:
        attack = APGDAttack(model.torch(), loss=loss, **common)
    x, y, start = to_torch(model.x), torch.tensor(model.y).long(), to_torch(start)
    attack.init_hyperparam(x)
    return lambda: from_torch(attack.attack_single_run(x, y, x_init=start)[3])


def _against_itself(model: Model, norm: str, loss: str, steps: int, start, third, robust, repeats: int = 3) -> list:
    """The number of the official code's flags that change if pixels change by a relative 1e-7 at most, their last bit.

    No other implementation can be expected to agree better.
    """
    predict, counts = quick(model), []
    for seed in range(repeats):
        factor = 1 + 1e-7 * np.random.default_rng(seed).uniform(-1, 1, model.x.shape)
        moved = model._replace(x=np.clip(model.x * factor, 0, 1).astype(np.float32))
        found = next(iter(_threads(moved, _single(moved, norm, loss, steps, moved.x + start, third)).values()))()
        counts.append(int((np.asarray(predict(found).argmax(-1) == model.y) != robust).sum()))
    return counts


def _without_residues(model: Model, norm: str, loss: str, steps: int, start, third, robust) -> int | None:
    """The number of flags in which noisejax differs from the official code without rounding residues (L1).

    The official code derives the number of features to move from the number of changed features. A change that the
    projection has reverted still counts there if ``x + u - u`` is the float next to x, which depends on the last bits.
    """
    if norm != "l1":
        return None
    from pyautoattack import autopgd_base

    counted = autopgd_base.L0_norm
    autopgd_base.L0_norm = lambda change: counted(change * (change.abs() > 2e-7))
    try:
        found = next(iter(_threads(model, _single(model, norm, loss, steps, start, third)).values()))()
    finally:
        autopgd_base.L0_norm = counted
    return int((np.asarray(quick(model)(found).argmax(-1) == model.y) != robust).sum())


def _whole(model: Model, norm: str, steps: int, queries: int, version) -> Callable:
    import torch
    from pyautoattack import AutoAttack

    attack = AutoAttack(model.torch(), norm=OFFICIAL[norm], eps=model.eps[norm], seed=0, device="cpu")
    for part in (attack.apgd, attack.apgd_targeted, attack.fab):
        part.n_iter = part.n_iter_orig = steps
    attack.square.n_queries = queries
    attack.attacks_to_run = list(version) if isinstance(version, tuple) else attack.attacks_to_run
    x, y = to_torch(model.x), torch.tensor(model.y).long()
    return lambda: from_torch(attack.run_standard_evaluation(x, y, batch_size=256)[0])
