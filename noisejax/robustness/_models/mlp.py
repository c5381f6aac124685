"""`mlp` and `mlp_adaptive`: small networks for tables, with noise as an argument."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from noisejax import _checks
from noisejax._calls.arguments import arithmetic_amount
from noisejax._checks import texts
from noisejax._noise import Noise


def mlp(
    key: jax.Array,
    data: tuple[Any, Any],
    noise: Callable[..., Any] | None = None,
    dropout: Any = 0.0,
    fgsm: Any = 0.0,
    *,
    classes: int | None = None,
    hidden: tuple[int, ...] = (64, 64),
    seeds: int = 5,
    epochs: int = 30,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
) -> jax.tree_util.Partial:
    """Trains a small network for a table of numbers with several seeds at once. Needs flax and optax.

    The network has dense layers with ReLU, and is trained by AdamW with a cosine schedule. It standardizes columns by
    the mean and standard deviation of the training rows, except columns of zeros and ones, and numbers that are
    predicted. A missing value (NaN) becomes the mean of its column.

    Amounts are traced: another amount in a noise of the same structure, another `dropout` and another `fgsm` cost no
    new compilation, but an `fgsm` or `dropout` of the number 0 leaves its part out. The function works under `jit` and
    `vmap`, and as the ``train`` of `tune`: ``functools.partial(robustness.mlp, classes=2)``.

    Args:
      key: a JAX key: of the initial weights, the order of rows, and the noise.
      data: (x, y): x of shape (B, columns); y of shape (B,), class numbers (integers from 0), or numbers (floats) for a
        regression.
      noise: a noise of a batch, ``(key, (x, y)) -> (x, y)``, such as ``nj.on_entries((nj.bind(nj.gaussian, std=0.1),
        None))`` or ``nj.bind(nj.mixup, alpha=0.2, num_classes=2)``. It may return rows of probabilities for y. It sees
        x in the units of the table. None for none.
      dropout: the rate of dropout on hidden units, in [0, 1).
      fgsm: the size of a step up the loss that is added to each x, in the units of x: a number, or one per column. A
        model trained with it has seen adversarial examples.
      classes: the number of classes. None for the largest class number plus 1, or for a regression; inside `jit` and
        `tune`, integers need the number.
      hidden: the widths of the hidden layers; () for a linear model.
      seeds: the number of networks.
      epochs: how often each row is seen.
      batch_size: rows in a step. The rows that are left over in an epoch are not seen in it.
      learning_rate, weight_decay: of AdamW.

    Returns:
      A predictor of x, a `jax.tree_util.Partial` that `sweep` takes as it is. It returns logits (seeds, B, classes), or
      numbers (seeds, B).

    Raises:
      TypeError: data are not numbers, or the noise is one of x alone.
      ValueError: shapes differ, a label is no class number, or there is one class only.

    References:
      Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015 (`fgsm`).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((600, 3)), 1.0)
      >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
      >>> noise = nj.on_entries((nj.bind(nj.gaussian, std=0.1), None))
      >>> predict = robustness.mlp(jax.random.key(1), (x, y), noise, seeds=2)
      >>> predict(x).shape, bool((predict(x).argmax(-1) == y[None]).mean() > 0.9)
      ((2, 600, 2), True)
    """
    training = _training("mlp")
    _checks.key("mlp", key)
    data, classes = _entered("mlp", data, classes)
    plan = _plan("mlp", classes, hidden, seeds, epochs, batch_size, learning_rate, weight_decay)
    return training.fixed(plan, key, data, _of_batches("mlp", noise), *_amounts("mlp", dropout, fgsm, data[0].shape[1]))


class Adapted(NamedTuple):
    """What `mlp_adaptive` trained. Metrics are of the validation rows: the accuracy, or R² of a regression."""

    predict: jax.tree_util.Partial  # the networks trained with noise
    clean: jax.tree_util.Partial  # those trained without
    level: jax.Array  # of the noise, (seeds, epochs)
    metric: jax.Array  # with noise in training, (seeds, epochs)
    clean_metric: jax.Array  # without


def mlp_adaptive(
    key: jax.Array,
    data: tuple[Any, Any],
    noise_at: Callable[[Any], Callable],
    validation: tuple[Any, Any],
    ceiling: Any = 0.5,
    tolerance: Any = 0.01,
    dropout: Any = 0.0,
    fgsm: Any = 0.0,
    *,
    classes: int | None = None,
    hidden: tuple[int, ...] = (64, 64),
    seeds: int = 5,
    epochs: int = 30,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    weight_decay: float = 1e-4,
) -> Adapted:
    """Trains the networks of `mlp` with noise whose level rises while it costs at most a tolerance.

    It trains without noise first. Then each epoch's metric on the validation rows is compared with that of the same
    epoch and seed without noise, averaged over the five epochs around. The level follows `noisejax.adaptive`: it starts
    at 0, and can reach the ceiling in half of the epochs. Each row has a level of its own, uniform between 0 and the
    current level. ``docs/results/adaptive.md`` has measurements of this recipe on six tables.

    Args:
      key, data, dropout, fgsm, classes, hidden, seeds, epochs, batch_size, learning_rate, weight_decay: as in `mlp`.
      noise_at: a function of levels that returns a noise of a batch, ``(key, (x, y)) -> (x, y)``. It gets a column of
        levels, of shape (batch size, 1), one for each row. Level 0 must be the identity.
      validation: (x, y) of rows that are not trained on.
      ceiling: the highest level, above 0.
      tolerance: how much of the metric the noise may cost, at least 0.

    Returns:
      An `Adapted`: the predictors with and without noise, and levels and metrics by seed and epoch.

    Raises:
      TypeError, ValueError: as `mlp`.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> from noisejax import robustness
      >>> x = nj.gaussian(jax.random.key(0), jnp.zeros((900, 3)), 1.0)
      >>> y = (x[:, 0] > 0).astype(int)
      >>> def noise_at(level):
      ...     return nj.on_entries((nj.bind(nj.gaussian, std=level), None))
      >>> train, validation = (x[:600], y[:600]), (x[600:], y[600:])
      >>> fit = robustness.mlp_adaptive(jax.random.key(1), train, noise_at, validation, seeds=2, epochs=20)
      >>> fit.level.shape, bool(fit.level[:, 0].max() == 0), bool(fit.level.max() > 0)
      ((2, 20), True, True)
    """
    training = _training("mlp_adaptive")
    _checks.key("mlp_adaptive", key)
    _checks.function("mlp_adaptive", "noise_at", noise_at, "of a column of levels")
    data, classes = _entered("mlp_adaptive", data, classes)
    validation, _ = _entered("mlp_adaptive", validation, classes, "validation")
    if validation[0].shape[1] != data[0].shape[1]:
        raise ValueError(
            f"mlp_adaptive: validation must have the {data[0].shape[1]} columns of data, got {validation[0].shape[1]}."
        )
    plan = _plan("mlp_adaptive", classes, hidden, seeds, epochs, batch_size, learning_rate, weight_decay)
    ceiling = _amount("mlp_adaptive", "ceiling", ceiling, _checks.positive)
    tolerance = _amount("mlp_adaptive", "tolerance", tolerance, _checks.nonnegative)
    others = _amounts("mlp_adaptive", dropout, fgsm, data[0].shape[1])
    none = jnp.zeros((plan.seeds, plan.epochs), jnp.float32)

    def run(ceiling, clean):
        amounts = (ceiling, tolerance, *others)
        return training.adaptive(plan, key, data, validation, noise_at, clean, amounts)

    clean, (_, before) = run(jnp.zeros(()), none)  # a ceiling of 0 is no noise, in the same program
    around = [before[:, max(0, n - 2) : n + 3].mean(1) for n in range(plan.epochs)]
    predict, (level, metric) = run(ceiling, jnp.stack(around, 1))
    return Adapted(predict, clean, level, metric, before)


def _training(function: str) -> Any:
    try:
        from noisejax.robustness._models import training
    except ModuleNotFoundError as error:
        raise texts.extra(f"robustness.{function}", (error.name or "flax").split(".")[0], error) from None
    return training


def _plan(function, classes, hidden, seeds, epochs, batch_size, learning_rate, weight_decay) -> Any:
    if isinstance(hidden, (str, bytes)) or not isinstance(hidden, (tuple, list)):
        raise TypeError(f"{function}: hidden must be a tuple of widths, got {_checks.shown(hidden)}.")
    return _training(function).Plan(
        classes,
        tuple(_checks.count(function, "hidden", width, 1) for width in hidden),
        _checks.count(function, "seeds", seeds, 1),
        _checks.count(function, "epochs", epochs, 1),
        _checks.count(function, "batch_size", batch_size, 1),
        _checks.scalar(function, "learning_rate", learning_rate, 0, 1e30),
        _checks.scalar(function, "weight_decay", weight_decay, 0, 1e30),
    )


def _entered(function: str, data: Any, classes: Any, name: str = "data") -> tuple[tuple[Any, Any], int]:
    """x in float32, y as int32 or float32, and the number of classes, 0 for a regression."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"{function}: {name} must be (x, y), got {_checks.shown(data)}.")
    x, y = (value if isinstance(value, jax.Array) else np.asarray(value) for value in data)
    for part, value in (("x", x), ("y", y)):
        if np.dtype(value.dtype).kind not in "biuf" and value.dtype != jnp.bfloat16:
            raise TypeError(
                f"{function}: {part} of {name} must be numbers, got {_checks.shown(value)}. Encode names as class "
                "numbers: np.unique(names, return_inverse=True)[1]; noisejax.frame.encode makes arrays of a table."
            )
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.size:
        raise ValueError(
            f"{function}: {name} must be x of shape (B, columns) and y of shape (B,), got {tuple(x.shape)} and "
            f"{tuple(y.shape)}."
        )
    if jnp.issubdtype(y.dtype, jnp.floating):
        if classes:
            raise TypeError(
                f"{function}: y of {name} must be class numbers for classes={classes}, got {y.dtype}. Convert: "
                "y.astype(int)."
            )
        if not isinstance(y, Tracer) and not bool(np.isfinite(np.asarray(y, np.float64)).all()):
            raise ValueError(f"{function}: y of {name} must be finite numbers. Leave out rows without a target.")
        return (jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)), 0
    if classes is not None:
        classes = _checks.count(function, "classes", classes, 2)
    if not isinstance(y, Tracer):
        known = np.asarray(y)
        low, high = int(known.min()), int(known.max())
        classes = max(high + 1, 1) if classes is None else classes
        if low < 0 or high >= classes:
            raise ValueError(
                f"{function}: y of {name} must be class numbers from 0 to {classes - 1}, got numbers from {low} to "
                f"{high}."
            )
        if classes < 2:
            raise ValueError(f"{function}: y of {name} must have at least two classes, got the constant label {low}.")
    elif classes is None:
        raise TypeError(
            f"{function}: classes must be given inside jit, vmap and tune, where labels are not known: "
            f"functools.partial(robustness.{function}, classes=int(y.max()) + 1)."
        )
    return (jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32)), classes


