"""The ledger of real fitted codecs against a benchmark table of the same."""

import csv
import json
import math
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import stage
from pipeline.codec import load, read_codes, save
from pipeline.codecs.fit import fit_module
from pipeline.evaluation import water_filling
from pipeline.evaluation.compression import cell, main, reference_db
from pipeline.evaluation.ledger import cost
from pipeline.plots.measurements import SCHEMA
from pipeline.split import split
from pipeline.store import EmbeddingTable, array_digest, read_json, unit_rows, write_embedding, write_parquet

MODULES = {
    "floats": ["float32", "truncate_4"],
    "binary": ["sign"],
    "scalar": ["int8"],
    "faiss_peers": ["faiss:SQ4", "faiss:RaBitQ"],
    "sentence_transformers_peers": ["sentence-transformers:binary+int8_rescore"],
}
DIMS, VECTORS = 16, 120
ERRORS = {"float32": (0.0, 0.0), "faiss:RaBitQ": None, "sentence-transformers:binary+int8_rescore": None}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(VECTORS, DIMS)) * np.linspace(3, 0.3, DIMS)).astype(np.float32)
    return EmbeddingTable([f"w{row}" for row in range(VECTORS)], vectors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table):
    """An embedding, its codecs, and the measurements of two seeds."""
    folder = tmp_path_factory.mktemp("ledger")
    write_embedding(folder / "small.parquet", table)
    rows = []
    for module, names in MODULES.items():
        fit_module(table, module, names, [0, 1], folder / "small" / module)
        files = read_json(folder / "small" / module / "manifest.json")["files"]
        for name in names:
            codes = read_codes(folder / "small" / module / name / "codes.parquet")[1]
            for seed in (0, 1):
                codec = load(folder / "small" / module / files[name][str(seed)])
                for search, recall in (("decoded", 0.5), ("native", 0.6)):
                    key = dict(zip(SCHEMA.names, ("small", name, codec.family, search, seed), strict=False))
                    values = cost(codec, codes, DIMS)._asdict() | {"vectors": VECTORS, "knn10_overlap": recall}
                    values["knn10_overlap_validation"] = 1 - recall
                    errors = ERRORS.get(name, (0.1, 0.3))
                    values |= {"relative_mse": errors[seed]} if errors else {}
                    rows += [{**key, "metric": metric, "value": float(value)} for metric, value in values.items()]
    write_parquet(folder / "benchmarks.parquet", pa.Table.from_pylist(rows, SCHEMA))
    return folder


def arguments(folder, output, benchmarks="benchmarks.parquet"):
    codecs = [str(folder / "small" / module) for module in MODULES]
    return [
        *("--benchmarks", str(folder / benchmarks), "--embeddings", str(folder / "small.parquet")),
        *("--codecs", *codecs, "--output", str(output)),
    ]


@pytest.fixture(scope="module")
def ledger(folder):
    assert stage.run(main, arguments(folder, folder / "compression.csv")) == 0
    with open(folder / "compression.csv", newline="") as file:
        return {row["representation"]: row for row in csv.DictReader(file)}


def test_every_representation_has_its_row_and_the_parts_add_up(folder, ledger):
    assert sorted(ledger) == sorted(name for names in MODULES.values() for name in names)
    for module, names in MODULES.items():
        files = read_json(folder / "small" / module / "manifest.json")["files"]
        for name in names:
            row = {key: float(value) for key, value in ledger[name].items() if "bytes" in key}
            codes = read_codes(folder / "small" / module / name / "codes.parquet")[1]
            stored = codes.nbytes / VECTORS
            shared = np.mean(
                [
                    cost(load(folder / "small" / module / file), codes, DIMS).shared_bytes
                    for file in files[name].values()
                ]
            )
            assert row["payload_bytes_per_vector"] + row["rerank_bytes_per_vector"] == row["bytes_per_vector"] == stored
            assert row["codebook_bytes"] + row["decoder_bytes"] == row["shared_bytes"] == shared


def test_what_only_scores_again_stands_apart(ledger):
    row = ledger["sentence-transformers:binary+int8_rescore"]
    assert (row["payload_bytes_per_vector"], row["rerank_bytes_per_vector"]) == ("2", "16")


def test_ratios_count_everything(ledger):
    row = ledger["int8"]  # 16 bytes a vector, low and step shared
    for name, vectors in (("n", VECTORS), ("1e6", 1e6), ("1e9", 1e9)):
        expected = 64 * vectors / (16 * vectors + 2 * 16 * 4)
        assert float(row[f"all_in_ratio_at_{name}"]) == pytest.approx(expected, rel=1e-5)


def test_the_error_is_held_against_the_covariance_of_the_fit_rows(table, ledger):
    unit = unit_rows(table.vectors).astype(np.float64)
    shares = []
    for seed in (0, 1):
        fit = unit[split(VECTORS, seed).fit]
        eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(fit, rowvar=False, bias=True)))[::-1]
        shares.append(water_filling.distortion(eigenvalues, 8 * 8) / eigenvalues.sum())  # faiss:SQ4: 8 bytes
    row = {key: float(ledger["faiss:SQ4"][key]) for key in ("distortion_db", "reference_db", "gap_db")}
    assert row["distortion_db"] == pytest.approx(10 * math.log10(0.2), rel=1e-5)
    assert row["reference_db"] == pytest.approx(10 * math.log10(np.mean(shares)), rel=1e-5)
    assert row["gap_db"] == pytest.approx(row["distortion_db"] - row["reference_db"], abs=1e-3)


