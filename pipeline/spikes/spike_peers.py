"""The encoders of snnTorch, SpikingJelly, Norse and Nengo, as their users run them, each with a linear decoder.

Values are laid on 0 .. 1 by the calibrated range (see `unit_interval`), as all of them ask for. T steps, P neurons:

    snntorch:rate_<T>          `spikegen.rate`: Bernoulli
    snntorch:latency_<T>       `spikegen.latency`, normalize and linear as in its example: without them all values but
                               the smallest fire in step 0
    spikingjelly:poisson_<T>   `PoissonEncoder`: Bernoulli
    spikingjelly:latency_<T>   `LatencyEncoder`
    spikingjelly:phase_<T>     `WeightedPhaseEncoder`; values on 0 .. 1 - 2^-T, all that it takes
    norse:poisson_<T>          `poisson_encode` at its 100 Hz and 1 ms: a spike in a tenth of the steps at most
    norse:lif_<T>              `constant_current_lif_encode`, currents 0 .. 16, its example's largest; up to 1 none fire
    norse:latency_<T>          `spike_latency_lif_encode`, the same currents
    norse:population_<P>_<T>   `population_encode` (its sigma of 1, centres 0 .. 1), then `poisson_encode`: its example
    nengo:ensemble_<P>_<T>     an ensemble of P LIF neurons (the Neural Engineering Framework) a value, T steps of 1 ms;
                               values on -1 .. 1, all else as Nengo sets it, the same ensemble for all values

`spikegen.delta` has no row: it encodes change over time, and a vector has none.

Nengo brings decoders, solved by itself: read over all T steps. The others have none; theirs is solved by least squares
on values of the fit rows (see `linear_readout`), the same for all dimensions: from a neuron's counts, or, where it
matters when a spike comes (latency, phase), with a weight for each step, so that a spike time may mean any value. It
shrinks what is noisy, towards the mean of all dimensions, which no decoder without a fit does. What is drawn at random
hangs on the codec's seed and on the rows encoded together.

The packages are the extra `spike-peers` (`make spike-peers`); none is imported before its codec is used, and decoding
takes none of them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from pipeline.codec import Array, Codec, Codes
from pipeline.spikes import calibration, linear_readout, unit_interval
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError

NAME = re.compile(r"(\w+:[a-z]+)((?:_[1-9][0-9]{0,3}){1,2})")
MOST_STEPS, MOST_NEURONS = 1000, 1000
MOST_PHASES = 16

CURRENT = 16.0  # the largest of Norse's example
DT_S = 0.001  # Nengo's time step
FITTED_VALUES = 200_000  # that a decoder is solved on, in whole rows
BLOCK_BYTES = 64 * 2**20  # of the float32 spikes that the libraries make, at a time

Encoder = Callable[[Array, "Peer"], Iterator[Array]]
"""(u float32 [n, d] in 0 .. 1, the codec) -> blocks of rows' spikes [T, rows, d P] of 0 and 1, in order"""


def module(name: str) -> Any:
    """A peer's module. Raises UserError where its package is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing, package = error.name or name, name.partition(".")[0]
        installs = "`make spike-peers` installs the extra 'spike-peers'"
        raise UserError(
            f"package {missing.partition('.')[0]!r}, for codes of {package}, is not installed; {installs}"
        ) from None


def _by_torch(make: Callable[[Any, "Peer"], Any]) -> Encoder:
    """Blocks of torch's spikes [T, rows, ...], with torch's random numbers drawn from the codec's seed."""

    def encode(u: Array, peer: "Peer") -> Iterator[Array]:
        torch = module("torch")
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(peer.seed)
            for some in peer.blocks(u):
                yield make(torch.from_numpy(some), peer).numpy().reshape(peer.steps, len(some), -1)

    return encode


def _snntorch_rate(u: Any, peer: "Peer") -> Any:
    return module("snntorch.spikegen").rate(u, num_steps=peer.steps)


def _snntorch_latency(u: Any, peer: "Peer") -> Any:
    return module("snntorch.spikegen").latency(u, num_steps=peer.steps, normalize=True, linear=True)


def _spikingjelly_poisson(u: Any, peer: "Peer") -> Any:
    encoder = module("spikingjelly.activation_based.encoding").PoissonEncoder(step_mode="m")
    return encoder(u.expand(peer.steps, *u.shape))


