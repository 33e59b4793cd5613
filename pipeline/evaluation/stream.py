"""The stream claim: running words as vectors, 10,000 times smaller, nothing lost. What is reached, all bytes counted?

    python -m pipeline.evaluation.stream --documents data/corpus/documents --tokenizer data/corpus/tokenizer.json \\
        --embedding data/embeddings/spacy_md+minilm.parquet --codecs results/codecs/spacy_md+minilm/scalar \\
        --output results/stream

The text is a stream of vectors: those running words of the corpus that the table has, 4 d bytes of float32 each. A
vector that repeats need not be stored twice, so its number will do, and the table once:

    ratio = 4 d n / (payload(n) + shared),  shared = table + what the decoder of the numbers has to be given.

The numbers are coded by order-0, by PPMd (`id_coders`) and by an adaptive order-2 context model (`context_model`); the
table is float32, or one of the representations found under --codecs: those that are lossless, and int8, which is not.
Where the ratio ends needs no table to see: at 32 d over the bits a token b. So 10,000 asks for b < 32 d / 10,000, which
is 2.19 for 684 dimensions and 5.875 for 1,836, and then for n = shared / (4 d / 10,000 - b / 8) tokens.

Makes <output>.csv, a row a coder and table for the whole stream, and <output>.parquet, the same for its first 2^k
words. All bytes are those of real streams that have been decoded; `ids_bit_exact` says that the numbers came back, and
`decoded_bit_exact` that the vectors did, by SHA-256 of both. Programs are not counted. The context model's payload of
a part is what its stream of the whole takes up to there; its tree, and PPMd's setting, are those of the whole stream.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline import stage, store
from pipeline.codec import Array, shared_bytes
from pipeline.corpus import tokenizer
from pipeline.corpus.documents import read_texts
from pipeline.corpus.vocabulary import words
from pipeline.evaluation import context_model, id_coders, word_tree
from pipeline.evaluation.id_coders import Coded
from pipeline.evaluation.ledger import FLOAT32_BYTES
from pipeline.evaluation.table import write_csv
from pipeline.evaluation.word_rows import word_rows
from pipeline.manifest import read_manifest
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable

CLAIM = 10_000
LOSSY = "int8"  # the one table that is not exact, for what exactness costs
FIRST_PART = 10  # the shortest part is 2^10 words
COLUMNS = (
    *("embedding", "method", "table", "dims", "tokens", "running_words", "coverage"),
    *("payload_bytes", "decoder_bytes", "table_bytes", "shared_bytes", "bits_per_token", "ratio_all_in", "ratio_limit"),
    *("line_bits_per_token", "break_even_tokens_10000x", "ids_bit_exact", "decoded_bit_exact"),
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("embedding", "method", "table")),
        *((name, pa.int64()) for name in ("dims", "tokens", "payload_bytes", "shared_bytes")),
        ("ratio_all_in", pa.float64()),
        ("decoded_bit_exact", pa.bool_()),
    ]
)


class Stream(NamedTuple):
    """`ids` int32 [n]: rows of the table, in the order of the text; `running`: how many words there were."""

    ids: Array
    running: int


class Method(NamedTuple):
    """A coder's result for the whole, and (tokens, payload bytes, decoder bytes) of its parts, the whole last."""

    name: str
    whole: Coded
    parts: list[tuple[int, int, int]]


class Shared(NamedTuple):
    """A form of the table: its size, and SHA-256 of the vectors that come out of it."""

    name: str
    nbytes: int
    digest: str


def read_stream(documents: Path, tokenizer_path: Path, table: EmbeddingTable, most: int) -> Stream:
    """Up to `most` running words that are in the table. Raises UserError where there is none."""
    rows = word_rows(table)
    normalizer = tokenizer.load(tokenizer_path).normalizer
    found: list[Array] = []
    tokens = running = 0
    for shard in stage.progress(store.shards(documents), "stream: reading", unit=" shards"):
        for text in (text for texts in read_texts(shard) for text in texts):
            all_words = words(normalizer.normalize_str(text) if normalizer else text)
            ids = np.array([rows[word] for word in all_words if word in rows], np.int32)
            running += len(all_words)
            tokens += len(ids)
            found.append(ids)
            if tokens >= most:
                stage.log.info("the first %d words: --tokens", tokens)
                return Stream(np.concatenate(found), running)
    if not tokens:
        raise UserError(f"{documents}: none of its words is in the embedding table")
    return Stream(np.concatenate(found), running)


def part_sizes(tokens: int) -> list[int]:
    """Powers of two below `tokens`, and `tokens` itself."""
    return [*(1 << k for k in range(FIRST_PART, 63) if 1 << k < tokens), tokens]


def code(ids: Array, table: EmbeddingTable) -> Iterator[Method]:
    """The stream by each coder, whole and in parts."""
    counts = np.bincount(ids, minlength=len(table.words))
    sizes = part_sizes(len(ids))

    zero = [id_coders.order_0(ids[:size], len(counts)) for size in sizes]
    yield Method("order-0", zero[-1], _parts(sizes, zero))

    tree = word_tree.bisect(table.vectors, counts)
    packed = word_tree.pack(tree)
    encoded = context_model.encode(ids, tree)
    decoded = context_model.decode(encoded.data, word_tree.unpack(packed, len(counts)))
    whole = Coded(len(encoded.data), len(packed), decoded)
    yield Method("context model", whole, [(size, int(encoded.ends[size - 1]), len(packed)) for size in sizes])

    for setting in id_coders.settings(ids, id_coders.spellings(table.words, counts, tree)):
        what = f"variant {setting.variant}, order {setting.order}, {setting.spelling.name}"
        try:
            peer = [id_coders.ppmd(ids[:size], setting) for size in sizes]
        except id_coders.NotReversibleError:
            stage.log.info("PPMd, %s: pyppmd does not decode what it encoded, so the next best is taken", what)
            continue
        stage.log.info("PPMd: %s", what)
        yield Method("PPMd", peer[-1], _parts(sizes, peer))
        return
    stage.log.warning("pyppmd decodes its own streams under none of the settings: no row of PPMd")


