"""What the figures of trained networks draw: crossover, accuracies, chance."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import stage
from pipeline.plots import snn_energy, snn_memory
from pipeline.store import write_parquet


def row(variant: str, task: str, metric: str, value: float, rate: float | None = None, seed: int = 0) -> dict:
    names = {"network": "popspike", "variant": variant, "size": "small", "search": ""}
    return {**names, "task": task, "metric": metric, "seed": seed, "value": value, "spike_rate": rate}


ENERGY = [
    row("spiking", "energy", "memory_pj", 3000.0, 0.2),
    row("spiking", "energy", "idle_memory_pj", 1000.0, 0.2),
    row("dense", "energy", "memory_pj", 2000.0),
    row("spiking", "energy", "memory_pj_int8", 500.0, 0.2),  # its pair is missing
]


def test_the_cross_is_where_the_lines_meet() -> None:
    found = snn_energy.pairs(ENERGY)
    assert list(found["popspike, small"]) == [""]
    assert found["popspike, small"][""] == pytest.approx((3000, 1000, 0.2, 2000))
    axes = snn_energy.snn_energy(found).axes[0]
    (cross,) = (line for line in axes.lines if line.get_marker() == "x")
    assert (cross.get_xdata(), cross.get_ydata()) == (pytest.approx(0.1), pytest.approx(2.0))
    line = axes.lines[0]
    assert line.get_ydata()[0] == pytest.approx(1.0)


def test_no_cross_where_idle_takes_more() -> None:
    axes = snn_energy.snn_energy({"a": {"": snn_energy.Pair(3000, 2500, 0.2, 2000)}}).axes[0]
    assert not [line for line in axes.lines if line.get_marker() == "x"]


def test_memory_has_each_seed_their_mean_and_chance() -> None:
    rows = [
        row("spiking", f"store_recall_{d}", "accuracy", 1 - d / 100 - s / 10, seed=s) for d in (8, 0) for s in (0, 1)
    ]
    found = snn_memory.curves([*rows, *ENERGY])
    assert found == {"spiking": {8: [0.92, 0.92 - 0.1], 0: [1.0, 0.9]}}
    line, dots, chance = snn_memory.snn_memory(found).axes[0].lines
    assert list(line.get_xdata()) == [0, 8]
    assert list(line.get_ydata()) == pytest.approx([0.95, 0.87])
    assert len(dots.get_xdata()) == 4
    assert chance.get_ydata()[0] == 1 / 64


@pytest.mark.parametrize("module", [snn_energy, snn_memory])
def test_empty_and_unknown_tables(module, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "snn.parquet", pa.Table.from_pylist(ENERGY[:1]))
    arguments = ["--measurements", str(tmp_path / "snn.parquet"), "--output", str(tmp_path / "figure")]
    assert stage.run(module.main, arguments) == 0
    assert (tmp_path / "figure.png").stat().st_size > 1000
    write_parquet(tmp_path / "snn.parquet", pa.Table.from_pylist([{"network": "x"}]))
    assert stage.run(module.main, arguments) == 1
    assert "snn.parquet: no column" in capsys.readouterr().err
