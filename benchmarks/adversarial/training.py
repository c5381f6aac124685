"""Train steps of adversarial training compared with the plain step of the same model: time and operations.

``python -m benchmarks.run adversarial.training``. If a forward pass costs 1, the gradient in x 2 and the gradient in
the parameters 3, a plain step costs 3 and a step of PGD-k training 2 k + 3. This gives the minimum of the ratio. All
steps are forward, backward and momentum in one jitted program. The steps of a model take turns in one run, and a ratio
is the median over rounds.

A plain step does not need the gradient in x, which saves the share of the first layer. In an MLP of two layers that is
nearly a third, and the minimum ratio is higher: `operations` counts them in the program that XLA compiles.
"""

import functools
import statistics
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import optax

from benchmarks import measure
from benchmarks.adversarial import models
from benchmarks.adversarial.models import Model
from benchmarks.flops import flops
from noisejax import adversarial

K = 10
BOUNDS = (0.0, 1.0)
# The cost of a whole train step, in units of a forward pass.
FLOORS = {
    "plain": 3,
    "FGSM-RS": 2 + 3,
    f"PGD-{K}": 2 * K + 3,
    f"TRADES-{K}": 2 * K + 6,
    f"MART-{K}": 2 * K + 6,
    "free, a replay": 3,
    "VAT": 2 + 6,
}


def run(smoke: bool) -> Iterator[dict]:
    budget = 0.3 if smoke else 30.0
    yield from ratios(models.digits(32 if smoke else 128), budget)
    chosen = models.fashion(16 if smoke else 128)
    if chosen is not None:
        yield from ratios(chosen, budget, unroll=K)
    yield from ratios(models.wide(count=32 if smoke else 512), budget)


def ratios(model: Model, budget: float, unroll: int = 1) -> Iterator[dict]:
    ways = steps(model, unroll)
    params = jax.tree.map(jnp.asarray, model.params)
    arguments = params, optax.sgd(0.01, 0.9).init(params), jnp.zeros_like(jnp.asarray(model.x))
    key, eps = jax.random.key(0), jnp.float32(model.eps["linf"])
    counted = {name: flops(way, key, *arguments, eps) for name, way in ways.items()}
    compiled = {name: jax.jit(way) for name, way in ways.items()}
    rivals = {name: functools.partial(way, key, *arguments, eps) for name, way in compiled.items()}
    times = measure.samples(rivals, budget=budget)
    for other in (0.5, 2.0):  # a different radius uses the same program
        compiled[f"PGD-{K}"](key, *arguments, other * eps)
    for name, seconds in times.items():
        pairs = zip(seconds, times["plain"], strict=True)
        ratio, floor = statistics.median(a / b for a, b in pairs), FLOORS[name] / FLOORS["plain"]
        yield {
            "model": model.name,
            "step": name,
            "examples": len(model.x),
            "ms": 1e3 * statistics.median(seconds),
            "plain steps": ratio,
            "floor": floor,
            "time over floor": ratio / floor,
            "operations": counted[name] / counted["plain"],
            "time over operations": ratio * counted["plain"] / counted[name],
            "compilations": compiled[name]._cache_size(),
        }


def steps(model: Model, unroll: int) -> dict[str, Callable]:
    """The train steps: functions of (key, params, state, delta, eps) that return new params, state and delta."""
    x, y = jnp.asarray(model.x), jnp.asarray(model.y)
    optimizer = optax.sgd(0.01, 0.9)
    options = {"steps": K, "unroll": unroll}

    def stepper(losses: Callable) -> Callable:
        def step(key, params, state, delta, eps):
            def loss(params):
                threat = adversarial.Linf(eps, BOUNDS)
                return losses(key, functools.partial(model.predict, params), threat).mean()

            return updated(params, state, jax.grad(loss)(params), delta)

        return step

    def updated(params, state, grads, delta):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, delta

    def on(attack):
        def losses(key, predict, threat):
            return adversarial.cross_entropy(predict(attack(key, adversarial.untargeted(predict), threat)), y)

        return stepper(losses)

    def free(key, params, state, delta, eps):
        def loss(params, x, y):
            return adversarial.cross_entropy(model.predict(params, x), y)

        _, grads, delta = adversarial.free_step(loss, params, x, adversarial.Linf(eps, BOUNDS), delta, args=(y,))
        return updated(params, state, grads, delta)

    def fgsm(key, loss, threat):
        return adversarial.fgsm(key, loss, x, threat, 1.25 * threat.eps, args=(y,), random_start=True)

    def vat(key, predict, threat):
        return adversarial.cross_entropy(predict(x), y) + adversarial.vat(key, predict, x, threat)

    return {
        "plain": stepper(lambda key, predict, threat: adversarial.cross_entropy(predict(x), y)),
        "FGSM-RS": on(fgsm),
        f"PGD-{K}": on(lambda key, loss, threat: adversarial.pgd(key, loss, x, threat, args=(y,), **options)),
        f"TRADES-{K}": stepper(lambda key, predict, threat: adversarial.trades(key, predict, x, y, threat, **options)),
        f"MART-{K}": stepper(lambda key, predict, threat: adversarial.mart(key, predict, x, y, threat, **options)),
        "free, a replay": free,
        "VAT": stepper(vat),
    }
