"""Pictures of fitted spike codes, and folders that do not belong together."""

import numpy as np
import pytest

from pipeline import stage
from pipeline.codecs.fit import fit_module
from pipeline.evaluation.spike_pictures import before_and_after, curves_of, main, raster_of, spike_codes
from pipeline.spikes.latency import build as latency
from pipeline.spikes.phase import build as phase
from pipeline.split import split
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, array_digest, unit_rows, write_embedding

WORDS = [f"w{i}" for i in range(60)]


@pytest.fixture(scope="module")
def table():
    return EmbeddingTable(WORDS, np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32))


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    found = tmp_path_factory.mktemp("codecs")
    names = {"spike_codes": ["phase_4", "latency_9", "population_5_9", "staggered_2x3"], "scalar": ["int8"]}
    for module, representations in names.items():
        fit_module(table, module, representations, [1], found / module)
    fit_module(table, "phase", ["phase_2"], [0], found / "phase")
    return found


def test_the_raster_is_of_the_longest_code_with_a_neuron_a_value(table):
    unit = unit_rows(table.vectors)
    codes = {name: build(name, 0).fit(unit) for build, name in ((phase, "phase_4"), (latency, "latency_9"))}
    figure = raster_of(codes, table.words, unit)
    assert "latency_9" in figure.get_suptitle()
    dots = figure.axes[0].collections[0].get_offsets()
    assert len(dots) == 8  # one spike a value


def test_the_decoded_value_of_the_curves_is_the_codes_own(table, folder):
    unit = unit_rows(table.vectors)
    _, codes = spike_codes([folder / "spike_codes"], array_digest(table.vectors))
    assert "population_5_9" in curves_of(codes, unit).get_suptitle()
    assert len(curves_of({"phase_4": codes["phase_4"]}, unit).axes) == 1  # says that there is none


def test_errors_are_of_all_test_rows(table, folder):
    unit = unit_rows(table.vectors)
    seed, codes = spike_codes([folder / "spike_codes"], array_digest(table.vectors))
    parts = split(len(unit), seed)
    found = dict(before_and_after(codes, unit, parts))
    test = unit[parts.test]
    lost = np.square(test - codes["phase_4"].decode(codes["phase_4"].encode(test)), dtype=np.float64).sum()
    spread = np.square(test - unit[parts.fit].mean(axis=0), dtype=np.float64).sum()
    assert found["phase_4"].relative_mse == pytest.approx(lost / spread, rel=1e-5)


def test_folders_that_do_not_belong_here_are_refused(table, folder):
    digest = array_digest(table.vectors)
    with pytest.raises(UserError, match="scalar: int8 is no spike code"):
        spike_codes([folder / "scalar"], digest)
    with pytest.raises(UserError, match=r"phase: its first seed is 0, that of .*spike_codes is 1"):
        spike_codes([folder / "spike_codes", folder / "phase"], digest)
    with pytest.raises(UserError, match="embedding_digest"):
        spike_codes([folder / "phase"], "another")


def test_the_stage_draws_all_three(table, folder, tmp_path):
    write_embedding(tmp_path / "toy.parquet", table)
    arguments = ["--embedding", str(tmp_path / "toy.parquet"), "--codecs", str(folder / "spike_codes")]
    assert stage.run(main, [*arguments, "--output", str(tmp_path / "figures")]) == 0
    names = {"spike_raster", "tuning_curves", "spike_fidelity"}
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == names
