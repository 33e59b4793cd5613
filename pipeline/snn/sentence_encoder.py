"""Spikformer as a sentence encoder, and the dense one of equal size: tokens to the vector of a sentence model.

    I = w[token] W_e e[token],    x = W_in I -> the causal blocks of `block` -> x',    s = sum_t LIF(N(x'))
    S = sum over tokens of max(0, 1 + g . s) I + W_c s,    c = round(S / theta),    y = W_y c

e [vocabulary, d] are the sentence model's own vectors of the tokens by themselves, unit length, and are not trained. I
is a token's current into the neurons of the sentence's code, a look-up; what the blocks say scales it, and adds to it.
These neurons do not leak: they integrate over the whole sentence. They fire signed spikes of size theta
(`integrate_fire.signed`, soft reset), and go on without input until all are quiet, so c [code], spikes less negative
spikes, is S / theta to within half a spike: the sentence's spike code. Backward, rounding passes gradients straight
through. W_y is a fixed rotation, which spreads what is said over all neurons: cosines of c are those of y. While
training, theta follows the standard deviation of S over `resolution`. The dense encoder has c = S / theta, the blocks
of `transformer`, their MLPs as wide as makes it as large, and GELU for LIF.

Both begin as a linear model, g = 0 and W_c = 0, with w = log((m + 1) / (m_token + 1)) where m_token of m sentences
have the token, and W_e from ridge regression of the sentences' vectors on the sums of w e over their tokens. (Tulkens
and van Dongen 2024, Model2Vec, go as far as such sums.) Of y only the direction counts.

    task(inputs, options)    inputs: train.parquet, validation.parquet and tokens.parquet of `sentences`; options: those
                             of language.How, `variant` (spiking, dense), `code` (384), neurons of the code, and
                             `resolution` (3), spikes to a standard deviation

Parts of the loss, y' the sentence model's vectors: `cosine`, the mean of 1 - cos(y, y'), and `similarity`,
`terms.similarity` of y' and y. Held out: `cosine`, the mean of cos(y, y'), and `recall`, the share of the ten nearest
by y' among the ten nearest by y.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from pipeline import store, token_column
from pipeline.codecs import ridge
from pipeline.neurons import integrate_fire
from pipeline.neurons.lif import LIF
from pipeline.snn import activity, language, positions
from pipeline.snn.block import Block, Normalised, Shape
from pipeline.snn.language import How
from pipeline.snn.spikformer import hidden
from pipeline.snn.transformer import DenseBlock, parameters
from pipeline.stage import UserError, check_keys
from pipeline.training import terms
from pipeline.training.arrays import Rows
from pipeline.training.task import Array, Context, Task

VARIANTS = ("spiking", "dense")
OWN = ("variant", "code", "resolution")
CODE = 384
NEAREST = 10
PACE = 20.0  # log w is learned as so many times a number: of each token it moves as many times as far as other weights
FOLLOW = 0.05  # of its way theta goes in a step
LEAST_WEIGHT = 1e-3


class Encoder(nn.Module):
    """Tokens int64 [B, N] and lengths [B] to (c [B, code], y [B, d])."""

    vectors: Tensor
    threshold: Tensor

    def __init__(
        self, vocabulary: int, how: How, code: int, dims: int, resolution: float, wide: int | None = None
    ) -> None:
        super().__init__()
        width, heads, _, blocks = how.size
        self.vocabulary, self.context, self.timesteps = vocabulary, how.context, how.timesteps
        self.spiking = wide is None
        self.resolution = resolution
        self.register_buffer("vectors", torch.zeros(vocabulary, dims))
        self.register_buffer("threshold", torch.ones(()))
        self.weight = nn.Parameter(torch.zeros(vocabulary))
        self.current = nn.Linear(dims, code, bias=False)
        self.enter = nn.Linear(code, width, bias=False)
        self.position: nn.Module | None = None
        if wide is None:
            self.position = positions.current(how.position, how.context, how.timesteps, width)
            shape = Shape(width, heads, hidden(how), how.timesteps, how.decay, how.dropout)
            kinds = [positions.phases(how.position, how.context, how.timesteps, heads) for _ in range(blocks)]
            self.blocks = nn.ModuleList(Block(shape, phases, blocks) for phases in kinds)
            self.normalised: nn.Module = Normalised(width)
            self.lif_out = LIF(width)
        else:
            self.place = nn.Parameter(torch.randn(how.context, width) * 0.1)
            self.blocks = nn.ModuleList(DenseBlock(width, heads, wide, how.dropout) for _ in range(blocks))
            self.normalised = nn.LayerNorm(width)
        self.dropout = nn.Dropout(how.dropout)
        self.code, self.gain = nn.Linear(width, code, bias=False), nn.Linear(width, 1, bias=False)
        self.read = nn.Linear(code, dims, bias=False)
        self.read.weight.requires_grad_(False)
        for layer in (self.code, self.gain):
            nn.init.zeros_(layer.weight)

    def currents(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """What each token sends to the neurons of the code, over all its micro-steps, [B, N, code]: 0 behind the end.

        Raises UserError as `language.check_tokens`."""
        language.check_tokens(tokens, self.context, self.vocabulary)
        there = (torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None])[..., None]
        own = self.current(self.vectors[tokens]) * (PACE * self.weight[tokens, None]).exp()
        x = self.enter(own)
        if self.spiking:
            x = x.expand(self.timesteps, *x.shape)
            if self.position is not None:
                x = x + self.position(tokens.shape[1])[:, None]
        else:
            x = x + self.place[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        x = self.normalised(x)
        x = self.lif_out(x).sum(0) if self.spiking else gelu(x)
        kept = self.dropout(there.to(own))  # whole tokens are left out
        return own * kept * (1 + self.gain(x)).relu() + self.code(x) * there

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Raises UserError as `currents`. What stands behind a sentence's end changes nothing."""
        code = self.currents(tokens, lengths).sum(1)
        if self.training:
            self.threshold.lerp_(code.detach().std() / self.resolution, FOLLOW)
        code = code / self.threshold
        if self.spiking:
            code = code + (code.round() - code).detach()
        return code, self.read(code)

    def begin(self, tokens: Array, rows: Array, aim: Array, generator: np.random.Generator) -> None:
        """Begin as ridge regression: sentences `rows` of `read` and their vectors `aim`, from vectors of tokens."""
        tokens, weight = store.unit_rows(tokens), weights(rows, len(tokens))
        sums = summed(weight[:, None] * tokens, rows)
        means = sums / rows[:, -1:] ** 0.5
        found = ridge.solve(means, aim)
        code, dims = self.code.out_features, aim.shape[1]
        turn = np.linalg.qr(generator.standard_normal((max(code, dims), max(code, dims))))[0][:dims, :code]
        if code < dims:  # the directions of most variance
            axes = np.linalg.eigh((means @ found).T @ (means @ found))[1][:, ::-1][:, :code]
            turn = axes @ np.linalg.qr(generator.standard_normal((code, code)))[0]
        linear = found @ turn
        linear /= (sums @ linear).std()
        with torch.no_grad():
            self.vectors.copy_(torch.from_numpy(tokens))
            self.weight.copy_(torch.from_numpy(np.log(weight) / PACE))
            self.current.weight.copy_(torch.from_numpy(linear.T))
            self.read.weight.copy_(torch.from_numpy(turn))
            self.threshold.fill_(1 / self.resolution)
            sizes = np.linalg.norm(tokens @ linear, axis=1) * weight
            typical = np.mean([sizes[row[: row[-1]]].mean() for row in rows])
            nn.init.normal_(self.enter.weight, std=1 / float(typical))


