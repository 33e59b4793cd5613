"""Deterministic rate code: the count of an integrate-and-fire neuron's spikes is the integer.

    integrate_fire_<T>:   q = sum_t s(t),    q = 0 .. T

The neuron (`neurons/integrate_fire.py`, `step`; rate coding as in Rueckauer et al. 2017) has the constant input q / T,
a threshold of 1 and soft reset, and starts at half the threshold: in whole numbers input q, threshold T, start floor(T
/ 2). Until step t it fires floor((q t + floor(T / 2)) / T) times.

Guarantee: all T + 1 integers come back, and before the end the count of t steps is within 1/2 of q t / T. The spikes
are as even as can be. There are q of them: about T / 2 where values lie evenly around the middle.
"""

from dataclasses import dataclass

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration, planes
from pipeline.spikes.count_code import CountCode
from pipeline.spikes.search import SpikeSearch
from pipeline.spikes.train import SpikeTrain


@dataclass
class IntegrateFire(SpikeSearch, CountCode):
    """T + 1 levels a value, one neuron, T steps."""

    def to_spikes(self, q: Array) -> SpikeTrain:
        return planes.train(q, self.steps, lambda some: planes.evenly(some, self.steps // 2, self.steps, self.steps))


def build(name: str, seed: int) -> Codec:
    """`integrate_fire_<T>`, T from 1 to 4096. Raises UserError for any other name."""
    return IntegrateFire(name, seed, steps=planes.timesteps(name, "integrate_fire", least=1))


fit_together = calibration.together(build)