def _of_batches(function: str, noise: Any) -> Any:
    """A noise of (x, y), as a pytree."""
    if noise is None:
        return jax.tree_util.Partial(_same)
    _checks.function(function, "noise", noise, "(key, (x, y)) -> (x, y)")
    if getattr(noise, "__noise__", None) is not None:
        raise TypeError(f"{function}: noise must be bound, such as nj.bind(nj.{noise.__name__}, ...), got {noise!r}.")
    if isinstance(noise, Noise):
        spec = getattr(noise.function, "__noise__", None)
        if spec is not None and spec.kind != "batch":
            raise TypeError(
                f"{function}: noise acts on the batch (x, y), got a noise of x alone, {noise!r}. Write "
                "nj.on_entries((noise, None))."
            )
        return noise
    return noise if isinstance(noise, jax.tree_util.Partial) else jax.tree_util.Partial(noise)


def _same(key: Any, batch: Any) -> Any:
    return batch


def _amounts(function: str, dropout: Any, fgsm: Any, columns: int) -> tuple[Any, Any]:
    """Traced amounts; None for the number 0, whose part of the program is left out."""
    found = []
    for name, value, inside in (("dropout", dropout, _checks.rate), ("fgsm", fgsm, _checks.nonnegative)):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0:
            found.append(None)
        else:
            found.append(_amount(function, name, value, inside, ((),) if name == "dropout" else ((), (columns,))))
    return found[0], found[1]


def _amount(function: str, name: str, value: Any, inside: Any, shapes: tuple = ((),)) -> Any:
    value = arithmetic_amount(function, name, value, inside)
    if np.shape(value) not in shapes:
        wanted = "one number" if len(shapes) == 1 else f"one number or one for each of {shapes[1][0]} columns"
        raise ValueError(f"{function}: {name} must be {wanted}, got shape {np.shape(value)}.")
    if not isinstance(value, jax.Array) and not np.all(np.abs(value) < 3e38):
        raise ValueError(f"{function}: {name} must fit into float32, got {value}.")
    return jnp.asarray(value).astype(jnp.float32)
