import math

import pytest

from pipeline.plots.datasets import BARS, coverage, data_sets, datasets, selection, thinned
from pipeline.plots.measurements import Point, Row, Score, read

SETS = ["wordsim353", "simlex999", "analogy_semantic", "analogy_syntactic"]


@pytest.fixture
def benchmarks(rows, write):
    return read(write(rows))


def code(name, size, recall, **tasks):
    scores = {task: {0: Score(value, value - 0.1, value + 0.1, 9, 10)} for task, value in tasks.items()}
    recalls = {"bytes_per_vector": {0: Score(float(size))}, "knn10_overlap": {0: Score(recall)}}
    return {Row(name, "float", "decoded"): {**recalls, **scores}}


def test_sets_are_what_has_a_coverage_known_ones_first(benchmarks, rows, write):
    assert data_sets(benchmarks) == SETS
    own = [{**row, "metric": "a_set_of_mine"} for row in rows if row["metric"] == "simlex999"]
    assert data_sets(read(write(rows + own))) == [*SETS, "a_set_of_mine"]


def test_the_selection_is_float32_and_the_front_of_what_can_score_words():
    rows = {
        **code("float32", 400, 1.0, simlex999=0.5),
        **code("float16", 200, 1.0, simlex999=0.5),
        **code("worse", 150, 0.7, simlex999=0.5),
        **code("sign", 10, 0.8, simlex999=0.4),
        **code("wordless", 10, 0.9),
    }
    assert [point.row.representation for point in selection(rows, ["simlex999"])] == ["float32", "float16", "sign"]


def test_the_selection_is_short(benchmarks):
    for rows in benchmarks.values():
        chosen = selection(rows, SETS)
        assert len(chosen) == BARS
        assert "float32" in [point.row.representation for point in chosen]
        assert [point.cost for point in chosen] == sorted((point.cost for point in chosen), reverse=True)


def test_thinning_keeps_the_ends_and_what_stands_apart():
    line = [Point(Row(str(size), "float", "decoded"), float(size), Score(0.5)) for size in (10, 11, 100, 1000, 1010)]
    assert [point.cost for point in thinned(line, 3)] == [10, 100, 1010]
    assert thinned(line, 5) == line


def test_bars_have_the_scores_heights_and_intervals():
    table = {
        "e": {**code("float32", 400, 1.0, simlex999=0.5, mine=0.7), **code("sign", 10, 0.8, simlex999=0.4, mine=-0.2)}
    }
    (axes,) = datasets(table).axes
    assert [patch.get_height() for patch in axes.patches] == pytest.approx([0.5, 0.7, 0.4, -0.2])
    segments = [tuple(segment[:, 1]) for lines in axes.collections for segment in lines.get_segments()]
    assert any(segment == pytest.approx((0.3, 0.5)) for segment in segments)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["SimLex999\n9 of 10 pairs", "mine\n9 of 10 pairs"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["float32: 400 B", "sign: 10 B"]
    lefts = [patch.get_x() for patch in axes.patches]
    assert lefts[0] < lefts[2] < lefts[1] < lefts[3]


def test_a_panel_an_embedding(benchmarks):
    figure = datasets(benchmarks)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(benchmarks)
    assert figure.axes[0].get_xticklabels()[2].get_text() == "Analogies, semantic\n4,058 of 8,869 questions"


def test_a_set_that_is_not_covered_says_so():
    rows = code("float32", 400, 1.0, simlex999=0.5)
    next(iter(rows.values()))["wordsim353"] = {0: Score(math.nan, math.nan, math.nan, 0, 353)}
    (axes,) = datasets({"e": rows}).axes
    assert [text.get_text() for text in axes.texts] == ["not covered"]
    assert coverage(rows, "wordsim353") == "0 of 353 pairs"
    assert len(axes.patches) == 1


def test_no_words_at_all_is_a_note(without_words, write):
    figure = datasets(read(write(without_words)))
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["no data set is covered"]] * 3