def test_no_error_and_no_decoder_have_no_decibels(ledger):
    for name in ERRORS:
        assert (ledger[name]["distortion_db"], ledger[name]["gap_db"]) == ("", "")
    assert ledger["float32"]["relative_mse"] == "0"


def test_the_search_rule_is_the_one_that_validation_rows_chose(ledger):
    assert {(row["search"], row["knn10_overlap"]) for row in ledger.values()} == {("decoded", "0.5")}


@pytest.mark.parametrize("metric", ["bytes_per_vector", "shared_bytes"])
def test_codecs_of_another_run_are_refused(folder, tmp_path, capsys, metric):
    long = pq.read_table(folder / "benchmarks.parquet").to_pylist()
    for row in long:
        row["value"] += (row["metric"], row["representation"]) == (metric, "int8")
    write_parquet(folder / "stale.parquet", pa.Table.from_pylist(long, SCHEMA))
    assert stage.run(main, arguments(folder, tmp_path / "out.csv", "stale.parquet")) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"scalar: int8, seed 0: {metric} is" in line
    assert not (tmp_path / "out.csv").exists()


def test_a_file_that_holds_another_codec_is_refused_by_name(folder, tmp_path, capsys):
    shutil.copytree(folder / "small", tmp_path / "small")
    for name in ("benchmarks.parquet", "small.parquet"):
        shutil.copy(folder / name, tmp_path / name)
    faiss = tmp_path / "small" / "faiss_peers"
    shutil.copy(faiss / "faiss:RaBitQ" / "seed-1.safetensors", faiss / "faiss:SQ4" / "seed-1.safetensors")
    assert stage.run(main, arguments(tmp_path, tmp_path / "out.csv")) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.endswith("faiss:SQ4/seed-1.safetensors: belongs elsewhere: its name is 'faiss:RaBitQ', not 'faiss:SQ4'")


def test_a_table_that_was_not_measured_is_refused(folder, tmp_path, capsys):
    write_parquet(folder / "none.parquet", pa.Table.from_pylist([], SCHEMA))
    assert stage.run(main, arguments(folder, tmp_path / "out.csv", "none.parquet")) == 1
    assert "no row of small" in capsys.readouterr().err.splitlines()[-1]


def refused(capsys, tmp_path, *given):
    assert stage.run(main, [*given, "--output", str(tmp_path / "out.csv")]) == 1
    assert not (tmp_path / "out.csv").exists()
    return capsys.readouterr().err.splitlines()[-1]


def given(folder, codecs, benchmarks=("benchmarks.parquet",), embedding="small.parquet"):
    return [
        *("--benchmarks", *(str(folder / name) for name in benchmarks), "--embeddings", str(folder / embedding)),
        *("--codecs", *map(str, codecs)),
    ]


def test_codecs_of_an_embedding_that_is_not_given_are_refused(folder, tmp_path, capsys):
    shutil.copytree(folder / "small" / "scalar", tmp_path / "large" / "scalar")
    wrong = tmp_path / "large" / "scalar"
    line = refused(capsys, tmp_path, *given(folder, [folder / "small" / "binary", wrong]))
    assert line == f"error: --codecs: {wrong}: 'large' is none of the --embeddings"
    shutil.copy(folder / "small.parquet", tmp_path / "large.parquet")
    arguments = given(folder, [folder / "small" / "binary"])
    arguments.insert(arguments.index("--codecs"), str(tmp_path / "large.parquet"))
    rows = pq.read_table(folder / "benchmarks.parquet").to_pylist()
    rows += [{**row, "embedding": "large"} for row in rows]
    write_parquet(tmp_path / "two.parquet", pa.Table.from_pylist(rows, SCHEMA))
    arguments[1] = str(tmp_path / "two.parquet")
    assert "no directory is of large: large/<module> is asked for" in refused(capsys, tmp_path, *arguments)


def test_codecs_of_other_vectors_of_the_same_shape_are_refused(folder, table, tmp_path, capsys):
    other = EmbeddingTable(table.words, table.vectors[::-1].copy())
    fit_module(other, "scalar", ["int8"], [0, 1], tmp_path / "small" / "scalar")
    line = refused(capsys, tmp_path, *given(folder, [tmp_path / "small" / "scalar"]))
    assert "small/scalar/int8/seed-0.safetensors: belongs elsewhere: its embedding_digest is" in line
    facts = {"embedding_digest": "0", "seeds": "[0, 1]", "queries": "9"}
    long = pq.read_table(folder / "benchmarks.parquet")
    write_parquet(tmp_path / "long.parquet", long, {"measured": json.dumps({"small": facts})})
    line = refused(capsys, tmp_path, *given(folder, [folder / "small/scalar"], [tmp_path / "long.parquet"]))
    assert line.endswith(f"long.parquet: small was measured on other vectors than {folder / 'small.parquet'} holds")


