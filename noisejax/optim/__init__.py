"""Noise and adversaries around an optimizer, as `optax` transforms: on gradients, updates and weights, and in rounding.

Every noise transform is a `GradientTransformationExtraArgs` whose first argument is the key. Its state holds the key's
data and the number of steps: plain arrays, which any checkpoint stores and restores exactly. The draw at an element
depends only on the key, the step, the path of the parameter in its tree and the element's index. So adding a parameter
does not change the noise of others, and sharded trees have the same noise as unsharded ones.
"""

from noisejax._checks import texts

try:
    import optax as optax
except ModuleNotFoundError as error:
    raise texts.extra("noisejax.optim", "optax", error) from None


from noisejax.optim._additive import (
    AnticorrelatedNoiseState as AnticorrelatedNoiseState,
    add_anticorrelated_noise as add_anticorrelated_noise,
    add_noise as add_noise,
    annealed_std as annealed_std,
    apply_noise as apply_noise,
)
from noisejax.optim._adversary import (
    AdversarialWeightsState as AdversarialWeightsState,
    adversarial_weights as adversarial_weights,
)
from noisejax.optim._langevin import (
    PreconditionedSGLDState as PreconditionedSGLDState,
    add_langevin_noise as add_langevin_noise,
    preconditioned_sgld as preconditioned_sgld,
    sgld as sgld,
)
from noisejax.optim._perturbed import perturbed_gradients as perturbed_gradients
from noisejax.optim._private import (
    add_private_noise as add_private_noise,
    clipped_sum as clipped_sum,
    differentially_private_aggregate as differentially_private_aggregate,
)
from noisejax.optim._rounding import (
    apply_updates as apply_updates,
    stochastic_round as stochastic_round,
    stochastic_rounding as stochastic_rounding,
)
from noisejax.optim._sharpness import asam as asam, awp as awp, gsam as gsam, sam as sam
from noisejax.optim._shrink import shrink_and_perturb as shrink_and_perturb
from noisejax.optim._streams import NoiseState as NoiseState
from noisejax.optim._trainable import trainable as trainable

__all__ = [
    "AdversarialWeightsState",
    "AnticorrelatedNoiseState",
    "NoiseState",
    "PreconditionedSGLDState",
    "add_anticorrelated_noise",
    "add_langevin_noise",
    "add_noise",
    "add_private_noise",
    "adversarial_weights",
    "annealed_std",
    "apply_noise",
    "apply_updates",
    "asam",
    "awp",
    "clipped_sum",
    "differentially_private_aggregate",
    "gsam",
    "perturbed_gradients",
    "preconditioned_sgld",
    "sam",
    "sgld",
    "shrink_and_perturb",
    "stochastic_round",
    "stochastic_rounding",
    "trainable",
]
