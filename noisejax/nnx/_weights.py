"""Layers with noise on weights: one sample per call for any module, or one per example for a layer's weight."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from noisejax import _checks, weights
from noisejax._layers import noisy_products
from noisejax.nnx._bound import BoundNoiseLayer
from noisejax.nnx._layer import NoiseLayer, Streams
from noisejax.weights._perturb import check_only


class WeightNoise(BoundNoiseLayer):
    """Calls any module with noise on its weights; the forward and backward pass of a call share one sample.

    The module keeps its clean weights. They receive the gradient, and an optimizer updates them. The noisy weights
    exist only during the call. Each leaf draws from its own stream, derived from its path within the module, exactly as
    in `noisejax.weights.perturb` with the same key.

    Args:
      module: any nnx module.
      noise: a bound noise of one array, from `noisejax` or `noisejax.weights`, a combination of noises, or a function
        ``(key, w) -> w``.
      only: the Params that get noise: a pattern of the path such as ``"*kernel"``, a tuple of patterns, or a function
        of path and leaf, as in `perturb`; None for all. Static.
      deterministic, rng_collection, rngs: as in `ActivationNoise`.

    Example:
      >>> import jax.numpy as jnp, noisejax as nj, noisejax.nnx as njx
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> layer = njx.WeightNoise(nnx.Linear(3, 4, rngs=rngs), nj.bind(nj.gaussian, std=0.1), only="*kernel", rngs=rngs)
      >>> layer(jnp.ones((2, 3))).shape
      (2, 4)
      >>> njx.set_amounts(layer, njx.WeightNoise, std=0.2)
    """

    def __init__(
        self,
        module: nnx.Module,
        noise: Callable,
        *,
        only: str | tuple[str, ...] | Callable | None = None,
        deterministic: bool | None = False,
        rng_collection: str = "noise",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        if not isinstance(module, nnx.Module):
            raise TypeError(f"WeightNoise: module must be an nnx module, got a {type(module).__name__}: {module!r}.")
        check_only("WeightNoise", only)
        self.module, self.only = module, only
        self.noise = noise

    def __call__(self, *args: Any, deterministic: bool | None = None, rngs: Streams = None, **kwargs: Any) -> Any:
        """Calls the module.

        Args:
          *args, **kwargs: the module's arguments. If `deterministic` is given and the module takes it, it is passed on.
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.

        Returns:
          The module's result.
        """
        key = self._key(deterministic, rngs)
        if deterministic is not None and "deterministic" in inspect.signature(self.module.__call__).parameters:  # pyright: ignore
            kwargs["deterministic"] = deterministic
        if key is None:
            return self.module(*args, **kwargs)  # pyright: ignore[reportCallIssue] whatever can be called
        clean = jax.tree.map(lambda leaf: leaf, nnx.state(self.module, nnx.Param))
        nnx.update(self.module, weights.perturb(key, clean, self._bound(), only=self.only))
        try:
            return self.module(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        finally:
            nnx.update(self.module, clean)


class PerExampleWeightNoise(NoiseLayer):
    """A `Linear`, `LinearGeneral`, `Einsum` or `Conv` whose weight has different noise for every example.

    The noisy weights are never materialized per example: the cost is one vector per example instead of one matrix.

    Args:
      layer: an nnx layer. It keeps its clean weights, which receive the gradient. Its bias gets no noise.
      std: the standard deviation of the noise of each weight (for `'noisy_net'` the factor), at least 0, broadcastable
        to the kernel. 0 is the plain layer.
      method: `'flipout'`, `'local_reparam'`, `'low_rank'` or `'noisy_net'`, as the functions of `noisejax.weights`.
        Their documentation states the exactness and the cost of each. With `'local_reparam'`, `'low_rank'` and
        `'noisy_net'`, a scalar std needs no second product. Static.
      mode: `'example'`, or `'batch'` for one weight sample per call. Static.
      deterministic, rng_collection, rngs: as in `ActivationNoise`.

    References:
      Wen et al., "Flipout", ICLR 2018; Kingma, Salimans and Welling, "Variational dropout and the local
      reparameterization trick", NeurIPS 2015.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
      >>> layer = njx.PerExampleWeightNoise(conv, 0.1, method="flipout", rngs=rngs)
      >>> layer(jnp.ones((2, 5, 5, 3))).shape
      (2, 5, 5, 8)
    """

    ranges: ClassVar = {"std": _checks.nonnegative}

    def __init__(
        self,
        layer: nnx.Module,
        std: float | jax.Array,
        *,
        method: str = "flipout",
        mode: str = "example",
        deterministic: bool | None = False,
        rng_collection: str = "noise",
        rngs: Streams = None,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        noisy_products.check_method("PerExampleWeightNoise", method, mode)
        if _hook_of(layer) is None:
            raise TypeError(
                "PerExampleWeightNoise: layer must be an nnx.Linear, nnx.LinearGeneral, nnx.Einsum or nnx.Conv, got a "
                f"{type(layer).__name__}. For one sample of any module's weights, use njx.WeightNoise."
            )
        self.layer, self.method, self.mode = layer, method, mode
        self._add(std=std)

    def __call__(
        self, inputs: jax.Array, *args: Any, deterministic: bool | None = None, rngs: Streams = None, **kwargs: Any
    ) -> jax.Array:
        """Calls the layer.

        Args:
          inputs: an array with a leading axis of examples.
          *args, **kwargs: further arguments of the layer.
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.

        Returns:
          The layer's result.
        """
        noisy_products.check_inputs("PerExampleWeightNoise", inputs)
        key, layer = self._key(deterministic, rngs), self.layer
        if key is not None:
            name, make = _hook_of(layer)  # pyright: ignore[reportGeneralTypeIssues] checked at construction
            layer = nnx.with_attributes(layer, **{name: make(self.method, key, self._amount("std"), self.mode)})
        return layer(inputs, *args, **kwargs)  # pyright: ignore[reportCallIssue]


class DropConnectLinear(NoiseLayer, nnx.Linear):
    """A linear layer that drops connections: each weight is 0 with probability `rate`, in one draw per call.

    Args:
      in_features, out_features: as in `nnx.Linear`.
      rate: the probability that a weight is dropped, in [0, 1]; traced values are clamped. Weights that are kept are
        divided by 1 - rate. The bias is never dropped.
      deterministic, rng_collection: as in `Dropout`.
      rngs: Rngs for the parameters and the noise.
      **options: as in `nnx.Linear`.

    References:
      Wan et al., "Regularization of neural networks using DropConnect", ICML 2013.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> layer = njx.DropConnectLinear(3, 4, rate=0.5, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 3))).shape
      (2, 4)
    """

    collections: ClassVar = ("dropout",)
    ranges: ClassVar = {"rate": _checks.rate}

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rate: float | jax.Array,
        deterministic: bool | None = False,
        rng_collection: str = "dropout",
        rngs: nnx.Rngs,
        **options: Any,
    ):
        NoiseLayer.__init__(self, deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        _check_sizes("DropConnectLinear", in_features, out_features, rngs)
        stream = self.rngs
        nnx.Linear.__init__(self, in_features, out_features, rngs=rngs, **options)
        self.rngs = stream
        self._add(rate=rate)

    def __call__(
        self, inputs: jax.Array, *, deterministic: bool | None = None, rngs: Streams = None, **options: Any
    ) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: (..., in_features).
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.
          **options: as in `nnx.Linear`.

        Returns:
          (..., out_features).
        """
        noisy_products.check_inputs("DropConnectLinear", inputs)
        key, layer = self._key(deterministic, rngs), self
        if key is not None:
            product = noisy_products.dropped(self.dot_general, key, self._amount("rate"))
            layer = nnx.with_attributes(self, dot_general=product)
        return nnx.Linear.__call__(layer, inputs, **options)


