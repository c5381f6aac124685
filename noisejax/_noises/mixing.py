"""Noise that mixes the examples of a batch: whole examples (mixup), or cell by cell (swap)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noisejax import _batch, _checks
from noisejax._batch import batch_noise
from noisejax._calls.arguments import arithmetic_amount
from noisejax._contract import Amount, Hit, Mask, array_noise
from noisejax._noises.similar import bandwidths, check_similar, similar_partners
from noisejax._random import sample
from noisejax._random.stream import along, enter, fold, is_symbolic, words
from noisejax._sharding import automatic, computed_once, one_per_example, own_loop_on_cpus


@batch_noise(ranges={"alpha": _checks.nonnegative, "bandwidth": bandwidths})
def mixup(
    key: jax.Array,
    batch: Any,
    alpha: Amount,
    bandwidth: Amount | None = None,
    *,
    num_classes: int | None = None,
    mode: str = "example",
    keep: tuple = (),
    pairing: str = "permutation",
    targets: Any = None,
    shards: int = 1,
) -> Any:
    """mixup: each example becomes ``lam * own + (1 - lam) * partner's``, with lam from Beta(alpha, alpha).

    All entries of the batch are blended in the same way, in float32, and rounded once to their own dtype. So one-hot
    and soft labels, regression targets and several inputs need no special treatment. An entry with weight 0 does not
    affect the result, even if it holds NaN. `mixup` is the composition of `mixup_pairs` and `blend`; use these to blend
    hidden layers, or with custom losses. Under `nj.per_example` the batch has one example, and nothing is mixed.

    Args:
      key: a JAX key.
      batch: (x, y), a dict or any pytree of arrays with a common leading axis of B examples, B of any size. Floats
        and uint8 or uint16 images of shape (B, H, W, ...) keep their dtype (images are rounded). Integer labels of any
        dtype and of shape (B,) or (B, 1) become float32 rows of `num_classes`. Other integers and booleans cannot be
        blended: they raise unless named in `keep`. A uint8 segmentation mask has the shape of an image and its classes
        would be averaged: name it in `keep`, or pass jax.nn.one_hot of it.
      alpha: the parameter of the Beta distribution, at least 0; a scalar, or of shape (B,). 0 is the identity (labels
        still become rows). Traced values below 0 count as 0.
      bandwidth: for ``pairing='similar'``, and only for it: the standard deviation of the Gaussian kernel, in the units
        of the targets; at least 0, a scalar, or of shape (B,). inf draws all partners alike, and 0 only equal targets.
      num_classes: the length of the rows; required for integer labels. NumPy labels outside [0, num_classes) raise. On
        a device they become rows of zeros, as the -1 of a missing label should. Static.
      mode: `'example'` draws lam for each example, `'batch'` once, as in the paper. Static.
      keep: the entries to leave unchanged: keys of a dict, positions in a tuple, or field names. Static.
      pairing: `'permutation'` draws the partners. `'roll'` takes the previous example; it is equivalent if the batch is
        in random order, and it moves less data between devices. `'similar'`, for regression (C-Mixup), draws a partner
        for each example with odds ``exp(-d**2 / (2 * bandwidth**2))``, where d is their targets' distance. As in the
        authors' code the example may draw itself, which has the odds 1, and one may be drawn by several. The cost is
        (B / shards)**2 draws and distances in each part. Static.
      targets: for ``pairing='similar'``, and only for it: the entries that are compared, named as in `keep`, such as 1
        in a batch (x, y). They are mixed as well. Static.
      shards: the number of equal, consecutive parts of the batch within which partners are drawn. Pass the number of
        devices over which the batch is sharded (or a multiple) to avoid communication. Static.

    Returns:
      A batch of the same structure.

    References:
      Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018. Yao et al., "C-Mixup: improving
      generalization in regression", NeurIPS 2022 (within a batch, their C-Mixup-batch).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x, y = nj.mixup(jax.random.key(0), (jnp.eye(3), jnp.array([0, 1, 2])), 0.2, num_classes=3)
      >>> bool(jnp.allclose(x, y)), y.dtype
      (True, dtype('float32'))
    """
    softened = {name: _batch.soft("mixup", name, leaf, num_classes) for name, leaf in batch.items()}
    check_similar("mixup", pairing, bandwidth, targets)
    near = None if targets is None else (bandwidth, _batch.named("mixup", "targets", softened, targets))
    lam, partner = draw_pairs("mixup", key, next(iter(softened.values())), alpha, mode, pairing, shards, near)
    partner = 1 if pairing == "roll" else partner
    return {name: _batch.mix(leaf, lam, _batch.take(leaf, partner, shards)) for name, leaf in softened.items()}


def mixup_pairs(
    key: jax.Array,
    n: int,
    alpha: Amount,
    bandwidth: Amount | None = None,
    targets: Any = None,
    *,
    mode: str = "example",
    pairing: str = "permutation",
    shards: int = 1,
) -> tuple[jax.Array, jax.Array]:
    """Draws the weights and partners of `mixup` for n examples, to be applied by `blend`.

    Args:
      key: a JAX key.
      n: the number of examples. Static.
      alpha, bandwidth, mode, pairing, shards: as in `mixup`.
      targets: for ``pairing='similar'``, and only for it: numbers of shape (n, ...).

    Returns:
      lam, float32 in [0, 1] of shape (n,), and partner, int32 indices of shape (n,).

    Example:
      Manifold mixup (Verma et al., ICML 2019) blends at one random layer, with one set of weights and partners; a
      weight of 1 leaves the other layers unchanged. The loss takes both labels.

      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> def loss(key, layers, x, labels):
      ...     key, layer_key = jax.random.split(key)
      ...     lam, partner = nj.mixup_pairs(key, len(x), 2.0)
      ...     chosen = jax.random.randint(layer_key, (), 0, len(layers))
      ...     for n, w in enumerate(layers):
      ...         x = nj.blend(x, jnp.where(n == chosen, lam, 1), partner)
      ...         x = jnp.tanh(x @ w)
      ...     nll = -jnp.log(jax.nn.softmax(x))
      ...     rows = jnp.arange(len(x))
      ...     return jnp.mean(lam * nll[rows, labels] + (1 - lam) * nll[rows, labels[partner]])
      >>> layers = [jnp.eye(4), jnp.eye(4)]
      >>> bool(jnp.isfinite(loss(jax.random.key(0), layers, jnp.ones((5, 4)), jnp.array([0, 1, 2, 3, 0]))))
      True
    """
    stream = enter("mixup_pairs", key)
    n = _checks.count("mixup_pairs", "n", n, 0, "It is the number of examples, such as len(x).")
    alpha = arithmetic_amount("mixup_pairs", "alpha", alpha, _checks.nonnegative)
    _check_pairs("mixup_pairs", n, mode, pairing, shards, _PAIRINGS)
    check_similar("mixup_pairs", pairing, bandwidth, targets)
    near = None
    if targets is not None:
        width = arithmetic_amount("mixup_pairs", "bandwidth", bandwidth, bandwidths)
        _per_batch("mixup_pairs", "bandwidth", width.shape, n)
        near = width, [_compared(targets, n)]
    return _mixup_pairs(stream, n, alpha, mode, pairing, shards, near)


def _compared(targets: Any, n: int) -> Any:
    targets = _checks.operand("mixup_pairs", "targets", targets)
    if targets.shape[:1] != (n,):
        raise ValueError(f"mixup_pairs: targets must have a leading axis of n={n} examples, got shape {targets.shape}.")
    return targets


@functools.partial(jax.jit, static_argnums=(1, 3, 4, 5), inline=True)
def _mixup_pairs(key, n, alpha, mode, pairing, shards, near):
    return draw_pairs("mixup", key, jnp.zeros(n), alpha, mode, pairing, shards, near, function="mixup_pairs")


def blend(
    batch: Any,
    lam: Amount,
    partner: jax.Array | int,
    *,
    num_classes: int | None = None,
    keep: tuple = (),
    shards: int = 1,
) -> Any:
    """Blends each example of a batch, or of one array, with its partner: ``lam * own + (1 - lam) * partner's``.

    Args:
      batch: an array, or a batch as in `mixup`: a tuple, a dict or any pytree of arrays with a common leading axis.
      lam: the weight of each example itself, in [0, 1]: a scalar, or of shape (B,). 1 is the identity.
      partner: the index of each example's partner, of shape (B,), or a Python int by which to roll the batch.
      num_classes, keep: as in `mixup`.
      shards: the number of parts, as given to `mixup_pairs`. Partners must lie in the same part. Static.

    Returns:
      A batch of the same structure; integer labels become float32 rows.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj
      >>> nj.blend(jnp.array([0.0, 1.0]), 0.75, jnp.array([1, 0])).tolist()
      [0.25, 0.75]
    """
    keep = _batch.names_of(keep)
    names, leaves, rebuild = _batch.split("blend", batch, keep, num_classes)
    lam = arithmetic_amount("blend", "lam", lam, _weight)
    _parts("blend", leaves[0].shape[0], shards)
    if isinstance(partner, (int, np.integer)) and not isinstance(partner, bool):
        static = _checks.whole("blend", "partner", partner), None
    else:
        static = None, _existing(partner, leaves[0].shape[0], shards)
    return rebuild(_blend(names, leaves, lam, static[0], static[1], num_classes, shards))


@functools.partial(jax.jit, static_argnums=(0, 3, 5, 6), inline=True)
def _blend(names, leaves, lam, roll, partner, num_classes, shards):
    n, lam = leaves[0].shape[0], jnp.asarray(lam, jnp.float32)
    _parts("blend", n, shards)
    _per_batch("blend", "lam", lam.shape, n)
    if partner is not None:
        partner = partner.astype(jnp.int32)
    softened = [_batch.soft("blend", name, leaf, num_classes) for name, leaf in zip(names, leaves, strict=True)]
    return [_batch.mix(leaf, lam, _batch.take(leaf, roll if partner is None else partner, shards)) for leaf in softened]


def _existing(partner: Any, n: int, shards: int) -> Any:
    """Indices of partners. Those known on the host must exist, and lie in the part of their example."""
    _checks.native("blend", "partner", partner)
    partner = _checks.listed("blend", "partner", partner) if isinstance(partner, (list, tuple)) else partner
    integers = isinstance(partner, (jax.Array, np.ndarray)) and jnp.issubdtype(partner.dtype, jnp.integer)
    if not integers or partner.shape != (n,):
        raise ValueError(
            f"blend: partner must be the indices of the {n} examples' partners, or a Python int by which to roll; "
            f"got {_checks.shown(partner)}."
        )
    if isinstance(partner, np.ndarray):
        size = n // shards
        wrong = (partner < 0) | (partner >= n) | (partner // max(size, 1) != np.arange(n) // max(size, 1))
        if np.any(wrong):
            at = int(np.flatnonzero(wrong)[0])
            low, high = (at // size * size, at // size * size + size)
            raise ValueError(
                f"blend: the partner of example {at} must be an index in [{low}, {high}), got {partner[at]}. Draw "
                f"partners with nj.mixup_pairs(key, {n}, alpha{f', shards={shards}' if shards > 1 else ''})."
            )
        return partner.astype(np.int32)
    return partner


_weight = _checks.Range("in [0, 1]", lambda v: (v >= 0) & (v <= 1), "It is the weight of the example itself.")


def draw_pairs(tag, key, leaf, alpha, mode, pairing, shards, near=None, function=None) -> tuple[jax.Array, jax.Array]:
    """Weights from Beta(alpha, alpha), sharded like the examples of leaf, and partners.

    `near` is None, or for similar partners a bandwidth and a list of targets. `function` heads errors, None for `tag`.
    """
    n, function = leaf.shape[0], function or tag
    _check_pairs(function, n, mode, pairing, shards, _PAIRINGS[: 3 if tag == "mixup" else 2])
    if pairing != "roll":
        _known(function, n)
    alpha = jnp.asarray(alpha, jnp.float32)
    _per_batch(function, "alpha", alpha.shape, n)
    if mode == "batch" and alpha.size != 1:
        raise ValueError(
            f"{function}: alpha must be a scalar with mode='batch', which draws one weight, got shape {alpha.shape}."
        )
    alpha = alpha.reshape(()) if alpha.size == 1 else alpha
    w, w2 = (per_draw(key, f"{tag}.lam{part}", leaf, mode) for part in ("", ".angle"))
    # For alpha below 1e-6 all weights are 0 or 1, and the derivative in alpha would overflow.
    drawn = sample.symmetric_beta(w, w2, jnp.maximum(alpha, jnp.float32(1e-6)))
    lam = jnp.where(alpha > 0, drawn, 1)
    if near is not None:
        bandwidth = jnp.asarray(near[0], jnp.float32)
        _per_batch(function, "bandwidth", bandwidth.shape, n)
        partner = similar_partners(key, f"{tag}.similar", leaf, bandwidth, near[1], shards)
    elif pairing == "roll":
        own = jnp.arange(n, dtype=jnp.int32).reshape(shards, n // shards)
        partner = jnp.roll(own, 1, axis=1).reshape(n)
    else:
        partner = sample.permutation(key, f"{tag}.partner", n, shards)
    return lam, partner


_PAIRINGS = ("permutation", "roll", "similar")


def _check_pairs(function: str, n: int, mode, pairing, shards, pairings: tuple[str, ...]) -> None:
    _checks.short(function, (n,), (0,))
    _checks.one_of(function, "mode", mode, ("example", "batch"))
    _checks.one_of(function, "pairing", pairing, pairings)
    _parts(function, n, shards)


def per_draw(key, tag: str, leaf: jax.Array, mode: str) -> jax.Array:
    """One word for each example, sharded like the examples of leaf; in batch mode they share one draw."""
    like = one_per_example(leaf)
    if mode == "example":
        return words(key, tag, **like)
    return jax.lax.broadcast_in_dim(words(key, tag, ()), like["shape"], (), out_sharding=like["sharding"])


def _known(function: str, n: Any) -> None:
    """Requires a number of examples among which partners can be drawn."""
    if is_symbolic(n):
        raise ValueError(
            f"{function}: the number of examples must be known, since partners are drawn among them, got the symbolic "
            f"dimension {n} of jax.export. Export one program for each batch size."
        )


def _parts(function: str, n: int, shards: int) -> None:
    if not isinstance(shards, (int, np.integer)) or isinstance(shards, bool) or shards < 1 or n % shards:
        raise ValueError(
            f"{function}: shards must be a number of equal parts of the batch, so a divisor of {n}, got {shards!r}."
        )


def _per_batch(function: str, name: str, shape: tuple[int, ...], n: int) -> None:
    if shape not in ((), (1,), (n,)):
        raise ValueError(f"{function}: {name} must be a scalar, or one number for each of {n} examples, got {shape}.")


def _swap_options(x, groups, shards):
    if x.ndim == 0:
        raise ValueError("swap: x must have a leading axis of examples, got a scalar.")
    _known("swap", x.shape[0])
    _checks.short("swap", x.shape, (0,))
    _parts("swap", x.shape[0], shards)
    if groups is not None:
        _checks.groups("swap", x.shape, groups)


@array_noise(_checks.values, sees="batch", options=_swap_options, ranges={"rate": _checks.rate})
def swap(
    key: jax.Array,
    x: jax.Array,
    rate: Amount,
    *,
    groups: tuple[int, ...] | None = None,
    shards: int = 1,
    where: Mask = None,
    lengths: Mask = None,
) -> Hit:
    """Swap noise: with probability `rate`, a cell takes the value of the same feature in a different example.

    The example is drawn for each cell separately, uniformly among all others of the batch. This is a draw from the
    marginal distribution of the feature. For marginals fitted on a training set, see `nj.mask`.

    Args:
      key: a JAX key.
      x: numbers or booleans of shape (B, ...), features last. In a batch of one, nothing is swapped.
      rate: the probability that a cell is hit, in [0, 1], broadcastable to x; traced values are clamped. 0 is the
        identity. The new value may equal the old one; `nj.changed` shows which cells changed.
      groups: the group number of each feature. The features of a group are hit together and take their values from one
        example, as the columns of a one-hot category must. They should have the same rate. Static.
      shards: the number of equal, consecutive parts of the batch within which values are taken. Pass the number of
        devices over which the batch is sharded (or a multiple) to avoid communication. Static.
      where, lengths: padding; x may also be a `noisejax.Padded`. A cell whose drawn value would be padding is not hit.

    Returns:
      An array of x's shape and dtype.

    References:
      Yoon et al., "VIME", NeurIPS 2020 (permuted columns); Bahri et al., "SCARF", ICLR 2022 (marginal draws).

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x = jnp.array([[1, 10], [2, 20], [3, 30]])
      >>> y = nj.swap(jax.random.key(0), x, 1.0)
      >>> bool((y != x).all()), bool((y[:, 1] >= 10).all())
      (True, True)
    """
    if groups is None:
        stream, like = key, along(x, range(x.ndim))
    else:  # the word depends on the group's number and not on the feature's: no gather along the features
        ids = jnp.asarray(groups, jnp.uint32).reshape((1,) * (x.ndim - 1) + (-1,))
        stream, like = fold(key, ids), along(x, range(x.ndim - 1))
    size = x.shape[0] // shards
    hit = sample.bernoulli(words(stream, "swap", **like), rate)
    ahead = sample.integers(words(stream, "swap.row", **like), words(stream, "swap.row.low", **like), max(size - 1, 1))
    own = jax.lax.broadcasted_iota(jnp.int32, ahead.shape, 0, out_sharding=jax.typeof(ahead).sharding)
    row = own_loop_on_cpus((own + 1 + ahead) % max(size, 1), always=True)  # a loop with a gather is not vectorized
    if where is not None:
        hit = hit & _cells(jnp.broadcast_to(where, x.shape), row, shards)
    return Hit(hit & (size > 1), _cells(computed_once(x), row, shards))


def _cells(x: jax.Array, row: jax.Array, shards: int) -> jax.Array:
    """The values at the given rows, within the same part of the batch and in the same column."""

    def within_parts(x, row):
        parts, rows = (v.reshape(shards, -1, *x.shape[1:]) for v in (x, jnp.broadcast_to(row, x.shape)))
        return jnp.take_along_axis(parts, rows, axis=1, mode="clip").reshape(x.shape)

    return automatic(within_parts, x, row) if x.size else x
