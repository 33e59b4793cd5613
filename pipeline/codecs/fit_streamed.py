"""Fit a successive refinement on vectors that memory does not hold, and encode them.

    python -m pipeline.codecs.fit_streamed --inputs data/embeddings/ada.parquet \\
        --representation successive_refinement_512 --output ada/codec.safetensors --codes ada/codes.parquet

Takes:  Parquet files, or folders or patterns of them, with a column `vector` (lists of numbers) and, if there is one,
        `word`; or one array in NumPy's .npy format. Without words, rows are named by their numbers. Rows are made unit.
Makes:  the codec, fitted on all rows, and their codes, a row group for each 16,384 of them (`codec.read_codes`)

The inputs are read four times, some thousand rows at a time, besides once for their digests. What is held does not
grow with their number.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline import codec as codecs
from pipeline import stage
from pipeline.codec import Array, Codes
from pipeline.codecs import streamed_codes, successive_refinement
from pipeline.codecs.nested import BLOCK
from pipeline.embeddings.selection import Block
from pipeline.embeddings.streamed import Inputs, opened
from pipeline.stage import UserError
from pipeline.store import atomic_file, digest, unit_rows, versions

MODULE = "successive_refinement"
CHUNK = 4 * BLOCK  # rows: whole blocks of the encoder, so that codes are those of all at once


def chunks(blocks: Iterable[Block], rows: int = CHUNK) -> Iterator[tuple[list[str], Array]]:
    """Words and unit vectors, `rows` at a time; the last ones may be fewer."""
    words: list[str] = []
    held: list[Array] = []
    for block in blocks:
        words += block.words
        held.append(block.vectors)
        if len(words) >= rows:
            vectors = np.concatenate(held)
            yield words[:rows], unit_rows(vectors[:rows])
            words, held = words[rows:], [vectors[rows:]]
    if words:
        yield words, unit_rows(np.concatenate(held))


def fit_streamed(inputs: Inputs, name: str, seed: int, output: Path, codes: Path) -> None:
    """Fit the codec `name` on all rows, and write it and their codes. Raises UserError for another name."""
    codec = successive_refinement.build(name, seed)
    digests = [digest(file) for file in inputs.files]

    def read(what: str) -> Iterable[tuple[list[str], Array]]:
        return stage.progress(chunks(inputs.blocks()), what, total=-(-inputs.rows // CHUNK), unit=" chunks")

    def encoded() -> Iterator[tuple[list[str], Codes]]:
        for words, vectors in read(f"encode {name}"):
            yield words, codec.encode(vectors)

    with threadpool_limits(1):  # sums come out the same however many cores there are
        codec.fit_blocks(lambda: (vectors for _, vectors in read(f"fit {name}")))
        facts = {"representation": name, "codec": output.name, "inputs": " ".join(digests)}
        with atomic_file(codes) as temporary:
            words = (word for some, _ in read("words") for word in some)
            streamed_codes.write(temporary, words, encoded(), facts)
            header = {"seed": seed, "inputs": digests, "versions": versions("numpy", "pyarrow")}
            codecs.save(codec, MODULE, output, header)  # last, so that there is no codec without its codes
    stage.log.info("%s: %d vectors in %d bits each", codes, inputs.rows, codec.bits)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--inputs", nargs="+", required=True, help="Parquet files, folders, patterns; or one .npy")
    parser.add_argument("--representation", required=True, help="successive_refinement_<bits>")
    parser.add_argument("--seed", type=int, default=0, help="draws the rows that trees are fitted on")
    parser.add_argument("--output", type=Path, required=True, help="the codec (safetensors)")
    parser.add_argument("--codes", type=Path, required=True, help="the codes (Parquet)")
    args = parser.parse_args(argv)
    if args.seed < 0:
        raise UserError(f"--seed: {args.seed} is below 0")
    if args.output.resolve() == args.codes.resolve():
        raise UserError(f"--codes: {args.codes} is --output too")
    fit_streamed(opened(args.inputs), args.representation, args.seed, args.output, args.codes)


if __name__ == "__main__":
    sys.exit(stage.run(main))
