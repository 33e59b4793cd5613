"""Encode any number of vectors as spike events on disk, by a fitted spike code.

    python -m pipeline.spikes.encode --vectors data/embeddings/minilm.parquet \\
        --codec results/codecs/minilm/phase/phase_8/seed-0.safetensors --output minilm_phase_8

Takes:  Parquet (a file, folder or pattern) with a column `vector`, as an embedding table has, or an array in NumPy's
        .npy format; and a codec of pipeline/spikes. Rows are made unit, as those that it was fitted on.
Makes:  a folder of shards, a row a vector in the order given (`event_files`); `pipeline.spikes.decode` reads it back.
        An earlier folder of events there is replaced, anything else refused.

Some hundred rows are in memory at a time, however many there are. After kill -9 the same command goes on behind the
last whole shard.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline import codec as codecs
from pipeline import stage
from pipeline.codec import Array, Ranged
from pipeline.embeddings import streamed
from pipeline.embeddings.streamed import Inputs
from pipeline.spikes import event_files
from pipeline.spikes.event_files import Block, Header
from pipeline.spikes.integer_code import SpikeCode
from pipeline.stage import UserError
from pipeline.store import digest, unit_rows

BLOCK_SLOTS = 1 << 22  # that are encoded at a time; one vector at least


def load(path: str | Path) -> SpikeCode:
    """A fitted spike code. Raises UserError, naming the file, for any other codec."""
    codec = codecs.load(path)
    if not isinstance(codec, SpikeCode):
        raise UserError(f"{path}: {codec.name} is no spike code")
    return codec


def check_apart(inputs: Iterable[str | Path], output: Path) -> None:
    """Raises UserError for an output that is an input, holds one or lies in one: it would take that one's place."""
    place = output.resolve()
    for given in inputs:
        taken = Path(given).resolve()
        if place == taken or place in taken.parents or taken in place.parents:
            raise UserError(f"{output}: is, holds or lies in the input {given}; give another place")


def encode(inputs: Inputs, codec_path: Path, output: Path, shard_rows: int | None = None) -> int:
    """Write the events of all rows; returns how many values the code clipped.

    Raises UserError for a codec that is no spike code or of other dimensions, for an output among the inputs, and,
    naming file and row, for rows that cannot be encoded.
    """
    check_apart([*inputs.paths, *inputs.files, codec_path], output)
    codec = load(codec_path)
    header = Header(
        *(codec.neurons, codec.timesteps, codec.signed, inputs.rows, codec.name),
        codec=digest(codec_path),
        inputs=" ".join(digest(file) for file in inputs.files),
    )
    return event_files.write(output, header, lambda first: blocks(inputs, codec, first), shard_rows)


def blocks(inputs: Inputs, codec: SpikeCode, first: int = 0) -> Iterator[Block]:
    """The trains of all rows from the one numbered `first` on, some at a time."""
    rows = max(1, BLOCK_SLOTS // max(1, codec.neurons * codec.timesteps))
    seen = 0
    for block in stage.progress(inputs.blocks(), f"encode {codec.name}", unit=" blocks"):
        for start in range(max(0, first - seen), len(block.vectors), rows):
            try:
                yield _block(codec, unit_rows(block.vectors[start : start + rows]))
            except UserError as error:
                raise UserError(f"{block.file}: counted from row {block.numbers[start]}: {error}") from None
        seen += len(block.vectors)


def _block(codec: SpikeCode, x: Array) -> Block:
    train = codec.spike_train(codec.encode(x))
    return Block(train, codec.outside(x).sum(axis=1) if isinstance(codec, Ranged) else None)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--vectors", required=True, help="Parquet file, folder or pattern; or one .npy")
    parser.add_argument("--codec", type=Path, required=True, help="fitted spike code (safetensors)")
    parser.add_argument("--output", type=Path, required=True, help="folder of shards to make")
    parser.add_argument("--shard-rows", type=int, help="vectors a shard; if not given, 65,536 or fewer of many slots")
    args = parser.parse_args(argv)
    inputs = streamed.opened([args.vectors])
    clipped = encode(inputs, args.codec, args.output, args.shard_rows)
    stage.log.info("%s: %d vectors; values clipped to the range of the code: %d", args.output, inputs.rows, clipped)


if __name__ == "__main__":
    sys.exit(stage.run(main))
