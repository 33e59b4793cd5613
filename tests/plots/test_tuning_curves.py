import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex

from pipeline.plots import style
from pipeline.plots.tuning_curves import COLOURS, SHOWN, Response, tuning_curves

T = 12


def response(neurons=9, value=0.11, decoded=0.13):
    values, centres = np.linspace(-1, 1, 500), np.linspace(-1, 1, neurons)
    activity = np.exp(-0.5 * ((values[:, None] - centres) * (neurons - 1) / 1.5) ** 2)
    own = np.exp(-0.5 * ((value - centres) * (neurons - 1) / 1.5) ** 2)
    spikes = np.zeros((T, neurons), np.int8)
    for neuron in np.flatnonzero(own > 0.3):
        spikes[:: 1 + int(4 * (1 - own[neuron])), neuron] = 1
    return Response("population_x", values, activity, centres, spikes, value, decoded)


def test_curves_and_spikes_of_a_neuron_stand_at_its_value_in_its_colour():
    given = response()
    figure = tuning_curves(given)
    curves, raster = figure.axes
    fired = given.spikes.any(axis=0)
    assert 0 < fired.sum() < 9
    drawn = [line for line in curves.lines if len(line.get_xdata()) == 500]
    assert len(drawn) == 9
    at = {float(line.get_ydata()[line.get_xdata().argmax()]): line.get_color() for line in drawn}
    for neuron, (place, colour) in enumerate(sorted(at.items())):
        assert place == pytest.approx(given.centres[neuron], abs=0.01)
        assert colour == (COLOURS[neuron % len(COLOURS)] if fired[neuron] else style.LIGHT_GREY)
    (dots,) = raster.collections
    steps, neurons = np.nonzero(given.spikes)
    np.testing.assert_array_equal(dots.get_offsets(), np.column_stack([steps, given.centres[neurons]]))
    assert [to_hex(colour).upper() for colour in dots.get_facecolors()] == [COLOURS[k % len(COLOURS)] for k in neurons]
    assert raster.get_title(loc="left") == f"{given.spikes.sum()} spikes of {fired.sum()} of 9 neurons"


def test_the_value_and_what_is_decoded_are_lines_across_both_panels():
    figure = tuning_curves(response(value=-0.2, decoded=-0.25))
    for axes in figure.axes:
        assert [line.get_ydata()[0] for line in axes.lines if len(line.get_xdata()) == 2] == [-0.2, -0.25]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["value −0.2000", "decoded −0.2500", "curve of a neuron that is silent"]


def test_of_a_large_population_the_surroundings_are_shown():
    assert tuning_curves(response(SHOWN)).axes[0].get_ylim() == (-1, 1)
    low, high = tuning_curves(response(401)).axes[1].get_ylim()
    assert (high - low) / (2 / 400) == pytest.approx(SHOWN)
    assert tuning_curves(response(401, value=1.0)).axes[1].get_ylim()[1] == 1


@pytest.mark.parametrize("neurons", [2, 9, 401])
def test_no_words_cover_each_other(neurons):
    figure = tuning_curves(response(neurons))
    figure.draw_without_rendering()
    boxes = [axes._left_title.get_window_extent() for axes in figure.axes]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()]
    boxes += [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_the_same_figure_is_the_same_bytes(tmp_path):
    written = [style.write(tuning_curves(response()), tmp_path / name) for name in ("one", "two")]
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
