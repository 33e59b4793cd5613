"""Stage: documents to sentences with the vectors of a sentence model, by part, and its vectors of the tokens.

Takes   a folder with train, validation and test (pipeline/corpus/language.py: parted by document), each of document
        shards `id, text`; tokenizer.json.
Makes   a folder with train.parquet, validation.parquet and test.parquet: `text: string`, `tokens: list<int32>` and
        `vector: fixed_size_list<float32>[d]`, the raw output of the packaged all-MiniLM-L6-v2, a row a sentence; and
        tokens.parquet, the same model's `vector` of each token's text by itself, a row a token.

A sentence ends at . ! or ? before white space and no small letter, and at the end of a line. Those of fewer than
`SHORTEST` words, or of more tokens than `longest`, are left out. Of a part's sentences those with the smallest digests
are taken, so a draw depends on nothing but the text; none stands twice, neither in a part nor in two.
"""

import hashlib
import json
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from pipeline import stage, store
from pipeline.corpus.documents import read_texts
from pipeline.corpus.tokenizer import load
from pipeline.embeddings import sentence
from pipeline.stage import UserError

PARTS = ("test", "validation", "train")  # in the order of drawing: what is tested on is never trained on
SHORTEST = 5  # words
END = re.compile(r"(?<=[.!?])\s+(?![a-z])|\n+")
ROW_GROUP = 4096
BATCH = 64


def sentences(text: str) -> list[str]:
    """The sentences of a text that have at least SHORTEST words."""
    return [one for part in END.split(text) if len((one := part.strip()).split()) >= SHORTEST]


def drawn(
    folder: Path, tokenizer: Tokenizer, count: int, longest: int, taken: Collection[str]
) -> dict[str, tuple[str, list[int]]]:
    """Up to `count` sentences of the shards by digest: text and tokens, in order of digest, none that is `taken`.

    Raises UserError, naming the folder, where there are fewer than two.
    """
    kept: dict[str, tuple[str, list[int]]] = {}
    for shard in store.shards(folder):
        for texts in read_texts(shard):
            found = {
                digest: one
                for text in texts
                for one in sentences(text)
                if (digest := hashlib.sha256(one.encode()).hexdigest()) not in taken
            }
            encoded = tokenizer.encode_batch_fast(list(found.values()), add_special_tokens=False)
            rows = zip(found.items(), encoded, strict=True)
            kept |= {digest: (text, row.ids) for (digest, text), row in rows if 0 < len(row.ids) <= longest}
            kept = {digest: kept[digest] for digest in sorted(kept)[:count]}
    if len(kept) < 2:
        raise UserError(f"{folder}: {len(kept)} sentences of at most {longest} tokens; at least 2 are needed")
    return kept


def table(texts: Sequence[str], vectors: np.ndarray, tokens: Sequence[Sequence[int]] | None = None) -> pa.Table:
    """Texts, perhaps with their tokens, and their vectors float32 [n, d]."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    columns = {"text": pa.array(texts, pa.string())}
    if tokens is not None:
        columns["tokens"] = pa.array(tokens, pa.list_(pa.int32()))
    return pa.table({**columns, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """What each token says, without white space around it; special tokens stand for themselves."""
    numbers = range(tokenizer.get_vocab_size())
    return [tokenizer.decode([number], skip_special_tokens=False).strip() for number in numbers]


def write(
    documents: Path, tokenizer_path: Path, counts: Mapping[str, int], longest: int, device: str, output: Path
) -> None:
    """Raises UserError as `drawn`, and for shards or a tokenizer that cannot be read."""
    tokenizer, taken = load(tokenizer_path), set[str]()
    parts = {}
    for part in PARTS:
        parts[part] = drawn(documents / part, tokenizer, counts[part], longest, taken)
        taken |= parts[part].keys()
    model = sentence.load(sentence.packaged_model(), stage.device(device))
    facts = {
        "vocabulary_size": str(tokenizer.get_vocab_size()),
        "longest": str(longest),
        "tokenizer_sha256": store.digest(tokenizer_path),
        "model": "all-MiniLM-L6-v2",
        "digests": json.dumps(sentence.SHA256),
        "versions": json.dumps(store.versions("sentence-transformers", "transformers", "torch")),
    }
    with store.atomic_directory(output) as folder:
        for part, found in parts.items():
            texts, tokens = zip(*found.values(), strict=True)
            lengths = np.array([len(one) for one in tokens])
            made = table(texts, sentence.embed(model, texts, lengths, BATCH), tokens)
            store.write_parquet(folder / f"{part}.parquet", made, facts, row_group_size=ROW_GROUP)
            stage.log.info("%s: %d sentences, %.1f tokens each", part, len(texts), lengths.mean())
        said = token_texts(tokenizer)
        made = table(said, sentence.embed(model, said, np.array([len(text) for text in said]), BATCH))
        store.write_parquet(folder / "tokens.parquet", made, facts)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", type=Path, required=True, help="folder with train, validation and test")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--train", type=int, default=5000, help="sentences to train on, at most")
    parser.add_argument("--validation", type=int, default=500, help="sentences to choose by, at most")
    parser.add_argument("--test", type=int, default=1000, help="sentences to test on, at most")
    parser.add_argument("--longest", type=int, default=48, help="tokens of a sentence, at most")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    given = parser.parse_args(argv)
    counts = {part: getattr(given, part) for part in PARTS}
    for name, value in {**counts, "longest": given.longest}.items():
        if value < 2:
            raise UserError(f"--{name} must be at least 2, not {value}")
    write(given.documents, given.tokenizer, counts, given.longest, given.device, given.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
