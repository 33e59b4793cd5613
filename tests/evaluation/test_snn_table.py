"""Means, Student's intervals and crossovers of results/snn.csv."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import stage
from pipeline.evaluation import snn_table
from pipeline.snn import measurements

KEY = {"network": "popspike", "variant": "spiking", "size": "small", "task": "store_recall_8", "metric": "accuracy"}


def run(folder: Path, *parts: list[dict]) -> int:
    paths = []
    for number, rows in enumerate(parts):
        paths.append(str(folder / f"part{number}.parquet"))
        pq.write_table(measurements.table(rows), paths[-1])
    return stage.run(snn_table.main, ["--measurements", *paths, "--output", str(folder / "snn")])


def test_an_output_keeps_what_stands_behind_a_dot(tmp_path: Path) -> None:
    measured, output = tmp_path / "part.parquet", tmp_path / "snn.v1"
    pq.write_table(measurements.table([{**KEY, "seed": 0, "value": 0.5}]), measured)
    assert stage.run(snn_table.main, ["--measurements", str(measured), "--output", str(output)]) == 0
    assert sorted(path.name for path in tmp_path.glob("snn*")) == ["snn.v1.csv", "snn.v1.parquet"]


def lines(folder: Path) -> list[dict[str, str]]:
    with open(folder / "snn.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_is_the_mean_over_seeds_with_students_interval(tmp_path: Path) -> None:
    rows = [{**KEY, "seed": s, "value": v, "parameters": 10, "spike_rate": v} for s, v in enumerate((0.1, 0.2, 0.6))]
    dense = [{**KEY, "variant": "dense", "seed": 0, "value": 0.5}]
    assert run(tmp_path, rows, dense) == 0
    first, second = lines(tmp_path)
    assert (first["value"], first["seeds"], first["parameters"], first["timesteps"]) == ("0.3", "3", "10", "")
    half = 4.302653 * 0.2645751 / 3**0.5  # t(2) s / sqrt(n)
    assert float(first["value_t_low"]) == pytest.approx(0.3 - half, rel=1e-4)
    assert float(first["value_t_high"]) == pytest.approx(0.3 + half, rel=1e-4)
    assert (second["variant"], second["value_t_low"], second["seeds"]) == ("dense", "", "1")
    assert pq.read_table(tmp_path / "snn.parquet").num_rows == 4


def test_crossovers_are_solved_beside_the_dense_pair_alone(tmp_path: Path) -> None:
    at = {**KEY, "task": "energy", "seed": 0, "spike_rate": 0.2}
    rows = [
        {**at, "metric": "memory_pj", "value": 30.0},
        {**at, "metric": "idle_memory_pj", "value": 10.0},
        {**at, "metric": "compute_pj", "value": 5.0},
        {**at, "metric": "idle_compute_pj", "value": 4.0},
        {**at, "variant": "dense", "metric": "memory_pj", "value": 20.0, "spike_rate": None},
        {**at, "variant": "dense", "metric": "compute_pj", "value": 3.0, "spike_rate": None},
        {**at, "variant": "dense", "network": "spikformer", "metric": "memory_pj", "value": 1.0},
    ]
    assert run(tmp_path, rows) == 0
    found = {row["metric"]: row["value"] for row in lines(tmp_path) if "crossover" in row["metric"]}
    assert found == {"crossover_memory_pj": "0.1"}


def test_refuses_what_was_measured_twice_and_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {**KEY, "seed": 0, "value": 1.0}
    assert run(tmp_path, [row], [row]) == 1
    assert "measured twice: popspike spiking small store_recall_8 accuracy, seed 0" in capsys.readouterr().err
    pq.write_table(measurements.table([row]).drop_columns(["seed"]), tmp_path / "other.parquet")
    arguments = ["--measurements", str(tmp_path / "other.parquet"), "--output", str(tmp_path / "snn")]
    assert stage.run(snn_table.main, arguments) == 1
    assert "other.parquet: its columns" in capsys.readouterr().err
    assert not (tmp_path / "snn.csv").exists()


@pytest.mark.parametrize("name", ["value", "seed", "task"])
def test_refuses_a_row_that_lacks_what_each_has(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, [{**KEY, "seed": 0, "value": 1.0, name: None}]) == 1
    assert f"part0.parquet: a row without '{name}'" in capsys.readouterr().err


def test_refuses_a_column_of_another_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = measurements.table([{**KEY, "seed": 0, "value": 1.0}])
    place = made.schema.get_field_index("value")
    pq.write_table(made.set_column(place, "value", pa.array(["high"])), tmp_path / "other.parquet")
    arguments = ["--measurements", str(tmp_path / "other.parquet"), "--output", str(tmp_path / "snn")]
    assert stage.run(snn_table.main, arguments) == 1
    assert "other.parquet: its columns" in capsys.readouterr().err
