import csv
import itertools

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline import stage
from pipeline.plots.best_by_bytes import SHADES, Column, Side, best_by_bytes, main, read
from pipeline.stage import UserError

FIELDS = ("representation", "value", "ci_low", "ci_high")
OURS = Side("ternary_entropy", 0.82, 0.81, 0.83)
PEER = Side("faiss:OPQ16_64,PQ16x8np@opq_niter=4", 0.6, 0.58, 0.62)
BETTER = Side("faiss:EDEN2", 0.87, 0.86, 0.88)
COLUMNS = [
    Column(16, "peer", {"ours": None, "peer": PEER}),
    Column(64, "ours", {"ours": OURS, "peer": PEER}),
    Column(96, "peer", {"ours": OURS, "peer": BETTER}),
    Column(128, "peer", {"ours": OURS, "peer": BETTER}),
    Column(192, "tie", {"ours": OURS, "peer": BETTER}),
]


def write(path, columns=COLUMNS, criterion="knn10_overlap", counted="codes"):
    names = ["embedding", "criterion", "counted", "budget_bytes", "winner"]
    names += [f"{whose}_{field}" for whose in ("ours", "peer") for field in FIELDS]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        for column in columns:
            sides = {
                f"{whose}_{field}": value
                for whose, one in column.sides.items()
                if one
                for field, value in zip(FIELDS, one, strict=True)
            }
            key = {"embedding": "minilm", "criterion": criterion, "counted": counted}
            writer.writerow({**key, "budget_bytes": column.budget, "winner": column.winner, **sides})
    return path


def test_read_what_is_drawn_and_nothing_else(tmp_path):
    assert read(write(tmp_path / "best.csv")) == {"minilm": COLUMNS}
    assert read(write(tmp_path / "best.csv", counted="all_at_n")) == {}
    assert read(write(tmp_path / "best.csv", criterion="relative_mse")) == {}


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("embedding,criterion,counted\nminilm,knn10_overlap,codes\n")
    with pytest.raises(UserError, match=r"other\.csv: is not best_by_bytes\.csv \(KeyError"):
        read(tmp_path / "other.csv")
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        read(tmp_path / "none.csv")


def shaded(axes):
    """(left edge, colour) of each shaded column."""
    return [(patch.get_x(), patch.get_facecolor()[:3]) for patch in axes.patches if patch.get_width() == 1]


def test_the_stretches_where_ours_loses_are_shaded_and_name_the_peer():
    above, below = best_by_bytes({"minilm": COLUMNS}).axes
    for axes in (above, below):
        found = {}
        for left, colour in shaded(axes):
            found.setdefault("#" + "".join(f"{round(255 * part):02X}" for part in colour), []).append(left)
        assert found == {SHADES["peer"][0]: [-0.5, 1.5, 2.5], SHADES["tie"][0]: [3.5]}
    names = [(round(text.get_position()[0]), text.get_text(), text.get_weight()) for text in below.texts]
    assert (0, "OPQ16_64,PQ16x8np@…", "bold") in names
    assert (2, "EDEN2", "bold") in names
    assert (2, "ternary_entropy", "normal") in names
    assert (1, "ternary_entropy", "bold") in names
    assert not [name for name in names if name[0] == 3]  # as in the column before
    assert (4, "EDEN2", "normal") in names


def test_values_stand_where_they_were_measured():
    above, below = best_by_bytes({"minilm": COLUMNS}).axes
    lines = [line.get_ydata() for line in above.lines if len(line.get_ydata()) > 1]
    assert [list(line) for line in lines] == [[0.82] * 4, [0.6, 0.6, 0.87, 0.87, 0.87]]
    assert [label.get_text() for label in below.get_xticklabels()] == ["16", "64", "96", "128", "192"]


@pytest.mark.parametrize("long", ["s", "sentence-transformers:binary+int8_rescore", "faiss:" + "PCAR128," * 6])
def test_no_name_runs_out_of_its_panel_or_over_another(long):
    wide = Side(long, 0.5, 0.4, 0.6)
    columns = [
        Column(2**k, "ours" if k % 2 else "peer", {"ours": OURS, "peer": wide._replace(value=0.5 + k / 30)})
        for k in range(14)
    ]
    figure = best_by_bytes({"minilm": columns, "other": columns})
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes[1::2]:
        panel = axes.get_window_extent(renderer)
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert len(boxes) == 28
        for box in boxes:
            assert box.y0 >= panel.y0 - 1
            assert box.y1 <= panel.y1
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)


def test_nothing_measured_is_said():
    assert [text.get_text() for text in best_by_bytes({}).axes[0].texts] == ["the table holds no measurements"]


def test_the_stage_writes_png_and_svg(tmp_path):
    assert stage.run(main, ["--table", str(write(tmp_path / "best.csv")), "--output", str(tmp_path / "figure")]) == 0
    assert (tmp_path / "figure.svg").exists()
    assert (np.asarray(imread(tmp_path / "figure.png"))[..., :3] < 0.99).any(axis=2).mean() > 0.01


def test_it_has_a_caption(request):
    assert len((request.config.rootpath / "workflow" / "report" / "best_by_bytes.rst").read_text().split()) > 50
