from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.early_stopping import Stopping, exhausted, update
from pipeline.training.settings import Settings

values = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=30)


@given(values, st.booleans(), st.integers(1, 4), st.sampled_from([0.0, 1.0, 2.5]))
def test_it_stops_where_a_search_through_the_whole_history_does(history, larger, patience, least):
    settings = Settings(9, 8, {"a": 1}, metric="m", larger_is_better=larger, patience=patience, min_improvement=least)
    state = Stopping()
    for step, value in enumerate(history):
        state = update(state, value, step, settings)
        records = [0]  # evaluations that beat the record before them by more than `least`
        for one in range(1, step + 1):
            gain = history[one] - history[records[-1]]
            if (gain if larger else -gain) > least:
                records.append(one)
        assert state == Stopping(history[records[-1]], records[-1], step - records[-1])
        assert exhausted(state, settings) == (step - records[-1] >= patience)


def test_without_patience_it_never_stops():
    settings = Settings(9, 8, {"a": 1}, metric="m")
    assert not exhausted(Stopping(1.0, 0, 10**6), settings)
