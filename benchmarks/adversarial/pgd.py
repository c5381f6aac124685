"""PGD and similar attacks compared with foolbox and torchattacks on the same weights: the images, and the time.

``python -m benchmarks.run adversarial.pgd``. Peers that are not installed (torch with foolbox or torchattacks) are
skipped. Attacks start from the clean image, so that nothing is drawn.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure
from benchmarks.adversarial import models
from benchmarks.adversarial.models import Model, bound, from_torch, to_torch
from noisejax import adversarial

STEPS = 20
BALLS = {"linf": adversarial.Linf, "l2": adversarial.L2}


def run(smoke: bool) -> Iterator[dict]:
    chosen = [models.digits(32 if smoke else 597), models.fashion(16 if smoke else 256)]
    for model in chosen:
        if model is not None:
            yield from agreement(model)
    budget = 0.05 if smoke else 6.0
    yield from times(chosen[0], budget, peers=True)
    if chosen[1] is not None:
        yield from times(chosen[1], budget, peers=True, unroll=STEPS)
    yield from times(models.wide(count=32 if smoke else 512), budget, peers=False)
    yield sweep(chosen[0], budget)


def attacks(model: Model) -> Iterator[tuple[str, str, Callable, Callable]]:
    """Name, peer, our attack on x, and that of the peer."""
    loss = adversarial.untargeted(bound(model))
    y, key = jnp.asarray(model.y), jax.random.key(0)

    def ours(attack, norm, step, **options):
        threat = BALLS[norm](model.eps[norm], (0, 1))
        return lambda x: attack(key, loss, x, threat, step, args=(y,), steps=STEPS, random_start=False, **options)

    for norm in ("linf", "l2"):
        eps = model.eps[norm]
        step = 2.5 * eps / STEPS
        pgd = ours(adversarial.pgd, norm, step)
        if importlib.util.find_spec("torchattacks"):
            import torchattacks

            peer = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
            yield f"PGD-{STEPS} {norm}", "torchattacks", pgd, _torchattacks(model, peer, eps, step, random_start=False)
            if norm == "linf":
                for name, attack, peer in (
                    ("MI-FGSM", adversarial.mi_fgsm, torchattacks.MIFGSM),
                    ("NI-FGSM", adversarial.ni_fgsm, torchattacks.NIFGSM),
                ):
                    theirs = _torchattacks(model, peer, eps, eps / STEPS, decay=1.0)
                    yield f"{name} {norm}", "torchattacks", ours(attack, norm, eps / STEPS), theirs
        if importlib.util.find_spec("foolbox"):
            yield f"PGD-{STEPS} {norm}", "foolbox, torch", pgd, _foolbox(model, norm, step, "torch")
            yield f"PGD-{STEPS} {norm}", "foolbox, JAX", pgd, _foolbox(model, norm, step, "jax")


def agreement(model: Model) -> Iterator[dict]:
    predict = bound(model)
    clean = np.asarray(predict(model.x).argmax(-1) == model.y)
    for name, peer, ours, theirs in attacks(model):
        a, b = np.asarray(jax.jit(ours)(jnp.asarray(model.x))), theirs()
        apart = np.abs(a - b).reshape(len(a), -1).max(1)
        robust = [np.asarray(predict(v).argmax(-1) == model.y) for v in (a, b)]
        yield {
            "model": model.name,
            "attack": name,
            "peer": peer,
            "images": len(a),
            "clean accuracy": float(clean.mean()),
            "within 1e-5": float((apart <= 1e-5).mean()),
            "median difference": float(np.median(apart)),
            "largest difference": float(apart.max()),
            "flags that differ": int((robust[0] != robust[1]).sum()),
            "robust accuracy": float(robust[0].mean()),
            "robust accuracy of the peer": float(robust[1].mean()),
        }


def times(model: Model, budget: float, *, peers: bool, unroll: int = 1) -> Iterator[dict]:
    loss = adversarial.untargeted(bound(model))
    x, y, key = jnp.asarray(model.x), jnp.asarray(model.y), jax.random.key(0)
    eps = model.eps["linf"]
    step = 2.5 * eps / STEPS
    threat = adversarial.Linf(eps, (0, 1))

    def pgd(steps):
        run = jax.jit(
            lambda x, y: adversarial.pgd(
                key, loss, x, threat, step, args=(y,), steps=steps, random_start=False, unroll=min(unroll, steps)
            )
        )
        return lambda: run(x, y)

    gradient = jax.jit(jax.grad(lambda x, y: loss(x, y).sum()))
    rivals = {"one gradient": lambda: gradient(x, y), "noisejax": pgd(STEPS), "noisejax, 1 step": pgd(1)}
    if peers and importlib.util.find_spec("torchattacks"):
        import torchattacks

        rivals |= _threads("torchattacks", _torchattacks(model, torchattacks.PGD, eps, step, random_start=False))
    if peers and importlib.util.find_spec("foolbox"):
        rivals |= _threads("foolbox, torch", _foolbox(model, "linf", step, "torch"))
        rivals["foolbox, JAX"] = _foolbox(model, "linf", step, "jax")
    seconds = measure.interleaved(rivals, budget=budget)
    for way, time in seconds.items():
        steps = {"one gradient": 1, "noisejax, 1 step": 1}.get(way, STEPS)
        yield {
            "model": model.name,
            "attack": f"PGD-{STEPS} linf",
            "way": way,
            "images": len(x),
            "ms": 1e3 * time,
            "gradients' time per step": time / seconds["one gradient"] / steps,
            "noisejax is faster": time / seconds["noisejax"] if steps > 1 else None,
        }


def sweep(model: Model, budget: float) -> dict:
    """Eight radii in one call, with one compilation, compared with eight successive calls."""
    loss = adversarial.untargeted(bound(model))
    x, y, key = jnp.asarray(model.x), jnp.asarray(model.y), jax.random.key(0)
    radii = jnp.linspace(0.02, 0.16, 8)

    def attack(eps):
        threat = adversarial.Linf(eps, (0, 1))
        return adversarial.pgd(key, loss, x, threat, args=(y,), steps=STEPS, random_start=False)

    one, all_at_once = jax.jit(attack), jax.jit(jax.vmap(attack))
    rivals = {"vmap": lambda: all_at_once(radii), "calls": lambda: [one(eps) for eps in radii]}
    if importlib.util.find_spec("foolbox"):
        rivals["foolbox, JAX"] = _foolbox(model, "linf", None, "jax", [float(eps) for eps in radii])
    seconds = measure.interleaved(rivals, budget=budget)
    return {
        "model": model.name,
        "attack": f"PGD-{STEPS} linf at 8 radii",
        "compilations, one call each": one._cache_size(),
        "compilations, vmap": all_at_once._cache_size(),
        **{f"{way} ms": 1e3 * time for way, time in seconds.items()},
    }


def _threads(name: str, call: Callable) -> dict[str, Callable]:
    """A torch attack on one core and on all cores: more threads slow small models down, above all on a busy machine."""
    import torch

    def on(threads):
        def run():
            torch.set_num_threads(threads)
            return call()

        return run

    cores = os.cpu_count() or 1
    return {f"{name}, {n} thread{'s' * (n > 1)}": on(n) for n in sorted({1, cores})}


def _torchattacks(model: Model, attack, eps, step, **options):
    import torch

    attacker = attack(model.torch(), eps=eps, alpha=step, steps=STEPS, **options)
    x, y = to_torch(model.x), torch.tensor(model.y).long()
    return lambda: from_torch(attacker(x, y))


def _foolbox(model: Model, norm: str, step, framework: str, radii=None):
    import foolbox

    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    if step is None:
        attack = kind(rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=False)
    else:
        attack = kind(abs_stepsize=step, steps=STEPS, random_start=False)
    if framework == "torch":
        import torch

        x, y = to_torch(model.x), torch.tensor(model.y).long()
        wrapped = foolbox.PyTorchModel(model.torch(), bounds=(0, 1), device="cpu")
    else:
        x, y = jnp.asarray(model.x), jnp.asarray(model.y)
        wrapped = foolbox.JAXModel(jax.jit(bound(model)), bounds=(0, 1))

    def call():
        found = attack(wrapped, x, y, epsilons=model.eps[norm] if radii is None else radii)[1]
        if radii is not None:
            return found
        return from_torch(found) if framework == "torch" else np.asarray(found.raw if hasattr(found, "raw") else found)

    return call
