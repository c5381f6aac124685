"""Stochastic gradient Langevin dynamics: noise with which an optimizer samples from a posterior."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from noisejax import _checks
from noisejax._contract import Amount
from noisejax.optim import _streams
from noisejax.optim._additive import add, normal
from noisejax.optim._streams import ScalarOrSchedule


def sgld(
    key: jax.Array, learning_rate: ScalarOrSchedule, temperature: ScalarOrSchedule = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient Langevin dynamics: the update ``-lr * g + sqrt(2 * lr * temperature) * n``.

    For small learning rates the parameters sample from the density ``exp(-U / temperature)``, where g is an unbiased
    gradient of U. For a posterior, U is the negative log-likelihood *summed* over the N records plus the negative log
    prior. With the *mean* loss over the records (and the prior's term divided by N), temperature = 1 / N gives the same
    posterior. In the paper's notation, lr is half of the step size epsilon.

    Args:
      key: a JAX key.
      learning_rate: at least 0: a number (traced or not) or a schedule.
      temperature: at least 0: a number (traced or not) or a schedule. 0 is gradient descent.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with a `NoiseState`. It is a complete optimizer: chain nothing
        after it.

    References:
      Welling and Teh, "Bayesian learning via stochastic gradient Langevin dynamics", ICML 2011.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> optimizer = noisejax.optim.sgld(jax.random.key(0), 0.05)
      >>> def step(carry, _):
      ...     w, state = carry
      ...     updates, state = optimizer.update(w / 4, state)  # U = w**2 / 8, a normal density of std 2
      ...     return (optax.apply_updates(w, updates), state), None
      >>> w = jnp.zeros(1000)
      >>> (w, _), _ = jax.lax.scan(step, (w, optimizer.init(w)), length=300)
      >>> bool(1.8 < w.std() < 2.2)
      True
    """
    _checks.key("sgld", key)
    learning_rate = _streams.checked("sgld", "learning_rate", learning_rate, _streams.nonnegative)
    temperature = _streams.checked("sgld", "temperature", temperature, _streams.nonnegative)
    return _langevin("sgld", key, learning_rate, temperature, descend=True)


def add_langevin_noise(
    key: jax.Array, learning_rate: ScalarOrSchedule, temperature: ScalarOrSchedule = 1.0
) -> optax.GradientTransformationExtraArgs:
    """The noise of `sgld` alone: ``u + sqrt(2 * lr * temperature) * n``.

    Place it last in a chain, *after* the scaling by the learning rate, and pass the same learning rate or schedule:
    ``optax.chain(optax.sgd(lr), add_langevin_noise(key, lr))`` equals ``sgld(key, lr)``. After an optimizer that
    rescales gradients by element (Adam, RMSProp) it samples from no known density; see `preconditioned_sgld`.

    Args:
      key: a JAX key.
      learning_rate: the learning rate of the chain, at least 0: a number (traced or not) or a schedule.
      temperature: at least 0: a number (traced or not) or a schedule. 0 is the identity.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with a `NoiseState`.

    References:
      Welling and Teh, "Bayesian learning via stochastic gradient Langevin dynamics", ICML 2011.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> lr = optax.polynomial_schedule(0.01, 0.001, 0.55, 1000)
      >>> optimizer = optax.chain(
      ...     optax.clip_by_global_norm(1.0), optax.sgd(lr), noisejax.optim.add_langevin_noise(jax.random.key(0), lr)
      ... )
      >>> state = optimizer.init(jnp.ones(3))
      >>> updates, state = optimizer.update(jnp.ones(3), state)
    """
    _checks.key("add_langevin_noise", key)
    learning_rate = _streams.checked("add_langevin_noise", "learning_rate", learning_rate, _streams.nonnegative)
    temperature = _streams.checked("add_langevin_noise", "temperature", temperature, _streams.nonnegative)
    return _langevin("sgld", key, learning_rate, temperature, descend=False)


