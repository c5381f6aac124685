"""linen layers with noise on weights: one sample per call for any module, or one per example for a layer's weight."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from noisejax import _checks, _noise, weights
from noisejax._contract import Amount
from noisejax._layers import noisy_products
from noisejax.linen._layer import NoiseModule
from noisejax.weights._perturb import check_only


class WeightNoise(NoiseModule):
    """Calls any module with noise on its parameters; the forward and backward pass of a call share one sample.

    The collection "params" keeps the clean weights, which receive the gradient.

    Attributes:
      module: any linen module.
      noise: a bound noise of one array, a combination of them, or a function ``(key, w) -> w``; its amounts may be
        traced.
      only: the parameters that get noise, as in `noisejax.weights.perturb`; None for all.
      deterministic: True for no noise; set it here or in the call.
      rng_collection: the name of the collection of rngs that gives the key; if there is no `"noise"`, `"dropout"` is
        used.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, noisejax as nj, noisejax.linen as njl
      >>> layer = njl.WeightNoise(nn.Dense(4), nj.bind(nj.gaussian, std=0.1), only="*kernel", deterministic=False)
      >>> variables = layer.init(jax.random.key(0), jnp.ones((2, 3)))
      >>> layer.apply(variables, jnp.ones((2, 3)), rngs={"noise": jax.random.key(1)}).shape
      (2, 4)
    """

    module: nn.Module
    noise: Callable
    only: Any = None
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, *args, deterministic=None, rng=None, **kwargs):
        if not isinstance(self.module, nn.Module):
            raise TypeError(f"WeightNoise: module must be a linen module, got {_checks.shown(self.module)}.")
        _checks.flag_or_none("WeightNoise", "deterministic", self.deterministic)
        (noise,) = _noise.stages("WeightNoise", (self.noise,))
        check_only("WeightNoise", self.only)
        if self.is_initializing():
            return self.module(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        key = self._key(deterministic, rng)
        if key is None:
            return self.module(*args, **kwargs)  # pyright: ignore[reportCallIssue]

        def noisy(collections):
            return {**collections, "params": weights.perturb(key, collections["params"], noise, only=self.only)}

        run = nn.map_variables(lambda module: module(*args, **kwargs), "params", trans_in_fn=noisy)
        return run(self.module)


class PerExampleWeightNoise(NoiseModule):
    """A `Dense`, `DenseGeneral` or `Conv` whose weight has different noise for every example.

    Attributes:
      layer: a linen layer; it keeps its clean parameters. Instead of an `Einsum`, whose product cannot be replaced, use
        a `DenseGeneral`.
      std: the standard deviation of the noise of each weight (for `'noisy_net'` the factor), at least 0.
      method: `'flipout'`, `'local_reparam'`, `'low_rank'` or `'noisy_net'`, as the functions of `noisejax.weights`.
      mode: `'example'`, or `'batch'` for one weight sample per call.
      deterministic, rng_collection: as in `WeightNoise`.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.PerExampleWeightNoise(nn.Conv(8, (3, 3)), 0.1, deterministic=False)
      >>> y, _ = layer.init_with_output(jax.random.key(0), jnp.ones((2, 5, 5, 3)))
      >>> y.shape
      (2, 5, 5, 8)
    """

    layer: nn.Module
    std: Amount
    method: str = "flipout"
    mode: str = "example"
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, inputs, *args, deterministic=None, rng=None, **kwargs):
        noisy_products.check_inputs("PerExampleWeightNoise", inputs)
        key = self._key(deterministic, rng, 1 if self.has_variable("amounts", "std") else self.std)
        if key is None:
            return self.layer(inputs, *args, **kwargs)  # pyright: ignore[reportCallIssue]
        noisy_products.check_method("PerExampleWeightNoise", self.method, self.mode)
        std = self._amount("std", {"std": _checks.nonnegative})
        if isinstance(self.layer, (nn.Dense, nn.DenseGeneral)):
            hook, make = "dot_general", noisy_products.dot_general
        elif isinstance(self.layer, nn.Conv):
            hook, make = "conv_general_dilated", noisy_products.conv_general_dilated
        else:
            raise TypeError(
                "PerExampleWeightNoise: layer must be an nn.Dense, nn.DenseGeneral or nn.Conv, got a "
                f"{type(self.layer).__name__}. For one sample of any module's weights, use njl.WeightNoise."
            )
        before = getattr(self.layer, hook)
        # The layer belongs to this call alone, so it may be changed. A copy would have no place in the parameter tree.
        object.__setattr__(self.layer, hook, make(self.method, key, std, self.mode))
        try:
            return self.layer(inputs, *args, **kwargs)  # pyright: ignore[reportCallIssue]
        finally:
            object.__setattr__(self.layer, hook, before)


class DropConnectLinear(NoiseModule):
    """A dense layer that drops connections: each weight is 0 with probability `rate`, in one draw per call.

    Attributes:
      features: the size of the output's last axis.
      rate: the probability that a weight is dropped, in [0, 1]; traced values are clamped. Weights that are kept are
        divided by 1 - rate. The bias is never dropped.
      use_bias, dtype, param_dtype, precision, kernel_init, bias_init: as in `flax.linen.Dense`.
      deterministic, rng_collection: as in `Dropout`.

    References:
      Wan et al., "Regularization of neural networks using DropConnect", ICML 2013.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> layer = njl.DropConnectLinear(4, rate=0.5, deterministic=False)
      >>> y, _ = layer.init_with_output(jax.random.key(0), jnp.ones((2, 3)))
      >>> y.shape
      (2, 4)
    """

    features: int
    rate: Amount
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    kernel_init: Callable = nn.initializers.lecun_normal()
    bias_init: Callable = nn.initializers.zeros_init()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None):
        noisy_products.check_inputs("DropConnectLinear", inputs)
        _checks.count("DropConnectLinear", "features", self.features, 1)
        _checks.flag("DropConnectLinear", "use_bias", self.use_bias)
        key = self._key(deterministic, rng, 1 if self.has_variable("amounts", "rate") else self.rate)
        product = (
            None if key is None else noisy_products.dropped(None, key, self._amount("rate", {"rate": _checks.rate}))
        )
        same = ("features", "use_bias", "dtype", "param_dtype", "precision", "kernel_init", "bias_init")
        return nn.Dense(**{name: getattr(self, name) for name in same}, dot_general=product, name="dense")(inputs)


class NoisyLinear(NoiseModule):
    """NoisyNet's linear layer: factorised noise on weights and bias, with trained strengths.

    Attributes:
      features: the size of the output's last axis.
      sigma: the paper's sigma_0. All strengths start at ``sigma / sqrt(inputs)``.
      use_bias: whether the layer has a bias.
      mode: `'example'` draws for each example, `'batch'` once per call, as the paper does for DQN.
      dtype, param_dtype, precision: as in `flax.linen.Dense`.
      deterministic, rng_collection: as in `WeightNoise`.

    References:
      Fortunato et al., "Noisy networks for exploration", ICLR 2018.

    Example:
      >>> import jax, jax.numpy as jnp, noisejax.linen as njl
      >>> y, _ = njl.NoisyLinear(4, deterministic=False).init_with_output(jax.random.key(0), jnp.ones((2, 3)))
      >>> y.shape
      (2, 4)
    """

    features: int
    sigma: float = 0.5
    use_bias: bool = True
    mode: str = "example"
    dtype: Any = None
    param_dtype: Any = jnp.float32
    precision: Any = None
    deterministic: bool | None = None
    rng_collection: str = "noise"

    @nn.compact
    def __call__(self, inputs, deterministic=None, rng=None):
        _checks.one_of("NoisyLinear", "mode", self.mode, ("example", "batch"))
        sigma = noisy_products.check_sigma(self.sigma)
        _checks.count("NoisyLinear", "features", self.features, 1)
        _checks.flag("NoisyLinear", "use_bias", self.use_bias)
        noisy_products.check_inputs("NoisyLinear", inputs)
        bound, shape = inputs.shape[-1] ** -0.5, (inputs.shape[-1], self.features)

        def uniform(key, shape, dtype):
            return noisy_products.uniform_start(key, shape, bound, dtype)

        def constant(key, shape, dtype):
            return jnp.full(shape, sigma * bound, dtype)

        w, std = (self.param(n, f, shape, self.param_dtype) for n, f in (("kernel", uniform), ("kernel_std", constant)))
        bias = bias_std = None
        if self.use_bias:
            bias = self.param("bias", uniform, shape[1:], self.param_dtype)
            bias_std = self.param("bias_std", constant, shape[1:], self.param_dtype)
        x, w, std, bias, bias_std = promote_dtype(inputs, w, std, bias, bias_std, dtype=self.dtype)
        key = self._key(deterministic, rng)
        if key is None:
            y = jnp.einsum("...i,io->...o", x, w, precision=self.precision)
            return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
        extra: Any = () if bias is None else (bias, bias_std)
        return weights.noisy_net(key, x, w, std, *extra, mode=self.mode, precision=self.precision)
