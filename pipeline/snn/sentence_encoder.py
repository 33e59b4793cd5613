"""Spikformer as a sentence encoder, and the dense one of equal size: tokens to the vector of a sentence model.

    c = sum over tokens and T micro-steps of LIF(W_c LIF(N(x))),    y = W_y c / (T n) + b

x is the stream of currents behind the causal blocks of `block`. The counts c [code] are the sentence's spike code. The
dense encoder has the blocks of `transformer`, GELU for LIF, and the mean over tokens; its MLPs are as wide as makes it
as large.

    task(inputs, options)    inputs: train.parquet and validation.parquet of `sentences`; options: those of
                             language.How, `variant` (spiking, dense), and `code` (384), neurons of the code

Parts of the loss: `cosine`, the mean of 1 - cos(y, y'), y' the sentence model's; `ranking`, cross entropy in the batch
of the softmax of cos(y_i, y'_j) / TEMPERATURE with that of cos(y'_i, y'_j); `counts`, `terms.similarity` of y' and c.
Held out: `cosine`, the mean of cos(y, y').
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, normalize

from pipeline import store
from pipeline.neurons.lif import LIF
from pipeline.snn import activity, language, positions
from pipeline.snn.block import Block, Normalised, Shape
from pipeline.snn.language import How
from pipeline.snn.spikformer import hidden
from pipeline.snn.transformer import DenseBlock, parameters
from pipeline.stage import UserError
from pipeline.training import terms
from pipeline.training.arrays import Rows
from pipeline.training.task import Array, Context, Task

TEMPERATURE = 0.05
VARIANTS = ("spiking", "dense")
CODE = 384


class Encoder(nn.Module):
    """Tokens int64 [B, N] and lengths [B] to (code [B, code], y [B, d])."""

    def __init__(self, vocabulary: int, how: How, code: int, dims: int, wide: int | None = None) -> None:
        super().__init__()
        width, heads, _, blocks = how.size
        self.vocabulary, self.context, self.timesteps = vocabulary, how.context, how.timesteps
        self.spiking = wide is None
        self.embedding = nn.Embedding(vocabulary, width)
        self.position: nn.Module | None = None
        if wide is None:
            self.position = positions.current(how.position, how.context, how.timesteps, width)
            shape = Shape(width, heads, hidden(how), how.timesteps, how.decay, how.dropout)
            kinds = [positions.phases(how.position, how.context, how.timesteps, heads) for _ in range(blocks)]
            self.blocks = nn.ModuleList(Block(shape, phases, blocks) for phases in kinds)
            self.normalised: nn.Module = Normalised(width)
            self.lif_in, self.lif_code = LIF(width), LIF(code)
        else:
            self.place = nn.Parameter(torch.randn(how.context, width) * 0.1)
            self.blocks = nn.ModuleList(DenseBlock(width, heads, wide, how.dropout) for _ in range(blocks))
            self.normalised = nn.LayerNorm(width)
        self.code = nn.Linear(width, code, bias=False)
        self.read = nn.Linear(code, dims, bias=False)
        self.bias = nn.Parameter(torch.zeros(dims))
        if self.spiking:
            nn.init.normal_(self.code.weight, std=(0.2 * width) ** -0.5)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Raises UserError as `language.check_tokens`. What stands behind a sentence's end changes nothing."""
        language.check_tokens(tokens, self.context, self.vocabulary)
        there = (torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None])[..., None]
        x = self.embedding(tokens)
        if not self.spiking:
            x = x + self.place[: tokens.shape[1]]
            for block in self.blocks:
                x = block(x)
            code = (gelu(self.code(self.normalised(x))) * there).sum(1)
            return code, self.read(code / lengths[:, None]) + self.bias
        x = x.expand(self.timesteps, *x.shape)
        if self.position is not None:
            x = x + self.position(tokens.shape[1])[:, None]
        for block in self.blocks:
            x = block(x)
        spikes = self.lif_code(self.code(self.lif_in(self.normalised(x))))
        counts = (spikes * there).sum((0, 2))
        return counts, self.read(counts) / (self.timesteps * lengths[:, None]) + self.bias