def _langevin(tag, key, learning_rate, temperature, *, descend):
    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        rate = _streams.at_count(learning_rate, state.count)
        std = jnp.sqrt(2 * rate * _streams.at_count(temperature, state.count))

        def move(stream, g):
            noise = std * normal(stream, g)
            return add(g, noise, -rate if descend else None)

        updates = _streams.leafwise(move, tag, (_streams.at_step(key, state),), updates)
        return updates, state._replace(count=_streams.following(state.count))

    return optax.GradientTransformationExtraArgs(lambda params: _streams.init(key), update)


class PreconditionedSGLDState(NamedTuple):
    """The state of `preconditioned_sgld`: a `NoiseState`, and the running mean of squared gradients, float32."""

    count: jax.Array
    key: jax.Array
    nu: optax.Updates


def preconditioned_sgld(
    key: jax.Array,
    learning_rate: ScalarOrSchedule,
    temperature: ScalarOrSchedule = 1.0,
    decay: Amount = 0.99,
    eps: Amount = 1e-5,
) -> optax.GradientTransformationExtraArgs:
    """SGLD with RMSProp's preconditioner G: ``-lr * G * g + sqrt(2 * lr * temperature * G) * n``, for each element.

    G = 1 / (eps + sqrt(nu)), with ``nu = decay * nu + (1 - decay) * g**2``. The drift term from the change of G (Gamma
    in the paper) is omitted, as in the paper's experiments. The density is that of `sgld` as long as G is constant.

    Args:
      key: a JAX key.
      learning_rate: at least 0: a number (traced or not) or a schedule.
      temperature: as in `sgld`. The paper divides by the average of the gradient over the records, not by its sum. To
        follow it, use the mean loss and temperature = 1 / N.
      decay: the decay of the running mean, in [0, 1].
      eps: a constant above 0 that bounds G.

    Returns:
      An `optax.GradientTransformationExtraArgs`, with a `PreconditionedSGLDState`: a complete optimizer.

    References:
      Li, Chen, Carlson and Carin, "Preconditioned stochastic gradient Langevin dynamics for deep neural networks", AAAI
      2016; its step size epsilon is 2 lr here.

    Example:
      >>> import jax, jax.numpy as jnp, optax, noisejax.optim
      >>> optimizer = noisejax.optim.preconditioned_sgld(jax.random.key(0), 1e-3, temperature=1 / 60_000)
      >>> state = optimizer.init(jnp.ones(3))
      >>> updates, state = optimizer.update(jnp.ones(3), state)
    """
    name = "preconditioned_sgld"
    _checks.key(name, key)
    learning_rate = _streams.checked(name, "learning_rate", learning_rate, _streams.nonnegative)
    temperature = _streams.checked(name, "temperature", temperature, _streams.nonnegative)
    decay = _streams.checked(name, "decay", decay, _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), ""))
    eps = _streams.checked(name, "eps", eps, _streams.positive)

    def init(params):
        nu = jax.tree.map(lambda p: jnp.zeros_like(p, jnp.float32) if _streams.is_float(p) else p, params)
        return PreconditionedSGLDState(*_streams.init(key), nu=nu)

    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        _streams.same_shapes(name, "updates", updates, "the params of init", state.nu)
        rate = _streams.at_count(learning_rate, state.count)
        heat = _streams.at_count(temperature, state.count)
        keep, least = (_streams.at_count(value, state.count) for value in (decay, eps))

        def average(g, nu):
            g = g.astype(jnp.float32)
            return keep * nu + (1 - keep) * g * g

        nu = jax.tree.map(lambda g, nu: average(g, nu) if _streams.is_float(g) else nu, updates, state.nu)

        def move(stream, g, nu):
            preconditioner = 1 / (least + jnp.sqrt(nu))
            return add(g, jnp.sqrt(2 * rate * heat * preconditioner) * normal(stream, g), -rate * preconditioner)

        updates = _streams.leafwise(move, name, (_streams.at_step(key, state),), updates, nu)
        return updates, PreconditionedSGLDState(_streams.following(state.count), state.key, nu)

    return optax.GradientTransformationExtraArgs(init, update)
