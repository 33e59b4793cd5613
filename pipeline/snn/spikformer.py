"""Spikformer for text: a causal language model of spiking neurons, beside `transformer`, the dense one of equal size.

A token's embedding is a constant current over T micro-steps (direct encoding); with the current of its position, if it
has one, it begins the stream of `block`. What is decoded is the mean of the stream over the micro-steps, through the
embedding's own weights. The form follows Spikformer (Zhou et al. 2022, arXiv:2209.15425) and SpikeGPT (Zhu et al. 2023,
arXiv:2302.13939); the attention is `attention`'s.

Inputs: the folders of training and validation token shards. Options: `language.How`. Part of the loss: `nats`. Held
out: `bits` a token, `rate_<layer>`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pipeline.neurons.lif import LIF
from pipeline.snn import language, positions
from pipeline.snn.block import Block, Normalised, Shape
from pipeline.snn.language import How
from pipeline.stage import UserError
from pipeline.training.task import Task


def hidden(how: How) -> int:
    """Neurons of the MLPs: fewer where a position code has parameters, so that networks of all codes are equal."""
    dims, heads, wide, blocks = how.size
    extra = positions.parameters(how.position, how.context, how.timesteps, dims, heads, blocks)
    left = wide - round(extra / blocks / (2 * dims + 3))  # its synapses, bias, decay and threshold
    if left < 1:
        raise UserError(
            f"options: position {how.position} of {extra} parameters leaves nothing of {wide} hidden neurons"
        )
    return left


class Spikformer(language.LanguageModel):
    def __init__(self, vocabulary: int, how: How) -> None:
        super().__init__()
        dims, heads, _, blocks = how.size
        self.vocabulary, self.context, self.timesteps = vocabulary, how.context, how.timesteps
        self.embedding = language.Embedding(vocabulary, dims)
        self.position = positions.current(how.position, how.context, how.timesteps, dims)
        self.encode = LIF(dims) if how.encoding == "spikes" else None
        shape = Shape(dims, heads, hidden(how), how.timesteps, how.decay, how.dropout)
        self.blocks = nn.ModuleList(
            Block(shape, positions.phases(how.position, how.context, how.timesteps, heads), blocks)
            for _ in range(blocks)
        )
        self.normalised = Normalised(dims)
        nn.init.constant_(self.normalised.gain, language.OUT_GAIN)
        self.dropout = nn.Dropout(how.dropout)

    def stream(self, tokens: Tensor) -> Tensor:
        """Membrane currents behind the last block, [T, B, N, dims]."""
        language.check_tokens(tokens, self.context, self.vocabulary)
        current = self.dropout(self.embedding(tokens))
        x = current.expand(self.timesteps, *current.shape)
        if self.position is not None:
            x = x + self.position(tokens.shape[1])[:, None]
        if self.encode is not None:
            x = self.encode(x)
        for block in self.blocks:
            x = block(x)
        return x

    def decoded(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.normalised(self.stream(tokens).mean(0)))


def build(vocabulary: int, options: Mapping[str, Any]) -> Spikformer:
    return Spikformer(vocabulary, language.options(options))


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError as `language.options` and `language.corpus`."""
    how = language.options(options)
    corpus = language.corpus(inputs, how.context)
    model = Spikformer(len(corpus.counts), how)
    model.embedding.expect(corpus.counts)
    return Task(model, corpus.data, language.loss(how.dead_layers), language.held_out(corpus.validation))
