import itertools

import numpy as np
import pytest

from pipeline.plots import style
from pipeline.plots.spike_fidelity import Decoded, spike_fidelity

RNG = np.random.default_rng(0)


def codes(count, noise=0.05):
    x = RNG.uniform(-1, 1, (300, 7))
    return {f"code_{k}": Decoded(x, x + noise * k * RNG.standard_normal(x.shape), 0.3 * 0.03**k) for k in range(count)}


def shown(figure):
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_title(loc="left")]


def test_a_panel_a_code_with_its_error_and_the_line_on_which_nothing_is_lost():
    given = codes(3)
    figure = spike_fidelity(given)
    panels = shown(figure)
    titles = [axes.get_title(loc="left").split("\n") for axes in panels]
    assert [name for name, _ in titles] == list(given)
    numbers = ["0.3", r"$9.0 \times 10^{-3}$", r"$2.7 \times 10^{-4}$"]
    assert [error for _, error in titles] == [f"relative MSE {number}" for number in numbers]
    for axes, code in zip(panels, given.values(), strict=True):
        (line,) = axes.lines
        np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
        (hexagons,) = axes.collections
        inside = (np.abs(code.original) <= axes.get_xlim()[1]) & (np.abs(code.decoded) <= axes.get_xlim()[1])
        assert hexagons.get_array().sum() == pytest.approx(inside.sum(), rel=0.01)
        places, counts = hexagons.get_offsets(), hexagons.get_array()
        off = np.average(np.abs(places[:, 1] - places[:, 0]), weights=counts)
        assert off == pytest.approx(np.abs(code.decoded - code.original)[inside].mean(), abs=0.02)


def test_all_panels_share_axes_and_colours():
    panels = shown(spike_fidelity(codes(6)))
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in panels}) == 1
    assert len({axes.collections[0].norm.vmax for axes in panels}) == 1
    low, high = panels[0].get_xlim()
    assert (low, high) == pytest.approx((-1.1, 1.1), abs=0.01)


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_no_words_cover_each_other(count):
    given = codes(count)
    long = "carried_16:successive_refinement:successive_refinement_512"
    figure = spike_fidelity({name if place else long: code for place, (name, code) in enumerate(given.items())})
    figure.draw_without_rendering()
    panels = shown(figure)
    assert len(panels) == count
    boxes = [axes._left_title.get_window_extent() for axes in panels]
    boxes += [axes.get_window_extent() for axes in panels]
    boxes += [text.get_window_extent() for text in (figure._suptitle, figure._supxlabel, figure._supylabel)]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    width, height = figure.canvas.get_width_height()
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height


def test_the_lowest_panel_of_each_column_names_its_values():
    figure = spike_fidelity(codes(6))
    named = [axes.xaxis.get_tick_params()["labelbottom"] for axes in shown(figure)]
    assert named == [False, False, True, True, True, True]


def test_values_that_are_all_0_and_no_codes_at_all():
    spike_fidelity({"x": Decoded(np.zeros(5), np.zeros(5), 0.0)}).draw_without_rendering()
    assert "no measurements" in spike_fidelity({}).axes[0].texts[0].get_text()


def test_the_same_figure_is_the_same_bytes(tmp_path):
    given = codes(2)
    written = [style.write(spike_fidelity(given), tmp_path / name) for name in ("one", "two")]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
