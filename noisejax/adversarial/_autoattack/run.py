"""AutoAttack: a sequence of attacks, each on the examples that all previous attacks failed on."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._random.stream import fold, keys, stage
from noisejax.adversarial._attacks.apgd import apgd
from noisejax.adversarial._attacks.boundary import model_logits, rival_classes
from noisejax.adversarial._attacks.fab import fab
from noisejax.adversarial._attacks.square import square
from noisejax.adversarial._autoattack import suspicions as suspect
from noisejax.adversarial._autoattack.batches import Batches
from noisejax.adversarial._health import recording
from noisejax.adversarial._inputs import check_attack
from noisejax.adversarial._losses import cross_entropy, dlr, margin, misclassified, targeted_dlr, untargeted
from noisejax.adversarial._threats.balls import L2, Linf, Threat
from noisejax.adversarial._threats.sparse import L1

VERSIONS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
ATTACKS = VERSIONS["plus"]
_SHORT = 10  # the number of steps of the short run before the first one


class AutoAttackResult(NamedTuple):
    """The result of `autoattack` for N examples.

    Args:
      x: the adversarial examples, float32; x itself where none was found, and NaN where `found_by` is -2.
      robust: (N,) booleans: the example is classified correctly, every attack failed on it, and all losses on the way
        were finite.
      found_by: (N,) integers: the number of the attack that found x, as numbered in `accuracy`; 0 where x is
        misclassified without an attack, or its logits are NaN; -1 for robust examples, and -2 where no attack
        succeeded but a loss was not finite on the way.
      accuracy: the share of examples that remain after each attack, by its name. The first entry is ``"clean"``, and
        the last one is the robust accuracy.
      evaluations: the number of evaluations of the model in each attack, with or without a gradient, including the
        padding of batches. For square, which stops early, it is an upper bound.
      warnings: reasons to doubt the result, as sentences. They are also raised as Python warnings.
    """

    x: jax.Array
    robust: np.ndarray
    found_by: np.ndarray
    accuracy: dict[str, float]
    evaluations: dict[str, int]
    warnings: tuple[str, ...]


class _Run(NamedTuple):
    """The static configuration of a stage."""

    attack: str
    steps: int
    targets: int
    restarts: int
    eot: int


def autoattack(
    key: jax.Array,
    logits_fn: Callable,
    x: jax.Array,
    labels: jax.Array,
    threat: Threat,
    *,
    version: str | tuple[str, ...] = "standard",
    steps: int = 100,
    queries: int = 5000,
    eot: int | None = None,
    batch_size: int = 256,
    ids: jax.Array | None = None,
    report: Callable | None = None,
) -> AutoAttackResult:
    """AutoAttack: the robust accuracy of a classifier under a set of attacks without parameters to tune.

    The attacks run one after the other, and so do their restarts and targets. Each one only sees the examples that are
    still classified correctly, gathered into full batches, and always starts from the clean examples. An attack
    succeeds on an example if its result lies inside the threat and the model misclassifies it in a separate
    evaluation.

    Most vulnerable examples are fooled within a few steps. So the first run takes 10 steps on all examples, and the
    full run is repeated only on those still correct. (This does not apply to `L1` or to stochastic models.)

    This function runs on the host and compiles its stages itself: do not call it inside `jax.jit`. Batches have at
    most five sizes, and each stage compiles once per size and model; all Auto-PGD attacks share one stage. To attack
    several models of the same shape without compiling again, pass a ``jax.tree_util.Partial(function, params)``. On a
    CPU, batches are as small as possible while they keep a core busy, and each core works on one batch in a thread.

    Args:
      key: a JAX key.
      logits_fn: ``logits_fn(x) -> (B, classes)``, without a softmax; for a stochastic model, ``logits_fn(key, x)``.
      x: the clean examples, floats of shape (N, ...), inside the bounds. If they are sharded along their first axis
        over several devices, so are the batches.
      labels: integers of shape (N,).
      threat: `Linf`, `L2` or `L1`, such as ``Linf(8 / 255, bounds=(0, 1))``.
      version: `'standard'`: apgd-ce, apgd-t, fab-t, square; `'plus'`: all attacks, with five restarts of apgd-ce,
        apgd-dlr and fab; `'rand'`: apgd-ce and apgd-dlr, averaged over keys; or a tuple of names of attacks.
      steps: the number of steps in each run of apgd and fab.
      queries: the number of queries of square.
      eot: the number of keys over which a stochastic model is averaged; None for 20 with `'rand'` and 0 (no key)
        otherwise. An attack then succeeds on an example if the model misclassifies it for more than half of as many
        fresh keys, which no attack has seen.
      batch_size: the maximum number of examples that are attacked at a time.
      ids: integers of shape (N,). The draws of example i depend only on ``(key, ids[i])``, in any batch; None for the
        position of the example.
      report: a function of a string, such as ``print``, that receives the accuracy after each attack.

    Returns:
      An `AutoAttackResult`. If an attack fails, or the user interrupts, the exception has an attribute `result` with
      what was found before, and a note that says so.

    References:
      Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
      attacks", ICML 2020, with the settings and the warnings of their code; L1: "Mind the box", ICML 2021. There are
      three differences. A stochastic model is judged by the majority of fresh draws, instead of a single draw. Models
      with fewer than four classes do not fail. Square draws separate windows for each example.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> predict = lambda x: 4 * x @ jnp.eye(10)
      >>> x, labels = jnp.zeros((2, 10)).at[:, 3].set(jnp.array([0.25, 1.0])), jnp.array([3, 3])
      >>> threat = adversarial.Linf(0.25, bounds=(0, 1))
      >>> found = adversarial.autoattack(jax.random.key(0), predict, x, labels, threat, steps=10, queries=20)
      >>> found.accuracy
      {'clean': 1.0, 'apgd-ce': 0.5, 'apgd-t': 0.5, 'fab-t': 0.5, 'square': 0.5}
      >>> found.robust.tolist()
      [False, True]
    """
    names, eot = _plan(version, eot, steps, queries, batch_size)
    given = {"key": key, "logits_fn": logits_fn, "x": x, "labels": labels, "threat": threat, "ids": ids}
    for name, value in given.items():
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
            raise TypeError(
                f"autoattack: {name} must not be traced: autoattack selects the remaining examples on the host, and "
                "cannot be part of a compiled function. Call it outside jax.jit; it compiles its stages itself."
            )
    order = "key, logits_fn, x, labels, threat"
    check_attack("autoattack", key, logits_fn, x, threat, (labels,), eot=eot, order=order)
    if "square" in names and np.ndim(x) not in (2, 3, 4):
        others = tuple(name for name in names if name != "square")
        raise ValueError(
            f"autoattack: square needs x of shape (B, H, W, C), (B, H, W) or (B, D), got {np.shape(x)}. Leave it out "
            f"with version={others!r}, or attack x.reshape(len(x), -1) and a model that restores the shape."
        )
    if type(threat) not in (Linf, L2, L1):
        raise TypeError(f"autoattack: threat must be Linf, L2 or L1, got {threat!r}.")
    count = len(x)
    if not count:
        raise ValueError(f"autoattack: x must hold at least one example, got shape {np.shape(x)}.")
    model_logits("autoattack", functools.partial(logits_fn, jax.random.key(0)) if eot else logits_fn, x, labels)
    data = Batches(logits_fn, stage(key, "adversarial", "autoattack"), x, labels, threat, ids, batch_size)

    everything = np.arange(count)
    data.measure(_look, eot=eot)
    seen = [found for _, found in data.run_each(everything, _look, (), eot=eot)]
    logits, right, flat = (np.concatenate(leaves)[:count] for leaves in zip(*seen, strict=True))  # padding comes last
    classes = logits.shape[-1]
    targets = 5 if isinstance(threat, L1) and version == "standard" else 9
    few = jnp.asarray(x[:16], jnp.float32)
    suspicions = [] if eot else [*suspect.randomness(logits_fn, few)]
    if not suspicions and not eot:  # a stochastic model's draws belong to places in the batch, and change with them
        suspicions += suspect.of_batch(logits_fn, few)
    suspicions += suspect.of_logits(logits)
    suspicions += suspect.of_classes(classes, names, targets)
    suspicions += suspect.of_gradients(int(np.sum(flat & right)), int(right.sum()))

    def result() -> AutoAttackResult:
        """What the attacks so far have found."""
        unjudged = robust & broken
        x_found = x_adv.copy()
        x_found[unjudged] = np.nan
        found = np.where(unjudged, -2, found_by).astype(np.int32)
        return AutoAttackResult(
            jnp.asarray(x_found), robust & ~broken, found, dict(accuracy), dict(evaluations), tuple(suspicions)
        )

    robust, broken = right.copy(), np.zeros(count, bool)
    found_by = np.where(right, -1, 0).astype(np.int32)
    x_adv = data.x.copy()
    accuracy, evaluations = {"clean": float(robust.mean())}, {"clean": count * max(eot, 1)}
    try:
        for number, name in enumerate(names, 1):
            evaluations[name] = 0
            for run, turn in _runs(name, version, steps, queries, min(targets, classes - 1), eot, threat):
                losses = tuple(name for name in names if name.startswith("apgd")) if name.startswith("apgd") else ()
                program = run._replace(attack="apgd") if losses else run
                for limit in _limits(run, turn, number, threat):
                    numbers = (losses.index(name) if losses else 0, turn, limit)
                    left = np.flatnonzero(robust)
                    for part, (point, fooled, bad) in data.run_each(
                        left, _attacked, numbers, run=program, losses=losses
                    ):
                        place = part[fooled]
                        broken[part[bad]] = True
                        x_adv[place], robust[place], found_by[place] = point[fooled], False, number
                        evaluations[name] += _cost(run, limit) * len(part)
            accuracy[name] = float((robust & ~broken).mean())
            if report is not None:
                report(f"{name}: {accuracy[name]:.2%} of {count} examples remain correct")
    except BaseException as error:  # also when the user interrupts: hours of attacks may have finished
        error.result = result()  # pyright: ignore[reportAttributeAccessIssue]
        done = ", ".join(list(accuracy)[1:]) or "no attack"
        error.add_note(
            f"autoattack: {name} failed. What was found before it ({done} finished) is the attribute `result` of this "
            "exception."
        )
        raise
    suspicions += suspect.of_broken(int((robust & broken).sum()), count)
    suspicions += suspect.of_square(accuracy)
    for text in suspicions:
        warnings.warn(f"autoattack: {text}", UserWarning, stacklevel=2)
    return result()


def _plan(version, eot, steps, queries, batch_size) -> tuple[tuple[str, ...], int]:
    """Checks the options; returns the names of the attacks and the number of keys."""
    names = VERSIONS.get(version) if isinstance(version, str) else version
    if not isinstance(names, tuple) or not names or not set(names) <= set(ATTACKS) or len(set(names)) < len(names):
        raise ValueError(
            f"autoattack: version must be one of {', '.join(map(repr, VERSIONS))}, or a tuple of some of "
            f"{', '.join(map(repr, ATTACKS))}, without repetition, got {version!r}."
        )
    for what, value in (("steps", steps), ("queries", queries), ("batch_size", batch_size)):
        _checks.count("autoattack", what, value, 1)
    eot = (20 if version == "rand" else 0) if eot is None else eot
    blind = [name for name in names if not name.startswith("apgd")]
    if eot and blind:
        raise ValueError(
            f"autoattack: {', '.join(blind)} cannot average over keys. For a stochastic model use version='rand', or a "
            "tuple of 'apgd-ce', 'apgd-dlr' and 'apgd-t'."
        )
    if version == "rand" and not eot:
        raise ValueError(f"autoattack: version='rand' averages over keys: eot must be at least 1, got {eot!r}.")
    return names, eot


def _runs(name: str, version, steps: int, queries: int, targets: int, eot: int, threat) -> Iterator[tuple[_Run, int]]:
    """The runs of an attack. Examples that it succeeded on are removed between runs."""
    thorough = version == "plus" or (version == "standard" and isinstance(threat, L1) and name == "apgd-ce")
    restarts = 5 if thorough and name in ("apgd-ce", "apgd-dlr", "fab") else 1
    if name.startswith("apgd"):
        turns = targets if name == "apgd-t" else restarts
        yield from ((_Run(name, steps, targets, 1, eot), turn) for turn in range(turns))
    elif name == "square":
        yield _Run(name, queries, 0, 1, 0), 0
    else:
        yield _Run(name, steps, targets, restarts, 0), 0


def _limits(run: _Run, turn: int, number: int, threat: Threat) -> tuple[int, ...]:
    """The numbers of steps after which examples are removed during a run.

    Most examples of an undefended model are fooled in the first steps, and only the first run sees them. The short run
    is identical to the full run up to its end, so it fools the same examples. The full run starts again on the rest.
    """
    first = number == 1 and turn == 0 and run.attack.startswith("apgd")
    # A stochastic model is judged on keys that the attack does not see, so early success means little there. For L1
    # most steps are taken in wider balls, before there is a result to check.
    if first and not run.eot and not isinstance(threat, L1) and run.steps >= 10 * _SHORT:
        return _SHORT, run.steps
    return (run.steps,)


def _cost(run: _Run, limit: int) -> int:
    """The number of evaluations of the model that a run takes for one example, including the final check."""
    if run.attack.startswith("fab"):
        return run.restarts * 2 * run.steps * (run.targets if run.attack == "fab-t" else 1) + 7
    return (limit + 2) * max(run.eot, 1) + (run.attack == "apgd-t")


@functools.partial(jax.jit, static_argnames="eot")
def _look(model, key, x, labels, threat, ids, *, eot: int):
    fresh = _fresh(key, 0, eot)
    predict = model if fresh is None else functools.partial(model, fresh[0])
    grad = jax.grad(lambda x: jnp.sum(cross_entropy(predict(x), labels)))(x)
    flat = jnp.all(threat.masked(grad) == 0, axis=tuple(range(1, x.ndim)))
    logits = predict(x).astype(jnp.float32)
    return logits, ~_fooled(model, fresh, x, labels) & ~jnp.any(jnp.isnan(logits), axis=-1), flat


@functools.partial(jax.jit, static_argnames=("run", "losses"))
def _attacked(model, key, x, labels, threat, ids, loss, turn, limit, *, run: _Run, losses: tuple[str, ...]):
    """The adversarial examples of one run of at most `limit` steps, and which of them succeed.

    All Auto-PGD attacks are one program, in which `loss` selects one of the `losses`.
    """
    key = stage(key, run.attack)
    key = fold(key, loss) if losses else key
    place: Any = fold(key, turn)
    fresh = _fresh(key, turn, run.eot)
    with recording() as broken:
        if run.attack == "square":
            x_adv = square(place, model, x, labels, threat, queries=run.steps, ids=ids)
        elif run.attack.startswith("fab"):
            found: dict[str, Any] = {
                "restarts": run.restarts,
                "targets": run.targets if run.attack == "fab-t" else None,
            }
            x_adv = fab(place, model, x, labels, threat, steps=run.steps, ids=ids, **found)
        else:
            x_adv = _apgd(place, fresh, model, x, labels, threat, ids, loss, turn, limit, run, losses)
    # Sums over many elements have rounding errors of about 1e-7 times their number.
    inside = threat.contains(x_adv - x, x, atol=1e-6 + 1e-7 * threat.norm(jnp.ones_like(x[:1]))[0])
    return x_adv, _fooled(model, fresh, x_adv, labels) & inside, functools.reduce(jnp.logical_or, broken)


def _apgd(key, fresh, model, x, labels, threat, ids, loss, turn, limit, run: _Run, losses: tuple[str, ...]):
    predict = model if fresh is None else functools.partial(model, fresh[0])
    classes = jax.eval_shape(predict, x).shape[-1]
    target = labels
    if "apgd-t" in losses:
        ranked = rival_classes(predict(x).astype(jnp.float32), labels, run.targets)
        target = jnp.sum(jnp.where(jnp.arange(run.targets)[None] == turn, ranked, 0), axis=1)
    ways = {
        "apgd-ce": lambda logits, labels, target: cross_entropy(logits, labels),
        "apgd-dlr": lambda logits, labels, target: (dlr if classes > 2 else margin)(logits, labels),
        "apgd-t": targeted_dlr if classes > 3 else _gap,
    }

    def value(logits, labels, target):
        # A switch, and not a `where` over three values: those not selected could bring NaN into the gradient.
        return jax.lax.switch(loss, [ways[name] for name in losses], logits, labels, target)

    fooled = misclassified(model)
    return apgd(
        key,
        untargeted(model, value),
        x,
        threat,
        (labels, target),
        steps=run.steps,
        eot=run.eot,
        shrinking=isinstance(threat, L1),
        success=(lambda key, x, *args: fooled(key, x, args[0])) if run.eot else (lambda x, *args: fooled(x, args[0])),
        ids=ids,
        limit=limit,
    )


def _gap(logits, labels, targets):
    """The target's logit minus that of the label, as a difference of cross-entropies."""
    return cross_entropy(logits, labels) - cross_entropy(logits, targets)


def _fresh(key, turn, eot: int):
    """Keys that no attack has seen."""
    if not eot:
        return None
    return keys(fold(stage(key, "fresh"), jnp.asarray(turn)), jnp.arange(eot, dtype=jnp.int32))


def _fooled(model, fresh, x, labels) -> jax.Array:
    """Whether x is misclassified; by a stochastic model, for more than half of the keys."""
    if fresh is None:
        return misclassified(model)(x, labels)
    wrong = jax.vmap(lambda key: misclassified(model)(key, x, labels))(fresh)
    return jnp.mean(wrong.astype(jnp.float32), axis=0) > 0.5
