"""Decode a folder of spike events that `pipeline.spikes.encode` made.

    python -m pipeline.spikes.decode --events minilm_phase_8 \\
        --codec results/codecs/minilm/phase/phase_8/seed-0.safetensors --output minilm.npy

Takes:  the folder and the very codec that it was made by: the files hold its digest.
Makes:  an array float32 [n, d] in NumPy's .npy format, rows in the order of the folder, unit as they were encoded
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline import stage
from pipeline.spikes import event_files
from pipeline.spikes.encode import check_apart, load
from pipeline.store import atomic_file, digest


def decode(folder: Path, codec_path: Path, output: Path) -> int:
    """Write the vectors, some at a time; returns how many there are.

    Raises UserError, naming the file, for events of another codec, cut short or altered, and for an output among them.
    """
    check_apart([folder, codec_path], output)
    codec = load(codec_path)
    expected = {"representation": codec.name, "codec": digest(codec_path)}
    total, done = event_files.describe_folder(folder, expected)[0].header.vectors, 0
    progress = stage.progress(event_files.read(folder, expected), f"decode {codec.name}", unit=" blocks")
    with atomic_file(output) as temporary, open(temporary, "wb") as file:
        for train in progress:
            x = np.ascontiguousarray(codec.decode(codec.codes(train)), "<f4")
            if not done:
                header = {"descr": "<f4", "fortran_order": False, "shape": (total, x.shape[1])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(x.data)
            done += len(x)
    return done


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--events", type=Path, required=True, help="folder of shards")
    parser.add_argument("--codec", type=Path, required=True, help="the spike code that made them (safetensors)")
    parser.add_argument("--output", type=Path, required=True, help="array to make (.npy)")
    args = parser.parse_args(argv)
    stage.log.info("%s: %d vectors", args.output, decode(args.events, args.codec, args.output))


if __name__ == "__main__":
    sys.exit(stage.run(main))
