import numpy as np
import pytest
from matplotlib.image import imread

from pipeline import stage
from pipeline.plots.benchmarks import FIGURES, main

NAMES = {"recall_by_bytes", "recall_unseen_by_bytes", "analogy_by_bytes", "datasets"}


def ink(path):
    """The share of a picture that is not white."""
    return float((np.asarray(imread(path))[..., :3] < 0.99).any(axis=2).mean())


def draw(table, output, *more):
    return stage.run(main, ["--table", str(table), "--output", str(output), *more])


def test_a_whole_table_gives_every_figure_twice(rows, write, tmp_path):
    table = write([row for row in rows if row["embedding"] == "spacy_md"])
    assert draw(table, tmp_path / "figures") == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")
    }
    for name in NAMES:
        assert ink(tmp_path / "figures" / f"{name}.png") > 0.02
        assert imread(tmp_path / "figures" / f"{name}.png").shape[1] >= 1600  # 8 inches of 200 dots


def test_a_table_without_words_still_gives_every_figure(without_words, write, tmp_path):
    table = write([row for row in without_words if row["embedding"] == "minilm" and row["family"] != "faiss"])
    assert draw(table, tmp_path / "figures") == 0
    assert ink(tmp_path / "figures" / "recall_by_bytes.png") > 0.02
    assert 0.001 < ink(tmp_path / "figures" / "analogy_by_bytes.png") < 0.1


def test_an_empty_table_gives_notes(write, tmp_path):
    assert draw(write([]), tmp_path / "figures") == 0
    for name in NAMES:
        assert 0.001 < ink(tmp_path / "figures" / f"{name}.png") < 0.1
        figure = FIGURES[name]({})
        assert [text.get_text() for text in figure.axes[0].texts] == ["the table holds no measurements"]


def test_one_figure_alone(write, tmp_path):
    assert draw(write([]), tmp_path / "figures", "--figures", "datasets") == 0
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"datasets.png", "datasets.svg"}


def test_a_missing_table_is_one_line_and_nothing_is_written(tmp_path, capsys):
    assert draw(tmp_path / "nowhere.parquet", tmp_path / "figures") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {tmp_path / 'nowhere.parquet'}: no such file"
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_figure_has_a_caption(name, request):
    caption = request.config.rootpath / "workflow" / "report" / f"{name}.rst"
    assert len(caption.read_text().split()) > 50
