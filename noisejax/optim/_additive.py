"""Additive noise: on gradients, independent between steps, and on parameters, anticorrelated."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from noisejax import _checks
from noisejax._contract import Amount
from noisejax._levels import at_step
from noisejax._noise import call
from noisejax._random import sample
from noisejax._random.stream import words_like
from noisejax.optim import _streams
from noisejax.optim._streams import ScalarOrSchedule


def annealed_std(eta: Amount, gamma: Amount = 0.55) -> Callable[[jax.Array], jax.Array]:
    """The schedule of annealed gradient noise: ``std(t) = sqrt(eta / (1 + t)**gamma)``.

    Args:
      eta: the variance at step 0; at least 0. The paper tries 0.01, 0.3 and 1.
      gamma: the rate at which the variance decays, at least 0; 0 keeps it constant.

    Returns:
      A function of the step, for `add_noise` and for any argument of optax that accepts a schedule.

    References:
      Neelakantan et al., "Adding gradient noise improves learning for very deep networks", arXiv:1511.06807, 2015.

    Example:
      >>> import noisejax.optim
      >>> std = noisejax.optim.annealed_std(0.04, gamma=1.0)
      >>> [f"{std(t):.3f}" for t in (0, 3, 99)]
      ['0.200', '0.100', '0.020']
    """
    eta = _streams.constant("annealed_std", "eta", eta, _streams.nonnegative)
    gamma = _streams.constant("annealed_std", "gamma", gamma, _streams.nonnegative)

    def schedule(count):
        steps = 1 + jnp.asarray(count).astype(jnp.float32)
        return jnp.sqrt(jnp.asarray(eta).astype(jnp.float32) * steps ** -jnp.asarray(gamma).astype(jnp.float32))

    return schedule


def add_noise(key: jax.Array, std: ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """Adds Gaussian noise to the updates: ``g + std(t) * n``, with n standard normal for each element.

    Noise is drawn in float32 and the sum is rounded once, to the dtype of the updates: noise drawn in bfloat16 has only
    128 different values. Placed first in a chain, this is the gradient noise of the paper.

    Args:
      key: a JAX key.
      std: the standard deviation, at least 0: a number (traced or not) or a schedule such as `annealed_std`. 0 is the
        identity.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with a `NoiseState`.

    References:
      Neelakantan et al., "Adding gradient noise improves learning for very deep networks", arXiv:1511.06807, 2015.
      ``add_noise(key, annealed_std(eta, gamma))`` is ``optax.add_noise(eta, gamma, key)`` with different draws.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> noise = noisejax.optim.add_noise(jax.random.key(0), noisejax.optim.annealed_std(0.01))
      >>> optimizer = optax.chain(noise, optax.sgd(0.1))
      >>> params = {"w": jnp.ones(3)}
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(params, state, params)
      >>> updates["w"].shape
      (3,)
    """
    _checks.key("add_noise", key)
    std = _streams.checked("add_noise", "std", std, _streams.nonnegative)

    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        amount = _streams.at_count(std, state.count)

        def noisy(stream, g):
            return add(g, amount * normal(stream, g))

        updates = _streams.leafwise(noisy, "add_noise", (_streams.at_step(key, state),), updates)
        return updates, state._replace(count=_streams.following(state.count))

    return optax.GradientTransformationExtraArgs(lambda params: _streams.init(key), update)


def apply_noise(key: jax.Array, noise: Callable) -> optax.GradientTransformationExtraArgs:
    """Applies any noise to every leaf of the updates: heavy-tailed noise, dropped gradients, sign flips, chains.

    Args:
      key: a JAX key.
      noise: a bound noise or any function ``(key, x) -> x``. Amounts that follow a schedule are evaluated at each step,
        as by `noisejax.at_step`.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with a `NoiseState`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax as nj, noisejax.optim
      >>> noise = nj.bind(nj.student_t, scale=nj.scheduled(optax.linear_schedule(0.1, 0.0, 100)), df=3.0)
      >>> optimizer = optax.chain(noisejax.optim.apply_noise(jax.random.key(0), noise), optax.sgd(0.1))
      >>> state = optimizer.init(jnp.ones(3))
      >>> updates, state = optimizer.update(jnp.ones(3), state)
    """
    _checks.key("apply_noise", key)
    if not callable(noise) or hasattr(noise, "__noise__"):
        raise TypeError(f"apply_noise: noise must be a bound noise or a function (key, x) -> x, got {noise!r}.")

    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        now = at_step(noise, state.count)

        def noisy(stream, g):
            return call(now, stream, g, None, None)

        updates = _streams.leafwise(noisy, "apply_noise", (_streams.at_step(key, state),), updates)
        return updates, state._replace(count=_streams.following(state.count))

    return optax.GradientTransformationExtraArgs(lambda params: _streams.init(key), update)


class AnticorrelatedNoiseState(NamedTuple):
    """The state of `add_anticorrelated_noise`: a `NoiseState`, and the std of the parameters' current perturbation."""

    count: jax.Array
    key: jax.Array
    std: jax.Array


