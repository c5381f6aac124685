"""Signs that an evaluation overestimates robustness, such as gradient masking."""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from noisejax.adversarial._health import depends_on_batch

_RANDOM = ("random_", "threefry2x32", "rng_bit_generator", "rng_uniform")


def randomness(logits_fn: Callable, x: jax.Array) -> Iterator[str]:
    """Warns if a model that takes no key is stochastic."""
    # Called outside jit, so that a model with the state of a random generator draws again in each call.
    answers = [np.asarray(logits_fn(x), np.float32) for _ in range(3)]
    answers = [a / (np.linalg.norm(a, axis=-1, keepdims=True) + 1e-10) for a in answers]
    apart = max(np.nanmax(np.linalg.norm(a - answers[0], axis=-1)) for a in answers[1:])
    if apart > 1e-4:
        yield (
            "the model's outputs for the same inputs differ from call to call, and jit freezes one of them. Use "
            'version="rand" and a model logits_fn(key, x), so that the attack averages over keys.'
        )
    elif any(name.startswith(_RANDOM) for name in _primitives(jax.make_jaxpr(logits_fn)(x).jaxpr)):
        yield (
            "the model draws random numbers from a key of its own, the same in every call, so only one draw of its "
            'noise is attacked. Use version="rand" and a model logits_fn(key, x), so that the attack averages over '
            "keys."
        )


def of_batch(logits_fn: Callable, x: jax.Array) -> Iterator[str]:
    """Warns if the logits of an example depend on the other examples of its batch."""
    if depends_on_batch(logits_fn, x):
        yield (
            "the model's outputs for an example depend on the other examples of its batch, so the result depends on "
            "how examples are batched, and asking again gives another one. BatchNorm in train mode does this: use eval "
            "mode."
        )


def of_logits(logits: np.ndarray) -> Iterator[str]:
    """Warns if the logits of clean examples are not finite, or are probabilities."""
    broken = int(np.sum(~np.isfinite(logits).all(-1)))
    if broken:
        yield f"the logits of {broken} clean examples are not finite. Examples with NaN logits count as misclassified."
    elif logits.min() > -1e-5 and logits.max() < 1 + 1e-5 and np.all(np.abs(logits.sum(-1) - 1) < 1e-5):
        yield (
            "the model's outputs are probabilities. After a softmax gradients vanish where the model is confident: "
            "pass the logits instead."
        )


def of_classes(classes: int, attacks: tuple[str, ...], targets: int) -> Iterator[str]:
    """Warns if an attack changes because the model has few classes."""
    if classes < 3 and "apgd-dlr" in attacks:
        yield f"the DLR loss needs 3 classes and the model has {classes}: apgd-dlr maximizes the margin instead."
    if classes < 4 and "apgd-t" in attacks:
        yield (
            f"the targeted DLR loss needs 4 classes and the model has {classes}: apgd-t maximizes the difference of "
            "the two logits instead."
        )
    if classes - 1 < targets and {"apgd-t", "fab-t"} & set(attacks):
        yield f"with {classes} classes there are {classes - 1} targets for each example, not {targets}."


def of_gradients(zero: int, count: int) -> Iterator[str]:
    """Warns if the loss has zero gradients."""
    if zero:
        yield (
            f"the gradient of the loss is 0 at {zero} of {count} correctly classified examples. Gradient attacks are "
            "not informative there. Look for quantization, saturated activations, or stopped gradients."
        )


def of_broken(broken: int, count: int) -> Iterator[str]:
    """Warns if no attack succeeded on examples only because the loss was not finite near them."""
    if broken:
        yield (
            f"the loss of {broken} of {count} examples is not finite at some of the points that were tried, and no "
            "attack succeeded on them. They do not count as robust: look for overflow, log(0) or 0 / 0 in the model."
        )


def of_square(accuracy: dict[str, float]) -> Iterator[str]:
    """Warns if an attack without gradients succeeds where gradient attacks failed."""
    names = list(accuracy)
    if "square" not in names or len(names) < 3:
        return
    before = accuracy[names[names.index("square") - 1]]
    if accuracy["square"] < before - 0.002:
        yield (
            f"Square Attack, which uses no gradient, lowered the accuracy by {before - accuracy['square']:.2%} after "
            "the gradient attacks. Gradients may be masked, and the true robustness may be even lower. Run square with "
            "more queries and restarts, and design an attack for this defence."
        )


def _primitives(jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _primitives(inner)