def test_an_embedding_given_twice_is_refused(folder, tmp_path, capsys):
    arguments = given(folder, [folder / "small" / "scalar"])
    arguments.insert(arguments.index("--codecs"), str(folder / "small.parquet"))
    assert refused(capsys, tmp_path, *arguments) == "error: --embeddings: small is given twice"


def test_a_second_directory_of_a_representation_has_to_be_of_the_measured_size_too(folder, table, tmp_path, capsys):
    shutil.copytree(folder / "small" / "scalar", tmp_path / "small" / "scalar")
    name = "int8"
    codec = load(tmp_path / "small" / "scalar" / name / "seed-0.safetensors")
    codec.shared["more"] = np.zeros(1, np.uint8)
    header = {"seed": 0, "embedding_digest": array_digest(table.vectors)}
    save(codec, "scalar", tmp_path / "small" / "scalar" / name / "seed-0.safetensors", header)
    line = refused(capsys, tmp_path, *given(folder, [folder / "small/scalar", tmp_path / "small/scalar"]))
    assert "int8, seed 0: shared_bytes is 129 here and 128" in line


def test_a_representation_that_was_not_measured_is_refused(folder, table, tmp_path, capsys):
    fit_module(table, "scalar", ["int4"], [0, 1], tmp_path / "small" / "scalar")
    line = refused(capsys, tmp_path, *given(folder, [tmp_path / "small" / "scalar"]))
    assert line.endswith("small/scalar: int4 of small is not in the benchmark table")


def test_directories_without_a_representation_are_refused(folder, table, tmp_path, capsys):
    fit_module(table, "floats", ["truncate_99"], [0, 1], tmp_path / "small" / "floats")
    line = refused(capsys, tmp_path, *given(folder, [tmp_path / "small" / "floats"]))
    assert line == f"error: --codecs: {tmp_path / 'small' / 'floats'}: none holds a representation"


def test_the_peers_grid_joins_the_ledger(folder, table, tmp_path, capsys, ledger):
    """Two long tables and their directories; what stands in both has one row, if it is the same in both."""
    rows = pq.read_table(folder / "benchmarks.parquet").to_pylist()
    facts = {
        "measured": json.dumps({"small": {"embedding_digest": array_digest(table.vectors), "seeds": "", "queries": ""}})
    }
    parts = {"default": ("int8", "sign", "float32", "truncate_4"), "peers": ("faiss:SQ4", "faiss:RaBitQ", "int8")}
    for name, kept in parts.items():
        own = [row for row in rows if row["representation"] in kept]
        write_parquet(tmp_path / f"{name}.parquet", pa.Table.from_pylist(own, SCHEMA), facts)
    shutil.copy(folder / "small.parquet", tmp_path)
    shutil.copytree(folder / "small" / "scalar", tmp_path / "small" / "scalar")
    codecs = [
        *(folder / "small" / name for name in ("floats", "binary", "scalar", "faiss_peers")),
        tmp_path / "small/scalar",
    ]
    arguments = given(tmp_path, codecs, ("default.parquet", "peers.parquet"))
    assert stage.run(main, [*arguments, "--output", str(tmp_path / "all.csv")]) == 0
    with open(tmp_path / "all.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert found == [ledger[row["representation"]] for row in found]
    names = [row["representation"] for row in found]
    assert len(names) == 6
    assert set(names) == {name for kept in parts.values() for name in kept}


def test_the_codes_are_held_against_the_seed_that_made_them(table, tmp_path):
    """Strings differ in length from seed to seed; the first seed is not the smallest."""
    write_embedding(tmp_path / "small.parquet", table)
    fit_module(table, "ternary", ["ternary_entropy"], [10, 9], tmp_path / "small" / "ternary")
    rows = []
    for seed in (9, 10):
        codec = load(tmp_path / f"small/ternary/ternary_entropy/seed-{seed}.safetensors")
        key = dict(zip(SCHEMA.names, ("small", codec.name, codec.family, "decoded", seed), strict=False))
        values = cost(codec, codec.encode(unit_rows(table.vectors)), DIMS)._asdict() | {"vectors": VECTORS}
        rows += [{**key, "metric": metric, "value": float(value)} for metric, value in values.items()]
    stored = {row["value"] for row in rows if row["metric"] == "bytes_per_vector"}
    assert len(stored) == 2
    write_parquet(tmp_path / "benchmarks.parquet", pa.Table.from_pylist(rows, SCHEMA))
    arguments = given(tmp_path, [tmp_path / "small" / "ternary"])
    assert stage.run(main, [*arguments, "--output", str(tmp_path / "out.csv")]) == 0


def test_constant_rows_leave_no_reference():
    assert reference_db([np.array([])], 8) == -math.inf
    assert [cell(value) for value in (-math.inf, math.nan, 3.0, 0.1234567)] == ["", "", "3", "0.123457"]
