import csv
import math

import pyarrow as pa
import pytest

from pipeline import stage
from pipeline.evaluation.table import cell, columns, main, wide
from pipeline.plots.measurements import SCHEMA, read_facts
from pipeline.stage import UserError
from pipeline.store import read_parquet, with_ending, write_parquet

# The design's contract, word for word and in its order.
CONTRACT = """
embedding, representation, family, search, vectors, dims, fitted_share, bytes_per_vector, shared_bytes,
compression_ratio, relative_mse, relative_mse_validation, cosine, exact_values, identity_top1,
knn10_overlap, knn10_overlap_unseen, knn10_overlap_validation, distance_mape,
wordsim353, simlex999, analogy_semantic, analogy_syntactic, spikes_per_value, timesteps,
exact_codes, largest_error_steps, clipped_values,
encode_vectors_per_s, decode_vectors_per_s, queries_per_s, seeds
""".replace("\n", " ").split(",")
CONTRACT = [name.strip() for name in CONTRACT]
NAN = float("nan")


def long(*rows):
    """Rows of (representation, search, seed, metric, value)."""
    return pa.Table.from_pylist(
        [
            {
                **{"embedding": "toy", "representation": name, "family": "float", "search": search, "seed": seed},
                **{"metric": metric, "value": float(value), "ci_low": NAN, "ci_high": NAN, "covered": 1, "total": 2},
            }
            for name, search, seed, metric, value in rows
        ]
    )


def test_the_contract_s_columns_in_their_order():
    assert columns([]) == CONTRACT
    assert columns(["cosine", "dims"]) == CONTRACT


def test_a_user_s_own_set_has_its_column_after_the_other_tasks():
    found = columns(["rare_words", "cosine", "men"])
    assert [name for name in found if name in CONTRACT] == CONTRACT
    place = found.index("analogy_syntactic")
    assert found[place + 1 : place + 4] == ["men", "rare_words", "spikes_per_value"]


def test_cells_are_means_over_the_seeds():
    names, (row,) = wide(
        long(*(("sign", "hamming", seed, "cosine", value) for seed, value in enumerate([0.5, 0.6, 0.85])))
    )
    assert row == {
        **{"embedding": "toy", "representation": "sign", "family": "float", "search": "hamming"},
        **{"cosine": "0.65", "seeds": "3"},
    }
    assert names == CONTRACT


def test_one_row_for_each_representation_and_search_in_order_of_appearance():
    _, rows = wide(
        long(
            *[("sign", "hamming", 0, "dims", 8), ("int8", "decoded", 0, "dims", 8), ("sign", "decoded", 0, "dims", 8)],
            ("sign", "hamming", 0, "cosine", 1),
        )
    )
    assert [(row["representation"], row["search"]) for row in rows] == [
        *[("sign", "hamming"), ("int8", "decoded"), ("sign", "decoded")],
    ]
    assert "cosine" in rows[0]
    assert "cosine" not in rows[1]


def test_cells_without_a_number_are_empty():
    assert cell("cosine", [NAN, NAN]) == ""
    assert cell("cosine", []) == ""
    assert cell("cosine", [NAN, 0.25]) == "0.25"
    assert cell("cosine", [math.inf]) == ""


def test_whole_numbers_have_no_decimal_point_and_the_rest_six_digits():
    assert cell("vectors", [15029.0, 15029.0]) == "15029"
    assert cell("shared_bytes", [1234567890.0]) == "1234567890"
    assert cell("bytes_per_vector", [1200.0]) == "1200"
    assert cell("cosine", [1 / 3]) == "0.333333"
    assert cell("relative_mse", [0.0]) == "0"


def test_what_is_measured_twice_is_refused():
    with pytest.raises(UserError, match="measured twice: cosine of toy sign float hamming, seed 1"):
        wide(long(("sign", "hamming", 1, "cosine", 1), ("sign", "hamming", 1, "cosine", 1)))


