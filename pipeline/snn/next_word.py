"""Next word: PopSpike learns to say of words shown one behind the other which embedding comes next.

    task(inputs, options)    inputs: an embedding table, train and validation sequences; options: those of
                             popspike.Options and `length` (64), the words of a training sequence

Parts of the loss, over positions i with next word y_i, of m words drawn from the batch's own next words (van den
Oord et al. 2018, arXiv:1807.03748):

    - log exp(f(i, y_i)) / (exp f(i, y_i) + sum over the m words of exp f(i, w))

    `vector`   f = scale cos(prediction, the word's vector)
    `spikes`   f = scale cos(counts of the output neurons, those of the word's own code); 0 of a dense network

The best f is log p(w | words before) / p(w) but for a constant (ibid.), so log p(w) has to be added where the more
probable word is wanted; who ranks by cosine alone asks which word the text speaks for. Held out: `loss` (`vector` on
validation sequences and fixed words).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipeline.snn import activity, word_sequences
from pipeline.snn.popspike import Options, codes_of, network, read_options, scales, unit_counts
from pipeline.snn.word_codes import WordCodes
from pipeline.stage import UserError, check_keys
from pipeline.store import array_digest, open_parquet, read_embedding
from pipeline.training.shards import Tokens
from pipeline.training.task import Context, Part, Task

LENGTH = 64
CANDIDATES = 512  # m
HELD_OUT = 64  # sequences


class Asked(NamedTuple):
    """The options, taken apart."""

    options: Options
    length: int


def asked(options: Mapping[str, Any]) -> Asked:
    """Raises UserError for options that cannot be used."""
    check_keys("options", options, (*Options._fields, "length"))
    length = options.get("length", LENGTH)
    if type(length) is not int or length < 2:
        raise UserError(f"options: length must be a whole number of at least 2, not {length!r}")
    return Asked(read_options({name: value for name, value in options.items() if name != "length"}), length)


def contrast(predicted: Tensor, targets: Tensor, others: Tensor, scale: Tensor) -> Tensor:
    """The loss of each position [n]: predictions [n, d], unit targets [n, d], unit vectors of others [m, d]."""
    unit = normalize(predicted, dim=1)
    right = (unit * targets).sum(1, keepdim=True)
    return torch.logsumexp(scale * torch.cat([right, unit @ others.T], dim=1), dim=1) - scale * right[:, 0]


class Sequences(Tokens):
    """Blocks of `length` words and the one behind, of the table that has these codes.

    Raises UserError as `word_sequences.check`, and as Tokens for a number that is neither a word's nor the end's.
    """

    def __init__(self, path: Path, length: int, codes: WordCodes) -> None:
        word_sequences.check(path, open_parquet(path).schema_arrow, codes.silence)
        super().__init__([path], length + 1, codes.silence + 1)
        self.identity = f"{self.identity}-{array_digest(codes.spikes)}"


def task(inputs: Sequence[Path], options: Mapping[str, Any]) -> Task:
    """Raises UserError for anything but a table and two files of sequences of its words, and for options that cannot be
    used."""
    if len(inputs) != 3:
        raise UserError(f"next-word takes an embedding table, train and validation sequences, not {len(inputs)} files")
    chosen, length = asked(options)
    codes = codes_of(read_embedding(inputs[0]), chosen)
    end = codes.silence
    data, validation = (Sequences(path, length, codes) for path in inputs[1:])
    if not sum(validation.sizes):
        raise UserError(f"{inputs[2]}: too few words for a sequence of {length}")
    every = np.concatenate([validation.read(piece) for piece in range(len(validation.sizes))])
    held = torch.from_numpy(every[:: -(-len(every) // HELD_OUT)].copy())
    vectors, counts = torch.from_numpy(codes.vectors), unit_counts(codes.spikes)
    drawn = held[:, 1:].reshape(-1)
    fixed = drawn[drawn != end][:CANDIDATES]

    def parts(model: nn.Module, rows: Tensor, others: Tensor) -> dict[str, Part]:
        """Both parts, means over positions; the end of a document is no word to predict."""
        words, following = rows[:, :-1], rows[:, 1:].reshape(-1)
        there = (following != end).to(rows.device)
        predicted, scale = model(words), scales(model)

        def mean(found: Tensor, table: Tensor, scale: Tensor) -> Tensor:
            table = table.to(rows.device)
            each = contrast(found.flatten(0, 1)[there], table[following[there]], table[others], scale)
            return each.sum() / following.numel()

        def spikes() -> Tensor:
            if predicted.counts is None:
                return predicted.vectors.new_zeros(())
            return mean(predicted.counts, counts, scale[1])

        return {"vector": mean(predicted.vectors, vectors, scale[0]), "spikes": spikes}

    def loss(model: nn.Module, rows: Tensor, context: Context) -> dict[str, Part]:
        rows = rows.long()
        following = context.gather(rows[:, 1:].float()).long().flatten()  # whole to 2^24, and only floats are gathered
        candidates = following[following != end]
        at = torch.randint(max(1, len(candidates)), (CANDIDATES,), generator=context.generator, device=rows.device)
        with activity.recorded(model) as rates:
            found = parts(model, rows, candidates[at] if len(candidates) else candidates)
        activity.watch(model, rates, chosen.dead_layers, context)
        return found

    def held_out(model: nn.Module) -> dict[str, float]:
        device = scales(model).device
        found = parts(model, held.long().to(device), fixed.long().to(device))["vector"]
        assert isinstance(found, Tensor)
        return {"loss": float(found)}

    return Task(network(codes, chosen), data, loss, held_out)
