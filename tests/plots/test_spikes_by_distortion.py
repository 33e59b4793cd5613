"""The picture of spikes: what is drawn, and that another file is refused."""

import pytest

from pipeline import stage
from pipeline.plots.measurements import Row, Score
from pipeline.plots.spikes import main
from pipeline.plots.spikes_by_distortion import read_bound, spikes_by_distortion
from pipeline.stage import UserError

BOUND = """embedding,slots,signed,relative_mse,least_spikes_per_value
minilm,16,False,0.1,0.5
minilm,16,False,0.01,1
minilm,16,True,0.1,0.3
"""


def some_row(spikes, error):
    return {
        "spikes_per_value": {0: Score(spikes)},
        "relative_mse": {0: Score(error)},
        "bytes_per_vector": {0: Score(9)},
    }


def test_codes_stand_at_their_spikes_and_the_line_beside_them(tmp_path):
    (tmp_path / "bound.csv").write_text(BOUND)
    bound = read_bound(tmp_path / "bound.csv")
    assert bound == {"minilm": {(16, False): [(0.5, 10.0), (1.0, 20.0)], (16, True): [(0.3, 10.0)]}}
    rows = {
        Row("phase_4", "spikes", "decoded"): some_row(2, 0.01),
        Row("carried_8:binary:sign", "spikes", "decoded"): some_row(0.5, 0.1),
        Row("int8", "scalar", "decoded"): {"bytes_per_vector": {0: Score(9)}, "relative_mse": {0: Score(0.1)}},
    }
    (axes,) = spikes_by_distortion({"minilm": rows}, bound).axes
    markers = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() not in ("None", None, "")}
    assert markers == {(2.0, 20.0), (0.5, 10.0)}
    assert [line.get_xydata().tolist() for line in axes.lines[-2:]] == [[[0.5, 10], [1, 20]], [[0.3, 10]]]
    assert {text.get_text() for text in axes.texts} == {"phase_4", "carried_8: sign"}


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("embedding,slots\nminilm,1\n")
    with pytest.raises(UserError, match=r"other\.csv: is not spike_bound\.csv"):
        read_bound(tmp_path / "other.csv")
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        read_bound(tmp_path / "none.csv")


def test_the_stage_draws_a_table_without_spikes_too(rows, write, tmp_path):
    (tmp_path / "bound.csv").write_text(BOUND)
    arguments = ["--benchmarks", str(write(rows)), "--bound", str(tmp_path / "bound.csv")]
    assert stage.run(main, [*arguments, "--output", str(tmp_path / "spikes")]) == 0
    assert sorted(path.name for path in tmp_path.glob("spikes.*")) == ["spikes.png", "spikes.svg"]
