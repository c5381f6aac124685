"""The analytic counterpart of Gaussian input noise: its effect on a loss, as a penalty on the Jacobian."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount
from noisejax._random.stream import enter, words
from noisejax._sharding import axis_names, with_axis_names


def tikhonov_penalty(f: Callable, x: jax.Array, std: Amount, *, loss: str = "squared") -> jax.Array:
    """The expected increase of each example's loss under Gaussian input noise, to second order, from the Jacobian.

    With J the Jacobian of f at one example and H the Hessian of the loss in the outputs of f,

        ``penalty = 1/2 tr(diag(std) J^T H J diag(std))``.

    For the squared loss 1/2 ||f(x) - y||^2, where H is the identity, this is ``std**2 / 2 * ||J||_F^2``. For
    ||f(x) - y||^2 without the factor 1/2, multiply it by 2; for a mean over m outputs, divide it by m. The full
    expansion, with S = diag(std), is

        ``E loss(f(x + S n)) - loss(f(x)) = penalty + 1/2 sum_k dloss/df_k tr(S f_k'' S) + O(std**4)``.

    The second term vanishes if f is linear in x, and on average over y at the optimum f(x) = E[y | x] (Bishop 1995). If
    f is linear and the loss is squared, the fourth order vanishes too: the penalty is exact, and is that of ridge
    regression. In all other cases the term is dropped, as in the Gauss-Newton method, so the penalty is never negative
    and does not depend on y. In a ReLU network the term is concentrated at the kinks, and appears in averages over x.

    Args:
      f: a function of a batch, (B, ...) to (B, ...), that treats the examples independently: it must not use batch
        statistics. For cross-entropies it returns logits.
      x: floats of shape (B, ...).
      std: the standard deviation of the noise, in the units of x; at least 0, broadcastable to x. 0 gives 0.
      loss: `'squared'`, `'softmax_cross_entropy'` (over all outputs of an example) or `'sigmoid_binary_cross_entropy'`
        (summed over the outputs). Static.

    Returns:
      An array of shape (B,), in float32 or x's wider dtype, to be averaged and added to the clean loss. It is
      differentiable in std and in the variables that f closes over. It computes one vector-Jacobian product for each
      output of an example, all in memory at once. For many outputs, see `tikhonov_estimate`.

    References:
      Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7(1), 1995. Camuto et
      al., "Explicit regularisation in Gaussian noise injections", NeurIPS 2020, for H and deep networks.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> w = jnp.array([[3.0], [4.0]])
      >>> nj.tikhonov_penalty(lambda x: x @ w, jnp.ones((2, 2)), 0.1).round(4).tolist()  # 0.1**2 / 2 * (3**2 + 4**2)
      [0.125, 0.125]
    """
    x, std = _entered("tikhonov_penalty", f, x, std, loss)
    outputs, pull = jax.vjp(_array_of("tikhonov_penalty", f), x)
    _check_outputs("tikhonov_penalty", x, outputs)
    basis = jnp.eye(math.prod(outputs.shape[1:]), dtype=outputs.dtype)
    basis = basis.reshape(-1, 1, *outputs.shape[1:])
    return 0.5 * _squares(outputs, pull, basis, std, loss).sum(0)


def tikhonov_estimate(
    key: jax.Array, f: Callable, x: jax.Array, std: Amount, *, probes: int = 1, loss: str = "squared"
) -> jax.Array:
    """An unbiased estimate of `tikhonov_penalty` from random vector-Jacobian products, for f with many outputs.

    With A^T A = H, the trace of A J diag(std**2) J^T A^T is the mean of ``||diag(std) J^T A^T z||^2`` over probes z of
    independent random signs. One probe costs about as much as the gradient of f in x, for any number of outputs. For f
    with one output, the estimate is exact.

    Args:
      key: a JAX key.
      f, x, std, loss: as in `tikhonov_penalty`.
      probes: the number of random vectors to average for each example; the variance is proportional to 1 / probes.
        Static.

    Returns:
      An array of shape (B,), never negative. Its dtype and gradients are as for `tikhonov_penalty`.

    References:
      Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines",
      Communications in Statistics 19(2), 1990. Hoffman, Roberts and Yaida, "Robust learning with Jacobian
      regularization", 2019, for the random projections of the outputs.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> w, x = jnp.array([[3.0, 0.0], [4.0, 5.0]]), jnp.ones((1, 2))
      >>> estimate = nj.tikhonov_estimate(jax.random.key(0), lambda x: x @ w, x, 0.1, probes=1000)
      >>> exact = nj.tikhonov_penalty(lambda x: x @ w, x, 0.1)
      >>> print(f"{exact[0]:.3f} {abs(estimate[0] - exact[0]) < 0.03}")
      0.250 True
    """
    stream = enter("tikhonov_estimate", key)
    if not isinstance(probes, int) or probes < 1:
        raise ValueError(f"tikhonov_estimate: probes must be an integer, at least 1, got {probes!r}.")
    x, std = _entered("tikhonov_estimate", f, x, std, loss)
    outputs, pull = jax.vjp(_array_of("tikhonov_estimate", f), x)
    _check_outputs("tikhonov_estimate", x, outputs)
    # The axis of probes is last, so that an example's probes do not depend on the number of examples.
    sharding = with_axis_names(outputs, axis_names(outputs, outputs.ndim + 1))
    sign_bits = words(stream, "tikhonov_estimate", (*outputs.shape, probes), sharding=sharding) >> jnp.uint32(31)
    signs = 1 - 2 * sign_bits.astype(outputs.dtype)
    return 0.5 * _squares(outputs, pull, jnp.moveaxis(signs, -1, 0), std, loss).mean(0)


def _squares(outputs, pull, probes, std, loss: str) -> jax.Array:
    """||diag(std) J^T A^T z||^2 for each probe z and example: (probes, B)."""

    def one(probe):
        (pulled,) = pull(_ROOTS[loss](outputs, probe + jnp.zeros_like(outputs)))
        scaled = pulled.astype(std.dtype) * std
        return jnp.sum(scaled * scaled, axis=tuple(range(1, scaled.ndim)))

    return jax.vmap(one)(probes)


def _squared(outputs, z):
    return z


def _softmax_cross_entropy(outputs, z):
    """A = diag(sqrt(p)) (1 - 1 p^T), so that A^T A = diag(p) - p p^T, the Hessian in the logits."""
    axes = tuple(range(1, outputs.ndim))
    root = jnp.exp(0.5 * jax.nn.log_softmax(outputs, axis=axes))
    weighted = root * z
    return weighted - root * root * jnp.sum(weighted, axis=axes, keepdims=True)


def _sigmoid_binary_cross_entropy(outputs, z):
    """A = diag(sqrt(p (1 - p))), from logarithms, whose gradients remain finite at p = 0 and p = 1."""
    return jnp.exp(0.5 * (jax.nn.log_sigmoid(outputs) + jax.nn.log_sigmoid(-outputs))) * z


_ROOTS = {
    "squared": _squared,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "sigmoid_binary_cross_entropy": _sigmoid_binary_cross_entropy,
}


def _entered(function: str, f, x, std, loss: str) -> tuple[jax.Array, jax.Array]:
    """x and the std, which has the rank of x, as JAX arrays."""
    _checks.function(function, "f", f, "of a batch")
    _checks.array(function, x, _checks.floats)
    if x.ndim == 0 or not x.size:
        got = "a scalar" if x.ndim == 0 else f"the empty shape {x.shape}"
        raise ValueError(f"{function}: x must be a batch, (B, ...), got {got}.")
    _checks.one_of(function, "loss", loss, tuple(_ROOTS))
    std = jnp.asarray(arithmetic_amount(function, "std", std, _checks.nonnegative))
    _checks.broadcastable(function, "std", std.shape, x.shape)
    # Sums of squares need float32 or wider; strict rank promotion needs std to have the rank of x.
    x = jnp.asarray(x)  # float64 remains only where JAX has it
    std = std.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    return x, std.reshape((1,) * (x.ndim - std.ndim) + std.shape)


def _array_of(function: str, f: Callable) -> Callable:
    """f, with an error if it returns no array."""

    def checked(x):
        outputs = f(x)
        if not isinstance(outputs, jax.Array):
            raise TypeError(f"{function}: f must return one array of shape (B, ...), got {_checks.shown(outputs)}.")
        return outputs

    return checked


def _check_outputs(function: str, x, outputs) -> None:
    if not hasattr(outputs, "ndim") or outputs.ndim == 0 or outputs.shape[0] != x.shape[0]:
        raise ValueError(
            f"{function}: f must map a batch of shape {x.shape} to a batch, got {getattr(outputs, 'shape', outputs)}. "
            "For a function of one example, pass jax.vmap(f)."
        )
