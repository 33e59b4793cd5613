"""Causal language modelling on token shards: samples, loss, held-out bits, the probability of every token of a text.

A model maps tokens int64 [B, N] to logits [B, N, vocabulary] of the token that comes next, by the tokens up to it.
Inputs of a task: the folders of training and of validation token shards. A sample is two contexts of tokens that follow
one another; of them a training step takes N + 1 from a place drawn anew, so that no token is always at the same place.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, linear_cross_entropy

from pipeline import store
from pipeline.corpus import language
from pipeline.snn.activity import recorded, watch
from pipeline.snn.firing import POLICIES
from pipeline.stage import UserError, check_keys
from pipeline.training.shards import Tokens
from pipeline.training.task import Array, Context

LOG2 = float(np.log(2))
HELD_OUT_BLOCKS = 256
WATCH_EVERY = 10  # steps
OUT_GAIN = 0.2  # of the last normalisation at first: tied weights would say the token itself comes again
BATCH = 32  # sequences at a time where nothing is trained
IN_CHUNKS = nn.LinearCrossEntropyOptions(batch_chunk_size=256)


class Size(NamedTuple):
    """Numbers of neurons a layer, heads, neurons in the MLP, and blocks."""

    dims: int
    heads: int
    hidden: int
    blocks: int


SIZES = {"small": Size(96, 4, 256, 2), "base": Size(128, 4, 384, 2), "large": Size(768, 12, 3072, 12)}


class How(NamedTuple):
    """The options of a language model; `dims`, `heads`, `hidden`, `blocks` overrule those of `model`.

    timesteps: T micro-steps a token. context: tokens of the longest sequence. position: `positions.KINDS`. decay: of
    attention, `none`, `fixed` or `learned`. encoding: what the stream of currents begins as, the token's `current` or
    the `spikes` that it makes an encoding layer fire. dead_layers: `firing.POLICIES`.
    """

    model: str = "small"
    timesteps: int = 4
    context: int = 64
    position: str = "phase_fixed"
    decay: str = "learned"
    encoding: str = "current"
    dropout: float = 0.1
    dead_layers: str = "rescue"
    dims: int | None = None
    heads: int | None = None
    hidden: int | None = None
    blocks: int | None = None

    @property
    def size(self) -> Size:
        given = {name: value for name in Size._fields if (value := getattr(self, name)) is not None}
        return SIZES[self.model]._replace(**given)


def options(given: Mapping[str, Any]) -> How:
    """Raises UserError for an unknown key and for a value that cannot be, by name."""
    check_keys("options", given, How._fields)
    how = How(**given)
    for name, allowed in (
        ("model", tuple(SIZES)),
        ("decay", ("none", "fixed", "learned")),
        ("encoding", ("current", "spikes")),
        ("dead_layers", POLICIES),
    ):
        if getattr(how, name) not in allowed:
            raise UserError(f"options: {name} {getattr(how, name)!r} is not one of {', '.join(allowed)}")
    for name in ("timesteps", "context", *Size._fields):
        value = getattr(how, name)
        if not (type(value) is int and value >= 1) and not (value is None and name in Size._fields):
            raise UserError(f"options: {name} must be a whole number of at least 1, not {value!r}")
    if how.size.dims % how.size.heads:
        raise UserError(f"options: {how.size.dims} dims do not fall into {how.size.heads} heads")
    if not (isinstance(how.dropout, int | float) and 0 <= how.dropout < 1):
        raise UserError(f"options: dropout must be at least 0 and below 1, not {how.dropout!r}")
    return how


def check_tokens(tokens: Tensor, context: int, vocabulary: int) -> None:
    """Raises UserError for sequences [B, N] longer than trained for, and for a token outside the vocabulary."""
    if tokens.shape[1] > context:
        raise UserError(f"a sequence of {tokens.shape[1]} tokens: the network was trained for at most {context}")
    if tokens.numel() and not (int(tokens.min()) >= 0 and int(tokens.max()) < vocabulary):
        row, place = ((tokens < 0) | (tokens >= vocabulary)).nonzero()[0].tolist()
        found = int(tokens[row, place])
        raise UserError(f"token {found} at place {place} of sequence {row} is outside the vocabulary of {vocabulary}")


class Embedding(nn.Module):
    """Tokens to currents of unit size [B, N, dims], and back by the same weights (tied) and a bias to logits."""

    def __init__(self, vocabulary: int, dims: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocabulary, dims) * dims**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.operations: dict[str, float] = {}

    def forward(self, tokens: Tensor) -> Tensor:
        # Of `logits`, which this pass of the model ends in; the look-up is no operation.
        self.operations = {"macs": float(tokens.numel() * self.weight.numel()), "weights": float(self.weight.numel())}
        return self.weight[tokens] * self.weight.shape[1] ** 0.5

    def logits(self, x: Tensor) -> Tensor:
        """[..., vocabulary] of [..., dims]."""
        return linear(x, self.weight, self.bias)

    def nats(self, x: Tensor, tokens: Tensor, reduction: str = "mean") -> Tensor:
        """-ln softmax(logits)[token], of x [n, dims] and tokens int64 [n]: the mean, or all [n] (`reduction: none`).

        On a CPU a chunk of rows at a time: twice as fast, as logits of all rows leave the cache. Not in bfloat16, in
        which it would add up and give back the loss. Raises UserError for a token outside the vocabulary.
        """
        low, high = (int(end) for end in tokens.aminmax()) if len(tokens) else (0, 0)
        if not 0 <= low <= high < len(self.weight):
            raise UserError(f"token {low if low < 0 else high} is outside the vocabulary of {len(self.weight)}")
        exact = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        options = IN_CHUNKS if x.device.type == "cpu" and exact else None
        return linear_cross_entropy(x, self.weight, tokens, linear_bias=self.bias, reduction=reduction, options=options)

    def expect(self, counts: Array) -> None:
        """Begin with the frequencies of tokens, counts int [vocabulary]: what a model of no context would say."""
        with torch.no_grad():
            self.bias.copy_(torch.from_numpy(np.log((counts + 1) / (counts + 1).sum()) - np.log(1 / len(counts))))


class LanguageModel(nn.Module, ABC):
    """Causal: what it says of a token depends on that token and those before it."""

    embedding: Embedding

    @abstractmethod
    def decoded(self, tokens: Tensor) -> Tensor:
        """What logits are made of, [B, N, dims] of tokens int64 [B, N]. Raises UserError as `check_tokens`."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, N, vocabulary] of tokens int64 [B, N]. Raises UserError as `check_tokens`."""
        return self.embedding.logits(self.decoded(tokens))


