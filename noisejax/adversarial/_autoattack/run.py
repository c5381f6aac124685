"""AutoAttack: several attacks after one another, each on the examples that withstood those before."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax._stream import fold, keys, stage
from noisejax.adversarial._attacks.apgd import apgd
from noisejax.adversarial._attacks.boundary import model_logits, rival_classes
from noisejax.adversarial._attacks.driver import check_attack
from noisejax.adversarial._attacks.fab import fab
from noisejax.adversarial._attacks.square import square
from noisejax.adversarial._autoattack import suspicions as suspect
from noisejax.adversarial._autoattack.batches import Batches
from noisejax.adversarial._losses import cross_entropy, dlr, margin, misclassified, targeted_dlr, untargeted
from noisejax.adversarial._threats.balls import L2, Linf, Threat
from noisejax.adversarial._threats.sparse import L1

VERSIONS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
ATTACKS = VERSIONS["plus"]
_SHORT = 10  # steps, of the short run that comes before the first one


class AutoAttackResult(NamedTuple):
    """What `autoattack` found out about N examples.

    Args:
      x: the adversarial examples, float32; x itself where none was found.
      robust: (N,) booleans: classified right, and by no attack fooled.
      found_by: (N,) integers: the attack, numbered as in `accuracy`, that found x; 0 where x is misclassified as it
        is, -1 for robust ones.
      accuracy: the share of examples that was left after each attack, by its name; ``"clean"`` is the first, the robust
        accuracy the last.
      evaluations: at how many points each attack asked the model, with or without a gradient, fillers of batches
        included; for square, which stops early, at most.
      warnings: what casts doubt on the result, as sentences. They are given as Python warnings, too.
    """

    x: jax.Array
    robust: np.ndarray
    found_by: np.ndarray
    accuracy: dict[str, float]
    evaluations: dict[str, int]
    warnings: tuple[str, ...]


class _Run(NamedTuple):
    """What a stage compiles for."""

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
    """AutoAttack: the robust accuracy of a classifier, by attacks that have nothing to tune.

    The attacks run one after the other, and so do their restarts and targets; each sees only the examples that are
    still classified right, gathered into full batches, and always starts from the clean ones. An example counts as
    fooled if the model, asked once more, misclassifies it, and if it is inside the threat.

    Where most examples fall, they fall in the first steps: the very first run is made of 10 steps for all, and anew of
    all steps for those that are left. (Not for `L1`, nor for a model that is random.)

    This is a program for the host, which compiles its stages by itself: do not call it within `jax.jit`. The batches
    have at most five sizes, and for each a stage compiles once per model; all that is Auto-PGD is one stage. To attack
    many models of one shape in turn without compiling anew, give a ``jax.tree_util.Partial(function, params)``. On a
    CPU the batches are as small as still keeps a core busy, and each core works on one of its own, in a thread.

    Args:
      key: a JAX key.
      logits_fn: ``logits_fn(x) -> (B, classes)``, before any softmax; a model that is random, ``logits_fn(key, x)``.
      x: the clean examples, floats of shape (N, ...), inside the bounds. Where they are sharded along their first axis
        over several devices, so are the batches.
      labels: integers of shape (N,).
      threat: `Linf`, `L2` or `L1`, as ``Linf(8 / 255, bounds=(0, 1))``.
      version: `'standard'`: apgd-ce, apgd-t, fab-t, square; `'plus'`: all, with five restarts of apgd-ce, apgd-dlr and
        fab; `'rand'`: apgd-ce and apgd-dlr, averaged over keys; or a tuple of names of attacks.
      steps: of each run of apgd and fab.
      queries: of square.
      eot: over how many keys a model that is random is averaged; None for 20 with `'rand'`, and else 0, no key. An
        example counts as fooled if it is for more than half of as many fresh keys, which no attack has seen.
      batch_size: how many examples are attacked at a time, at most.
      ids: integers of shape (N,): example i is attacked with draws from ``(key, ids[i])`` alone, in whatever batch;
        None for its position.
      report: a function of a string, as ``print``, that is told the accuracy after each attack.

    Returns:
      A `AutoAttackResult`.

    References:
      Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
      attacks", ICML 2020, with the settings and the warnings of their code; L1: "Mind the box", ICML 2021. Different:
      a random model is judged by the majority of fresh draws, where the code takes a single one; fewer classes than
      four do not fail; square has windows of its own for each example.

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
    if isinstance(x, Tracer) or isinstance(labels, Tracer):
        raise TypeError(
            "autoattack: it decides on the host which examples are left, and cannot be part of a compiled function. "
            "Call it outside of jax.jit; it compiles its stages itself."
        )
    check_attack("autoattack", key, logits_fn, x, threat, (labels,), eot=eot)
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
    logits, right, flat = (np.concatenate(leaves)[:count] for leaves in zip(*seen, strict=True))  # fillers are last
    classes = logits.shape[-1]
    targets = 5 if isinstance(threat, L1) and version == "standard" else 9
    suspicions = [] if eot else [*suspect.randomness(logits_fn, jnp.asarray(x[:16], jnp.float32))]
    suspicions += suspect.of_logits(logits)
    suspicions += suspect.of_classes(classes, names, targets)
    suspicions += suspect.of_gradients(int(np.sum(flat & right)), int(right.sum()))

    robust, found_by = right.copy(), np.where(right, -1, 0).astype(np.int32)
    x_adv = data.x.copy()
    accuracy, evaluations = {"clean": float(robust.mean())}, {"clean": count * max(eot, 1)}
    for number, name in enumerate(names, 1):
        evaluations[name] = 0
        for run, turn in _runs(name, version, steps, queries, min(targets, classes - 1), eot, threat):
            losses = tuple(name for name in names if name.startswith("apgd")) if name.startswith("apgd") else ()
            program = run._replace(attack="apgd") if losses else run
            for limit in _limits(run, turn, number, threat):
                numbers = (losses.index(name) if losses else 0, turn, limit)
                left = np.flatnonzero(robust)
                for part, (point, fooled) in data.run_each(left, _attacked, numbers, run=program, losses=losses):
                    place = part[fooled]
                    x_adv[place], robust[place], found_by[place] = point[fooled], False, number
                    evaluations[name] += _cost(run, limit) * len(part)
        accuracy[name] = float(robust.mean())
        if report is not None:
            report(f"{name}: {accuracy[name]:.2%} of {count} examples are left")
    suspicions += suspect.of_square(accuracy)
    for text in suspicions:
        warnings.warn(f"autoattack: {text}", UserWarning, stacklevel=2)
    return AutoAttackResult(jnp.asarray(x_adv), robust, found_by, accuracy, evaluations, tuple(suspicions))


