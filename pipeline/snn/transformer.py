"""The dense transformer beside `spikformer`: a causal language model of equal size, data, options and trainer.

Pre-normalised blocks of softmax attention and an MLP of GELU (Radford et al. 2019, GPT-2), learned positions, tied
weights. The MLP's width is chosen so that it has as many parameters as the spiking network of the same options.

Inputs, options, loss and held-out metrics as `spikformer`'s; options that only spikes have change nothing else.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from pipeline.snn import language
from pipeline.snn.language import How
from pipeline.snn.spikformer import Spikformer
from pipeline.training.task import Task


class Attention(nn.Module):
    """Causal softmax attention. `operations` is what the last forward pass out of training did."""

    def __init__(self, dims: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv, self.out = nn.Linear(dims, 3 * dims, bias=False), nn.Linear(dims, dims, bias=False)
        self.operations: dict[str, float] = {}

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.qkv(x).chunk(3, -1))
        heard = scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.dropout if self.training else 0.0)
        if not self.training:
            batch, tokens, dims = x.shape
            pairs = batch * tokens * (tokens + 1) // 2
            self.operations = {"macs": 2.0 * pairs * dims, "values": 4.0 * x.numel() + 2.0 * pairs * self.heads}
        return self.out(heard.transpose(1, 2).flatten(-2))


class DenseBlock(nn.Module):
    def __init__(self, dims: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.normalised, self.normalised_mlp = nn.LayerNorm(dims), nn.LayerNorm(dims)
        self.attention = Attention(dims, heads, dropout)
        self.up, self.down = nn.Linear(dims, hidden), nn.Linear(hidden, dims)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.normalised(x)))
        return x + self.dropout(self.down(gelu(self.up(self.normalised_mlp(x)))))


class Transformer(language.LanguageModel):
    def __init__(self, vocabulary: int, how: How, hidden: int) -> None:
        super().__init__()
        dims, heads, _, blocks = how.size
        self.vocabulary, self.context = vocabulary, how.context
        self.embedding = language.Embedding(vocabulary, dims)
        self.place = nn.Parameter(torch.randn(how.context, dims) * 0.1)
        self.blocks = nn.ModuleList(DenseBlock(dims, heads, hidden, how.dropout) for _ in range(blocks))
        self.normalised = nn.LayerNorm(dims)
        nn.init.constant_(self.normalised.weight, language.OUT_GAIN)
        self.dropout = nn.Dropout(how.dropout)
        for block in self.blocks:
            assert isinstance(block, DenseBlock)
            for layer in (block.attention.out, block.down):
                nn.init.normal_(layer.weight, std=(layer.in_features * 2 * blocks) ** -0.5)

    def decoded(self, tokens: Tensor) -> Tensor:
        language.check_tokens(tokens, self.context, self.vocabulary)
        x = self.dropout(self.embedding(tokens) + self.place[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.dropout(self.normalised(x))


def parameters(model: nn.Module) -> int:
    return sum(x.numel() for x in model.parameters())


def build(vocabulary: int, options: Mapping[str, Any]) -> Transformer:
    """The transformer whose parameters are nearest in number to the spiking network's."""
    how = language.options(options)
    blocks, dims = how.size.blocks, how.size.dims
    wanted = parameters(Spikformer(vocabulary, how))
    least = parameters(Transformer(vocabulary, how, 1))
    return Transformer(vocabulary, how, max(1, 1 + round((wanted - least) / (blocks * (2 * dims + 1)))))


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError as `language.options` and `language.corpus`."""
    how = language.options(options)
    corpus = language.corpus(inputs, how.context)
    model = build(len(corpus.counts), options)
    model.embedding.expect(corpus.counts)
    return Task(model, corpus.data, language.loss(how.dead_layers), language.held_out(corpus.validation))
