"""Differences from the shipped codes, on metrics made up so that they are known."""

import csv

import pyarrow as pa
import pytest
from scipy import stats

from pipeline.evaluation.ablation import main
from pipeline.plots.measurements import SCHEMA
from pipeline.stage import UserError
from pipeline.store import write_parquet

SHIFTS = (0.3, -0.2, 0.1)  # what seeds differ by among themselves, ten times what variants do
SHIPPED = [0.70, 0.71, 0.72]
ALONE = [0.69, 0.69, 0.715]


def measured(recalls, name="matryoshka_64", search="decoded", embedding="e", shared=100, semantic=0.5, covered=30):
    """A representation's rows: recalls of the seeds, to which their shifts are added, and what goes with them."""
    rows = []
    for seed, (recall, shift) in enumerate(zip(recalls, SHIFTS, strict=False)):
        key = dict(zip(SCHEMA.names, (embedding, name, "matryoshka", search, seed), strict=False))
        values = {"knn10_overlap": recall + shift, "knn10_overlap_unseen": 0.5, "relative_mse": 1 - recall - shift}
        rows += [{**key, "metric": metric, "value": value} for metric, value in values.items()]
        rows.append({**key, "metric": "shared_bytes", "value": float(shared)})
        rows.append({**key, "metric": "simlex999", "value": float("nan"), "covered": 0, "total": 999})
        parts = (("analogy_semantic", semantic, covered), ("analogy_syntactic", 0.2, 10))
        rows += [
            {**key, "metric": metric, "value": value, "covered": count, "total": 99} for metric, value, count in parts
        ]
    return rows


@pytest.fixture
def joined(tmp_path):
    """(variant, rows) of each file -> the rows of both tables"""

    def joined(*files, facts=None):
        given = []
        for place, (variant, rows) in enumerate(files):
            path = tmp_path / f"{place}.parquet"
            said = {"embedding_digest": "d", "seeds": "[0, 1, 2]", "queries": "9", **(facts or {}).get(place, {})}
            write_parquet(path, pa.Table.from_pylist(rows, SCHEMA), said)
            given.append(f"{variant}={path}")
        output, prefixes = tmp_path / "ablation.csv", tmp_path / "prefixes.csv"
        main(["--metrics", *given, "--output", str(output), "--prefixes", str(prefixes)])
        tables = []
        for path in (output, prefixes):
            with open(path, newline="", encoding="utf-8") as file:
                tables.append(list(csv.DictReader(file)))
        return tables

    return joined


def interval(row, metric="knn10_overlap"):
    return [float(row[f"{metric}_difference{part}"]) for part in ("", "_t_low", "_t_high")]


def test_a_difference_is_variant_minus_shipped_seed_by_seed(joined):
    rows, _ = joined(("shipped", measured(SHIPPED)), ("untrained", measured(ALONE, shared=80)))
    shipped, untrained = rows
    expected = stats.ttest_rel(ALONE, SHIPPED).confidence_interval(0.95)
    assert interval(untrained) == pytest.approx([-0.035 / 3, expected.low, expected.high], rel=1e-5)
    assert interval(untrained, "relative_mse") == pytest.approx([0.035 / 3, -expected.high, -expected.low], rel=1e-5)
    assert (untrained["shared_bytes"], untrained["shared_bytes_difference"]) == ("80", "-20")
    assert (untrained["variant"], untrained["compared_with"], untrained["seeds"]) == ("untrained", "matryoshka_64", "3")
    assert float(untrained["knn10_overlap"]) == pytest.approx(sum(ALONE) / 3 + 0.2 / 3, rel=1e-5)
    assert (shipped["compared_with"], shipped["knn10_overlap_difference"]) == ("", "")
    assert (untrained["simlex999"], untrained["simlex999_difference"]) == ("", "")


def test_analogies_are_pooled_over_covered_questions(joined):
    rows, _ = joined(("shipped", measured(SHIPPED)), ("untrained", measured(SHIPPED, semantic=0.6)))
    assert [float(row["analogy"]) for row in rows] == pytest.approx([(15 + 2) / 40, (18 + 2) / 40])
    assert interval(rows[1], "analogy") == pytest.approx([3 / 40] * 3)


def test_with_one_seed_there_is_a_difference_and_no_interval(joined):
    rows, _ = joined(("shipped", measured(SHIPPED[:1])), ("untrained", measured(ALONE[:1])))
    found = [rows[1][f"knn10_overlap_difference{part}"] for part in ("", "_t_low", "_t_high")]
    assert (float(found[0]), found[1:], rows[1]["seeds"]) == (pytest.approx(-0.01), ["", ""], "1")


def test_other_forms_are_compared_with_the_int8_one(joined):
    rows, _ = joined(("shipped", measured(SHIPPED) + measured(ALONE, "matryoshka_64_ternary", shared=30)))
    assert [(row["representation"], row["compared_with"]) for row in rows] == [
        ("matryoshka_64", ""),
        ("matryoshka_64_ternary", "matryoshka_64"),
    ]
    assert float(rows[1]["knn10_overlap_difference"]) == pytest.approx(-0.035 / 3, rel=1e-5)