class NoisyLinear(NoiseLayer):
    """NoisyNet's linear layer: factorised noise on weights and bias, with trained strengths.

    Args:
      in_features, out_features: the sizes of the last axis.
      sigma: the paper's sigma_0. All strengths start at ``sigma / sqrt(in_features)``. They are the `nnx.Param`s
        `kernel_std` and `bias_std`, so they are trained.
      use_bias: whether the layer has a bias.
      mode: `'example'` draws for each example, `'batch'` once per call, as the paper does for DQN. Static.
      dtype, param_dtype, precision: as in `nnx.Linear`.
      deterministic, rng_collection: as in `ActivationNoise`.
      rngs: Rngs for the parameters and the noise.

    References:
      Fortunato et al., "Noisy networks for exploration", ICLR 2018, equations 9 to 11; section 3.2 for the start.

    Example:
      >>> import jax.numpy as jnp, noisejax.nnx as njx
      >>> from flax import nnx
      >>> layer = njx.NoisyLinear(3, 4, rngs=nnx.Rngs(0))
      >>> layer(jnp.ones((2, 3))).shape
      (2, 4)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        sigma: float = 0.5,
        use_bias: bool = True,
        mode: str = "example",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        deterministic: bool | None = False,
        rng_collection: str = "noise",
        rngs: nnx.Rngs,
    ):
        super().__init__(deterministic=deterministic, rng_collection=rng_collection, rngs=rngs)
        _checks.one_of("NoisyLinear", "mode", mode, ("example", "batch"))
        sigma = noisy_products.check_sigma(sigma)
        _check_sizes("NoisyLinear", in_features, out_features, rngs)
        use_bias = _checks.flag("NoisyLinear", "use_bias", use_bias)
        self.in_features, self.out_features, self.mode = in_features, out_features, mode
        self.dtype, self.precision = dtype, precision
        bound = in_features**-0.5

        def uniform(shape):
            return noisy_products.uniform_start(rngs.params(), shape, bound, param_dtype)

        self.kernel = nnx.Param(uniform((in_features, out_features)))
        self.kernel_std = nnx.Param(jnp.full((in_features, out_features), sigma * bound, param_dtype))
        self.bias = nnx.Param(uniform((out_features,))) if use_bias else nnx.data(None)
        self.bias_std = nnx.Param(jnp.full((out_features,), sigma * bound, param_dtype)) if use_bias else nnx.data(None)

    def __call__(self, inputs: jax.Array, *, deterministic: bool | None = None, rngs: Streams = None) -> jax.Array:
        """Applies the layer.

        Args:
          inputs: (B, ..., in_features).
          deterministic: True for no noise; overrides the constructor's value.
          rngs: Rngs, an RngStream or a JAX key; overrides the constructor's.

        Returns:
          (B, ..., out_features).
        """
        noisy_products.check_inputs("NoisyLinear", inputs)
        key = self._key(deterministic, rngs)
        held = (self.kernel, self.kernel_std, self.bias, self.bias_std)
        values: Any = (inputs, *(None if v is None else v.get_value() for v in held))
        x, w, std, bias, bias_std = tuple(promote_dtype(values, dtype=self.dtype))
        if key is None:
            y = jnp.einsum("...i,io->...o", x, w, precision=self.precision)
            return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
        extra = () if bias is None else (bias, bias_std)
        return weights.noisy_net(key, x, w, std, *extra, mode=self.mode, precision=self.precision)


def _check_sizes(function: str, in_features: int, out_features: int, rngs: Any) -> None:
    for name, size in (("in_features", in_features), ("out_features", out_features)):
        _checks.count(function, name, size, 1)
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(
            f"{function}: rngs must be nnx.Rngs, which the parameters draw from, got {_checks.shown(rngs)}."
        )


def _hook_of(layer: Any) -> tuple[str, Callable] | None:
    """The name of the attribute that holds the layer's product, and the function that makes a noisy one."""
    if isinstance(layer, (nnx.Linear, nnx.LinearGeneral)):
        return "dot_general", noisy_products.dot_general
    if isinstance(layer, nnx.Einsum):
        return "einsum_op", noisy_products.einsum
    if isinstance(layer, nnx.Conv):
        return "conv_general_dilated", noisy_products.conv_general_dilated
    return None
