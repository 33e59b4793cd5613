"""Delta code: events, on or off, until their sum has caught up with the value.

    delta_<T>:   e(t) = q - sum_{i < t} s(i),    s(t) = sign(e(t)) [|e(t)| > 1/2],    q = sum_t s(t) = -T .. T

Delta modulation (de Jager 1952) of an input that is constant for T steps, the tracked value starting at 0; events as a
dynamic vision sensor has them (Lichtsteiner et al. 2008), the tracking error compared with half a threshold. As a
neuron (`neurons/integrate_fire.py`, `signed`) e is the potential, and there is no input.

Guarantee: all 2 T + 1 integers come back, after |q| steps: |q| events of one sign, then silence.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration, planes
from pipeline.spikes.count_code import CountCode
from pipeline.spikes.train import SpikeTrain


@dataclass
class Delta(CountCode):
    """2 T + 1 levels a value, one neuron, T steps, signed spikes."""

    signed: ClassVar[bool] = True
    centred: ClassVar[bool] = True

    def to_spikes(self, q: Array) -> SpikeTrain:
        sizes = planes.train(np.abs(q), self.steps, lambda some: (some >= step + 1 for step in range(self.steps)))
        return planes.with_signs(sizes, q < 0)


def build(name: str, seed: int) -> Codec:
    """`delta_<T>`, T from 1 to 4096. Raises UserError for any other name."""
    return Delta(name, seed, steps=planes.timesteps(name, "delta", least=1))


fit_together = calibration.together(build)
