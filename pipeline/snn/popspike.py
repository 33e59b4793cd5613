"""PopSpike: population-coded words in, the next word's embedding out, by spikes through a working memory.

    word -> T steps of d P population neurons (word_codes) -> WorkingMemory [x, c] -> d P output neurons (LIF)
         -> n, their counts over the word's T steps -> prediction W n + b, d values

One micro-step network runs over all words of a sequence, T steps a word, and rests nowhere between: so a sequence may
be longer than those trained on (nothing here is as long as a sequence, only what was learned about may be shorter). The
output neurons are as many as a word's own code has, so that counts can be compared with words' codes by a dot product.

`variant`: `spiking`; `without_memory`, the same with neither gates nor adaptive thresholds; `dense`, a GRU (Cho et al.
2014, arXiv:1406.1078) on the vectors. The controls are as wide as makes their parameters most nearly as many.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.codec import Array
from pipeline.neurons.leaky import State
from pipeline.neurons.lif import LIF
from pipeline.snn.firing import POLICIES
from pipeline.snn.word_codes import WordCodes, word_codes
from pipeline.snn.working_memory import Memory, WorkingMemory, spiking_linear
from pipeline.stage import UserError, check_keys
from pipeline.store import EmbeddingTable

VARIANTS = ("spiking", "without_memory", "dense")
CUE_NEURONS = 32  # of each cue: a fourth of what fires in a step, so that gates can tell it soon
OUTPUT_ACTIVE = 0.1


class Size(NamedTuple):
    """Dimensions of the words' vectors, neurons a dimension and width of the memory."""

    dims: int
    neurons: int
    width: int


SIZES = {"small": Size(64, 8, 256), "base": Size(128, 8, 512), "large": Size(256, 8, 1024)}


class Options(NamedTuple):
    """What tells one network from another. `model` names a size, of which `dims`, `neurons` and `width` may be given
    otherwise; `timesteps` T; `dead_layers` as of activity.watch."""

    model: str = "small"
    variant: str = "spiking"
    dims: int | None = None
    neurons: int | None = None
    width: int | None = None
    timesteps: int = 1
    dead_layers: str = "stop"

    @property
    def size(self) -> Size:
        given = {"dims": self.dims, "neurons": self.neurons, "width": self.width}
        return SIZES[self.model]._replace(**{name: value for name, value in given.items() if value is not None})


def read_options(options: Mapping[str, Any]) -> Options:
    """Raises UserError that names the key for one that there is not, and for a value that cannot be used."""
    check_keys("options", options, Options._fields)
    read = Options(**options)
    choices: dict[str, tuple[str, tuple[str, ...]]] = {
        "model": (read.model, tuple(SIZES)),
        "variant": (read.variant, VARIANTS),
        "dead_layers": (read.dead_layers, POLICIES),
    }
    for name, (value, known) in choices.items():
        if value not in known:
            raise UserError(f"options: {name} {value!r} is not one of {', '.join(known)}")
    for name, number in {**read.size._asdict(), "timesteps": read.timesteps}.items():
        if type(number) is not int or number < 1:
            raise UserError(f"options: {name} must be a whole number of at least 1, not {number!r}")
    return read


class Prediction(NamedTuple):
    """`counts` [B, L, d P] of the output neurons' spikes over a word's steps, None of a dense network, and `vectors`
    [B, L, d], of any length."""

    counts: Tensor | None
    vectors: Tensor


class Carried(NamedTuple):
    """What the spiking network carries from word to word."""

    memory: Memory
    output: State


