"""Energies worked out by hand."""

import pytest

from pipeline.snn import energy, measurements
from pipeline.snn.energy import FLOAT32, INT8
from pipeline.snn.layer import Layer


def test_a_read_costs_by_the_size_of_the_memory() -> None:
    # 32 bits are half of 64; 2048 float32 are 8 KB.
    assert energy.access(32, 2048) == 5
    assert energy.access(32, 2049) == 10
    assert energy.access(8, 32 << 10) == 20 / 8
    assert energy.access(32, 1 << 18) == 50
    assert energy.access(32, (1 << 18) + 1) == 650


def test_synaptic_operation() -> None:
    """An addition; a weight read from 32 KB, a state read and written in 8 KB."""
    one = Layer(accumulates=10, weights=8192, state=256)
    assert energy.layer(one, FLOAT32) == pytest.approx((9, 9 + 10 * (10 + 2 * 5)))
    assert energy.layer(one, INT8) == pytest.approx((1, 1 + 10 * (10 / 8 + 2 * 5)))


def test_a_spike_that_carries_a_number_multiplies_and_reads_as_any_other() -> None:
    one, product = Layer(accumulates=10, weights=8192, state=256), Layer(products=10, weights=8192, state=256)
    added, multiplied = energy.layer(one, FLOAT32), energy.layer(product, FLOAT32)
    assert multiplied == pytest.approx((46, 46 + added.memory - added.compute))
    assert energy.costs({"a": product, "b": Layer(neurons=5)}, 2, 1)["synaptic_operations"] == 5


def test_dense_layer_reads_a_weight_once_for_its_rows() -> None:
    one = Layer(macs=32 * 8192, values=100, weights=8192)
    assert energy.layer(one, FLOAT32).compute == pytest.approx(32 * 8192 * 4.6)
    assert energy.layer(one, FLOAT32).memory == pytest.approx(32 * 8192 * 4.6 + 8192 * 10 + 100 * 10)
    assert energy.layer(one, INT8).compute == pytest.approx(32 * 8192 * 0.3)


def test_neurons() -> None:
    one = Layer(updates=7, spikes=3, state=100)
    assert energy.layer(one, FLOAT32) == pytest.approx((7 * 5.5, 7 * (5.5 + 10)))


def test_a_state_that_decays_alone_is_multiplied_read_and_written() -> None:
    one = Layer(decays=7, state=100)
    assert energy.layer(one, FLOAT32) == pytest.approx((7 * 3.7, 7 * (3.7 + 10)))
    assert energy.layer(one, INT8) == pytest.approx((7 * 3.1, 7 * (3.1 + 10)))


def test_rows_are_per_sample_and_fit_the_table() -> None:
    layers = {
        "a": Layer(accumulates=20, products=10, weights=10, state=2),
        "b": Layer(updates=40, neurons=20, spikes=5, state=2),
    }
    found = energy.rows(layers, 10, 4, network="popspike", variant="spiking", size="small", seed=0)
    table = measurements.table(found)
    values = dict(zip(table["metric"].to_pylist(), table["value"].to_pylist(), strict=True))
    assert values["compute_pj"] == pytest.approx(2 * 0.9 + 4.6 + 4 * 5.5)
    assert values["idle_compute_pj"] == pytest.approx(4 * 5.5)
    assert values["memory_pj"] - values["idle_memory_pj"] == pytest.approx(2 * 0.9 + 4.6 + 3 * 15)
    assert len(values) == 8
    row = table.to_pylist()[0]
    assert (row["spike_rate"], row["synaptic_operations"], row["timesteps"]) == (0.25, 3, 4)
    assert row["energy_memory_pj"] == pytest.approx(values["memory_pj"])


def test_a_dense_network_has_no_spikes() -> None:
    found = energy.costs({"a": Layer(macs=4, weights=4)}, 1, None)
    assert found["spike_rate"] is found["synaptic_operations"] is None


def test_crossover_is_where_the_line_meets_the_dense_network() -> None:
    rate = energy.crossover(measured=30, idle=10, rate=0.2, dense=20)
    assert rate == pytest.approx(0.1)
    assert energy.crossover(measured=30, idle=21, rate=0.2, dense=20) is None
    assert energy.crossover(measured=11, idle=10, rate=0.2, dense=20) == pytest.approx(2)  # no rate takes as much
    assert energy.crossover(measured=10, idle=10, rate=0.0, dense=20) is None
