import json

import numpy as np
import pytest

from pipeline import stage
from pipeline.codec import input_of, load, read_codes
from pipeline.codecs import fit, nested_training
from pipeline.codecs.fit import fit_module, fit_one, main
from pipeline.split import split
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, unit_rows, write_embedding


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((100, 20)) * rng.uniform(1, 5, (100, 1))).astype(np.float32)
    return EmbeddingTable([f"w{i}" for i in range(100)], vectors)


def manifest(directory):
    return json.loads((directory / "manifest.json").read_text())


def test_a_codec_that_learns_has_one_file_a_seed_and_one_that_does_not_has_one(table, tmp_path):
    fit_module(table, "floats", ["float32", "truncate_4"], [0, 1], tmp_path / "floats")
    fit_module(table, "binary", ["sign"], [0, 1], tmp_path / "binary")
    assert manifest(tmp_path / "floats") == {
        "module": "floats",
        "seeds": [0, 1],
        "files": {n: dict.fromkeys("01", f"{n}/codec.safetensors") for n in ("float32", "truncate_4")},
        "skipped": {},
    }
    assert manifest(tmp_path / "binary")["files"] == {
        "sign": {"0": "sign/seed-0.safetensors", "1": "sign/seed-1.safetensors"}
    }
    one, two = (load(tmp_path / f"binary/sign/seed-{seed}.safetensors") for seed in (0, 1))
    assert np.any(one.shared["above"] != two.shared["above"])


def test_only_the_fit_rows_of_the_seed_are_seen(table):
    unit = unit_rows(table.vectors)
    codec = fit_one("scalar", "int8", 5, table, unit)
    np.testing.assert_array_equal(codec.shared["low"], unit[split(100, 5).fit].min(axis=0))
    spoiled = unit.copy()
    spoiled[np.concatenate(split(100, 5)[1:])] = 99
    np.testing.assert_array_equal(fit_one("scalar", "int8", 5, table, spoiled).shared["low"], codec.shared["low"])


def test_lossless_codecs_are_given_raw_values_and_others_unit_rows(table, tmp_path):
    fit_module(table, "floats", ["float32", "float16"], [0], tmp_path / "floats")
    words, codes = read_codes(tmp_path / "floats/float32/codes.parquet")
    assert words == table.words
    assert codes["values"].tobytes() == table.vectors.tobytes()
    _, codes = read_codes(tmp_path / "floats/float16/codes.parquet")
    np.testing.assert_allclose(np.linalg.norm(codes["values"].astype(float), axis=1), 1, atol=2e-3)
    codec = load(tmp_path / "floats/float32/codec.safetensors")
    assert input_of(codec, table.vectors, unit_rows(table.vectors)) is table.vectors


def test_what_the_table_cannot_have_is_left_out_with_a_reason(table, tmp_path):
    fit_module(table, "floats", ["truncate_20", "float16"], [0], tmp_path / "floats")
    made = manifest(tmp_path / "floats")
    assert list(made["files"]) == ["float16"]
    assert "truncate_20" in made["skipped"]["truncate_20"]
    assert not (tmp_path / "floats/truncate_20").exists()


def test_where_codecs_are_fitted_together_one_that_the_table_cannot_have_leaves_out_no_other(table, tmp_path):
    names = ["spikingjam_8_0.00001", "spikingjam_exact_4x4_4"]
    fit_module(table, "spikingjam", names, [0], tmp_path / "out", {"steps": 0})
    made = manifest(tmp_path / "out")
    assert list(made["files"]) == names[1:]
    assert made["skipped"] == {names[0]: f"{names[0]}: layer of 20 neurons, 1e-05 spikes a value: no neuron fired"}


def test_a_mistyped_name_fails_before_anything_is_fitted(table, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "fit_one", lambda *_: pytest.fail("fitted before all names were seen"))
    for module, names in (("binary", ["sign", "sing"]), ("faiss_peers", ["faiss:SQ8", "faiss:SQ88"]), ("nope", ["x"])):
        with pytest.raises(UserError):
            fit_module(table, module, names, [0], tmp_path / "out")
        assert not list(tmp_path.iterdir())


def test_a_name_given_twice_is_refused(table, tmp_path):
    with pytest.raises(UserError, match="scalar: 'int8' is given twice"):
        fit_module(table, "scalar", ["int8", "int4", "int8"], [0], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_fit_that_was_killed_repeats_no_training_and_clears_up_in_the_end(table, tmp_path, monkeypatch):
    settings = {"steps": 3, "batch": 32, "warmup_steps": 0}
    folder = tmp_path / "unfinished"
    options = {"sizes": [16], "hidden": 32, "folder": str(folder), "settings": settings}
    given = (table, "matryoshka", ["matryoshka_16", "matryoshka_16_ternary"], [0, 1])
    trained, exact = [], nested_training.loss

    def stops(model, samples, context):
        trained.append((model.how.ternary, context.step))
        if len(trained) == 8:
            raise KeyboardInterrupt
        return exact(model, samples, context)

    monkeypatch.setattr(nested_training, "loss", stops)
    with pytest.raises(KeyboardInterrupt):
        fit_module(*given, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    assert len(list(folder.iterdir())) == 3
    (folder / "mine.txt").write_text("stays")
    fit_module(*given, tmp_path / "out", options)
    # Seed 0's had ended. Of seed 1 the first, which had no checkpoint but that of step 0, and the other are trained.
    assert trained[8:] == [(ternary, step) for ternary in (False, True) for step in range(3)]
    assert [one.name for one in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    fit_module(*given, tmp_path / "again", options)
    assert len(trained) == 8 + 6 + 12
    assert not folder.exists()
    for file in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(tmp_path / "out")).read_bytes()


def test_the_command_line(table, tmp_path, capsys):
    write_embedding(tmp_path / "toy.parquet", table)
    arguments = ["--embedding", str(tmp_path / "toy.parquet"), "--module", "scalar", "--representations", "int8"]
    output = ["--output", str(tmp_path / "out")]
    assert stage.run(main, [*arguments, "--seeds", "0", "1", *output]) == 0
    assert set(manifest(tmp_path / "out")["files"]["int8"]) == {"0", "1"}
    assert stage.run(main, [*arguments, "--seeds", "1", "1", *output]) == 1
    assert "error: --seeds: [1, 1] holds one twice" in capsys.readouterr().err
    table.vectors[3, 3] = 0
    arguments[1] = str(tmp_path / "absent.parquet")
    assert stage.run(main, [*arguments, "--seeds", "0", *output]) == 1
    assert "absent.parquet: no such file" in capsys.readouterr().err


def test_two_runs_make_the_same_files(table, tmp_path):
    for name in ("a", "b"):
        fit_module(table, "faiss_peers", ["faiss:PCA8,SQ8", "faiss:ITQ8,LSH"], [0], tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