def build(vocabulary: int, dims: int, options: Mapping[str, Any]) -> tuple[Encoder, How]:
    """Raises UserError for options that cannot be used."""
    given = dict(options)
    variant, code = given.pop("variant", "spiking"), given.pop("code", CODE)
    if variant not in VARIANTS:
        raise UserError(f"options: variant {variant!r} is not one of {', '.join(VARIANTS)}")
    if type(code) is not int or code < 1:
        raise UserError(f"options: code must be a whole number of at least 1, not {code!r}")
    how = language.options(given)
    spiking = Encoder(vocabulary, how, code, dims)
    if variant == "spiking":
        return spiking, how
    least = parameters(Encoder(vocabulary, how, code, dims, 1))
    wide = 1 + round((parameters(spiking) - least) / (how.size.blocks * (2 * how.size.dims + 1)))
    return Encoder(vocabulary, how, code, dims, max(1, wide)), how


def read(path: Path, context: int) -> tuple[Array, Array]:
    """int32 [n, context + 1], each sentence's tokens, 0 behind them, and their number; unit vectors float32 [n, d].

    Raises UserError, naming the file, for a sentence that is empty or longer than the context."""
    table = store.read_parquet(path, ["tokens", "vector"])
    tokens, vector = table["tokens"].to_pylist(), table["vector"].combine_chunks()
    rows = np.zeros((len(tokens), context + 1), np.int32)
    for number, one in enumerate(tokens):
        if not 0 < len(one) <= context:
            raise UserError(f"{path}: row {number} has {len(one)} tokens, and the context is {context}")
        rows[number, : len(one)], rows[number, -1] = one, len(one)
    return rows, store.unit_rows(vector.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1))


def encoded(model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Code and y of rows of `read`, cut to the longest of them."""
    lengths = rows[:, -1].long()
    return model(rows[:, : int(lengths.max())].long(), lengths)


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError as `build` and `read`, and for anything but two files."""
    if len(inputs) != 2:
        raise UserError(f"the sentence encoder takes training and validation sentences, not {len(inputs)} files")
    vocabulary = vocabulary_size(inputs[0])
    how = language.options({k: v for k, v in options.items() if k not in ("variant", "code")})
    train, teacher = read(inputs[0], how.context)
    held, wanted = read(inputs[1], how.context)
    model, how = build(vocabulary, teacher.shape[1], options)
    numbered = np.column_stack([np.arange(len(train), dtype=np.int32), train])
    right = torch.from_numpy(teacher)

    def loss(model: nn.Module, rows: Tensor, context: Context) -> dict[str, Tensor]:
        with activity.recorded(model) as rates:
            code, y = encoded(model, rows[:, 1:])
        if rates and context.step % language.WATCH_EVERY == 0:
            everywhere = context.gather(torch.stack(list(rates.values()))[None]).mean(0)
            activity.watch(model, dict(zip(rates, everywhere, strict=True)), how.dead_layers)
        aim = right[rows[:, 0].long().cpu()].to(y)
        y, others = normalize(y), context.gather(aim)
        ranking = cross_entropy(y @ others.T / TEMPERATURE, (aim @ others.T / TEMPERATURE).softmax(1))
        return {
            "cosine": 1 - (y * aim).sum(1).mean(),
            "ranking": ranking,
            "counts": terms.similarity(aim, code, context.gather),
        }

    def held_out(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        y = torch.cat([encoded(model, part.to(device))[1] for part in torch.from_numpy(held).split(64)])
        return {"cosine": float((normalize(y).cpu() * torch.from_numpy(wanted)).sum(1).mean())}

    return Task(model, Rows(numbered, known_by=np.column_stack([numbered, teacher.view(np.int32)])), loss, held_out)


def vocabulary_size(path: Path) -> int:
    """The size of the vocabulary that sentences say they have. Raises UserError if they do not."""
    value = (store.open_parquet(path, ["tokens"]).schema_arrow.metadata or {}).get(b"vocabulary_size")
    if value is None:
        raise UserError(f"{path}: says nothing of vocabulary_size; it is written by pipeline.snn.sentences")
    return int(value)
