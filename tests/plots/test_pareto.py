from hypothesis import given
from hypothesis import strategies as st

from pipeline.plots.pareto import front

few = st.integers(0, 6).map(float)  # few values, so that there are ties


@given(st.lists(st.tuples(few, few), max_size=12))
def test_the_front_is_what_nothing_dominates(points):
    def dominated(point):
        return any(other != point and other[0] <= point[0] and other[1] >= point[1] for other in points)

    found = front([cost for cost, _ in points], [quality for _, quality in points])
    assert sorted(found) == [i for i, point in enumerate(points) if not dominated(point)]
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


def test_no_points_have_no_front():
    assert front([], []) == []
