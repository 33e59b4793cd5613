import numpy as np
import pyarrow as pa
import pytest

from pipeline.codecs.fit import fit_module
from pipeline.evaluation.spikingjam import rows
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, unit_rows


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    x = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)
    table = EmbeddingTable([f"w{i}" for i in range(120)], x, {})
    folder = tmp_path_factory.mktemp("codecs") / "spikingjam"
    names = ["spikingjam_exact_4x4_4", "spikingjam_8_1", "spikingjam_8_2"]
    fit_module(table, "spikingjam", names, [0], folder, {"steps": 10})
    known = [("spikes_per_value", 1.5), ("knn10_overlap", 0.5), ("relative_mse", 0.25)]
    long = [
        {"representation": name, "seed": 0, "search": "decoded", "metric": metric, "value": value}
        for name in names
        for metric, value in known
    ]
    return unit_rows(x), folder, array_digest(x), long


def test_a_row_a_measurement_and_the_controls_of_one_budget(fitted):
    unit, folder, digest, long = fitted
    found = rows(unit, "some", folder, digest, pa.Table.from_pylist(long), [0], 20)
    values = {(row["size"], row["variant"], row["metric"]): row["value"] for row in found}
    assert values["spikingjam_exact_4x4_4", "exact", "knn10_overlap"] == 0.5
    assert values["spikingjam_8_2", "spiking", "relative_mse"] == 0.25
    controls = {(size, variant) for size, variant, _ in values if variant not in ("exact", "spiking")}
    assert controls == {("spikingjam_8_1", variant) for variant in ("untrained", "without_attention", "dense")}
    assert values["spikingjam_8_1", "dense", "relative_mse"] < 1e-9
    assert values["spikingjam_8_1", "dense", "knn10_overlap"] == 1
    assert 1e-4 < values["spikingjam_8_1", "untrained", "relative_mse"] < 0.5
    exact = next(row for row in found if row["variant"] == "exact")
    assert exact["spike_rate"] == pytest.approx(1.5 / 16)
    assert exact["synaptic_operations"] == 1.5 * 8


def test_codecs_that_were_not_measured_are_named(fitted):
    unit, folder, digest, long = fitted
    some = pa.Table.from_pylist([row for row in long if row["representation"] != "spikingjam_8_2"])
    with pytest.raises(UserError, match="spikingjam_8_2, seed 0: codecs that the metrics file did not measure"):
        rows(unit, "some", folder, digest, some, [0], 20)