class Corpus(NamedTuple):
    data: Tokens
    validation: Array  # int32 [blocks, context + 1]
    counts: Array  # int64 [vocabulary], of the first piece


def samples(folder: Path, context: int) -> Tokens:
    """What is trained on, of a folder of token shards: two contexts of tokens that follow one another. Raises UserError
    as `Tokens`."""
    return Tokens(store.shards(folder), 2 * context, language.fact(folder, "vocabulary_size"))


def corpus(inputs: Sequence[Path], context: int) -> Corpus:
    """Raises UserError for anything but the folders of training and validation token shards, for too few tokens, and
    for tokens as `Tokens`."""
    if len(inputs) != 2:
        raise UserError(f"a language model takes the folders of training and validation tokens, not {len(inputs)}")
    vocabulary = language.fact(inputs[0], "vocabulary_size")
    data = samples(inputs[0], context)
    held = Tokens(store.shards(inputs[1]), context + 1, vocabulary)
    for folder, tokens in zip(inputs, (data, held), strict=True):
        if not sum(tokens.sizes):
            raise UserError(f"{folder}: no row group has the {tokens.length} tokens of a sample")
    blocks = np.concatenate([held.read(piece) for piece in range(len(held.sizes))])
    first = data.read(next(piece for piece, size in enumerate(data.sizes) if size))
    few = blocks[:: -(-len(blocks) // HELD_OUT_BLOCKS)]
    return Corpus(data, few, np.bincount(first.ravel(), minlength=vocabulary))


def cropped(rows: Tensor, context: Context) -> Tensor:
    """int64 [b, N + 1] of rows [b, 2 N], each from a place drawn for it."""
    length = rows.shape[1] // 2
    start = torch.randint(length, (context.rows, 1), generator=context.generator, device=rows.device)[context.mine]
    return rows.long().gather(1, start + torch.arange(length + 1, device=rows.device))


def loss(dead_layers: str) -> Callable[[nn.Module, Tensor, Context], Mapping[str, Tensor]]:
    """Part `nats`: the mean of -ln p of each token. Spiking layers are watched."""

    def parts(model: nn.Module, rows: Tensor, context: Context) -> Mapping[str, Tensor]:
        tokens = cropped(rows, context)
        if context.step % WATCH_EVERY:
            return {"nats": nats(model, tokens)}
        with recorded(model) as rates:
            value = nats(model, tokens)
        watch(model, rates, dead_layers, context)
        return {"nats": value}

    return parts


def nats(model: nn.Module, tokens: Tensor) -> Tensor:
    """Mean of -ln p of tokens[:, 1:], for tokens [b, N + 1]."""
    assert isinstance(model, LanguageModel)
    return model.embedding.nats(model.decoded(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def held_out(blocks: Array) -> Callable[[nn.Module], dict[str, float]]:
    """`bits` a token of blocks int [n, N + 1]; of a spiking network `rate_<layer>`, spikes a neuron and step."""

    def measure(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        total = 0.0
        with recorded(model) as rates:
            for part in np.split(blocks, range(BATCH, len(blocks), BATCH)):
                total += float(nats(model, torch.from_numpy(part).long().to(device))) * len(part)
        return {"bits": total / len(blocks) / LOG2, **{f"rate_{name}": float(rate) for name, rate in rates.items()}}

    return measure


class _Window(NamedTuple):
    document: int
    first: int  # token of the document that the window's first output predicts
    counted: int  # the first of them that is taken from this window


def _windows(lengths: Iterable[int], context: int) -> list[_Window]:
    """Every token once, with at least half a context before it where the document has so many."""
    found = []
    for number, length in enumerate(lengths):
        found.append(_Window(number, 0, 0))
        done = min(context, length)
        while done < length:
            first = min(done - context // 2, length - context)
            found.append(_Window(number, first, done))
            done = min(first + context, length)
    return found


@torch.no_grad()
def log2_probabilities(model: nn.Module, documents: Sequence[Array], context: int, end_of_text: int = 0) -> list[Array]:
    """log2 p of each token of each document, float64 [n], the first as if an end-of-text stood before it."""
    assert isinstance(model, LanguageModel)
    model.eval()
    device = next(model.parameters()).device
    result = [np.empty(len(document)) for document in documents]
    windows = _windows(map(len, documents), context)
    for start in range(0, len(windows), BATCH):
        batch = windows[start : start + BATCH]
        given, wanted = np.full((2, len(batch), context), end_of_text, np.int64)
        counted = np.zeros((len(batch), context), bool)  # of the others no logits are needed
        for row, (number, first, new) in enumerate(batch):
            document = documents[number]
            before = document[first - 1 : first] if first else [end_of_text]
            there = document[first : first + context]
            given[row, : len(there)] = [*before, *there[:-1]]  # what is behind the end changes nothing before it
            wanted[row, : len(there)] = there
            counted[row, new - first : len(there)] = True
        decoded = model.decoded(torch.from_numpy(given).to(device))[torch.from_numpy(counted).to(device)]
        of_tokens = model.embedding.nats(decoded, torch.from_numpy(wanted[counted]).to(device), reduction="none")
        found = np.split(-of_tokens.double().cpu().numpy() / LOG2, counted.sum(axis=1).cumsum()[:-1])
        for values, (number, _, new) in zip(found, batch, strict=True):
            result[number][new : new + len(values)] = values
    return result
