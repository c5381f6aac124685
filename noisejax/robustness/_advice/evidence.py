"""What the advice rests on: sentences with numbers, and the page of the repository that has them.

A test finds every number of a sentence on its page.
"""

ROBUSTNESS, ADAPTIVE, NOISES = (f"docs/results/{name}.md" for name in ("robustness", "adaptive", "noises"))

GAUSSIAN = (
    "MAGIC telescope: no clean loss shown, and the tolerated Gaussian noise rises from 22 to 29 %.",
    ROBUSTNESS,
)
MASKING = (
    "At 30 % missing cells it gains 1.4 ± 0.4 points on Adult and 6.2 ± 1.3 on MAGIC, at a clean cost of 1.6 ± 0.6.",
    ROBUSTNESS,
)
SWAPPING = (
    "The tolerated share of replaced cells rises from 31 to 38 % on Adult, and from 7 to 9 % on MAGIC.",
    ROBUSTNESS,
)
MIXTURE = (
    "At 30 % noise, a mixture with masking and Gaussian gains 2.4 to 5.7 points on MAGIC and 0.4 to 1.1 on Adult.",
    ROBUSTNESS,
)
REGRESSION = (
    "On CASP, a mixture at level 0.2 costs 5.8 ± 1.0 points of 100 R², and 1.4 ± 0.7 at an adaptive level.",
    ADAPTIVE,
)
MIXUP = ("Tolerated Gaussian noise on MAGIC: from 22 to 24 %. No clean loss shown.", ROBUSTNESS)
DROPOUT = ("Tolerated Gaussian noise on MAGIC: from 22 to 26 %. No clean loss shown.", ROBUSTNESS)
FGSM = ("It costs 1.0 ± 0.6 points of clean accuracy on MAGIC.", ROBUSTNESS)
SMALL = ("300 rows of digits: a network gains 1.1 ± 0.4 points of clean accuracy with std 0.5.", ROBUSTNESS)
TOO_MUCH = ("300 rows of digits: a network loses 3.7 ± 1.2 points with std 2.", ROBUSTNESS)
LINEAR = ("A linear model on 300 digits loses 1.8 ± 0.9 points with std 2.", ROBUSTNESS)
SMOOTHING = ("MAGIC: no clean difference is shown, and -0.1 ± 0.1 points under three faults: no gain.", NOISES)
