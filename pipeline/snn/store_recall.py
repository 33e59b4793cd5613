"""Store-recall: which of 64 words was shown, 0 to 32 words ago? The test of a working memory.

    place      0 ..          L - 2 - d         ..           L - 1
    shown      distractors   the word, `store`   d distractors   silence, `recall`

Distractors are drawn from the same 64 words, so that nothing but the store cue tells which word is asked for; those
before it are there as well. Cues are two more populations of input neurons. The answer is the prediction behind the
recall cue: the word of the 64 whose vector is nearest to it by cosine (chance 1 / 64). Bellec et al. 2018
(arXiv:1803.09574) asked spiking networks for bits in this way.

    task(inputs, options)    inputs: one embedding table; options: those of popspike.Options and `longest` (16): trained
                             with 0 to `longest` distractors

Each batch is of sequences of one length, drawn evenly from 2 to the longest, and stores anywhere in them: what is short
is learned first and soon, costs little, and the network also learns to begin at rest. Measured sequences have BEFORE
distractors before the word.

Part of the loss: `vector`, cross entropy over the 64 words of the scaled cosines. Held out: `accuracy` (new sequences).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from pipeline.codec import Array
from pipeline.snn import activity
from pipeline.snn.popspike import Options, codes_of, network, read_options, scales
from pipeline.snn.word_codes import WordCodes
from pipeline.stage import UserError, check_keys
from pipeline.store import EmbeddingTable, array_digest, read_embedding
from pipeline.training.arrays import Rows
from pipeline.training.task import Context, Task

WORDS = 64
CUES = 2  # store, recall
LONGEST = 16
BEFORE = 4
TRAINED, HELD_OUT = 16384, 512  # sequences


class Asked(NamedTuple):
    """The options, taken apart."""

    options: Options
    longest: int


def asked(options: Mapping[str, Any]) -> Asked:
    """Raises UserError for options that cannot be used."""
    check_keys("options", options, (*Options._fields, "longest"))
    longest = options.get("longest", LONGEST)
    if type(longest) is not int or longest < 0:
        raise UserError(f"options: longest must be a whole number of at least 0, not {longest!r}")
    return Asked(read_options({name: value for name, value in options.items() if name != "longest"}), longest)


def chosen_words(table: EmbeddingTable) -> EmbeddingTable:
    """64 words of a table, evenly over its rows, no two with the same vector. Raises UserError if it has fewer."""
    distinct = np.sort(np.unique(table.vectors, axis=0, return_index=True)[1])
    if len(distinct) < WORDS:
        raise UserError(f"store-recall shows {WORDS} words, and the table has {len(distinct)} with different vectors")
    rows = distinct[np.linspace(0, len(distinct) - 1, WORDS).astype(int)]
    return EmbeddingTable([table.words[row] for row in rows], table.vectors[rows])


def sequences(distractors: Array, length: int, generator: np.random.Generator) -> Array:
    """int32 [n, length + 1]: the words' numbers, silence (64) last, and behind them the place of the store cue; d of
    each sequence in `distractors` [n], at most length - 2."""
    drawn = generator.integers(WORDS, size=(len(distractors), length))
    drawn[:, -1] = WORDS
    return np.column_stack([drawn, length - 2 - distractors]).astype(np.int32)


def shortened(rows: Tensor, longest: int, context: Context) -> Tensor:
    """The ends of sequences, all of one length that is drawn, with 0 to `longest` distractors where it has room."""

    def drawn(low: int, high: int, count: int) -> Tensor:
        return torch.randint(low, high, (count,), generator=context.generator, device=rows.device)

    length = int(drawn(2, rows.shape[1], 1))
    distractors = drawn(0, min(longest, length - 2) + 1, context.rows)[context.mine]
    return torch.column_stack([rows[:, -1 - length : -1], (length - 2 - distractors).to(rows.dtype)])


def cues(rows: Tensor) -> Tensor:
    """[n, length, 2] of sequences: 1 where there is the store cue, the recall cue."""
    length = rows.shape[1] - 1
    place = torch.arange(length, device=rows.device)
    store = place[None] == rows[:, -1:]
    return torch.stack([store, (place == length - 1)[None].expand_as(store)], dim=2).float()


def logits(model: nn.Module, rows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled cosines [n, 64] of the answer with the words' vectors [64, d], and the words that are right [n]."""
    words = rows[:, :-1].long()
    answer = model(words, cues(rows)).vectors[:, -1]
    right = words.gather(1, rows[:, -1:].long())[:, 0]
    return scales(model)[0] * (normalize(answer, dim=1) @ vectors.T), right


def codes(table: EmbeddingTable, options: Options) -> WordCodes:
    """Codes of the 64 words. Raises UserError where the network has no room for them."""
    return codes_of(chosen_words(table), options)


@torch.no_grad()
def accuracy(model: nn.Module, rows: Array, vectors: Array) -> float:
    """The share of sequences that are answered right."""
    device = scales(model).device
    scores, right = logits(model, torch.from_numpy(rows).to(device), torch.from_numpy(vectors[:WORDS]).to(device))
    return float((scores.argmax(1) == right).double().mean())


def samples(longest: int, table: EmbeddingTable) -> tuple[Rows, Array]:
    """Sequences to train on with up to `longest` distractors, and those held out. They are numbers of words, whatever
    the table: so that they are known by its words' vectors as well."""
    each = np.arange(TRAINED + HELD_OUT) % (longest + 1)
    drawn = sequences(each, BEFORE + longest + 2, np.random.default_rng(0))
    data = Rows(drawn[:TRAINED])
    data.identity = f"{data.identity}-{array_digest(chosen_words(table).vectors)}"
    return data, drawn[TRAINED:]


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError for anything but one embedding table of at least 64 words, and for options that cannot be
    used."""
    if len(inputs) != 1:
        raise UserError(f"store-recall takes one embedding table, not {len(inputs)} files")
    chosen, longest = asked(options)
    table = read_embedding(inputs[0])
    found = codes(table, chosen)
    vectors = torch.from_numpy(found.vectors[:WORDS])
    data, others = samples(longest, table)
    held = torch.from_numpy(others)

    def loss(model: nn.Module, rows: Tensor, context: Context) -> dict[str, Tensor]:
        with activity.recorded(model) as rates:
            scores, right = logits(model, shortened(rows, longest, context), vectors.to(rows.device))
        activity.watch(model, rates, chosen.dead_layers, context)
        return {"vector": cross_entropy(scores, right)}

    def held_out(model: nn.Module) -> dict[str, float]:
        scores, right = logits(model, held.to(scales(model).device), vectors.to(scales(model).device))
        return {"accuracy": float((scores.argmax(1) == right).double().mean())}

    return Task(network(found, chosen, CUES), data, loss, held_out)
