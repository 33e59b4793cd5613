"""Word embeddings by skip-gram with negative sampling (Mikolov et al. 2013, arXiv:1310.4546), in large batches.

Of a word w at place i, with context word c at a distance of at most r_i, drawn from 1..window,

    maximise  log s(u_w . v_c) + sum of k negatives n from P(n) ~ count(n)^(3/4):  log s(-u_w . v_n),    s the sigmoid.

Frequent words are left out at random before windows are laid: of count share f, sqrt(t / f) + t / f are kept (the rule
of the word2vec program). Vectors are u.

A sample is a block of `length` words. All pairs of a block are one matrix product, of which a mask keeps those within
the windows; and all words of a batch share `shared` negatives, each pair's k being taken as k times the mean over them:
the same expectation as k of its own, and a matrix product again. What is lost: pairs across the ends of blocks.

Input: counts.parquet (`word`, `count`), train.parquet and validation.parquet (`tokens`: numbers of words, each sentence
closed by the number behind the last), and any sets of `word1, word2, score` or of `kind, a, b, c, d`, which are
monitored and choose nothing. Options: `dims`, `window`, `negative`, `sample` (t), `length`, `shared`. Parts of the
loss, sums over the pairs of a word: `positive`, `negative`. Held out: `loss` (their sum), `similarity_<set>`
(Spearman), `analogy` (3CosAdd, on about 1,000 of the questions).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from scipy.stats import spearmanr
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize, softplus

from pipeline import word_analogy, word_similarity
from pipeline.stage import UserError, check_keys
from pipeline.store import open_parquet, read_parquet
from pipeline.training.shards import Tokens
from pipeline.training.task import Array, Context, Task

HELD_OUT_BLOCKS = 512
QUESTIONS = 1000

Monitor = Callable[[Array], float]
"""A number of unit vectors float32 [n, d]."""


class How(NamedTuple):
    """The options; who trains chooses (pipeline/embeddings/skipgram.py)."""

    dims: int
    window: int
    negative: int
    sample: float
    length: int
    shared: int = 256


class SkipGram(nn.Module):
    """`u` [n, d], the vectors, and `v` [n, d], those of words as contexts; the word2vec program's first values."""

    def __init__(self, words: int, dims: int) -> None:
        super().__init__()
        self.u = nn.Parameter((torch.rand(words, dims) - 0.5) / dims)
        self.v = nn.Parameter(torch.zeros(words, dims))


class Corpus(NamedTuple):
    """What is drawn from: `kept` [n + 1], the share of a word's occurrences that is kept (0 of the end of a sentence),
    and `noise` [n], the negatives' distribution summed up."""

    kept: Tensor
    noise: Tensor


def corpus(counts: Array, sample: float) -> Corpus:
    """From counts [n], above 0."""
    share = counts / counts.sum()
    kept = np.append(np.minimum(1, np.sqrt(sample / share) + sample / share), 0)
    noise = np.cumsum(counts**0.75)
    return Corpus(torch.from_numpy(kept.astype(np.float32)), torch.from_numpy(noise / noise[-1]))


def pairs(tokens: Tensor, kept: Tensor, radius: Tensor, end: int) -> Tensor:
    """Which pairs of a block are trained on: bool [b, l, l], a word's row its own window.

    tokens [b, l], of which `kept` [b, l] (bool) are there; `radius` [b, l] of each one's window, counted in those.
    """
    place, sentence = kept.cumsum(1), (tokens == end).cumsum(1)
    distance = (place[:, :, None] - place[:, None, :]).abs()
    there = kept[:, :, None] & kept[:, None, :] & (sentence[:, :, None] == sentence[:, None, :])
    return there & (distance > 0) & (distance <= radius[:, :, None])


