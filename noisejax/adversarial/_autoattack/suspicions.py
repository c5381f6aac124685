"""Signs that an evaluation says more about the attack than about the model: gradient masking and its kin."""

from collections.abc import Callable, Iterator

import jax
import numpy as np

_RANDOM = ("random_", "threefry2x32", "rng_bit_generator", "rng_uniform")


def randomness(logits_fn: Callable, x: jax.Array) -> Iterator[str]:
    """Whether a model that is given no key is random all the same."""
    # Called as it is, outside of jit, so that a model which keeps a generator's state draws anew.
    answers = [np.asarray(logits_fn(x), np.float32) for _ in range(3)]
    answers = [a / (np.linalg.norm(a, axis=-1, keepdims=True) + 1e-10) for a in answers]
    apart = max(np.nanmax(np.linalg.norm(a - answers[0], axis=-1)) for a in answers[1:])
    if apart > 1e-4:
        yield (
            "the model's answers to the same inputs differ from call to call, and under jit it is frozen at one of "
            'them. Give version="rand" and a model logits_fn(key, x), so that the attack averages over keys.'
        )
    elif any(name.startswith(_RANDOM) for name in _primitives(jax.make_jaxpr(logits_fn)(x).jaxpr)):
        yield (
            "the model draws random numbers from a key of its own, the same at every call: what is attacked is one "
            'draw of its noise. Give version="rand" and a model logits_fn(key, x), so that the attack averages over '
            "keys."
        )


def of_logits(logits: np.ndarray) -> Iterator[str]:
    """What the logits of clean examples give away."""
    broken = int(np.sum(~np.isfinite(logits).all(-1)))
    if broken:
        yield f"the logits of {broken} clean examples are not finite; NaN logits never count as fooled."
    elif logits.min() > -1e-5 and logits.max() < 1 + 1e-5 and np.all(np.abs(logits.sum(-1) - 1) < 1e-5):
        yield (
            "the model's answers are probabilities. After a softmax the gradient vanishes where the model is sure: "
            "give the logits before it."
        )


def of_classes(classes: int, attacks: tuple[str, ...], targets: int) -> Iterator[str]:
    """What an attack does otherwise where there are few classes."""
    if classes < 3 and "apgd-dlr" in attacks:
        yield f"the DLR loss needs 3 classes and the model has {classes}: apgd-dlr maximises the margin instead."
    if classes < 4 and "apgd-t" in attacks:
        yield (
            f"the targeted DLR loss needs 4 classes and the model has {classes}: apgd-t maximises the difference of "
            "the two logits instead."
        )
    if classes - 1 < targets and {"apgd-t", "fab-t"} & set(attacks):
        yield f"with {classes} classes there are {classes - 1} targets for each example, not {targets}."


def of_gradients(zero: int, count: int) -> Iterator[str]:
    """Whether there is something to climb."""
    if zero:
        yield (
            f"the gradient of the loss is 0 at {zero} of {count} examples that are classified right. Attacks that "
            "follow gradients say little there: look for quantization, saturated activations, or stopped gradients."
        )


def of_square(accuracy: dict[str, float]) -> Iterator[str]:
    """Whether an attack without gradients finds what those with gradients missed."""
    names = list(accuracy)
    if "square" not in names or len(names) < 3:
        return
    before = accuracy[names[names.index("square") - 1]]
    if accuracy["square"] < before - 0.002:
        yield (
            f"Square Attack, which sees no gradient, lowered the accuracy by {before - accuracy['square']:.2%} after "
            "attacks that follow it. Gradients may be masked, and the true robustness lower still: run square with "
            "more queries and restarts, and attack this defence in particular."
        )


def _primitives(jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _primitives(inner)
