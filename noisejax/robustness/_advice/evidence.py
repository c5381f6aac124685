"""What the advice rests on: sentences with numbers, and the page of the repository that has them.

A test finds every number of a sentence on its page.
"""

ROBUSTNESS, ADAPTIVE, NOISES = (f"docs/results/{name}.md" for name in ("robustness", "adaptive", "noises"))

GAUSSIAN = (
    "MAGIC telescope: the tolerated Gaussian noise rises from 22 to 28 %, at a clean cost of 0.6 ± 0.5 points.",
    ROBUSTNESS,
)
MASKING = (
    "At 30 % missing cells it gains 1.3 ± 0.4 points on Adult and 6.1 ± 1.1 on MAGIC, at a clean cost of 1.5 ± 0.7.",
    ROBUSTNESS,
)
SWAPPING = (
    "The tolerated share of replaced cells rises from 31 to 39 % on Adult, and from 6 to 9 % on MAGIC.",
    ROBUSTNESS,
)
MIXTURE = (
    "At 30 % noise, a mixture with masking and Gaussian gains 2.1 to 5.4 points on MAGIC and 0.4 to 1.0 on Adult.",
    ROBUSTNESS,
)
REGRESSION = (
    "On CASP, a mixture at level 0.2 costs 5.8 ± 1.0 points of 100 R², and 1.4 ± 0.7 at an adaptive level.",
    ADAPTIVE,
)
MIXUP = ("Tolerated Gaussian noise on MAGIC: from 22 to 23 %. No clean loss shown.", ROBUSTNESS)
DROPOUT = ("Tolerated Gaussian noise on MAGIC: from 22 to 25 %. No clean loss shown.", ROBUSTNESS)
FGSM = ("It costs 1.0 ± 0.6 points of clean accuracy on MAGIC.", ROBUSTNESS)
SMALL = ("300 rows of digits: a network gains 0.7 ± 0.6 points of clean accuracy with std 0.5.", ROBUSTNESS)
TOO_MUCH = ("300 rows of digits: a network loses 4.2 ± 1.4 points with std 2.", ROBUSTNESS)
LINEAR = ("A linear model on 300 digits loses 2.0 ± 1.2 points with std 2.", ROBUSTNESS)
SMOOTHING = ("MAGIC: no clean difference is shown, and -0.1 ± 0.1 points under three faults: no gain.", NOISES)
