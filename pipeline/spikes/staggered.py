"""Rate and population, exact: P integrate-and-fire neurons that start at staggered potentials count one integer.

    staggered_<P>x<T>[_<b>]:   q = sum_k sum_t s_k(t),    q = 0 .. P T, or 0 .. 2^b - 1

All P neurons (`neurons/integrate_fire.py`, `step`) have the same constant input x = q / (P T), the same threshold 1 and
soft reset; neuron k starts at the potential k / P, k = 0 .. P - 1. Nothing else makes their spikes differ. In whole
numbers: input q, threshold P T, start k T.

Until step t neuron k has fired floor(t x + k / P) times, and by Hermite's identity

    sum_{k < P} floor(y + k / P) = floor(P y),

all of them have fired floor(P t x) = floor(q t / T) times. (Proof: the difference of the two sides is the same at y and
y + 1/P, since there k becomes k + 1 and the last term floor(y + 1) is the first, floor(y), plus 1; and for 0 <= y < 1/P
both sides are 0.)

Guarantee: all P T + 1 integers come back, exactly, and before the end the count of t steps is floor(q t / T). It is a
unary code: q spikes, about P T / 2 where values lie evenly around the middle.

Losing a neuron costs a bounded error: neuron k fires floor(q / P) or ceil(q / P) times in all, at most (P - 1) / P from
q / P, so the count of the others, times P / (P - 1), is at most 1 from q (`estimates`).

Search: `counts`, the Euclidean distance of the values' counts, which are the integers.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.codec import Array, Codec
from pipeline.spikes import calibration, planes
from pipeline.spikes.integer_code import IntegerCode
from pipeline.spikes.search import SpikeSearch
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"staggered_([1-9][0-9]{0,5})x([1-9][0-9]{0,3})(?:_([1-9][0-9]?))?")
MOST_SLOTS = 2**17
MOST_BITS = 16


@dataclass
class Staggered(SpikeSearch, IntegerCode):
    """P neurons a value, T steps; P T + 1 levels, or, where `bits` are given, 2^bits."""

    population: int = 16
    bits: int | None = None
    searches: ClassVar[tuple[str, ...]] = ("counts",)

    @property
    def neurons_per_value(self) -> int:
        return self.population

    @property
    def highest(self) -> int:
        return self.population * self.steps if self.bits is None else 2**self.bits - 1

    def to_spikes(self, q: Array) -> SpikeTrain:
        levels = self.highest + 1
        if self.population % 8 == 0 and 4 * levels < q.size:
            return planes.by_level(q, levels, self._fired)
        return self._fired(q)

    def _fired(self, q: Array) -> SpikeTrain:
        """The train of q int [n, d], by letting the neurons fire."""
        start = np.tile(np.arange(self.population, dtype=q.dtype) * self.steps, q.shape[1])
        threshold = self.population * self.steps
        return planes.train(
            q,
            self.steps,
            lambda some: planes.evenly(np.repeat(some, self.population, axis=1), start, threshold, self.steps),
            self.population,
        )

    def to_integers(self, train: SpikeTrain) -> Array:
        q = np.empty((len(train), train.neurons // self.population), np.int32)
        for block in planes.blocks(len(train), train.neurons):
            q[block] = self._by_neuron(SpikeTrain(train.packed[block], train.neurons)).sum(axis=2)
        return q

    def compared_counts(self, train: SpikeTrain) -> Array:
        """int32 [n, d]: spikes of a value's P neurons together."""
        return self.to_integers(train)

    def estimates(self, train: SpikeTrain, lost: int) -> Array:
        """float64 [n, d], at most 1 from the integers: what is known without each value's neuron `lost`, if P > 1."""
        others = np.delete(self._by_neuron(train), lost, axis=2).sum(axis=2)
        return others * self.population / (self.population - 1)

    def _by_neuron(self, train: SpikeTrain) -> Array:
        """Counts int32 [n, d, P]."""
        return train.counts().reshape(len(train), -1, self.population)


def build(name: str, seed: int) -> Codec:
    """`staggered_<P>x<T>` or `staggered_<P>x<T>_<b>`: P T at most 131,072, T at most 4096, b at most 16.

    Raises UserError for any other name, or, stating the least that would do, where P T is below 2^b - 1.
    """
    found = NAME.fullmatch(name)
    if not found:
        form = "staggered_<neurons>x<timesteps>, with _<bits> behind it"
        raise UserError(f"representations: staggered has no codec {name!r}; its names are {form}")
    population, steps, bits = int(found[1]), int(found[2]), int(found[3]) if found[3] else None
    if population * steps > MOST_SLOTS or steps > planes.MOST_STEPS:
        limits = f"at most {MOST_SLOTS} neurons x timesteps, {planes.MOST_STEPS} timesteps"
        raise UserError(f"representations: {name!r}: a value has {limits}")
    if bits is not None:
        _check_bits(name, population, steps, bits)
    return Staggered(name, seed, population=population, steps=steps, bits=bits)


def _check_bits(name: str, population: int, steps: int, bits: int) -> None:
    """Raises UserError, stating the least that would do, where P T is below 2^b - 1; and for more than 16 bits."""
    if bits > MOST_BITS:
        raise UserError(f"representations: {name!r}: {bits} bits; {MOST_BITS} are the most")
    least = 2**bits - 1
    if population * steps >= least:
        return
    longer, wider = -(-least // population), -(-least // steps)
    names = [f"staggered_{population}x{longer}_{bits}"] if longer <= planes.MOST_STEPS else []
    enough = " or ".join([*names, f"staggered_{wider}x{steps}_{bits}"])
    what = f"{bits} bits take neurons x timesteps of at least {least}, not {population * steps}: {enough}"
    raise UserError(f"representations: {name!r}: {what}")


fit_together = calibration.together(build)
