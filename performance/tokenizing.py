"""How fast the tokens stage is, against a bare loop of tokenizers' `encode_batch` over the same text.

Ours is the stage's core as it runs: shards read, text encoded, token shards written as
Parquet. The peer only encodes the same texts, which it is given in memory, 256 at a time, with as many threads. The two
take turns; a row holds the medians. The corpus is repeated until it is large enough to measure.

Takes   a directory of document shards and tokenizer.json.
Makes   a CSV: what, size (mebibytes of UTF-8 text), unit, ours, peer, peer_value, ratio (above 1: ours is faster).
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from performance.measurement import medians, row, write_rows
from pipeline import stage, store
from pipeline.corpus.documents import read_texts, write_documents
from pipeline.corpus.source import Document
from pipeline.corpus.tokenizer import load
from pipeline.corpus.tokens import write_tokens
from pipeline.stage import UserError

PEER_BATCH = 256  # texts in a call; with 64 the peer was slower


def measure(documents: str, tokenizer_path: str, workers: int, mebibytes: float, runs: int) -> dict[str, str]:
    """One row of the table: tokens a second of both, medians of `runs` interleaved runs."""
    os.environ["RAYON_NUM_THREADS"] = str(workers)  # the peer's threads
    once = [text for shard in store.shards(documents) for texts in read_texts(shard) for text in texts]
    repeats = max(1, round(mebibytes * 2**20 / sum(len(text.encode()) for text in once)))
    texts = once * repeats
    text_bytes = sum(len(text.encode()) for text in texts)
    tokenizer = load(tokenizer_path)

    def peer() -> None:
        for start in range(0, len(texts), PEER_BATCH):
            tokenizer.encode_batch(texts[start : start + PEER_BATCH])

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "documents"
        named = (Document(str(number), text) for number, text in enumerate(texts))
        write_documents(named, copy, shard_bytes=text_bytes // (4 * workers) + 1)

        def ours() -> int:
            return write_tokens(copy, tokenizer_path, Path(folder) / "tokens", workers)

        tokens = ours() - len(texts)  # the ends of text are no gain
        ours_s, peer_s = medians(runs, "tokenizing", ours, peer)
    return row(
        *(f"tokenizing, {workers} threads", f"{text_bytes / 2**20:.1f} MiB", "tokens/s", tokens / ours_s),
        *(f"tokenizers {metadata.version('tokenizers')} encode_batch", tokens / peer_s),
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", required=True, help="directory of document shards")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads of either")
    parser.add_argument("--mebibytes", type=float, default=12, help="text of one measurement, about")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", required=True, help="CSV file to write")
    arguments = parser.parse_args(argv)
    if arguments.runs < 1 or arguments.workers < 1:
        raise UserError("--runs and --workers must be at least 1")
    row = measure(arguments.documents, arguments.tokenizer, arguments.workers, arguments.mebibytes, arguments.runs)
    write_rows(arguments.output, [row])


if __name__ == "__main__":
    sys.exit(stage.run(main))
