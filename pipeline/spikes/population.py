"""Population code: P neurons a value, each with a preferred one, and a linear decoder of their spikes.

    a_k(u) = exp(-(u - c_k)^2 / (2 s^2)),    c_k = k / (P - 1),    s = 3/4 of the centres' distance,    k = 0 .. P - 1

u is where the value lies in its dimension's calibrated range, 0 to 1 (Georgopoulos, Schwartz and Kettner 1986;
Eliasmith and Anderson 2003 for the decoder).

    population_<P>_<T>           neuron k fires floor(T a_k + 1/2) times in T steps: integrate-and-fire with soft reset,
                                 the drive a_k in units of 2^-15, threshold 1, potential 1/2 at the start, in integers
    population_<P>_<T>_latency   it fires once, in step T - 1 - round(a_k (T - 1)), or, with a_k below 1/20, not at all:
                                 a potential starts at round(a_k (T - 1)), rises by one a step and fires when it is T

The decoder is linear in the counts, or in how early spikes are (T - t): `bias + sum_k w_k n_k`, the same w for all
dimensions, so that it is P + 1 numbers. It is solved on values of the fit rows and, as many, on an even grid of the
range: the first make it best where values are, the second teach it the neurons at the ends, whose values are rare.

No guarantee of exactness: the error is that of the fit. More neurons lay their curves closer, so that it falls with P
until one thing is left: counts are rounded, so their sum is off by some spikes, and a linear decoder takes that for a
value as much larger or smaller. This part falls with T alone; at T = 16 it rules from some 32 neurons on. Spikes do not
grow with P, since the curves grow narrower: about 1.9 T are a value's, or 3.7 with latencies.

P T slots a value are many bits: 9 MiB a vector of 300 dimensions in `population_2500_100`. `pipeline.spikes.encode` and
`decode` hold some vectors' spikes at a time, one vector's at least, however many vectors there are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numba
import numpy as np

from pipeline.codec import Array, Codec, Codes
from pipeline.spikes import calibration, linear_readout, unit_interval
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"population_([1-9][0-9]{0,3})_([1-9][0-9]{0,2})(_latency)?")
MOST_NEURONS, MOST_STEPS = 2500, 100

WIDTH = 0.75  # s, in distances of the centres: wider costs more spikes, narrower leaves gaps
THRESHOLD = 2**15
START = THRESHOLD // 2  # the potential at the start: counts are rounded to nearest
CUT = 0.05  # latency: less activity than this does not fire

GRID = 4096  # points of the range that the decoder is solved on; eight a neuron where that is more
PART = 1024  # of these at a time
BLOCK_BYTES = 64 * 2**20  # what a block of rows takes: 16 bytes a neuron while it is made, and its spikes


def activity(u: Array, neurons: int) -> Array:
    """Tuning curves: float32 [..., P] of fractions u float32 [...]."""
    distance = u[..., None] * np.float32(neurons - 1) - np.arange(neurons, dtype=np.float32)
    distance *= np.float32(1 / WIDTH)
    return np.exp(-0.5 * distance * distance)


@dataclass
class Population(SpikeCode):
    """`weights` float32 [P], `bias` [1], and `zero` and `step` float32 [d] are shared (see `unit_interval`)."""

    population: int = 8
    latency: bool = False
    chosen: calibration.Choice = field(default_factory=calibration.Choice)

    @property
    def neurons(self) -> int:
        return self.population * len(self.shared["step"])

    def drives(self, u: Array) -> Array:
        """What each neuron is given: int32 [..., P], in units of 2^-15; with latencies, the step in which it fires,
        T where it does not."""
        a = activity(u, self.population)
        if not self.latency:
            return np.rint(a * np.float32(THRESHOLD)).astype(np.int32)
        last = self.steps - 1
        return np.where(a < np.float32(CUT), self.steps, last - np.rint(a * np.float32(last))).astype(np.int32)

    def responses(self, u: Array) -> Array:
        """What the decoder reads: int32 [..., P], spikes of each neuron, or, of latencies, T - t, 0 without a spike."""
        drives = self.drives(u)
        return self.steps - drives if self.latency else (self.steps * drives + START) // THRESHOLD

    def fit(self, x: Array) -> Self:
        self.shared = unit_interval.fitted(x, self.chosen)
        points = max(GRID, 8 * self.population)
        u = unit_interval.fractions(x, self.shared).ravel()
        drawn = np.random.default_rng(self.seed).choice(u, points)
        known = np.concatenate([np.linspace(0, 1, points, dtype=np.float32), drawn])
        parts = ((self.responses(some), some) for some in np.split(known, range(PART, len(known), PART)))
        weights, bias = linear_readout.solve(parts)
        self.shared |= {"weights": weights.astype(np.float32), "bias": np.array([bias], np.float32)}
        return self

    def blocks(self, rows: int) -> Iterator[slice]:
        """Rows in blocks of about BLOCK_BYTES, of one at least."""
        size = max(1, int(BLOCK_BYTES / (self.neurons * (16 + self.steps / 8))))
        return (slice(start, start + size) for start in range(0, rows, size))

    def encode(self, x: Array) -> Codes:
        u = unit_interval.fractions(x, self.shared)
        packed = np.zeros((len(x), self.steps, -(-self.neurons // 8)), np.uint8)
        for rows in self.blocks(len(x)):
            drives = self.drives(u[rows]).reshape(-1, self.neurons)
            if self.latency:
                for step in range(self.steps):
                    packed[rows, step] = np.packbits(drives == step, axis=1)
            else:
                _integrate(drives, packed[rows])
        return self.codes(SpikeTrain(packed, self.neurons))

    def decode(self, codes: Codes) -> Array:
        weights = self.shared["weights"][None].astype(np.float64)
        if self.latency:
            weights = weights * (self.steps - np.arange(self.steps))[:, None]
        read = linear_readout.read(self.spike_train(codes), weights, len(self.shared["step"]))
        return unit_interval.values(read + self.shared["bias"], self.shared)

    def outside(self, x: Array) -> Array:
        """bool [n, d]: values beyond the calibrated range."""
        return unit_interval.outside(x, self.shared)


@numba.njit(cache=True)
def _integrate(drives, packed):  # type: ignore[no-untyped-def]
    """Integrate-and-fire with soft reset, eight neurons (a byte) at a time; those without drive stay silent."""
    potential = np.empty(8, np.int32)
    for v in range(len(drives)):
        for place in range(packed.shape[2]):
            own = drives[v, 8 * place : 8 * place + 8]
            if not own.any():
                continue
            potential[:] = START
            for t in range(packed.shape[1]):
                byte = 0
                for i in range(len(own)):
                    potential[i] += own[i]
                    if potential[i] >= THRESHOLD:
                        potential[i] -= THRESHOLD
                        byte |= 128 >> i
                packed[v, t, place] = byte


def build(name: str, seed: int) -> Codec:
    """`population_<P>_<T>` and `population_<P>_<T>_latency`, P from 2 to 2,500 and T from 1 to 100; latencies need two
    steps. Raises UserError for any other name."""
    found = NAME.fullmatch(name)
    if not found:
        form = "population_<neurons>_<steps> or population_<neurons>_<steps>_latency"
        raise UserError(f"representations: population has no codec {name!r}; its names are {form}")
    population, steps, latency = int(found[1]), int(found[2]), bool(found[3])
    least = 2 if latency else 1
    if not 2 <= population <= MOST_NEURONS:
        raise UserError(f"representations: {name!r}: a value has 2 neurons at least and {MOST_NEURONS} at most")
    if not least <= steps <= MOST_STEPS:
        raise UserError(f"representations: {name!r}: it takes {least} steps at least and {MOST_STEPS} at most")
    return Population(name, seed, population=population, steps=steps, latency=latency)


fit_together = calibration.together(build)
