"""Adversarial noise: threats, attacks as chains of `optax` transforms, adversarial training and certificates.

An attack is a function of a key and arrays. It runs inside one `jax.jit`, with traced radii, on batches that may be
sharded. Requires optax: ``pip install noisejax[optax]``.
"""

from noisejax._checks import texts

try:
    import optax as optax
except ModuleNotFoundError as error:
    raise texts.extra("noisejax.adversarial", "optax", error) from None


from noisejax.adversarial._attacks.adaptive_norm import ddn as ddn, fmn as fmn
from noisejax.adversarial._attacks.apgd import (
    apgd as apgd,
    scale_by_apgd as scale_by_apgd,
    scale_by_sparse_apgd as scale_by_sparse_apgd,
)
from noisejax.adversarial._attacks.driver import attack as attack
from noisejax.adversarial._attacks.fab import fab as fab
from noisejax.adversarial._attacks.minimum_norm import cw as cw, deepfool as deepfool
from noisejax.adversarial._attacks.pgd import (
    adam_pgd as adam_pgd,
    bim as bim,
    fgsm as fgsm,
    mi_fgsm as mi_fgsm,
    ni_fgsm as ni_fgsm,
    pgd as pgd,
)
from noisejax.adversarial._attacks.spatial import spatial as spatial
from noisejax.adversarial._attacks.square import square as square
from noisejax.adversarial._attacks.transforms import (
    for_each_example as for_each_example,
    project_onto as project_onto,
    scale_by_norm as scale_by_norm,
    scale_by_reach as scale_by_reach,
    scale_by_steepest as scale_by_steepest,
    scale_by_step as scale_by_step,
    scale_by_top_sign as scale_by_top_sign,
)
from noisejax.adversarial._attacks.universal import universal as universal
from noisejax.adversarial._autoattack.evaluate import Evaluation as Evaluation, evaluate as evaluate
from noisejax.adversarial._autoattack.run import AutoAttackResult as AutoAttackResult, autoattack as autoattack
from noisejax.adversarial._certificates.bounds import (
    interval_bounds as interval_bounds,
    margin_bounds as margin_bounds,
    worst_case_logits as worst_case_logits,
)
from noisejax.adversarial._certificates.certify import (
    Certificates as Certificates,
    Decisions as Decisions,
    Guarantee as Guarantee,
    certify as certify,
    certify_at as certify_at,
    guarantee as guarantee,
)
from noisejax.adversarial._certificates.smoothing import (
    smoothed_counts as smoothed_counts,
    smoothed_predict as smoothed_predict,
)
from noisejax.adversarial._diversified import odi as odi, ods as ods
from noisejax.adversarial._losses import (
    classified_as as classified_as,
    cross_entropy as cross_entropy,
    dlr as dlr,
    kl as kl,
    log_odds as log_odds,
    margin as margin,
    misclassified as misclassified,
    normalized as normalized,
    targeted as targeted,
    targeted_dlr as targeted_dlr,
    untargeted as untargeted,
)
from noisejax.adversarial._threats.balls import L2 as L2, Linf as Linf, Threat as Threat
from noisejax.adversarial._threats.patch import patch_mask as patch_mask
from noisejax.adversarial._threats.sparse import L0 as L0, L1 as L1
from noisejax.adversarial._threats.tabular import Tabular as Tabular
from noisejax.adversarial._training.embeddings import freelb as freelb, smart as smart, symmetric_kl as symmetric_kl
from noisejax.adversarial._training.losses import alp as alp, free_step as free_step, mart as mart, trades as trades
from noisejax.adversarial._training.overfitting import (
    OverfittingGuard as OverfittingGuard,
    OverfittingState as OverfittingState,
    gradient_alignment as gradient_alignment,
    overfitting_guard as overfitting_guard,
)
from noisejax.adversarial._training.virtual import vat as vat

__all__ = [
    "L0",
    "L1",
    "L2",
    "AutoAttackResult",
    "Certificates",
    "Decisions",
    "Evaluation",
    "Guarantee",
    "Linf",
    "OverfittingGuard",
    "OverfittingState",
    "Tabular",
    "Threat",
    "adam_pgd",
    "alp",
    "apgd",
    "attack",
    "autoattack",
    "bim",
    "certify",
    "certify_at",
    "classified_as",
    "cross_entropy",
    "cw",
    "ddn",
    "deepfool",
    "dlr",
    "evaluate",
    "fab",
    "fgsm",
    "fmn",
    "for_each_example",
    "free_step",
    "freelb",
    "gradient_alignment",
    "guarantee",
    "interval_bounds",
    "kl",
    "log_odds",
    "margin",
    "margin_bounds",
    "mart",
    "mi_fgsm",
    "misclassified",
    "ni_fgsm",
    "normalized",
    "odi",
    "ods",
    "overfitting_guard",
    "patch_mask",
    "pgd",
    "project_onto",
    "scale_by_apgd",
    "scale_by_norm",
    "scale_by_reach",
    "scale_by_sparse_apgd",
    "scale_by_steepest",
    "scale_by_step",
    "scale_by_top_sign",
    "smart",
    "smoothed_counts",
    "smoothed_predict",
    "spatial",
    "square",
    "symmetric_kl",
    "targeted",
    "targeted_dlr",
    "trades",
    "universal",
    "untargeted",
    "vat",
    "worst_case_logits",
]
