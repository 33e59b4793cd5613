"""What the figures of trained networks draw: crossover, accuracies, chance."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import stage
from pipeline.plots import snn_energy, snn_memory, snn_positions, snn_spikingjam, snn_spikingjam_energy
from pipeline.stage import UserError
from pipeline.store import write_parquet


def row(variant: str, task: str, metric: str, value: float, rate: float | None = None, seed: int = 0) -> dict:
    names = {"network": "popspike", "variant": variant, "size": "small", "search": ""}
    costs = {"spike_rate": rate, "spikes_per_value": None}
    return {**names, "task": task, "metric": metric, "seed": seed, "value": value, **costs}


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

    assert axes.get_xlim() == (0, pytest.approx(0.3))
    assert [text.get_text() for text in axes.texts] == ["float32: 0.2 measured, crossover at 0.1"]


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (snn_energy.Pair(3000, 2500, 0.2, 2000), "no crossover: idle takes more"),
        (snn_energy.Pair(1100, 1000, 0.2, 2000), "crossover above 1: it always takes less"),
        (snn_energy.Pair(1000, 1000, 0.2, 2000), "crossover above 1: it always takes less"),
        (snn_energy.Pair(1000, 1000, 0.0, 2000), "no crossover: nothing fired"),
    ],
)
def test_no_cross_where_one_always_takes_more(pair: snn_energy.Pair, why: str) -> None:
    axes = snn_energy.snn_energy({"a": {"": pair}}).axes[0]
    assert not [line for line in axes.lines if line.get_marker() == "x"]
    assert axes.texts[0].get_text().endswith(why)


def test_what_is_said_of_energy_stands_clear_of_the_lines() -> None:
    pair = snn_energy.Pair(3000, 1000, 0.2, 2000)
    figure = snn_energy.snn_energy({"a, small": {"": pair, "_int8": pair}, "b": {"": pair}})
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in (*axes.texts, axes._left_title)]  # type: ignore[attr-defined]
        inside = axes.get_window_extent()
        assert all(box.y0 >= inside.y1 for box in boxes)
        for place, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def jam(variant: str, size: str, metric: str, value: float, spikes: float | None, seed: int = 0) -> dict:
    own = {"network": "spikingjam", "variant": variant, "size": size, "spikes_per_value": spikes}
    return {**row(variant, "minilm", metric, value, seed=seed), **own}


def test_spikes_and_fidelity_are_means_over_seeds_by_spikes() -> None:
    rows = [
        *[jam("spiking", "b", "relative_mse", 1e-3 * (1 + s), 2.0 + s, s) for s in (0, 1)],
        *[jam("spiking", "a", "relative_mse", 0.5, 1.0, s) for s in (0, 1)],
        jam("dense", "a", "knn10_overlap_unseen", 1.0, None),
        jam("spiking", "a", "knn10_overlap_unseen", 0.9, 1.0),
        jam("untrained", "a", "knn10_overlap_unseen", 0.8, 1.0),
        jam("spiking", "a", "exact_codes", 0.1, 1.0),
        *ENERGY,
    ]
    found = snn_spikingjam.curves(rows)
    assert list(found) == ["minilm"]
    assert found["minilm"]["spiking", "relative_mse"] == [(1.0, 0.5), (2.5, pytest.approx(0.0015))]
    error, recall = snn_spikingjam.snn_spikingjam(found).axes
    assert [line.get_label() for line in error.lines] == ["a neuron a value, learned"]
    assert (error.get_xscale(), error.get_yscale()) == ("log", "log")
    assert [line.get_label() for line in recall.lines[:2]] == [
        "a neuron a value, learned",
        "principal axes, no attention",
    ]
    assert (list(recall.lines[1].get_xdata()), list(recall.lines[1].get_ydata())) == ([1.0], [0.8])
    assert recall.lines[2].get_ydata()[0] == 1.0


POSITIONS = """variant,task,metric,value,value_t_low,value_t_high
none,order,accuracy,0.51,0.49,0.53
phase_fixed,order,accuracy,0.8,0.75,0.85
none,language,validation_bits,8.9,8.8,9.0
phase_fixed,language,validation_bits,8.7,,
none,language,test_bits,1,1,1
"""


def test_energy_of_a_codec_beside_the_dense_network_of_its_size_and_the_spikes_at_which_they_meet() -> None:
    def energy(variant: str, size: str, metric: str, value: float, spikes: float | None, seed: int = 0) -> dict:
        rate = None if spikes is None else spikes / 10
        return {**jam(variant, size, metric, value, spikes, seed), "task": "energy_minilm", "spike_rate": rate}

    rows = [
        *[energy("spiking", "more", "memory_pj", 4e6 + 2e6 * s, 4.0, s) for s in (0, 1)],
        *[energy("spiking", "few", metric, 3e6, 2.0) for metric in ("memory_pj", "memory_pj_int8")],
        energy("spiking", "few", "crossover_memory_pj", 0.05, 2.0),
        energy("spiking", "more", "crossover_memory_pj", 0.08, 4.0),
        *[energy("dense", size, "memory_pj", 2e6, None) for size in ("few", "more")],
        energy("exact", "whole", "memory_pj", 9e6, 100.0),
        *ENERGY,
    ]
    found = snn_spikingjam_energy.points(rows)
    assert list(found) == ["minilm"]
    few, more = found["minilm"]["spiking", ""]
    assert few == pytest.approx((2.0, 3e6, 2e6, 0.5))
    assert more == pytest.approx((4.0, 5e6, 2e6, 0.8))
    assert found["minilm"]["spiking", "_int8"] == [(2.0, 3e6, None, None)]
    assert found["minilm"]["exact", ""] == [(100.0, 9e6, None, None)]
    float32, int8 = snn_spikingjam_energy.snn_spikingjam_energy(found).axes
    (cross,) = (line for line in float32.lines if line.get_marker() == "x")
    assert (cross.get_xdata(), cross.get_ydata()) == (pytest.approx([0.5]), pytest.approx([2.0]))
    assert [line.get_ydata()[0] for line in float32.lines if line.get_linestyle() == "--"] == [pytest.approx(2.0)]
    assert not [line for line in int8.lines if line.get_marker() == "x" or line.get_linestyle() == "--"]
    assert snn_spikingjam_energy.points([energy("spiking", "few", "memory_pj", 3e6, 0.0)]) == {}
    with pytest.raises(UserError, match="energy_minilm of few, seed 0: no spikes_per_value or spike_rate"):
        snn_spikingjam_energy.points([energy("spiking", "few", "memory_pj", 3e6, None)])


def test_positions_have_their_intervals_and_chance(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(POSITIONS)
    found = snn_positions.read(tmp_path / "table.csv")
    order, language = snn_positions.snn_positions(found).axes
    assert [text.get_text() for text in order.get_yticklabels()] == ["none", "phase fixed"]
    bars = [segment.tolist() for bar in order.collections for segment in bar.get_segments()]
    assert bars == [[[0.49, 0], [0.53, 0]], [[0.75, 1], [0.85, 1]]]
    dots, lines = ([line for line in order.lines if (line.get_marker() == "o") == dot] for dot in (True, False))
    assert [line.get_xdata()[0] for line in dots] == [0.51, 0.8]
    assert [line.get_xdata()[0] for line in lines] == [0.5, 0.51]  # chance, without positions
    assert len(language.collections) == 1  # one seed has no interval
    worse = [axes.patches[0].get_window_extent() for axes in (order, language)]
    assert worse[0].x0 <= order.get_window_extent().x0 + 1
    assert worse[1].x1 >= language.get_window_extent().x1 - 1


def test_another_table_is_no_table_of_positions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--table", str(tmp_path / "table.csv"), "--output", str(tmp_path / "figure")]
    assert stage.run(snn_positions.main, arguments) == 1
    assert "table.csv: cannot be read" in capsys.readouterr().err
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert stage.run(snn_positions.main, arguments) == 1
    assert "table.csv: is not snn_ablation.csv" in capsys.readouterr().err
    (tmp_path / "table.csv").write_text(POSITIONS)
    assert stage.run(snn_positions.main, arguments) == 0
    assert (tmp_path / "figure.png").stat().st_size > 10_000


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


def test_a_task_of_no_number_of_distractors_is_named() -> None:
    with pytest.raises(UserError, match="task 'store_recall_x' does not end in a number"):
        snn_memory.curves([row("spiking", "store_recall_x", "accuracy", 1.0)])


def test_what_lies_beyond_training_is_shaded() -> None:
    found = {"spiking": {4: [1.0], 16: [0.9], 32: [0.5]}}
    (patch,) = snn_memory.snn_memory(found, 16).axes[0].patches
    left, right = patch.get_extents().transformed(patch.axes.transData.inverted()).intervalx
    assert 16 < left < 32 < right
    assert not snn_memory.snn_memory(found, 32).axes[0].patches
    rows = [row("spiking", "store_recall", "longest_trained", value) for value in (16, 8)]
    assert snn_memory.longest_trained([*rows, *ENERGY]) == 8
    assert snn_memory.longest_trained(ENERGY) is None


@pytest.mark.parametrize("module", [snn_energy, snn_memory, snn_spikingjam, snn_spikingjam_energy])
def test_empty_and_unknown_tables(module, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "snn.parquet", pa.Table.from_pylist(ENERGY[:1]))
    arguments = ["--measurements", str(tmp_path / "snn.parquet"), "--output", str(tmp_path / "figure")]
    assert stage.run(module.main, arguments) == 0
    assert (tmp_path / "figure.png").stat().st_size > 1000
    write_parquet(tmp_path / "snn.parquet", pa.Table.from_pylist([{"network": "x"}]))
    assert stage.run(module.main, arguments) == 1
    assert "snn.parquet: no column" in capsys.readouterr().err
    write_parquet(tmp_path / "snn.parquet", pa.Table.from_pylist([*ENERGY, {**ENERGY[0], "value": None}]))
    assert stage.run(module.main, arguments) == 1
    assert "snn.parquet: a row without 'value'" in capsys.readouterr().err
    write_parquet(tmp_path / "snn.parquet", pa.Table.from_pylist([{**ENERGY[0], "value": "3"}]))
    assert stage.run(module.main, arguments) == 1
    assert "snn.parquet: column 'value' is string: expected float64" in capsys.readouterr().err
