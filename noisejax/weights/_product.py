"""Products of an input and a weight tensor, as layers compute them, and the axes that the operands share."""

import dataclasses
import functools
import math
import string
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from noisejax import _checks
from noisejax._calls.arguments import as_tuple

DENSE = "...i,io->...o"


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution of an input and a kernel, for `product`: ``product=Conv(strides=2)``.

    The input has shape (B, spatial ..., channels) and the kernel (window ..., channels / groups, outputs), as in Flax.
    The arguments have the meaning that they have in `jax.lax.conv_general_dilated`; a single number applies to all
    spatial axes. A `Conv` is hashable and static.

    Args:
      strides: the step of the window.
      padding: `'SAME'`, `'VALID'`, one number, or (low, high) for each spatial axis.
      input_dilation, kernel_dilation: the distance between neighbouring values of the input and of the kernel.
      feature_group_count: the number of groups of channels.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax as nj
      >>> x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 16))
      >>> nj.weights.flipout(jax.random.key(0), x, kernel, 0.1, product=nj.weights.Conv(strides=2)).shape
      (2, 4, 4, 16)
    """

    strides: int | tuple[int, ...] = 1
    padding: str | int | tuple[tuple[int, int], ...] = "SAME"
    input_dilation: int | tuple[int, ...] = 1
    kernel_dilation: int | tuple[int, ...] = 1
    feature_group_count: int = 1

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = as_tuple(getattr(self, field.name))
            named = field.name == "padding" and value in ("SAME", "VALID")
            least = 0 if field.name == "padding" else 1
            if not named and not _whole(value, least, pairs=field.name == "padding"):
                raise TypeError(
                    f"Conv: {field.name} must be an integer from {least} to 2**31 - 1, or one for each spatial axis, "
                    f"got {_checks.shown(getattr(self, field.name))}. It is static."
                )
            object.__setattr__(self, field.name, value)
        if isinstance(self.padding, str) and np.any(np.asarray(self.input_dilation) != 1):
            raise ValueError(
                f"Conv: padding must be numbers with input_dilation={self.input_dilation}, got {self.padding!r}."
            )

    def plan(self, function: str, x: jax.Array, w: jax.Array, precision: Any) -> "_Convolution":
        groups = self.feature_group_count
        if x.ndim != w.ndim or x.ndim < 3:
            raise ValueError(
                f"{function}: a convolution needs x of shape (B, spatial ..., channels) and a kernel of as many axes, "
                f"got {x.shape} and {w.shape}. Reshape several leading axes into one."
            )
        if x.shape[-1] != w.shape[-2] * groups or w.shape[-1] % groups:
            raise ValueError(
                f"{function}: x has {x.shape[-1]} channels, but the kernel of shape {w.shape} needs {w.shape[-2]} "
                f"channels in each of feature_group_count={groups} groups."
            )
        return _Convolution(self, x.ndim, w.shape, precision)


def _whole(value: Any, least: int, pairs: bool = False) -> bool:
    """Whether this is an integer, or a tuple of integers, or of pairs of them."""
    if isinstance(value, tuple):
        return all(_whole(part, least) and (pairs or not isinstance(part, tuple)) for part in value)
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and bool(least <= value < 2**31)  # what XLA counts in


def plan(function: str, product: "str | Conv", x: jax.Array, w: jax.Array, precision: Any) -> "_Einsum | _Convolution":
    """The product of these two arrays, after checks of their shapes."""
    if isinstance(product, Conv):
        return product.plan(function, x, w, precision)
    if not isinstance(product, str):
        raise TypeError(f"{function}: product must be an einsum such as {DENSE!r} or a Conv, got {product!r}.")
    labels = _labels(function, product, x.ndim, w.ndim)
    sizes = {}
    for operand, shape in zip(labels, (x.shape, w.shape), strict=False):
        for label, size in zip(operand, shape, strict=True):
            if sizes.setdefault(label, size) != size:
                raise ValueError(
                    f"{function}: product {product!r} does not fit x of shape {x.shape} and w of shape {w.shape}: "
                    f"axis {label!r} has length {sizes[label]} in one and {size} in the other."
                )
    return _Einsum(labels, w.shape, precision)


@functools.cache
def _labels(function: str, spec: str, x_ndim: int, w_ndim: int) -> tuple[str, str, str]:
    """The labels of x, w and the result, with the ellipsis expanded."""
    operands, _, result = spec.replace(" ", "").partition("->")
    x, _, w = operands.partition(",")
    if not (x and w and result) or "," in w or "." in w:
        raise ValueError(
            f"{function}: product must be an einsum of x and w with its result, such as {DENSE!r} or 'nta,hab->nthb' "
            f"(x and the result may have an ellipsis), got {spec!r}."
        )
    extra = x_ndim - len(x.replace("...", ""))
    unused = [label for label in string.ascii_letters if label not in spec]
    ellipsis = "".join(unused[: max(extra, 0)])
    x, result = x.replace("...", ellipsis), result.replace("...", ellipsis)
    if len(x) != x_ndim or len(w) != w_ndim:
        raise ValueError(f"{function}: product {spec!r} does not fit x with {x_ndim} and w with {w_ndim} axes.")
    if any(len(set(labels)) != len(labels) for labels in (x, w, result)) or not set(result) <= set(x + w):
        raise ValueError(f"{function}: product {spec!r} repeats a label in one operand or has a new one in the result.")
    alone = (set(x) - set(w) - set(result)) | (set(w) - set(x) - set(result))
    if alone:
        raise ValueError(
            f"{function}: product {spec!r} sums {', '.join(sorted(alone))} over one operand alone. "
            "Sum that operand first."
        )
    return x, w, result


class _Einsum:
    def __init__(self, labels: tuple[str, str, str], w_shape: tuple[int, ...], precision: Any):
        self.x, self.w, self.y = labels
        self.w_shape, self.precision = w_shape, precision
        # The example axis is the first axis of x, unless the weight shares it (a single example).
        self.example = () if not self.x or self.x[0] in self.w else (0,)
        self.example_out = tuple(self.y.index(self.x[axis]) for axis in self.example)
        self.features = tuple(axis for axis, label in enumerate(self.x) if label in self.w)
        self.features_out = tuple(axis for axis, label in enumerate(self.y) if label in self.w)

    def multiply(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """The product in float32 or wider."""
        spec = f"{self.x},{self.w}->{self.y}"
        return jnp.einsum(spec, x, w, precision=self.precision, preferred_element_type=_wide(x))

    def gather(self, v: jax.Array) -> jax.Array:
        """The product of v, of x's shape, with a weight of ones, broadcastable to the result."""
        kept = "".join(label for label in self.y if label in self.x)
        summed = "".join(label for label in self.x if label not in kept)
        # A product with ones instead of a sum: on a CPU, a fused sum computes its inputs, here draws, one at a time.
        ones = jnp.ones([v.shape[self.x.index(label)] for label in summed], v.dtype)
        v = jnp.einsum(f"{self.x},{summed}->{kept}", v, ones, precision=lax.Precision.HIGHEST)
        return lax.expand_dims(v, [axis for axis, label in enumerate(self.y) if label not in self.x])

    def on_outputs(self, std: jax.Array) -> jax.Array | None:
        """A std of w's rank as a factor on the result, or None if it varies along an axis that the product sums."""
        varies = [label for label, size in zip(self.w, std.shape, strict=True) if size != 1]
        if not set(varies) <= set(self.y):
            return None
        std = lax.squeeze(std, [axis for axis, size in enumerate(std.shape) if size == 1])
        std = jnp.einsum(f"{''.join(varies)}->{''.join(label for label in self.y if label in varies)}", std)
        return lax.expand_dims(std, [axis for axis, label in enumerate(self.y) if label not in varies])