def weights(rows: Array, vocabulary: int) -> Array:
    """log((m + 1) / (m_token + 1)) of each token, at least LEAST_WEIGHT, float32 [vocabulary]; m_token of m sentences
    have it."""
    found = np.zeros(vocabulary)
    for row in rows:
        found[np.unique(row[: row[-1]])] += 1
    return np.log((len(rows) + 1) / (found + 1)).clip(LEAST_WEIGHT).astype(np.float32)


def summed(values: Array, rows: Array) -> Array:
    """Sums of values [vocabulary, k] over the tokens of each sentence, float32 [n, k]."""
    return np.stack([values[row[: row[-1]]].sum(0) for row in rows])


def build(vocabulary: int, dims: int, options: Mapping[str, Any]) -> tuple[Encoder, How]:
    """Raises UserError for options that cannot be used."""
    own, how = _options(options)
    spiking = Encoder(vocabulary, how, own["code"], dims, own["resolution"])
    if own["variant"] == "spiking":
        return spiking, how
    least = parameters(Encoder(vocabulary, how, own["code"], dims, own["resolution"], 1))
    wide = 1 + round((parameters(spiking) - least) / (how.size.blocks * (2 * how.size.dims + 1)))
    return Encoder(vocabulary, how, own["code"], dims, own["resolution"], max(1, wide)), how


def _options(given: Mapping[str, Any]) -> tuple[dict[str, Any], How]:
    check_keys("options", given, (*OWN, *How._fields))
    own: dict[str, Any] = {"variant": "spiking", "code": CODE, "resolution": 3}
    own |= {key: value for key, value in given.items() if key in OWN}
    if own["variant"] not in VARIANTS:
        raise UserError(f"options: variant {own['variant']!r} is not one of {', '.join(VARIANTS)}")
    if type(own["code"]) is not int or own["code"] < 1:
        raise UserError(f"options: code must be a whole number of at least 1, not {own['code']!r}")
    if type(own["resolution"]) not in (int, float) or not 0 < own["resolution"] < 1e6:
        raise UserError(f"options: resolution must be a number above 0, not {own['resolution']!r}")
    return own, language.options({key: value for key, value in given.items() if key not in OWN})


