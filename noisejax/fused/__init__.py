"""Operations fused with their noise: what is drawn is never stored, at the size of the noise.

Draws of this library depend on the key, the noise and the index of an element alone. So an operation that works in
tiles can draw each tile's noise when it needs it, in the forward and again in the backward pass. All functions run
everywhere by XLA and give the same draws as their unfused forms.

They can be differentiated in reverse mode and batched with `jax.vmap`. They have no forward mode (`jax.jvp`,
`jax.hessian`), unless their documentation says so: the backward pass is written by hand.
"""

from noisejax.fused._attention.call import attention as attention
from noisejax.fused._dense import noisy_dense as noisy_dense
from noisejax.fused._losses.call import (
    binary_cross_entropy as binary_cross_entropy,
    cross_entropy as cross_entropy,
    multi_label_cross_entropy as multi_label_cross_entropy,
)
from noisejax.fused._norm import dropout_residual_norm as dropout_residual_norm

__all__ = [
    "attention",
    "binary_cross_entropy",
    "cross_entropy",
    "dropout_residual_norm",
    "multi_label_cross_entropy",
    "noisy_dense",
]
