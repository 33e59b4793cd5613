import math

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.image import imread

from pipeline import stage
from pipeline.plots.compression import main
from pipeline.plots.distortion_by_bytes import distortion_by_bytes, read_reference, signal_to_noise
from pipeline.plots.measurements import Row, Score
from pipeline.plots.stream_by_tokens import Part
from pipeline.stage import UserError
from pipeline.store import write_parquet

LEDGER = "embedding,payload_bytes_per_vector,reference_db\nminilm,64,-11\nminilm,32,-7\nminilm,8,\n"


def some_row(size, error):
    return {"bytes_per_vector": {0: Score(size)}, "relative_mse": {0: error}}


def test_a_tenth_of_the_error_is_ten_decibels_more():
    found = signal_to_noise(some_row(8, Score(0.1, 0.01, 0.2)))
    assert found.value == pytest.approx(10)
    assert (found.low, found.high) == pytest.approx((-10 * math.log10(0.2), 20))


def test_what_is_exact_or_beyond_fifty_decibels_is_left_out():
    assert signal_to_noise(some_row(8, Score(0.0))) is None
    assert signal_to_noise(some_row(8, Score(0.9e-5))) is None
    assert signal_to_noise(some_row(8, Score(1.1e-5))) is not None
    assert signal_to_noise({}) is None


def test_the_reference_is_drawn_as_it_stands_in_the_ledger(tmp_path):
    (tmp_path / "ledger.csv").write_text(LEDGER)
    reference = read_reference(tmp_path / "ledger.csv")
    assert reference == {"minilm": [(32.0, 7.0), (64.0, 11.0)]}
    rows = {
        Row("a", "scalar", "decoded"): some_row(64, Score(0.1)),
        Row("b", "faiss", "decoded"): some_row(32, Score(0.5)),
    }
    (axes,) = distortion_by_bytes({"minilm": rows}, reference).axes
    assert axes.lines[-1].get_xydata().tolist() == [[32, 7], [64, 11]]
    assert max(axes.get_yticks()) >= 9  # decibels do not end at 1, as shares do


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("embedding,reference_db\nminilm,1\n")
    with pytest.raises(UserError, match=r"other\.csv: is not the ledger"):
        read_reference(tmp_path / "other.csv")
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        read_reference(tmp_path / "none.csv")


@pytest.mark.parametrize("with_stream", [True, False])
def test_the_stage_writes_every_figure_twice(rows, write, tmp_path, with_stream):
    (tmp_path / "ledger.csv").write_text(LEDGER)
    few = [row for row in rows if row["embedding"] == "minilm"]
    for row in few[:]:
        if row["metric"] == "knn10_overlap":
            error = 1.01 - row["value"]
            few.append({**row, "metric": "relative_mse", "value": error, "ci_low": error, "ci_high": error})
    part = Part("own", "PPMd", "float32", 684, 5000, 5000, 10_000, 900.0, True)
    write_parquet(tmp_path / "stream.parquet", pa.Table.from_pylist([part._asdict()]))
    arguments = ["--benchmarks", str(write(few)), "--ledger", str(tmp_path / "ledger.csv")]
    arguments += ["--stream", str(tmp_path / "stream.parquet")] if with_stream else []
    assert stage.run(main, [*arguments, "--output", str(tmp_path / "figures")]) == 0
    names = ["distortion_by_bytes", *(["stream_by_tokens"] if with_stream else [])]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    )
    for name in names:
        picture = np.asarray(imread(tmp_path / "figures" / f"{name}.png"))[..., :3]
        assert (picture < 0.99).any(axis=2).mean() > 0.01


@pytest.mark.parametrize("name", ["distortion_by_bytes", "stream_by_tokens", "compression", "stream"])
def test_everything_has_a_caption(name, request):
    assert len((request.config.rootpath / "workflow" / "report" / f"{name}.rst").read_text().split()) > 50