def fired(currents: Array, timesteps: int) -> Array:
    """Signed spikes int8 [steps, code] of the code's neurons, theta = 1, for a sentence's currents float64 [N, code].

    Each token's come in T equal parts, a step each; more steps without input follow until no neuron fires. The sum
    over all of them is the sentence's currents' sum to within half a spike: it is c, but where that is at a half."""
    state, made = integrate_fire.started(np.zeros(currents.shape[1])), []
    for drive in (currents / timesteps).repeat(timesteps, axis=0):
        state, spikes = integrate_fire.signed(state, drive, 1.0)
        made.append(spikes)
    while not made or made[-1].any():
        state, spikes = integrate_fire.signed(state, np.zeros(currents.shape[1]), 1.0)
        made.append(spikes)
    return np.stack(made)


def read(path: Path, context: int | None = None, vocabulary: int | None = None) -> tuple[Array, Array]:
    """int32 [n, context + 1], each sentence's tokens, 0 behind them, and their number; unit vectors float32 [n, d].

    Without a context, that is the longest sentence. Raises UserError, naming the file, for fewer than two sentences and
    as `store.vectors_of`, and the row too for a sentence that is empty or longer than the context, and as
    `token_column.check` and `store.check_vectors`."""
    table = store.read_parquet(path, ["tokens", "vector"])
    if len(table) < 2:
        raise UserError(f"{path}: {len(table)} sentences; at least 2 are needed")
    tokens = token_column.rows(token_column.check(path, table["tokens"].combine_chunks(), vocabulary))
    context = context or max(map(len, tokens))
    rows = np.zeros((len(tokens), context + 1), np.int32)
    for number, one in enumerate(tokens):
        if not 0 < len(one) <= context:
            raise UserError(f"{path}: row {number} has {len(one)} tokens, and the context is {context}")
        rows[number, : len(one)], rows[number, -1] = one, len(one)
    return rows, store.unit_rows(_vectors(path, table))


def read_tokens(path: Path) -> Array:
    """The sentence model's vectors of the tokens, float32 [vocabulary, d]. Raises UserError as `store.vectors_of` and
    `store.check_vectors`."""
    return _vectors(path, store.read_parquet(path, ["vector"]))


def _vectors(path: Path, table: Any) -> Array:
    return store.check_vectors(store.vectors_of(table, path), path)


def encoded(model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Code and y of rows of `read`, cut to the longest of them."""
    lengths = rows[:, -1].long()
    return model(rows[:, : int(lengths.max())].long(), lengths)


def recall(y: Tensor, wanted: Tensor) -> float:
    """Share of each row's nearest by cosine of `wanted` [n, d] among its nearest by y, itself left out."""
    count = min(NEAREST, len(y) - 1)
    near = [(normalize(x) @ normalize(x).T).fill_diagonal_(-2).topk(count).indices for x in (y, wanted)]
    return float((near[0][:, :, None] == near[1][:, None]).any(1).float().mean())


def samples(rows: Array, teacher: Array) -> Rows:
    """What is trained on: rows of `read` behind their numbers, known by their vectors as well."""
    numbered = np.column_stack([np.arange(len(rows), dtype=np.int32), rows])
    return Rows(numbered, known_by=np.column_stack([numbered, teacher.view(np.int32)]))


def padded(rows: Array, context: int) -> Array:
    """Rows of `read` as it gives them for a longer context."""
    return np.insert(rows, [rows.shape[1] - 1] * (context + 1 - rows.shape[1]), 0, axis=1)


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError as `build`, `read` and `read_tokens`, for anything but three files, for a token that has no
    vector, and for vectors of unequal widths."""
    if len(inputs) != 3:
        raise UserError(
            f"the sentence encoder takes training and validation sentences and tokens, not {len(inputs)} files"
        )
    how = _options(options)[1]
    tokens = read_tokens(inputs[2])
    (train, teacher), (held, wanted) = (read(path, how.context, len(tokens)) for path in inputs[:2])
    for path, vectors in ((inputs[1], wanted), (inputs[2], tokens)):
        if vectors.shape[1] != teacher.shape[1]:
            raise UserError(
                f"{path}: its vectors have {vectors.shape[1]} values, and those of {inputs[0]} {teacher.shape[1]}"
            )
    model, how = build(len(tokens), teacher.shape[1], options)
    model.begin(tokens, train, teacher, np.random.default_rng(int(torch.randint(1 << 31, ()))))
    right = torch.from_numpy(teacher)

    def loss(model: nn.Module, rows: Tensor, context: Context) -> dict[str, Tensor]:
        with activity.recorded(model) as rates:
            y = encoded(model, rows[:, 1:])[1]
        if context.step % language.WATCH_EVERY == 0:
            activity.watch(model, rates, how.dead_layers, context)
        aim = right[rows[:, 0].long().cpu()].to(y)
        return {
            "cosine": 1 - (normalize(y) * aim).sum(1).mean(),
            "similarity": terms.similarity(aim, y, context.gather),
        }

    def held_out(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        y = torch.cat([encoded(model, part.to(device))[1] for part in torch.from_numpy(held).split(64)]).cpu()
        aim = torch.from_numpy(wanted)
        return {"cosine": float((normalize(y) * aim).sum(1).mean()), "recall": recall(y, aim)}

    return Task(model, samples(train, teacher), loss, held_out)