class PopSpike(nn.Module):
    """Word numbers [B, L], and cues [B, L, cues] of 0 and 1 where there are any, to a Prediction."""

    spikes: Tensor

    def __init__(self, codes: WordCodes, width: int, memory: bool, cues: int = 0) -> None:
        super().__init__()
        _, self.timesteps, neurons = codes.spikes.shape
        self.register_buffer("spikes", torch.from_numpy(codes.spikes), persistent=False)
        self.memory = WorkingMemory(neurons + cues * CUE_NEURONS, width, codes.active, memory)
        self.to_output = spiking_linear(2 * width, neurons, 2 * OUTPUT_ACTIVE * width)
        self.output = LIF(neurons)
        self.decoder = nn.Linear(neurons, codes.vectors.shape[1])
        self.log_scale = nn.Parameter(torch.full((2,), 2.0))  # of the cosines of vectors and of counts, in a softmax

    def forward(self, words: Tensor, cues: Tensor | None = None) -> Prediction:
        currents = self.to_output(self.memory(self._input(words, cues)))
        return self._read(self.output(currents), words)

    def run(self, words: Tensor, before: Carried | None = None) -> tuple[Prediction, Carried]:
        """The same for the words that follow, and what to go on from."""
        hidden, memory = self.memory.run(self._input(words, None), before.memory if before else None)
        spikes, output = self.output.run(self.to_output(hidden), before.output if before else None)
        return self._read(spikes, words), Carried(memory, output)

    def _input(self, words: Tensor, cues: Tensor | None) -> Tensor:
        """Spikes [L T, B, inputs], time first."""
        spikes = self.spikes[words.T.long()].to(self.decoder.weight.dtype)  # [L, B, T, d P]
        if cues is not None:
            also = cues.transpose(0, 1).repeat_interleave(CUE_NEURONS, dim=2).to(spikes)  # [L, B, cues x CUE_NEURONS]
            spikes = torch.cat([spikes, also[:, :, None].expand(-1, -1, self.timesteps, -1)], dim=3)
        return spikes.transpose(1, 2).flatten(0, 1)

    def _read(self, spikes: Tensor, words: Tensor) -> Prediction:
        counts = spikes.unflatten(0, (words.shape[1], self.timesteps)).sum(1).transpose(0, 1)  # [B, L, d P]
        return Prediction(counts, self.decoder(counts))


class Dense(nn.Module):
    """The control without spikes: a GRU on the words' vectors and the cues, the same decoder behind it."""

    vectors: Tensor

    def __init__(self, codes: WordCodes, width: int, cues: int = 0) -> None:
        super().__init__()
        dims = codes.vectors.shape[1]
        self.register_buffer("vectors", torch.from_numpy(codes.vectors), persistent=False)
        self.recurrent = nn.GRU(dims + cues, width, batch_first=True)
        self.decoder = nn.Linear(width, dims)
        self.log_scale = nn.Parameter(torch.full((2,), 2.0))
        self.operations = dict[str, float]()

    def forward(self, words: Tensor, cues: Tensor | None = None) -> Prediction:
        x = self.vectors[words.long()]
        x = x if cues is None else torch.cat([x, cues.to(x)], dim=2)
        hidden = self.recurrent(x)[0]
        weights = sum(x.numel() for name, x in self.recurrent.named_parameters() if name.startswith("weight"))
        rows, width = words.numel(), self.recurrent.hidden_size
        self.operations = {
            "macs": float(rows * weights),
            "weights": float(weights),
            "values": float(rows * (x.shape[2] + 8 * width)),  # read: input and state; written: gates, candidate, state
        }
        return Prediction(None, self.decoder(hidden))


def network(codes: WordCodes, options: Options, cues: int = 0) -> nn.Module:
    """The network of these options; controls of as many parameters as `spiking` of this width has."""

    def made(variant: str, width: int) -> nn.Module:
        if variant == "dense":
            return Dense(codes, width, cues)
        return PopSpike(codes, width, variant == "spiking", cues)

    width = options.size.width
    if options.variant == "spiking":
        return made("spiking", width)
    wanted = _parameters(made("spiking", width))
    # Parameters are a quadratic function of the width: three narrow networks say which.
    few = [_parameters(made(options.variant, narrow)) for narrow in (1, 2, 3)]
    square = (few[2] - 2 * few[1] + few[0]) / 2
    linear = few[1] - few[0] - 3 * square
    rest = few[0] - square - linear
    nearest = max(1, round((math.sqrt(linear**2 + 4 * square * (wanted - rest)) - linear) / (2 * square)))
    return made(options.variant, nearest)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def scales(model: nn.Module) -> Tensor:
    """[2]: what the cosines of vectors, and of counts, are multiplied by in a softmax."""
    assert isinstance(model, PopSpike | Dense)
    return model.log_scale.exp()


def codes_of(table: EmbeddingTable, options: Options) -> WordCodes:
    """The words' codes that a network of these options reads."""
    return word_codes(table, options.size.dims, options.size.neurons, options.timesteps)


def unit_counts(spikes: Array | Tensor) -> Tensor:
    """Words' spikes [n, T, d P] as spike counts of unit norm, float32 [n, d P]."""
    return nn.functional.normalize(torch.as_tensor(spikes).sum(1, dtype=torch.float32), dim=1)