def test_both_files(tmp_path):
    parts = []
    for name in ("sign", "int8"):
        parts.append(tmp_path / f"{name}.parquet")
        write_parquet(parts[-1], long((name, "decoded", 0, "wordsim353", 0.7), (name, "decoded", 0, "own", NAN)))
    output = tmp_path / "results" / "benchmarks.v1"  # what stands behind a dot is kept
    assert stage.run(main, ["--metrics", *map(str, parts), "--output", str(output)]) == 0
    table = read_parquet(with_ending(output, ".parquet"))
    assert table.column_names == SCHEMA.names
    assert table.column("representation").to_pylist() == ["sign", "sign", "int8", "int8"]
    with open(with_ending(output, ".csv"), newline="") as file:
        header, *rows = csv.reader(file)
    assert [name for name in header if name != "own"] == CONTRACT
    assert [row[header.index("wordsim353")] for row in rows] == ["0.7", "0.7"]
    assert [row[header.index("own")] for row in rows] == ["", ""]
    assert [row[header.index("seeds")] for row in rows] == ["1", "1"]
    assert "nan" not in with_ending(output, ".csv").read_text()


FACTS = {"embedding_digest": "ab", "seeds": "[0]", "queries": "9"}


def test_it_says_what_was_measured_and_refuses_what_was_measured_otherwise(tmp_path, capsys):
    paths = [tmp_path / f"{name}.parquet" for name in ("sign", "int8")]
    arguments = ["--metrics", *map(str, paths), "--output", str(tmp_path / "out")]
    for path in paths:
        write_parquet(path, long((path.stem, "decoded", 0, "cosine", 1)), FACTS)
    assert stage.run(main, arguments) == 0
    assert read_facts(tmp_path / "out.parquet") == {"toy": FACTS}
    for key in FACTS:
        for wrong in ({**FACTS, key: "7"}, {one: FACTS[one] for one in FACTS if one != key}):
            write_parquet(paths[1], long(("int8", "decoded", 0, "cosine", 1)), wrong)
            assert stage.run(main, arguments) == 1
            line = capsys.readouterr().err.splitlines()[-1]
            values = f"{key} is {wrong.get(key)} here and {FACTS[key]} in {paths[0]}"
            assert line == f"error: {paths[1]}: toy was measured otherwise: {values}"


def test_nothing_measured_is_refused_and_a_null_is_no_number(tmp_path, capsys):
    empty, null = tmp_path / "empty.parquet", tmp_path / "null.parquet"
    write_parquet(empty, pa.Table.from_pylist([], SCHEMA))
    assert stage.run(main, ["--metrics", str(empty), "--output", str(tmp_path / "out")]) == 1
    assert f"error: {empty}: no measurement" in capsys.readouterr().err
    key = {"embedding": "toy", "representation": "a", "family": "float", "search": "decoded", "seed": 0}
    write_parquet(null, pa.Table.from_pylist([{**key, "metric": "cosine"}], SCHEMA))
    assert stage.run(main, ["--metrics", str(empty), str(null), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("toy,a,float,decoded,,")


def test_a_file_given_twice_is_refused(tmp_path, capsys):
    write_parquet(tmp_path / "a.parquet", long(("sign", "decoded", 0, "cosine", 1)))
    twice = [str(tmp_path / "a.parquet")] * 2
    assert stage.run(main, ["--metrics", *twice, "--output", str(tmp_path / "out")]) == 1
    assert "measured twice: cosine of toy sign" in capsys.readouterr().err


def test_bad_files_are_named(tmp_path, capsys):
    path = tmp_path / "metrics.parquet"
    arguments = ["--metrics", str(path), "--output", str(tmp_path / "out")]
    assert stage.run(main, arguments) == 1
    assert f"error: {path}: no such file" in capsys.readouterr().err
    write_parquet(path, pa.table({"word": ["a"]}))
    assert stage.run(main, arguments) == 1
    assert f"error: {path}: no column 'embedding'" in capsys.readouterr().err
    write_parquet(path, pa.table({name: ["a word"] for name in SCHEMA.names}))
    assert stage.run(main, arguments) == 1
    assert f"error: {path}: its columns are not those of the long table" in capsys.readouterr().err
    assert sorted(item.name for item in tmp_path.iterdir()) == ["metrics.parquet"]
