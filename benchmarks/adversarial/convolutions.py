"""PGD through convnets compared with the same steps written out by hand: the time, and the time to compile.

``python -m benchmarks.run adversarial.convolutions``. Both start from the clean image, so that nothing is drawn. On
CPUs the attack is unrolled by default, since XLA's convolutions are slow inside loops there; ``unroll=1`` is the loop.
``python -m benchmarks.adversarial.convolutions`` writes the table of docs/results/attacks.md from the result file.
"""

import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import measure, pages
from noisejax import adversarial

EPS = 8 / 255


def run(smoke: bool) -> Iterator[dict]:
    rng = np.random.default_rng(0)
    count = 4 if smoke else 32
    x = jnp.asarray(rng.uniform(size=(count, 32, 32, 3)), jnp.float32)
    y = jnp.asarray(rng.integers(0, 10, count))
    for name, predict in convnets(rng).items():
        for steps in (2,) if smoke else (3, 7, 20):
            yield from compared(name, predict, steps, x, y, 0.05 if smoke else 12.0)


def convnets(rng: np.random.Generator) -> dict[str, Callable]:
    """Two small convnets: one whose convolutions have a stride, and one that pools."""

    def weights(*shape):
        return jnp.asarray(rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1])), jnp.float32)

    first, second, third, last = weights(3, 3, 3, 16), weights(3, 3, 16, 32), weights(3, 3, 32, 32), weights(32, 10)

    def convolved(x, kernel, stride):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.nn.relu(jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout))

    def strided(x):
        x = convolved(convolved(convolved(x, first, 2), second, 2), third, 1)
        return x.mean((1, 2)) @ last

    def pooled(x):
        for kernel in (first, second):
            x = convolved(x, kernel, 1)
            x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
        return x.mean((1, 2)) @ last

    return {"three convolutions, strides 2, 2, 1": strided, "two convolutions, average pooling": pooled}


def compared(name: str, predict: Callable, steps: int, x, y, budget: float) -> Iterator[dict]:
    loss, threat, step = adversarial.untargeted(predict), adversarial.Linf(EPS, (0, 1)), 2.5 * EPS / steps
    key = jax.random.key(0)

    def pgd(**options):
        return lambda x, y: adversarial.pgd(
            key, loss, x, threat, step, args=(y,), steps=steps, random_start=False, **options
        )

    def by_hand(x, y):
        adv = x
        for _ in range(steps):
            gradient = jax.grad(lambda adv: loss(adv, y).sum())(adv)
            adv = jnp.clip(jnp.clip(adv + step * jnp.sign(gradient), x - EPS, x + EPS), 0, 1)
        return adv

    programs, compilation = {}, {}
    for way, attack in {"by hand": by_hand, "noisejax": pgd(), "noisejax, unroll=1": pgd(unroll=1)}.items():
        start = time.perf_counter()
        programs[way] = jax.jit(attack).lower(x, y).compile()
        compilation[way] = time.perf_counter() - start
    calls = {way: lambda program=program: program(x, y) for way, program in programs.items()}
    seconds = measure.interleaved(calls, budget=budget)
    for way, time_of_call in seconds.items():
        yield {
            "model": name,
            "steps": steps,
            "way": way,
            "images": len(x),
            "ms": 1e3 * time_of_call,
            "x by hand": time_of_call / seconds["by hand"],
            "s to trace and compile": compilation[way],
        }


def page() -> None:
    results = measure.load("adversarial.convolutions")
    assert results is not None, "run python -m benchmarks.run adversarial.convolutions first"
    cases: dict[tuple, dict[str, dict]] = {}
    for row in results["rows"]:
        cases.setdefault((row["model"], row["steps"]), {})[row["way"]] = row
    ways = ("by hand", "noisejax", "noisejax, unroll=1")
    body = [
        [
            model,
            str(steps),
            *(pages.number(found[way]["ms"]) for way in ways),
            ", ".join(f"{found[way]['s to trace and compile']:.1f}" for way in ways),
        ]
        for (model, steps), found in cases.items()
    ]
    head = ["model", "steps", "by hand, ms", "default, ms", "`unroll=1`, ms"]
    columns = [*head, "s to compile: by hand, default, `unroll=1`"]
    text = f"{pages.table(columns, body)}\n\n{pages.where(results)}"
    command = "python -m benchmarks.adversarial.convolutions"
    pages.write(pages.GUIDES.parent / "results" / "attacks.md", "convolutions", command, text)


if __name__ == "__main__":
    page()
