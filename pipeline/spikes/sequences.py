"""Sequences of words as spikes: each word's code, and beside it neurons that say where the word stands.

    python -m pipeline.spikes.sequences --text "some words" --embedding data/embeddings/minilm.parquet \\
        --codec results/codecs/minilm/phase/phase_8/seed-0.safetensors --positions gray --output sequence.parquet
    python -m pipeline.spikes.sequences --read sequence.parquet

Takes:  words (what stands between white space), an embedding table, a fitted spike code of it, a position code
Makes:  Parquet, a row a word in the order of the text: `word`, the T steps of its spikes (P neurons of the word, then Q
        of the position), and in the schema metadata what reads them again
Prints: with --read a line a word, its position, read from the position neurons' spikes, and behind a tab the word

A sequence of L words is a `SpikeTrain` of L rows, T steps, P + Q neurons: time runs through the steps of a row and on
in the next, and `in_time` has it as one row of L T steps. Position spikes are never negative. Words and positions come
back exactly; `positions.py` says up to which length.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline import stage
from pipeline.codec import Array, Codes, Spiking, input_of, load, read_codes, write_codes
from pipeline.spikes import positions
from pipeline.spikes.train import SpikeTrain
from pipeline.stage import UserError
from pipeline.store import array_digest, digest, open_parquet, read_embedding, unit_rows, versions

FORM = ("positions", "word_neurons", "position_neurons")  # what a file says of its sequence
BLOCK = 4096  # words that are unpacked at a time


def attach(words: SpikeTrain, where: Array) -> SpikeTrain:
    """Words, L rows of P neurons, with position spikes bool [L, T, Q] behind them: P + Q neurons."""
    if where.shape[:2] != (len(words), words.timesteps):
        raise ValueError(f"positions {where.shape} for {len(words)} words of {words.timesteps} steps")
    neurons = words.neurons + where.shape[2]
    packed = np.empty((*where.shape[:2], -(-neurons // 8)), np.uint8)
    for start in range(0, len(words), BLOCK):
        block = slice(start, start + BLOCK)
        spikes = np.unpackbits(words.packed[block], axis=2, count=words.neurons).view(bool)
        packed[block] = np.packbits(np.concatenate([spikes, where[block]], axis=2), axis=2)
    if words.negative is None:
        return SpikeTrain(packed, neurons)
    negative = np.zeros_like(packed)
    negative[:, :, : words.negative.shape[2]] = words.negative
    return SpikeTrain(packed, neurons, negative)


def detach(sequence: SpikeTrain, word_neurons: int) -> tuple[SpikeTrain, Array]:
    """The words and the position spikes that `attach` was given. Raises UserError for negative position spikes."""
    where = _behind(sequence.packed, word_neurons, sequence.neurons)
    words = _first(sequence.packed, word_neurons)
    if sequence.negative is None:
        return SpikeTrain(words, word_neurons), where
    if _behind(sequence.negative, word_neurons, sequence.neurons).any():
        raise UserError("sequence: a negative spike of a position neuron")
    return SpikeTrain(words, word_neurons, _first(sequence.negative, word_neurons)), where


def _first(packed: Array, neurons: int) -> Array:
    """The first neurons alone, packed."""
    kept = packed[:, :, : -(-neurons // 8)].copy()
    if neurons % 8:
        kept[:, :, -1] &= 0xFF & ~(0xFF >> neurons % 8)
    return kept


def _behind(packed: Array, neurons: int, all_neurons: int) -> Array:
    """bool [L, T, all - neurons]: the spikes of the neurons behind the first ones."""
    whole = neurons // 8  # bytes that hold none of them
    return np.unpackbits(packed[:, :, whole:], axis=2, count=all_neurons - 8 * whole)[:, :, neurons % 8 :].view(bool)


def in_time(sequence: SpikeTrain) -> SpikeTrain:
    """L rows of T steps as one row of L T steps: what a network receives, one word after the other."""
    whole = (1, len(sequence) * sequence.timesteps, -1)
    negative = None if sequence.negative is None else sequence.negative.reshape(whole)
    return SpikeTrain(sequence.packed.reshape(whole), sequence.neurons, negative)


def by_word(train: SpikeTrain, timesteps: int) -> SpikeTrain:
    """The inverse of `in_time`. Raises UserError where the steps are no whole number of words."""
    if len(train) != 1 or train.timesteps % timesteps:
        raise UserError(f"sequence: {len(train)} rows of {train.timesteps} steps are no words of {timesteps} steps")
    apart = (train.timesteps // timesteps, timesteps, -1)
    negative = None if train.negative is None else train.negative.reshape(apart)
    return SpikeTrain(train.packed.reshape(apart), train.neurons, negative)


class Stored(NamedTuple):
    """A file's sequence taken apart again: L words, their codes, and where each stands, int64 [L]."""

    words: list[str]
    codes: SpikeTrain
    positions: Array


