"""Threats: the perturbations that an adversary may make. A ball of a norm, bounds, and a mask of mutable features."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount, straight_through
from noisejax._random import sample
from noisejax._random.stream import Stream, examples, fold, one_example, stage, words, words_like
from noisejax._sharding import like_examples
from noisejax.adversarial._health import host_value


class Threat:
    """The interface of `Linf`, `L2`, `L1`, `L0` and `Tabular`. A threat is a pytree, and eps may be traced.

    All methods act on a batch. x and delta are float32 of shape (B, ...), and examples do not depend on each other.

    Args:
      eps: the size of the ball, at least 0; 0 allows no change. A scalar, or an array of shape (B,) with one value per
        example. `Linf` also accepts one value per feature, with x's rank: (1, ..., features).
      bounds: the range of valid inputs: ``(low, high)``, scalars or arrays that broadcast to x; None for no bounds.
      mutable: where x may change: booleans that broadcast to x, such as a feature mask (D,) or a patch (1, H, W, 1);
        None for everywhere.
    """

    _data: ClassVar[tuple[str, ...]] = ("eps", "bounds", "mutable")
    _static: ClassVar[tuple[str, ...]] = ()
    eps: Any
    bounds: Any
    mutable: Any

    def __init__(self, eps: Amount, bounds: tuple[Any, Any] | None, *, mutable: Any = None):
        name = type(self).__name__
        self.eps = _float(name, "eps", eps, _checks.nonnegative)
        self.bounds = _checked_bounds(name, bounds)
        if isinstance(mutable, (list, tuple, bool)):
            mutable = _checks.listed(name, "mutable", mutable)
        _checks.native(name, "mutable", mutable)
        if mutable is not None and not _boolean(mutable):
            raise TypeError(f"{name}: mutable must be booleans, True where x may change, got {mutable!r}.")
        self.mutable = mutable

    def __init_subclass__(cls):
        def unflatten(static, leaves):
            threat = object.__new__(cls)  # leaves may be anything here: placeholders, axes, shardings
            for name, value in zip((*cls._data, *cls._static), (*leaves, *static), strict=True):
                setattr(threat, name, value)
            return threat

        jax.tree_util.register_pytree_with_keys(
            cls,
            lambda threat: (
                tuple((jax.tree_util.GetAttrKey(name), getattr(threat, name)) for name in cls._data),
                tuple(getattr(threat, name) for name in cls._static),
            ),
            unflatten,
        )

    def __repr__(self):
        shown = ((name, getattr(self, name)) for name in (*self._data, *self._static))
        return f"{type(self).__name__}({', '.join(f'{n}={_show(v)}' for n, v in shown if v is not None)})"

    def project(self, delta: jax.Array, x: jax.Array) -> jax.Array:
        """The perturbation nearest to delta that lies in the ball and keeps x inside the bounds."""
        threat = self.fitted(x)
        return threat._project(threat.masked(delta), x)

    def sample(self, key: jax.Array | Stream, x: jax.Array, ids: jax.Array | None = None) -> jax.Array:
        """A perturbation drawn uniformly from the ball, then projected into the bounds.

        Args:
          key: a JAX key.
          x: the clean examples.
          ids: integers of shape (B,). Example i depends only on ``(key, ids[i])``. None for 0, 1, ..., B - 1.
        """
        threat, ids = self.fitted(x), check_ids("sample", ids, x)
        return threat.project(threat._draw(streams_per_example(key, ids, x), x, False), x)

    def boundary(self, key: jax.Array | Stream, x: jax.Array, ids: jax.Array | None = None) -> jax.Array:
        """A perturbation drawn from the surface of the ball, then projected into the bounds."""
        threat, ids = self.fitted(x), check_ids("boundary", ids, x)
        return threat.project(threat._draw(streams_per_example(key, ids, x), x, True), x)

    def norm(self, delta: jax.Array) -> jax.Array:
        """The size of each example's perturbation, of shape (B,)."""
        raise NotImplementedError

    def contains(self, delta: jax.Array, x: jax.Array, atol: float = 1e-6) -> jax.Array:
        """Whether each example's perturbation is allowed, of shape (B,), within a tolerance of ``atol * (1 + eps)``."""
        threat = self.fitted(x)
        inside = threat._within(delta, atol * (1 + threat.eps))
        if threat.mutable is not None:
            inside = inside & _all_features(threat.mutable | (delta == 0))
        if threat.bounds is not None:
            low, high = threat.bounds
            inside = inside & _all_features((x + delta >= low - atol) & (x + delta <= high + atol))
        return inside

    def perturbed(self, x: jax.Array, delta: jax.Array) -> jax.Array:
        """The adversarial example ``x + delta``, exactly inside the bounds. Its derivative in delta is the identity."""
        threat = self.fitted(x)
        point = x + delta
        return straight_through(threat.into_bounds(point), point)

    def ahead(self, x: jax.Array, delta: jax.Array) -> jax.Array:
        """The point at which a lookahead gradient is taken (NI-FGSM). The perturbation may lie outside the threat."""
        return x + delta

    def steepest(self, grad: jax.Array, x: jax.Array, delta: jax.Array) -> jax.Array:
        """The direction of length 1 along which a function with this gradient increases most; 0 for a zero gradient.

        It is the direction of a step of steepest ascent: the sign for `Linf`, the unit gradient for `L2`.
        """
        threat = self.fitted(x)
        return threat._steepest(threat.masked(grad), x, delta)

    def reach(self, x: jax.Array) -> jax.Array:
        """The largest perturbation in units of `steepest`, broadcastable to x: eps, except for `L0`."""
        return jnp.asarray(self.fitted(x).eps)

    def masked(self, delta: jax.Array) -> jax.Array:
        """delta where x may change, and 0 elsewhere."""
        return delta if self.mutable is None else jnp.where(self.fitted(delta).mutable, delta, 0)

    def into_bounds(self, x: jax.Array) -> jax.Array:
        """x clipped to the bounds."""
        return x if self.bounds is None else jnp.clip(x, *self.fitted(x).bounds)

    def headroom(self, x: jax.Array) -> tuple[jax.Array, jax.Array] | None:
        """How far each element of x may decrease (at most 0) and increase within the bounds; None without bounds."""
        if self.bounds is None:
            return None
        low, high = self.fitted(x).bounds
        return low - x, high - x

    def fitted(self, x: jax.Array) -> Any:
        """The same threat whose leaves are scalars or have x's rank, sharded as x is. Shapes are checked here.

        A leaf with a leading axis of B belongs to the examples, and is gathered along with them.
        """
        name, shape = type(self).__name__, x.shape
        threat = object.__new__(type(self))
        for static in self._static:
            setattr(threat, static, getattr(self, static))
        eps = self.eps
        if np.ndim(eps) == 1 and x.ndim > 1:
            if np.shape(eps) != shape[:1]:
                raise ValueError(
                    f"{name}: eps of shape {np.shape(eps)} does not match {shape[0]} examples. Give it shape "
                    f"({shape[0]},). For one eps per feature (Linf), use eps[None] of shape (1, features)."
                )
            column = shape[:1] + (1,) * (x.ndim - 1)
            for what, leaf in (("bounds", self.bounds or ()), ("mutable", (self.mutable,))):
                if shape[0] == shape[-1] > 1 and any(np.shape(value) == shape[-1:] for value in leaf):
                    raise ValueError(
                        f"{name}: eps and {what} both have shape {shape[:1]}, which is the number of examples and that "
                        f"of features. For one eps per example write eps.reshape{column}, and for one per feature "
                        f"(Linf) eps[None]; for {what} per example {what}.reshape{column}, per feature {what}[None]."
                    )
            eps = jnp.reshape(eps, column)
        threat.eps = fit_to_rank(name, "eps", eps, x)
        threat.bounds = None if self.bounds is None else tuple(fit_to_rank(name, "bounds", b, x) for b in self.bounds)
        threat.mutable = None if self.mutable is None else fit_to_rank(name, "mutable", self.mutable, x)
        threat._check_fit(x)
        return threat

    def _check_fit(self, x):
        if np.ndim(self.eps) and any(n != 1 for n in np.shape(self.eps)[1:]):
            raise ValueError(
                f"{type(self).__name__}: eps must be a scalar or one per example, got shape {np.shape(self.eps)}. If "
                "features have different units, standardize them: normalized(predict, mean, std)."
            )

    # Each threat defines these, on fitted leaves.

    def _project(self, delta, x):
        raise NotImplementedError

    def _draw(self, stream, x, surface):
        raise NotImplementedError

    def _steepest(self, grad, x, delta):
        raise NotImplementedError

    def _within(self, delta, slack):
        norm = self.norm(delta)
        eps = self.eps + slack
        return norm <= (jnp.reshape(eps, norm.shape if eps.size > 1 else ()) if np.ndim(eps) else eps)

    def _clip(self, delta, x):
        headroom = self.headroom(x)
        return delta if headroom is None else jnp.clip(delta, *headroom)


