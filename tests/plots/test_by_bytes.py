import itertools
import math

import numpy as np
import pyarrow as pa
import pytest

from pipeline.plots import measurements
from pipeline.plots.analogy_by_bytes import analogy_by_bytes
from pipeline.plots.measurements import Row, Score
from pipeline.plots.recall_by_bytes import recall_by_bytes
from pipeline.plots.recall_unseen_by_bytes import recall_unseen_by_bytes
from pipeline.store import write_parquet

EMBEDDINGS = ("minilm", "spacy_md", "spacy_md+minilm")


def codes(**found):
    """name -> (bytes, recall): a table of one embedding"""
    return {
        "e": {
            Row(name, "float", "decoded"): {
                "bytes_per_vector": {0: Score(float(size))},
                "knn10_overlap": {0: Score(recall, recall - 0.01, recall + 0.01)},
            }
            for name, (size, recall) in found.items()
        }
    }


def named(axes):
    return [text for text in axes.texts if text.get_gid() == "label"]


def drawn(axes):
    """The points that are drawn: (bytes, score)."""
    return sorted(
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() not in ("None", "none", None, "")
    )


@pytest.fixture(scope="module")
def figure(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("plots") / "benchmarks.parquet"
    write_parquet(path, pa.Table.from_pylist(rows, measurements.SCHEMA))
    return recall_by_bytes(measurements.read(path))


def test_a_panel_an_embedding_with_units_and_a_legend_of_families(figure):
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == list(EMBEDDINGS)
    for axes in figure.axes:
        assert "bytes per vector" in axes.get_xlabel()
        assert "recall@10" in axes.get_ylabel()
        assert axes.get_xscale() == "log"
        assert all(tick <= 1.001 for tick in axes.get_yticks())
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys[:2] == ["float", "scalar"]
    assert keys[-2:] == ["Pareto front", "float32"]


def test_on_the_finished_page_no_label_covers_a_label_or_a_point(figure):
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    for axes in figure.axes:
        texts = named(axes)
        assert len(texts) > 8
        boxes = [text.get_window_extent(renderer) for text in texts]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)
        spots = axes.transData.transform(drawn(axes))
        for box in boxes:
            assert axes.bbox.x0 <= box.x0 < box.x1 <= axes.bbox.x1
            assert not ((spots > box.min) & (spots < box.max)).all(axis=1).any()


def test_the_front_is_drawn_as_steps_and_named_and_so_is_float32():
    figure = recall_by_bytes(codes(tiny=(10, 0.5), worse=(20, 0.4), good=(40, 0.9), float32=(160, 0.9), same=(40, 0.9)))
    (axes,) = figure.axes
    assert sorted(text.get_text() for text in named(axes)) == ["float32", "good", "same", "tiny"]
    steps = next(line for line in axes.lines if line.get_color() == "black" and len(line.get_xdata()) > 2)
    corners = np.column_stack([steps.get_xdata(), steps.get_ydata()])
    np.testing.assert_allclose(corners[:3], [[10, 0.5], [40, 0.5], [40, 0.9]])
    np.testing.assert_allclose(corners[-1], [axes.get_xlim()[1], 0.9])
    assert drawn(axes) == [(10, 0.5), (20, 0.4), (40, 0.9), (40, 0.9), (160, 0.9)]


def test_float32_is_a_level_to_compare_with():
    (axes,) = recall_by_bytes(codes(float32=(160, 0.9), tiny=(10, 0.5))).axes
    (level,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert set(level.get_ydata()) == {0.9}


def test_a_peer_does_not_hide_an_own_code():
    scores = {"bytes_per_vector": {0: Score(8.0)}, "knn10_overlap": {0: Score(0.5)}}
    rows = {Row("int8", "scalar", "decoded"): scores, Row("s-t", "peer", "decoded"): scores}
    (axes,) = recall_by_bytes({"e": rows}).axes
    order = {line.get_marker(): line.get_zorder() for line in axes.lines}
    assert order["s"] > order["D"]


def test_intervals_are_drawn():
    (axes,) = recall_by_bytes(codes(one=(10, 0.5))).axes
    (segment,) = axes.collections[0].get_segments()
    np.testing.assert_allclose(segment, [[10, 0.49], [10, 0.51]])


def test_each_figure_shows_its_own_metric():
    metrics = {
        "bytes_per_vector": {0: Score(10.0)},
        "knn10_overlap": {0: Score(0.1)},
        "knn10_overlap_unseen": {0: Score(0.2)},
        "analogy_semantic": {0: Score(0.3, 0.3, 0.3, 100, 100)},
        "analogy_syntactic": {0: Score(0.6, 0.6, 0.6, 200, 200)},
        "analogy_semantic_3cosmul": {0: Score(0.9, 0.9, 0.9, 100, 100)},
    }
    table = {"e": {Row("sign", "binary", "decoded"): metrics}}
    shown = [draw(table).axes[0] for draw in (recall_by_bytes, recall_unseen_by_bytes, analogy_by_bytes)]
    assert [drawn(axes)[0][1] for axes in shown] == pytest.approx([0.1, 0.2, 0.5])


def test_a_panel_without_scores_says_so_and_others_are_drawn():
    nothing = {"e2": {Row("sign", "binary", "decoded"): {"knn10_overlap": {0: Score(math.nan)}}}}
    first, second = recall_by_bytes({**codes(one=(10, 0.5)), **nothing}).axes
    assert drawn(first)
    assert [text.get_text() for text in second.texts] == ["no recall was measured"]


def test_scores_without_intervals_and_a_single_point_are_drawn():
    one = {"bytes_per_vector": {0: Score(8.0)}, "knn10_overlap": {0: Score(0.5)}}
    (axes,) = recall_by_bytes({"e": {Row("a", "x", "decoded"): one}}).axes
    assert drawn(axes) == [(8.0, 0.5)]
