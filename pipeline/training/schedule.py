"""The learning rate as a pure function of the step, so that a resumed run needs no state for it.

    warm-up   lr(s) = lr_max (s + 1) / w                                              for s < w
    cosine    lr(s) = lr_min + (lr_max - lr_min) (1 + cos(pi (s - w) / (S - w))) / 2    for w <= s < S

The linear warm-up is Goyal et al. 2017 (arXiv:1706.02677, 2.2); the cosine Loshchilov and Hutter 2017
(arXiv:1608.03983, equation 5, without restarts).
"""

import math

from pipeline.training.settings import Settings


def learning_rate(step: int, settings: Settings) -> float:
    """The rate of step `step` (from 0); beyond the last step it stays at its end value."""
    highest, warmup = settings.learning_rate, settings.warmup_steps
    if step < warmup:
        return highest * (step + 1) / warmup
    lowest = highest * settings.final_share
    share = min(1.0, (step - warmup) / max(1, settings.steps - warmup))
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * share)) / 2
