"""Signed non-adjacent form: K steps are the digits -1, 0 and 1 of a centred integer, the highest first.

    naf_<K>:   q = sum_t s(t) 2^(K-1-t),   s(t) in {-1, 0, 1},   q = -h .. h,   h = 2^(K-1) - 1

The form of an integer in which no two neighbouring digits are both non-zero is unique, and no signed binary form of it
has fewer non-zero digits (Reitwiesner 1960, "Binary arithmetic"). All its digits at once (Prodinger 2000): with
half = floor(q / 2) and more = q + half = floor(3 q / 2) in two's complement,

    a spike where   half xor more,    negative where   half and not more.

As a neuron it is the integrate-and-fire neuron of `phase.py` with two thresholds (`neurons/integrate_fire.py`,
`non_adjacent`). K digits suffice: |3 q / 2| < 2^K. So a K-bit integer takes no more steps than in binary. Where all
integers are equally frequent a third of the slots have a spike; where small ones are more frequent, fewer.

Guarantee: all 2^K - 1 integers come back; of two neighbouring steps at most one has a spike; no other code by signed
powers of two has fewer spikes for any integer.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration
from pipeline.spikes.place_value import MOST, PlaceValueCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"naf_([1-9][0-9]?)")
LEAST = 2  # one bit would have the integer 0 alone


@dataclass
class Naf(PlaceValueCode):
    """K bits a value, one neuron, K steps."""

    signed: ClassVar[bool] = True
    centred: ClassVar[bool] = True

    @property
    def highest(self) -> int:
        return 2 ** (self.steps - 1) - 1

    def to_spikes(self, q: Array) -> SpikeTrain:
        half = q >> 1
        more = q + half
        spikes, signs = (
            np.stack([np.packbits(digits >> place & 1, axis=1) for place in range(self.steps - 1, -1, -1)], axis=1)
            for digits in (half ^ more, half & ~more)
        )
        return SpikeTrain(spikes, q.shape[1], signs)


def build(name: str, seed: int) -> Codec:
    """`naf_<K>`, K from 2 to 16. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found or not LEAST <= int(found[1]) <= MOST:
        what = f"naf has no codec {name!r}; its names are naf_<bits>, {LEAST} to {MOST} bits"
        raise UserError(f"representations: {what}")
    return Naf(name, seed, steps=int(found[1]))


fit_together = calibration.together(build)
