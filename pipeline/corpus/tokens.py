"""Stage: document shards and a tokenizer to token shards.

Takes   the directory of document shards and tokenizer.json.
Makes   a directory with one token shard for each document shard, under the same name: columns `id: string` and
        `tokens: list<int32>`, a row a document in the same order, each closed by the end-of-text token.

Shards are encoded side by side, a thread and a tokenizer for each, streamed some documents at a time. The library
leaves Python's lock while it encodes, so threads are enough; but threads that share one tokenizer, as the library's own
do within a call, contend for its cache: on two cores that costs half as much again in processor time.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from pipeline import stage, store
from pipeline.corpus.documents import read_batches
from pipeline.corpus.parallel import in_threads
from pipeline.corpus.tokenizer import END_OF_TEXT, load
from pipeline.stage import UserError

BATCH_ROWS = 256  # documents read at a time
PIECE_CHARACTERS = 1 << 18  # text encoded at a time: about where it is fastest, and what is held stays small
ROW_GROUP_TOKENS = 1 << 20
SCHEMA = pa.schema({"id": pa.string(), "tokens": pa.list_(pa.int32())})


def encode(tokenizer: Tokenizer, texts: Sequence[str], end_of_text: int) -> pa.ListArray:
    """The tokens of each text, `end_of_text` last, as list<int32>."""
    step = max(1, PIECE_CHARACTERS * len(texts) // max(1, sum(map(len, texts))))
    # The fast form leaves out where in the text each token stands.
    rows = [
        np.array([*encoding.ids, end_of_text], np.int32)
        for start in range(0, len(texts), step)
        for encoding in tokenizer.encode_batch_fast(texts[start : start + step], add_special_tokens=False)
    ]
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate(rows)))


def tokenize_shard(shard: Path, tokenizer: Tokenizer, end_of_text: int, facts: dict[str, str], output: Path) -> int:
    """Write the token shard `output` of document shard `shard`; returns the number of tokens."""
    schema = SCHEMA.with_metadata(facts)
    total = pending_tokens = 0
    pending: list[pa.RecordBatch] = []
    with pq.ParquetWriter(output, schema, compression="zstd") as writer:
        for batch in read_batches(shard, ["id", "text"], BATCH_ROWS):
            tokens = encode(tokenizer, batch.column("text").to_pylist(), end_of_text)
            pending.append(pa.record_batch([batch.column("id"), tokens], schema=schema))
            pending_tokens += len(tokens.values)
            if pending_tokens >= ROW_GROUP_TOKENS:
                writer.write_table(pa.Table.from_batches(pending))
                total, pending_tokens, pending = total + pending_tokens, 0, []
        if pending:
            writer.write_table(pa.Table.from_batches(pending))
    return total + pending_tokens


def write_tokens(documents: str | Path, tokenizer_path: str | Path, output: str | Path, workers: int) -> int:
    """Tokenize all shards of `documents` into the directory `output`; returns the number of tokens.

    Raises UserError for shards that cannot be read, and for a tokenizer without an end-of-text token.
    """
    shards = store.shards(documents)
    tokenizers: SimpleQueue[Tokenizer] = SimpleQueue()  # those that no thread is using
    for _ in range(min(workers, len(shards))):
        tokenizers.put(load(tokenizer_path))
    end_of_text = load(tokenizer_path).token_to_id(END_OF_TEXT)
    if end_of_text is None:
        raise UserError(f"{tokenizer_path}: has no token {END_OF_TEXT}")
    facts = {
        "tokenizer_sha256": store.digest(tokenizer_path),
        "documents_sha256": store.digest(documents),
        "end_of_text": str(end_of_text),
        "vocabulary_size": str(load(tokenizer_path).get_vocab_size()),
    }

    def work(shard: Path, written: Path) -> int:
        tokenizer = tokenizers.get()
        try:
            return tokenize_shard(shard, tokenizer, end_of_text, facts, written)
        finally:
            tokenizers.put(tokenizer)

    with store.atomic_directory(output) as folder, _one_thread_a_call():
        return sum(in_threads(work, [(shard, folder / shard.name) for shard in shards], workers, "tokens"))


@contextmanager
def _one_thread_a_call() -> Iterator[None]:
    """Keep the tokenizers library from spreading one call over threads; it asks the environment at each call."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", required=True, help="directory of document shards")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads, each a shard at a time")
    parser.add_argument("--output", required=True, help="directory of token shards to write")
    arguments = parser.parse_args(argv)
    total = write_tokens(arguments.documents, arguments.tokenizer, arguments.output, arguments.workers)
    stage.log.info("%d tokens at %s", total, arguments.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
