import csv
import itertools
import math

import pytest

from pipeline.plots.ablation import PANELS, Difference, ablation, main, read
from pipeline.stage import UserError

NAMES = ("matryoshka_1024", "matryoshka_256", "matryoshka_256_planes")
BETTER, WORSE_BY_FAR, UNCLEAR = (0.02, 0.01, 0.03), (-0.2, -0.3, -0.1), (0.01, -0.01, 0.03)
CHANGES = {"untrained": WORSE_BY_FAR, "without_ranking": UNCLEAR, "encoder_fixed": BETTER}
METRICS = dict.fromkeys(panel.metric for panel in PANELS)


def rows(embeddings=("minilm", "spacy_md+minilm")):
    for embedding in embeddings:
        for variant, name in itertools.product(("shipped", *CHANGES), NAMES):
            for search in ("decoded", "hamming"):
                yield {"embedding": embedding, "variant": variant, "representation": name, "search": search}
        form = {"variant": "shipped", "representation": "matryoshka_256_ternary", "search": "decoded"}
        yield {"embedding": embedding, **form}


def write(path, rows):
    parts = ("_difference", "_difference_t_low", "_difference_t_high")
    names = ["embedding", "variant", "representation", "search", "compared_with"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*names, *(f"{m}{part}" for m in METRICS for part in parts)], restval="")
        writer.writeheader()
        for row in rows:
            ends = CHANGES.get(row["variant"], UNCLEAR)
            if row["variant"] != "shipped" or row["representation"].endswith("_ternary"):
                row["compared_with"] = row["representation"].removesuffix("_ternary")
                row |= {f"{m}{part}": end for m in METRICS for part, end in zip(parts, ends, strict=True)}
            writer.writerow(row)
    return path


@pytest.fixture
def lines(tmp_path):
    return read(write(tmp_path / "ablation.csv", rows()))


def test_variants_are_lines_and_forms_stand_below_them(lines):
    assert list(lines) == ["minilm", "spacy_md+minilm"]
    for found in lines.values():
        assert list(found) == ["untrained", "without ranking", "encoder fixed", "ternary decoder"]
        assert list(found["untrained"]) == list(NAMES)
        assert list(found["ternary decoder"]) == ["matryoshka_256"]
        assert found["untrained"]["matryoshka_256"]["hamming", "knn10_overlap"] == Difference(*WORSE_BY_FAR)
        assert ("hamming", "relative_mse") not in found["untrained"]["matryoshka_256"]  # drawn once


def test_each_mark_stands_at_its_difference_with_its_interval(lines):
    figure = ablation(lines)
    assert len(figure.axes) == 2 * len(PANELS)
    for axes, panel in zip(figure.axes, PANELS * 2, strict=True):
        found = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() != "None"]
        values = [-0.2, 0.01, 0.02]
        lone = panel.search == "decoded"
        assert [x for x, _ in found] == [value for value in values for _ in NAMES] + [0.01] * lone
        assert [round(y) for _, y in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2] + [3] * lone
        spans = sorted(tuple(segment[:, 0]) for part in axes.collections for segment in part.get_segments())
        assert spans == sorted([end[1:] for end in CHANGES.values() for _ in NAMES] + [UNCLEAR[1:]] * lone)


def test_what_cannot_be_told_apart_is_hollow(lines):
    for axes in ablation(lines).axes:
        faces = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() != "None"]
        assert [face == "white" for face in faces[:9]] == [False] * 3 + [True] * 3 + [False] * 3
    alone = {"a": {"untrained": {NAMES[0]: {("decoded", "analogy"): Difference(0.1, math.nan, math.nan)}}}}
    (mark,) = (line for line in ablation(alone).axes[4].lines if line.get_marker() != "None")
    assert mark.get_markerfacecolor() == "white"


def test_the_worse_side_is_shaded_and_panels_below_each_other_have_one_range(lines):
    figure = ablation(lines)
    for axes, panel in zip(figure.axes, PANELS * 2, strict=True):
        (span,) = axes.patches
        low, high = axes.get_xlim()
        assert low < -0.3
        assert high > 0.03
        expected = (0, high) if panel.metric == "relative_mse" else (low, 0)
        assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx(expected)
    lines["minilm"]["untrained"]["matryoshka_256"]["decoded", "analogy"] = Difference(0.5, 0.4, 0.6)
    upper, lower = (ablation(lines).axes[place] for place in (4, 9))
    assert upper.get_xlim() == lower.get_xlim()
    assert upper.get_xlim()[1] > 0.6


def test_sizes_stand_in_order_in_the_legend(lines):
    texts = [text.get_text() for text in ablation(lines).legends[0].get_texts()]
    assert texts[:3] == ["256", "1024", "256 planes"]


def test_no_words_cover_each_other(lines):
    figure = ablation(lines)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for axes in figure.axes for text in (*axes.texts, axes._left_title)]
    boxes += [label.get_window_extent() for axes in figure.axes for label in axes.get_yticklabels()]
    for axes in figure.axes:  # ticks beyond an axis are not drawn
        low, high = axes.get_xlim()
        ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        boxes += [label.get_window_extent() for tick, label in ticks if low <= tick <= high]
    boxes = [box for box in boxes if box.width and box.height]
    boxes.append(figure.legends[0].get_window_extent())
    for one, other in itertools.combinations(boxes, 2):
        assert not one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))


def test_no_rows_make_an_empty_figure():
    assert "no measurements" in ablation({}).axes[0].texts[0].get_text()
    assert "no measurements" in ablation({"minilm": {}}).axes[0].texts[0].get_text()


def test_the_stage_writes_png_and_svg_and_refuses_other_tables(tmp_path):
    table = write(tmp_path / "ablation.csv", rows(("minilm",)))
    written = []
    for name in ("one", "two"):
        main(["--table", str(table), "--output", str(tmp_path / name)])
        written.append([(tmp_path / f"{name}{suffix}").read_bytes() for suffix in (".png", ".svg")])
    assert written[0] == written[1]
    assert len(written[0][0]) > 5000
    (tmp_path / "other.csv").write_text("embedding,representation\nminilm,sign\n")
    with pytest.raises(UserError, match=r"other\.csv: is not ablation\.csv \(KeyError"):
        read(tmp_path / "other.csv")
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        read(tmp_path / "none.csv")