class Linf(Threat):
    """Every element may change by at most eps: ``|delta_i| <= eps``. The projection is exact.

    Args:
      eps: at least 0: a scalar, one value per example (B,), or an array of x's rank, such as one value per feature
        (1, ..., features).
      bounds: ``(low, high)``, broadcastable to x, or None.
      mutable: where x may change; None for everywhere.

    References:
      Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> threat = adversarial.Linf(0.25, bounds=(0, 1))
      >>> threat
      Linf(eps=0.25, bounds=(0, 1))
      >>> threat.project(jnp.array([[0.5, -0.5]]), jnp.array([[0.875, 0.5]])).tolist()
      [[0.125, -0.25]]
    """

    def norm(self, delta):
        return jnp.max(jnp.abs(delta), axis=_features(delta), initial=0)

    def _project(self, delta, x):
        return self._clip(jnp.clip(delta, -self.eps, self.eps), x)

    def _draw(self, stream, x, surface):
        delta = self.masked(sample.symmetric_uniform(words_per_element(stream, "adversarial.linf", x)))
        return self.eps * (divide_or(delta, max_abs(delta)) if surface else delta)

    def _steepest(self, grad, x, delta):
        return jnp.sign(grad)

    def _within(self, delta, slack):
        return _all_features(jnp.abs(delta) <= self.eps + slack)

    def _check_fit(self, x):
        pass