def _spikingjelly_latency(u: Any, peer: "Peer") -> Any:
    encoder = module("spikingjelly.activation_based.encoding").LatencyEncoder(peer.steps)
    return module("torch").stack([encoder(u) for _ in range(peer.steps)])


def _spikingjelly_phase(u: Any, peer: "Peer") -> Any:
    encoder = module("spikingjelly.activation_based.encoding").WeightedPhaseEncoder(peer.steps)
    scaled = u * (1 - 2.0**-peer.steps)
    return module("torch").stack([encoder(scaled) for _ in range(peer.steps)])


def _norse_poisson(u: Any, peer: "Peer") -> Any:
    return module("norse.torch.functional.encode").poisson_encode(u, peer.steps)


def _norse_lif(u: Any, peer: "Peer") -> Any:
    return module("norse.torch.functional.encode").constant_current_lif_encode(CURRENT * u, peer.steps)


def _norse_latency(u: Any, peer: "Peer") -> Any:
    return module("norse.torch.functional.encode").spike_latency_lif_encode(CURRENT * u, peer.steps)


def _norse_population(u: Any, peer: "Peer") -> Any:
    encode = module("norse.torch.functional.encode")
    # scale: the largest value, of the range and not of these rows, lest the centres move with the rows
    return encode.poisson_encode(encode.population_encode(u, peer.population, scale=1), peer.steps)


class Ensemble(NamedTuple):
    """What Nengo builds: each neuron's current is gain * encoder * x + bias; potentials at the start; decoders."""

    gain: Array  # float64 [P], with the encoder's sign
    bias: Array  # float64 [P]
    potential: Array  # float64 [P]
    decoders: Array  # float64 [P]


@cache
def ensemble(population: int, seed: int) -> Ensemble:
    """An ensemble of LIF neurons for one value, its settings and its solver those that Nengo has by itself."""
    nengo = module("nengo")
    with nengo.Network() as network:
        neurons = nengo.Ensemble(population, dimensions=1, seed=seed)
        connection = nengo.Connection(neurons, nengo.Node(size_in=1), synapse=None)
    with nengo.Simulator(network, dt=DT_S, progress_bar=False) as simulator:
        built = simulator.data[neurons]
        potential = simulator.signals[simulator.model.sig[neurons.neurons]["voltage"]].copy()
        decoders = simulator.data[connection].weights[0].copy()
        return Ensemble(built.gain * built.encoders[:, 0], built.bias.copy(), potential, decoders)


def _nengo_ensemble(u: Array, peer: "Peer") -> Iterator[Array]:
    """Nengo's own step of its LIF neurons, all values side by side: what its simulator gives, spike for spike."""
    found = ensemble(peer.population, peer.seed)
    for some in peer.blocks(u):
        current = (2 * some.astype(np.float64) - 1)[:, :, None] * found.gain + found.bias
        potential = np.broadcast_to(found.potential, current.shape).copy()
        refractory, output = np.zeros_like(current), np.zeros_like(current)
        neurons = module("nengo").LIF()
        spikes = np.empty((peer.steps, len(some), some.shape[1] * peer.population), np.uint8)
        for step in range(peer.steps):
            neurons.step(DT_S, current, output, voltage=potential, refractory_time=refractory)
            spikes[step] = (output > 0).reshape(len(some), -1)
        yield spikes


class Kind(NamedTuple):
    """How an encoder is run and read."""

    encode: Encoder
    timed: bool = False  # whether the decoder reads when spikes come, and not only how many
    population: bool = False  # whether a value has several neurons
    least: int = 1  # steps
    most: int = MOST_STEPS


KINDS = {
    "snntorch:rate": Kind(_by_torch(_snntorch_rate)),
    "snntorch:latency": Kind(_by_torch(_snntorch_latency), timed=True, least=2),
    "spikingjelly:poisson": Kind(_by_torch(_spikingjelly_poisson)),
    "spikingjelly:latency": Kind(_by_torch(_spikingjelly_latency), timed=True, least=2),
    "spikingjelly:phase": Kind(_by_torch(_spikingjelly_phase), timed=True, most=MOST_PHASES),
    "norse:poisson": Kind(_by_torch(_norse_poisson)),
    "norse:lif": Kind(_by_torch(_norse_lif)),
    "norse:latency": Kind(_by_torch(_norse_latency), timed=True, least=2),
    "norse:population": Kind(_by_torch(_norse_population), population=True),
    "nengo:ensemble": Kind(_nengo_ensemble, population=True),
}


