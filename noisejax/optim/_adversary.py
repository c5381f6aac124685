"""Adversarial weight perturbations, as a wrapper of an optax optimizer.

An adversary moves the weights, the gradient is taken at the perturbed weights, and the optimizer applies it to the
original weights. The adversary is an optimizer too: it minimizes minus the loss.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from noisejax.optim import _streams


class AdversarialWeightsState(NamedTuple):
    """The state of `adversarial_weights`: the states of both optimizers, and with `alternate` the phase of the step."""

    inner: Any
    adversary: Any
    halfway: Any = None


class _Halfway(NamedTuple):
    phase: jax.Array  # the number of adversary moves in this step so far
    anchor: Any  # the weights at the start of the step
    clean: Any  # their gradient


def adversarial_weights(
    inner: optax.GradientTransformation,
    adversary: optax.GradientTransformation,
    *,
    steps: int = 1,
    combine: Callable[[Any, Any], Any] | None = None,
    alternate: bool = False,
    axis_name: Any = None,
    synchronize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Trains on gradients at adversarially perturbed weights: `inner` receives ``grad L(w + e)``, and updates w.

    ``e`` is the sum of `steps` updates of `adversary`, each computed from minus the gradient at the current point. Call
    ``update(grads, state, params, value_and_grad_fn=f)`` with the gradient at w and a function that computes it at
    other weights. ``f(params)`` returns ``(value, grads)`` or ``((value, aux), grads)``, as `jax.value_and_grad` does.
    Alternatively pass ``grad_fn=g`` as in optax, with ``g(params, i)``, where i is the number of the adversary's move.
    All other keywords (``value=``, ...) are passed to both optimizers. `flax.nnx.Optimizer.update` accepts the same
    keywords.

    Auxiliary results of the passes, such as BatchNorm statistics, come from the caller's first pass; aux of the other
    passes is dropped. `f` must not mutate a model: merge copies, ``nnx.merge(graphdef, params, rest, copy=True)``.

    Transforms of the gradient belong inside: ``sam(optax.chain(clip, sgd))``. In ``chain(clip, sam(sgd))`` only the
    gradient at w is clipped, which gives the direction of ``e`` and is then discarded. To accumulate gradients, write
    ``sam(optax.MultiSteps(inner, k))``, which averages the gradients at w + e. `optax.MultiSteps` around it raises,
    except with `alternate`.

    Use float32 weights: in bfloat16 a perturbation of the usual size is lost in rounding. A gradient that is not finite
    remains so, which `optax.apply_if_finite` can detect. A zero gradient does not move the weights.

    Args:
      inner: the optimizer of the weights.
      adversary: any optax transformation. Its state is kept between steps, so that its schedules advance by one with
        each of its moves. `optax.sgd` with a normalized gradient gives SAM.
      steps: the number of adversary moves; each costs one gradient. Static.
      combine: a function of the gradients at w and at w + e that returns the gradient for `inner`; None for the
        gradient at w + e. Static.
      alternate: if True, `update` needs no function, for train loops that cannot provide one. Of every steps + 1 calls
        of `update`, the first `steps` calls move the weights to the perturbed point, and the last call moves them back
        and applies `inner`. The loop then sees perturbed weights and losses. Static.
      axis_name: inside `jax.shard_map`, `jax.pmap` or a `jax.vmap` with names, the axes over which the batch is split.
        Pass the gradients of each part; `inner` receives their mean. Under `jax.shard_map`, take gradients with respect
        to ``jax.lax.pcast(params, axis_name, to="varying")``, otherwise JAX has already summed them. With jit alone
        there is no axis, and the adversary sees the whole batch.
      synchronize: whether all parts share one perturbation, computed from the mean gradient. By default each part of
        the batch has its own (m-sharpness, where m is the size of a part). This saves one reduction and generalizes
        better in the papers, but results depend on the number of parts. Static.

    Returns:
      An `optax.GradientTransformationExtraArgs`.

    References:
      Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021. With
      ``alternate=False`` it agrees with ``optax.contrib.sam(inner, adversary, opaque_mode=True)``.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from noisejax import optim
      >>> ascent = optax.chain(optax.normalize_by_update_norm(), optax.sgd(optax.linear_schedule(0.0, 0.1, 100)))
      >>> optimizer = optim.adversarial_weights(optax.sgd(1e-2), ascent)
      >>> f = jax.value_and_grad(lambda w: jnp.sum(w**4))
      >>> w = jnp.array([1.0, -2.0])
      >>> state = optimizer.init(w)
      >>> value, grads = f(w)
      >>> updates, state = optimizer.update(grads, state, w, value=value, value_and_grad_fn=f)
    """
    check_optimizer("adversarial_weights", "inner", inner)
    check_optimizer("adversarial_weights", "adversary", adversary)
    if combine is not None and not callable(combine):
        raise TypeError(f"adversarial_weights: combine must be a function of two gradients, got {combine!r}.")
    _checks_of("adversarial_weights", steps, axis_name, alternate, synchronize)
    inner, adversary = optax.with_extra_args_support(inner), optax.with_extra_args_support(adversary)

    def init(params):
        halfway = None
        if alternate:
            zeros = jax.tree.map(jnp.zeros_like, params)
            halfway = _Halfway(jnp.zeros((), jnp.int32), zeros, zeros if combine is not None else None)
        return AdversarialWeightsState(inner.init(params), adversary.init(params), halfway)

    def update(updates, state, params=None, *, value_and_grad_fn=None, grad_fn=None, **extra):
        if params is None:
            raise ValueError("adversarial_weights: update needs the weights: update(grads, state, params, ...).")
        if alternate:
            return update_in_turn(updates, state, params, extra)
        _streams.refuse_accumulation(
            "adversarial_weights",
            "optax.MultiSteps must be inside, got it outside. It averages the gradients at w, but the optimizer would "
            "see only the last micro-batch's gradient at w + e. Write sam(optax.MultiSteps(inner, k)), or keep "
            "MultiSteps outside and set alternate=True.",
        )
        _refuse_masked(params)
        gradient = _gradient(value_and_grad_fn, grad_fn)
        mean = _mean(axis_name)
        if axis_name is not None:
            _refuse_added_up(updates, axis_name)
            extra = extra | {name: mean(extra[name]) for name in ("value",) if extra.get(name) is not None}
        shared = mean if synchronize else lambda tree: tree
        clean = ascent = shared(updates)
        place, adversary_state = params, state.adversary
        for move in range(steps):
            change, adversary_state = adversary.update(_minus(ascent), adversary_state, place, **extra)
            place = optax.apply_updates(place, change)
            ascent = shared(gradient(_apart(place, axis_name), move))
        result = mean(ascent if combine is None else combine(clean, ascent))
        change, inner_state = inner.update(result, state.inner, params, **extra)
        return change, AdversarialWeightsState(inner_state, adversary_state)

    def update_in_turn(updates, state, params, extra):
        phase, anchor, clean = state.halfway
        first = phase == 0
        anchor = jax.tree.map(lambda p, a: jnp.where(first, p, a), params, anchor)
        if clean is not None:
            clean = jax.tree.map(lambda g, c: jnp.where(first, g, c), updates, clean)

        def ascend():
            change, adversary_state = adversary.update(_minus(updates), state.adversary, params, **extra)
            return _like(change, params), state.inner, adversary_state

        def descend():
            result = updates if combine is None else combine(clean, updates)
            change, inner_state = inner.update(result, state.inner, anchor, **extra)
            change = jax.tree.map(lambda a, p, c: a - p + c, anchor, params, _like(change, params))
            return change, inner_state, state.adversary

        # A branch, not arithmetic on both: the other branch may give NaN, and states may hold typed keys.
        change, inner_state, adversary_state = lax.cond(phase < steps, ascend, descend)
        halfway = _Halfway(jnp.where(phase < steps, phase + 1, 0), anchor, clean)
        return change, AdversarialWeightsState(inner_state, adversary_state, halfway)

    return optax.GradientTransformationExtraArgs(init, update)


