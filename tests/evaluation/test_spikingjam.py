import numpy as np
import pyarrow as pa
import pytest

from pipeline.codecs.fit import fit_module
from pipeline.evaluation.spikingjam import rows
from pipeline.manifest import read_manifest
from pipeline.snn import spikingjam_operations
from pipeline.snn.energy import FLOAT32
from pipeline.snn.layer import Layer
from pipeline.spikes.train import SpikeTrain
from pipeline.split import split
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, unit_rows

NAMES = ["spikingjam_exact_4x4_4", "spikingjam_8_1", "spikingjam_8_2", "spikingjam_2x4_1"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    x = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)
    table = EmbeddingTable([f"w{i}" for i in range(120)], x, {})
    folder = tmp_path_factory.mktemp("codecs") / "spikingjam"
    fit_module(table, "spikingjam", NAMES, [0], folder, {"steps": 10})
    known = [("spikes_per_value", 1.5), ("knn10_overlap", 0.5), ("relative_mse", 0.25)]
    long = [
        {"representation": name, "seed": 0, "search": "decoded", "metric": metric, "value": value}
        for name in NAMES
        for metric, value in known
    ]
    return unit_rows(x), folder, array_digest(x), long


@pytest.fixture(scope="module")
def found(fitted):
    unit, folder, digest, long = fitted
    return rows(unit, "some", folder, digest, pa.Table.from_pylist(long), [0], 20)


def test_a_row_a_measurement_and_the_controls(found):
    values = {(row["size"], row["variant"], row["metric"]): row["value"] for row in found if row["task"] == "some"}
    assert values["spikingjam_exact_4x4_4", "exact", "knn10_overlap"] == 0.5
    assert values["spikingjam_8_2", "spiking", "relative_mse"] == 0.25
    assert values["spikingjam_2x4_1", "population", "relative_mse"] == 0.25
    controls = {(size, variant) for size, variant, _ in values if variant not in ("exact", "spiking", "population")}
    of_one_budget = {("spikingjam_8_1", variant) for variant in ("untrained", "without_attention", "dense")}
    assert controls == of_one_budget | {("spikingjam_2x4_1", "population_untrained")}
    assert values["spikingjam_8_1", "dense", "relative_mse"] < 1e-9
    assert values["spikingjam_8_1", "dense", "knn10_overlap"] == 1
    for control in (("spikingjam_8_1", "untrained"), ("spikingjam_2x4_1", "population_untrained")):
        assert 1e-4 < values[*control, "relative_mse"] < 0.5
    assert {row["spikes_per_value"] for row in found if row["variant"] == "exact" and row["task"] == "some"} == {1.5}


def counted(fitted, name):
    """What is known of a codec's spikes on the test rows, from its dense spikes [T, n, P]."""
    unit, folder, digest, _ = fitted
    codec, test = read_manifest(folder).codec(name, 0, digest), unit[split(120, 0).test]
    train = codec.spike_train(codec.encode(test))
    return codec, train, np.abs(train.to_dense()), len(test)


def test_operations_of_an_exact_code(fitted, found):
    _, _, dense, n = counted(fitted, "spikingjam_exact_4x4_4")
    row = next(row for row in found if row["variant"] == "exact" and row["task"] == "some")
    assert row["synaptic_operations"] == pytest.approx(dense.sum() / n)
    assert row["spike_rate"] == pytest.approx(dense.mean())
    updates = 8 * 4 * 4
    compute = 16 * FLOAT32.mac + updates * (FLOAT32.multiply_state + 2 * FLOAT32.add) + dense.sum() / n * FLOAT32.add
    assert row["energy_compute_pj"] == pytest.approx(compute)


def test_operations_of_a_population(fitted):
    codec, train, dense, n = counted(fitted, "spikingjam_2x4_1")
    counts = dense.sum(axis=0)
    layers = spikingjam_operations.spiking(codec, train, 8)
    assert layers["inhibition"].products == dense.sum() * 16  # one group of 8 values
    assert layers["attention"].accumulates == np.square(counts).sum()
    assert layers["reading"].products == np.count_nonzero(counts) * 8
    assert layers["drive"].macs == layers["reading_axes"].macs == n * 64
    assert layers["directions"].macs == n * 16 * 8
    silent = spikingjam_operations.spiking(codec, SpikeTrain(train.packed * 0, 16), 8)
    assert not any(layer.accumulates + layer.products for layer in silent.values())
    other = spikingjam_operations.dense(codec, n, 8)
    assert sum(one.macs for one in other.values()) == n * 2 * (64 + 128)


def test_a_learned_code_reads_a_row_of_its_decoder_for_each_neuron_that_fired(fitted):
    codec, train, dense, _ = counted(fitted, "spikingjam_8_1")
    reading = spikingjam_operations.spiking(codec, train, 8)["reading"]
    assert reading == Layer(products=np.count_nonzero(dense.sum(axis=0)) * 8, weights=64, state=8)


def test_energy_beside_a_dense_network_and_the_rate_at_which_both_take_the_same(found):
    energies = [row for row in found if row["task"] == "energy_some"]
    assert {(row["size"], row["variant"]) for row in energies} == {
        (NAMES[0], "exact"),
        *((name, variant) for name in NAMES[1:3] for variant in ("spiking", "dense")),
        *((NAMES[3], variant) for variant in ("population", "dense")),
    }
    of = {(row["variant"], row["metric"]): row for row in energies if row["size"] == "spikingjam_8_1"}
    assert of["dense", "compute_pj"]["value"] == pytest.approx(2 * 64 * FLOAT32.mac)
    assert of["spiking", "compute_pj"]["spikes_per_value"] == pytest.approx(
        8 * of["spiking", "compute_pj"]["spike_rate"]  # a neuron a value, eight steps
    )
    neurons = 8 * 8 * (FLOAT32.multiply_state + 2 * FLOAT32.add)  # the decoder is not read where no neuron fires
    assert of["spiking", "idle_compute_pj"]["value"] == pytest.approx(64 * FLOAT32.mac + neurons)
    for metric in ("compute_pj", "memory_pj", "compute_pj_int8", "memory_pj_int8"):
        spiking, idle, dense = (
            of[key]["value"] for key in (("spiking", metric), ("spiking", f"idle_{metric}"), ("dense", metric))
        )
        assert idle < spiking
        if (crossover := of.get(("spiking", f"crossover_{metric}"))) is not None:
            share = crossover["value"] / of["spiking", metric]["spike_rate"]
            assert idle + share * (spiking - idle) == pytest.approx(dense)
        else:
            assert idle >= dense


def test_codecs_that_were_not_measured_are_named(fitted):
    unit, folder, digest, long = fitted
    some = pa.Table.from_pylist([row for row in long if row["representation"] != "spikingjam_8_2"])
    with pytest.raises(UserError, match="spikingjam_8_2, seed 0: codecs that the metrics file did not measure"):
        rows(unit, "some", folder, digest, some, [0], 20)


def test_codecs_of_another_family_are_named(fitted, tmp_path):
    unit, folder = fitted[0], tmp_path / "binary"
    fit_module(EmbeddingTable([f"w{i}" for i in range(len(unit))], unit, {}), "binary", ["sign"], [0], folder)
    long = [{"representation": "sign", "seed": 0, "search": "decoded", "metric": "spikes_per_value", "value": 1.0}]
    with pytest.raises(UserError, match="sign is no codec of SpikingJam"):
        rows(unit, "some", folder, array_digest(unit), pa.Table.from_pylist(long), [0], 20)