def _plan(version, eot, steps, queries, batch_size) -> tuple[tuple[str, ...], int]:
    """The attacks' names, and the number of keys, after the options were found right."""
    names = VERSIONS.get(version) if isinstance(version, str) else version
    if not isinstance(names, tuple) or not names or not set(names) <= set(ATTACKS) or len(set(names)) < len(names):
        raise ValueError(
            f"autoattack: version must be one of {', '.join(map(repr, VERSIONS))}, or a tuple of some of "
            f"{', '.join(map(repr, ATTACKS))}, each once, got {version!r}."
        )
    for what, value in (("steps", steps), ("queries", queries), ("batch_size", batch_size)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise ValueError(f"autoattack: {what} must be an integer, at least 1, got {value!r}.")
    eot = (20 if version == "rand" else 0) if eot is None else eot
    blind = [name for name in names if not name.startswith("apgd")]
    if eot and blind:
        raise ValueError(
            f"autoattack: {', '.join(blind)} cannot average over keys. Of a random model take version='rand', or a "
            "tuple of 'apgd-ce', 'apgd-dlr' and 'apgd-t'."
        )
    if version == "rand" and not eot:
        raise ValueError(f"autoattack: version='rand' averages over keys: eot must be at least 1, got {eot!r}.")
    return names, eot


def _runs(name: str, version, steps: int, queries: int, targets: int, eot: int, threat) -> Iterator[tuple[_Run, int]]:
    """The runs of an attack, between which those that fell are left out."""
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
    """After how many steps of a run those that fell are left out.

    Most examples of a model that nobody defended fall in the first steps, and only the first run meets them. It is the
    same run up to there, so that the same fall; those that are left begin it anew.
    """
    first = number == 1 and turn == 0 and run.attack.startswith("apgd")
    # A random model is judged by keys that the attack does not see: to be ahead once is not enough there. For L1 most
    # of the steps are taken in wider balls, before there is anything to look at.
    if first and not run.eot and not isinstance(threat, L1) and run.steps >= 10 * _SHORT:
        return _SHORT, run.steps
    return (run.steps,)


def _cost(run: _Run, limit: int) -> int:
    """At how many points a run asks the model for one example, the last check included."""
    if run.attack.startswith("fab"):
        return run.restarts * 2 * run.steps * (run.targets if run.attack == "fab-t" else 1) + 7
    return (limit + 2) * max(run.eot, 1) + (run.attack == "apgd-t")


@functools.partial(jax.jit, static_argnames="eot")
def _look(model, key, x, labels, threat, ids, *, eot: int):
    fresh = _fresh(key, 0, eot)
    predict = model if fresh is None else functools.partial(model, fresh[0])
    grad = jax.grad(lambda x: jnp.sum(cross_entropy(predict(x), labels)))(x)
    flat = jnp.all(threat.masked(grad) == 0, axis=tuple(range(1, x.ndim)))
    return predict(x).astype(jnp.float32), ~_fooled(model, fresh, x, labels), flat


@functools.partial(jax.jit, static_argnames=("run", "losses"))
def _attacked(model, key, x, labels, threat, ids, loss, turn, limit, *, run: _Run, losses: tuple[str, ...]):
    """The adversarial examples of one run, of so many steps at most, and which of them count.

    All that is Auto-PGD is one program, of which `loss` says with which of the `losses` it runs.
    """
    key = stage(key, run.attack)
    key = fold(key, loss) if losses else key
    place: Any = fold(key, turn)
    fresh = _fresh(key, turn, run.eot)
    if run.attack == "square":
        x_adv = square(place, model, x, labels, threat, queries=run.steps, ids=ids)
    elif run.attack.startswith("fab"):
        targets = run.targets if run.attack == "fab-t" else None
        x_adv = fab(place, model, x, labels, threat, steps=run.steps, restarts=run.restarts, targets=targets, ids=ids)
    else:
        x_adv = _apgd(place, fresh, model, x, labels, threat, ids, loss, turn, limit, run, losses)
    # Sums over many elements round: 1e-7 of their number.
    inside = threat.contains(x_adv - x, x, atol=1e-6 + 1e-7 * threat.norm(jnp.ones_like(x[:1]))[0])
    return x_adv, _fooled(model, fresh, x_adv, labels) & inside


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
        # Not a choice of one of three values: what is not chosen could bring NaN into the gradient.
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
    """How far the target is ahead of the label, which cross-entropies of few classes differ by."""
    return cross_entropy(logits, labels) - cross_entropy(logits, targets)


def _fresh(key, turn, eot: int):
    """Keys that no attack has seen."""
    if not eot:
        return None
    return keys(fold(stage(key, "fresh"), jnp.asarray(turn)), jnp.arange(eot, dtype=jnp.int32))


def _fooled(model, fresh, x, labels) -> jax.Array:
    """Whether x is misclassified, by a random model for more than half of the keys."""
    if fresh is None:
        return misclassified(model)(x, labels)
    wrong = jax.vmap(lambda key: misclassified(model)(key, x, labels))(fresh)
    return jnp.mean(wrong.astype(jnp.float32), axis=0) > 0.5