def add_anticorrelated_noise(key: jax.Array, std: ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """Adds the increments of a perturbation of the parameters: ``u_t + xi_{t+1} - xi_t``.

    Here xi_0 = 0 and xi_{t+1} = std(t) * n_{t+1}, with n standard normal for each element and step.
    Place it last in a chain, after the learning rate. The increments sum to the last perturbation. So the parameters
    are w_t = z_t + xi_t, where z_t is updated with the gradient at the perturbed point, ``z - lr * grad(z + xi)``. This
    also takes gradients at noisy weights without changing the train step. If std decays to 0, the parameters end at the
    clean z. No copy of the parameters is stored: the last perturbation is drawn again.

    In bfloat16 parameters the increments are rounded, and the rounding errors do not cancel.

    Args:
      key: a JAX key.
      std: the standard deviation of the perturbation, in the units of the parameters; at least 0: a number (traced or
        not) or a schedule. 0 is the identity.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with an `AnticorrelatedNoiseState`.

    References:
      Orvieto, Kersting, Proske, Bach and Lucchi, "Anticorrelated noise injection for improved generalization", ICML
      2022 (Anti-PGD). The perturbation before the first step is 0 here, so that z_0 = w_0.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> std = optax.linear_schedule(0.1, 0.0, 3)  # 0 from the fourth step on
      >>> optimizer = optax.chain(optax.sgd(0.5), noisejax.optim.add_anticorrelated_noise(jax.random.key(0), std))
      >>> params = jnp.ones(2)
      >>> state = optimizer.init(params)
      >>> for _ in range(4):
      ...     updates, state = optimizer.update(jnp.ones(2), state)  # a constant gradient
      ...     params = optax.apply_updates(params, updates)
      >>> params.round(5).tolist()
      [-1.0, -1.0]
    """
    _checks.key("add_anticorrelated_noise", key)
    std = _streams.checked("add_anticorrelated_noise", "std", std, _streams.nonnegative)

    def init(params):
        del params
        return AnticorrelatedNoiseState(*_streams.init(key), std=jnp.zeros((), jnp.float32))

    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        amount = _streams.at_count(std, state.count)
        after = AnticorrelatedNoiseState(_streams.following(state.count), state.key, amount)

        def moved(old, new, u):
            return add(u, amount * normal(new, u) - state.std * normal(old, u))

        steps = (_streams.at_step(key, state), _streams.at_step(key, after))
        return _streams.leafwise(moved, "anticorrelated", steps, updates), after

    return optax.GradientTransformationExtraArgs(init, update)


def normal(stream: Any, g: jax.Array) -> jax.Array:
    """Standard normals of g's shape and sharding, in float32 precision for any dtype of g."""
    return sample.normal(words_like(stream, "normal", g))


def add(g: jax.Array, noise: jax.Array, scale: jax.Array | None = None) -> jax.Array:
    """scale * g + noise in float32 or g's wider dtype, rounded once."""
    wide = jnp.float64 if g.dtype == jnp.float64 else jnp.float32
    scaled = g.astype(wide) if scale is None else scale.astype(wide) * g.astype(wide)
    return (scaled + noise.astype(wide)).astype(g.dtype)
