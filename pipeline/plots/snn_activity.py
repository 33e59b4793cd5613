"""Stage: what the neurons of a trained network did on one input, drawn.

    python -m pipeline.plots.snn_activity --recording results/snn/activity/spikformer.safetensors \\
        --output results/figures/snn_spikformer

Takes a file of pipeline/recording.py; makes PNG and SVG of <output>_raster, <output>_membrane and, of a network that
attends, <output>_attention.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline import recording, stage
from pipeline.plots import style
from pipeline.plots.snn_attention import snn_attention
from pipeline.plots.snn_membrane import snn_membrane
from pipeline.plots.snn_raster import snn_raster
from pipeline.store import with_ending


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--recording", type=Path, required=True, help="what a network's activity stage made")
    parser.add_argument("--output", type=Path, required=True, help="figures to make, without _raster and suffix")
    arguments = parser.parse_args(argv)
    found = recording.read(arguments.recording)
    figures = {"raster": snn_raster(found), "membrane": snn_membrane(found)}
    if found.attention:
        figures["attention"] = snn_attention(found)
    for name, figure in figures.items():
        target = with_ending(arguments.output, f"_{name}")
        for path in style.write(figure, target):
            stage.log.info("wrote %s", path)


if __name__ == "__main__":
    sys.exit(stage.run(main))
