"""Losses without labels: how much a model's output changes along its most sensitive direction."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from noisejax._contract import Amount
from noisejax.adversarial._attacks.driver import steps_unrolled
from noisejax.adversarial._inputs import check_attack
from noisejax.adversarial._losses import kl
from noisejax.adversarial._options import amount_per_example, positive
from noisejax.adversarial._outputs import rows_of_logits
from noisejax.adversarial._threats.balls import L2, Threat, spread
from noisejax.adversarial._training.losses import normal_start, without_gradient


def vat(
    key: jax.Array,
    predict: Callable,
    x: jax.Array,
    threat: Threat,
    xi: Amount | None = None,
    *,
    steps: int = 1,
    attacked: Callable | None = None,
    ids: jax.Array | None = None,
) -> jax.Array:
    """Virtual adversarial training: ``KL(p(x) || p(x + r))``, where r changes the output most. It needs no labels.

    With the Hessian H of the KL in r at 0, power iterations ``d <- H d / |H d|`` move a random direction towards the
    top eigenvector. Then r is a step of the threat along H d: ``eps * d`` for `L2`, ``eps * sign(H d)`` for `Linf`.
    p(x) is a constant without gradient. With few labels, add the mean over all examples to the supervised loss.

    Args:
      key: a JAX key.
      predict: ``predict(x) -> logits`` of shape (B, classes), called on x and then on x + r. It may be an nnx model in
        train mode.
      x: floats of shape (B, ...), labelled or not.
      threat: `L2` or `Linf`, with or without bounds.
      xi: None multiplies by H itself, which is exact in any dtype: H is J^T (diag p - p p^T) J at r = 0. A number uses
        the finite difference of the paper with this length instead, for models without forward derivatives. The paper
        uses 1e-6, which is too small for float32 (try 1e-2) and far too small for bfloat16.
      steps: the number of power iterations, at least 1: the paper's K. Static.
      attacked: the model that is attacked, a pure function ``attacked(x) -> logits``. None for `predict`.
      ids: as in `attack`.

    Returns:
      The loss of each example, float32 of shape (B,).

    References:
      Miyato et al., "Virtual adversarial training: a regularization method for supervised and semi-supervised
      learning", TPAMI 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> x, threat = jnp.zeros((1, 2)), adversarial.L2(0.5, bounds=None)
      >>> predict = lambda x: x @ jnp.array([[4.0, 0.0], [0.0, 0.0]])  # only the first feature matters
      >>> loss = jax.jit(lambda key, x: adversarial.vat(key, predict, x, threat))
      >>> loss(jax.random.key(0), x).round(3).tolist()
      [0.43400...]
    """
    x = check_attack("vat", key, predict, x, threat, (), steps=steps, order="key, predict, x, threat")
    if steps < 1:
        raise ValueError("vat: steps must be at least 1. Without a power iteration the direction is random.")
    if xi is not None:
        xi = spread(amount_per_example("vat", "xi", xi, x.shape[0], positive), x)
    clean = jax.lax.stop_gradient(rows_of_logits("vat", predict(x)))
    model = without_gradient("vat", attacked or predict, x)
    reference = clean if attacked is None else jax.lax.stop_gradient(model(x))
    unit = L2(1.0, None)
    given = threat.fitted(x)

    def iterate(d, _):
        d = unit.steepest(d, x, d)
        d = _pushed(model, x, d, reference) if xi is None else _difference(model, x, d, reference, xi)
        return jax.lax.stop_gradient(given.masked(jnp.where(jnp.isfinite(d), d, 0))), None

    d = given.masked(normal_start("vat", key, x, 1.0, ids))
    unroll = steps_unrolled("vat", None, steps, model, x)
    d, _ = iterate(d, None) if steps == 1 else jax.lax.scan(iterate, d, length=steps, unroll=unroll)
    r = given.project(given.reach(x) * given.steepest(d, x, jnp.zeros_like(x)), x)
    return kl(predict(jax.lax.stop_gradient(given.perturbed(x, r))), clean)


def _pushed(model: Callable, x: jax.Array, d: jax.Array, logits: jax.Array) -> Any:
    """H d: forward to the logits, multiplied by the Fisher information there, and back."""
    tangent = jax.jvp(model, (x,), (d,))[1].astype(jnp.float32)
    p = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    cotangent = p * (tangent - jnp.sum(p * tangent, axis=-1, keepdims=True))
    out, pull = jax.vjp(model, x)
    return pull(cotangent.astype(out.dtype))[0]


def _difference(model: Callable, x: jax.Array, d: jax.Array, logits: jax.Array, xi: Any) -> jax.Array:
    step = xi * d
    return jax.grad(lambda step: jnp.sum(kl(model(x + step), logits)))(step)
