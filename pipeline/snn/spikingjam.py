"""SpikingJam: the spiking autoencoder, exact and learned; it reconstructs vectors that it has never seen.

    spikingjam_exact_<P>x<T>_<b>   b-bit integers through P neurons a value and T steps: spikingjam_exact_16x16_8
    spikingjam_<T>_<s>             learned, T phases (2 to 64), about s spikes a value: spikingjam_16_0.5

Exact. A value's P integrate-and-fire neurons begin at staggered potentials k / P and get the same current; their spikes
are those of `spikes/staggered.py`, which come from whole numbers, and their counts add up to the integer by Hermite's
identity. Phase-shifted attention reads neuron k at the phase t + phi_k, phi_k = floor(k T / P), circular over the T
steps (`phase_readout.shifted_sum`), and a reading neuron integrates the P currents. What carries the integer is the
counts: queries and keys are 1 throughout, so attention moves spikes in time and neither adds nor drops any. Attention
whose keys depend on the spikes would break it, and so would a shift that is not circular. Potentials stay between 0
and the threshold, so no bound on the membrane is ever met. Guarantee: all integers come back, seen or unseen.

Learned. y = (x - mean) R, R orthogonal and trained (`spikingjam_training`), drives a neuron for each axis, whose signed
spikes weigh by their phase (`phase_neurons`); delta is moved until the fit rows have s spikes a value. Attention over
phases reads them (`phase_readout`), and x' = mean + y' R^T. Only R comes from gradients: reach and delta are
calibrated, the attention is a least squares solution. No guarantee of exactness. Without training (`steps: 0`:
principal axes) and attention (c = 0) it is the control of results/snn.csv.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes, NotApplicableError, check_vectors
from pipeline.snn import phase_neurons, phase_readout
from pipeline.spikes import planes, staggered
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError, check_keys

LEARNED = re.compile(r"spikingjam_(0|[1-9][0-9]?)_(0|0\.[0-9]*[1-9]|[1-9][0-9]?(?:\.[0-9]*[1-9])?)")
EXACT = re.compile(r"spikingjam_exact_(.+)")
MOST_STEPS = 64
TRAINED_BUDGET = 1.0  # spikes a value at which the rotation is trained: one serves all budgets
MARGIN = 1.25  # the reach of a neuron, in parts of its largest drive on the fit rows: unseen rows have larger ones
SAMPLE = 1000  # rows that delta and attention are fitted on
BLOCK = 2**22  # slots at a time


@dataclass
class Exact(staggered.Staggered):
    """Integers, spikes and search as `Staggered`; read by phase-shifted attention."""

    family: ClassVar[str] = "snn"
    searches: ClassVar[tuple[str, ...]] = ()

    @property
    def shifts(self) -> Array:
        """phi_k, int64 [P]."""
        return np.arange(self.population) * self.steps // self.population

    def to_integers(self, train: SpikeTrain) -> Array:
        q = np.empty((len(train), train.neurons // self.population), np.int32)
        for rows in planes.blocks(len(train), train.neurons):
            spikes = np.unpackbits(train.packed[rows], axis=2, count=train.neurons)
            spikes = spikes.reshape(len(spikes), self.steps, -1, self.population).transpose(0, 2, 3, 1)
            q[rows] = phase_readout.shifted_sum(spikes, self.shifts).sum(axis=-1)
        return q


@dataclass
class Learned(SpikeCode):
    """Shared: `mean` [d], `rotation` [d, d], `reach` [d], `delta` [1] and `decoder_attention` [T, T], float32."""

    family: ClassVar[str] = "snn"
    signed: ClassVar[bool] = True

    budget: float = 1.0

    @property
    def neurons(self) -> int:
        return len(self.shared["reach"])

    @property
    def phases(self) -> phase_neurons.Phases:
        return phase_neurons.phases(self.shared["reach"], float(self.shared["delta"][0]), self.steps)

    def fit(self, x: Array) -> Self:
        return self.calibrate(x, rotation(check_vectors(x), self.steps, self.seed, self.name))

    def calibrate(self, x: Array, axes: Array) -> Self:
        """Fit all but the axes, float32 [d, d], which are given.

        Raises NotApplicableError where no neuron would ever fire, for all rows are equal.
        """
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        y = (x - mean) @ axes
        reach = np.float32(MARGIN) * np.abs(y).max(axis=0)
        few = y[np.random.default_rng(self.seed).permutation(len(y))[:SAMPLE]]
        if not few.any():
            raise NotApplicableError(f"{self.name}: layer of {len(reach)} neurons: none fires, for all rows are equal")
        delta = phase_neurons.calibrated(few, reach, self.budget, self.steps)
        neurons = phase_neurons.phases(reach, delta, self.steps)
        spikes = phase_neurons.fire(few, neurons)
        if not spikes.any():
            what = f"{self.budget:g} spikes a value are fewer than one in {len(few)} rows"
            raise NotApplicableError(f"{self.name}: layer of {len(reach)} neurons: none fires, for {what}")
        attention = phase_readout.solve(spikes, neurons.weight, few)
        self.shared = {"mean": mean, "rotation": axes, "reach": reach, "delta": np.array([delta], np.float32)}
        self.shared["decoder_attention"] = attention.astype(np.float32)
        return self

    def _blocks(self, rows: int) -> list[slice]:
        size = max(1, BLOCK // (self.neurons * self.steps))
        return [slice(start, start + size) for start in range(0, rows, size)]

    def encode(self, x: Array) -> Codes:
        y = (check_vectors(x, self.neurons) - self.shared["mean"]) @ self.shared["rotation"]
        packed, negative = np.empty((2, len(x), self.steps, -(-self.neurons // 8)), np.uint8)
        for rows in self._blocks(len(x)):
            spikes = phase_neurons.fire(y[rows], self.phases).transpose(0, 2, 1)
            packed[rows], negative[rows] = np.packbits(spikes != 0, axis=2), np.packbits(spikes < 0, axis=2)
        return self.codes(SpikeTrain(packed, self.neurons, negative))

    def decode(self, codes: Codes) -> Array:
        train = self.spike_train(codes)
        y = np.empty((len(train), self.neurons), np.float32)
        for rows in self._blocks(len(train)):
            some = train.take(np.arange(len(train))[rows])
            spikes = np.stack([some.plane(step) for step in range(self.steps)], axis=2)
            y[rows] = phase_readout.read(spikes, self.phases.weight, self.shared["decoder_attention"])
        return y @ self.shared["rotation"].T + self.shared["mean"]


def rotation(x: Array, steps: int, seed: int, name: str, training_steps: int | None = None) -> Array:
    """R float32 [d, d]: principal axes of rows x [n, d], largest variance first, then trained; 0 steps: as they are.

    Raises NotApplicableError, naming the codec, where all rows are equal.
    """
    centred = (x - x.mean(axis=0, dtype=np.float64)).astype(np.float32)
    scale = np.sqrt(np.square(centred, dtype=np.float64).mean())
    if not scale:
        raise NotApplicableError(f"{name}: layer of {x.shape[1]} neurons: none fires, for all rows are equal")
    centred /= np.float32(scale)
    axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)[1][:, ::-1].astype(np.float32)
    if training_steps == 0:
        return np.ascontiguousarray(axes)
    y = centred @ axes
    delta = phase_neurons.calibrated(y[:SAMPLE], np.abs(y).max(axis=0), TRAINED_BUDGET, steps)
    from pipeline.snn import spikingjam_training as training  # torch takes two seconds: only for those who fit

    return training.fit(centred, axes, delta, seed, training.STEPS if training_steps is None else training_steps)


def build(name: str, seed: int) -> Codec:
    """`spikingjam_exact_<P>x<T>_<b>`, as `staggered_<P>x<T>_<b>`; `spikingjam_<T>_<s>`, T from 2 to 64, s above 0 and
    below T. Raises UserError for any other name."""
    if found := EXACT.fullmatch(name):
        try:
            code = staggered.build(f"staggered_{found[1]}", seed)
        except UserError as error:
            raise UserError(f"representations: {name!r}: {error}") from None
        assert isinstance(code, staggered.Staggered)
        return Exact(name, seed, population=code.population, steps=code.steps, bits=code.bits)
    if not (found := LEARNED.fullmatch(name)):
        form = "spikingjam_exact_<neurons>x<timesteps>_<bits> or spikingjam_<timesteps>_<spikes a value>"
        raise UserError(f"representations: spikingjam has no codec {name!r}; its names are {form}")
    steps, budget = int(found[1]), float(found[2])
    if not 2 <= steps <= MOST_STEPS:
        raise UserError(f"representations: {name!r}: it takes 2 timesteps at least and {MOST_STEPS} at most")
    if not 0 < budget < steps:
        raise UserError(f"representations: {name!r}: spikes a value must be above 0 and below the {steps} timesteps")
    return Learned(name, seed, steps=steps, budget=budget)


def fit_together(names: Sequence[str], seed: int, x: Array, options: Mapping[str, Any]) -> dict[str, Codec]:
    """Fit all; one rotation is trained for codecs of equal T. Options: `steps` of its training, 0 for none.

    Raises UserError for other options.
    """
    check_keys("spikingjam", options, ["steps"])
    training_steps = options.get("steps")
    if training_steps is not None and (type(training_steps) is not int or training_steps < 0):
        raise UserError(f"spikingjam: steps must be a whole number of at least 0, not {training_steps!r}")
    check_vectors(x)
    axes: dict[int, Array] = {}
    codecs: dict[str, Codec] = {}
    for name in names:
        codec = build(name, seed)
        if isinstance(codec, Learned):
            if codec.steps not in axes:
                axes[codec.steps] = rotation(x, codec.steps, seed, name, training_steps)
            codecs[name] = codec.calibrate(x, axes[codec.steps])
        else:
            codecs[name] = codec.fit(x)
    return codecs