def rows_of(text: str, words: Sequence[str], name: str) -> list[int]:
    """Rows of the text's words in a table's `words`. Raises UserError that names all missing ones, or for no word.

    A word that the table has in lower case alone is found there.
    """
    asked = text.split()
    if not asked:
        raise UserError("--text: holds no word")
    rows = {word: row for row, word in enumerate(words)}
    found = [rows.get(word, rows.get(word.lower(), -1)) for word in asked]
    if missing := sorted({word for word, row in zip(asked, found, strict=True) if row < 0}):
        raise UserError(f"--text: {name} has no vector of {', '.join(missing)}")
    return found


def write_sequence(
    path: Path, words: Sequence[str], codes: SpikeTrain, kind: str, neurons: int | None, facts: dict[str, str]
) -> None:
    """Attach positions to the words' codes and write both. Raises UserError as `positions.table`."""
    where = positions.table(kind, len(codes), codes.timesteps, neurons)
    sequence = attach(codes, where)
    arrays = {"spikes": sequence.packed} | ({} if sequence.negative is None else {"signs": sequence.negative})
    form = dict(zip(FORM, (kind, codes.neurons, where.shape[2]), strict=True))
    write_codes(path, words, Codes(arrays), {**facts, "sequence": json.dumps(form)})


def read_sequence(path: Path) -> Stored:
    """What `write_sequence` wrote, the positions read from their neurons' spikes.

    Raises UserError, naming the file, if it is not whole or holds no sequence.
    """
    words, codes = read_codes(path)
    form = (open_parquet(path).schema_arrow.metadata or {}).get(b"sequence")
    if form is None:
        raise UserError(f"{path}: holds codes, but no sequence (its schema says nothing of positions)")
    kind, word_neurons, neurons = (json.loads(form)[key] for key in FORM)
    train = SpikeTrain(codes["spikes"], word_neurons + neurons, codes.arrays.get("signs"))
    try:
        alone, where = detach(train, word_neurons)
        known = positions.table(kind, len(train), train.timesteps, neurons)
        return Stored(words, alone, positions.located(where, known))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--text", help="words of the table, white space between them")
    task.add_argument("--read", type=Path, help="a sequence that was made before: print its positions and words")
    parser.add_argument("--embedding", type=Path, help="embedding table (Parquet)")
    parser.add_argument("--codec", type=Path, help="a spike code that was fitted on it (safetensors)")
    parser.add_argument("--positions", choices=positions.KINDS, default="gray", help="position code")
    parser.add_argument(
        "--position-neurons", type=int, help="as few as tell the words apart (gray), or 40, if not given"
    )
    parser.add_argument("--output", type=Path, help="Parquet file to make")
    args = parser.parse_args(argv)
    if args.read:
        stored = read_sequence(args.read)
        for word, position in zip(stored.words, stored.positions, strict=True):
            print(f"{position}\t{word}")
        return
    if None in (args.embedding, args.codec, args.output):
        parser.error("--text takes --embedding, --codec and --output as well")
    table = read_embedding(args.embedding)
    rows = rows_of(args.text, table.words, str(args.embedding))
    embedding_digest = array_digest(table.vectors)
    codec = load(args.codec, {"embedding_digest": embedding_digest})
    if not isinstance(codec, Spiking):
        raise UserError(f"{args.codec}: {codec.name} is no spike code")
    vectors = table.vectors[rows]
    codes = codec.spike_train(codec.encode(input_of(codec, vectors, unit_rows(vectors))))
    facts = {
        "representation": codec.name,
        "codec": digest(args.codec),
        "embedding_digest": embedding_digest,
        "versions": json.dumps(versions("numpy")),
    }
    words = [table.words[row] for row in rows]
    write_sequence(args.output, words, codes, args.positions, args.position_neurons, facts)
    stage.log.info("%d words of %d neurons, %d steps each", len(rows), codes.neurons, codes.timesteps)


if __name__ == "__main__":
    sys.exit(stage.run(main))
