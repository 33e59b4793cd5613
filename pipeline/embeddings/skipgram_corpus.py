"""The corpus as numbered words for skip-gram training: what pipeline/training/skipgram.py reads.

Makes counts.parquet (`word`, `count`, by falling count, ties by alphabet), train.parquet and validation.parquet
(`tokens: list<int32>`, a row a sentence: its words' numbers, closed by the number behind the last). Words that occur
less than `min_count` times are left out of sentences, as word2vec does. One sentence in `HELD_OUT` is for validation.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import store
from pipeline.stage import UserError

HELD_OUT = 20
ROW_GROUP = 20_000  # sentences: about half a million words
SCHEMA = pa.schema({"tokens": pa.list_(pa.int32())})


def counts(sentences: Iterable[list[str]], min_count: int, what: str) -> dict[str, int]:
    """How often each word occurs in the sentences that are trained on, in the order of the words' numbers.

    Raises UserError, beginning with `what`, where no word occurs `min_count` times.
    """
    found: Counter[str] = Counter()
    for number, sentence in enumerate(sentences):
        if not validates(number):
            found.update(sentence)
    kept = sorted((-count, word) for word, count in found.items() if count >= min_count)
    if not kept:
        raise UserError(f"{what}: no word of the corpus occurs {min_count} times; min_count is too large for it")
    return {word: -count for count, word in kept}


def validates(number: int) -> bool:
    """Whether sentence `number` is held out."""
    return number % HELD_OUT == HELD_OUT - 1


def write(sentences: Iterable[list[str]], counted: dict[str, int], folder: Path) -> list[Path]:
    """Write the three files into `folder`, each whole or not at all, and return their paths."""
    paths = [folder / f"{name}.parquet" for name in ("counts", "train", "validation")]
    numbers = {word: number for number, word in enumerate(counted)}
    with ExitStack() as stack:
        files = [stack.enter_context(store.atomic_file(path)) for path in paths[1:]]
        writers = [stack.enter_context(pq.ParquetWriter(file, SCHEMA, compression="zstd")) for file in files]
        waiting: tuple[list[list[int]], list[list[int]]] = ([], [])
        for held, tokens in _numbered(sentences, numbers):
            waiting[held].append(tokens)
            if len(waiting[held]) == ROW_GROUP:
                writers[held].write_table(pa.table({"tokens": waiting[held]}, SCHEMA))
                waiting[held].clear()
        for writer, rest in zip(writers, waiting, strict=True):
            if rest:
                writer.write_table(pa.table({"tokens": rest}, SCHEMA))
    store.write_parquet(paths[0], pa.table({"word": list(counted), "count": list(counted.values())}))
    return paths


def _numbered(sentences: Iterable[list[str]], numbers: dict[str, int]) -> Iterator[tuple[bool, list[int]]]:
    for place, sentence in enumerate(sentences):
        tokens = [numbers[word] for word in sentence if word in numbers]
        if len(tokens) > 1:
            yield validates(place), [*tokens, len(numbers)]