def check_optimizer(function: str, name: str, value: Any) -> None:
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in ("init", "update")):
        raise TypeError(
            f"{function}: {name} must be an optax optimizer, got {value!r}. It comes first, then the amount: "
            f"{function}(optax.sgd(0.1), ...)."
        )


def _refuse_masked(params) -> None:
    """The function of `update` needs all weights, and masked ones are not even known here."""
    if any(isinstance(leaf, optax.MaskedNode) for leaf in jax.tree.leaves(params, is_leaf=_is_masked)):
        raise TypeError(
            "adversarial_weights: params must hold all weights, got some without a value: optax.masked or "
            "optax.multi_transform is around it. Put it inside, sam(optax.masked(inner, mask)). To perturb only some "
            "weights, use the `only` of sam, asam, gsam and awp; without a function of the weights, alternate=True."
        )


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _checks_of(function: str, steps, axis_name, alternate: bool, synchronize: bool) -> None:
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"{function}: steps must be an integer, at least 1, got {steps!r}.")
    for name, flag in (("alternate", alternate), ("synchronize", synchronize)):
        if not isinstance(flag, (bool, np.bool_)):
            raise TypeError(f"{function}: {name} must be True or False, got {flag!r}.")
    if alternate and axis_name is not None:
        raise ValueError(
            f"{function}: alternate=True returns perturbed weights, which must not differ between the parts of a "
            "batch. Pass no axis_name, and average the gradients before `update`."
        )
    if synchronize and axis_name is None:
        raise ValueError(f"{function}: synchronize=True needs axis_name, the axes over which the batch is split.")