def test_rows_stand_by_kind_and_bits_and_searches_are_compared_with_their_own(joined):
    names = ("matryoshka_128", "matryoshka_64_planes", "matryoshka_64")
    kept = [part for name in names for part in measured(SHIPPED, name)] + measured(ALONE, search="hamming")
    rows, _ = joined(
        ("shipped", kept + measured(SHIPPED, search="funnel")), ("untrained", measured(SHIPPED, search="hamming"))
    )
    assert [(row["representation"], row["search"]) for row in rows] == [
        *(("matryoshka_64", "decoded"), ("matryoshka_64", "hamming"), ("matryoshka_128", "decoded")),
        *(("matryoshka_64_planes", "decoded"), ("matryoshka_64", "hamming")),
    ]
    assert float(rows[-1]["knn10_overlap_difference"]) == pytest.approx(0.035 / 3, rel=1e-5)


def test_prefixes_stand_beside_codes_of_one_size(joined):
    whole = measured(SHIPPED, shared=100) + measured(SHIPPED, "matryoshka_128", shared=150)
    rows, prefixes = joined(
        ("shipped", whole + measured(SHIPPED, "matryoshka_64_planes", shared=500)),
        ("alone", measured(ALONE, shared=90)),
        ("alone", measured(SHIPPED, "matryoshka_128", shared=140)),
        ("alone_small", measured(SHIPPED, shared=40)),
        ("untrained", measured(SHIPPED)),
    )
    assert [(row["representation"], row["bits"], row["beside"]) for row in prefixes] == [
        *(("matryoshka_64", "64", "alone"), ("matryoshka_128", "128", "alone"), ("matryoshka_64", "64", "alone_small")),
    ]
    first = prefixes[0]
    assert float(first["knn10_overlap_prefix"]) - float(first["knn10_overlap_alone"]) == pytest.approx(0.035 / 3, 1e-3)
    other = next(row for row in rows if row["variant"] == "alone")
    low, high = float(first["knn10_overlap_difference_t_low"]), float(first["knn10_overlap_difference_t_high"])
    assert interval(other) == [-float(first["knn10_overlap_difference"]), -high, -low]
    # One of each size: of the prefixes as much as the longest, of the others the sum.
    shared = [(row["shared_bytes_all_prefix"], row["shared_bytes_all_alone"]) for row in prefixes]
    assert shared == [("150", "230"), ("150", "230"), ("100", "40")]


def test_signs_of_each_size_are_their_own_and_no_prefixes(joined):
    both = [*measured(SHIPPED), *measured(SHIPPED, "matryoshka_32_signs")]
    rows, prefixes = joined(("shipped", both), ("alone", both))
    assert [row["representation"] for row in prefixes] == ["matryoshka_64"]
    assert [row["representation"] for row in rows if row["variant"] == "alone"] == [
        "matryoshka_64",
        "matryoshka_32_signs",
    ]


def test_without_sizes_of_their_own_there_are_no_prefixes(joined):
    assert joined(("shipped", measured(SHIPPED)), ("untrained", measured(SHIPPED)))[1] == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("untrained", measured(SHIPPED))], "e: the variant 'shipped' is not measured"),
        (
            [("shipped", measured(SHIPPED) + measured(SHIPPED, embedding="f")), ("untrained", measured(SHIPPED))],
            "f: the variant 'untrained' is not measured",
        ),
        (
            [("shipped", measured(SHIPPED)), ("untrained", measured(SHIPPED, "matryoshka_128"))],
            "e: untrained has matryoshka_128 decoded, and shipped has not",
        ),
        ([("shiped", measured(SHIPPED))], r"0\.parquet: there is no variant 'shiped'; there are shipped, untrained"),
        (
            [("shipped", measured(SHIPPED)), ("shipped", measured(SHIPPED))],
            r"1\.parquet: measured twice: e, shipped, matryoshka_64 decoded",
        ),
    ],
)
def test_what_is_missing_or_measured_twice_is_named(joined, tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        joined(*files)
    assert not (tmp_path / "ablation.csv").exists()


def test_other_vectors_seeds_or_queries_are_refused(joined):
    with pytest.raises(
        UserError, match=r"1\.parquet: e was measured otherwise: queries is 5 here and 9 in .*0\.parquet"
    ):
        joined(("shipped", measured(SHIPPED)), ("untrained", measured(SHIPPED)), facts={1: {"queries": "5"}})


def test_a_file_without_its_variant_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--metrics: 'a\.parquet' is not VARIANT=FILE"):
        main(["--metrics", "a.parquet", "--output", str(tmp_path / "a.csv"), "--prefixes", str(tmp_path / "b.csv")])
