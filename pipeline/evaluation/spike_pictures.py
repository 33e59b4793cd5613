"""Draw spikes themselves: ten words as a raster, a population's tuning curves, values before and after.

    python -m pipeline.evaluation.spike_pictures --embedding data/embeddings/minilm.parquet \\
        --codecs results/codecs/minilm/phase results/codecs/minilm/population --output results/figures

Makes <output>/spike_raster, tuning_curves and spike_fidelity, each as .png (200 dpi) and .svg, of the first seed's
codecs. The raster is that of the code that has the most steps, of those with at most RASTER_STEPS and neurons of its
own for each value, and of these of the fewest spikes. Tuning curves are those of the first population code; where there
is none, the picture says so.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline import stage
from pipeline.codec import Array
from pipeline.evaluation import fidelity
from pipeline.manifest import read_manifest
from pipeline.plots import style
from pipeline.plots.raster import raster
from pipeline.plots.spike_fidelity import Decoded, spike_fidelity
from pipeline.plots.tuning_curves import Response, tuning_curves
from pipeline.spikes.integer_code import SpikeCode
from pipeline.spikes.population import Population, activity
from pipeline.split import Split, check_rows, split
from pipeline.stage import UserError
from pipeline.store import array_digest, read_embedding, unit_rows

WORDS = 10
RASTER_STEPS = 32
SHOWN_ROWS = 200  # test rows whose values are drawn before and after
CURVE_POINTS = 2000
EXAMPLE = 0.3  # where in the range of its dimension the value is whose spikes are drawn beside the tuning curves


def spike_codes(folders: Sequence[Path], digest: str) -> tuple[int, dict[str, SpikeCode]]:
    """The first seed, and its fitted spike codes by name, in the order of the folders.

    Raises UserError for folders of different seeds, and for what is no folder of spike codes fitted on these vectors.
    """
    found: dict[str, SpikeCode] = {}
    first: int | None = None
    for folder in folders:
        manifest = read_manifest(folder)
        if first is not None and manifest.seeds[0] != first:
            raise UserError(f"{folder}: its first seed is {manifest.seeds[0]}, that of {folders[0]} is {first}")
        first = manifest.seeds[0]
        for name in manifest.files:
            codec = manifest.codec(name, first, digest)
            if not isinstance(codec, SpikeCode):
                raise UserError(f"{folder}: {name} is no spike code")
            found[name] = codec
    if first is None:
        raise UserError("--codecs: no folder was given")
    return first, found


def raster_of(codes: Mapping[str, SpikeCode], words: Sequence[str], unit: Array) -> Figure:
    """The first words of the table, by the code that the module's docstring says; by any, if there is no such code."""
    trains = {name: codec.spike_train(codec.encode(unit[:WORDS])) for name, codec in codes.items()}
    able = [name for name in codes if trains[name].timesteps <= RASTER_STEPS and codes[name].neurons == unit.shape[1]]
    name = min(able or codes, key=lambda name: (-trains[name].timesteps, trains[name].spikes))
    return raster(trains[name].to_dense(), list(words[:WORDS]), f"Ten words as spikes: {name}")


def curves_of(codes: Mapping[str, SpikeCode], unit: Array) -> Figure:
    """The first population's answer to one value of the dimension that varies most, the others being as in a row."""
    populations = [codec for codec in codes.values() if isinstance(codec, Population)]
    if not populations:
        figure = style.sheet("Tuning curves", style.WIDTH_INCHES, 2.0)
        style.note(figure.add_subplot(), "no population code was fitted")
        return figure
    codec = populations[0]
    dimension = int(np.argmax(codec.shared["step"]))
    zero, step = (float(codec.shared[name][dimension]) for name in ("zero", "step"))
    row = unit[:1].copy()
    row[0, dimension] = zero + EXAMPLE * step
    codes_of_row = codec.encode(row)
    dense = codec.spike_train(codes_of_row).to_dense()[:, 0]
    own = slice(dimension * codec.population, (dimension + 1) * codec.population)
    grid = np.linspace(0, 1, CURVE_POINTS, dtype=np.float32)
    centres = np.linspace(zero, zero + step, codec.population)
    value, decoded = float(row[0, dimension]), float(codec.decode(codes_of_row)[0, dimension])
    curves = zero + grid * step, activity(grid, codec.population), centres
    return tuning_curves(Response(codec.name, *curves, dense[:, own], value, decoded))


def before_and_after(codes: Mapping[str, SpikeCode], unit: Array, parts: Split) -> Iterator[tuple[str, Decoded]]:
    """Test rows, which no code was calibrated on; the error is of all of them, the picture of some."""
    test, mu = unit[parts.test], unit[parts.fit].mean(axis=0, dtype=np.float64)
    for name, codec in stage.progress(codes.items(), "decode", unit="code"):
        if not codec.decodes:
            continue
        decoded = codec.decode(codec.encode(test))
        error, spread = fidelity.squared_errors(test, decoded, mu)
        yield name, Decoded(test[:SHOWN_ROWS], decoded[:SHOWN_ROWS], float(error.sum() / spread.sum()))


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--embedding", type=Path, required=True, help="embedding table")
    parser.add_argument("--codecs", nargs="+", type=Path, required=True, help="folders that pipeline.codecs.fit made")
    parser.add_argument("--output", type=Path, required=True, help="directory for the pictures")
    args = parser.parse_args(argv)
    table = read_embedding(args.embedding)
    check_rows(len(table.words), str(args.embedding))
    seed, codes = spike_codes(args.codecs, array_digest(table.vectors))
    unit = unit_rows(table.vectors)
    figures = {
        "spike_raster": raster_of(codes, table.words, unit),
        "tuning_curves": curves_of(codes, unit),
        "spike_fidelity": spike_fidelity(dict(before_and_after(codes, unit, split(len(unit), seed)))),
    }
    for name, figure in figures.items():
        stage.log.info("%s", " ".join(map(str, style.write(figure, args.output / name))))


if __name__ == "__main__":
    sys.exit(stage.run(main))
