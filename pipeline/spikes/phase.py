"""Phase code: K steps are the K bits of an integer, the highest first.

    phase_<K>:   q = sum_t s(t) 2^(K-1-t),    q = 0 .. 2^K - 1

As a neuron it is integrate-and-fire with a leak of beta = 2 and soft reset (Kim et al. 2018, "Deep neural networks with
weighted spikes"; Rueckauer and Liu 2018 in another form): the potential starts at q, the threshold is 2^(K-1), and each
step, after the spike has taken the threshold away, doubles what is left (`neurons/integrate_fire.py`, `doubling`).

Guarantee: all 2^K integers come back. About half of the slots have a spike.
"""

import re
from dataclasses import dataclass

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration
from pipeline.spikes.place_value import MOST, PlaceValueCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"phase_([1-9][0-9]?)")


@dataclass
class Phase(PlaceValueCode):
    """K bits a value, one neuron, K steps."""

    @property
    def highest(self) -> int:
        return 2**self.steps - 1

    def to_spikes(self, q: Array) -> SpikeTrain:
        places = range(self.steps - 1, -1, -1)
        return SpikeTrain(np.stack([np.packbits(q >> p & 1, axis=1) for p in places], axis=1), q.shape[1])


def build(name: str, seed: int) -> Codec:
    """`phase_<K>`, K from 1 to 16. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or int(found[1]) > MOST:
        raise UserError(f"representations: phase has no codec {name!r}; its names are phase_<bits>, 1 to {MOST} bits")
    return Phase(name, seed, steps=int(found[1]))


fit_together = calibration.together(build)