def _parts(sizes: Sequence[int], coded: Sequence[Coded]) -> list[tuple[int, int, int]]:
    return [(size, one.payload, one.shared) for size, one in zip(sizes, coded, strict=True)]


def shared_tables(table: EmbeddingTable, codecs: Sequence[Path]) -> Iterator[Shared]:
    """float32, and what `pipeline.codecs.fit` left in the directories `codecs`: lossless codes, and int8.

    Raises UserError if a directory is not of this table, or a table stands in two of them.
    """
    vectors_digest = store.array_digest(table.vectors)
    yield Shared("float32", table.vectors.nbytes, vectors_digest)
    place: dict[str, Path] = {}
    for folder in codecs:
        manifest = read_manifest(folder)
        for name in manifest.files:
            codec = manifest.codec(name, manifest.seeds[0], vectors_digest)
            if name == "float32" or not (codec.lossless or name == LOSSY):
                continue
            if (first := place.setdefault(name, folder)) != folder:
                raise UserError(f"{folder}: {name} stands in {first} too")
            codes = manifest.codes(name, table.words, vectors_digest)
            try:
                decoded = codec.decode(codes)
            except UserError as error:
                raise UserError(f"{manifest.codes_file(name)}: {error}") from None
            yield Shared(name, codes.nbytes + shared_bytes(codec), store.array_digest(decoded))


def break_even(shared: int, dims: int, bits: float) -> int | None:
    """Tokens from which on the ratio is CLAIM, if each takes `bits`; None if it never is."""
    spare = FLOAT32_BYTES * dims / CLAIM - bits / 8
    return math.ceil(shared / spare) if spare > 0 else None


def row(method: Method, shared: Shared, stream: Stream, table: EmbeddingTable) -> dict[str, Any]:
    """A row of the CSV file, without the embedding's name."""
    dims, tokens = table.vectors.shape[1], len(stream.ids)
    payload, decoder = method.whole.payload, method.whole.shared
    all_shared = decoder + shared.nbytes
    bits = payload * 8 / tokens
    same_ids = store.array_digest(method.whole.ids) == store.array_digest(stream.ids)
    same_vectors = same_ids and shared.digest == store.array_digest(table.vectors)
    return {
        **{"method": method.name, "table": shared.name, "dims": dims, "tokens": tokens},
        **{"running_words": stream.running, "coverage": f"{tokens / stream.running:.4f}"},
        **{"payload_bytes": payload, "decoder_bytes": decoder, "table_bytes": shared.nbytes},
        **{"shared_bytes": all_shared, "bits_per_token": f"{bits:.4f}"},
        "ratio_all_in": f"{FLOAT32_BYTES * dims * tokens / (payload + all_shared):.6g}",
        "ratio_limit": f"{32 * dims / bits:.6g}",
        "line_bits_per_token": f"{32 * dims / CLAIM:.5g}",
        "break_even_tokens_10000x": break_even(all_shared, dims, bits) or "never",
        **{"ids_bit_exact": same_ids, "decoded_bit_exact": same_vectors},
    }


def parts_of(method: Method, shared: Shared, dims: int, exact: bool) -> Iterator[dict[str, Any]]:
    """The rows of the long form, without the embedding's name. `exact`: whether the whole stream's vectors are."""
    for tokens, payload, decoder in method.parts:
        everything = payload + decoder + shared.nbytes
        yield {
            **{"method": method.name, "table": shared.name, "dims": dims, "tokens": tokens},
            **{"payload_bytes": payload, "shared_bytes": decoder + shared.nbytes},
            "ratio_all_in": FLOAT32_BYTES * dims * tokens / everything,
            "decoded_bit_exact": exact,
        }


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="directory of document shards")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json, for its normaliser")
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table; its file name is its name")
    parser.add_argument("--codecs", type=Path, nargs="*", default=[], help="directories that pipeline.codecs.fit made")
    parser.add_argument("--tokens", type=int, default=1 << 24, help="words to code, about, at most")
    parser.add_argument("--output", type=Path, required=True, help="path without .csv and .parquet")
    args = parser.parse_args(argv)
    if args.tokens < 1:
        raise UserError(f"--tokens: at least 1 is needed, not {args.tokens}")
    table = store.read_embedding(args.embedding)
    tables = list(shared_tables(table, args.codecs))
    stream = read_stream(args.documents, args.tokenizer, table, args.tokens)
    rows, parts = [], []
    name = {"embedding": args.embedding.stem}
    for method in code(stream.ids, table):
        bits = method.whole.payload * 8 / len(stream.ids)
        stage.log.info("%s: %.3f bits a token of %d", method.name, bits, len(stream.ids))
        for shared in tables:
            rows.append(name | row(method, shared, stream, table))
            exact = rows[-1]["decoded_bit_exact"]
            parts += [name | one for one in parts_of(method, shared, table.vectors.shape[1], exact)]
    facts = {
        "embedding_digest": store.array_digest(table.vectors),
        "documents_digest": store.digest(args.documents),
        "tokenizer_digest": store.digest(args.tokenizer),
    }
    store.write_parquet(store.with_ending(args.output, ".parquet"), pa.Table.from_pylist(parts, SCHEMA), facts)
    write_csv(store.with_ending(args.output, ".csv"), COLUMNS, rows)


if __name__ == "__main__":
    sys.exit(stage.run(main))
