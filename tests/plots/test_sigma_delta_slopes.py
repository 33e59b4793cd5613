import itertools

import pyarrow as pa
import pytest

from pipeline.plots import sigma_delta_slopes as plot
from pipeline.stage import UserError
from pipeline.store import write_parquet


def measured(tables=("a", "b+c")):
    """Residuals that follow a power law with known exponents."""
    return [
        {
            **{"embedding": table, "order": order, "frame": frame, "p": 64, "m": m},
            **{"residual": 100 * m ** (0.5 - order), "total": 0.1 + m ** (0.5 - order), "floor": 0.0754},
        }
        for table in tables
        for order in (1, 2, 3)
        for frame in ("gaussian", "fast_jl")
        for m in (2048, 4096, 8192)
    ]


def test_a_panel_a_table_and_frame_with_the_fitted_slopes():
    figure = plot.sigma_delta_slopes(measured())
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        *("a, Gaussian frame", "a, fast JL (Hadamard)", "b+c, Gaussian frame", "b+c, fast JL (Hadamard)"),
    ]
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == ["r = 1: slope −0.50", "r = 2: slope −1.50", "r = 3: slope −2.50"]
        floors = [line for line in axes.lines if set(line.get_ydata()) == {0.0754}]
        assert len(floors) == 1
        assert len(axes.lines) == 3 + 3 + 1  # residuals, totals, the floor


def test_no_words_cover_words_or_curves():
    figure = plot.sigma_delta_slopes(measured())
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent(renderer)
        for line in axes.lines:
            for x, y in axes.transData.transform(list(zip(*line.get_data(), strict=True))):
                assert not (legend.x0 < x < legend.x1 and legend.y0 < y < legend.y1)
    boxes = [axes.title.get_window_extent(renderer) for axes in figure.axes] + [figure.legends[0].get_window_extent()]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_no_rows_make_an_empty_figure():
    assert "no measurements" in plot.sigma_delta_slopes([]).axes[0].texts[0].get_text()


def test_the_stage_writes_png_and_svg_the_same_each_time(tmp_path):
    write_parquet(tmp_path / "a.parquet", pa.Table.from_pylist(measured(("a",))))
    written = []
    for name in ("one", "two"):
        plot.main(["--slopes", str(tmp_path / "a.parquet"), "--output", str(tmp_path / name)])
        written.append([(tmp_path / f"{name}{suffix}").read_bytes() for suffix in (".png", ".svg")])
    assert written[0] == written[1]
    write_parquet(tmp_path / "b.parquet", pa.table({"embedding": ["a"]}))
    with pytest.raises(UserError, match="no column 'floor'"):
        plot.main(["--slopes", str(tmp_path / "b.parquet"), "--output", str(tmp_path / "three")])
