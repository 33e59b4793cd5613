import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.plots.labels import candidates, nearest, overlapping, place, sampled

PANEL = np.array([0.0, 0.0, 500.0, 250.0])
spot = st.integers(0, 60).map(lambda x: 4.0 * x)


def marker(spots, half=3.0):
    return np.concatenate([spots - half, spots + half], axis=1)


def overlap_by_hand(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@settings(max_examples=40, deadline=None)
@given(arrays(float, (9, 2), elements=spot), st.lists(st.floats(10, 120), min_size=9, max_size=9))
def test_labels_cover_neither_one_another_nor_a_point_nor_the_edge(spots, widths):
    sizes = np.array([[width, 9.0] for width in widths])
    obstacles = marker(spots)
    placed = [box for box in place(spots, sizes, obstacles, [], PANEL) if box is not None]
    assert placed
    for i, box in enumerate(placed):
        assert not any(overlap_by_hand(box, other) for other in placed[:i])
        assert not any(overlap_by_hand(box, other) for other in obstacles)
        assert (box[:2] >= PANEL[:2]).all()
        assert (box[2:] <= PANEL[2:]).all()


def test_a_crowd_is_labelled_in_full():
    spots = np.array([[100.0 + 9 * i, 60.0 + 7 * i] for i in range(15)])
    assert all(box is not None for box in place(spots, np.full((15, 2), [70.0, 9.0]), marker(spots), [], PANEL))


def test_a_lone_label_stands_right_beside_its_point():
    spots = np.array([[250.0, 100.0]])
    (box,) = place(spots, np.array([[40.0, 10.0]]), marker(spots), [], PANEL)
    assert np.hypot(*(nearest(box, spots[0]) - spots[0])) <= 6
    np.testing.assert_allclose(box[2:] - box[:2], [40, 10])


def test_a_label_makes_way_for_a_curve():
    spots = np.array([[250.0, 100.0]])
    curve = np.array([[0.0, 111.0], [500.0, 111.0]])
    (box,) = place(spots, np.array([[40.0, 10.0]]), marker(spots), [curve], PANEL)
    assert not box[1] < 111 < box[3]


def test_a_label_covers_a_curve_rather_than_stand_far_away():
    spots = np.array([[250.0, 100.0]])
    curves = [np.array([[x, 0.0], [x, 250.0]]) for x in np.arange(150.0, 350.0, 20.0)]
    (box,) = place(spots, np.array([[40.0, 10.0]]), marker(spots), curves, PANEL)
    assert np.hypot(*(nearest(box, spots[0]) - spots[0])) < 30


def test_labels_stand_nearest_to_their_own_points():
    spots = np.array([[100.0 + 9 * i, 100.0 + 7 * i] for i in range(15)])
    for i, box in enumerate(place(spots, np.full((15, 2), [70.0, 9.0]), marker(spots), [], PANEL)):
        assert np.hypot(*(nearest(box, spots) - spots).T).argmin() == i


def test_a_line_to_a_label_goes_around_other_points():
    spots, wall = np.array([[100.0, 8.0]]), np.array([80.0, 16.0, 120.0, 20.0])  # right above is a wide obstacle
    obstacles = np.stack([*marker(spots), wall, [60, 0, 80, 15], [120, 0, 140, 15]])
    (box,) = place(spots, np.array([[40.0, 9.0]]), obstacles, [], np.array([0.0, 0.0, 200.0, 100.0]))
    line = sampled(np.stack([spots[0], nearest(box, spots[0])]))
    assert not ((line > wall[:2]) & (line < wall[2:])).all(axis=1).any()


def test_the_lines_of_a_dense_row_do_not_cross():
    spots = np.array([[100.0 + 8 * i, 100.0 + i] for i in range(9)])
    boxes = place(spots, np.full((9, 2), [80.0, 9.0]), marker(spots), [], PANEL)
    lines = [(anchor, nearest(box, anchor)) for anchor, box in zip(spots, boxes, strict=True)]

    def apart(line, p, q):
        """Whether p and q lie on one side of the line."""
        along = line[1] - line[0]
        sides = [along[0] * (r - line[0])[1] - along[1] * (r - line[0])[0] for r in (p, q)]
        return sides[0] * sides[1] >= 0

    for i, one in enumerate(lines):
        assert all(apart(one, *other) or apart(other, *one) for other in lines[:i])


def test_no_line_runs_through_another_label():
    spots = np.array([[100.0, 100.0], [106.0, 100.0], [112.0, 100.0], [118.0, 100.0], [124.0, 100.0]])
    boxes = place(spots, np.full((5, 2), [60.0, 9.0]), marker(spots), [], PANEL)
    for i, (anchor, box) in enumerate(zip(spots, boxes, strict=True)):
        line = sampled(np.stack([anchor, nearest(box, anchor)]))
        for other in boxes[:i] + boxes[i + 1 :]:
            assert not ((line > other[:2]) & (line < other[2:])).all(axis=1).any()


def test_no_room_is_no_label():
    spots = np.array([[5.0, 5.0]])
    assert place(spots, np.array([[40.0, 10.0]]), marker(spots), [], np.array([0.0, 0.0, 30.0, 30.0])) == [None]


def test_candidates_keep_their_size_and_their_distance():
    anchor, size = np.array([10.0, 20.0]), np.array([30.0, 8.0])
    boxes = candidates(anchor, size)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], np.broadcast_to(size, (len(boxes), 2)))
    assert np.hypot(*(nearest(boxes, anchor) - anchor).T).min() > 4


def test_overlapping_counts_the_margin():
    one, other = np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[3.0, 0.0, 4.0, 2.0]])
    assert not overlapping(one, other)[0, 0]
    assert overlapping(one, other, margin=1.5)[0, 0]