class _Convolution:
    def __init__(self, conv: Conv, ndim: int, w_shape: tuple[int, ...], precision: Any):
        self.conv, self.ndim, self.w_shape, self.precision = conv, ndim, w_shape, precision
        self.example = self.example_out = (0,)
        self.features = self.features_out = (ndim - 1,)

    def multiply(self, x: jax.Array, w: jax.Array) -> jax.Array:
        return self._convolve(x, w, self.conv.feature_group_count, self.precision)

    def gather(self, v: jax.Array) -> jax.Array:
        groups = self.conv.feature_group_count
        v = self._convolve(v, jnp.ones((*self.w_shape[:-1], groups), v.dtype), groups, lax.Precision.HIGHEST)
        return v if groups == 1 else jnp.repeat(v, self.w_shape[-1] // groups, axis=-1)

    def on_outputs(self, std: jax.Array) -> jax.Array | None:
        return None if math.prod(std.shape[:-1]) != 1 else std

    def _convolve(self, x: jax.Array, w: jax.Array, groups: int, precision: Any) -> jax.Array:
        spatial, conv = self.ndim - 2, self.conv

        def each(value):
            return (value,) * spatial if isinstance(value, int) else tuple(value)

        padding = [(conv.padding, conv.padding)] * spatial if isinstance(conv.padding, int) else conv.padding
        last = self.ndim - 1
        outer, inner = (0, last, *range(1, last)), (last, last - 1, *range(spatial))
        return lax.conv_general_dilated(
            x,
            w,
            window_strides=each(conv.strides),
            padding=padding,
            lhs_dilation=each(conv.input_dilation),
            rhs_dilation=each(conv.kernel_dilation),
            dimension_numbers=lax.ConvDimensionNumbers(outer, inner, outer),
            feature_group_count=groups,
            precision=precision,
            preferred_element_type=_wide(x),
        )


def _wide(x: jax.Array):
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32
