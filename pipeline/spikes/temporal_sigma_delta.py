"""Sigma-delta code over time: signed spikes, evenly spread, whose mean is the value.

    temporal_sigma_delta_<T>:   a(t) = q / T + v(t-1),    s(t) = sign(a(t)) [|a(t)| > 1/2],    v(t) = a(t) - s(t)

The first-order modulator (Inose and Yasuda 1963) with three levels, so that small values cost few spikes; it is an
integrate-and-fire neuron with two thresholds and soft reset (`neurons/integrate_fire.py`, `signed`; in whole numbers
input q, size T). One value is one neuron in T steps; the codes of `pipeline/codecs/sigma_delta.py`, by contrast, spread
a vector over the bits of a redundant frame.

Guarantee: |v| <= 1/2 throughout, so the sum of t steps is within 1/2 of q t / T, and all of them sum up to q: the
2 T + 1 integers come back. Times the range R of a dimension, the mean is within R / (2 T) of a value inside it, at |q|
spikes.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration, planes
from pipeline.spikes.count_code import CountCode
from pipeline.spikes.train import SpikeTrain


@dataclass
class TemporalSigmaDelta(CountCode):
    """2 T + 1 levels a value, one neuron, T steps, signed spikes."""

    signed: ClassVar[bool] = True
    centred: ClassVar[bool] = True

    def to_spikes(self, q: Array) -> SpikeTrain:
        """Of |q| the neuron is one that starts just below half the threshold: at the half itself it does not fire."""
        start = (self.steps - 1) // 2
        sizes = planes.train(np.abs(q), self.steps, lambda some: planes.evenly(some, start, self.steps, self.steps))
        return planes.with_signs(sizes, q < 0)


def build(name: str, seed: int) -> Codec:
    """`temporal_sigma_delta_<T>`, T from 1 to 4096. Raises UserError for any other name."""
    return TemporalSigmaDelta(name, seed, steps=planes.timesteps(name, "temporal_sigma_delta", least=1))


fit_together = calibration.together(build)