def _gradient(value_and_grad_fn, grad_fn) -> Callable:
    if (value_and_grad_fn is None) == (grad_fn is None):
        raise ValueError(
            "adversarial_weights: update needs gradients at other weights. Pass value_and_grad_fn=f, with f(params) as "
            "returned by jax.value_and_grad, or grad_fn=g with g(params, i), and not both. A loop that has neither can "
            "use alternate=True."
        )
    for name, function in (("value_and_grad_fn", value_and_grad_fn), ("grad_fn", grad_fn)):
        if function is not None and not callable(function):
            raise TypeError(f"adversarial_weights: {name} must be a function of the weights, got {function!r}.")
    if grad_fn is not None:
        return grad_fn

    def gradient(params, move):
        del move
        result = value_and_grad_fn(params)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                "adversarial_weights: value_and_grad_fn must return (value, grads), as jax.value_and_grad does, got "
                f"{jax.tree.structure(result)}. Pass a function that returns gradients alone as grad_fn=lambda params, "
                "i: ..."
            )
        return result[1]

    return gradient


def _mean(axis_name) -> Callable:
    if axis_name is None:
        return lambda tree: tree
    return lambda tree: jax.tree.map(lambda leaf: lax.pmean(leaf, axis_name), tree)


def _names(axis_name) -> tuple:
    return axis_name if isinstance(axis_name, tuple) else (axis_name,)


def _apart(tree, axis_name):
    """The same values, marked as varying between parts, so that `jax.grad` does not sum the gradients of the parts."""
    if axis_name is None:
        return tree

    def leaf(value):
        missing = tuple(name for name in _names(axis_name) if name in _tracked(axis_name) - _varying(value))
        return lax.pcast(value, missing, to="varying") if missing else value

    return jax.tree.map(leaf, tree)


def _refuse_added_up(gradients, axis_name) -> None:
    for leaf in jax.tree.leaves(gradients):
        if _tracked(axis_name) - _varying(leaf):
            raise ValueError(
                f"adversarial_weights: the gradients are the same in all parts of {axis_name!r}, because jax.grad "
                "inside jax.shard_map has summed them. Take them with respect to "
                f"jax.lax.pcast(params, {axis_name!r}, to='varying')."
            )


def _tracked(axis_name) -> frozenset:
    """The axes along which this trace tracks varying values: none under pmap, vmap and ``check_vma=False``."""
    return frozenset().union(*(_varying(lax.axis_index(name)) for name in _names(axis_name)))


def _varying(value) -> frozenset:
    return jax.typeof(value).manual_axis_type.varying


def _minus(tree):
    return jax.tree.map(jnp.negative, tree)


def _like(tree, other):
    return jax.tree.map(lambda leaf, o: leaf.astype(o.dtype), tree, other)
