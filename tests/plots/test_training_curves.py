import numpy as np
import pyarrow as pa
import pytest

from pipeline.plots import training_curves as plot
from pipeline.stage import UserError
from pipeline.store import write_parquet


def run(*metrics, parts=("a",)):
    """Losses at steps 1..9, held-out metrics at every third, the lowest error at step 6."""
    steps = np.arange(10.0)
    measured = np.where(steps % 3 == 0, (steps - 6) ** 2, np.nan)
    losses = {name: np.where(steps > 0, 1 / (1 + steps), np.nan) for name in ("loss", *(f"loss_{p}" for p in parts))}
    return {"step": steps, **losses, **{f"held_out_{name}": measured for name in metrics}}


def test_each_run_has_its_losses_errors_and_scores():
    runs = {"t, one": run("relative_mse"), "t, two": run("loss", "analogy", "similarity_men", parts=("a", "b"))}
    figure = plot.training_curves(runs)
    shown = [[line.get_label() for line in axes.lines if line.get_linestyle() == "-"] for axes in figure.axes]
    assert shown == [["loss"], ["relative mse"], [], ["loss", "loss a", "loss b"], ["loss"], ["analogy", "men"]]
    assert [axes.get_visible() for axes in figure.axes] == [True, True, False, True, True, True]
    assert figure.axes[0].get_title(loc="left") == "t, one"
    x, y = figure.axes[1].lines[0].get_data()
    assert (list(x), list(y)) == ([0, 3, 6, 9], [36, 9, 0, 9])  # not the steps between
    for axes in (figure.axes[1], figure.axes[4]):
        assert set(axes.lines[-1].get_xdata()) == {6}


def test_errors_and_scores_share_a_place_where_no_run_has_both():
    figure = plot.training_curves({"t, one": run("relative_mse"), "t, two": run("accuracy")})
    assert all(axes.get_visible() for axes in figure.axes)
    assert [axes.get_ylabel() for axes in figure.axes[1::2]] == ["error, held out", "score, held out"]


def test_rates_of_layers_have_a_panel_of_their_own_where_there_are_any():
    spiking = run("bits", *(f"rate_blocks.{n}.lif_in" for n in range(9)))
    figure = plot.training_curves({"t, spiking": spiking, "t, dense": run("bits")})
    assert [len(axes.lines) for axes in figure.axes] == [1, 2, 9, 1, 2, 0]
    assert figure.axes[2].get_ylabel() == "spikes a step"
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert min(one.width for one in boxes) > 0.7 * max(one.width for one in boxes)


def test_no_words_cover_words_or_curves():
    figure = plot.training_curves({f"t, {n}": run("loss", "analogy", "similarity_men", parts="ab") for n in range(3)})
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    boxes += [axes.get_legend().get_window_extent() for axes in figure.axes]
    boxes += [axes._left_title.get_window_extent() for axes in figure.axes if axes.get_title(loc="left")]
    for place, one in enumerate(boxes):
        assert not any(one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9)) for other in boxes[place + 1 :])


def test_no_runs_make_an_empty_figure():
    assert "no measurements" in plot.training_curves({}).axes[0].texts[0].get_text()


def test_the_stage_writes_png_and_svg_and_refuses_other_tables(tmp_path):
    log, other = tmp_path / "minilm/autoencoder_8.parquet", tmp_path / "other.parquet"
    write_parquet(log, pa.table(run("relative_mse")))
    plot.main(["--logs", str(log), "--output", str(tmp_path / "figure")])
    assert all((tmp_path / f"figure.{suffix}").stat().st_size > 5000 for suffix in ("png", "svg"))
    write_parquet(other, pa.table({"step": [1]}))
    with pytest.raises(UserError, match=r"other\.parquet: no log of a training run: it has no column 'loss'"):
        plot.main(["--logs", str(other), "--output", str(tmp_path / "second")])