class L2(Threat):
    """The Euclidean length of the perturbation is at most eps.

    The projection scales the perturbation into the ball and then clips it to the bounds, as the reference
    implementations do. The result is always allowed, but it is not always the nearest allowed point once the bounds
    clip it.

    Args:
      eps: at least 0: a scalar, or one value per example (B,).
      bounds: ``(low, high)``, broadcastable to x, or None.
      mutable: where x may change; None for everywhere.

    References:
      Madry et al., ICLR 2018. `sample`: Voelker, Gosmann and Stewart, "Efficiently sampling vectors and coordinates
      from the n-sphere and n-ball", 2017.

    Example:
      >>> import jax.numpy as jnp
      >>> from noisejax import adversarial
      >>> adversarial.L2(1.0, bounds=None).project(jnp.array([[0.0, 4.0]]), jnp.zeros((1, 2))).tolist()
      [[0.0, 1.0]]
    """

    def norm(self, delta):
        return jnp.sqrt(jnp.sum(delta * delta, axis=_features(delta)))

    def _project(self, delta, x):
        norm = as_column(self.norm(delta), delta)
        return self._clip(delta * jnp.minimum(divide_or(self.eps, norm, 1), 1), x)

    def _draw(self, stream, x, surface):
        z = self.masked(sample.normal(words_per_element(stream, "adversarial.l2", x)))
        squares = jnp.sum(z * z, axis=_features(z), keepdims=True)
        if not surface:  # the sphere with two more dimensions, whose squares sum to twice an exponential
            squares = squares + 2 * sample.exponential(words_per_example(stream, "adversarial.l2.radius", x))
        return self.eps * divide_or(z, jnp.sqrt(squares))

    def _steepest(self, grad, x, delta):
        return divide_or(grad, as_column(self.norm(divide_or(grad, max_abs(grad))), grad) * max_abs(grad))