def parts(
    model: nn.Module, tokens: Tensor, drawn_from: Corpus, how: How, generator: Generator, rows: int, mine: slice
) -> dict[str, Tensor]:
    """The two parts for blocks [b, l], the rows `mine` of `rows`, by which all is drawn."""
    assert isinstance(model, SkipGram)
    device, end, tokens = tokens.device, len(model.u), tokens.long()
    shape = (rows, tokens.shape[1])
    chance = torch.rand(shape, generator=generator, device=device)[mine]
    radius = torch.randint(1, how.window + 1, shape, generator=generator, device=device)[mine]
    places = torch.rand(how.shared, generator=generator, device=device, dtype=torch.float64)
    negatives = torch.searchsorted(drawn_from.noise.to(device), places).clamp(max=end - 1)
    mask = pairs(tokens, chance < drawn_from.kept.to(device)[tokens], radius, end)
    counts = mask.sum(2)
    used = counts.flatten() > 0
    words = tokens.clamp(max=end - 1)
    u, v = model.u[words], model.v[words]
    scores = torch.bmm(u, v.transpose(1, 2))  # [b, l, l]
    positive = softplus(-scores[mask]).sum()
    against = u.flatten(0, 1)[used] @ model.v[negatives].T  # [words that have pairs, shared]
    weight = counts.flatten()[used].to(against.dtype) * (how.negative / how.shared)
    return {"positive": positive / tokens.numel(), "negative": (softplus(against).sum(1) @ weight) / tokens.numel()}


def similarity(words: Mapping[str, int], table: pa.Table) -> Monitor:
    """Of unit vectors [n, d], the rank correlation of cosines with scores, over pairs of known words; NaN for none."""
    pairs = word_similarity.covered(table, words)
    if len(pairs.scores) < 2:
        return lambda unit: float("nan")
    return lambda unit: float(spearmanr((unit[pairs.first] * unit[pairs.second]).sum(1), pairs.scores)[0])


def analogy(words: Mapping[str, int], table: pa.Table) -> Monitor:
    """Of unit vectors [n, d], the share of questions that 3CosAdd answers; NaN if none has all its words."""
    known = word_analogy.covered(table, words)
    few = slice(None, None, max(1, len(known.answers) // QUESTIONS))
    some = replace(known, abc=known.abc[few], answers=known.answers[few], semantic=known.semantic[few])
    if not len(some.answers):
        return lambda unit: float("nan")
    return lambda unit: float(word_analogy.add(unit[some.asked] @ unit.T, some).mean())


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError for unknown options, and for inputs that are not as the module's docstring says."""
    if len(inputs) < 3:
        raise UserError(f"skip-gram takes counts, training and validation shards, not {len(inputs)} files")
    check_keys("options", options, ["shared"], [name for name in How._fields if name != "shared"])
    how = How(**options)
    counted = read_parquet(inputs[0], ["word", "count"])
    words = {word: row for row, word in enumerate(counted.column("word").to_pylist())}
    drawn_from = corpus(counted.column("count").to_numpy().astype(np.float64), how.sample)
    monitors: dict[str, Monitor] = {}
    for path in inputs[3:]:
        if "score" in open_parquet(path).schema_arrow.names:
            monitors[f"similarity_{path.stem}"] = similarity(words, read_parquet(path, ["word1", "word2", "score"]))
        else:
            monitors[path.stem] = analogy(words, read_parquet(path, ["kind", *"abcd"]))
    held = Tokens([inputs[2]], how.length)
    if not sum(held.sizes):
        raise UserError(f"{inputs[2]}: too few words for a block of {how.length}; the corpus is too small")
    every = np.concatenate([held.read(piece) for piece in range(len(held.sizes))])
    blocks = torch.from_numpy(every[:: -(-len(every) // HELD_OUT_BLOCKS)].copy())

    def loss(model: nn.Module, rows: Tensor, context: Context) -> dict[str, Tensor]:
        return parts(model, rows, drawn_from, how, context.generator, context.rows, context.mine)

    def held_out(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, SkipGram)
        device = model.u.device
        generator = torch.Generator(device).manual_seed(0)  # the same windows and negatives each time
        found = parts(model, blocks.to(device), drawn_from, how, generator, len(blocks), slice(None))
        unit = normalize(model.u.detach().float()).cpu().numpy()
        measured = {name: monitor(unit) for name, monitor in monitors.items()}
        return {"loss": float(sum(found.values())), **measured}

    return Task(SkipGram(len(words), how.dims), Tokens([inputs[1]], how.length), loss, held_out)