@dataclass
class Peer(SpikeCode):
    """`weights` float32 [1 or T, P], `bias` [1], and `zero` and `step` float32 [d] are shared."""

    kind: str = ""
    population: int = 1
    family: ClassVar[str] = "peer"
    chosen: calibration.Choice = field(default_factory=calibration.Choice)

    @property
    def neurons(self) -> int:
        return self.population * len(self.shared["step"])

    def blocks(self, u: Array) -> Iterator[Array]:
        """Rows in blocks of about BLOCK_BYTES of float32 spikes, of one row at least."""
        size = max(1, BLOCK_BYTES // (4 * self.steps * self.population * u.shape[1]))
        return (u[start : start + size] for start in range(0, len(u), size))

    def fit(self, x: Array) -> Self:
        self.shared = unit_interval.fitted(x, self.chosen)
        if self.kind == "nengo:ensemble":
            # A spike is 1 / dt; its mean over T steps is a value of -1 .. 1.
            weights, bias = ensemble(self.population, self.seed).decoders[None] / (2 * DT_S * self.steps), 0.5
        else:
            weights, bias = self._least_squares(x)
        self.shared |= {"weights": weights.astype(np.float32), "bias": np.array([bias], np.float32)}
        return self

    def _least_squares(self, x: Array) -> tuple[Array, float]:
        """Weights [1, P] of counts, or [T, P] of spikes, and the bias, on rows that are drawn from x."""
        rows = min(len(x), -(-FITTED_VALUES // x.shape[1]))
        drawn = np.sort(np.random.default_rng(self.seed).choice(len(x), rows, replace=False))
        u = unit_interval.fractions(x[drawn], self.shared)

        def parts() -> Iterator[tuple[Array, Array]]:
            start = 0
            for spikes in KINDS[self.kind].encode(u, self):
                some = u[start : (start := start + spikes.shape[1])].ravel()
                if not KINDS[self.kind].timed:
                    spikes = spikes.sum(axis=0, keepdims=True)
                by_value = spikes.reshape(len(spikes), len(some), self.population).transpose(1, 0, 2)
                yield by_value.reshape(len(some), -1), some

        weights, bias = linear_readout.solve(parts())
        return weights.reshape(-1, self.population), bias

    def encode(self, x: Array) -> Codes:
        u = unit_interval.fractions(x, self.shared)
        packed = np.empty((len(x), self.steps, -(-self.neurons // 8)), np.uint8)
        start = 0
        for spikes in KINDS[self.kind].encode(u, self):
            train = SpikeTrain.from_dense(spikes)
            packed[start : (start := start + len(train))] = train.packed
        return self.codes(SpikeTrain(packed, self.neurons))

    def decode(self, codes: Codes) -> Array:
        read = linear_readout.read(self.spike_train(codes), self.shared["weights"], len(self.shared["step"]))
        return unit_interval.values(read + self.shared["bias"], self.shared)

    def outside(self, x: Array) -> Array:
        """bool [n, d]: values outside of the calibrated range (see `calibration`)."""
        return unit_interval.outside(x, self.shared)


def build(name: str, seed: int) -> Codec:
    """`<library>:<encoder>_<T>`, or `_<P>_<T>` where a value has several neurons (see above).

    Raises UserError for any other name.
    """
    found = NAME.fullmatch(name)
    kind = KINDS.get(found[1]) if found else None
    numbers = [int(one) for one in found[2].split("_")[1:]] if found else []
    if not found or kind is None or len(numbers) != 1 + kind.population:
        forms = ", ".join(f"{one}_{'<neurons>_' * each.population}<steps>" for one, each in KINDS.items())
        raise UserError(f"representations: {name!r} is not one of {forms}")
    steps = numbers[-1]
    if not kind.least <= steps <= kind.most:
        raise UserError(f"representations: {name!r}: it takes {kind.least} steps at least and {kind.most} at most")
    population = numbers[0] if kind.population else 1
    if population > MOST_NEURONS:
        raise UserError(f"representations: {name!r}: a value has {MOST_NEURONS} neurons at most")
    return Peer(name, seed, kind=found[1], population=population, steps=steps)


fit_together = calibration.together(build)