# Draws. Those of example i depend only on (key, ids[i]).


def check_ids(function: str, ids, x) -> jax.Array | None:
    """The ids of the examples as integers, one for each. None stays None."""
    if ids is None:
        return None
    ids = _checks.ids(function, ids)
    if ids.shape != x.shape[:1]:
        raise ValueError(
            f"{function}: ids must be integers of shape {x.shape[:1]}, one for each example of x, got {ids.shape}."
        )
    return ids


def streams_per_example(key, ids, x):
    """One stream for each example, from ids that `check_ids` has passed."""
    ids = examples(key, x.shape[0]) if ids is None else ids
    return one_example(fold(stage(key, "adversarial"), like_examples(ids, x)))


def words_per_element(stream, tag: str, x) -> jax.Array:
    """One word for each element of x."""
    return jax.vmap(lambda stream, row: words_like(stream, tag, row))(stream, x)


def words_per_example(stream, tag: str, x) -> jax.Array:
    """One word for each example, of shape (B, 1, ...)."""
    return jax.vmap(lambda stream: words(stream, tag, (1,) * (x.ndim - 1)))(stream)


# Arithmetic per example.


def divide_or(a, b, otherwise: float = 0) -> jax.Array:
    """a / b, and `otherwise` where b is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), otherwise)


def max_abs(delta) -> jax.Array:
    return jnp.max(jnp.abs(delta), axis=_features(delta), keepdims=True, initial=0)


def as_column(values: jax.Array, x: jax.Array) -> jax.Array:
    """One value per example, of shape (B,), as (B, 1, ...)."""
    return jnp.expand_dims(values, _features(x))


def spread(amount: jax.Array, x: jax.Array) -> jax.Array:
    """An amount of shape () or (B,) in a shape that broadcasts with x."""
    return as_column(amount, x) if amount.ndim else amount


def _features(x) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def _all_features(inside) -> jax.Array:
    return jnp.all(inside, axis=_features(inside))


def fit_to_rank(function: str, name: str, value, x) -> Any:
    """A leaf as a scalar or with x's rank, its examples sharded as those of x are."""
    if np.ndim(value) == 0:
        return value
    _checks.broadcastable(function, name, np.shape(value), x.shape)
    value = jnp.reshape(value, (1,) * (x.ndim - np.ndim(value)) + np.shape(value))
    return like_examples(value, x) if value.shape[0] != 1 else value


def _float(function: str, name: str, value, inside=None):
    if isinstance(value, (str, bytes, complex, dict)) or callable(value):
        hint = f" Write {value} without quotes." if isinstance(value, str) else ""
        got = _checks.shown(value)
        raise TypeError(f"{function}: {name} must be a number or an array of numbers, got {got}.{hint}")
    value = arithmetic_amount(function, name, value, inside)
    known = host_value(value) if isinstance(value, jax.Array) else None
    if known is not None and inside is not None:
        inside(function, name, known.astype(np.float32))
    return value.astype(jnp.float32) if isinstance(value, jax.Array) else value


def _checked_bounds(function: str, bounds):
    if bounds is None:
        return None
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(f"{function}: bounds must be (low, high), or None for no bounds, got {bounds!r}.")
    low, high = (_float(function, "bounds", b) for b in bounds)
    arrays = (np.ndarray, jax.Array)
    known = [host_value(bound) if isinstance(bound, arrays) else None for bound in (low, high)]
    if known[0] is not None and known[1] is not None and not np.all(known[0] < known[1]):
        raise ValueError(
            f"{function}: bounds must be (low, high) with low < high, got {bounds!r}. To keep features fixed, use "
            "mutable=."
        )
    return low, high


def _boolean(value) -> bool:
    return getattr(value, "dtype", None) == np.bool_


def _show(value) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_show, value))})"
    if hasattr(value, "shape") and (value.shape or isinstance(value, Tracer)):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return f"{float(value):g}" if hasattr(value, "dtype") else repr(value)
