import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embeddings.selection import Block, select, usable
from pipeline.stage import UserError

words = st.lists(st.sampled_from(["a", "A", "b", "B", "nice", "Nice", "NICE", "c"]), min_size=1, max_size=12)
wanted = st.one_of(st.none(), st.permutations(["a", "A", "b", "nice", "Nice", "z"]).map(lambda w: w[:4]))


def blocks(names, size):
    """Rows in blocks; the values of row i are i + 1 and -i."""
    for start in range(0, len(names), size):
        numbers = range(start, min(start + size, len(names)))
        vectors = np.array([[i + 1, -i] for i in numbers], np.float32)
        yield Block(names[start : start + size], vectors, "x.vec", numbers)


def expected(names, asked):
    """Word -> row, by the rule as it is written: the row of this word, else the first whose lower-case form it is."""
    if asked is None:
        return {word: names.index(word) for word in dict.fromkeys(names)}
    lent = [name.lower() if name not in asked else None for name in names]
    rows = {word: (names if word in names else lent) for word in asked if word in names or word in lent}
    return {word: column.index(word) for word, column in rows.items()}


@given(words, wanted, st.integers(1, 13))
def test_the_first_of_each_word_by_the_rule(names, asked, size):
    found = select(lambda: blocks(names, size), asked, True)
    rule = expected(names, asked)
    assert found.words == list(rule)
    np.testing.assert_array_equal(found.vectors, np.array([[i + 1, -i] for i in rule.values()]).reshape(-1, 2))
    assert found.vectors.dtype == np.float32
    assert found.rows == len(names)
    assert found.other_case == sum(names[row] != word for word, row in rule.items())


@given(words, wanted, st.integers(1, 13))
def test_the_first_word_that_stands_twice_is_named_wanted_or_not(names, asked, size):
    second = next((i for i, name in enumerate(names) if name in names[:i]), None)
    if second is None:
        assert select(lambda: blocks(names, size), asked, False).words == list(expected(names, asked))
        return
    place = f"row {second}: the word {names[second]!r} stands already in row {names.index(names[second])};"
    with pytest.raises(UserError, match=f"^x.vec: {place} option duplicates: first keeps the first$"):
        select(lambda: blocks(names, size), asked, False)


def test_many_wanted_words_of_which_some_are_missing_keep_their_own_rows():
    names = [f"w{i}" for i in range(5000)]
    asked = [f"w{i}" for i in range(6000, -1, -1) if i % 3]
    found = select(lambda: blocks(names, 700), asked, False)
    assert found.words == [word for word in asked if int(word[1:]) < 5000]
    np.testing.assert_array_equal(found.vectors[:, 0], [int(word[1:]) + 1 for word in found.words])


def test_what_stands_twice_in_two_files_is_named_with_both():
    def parts():
        yield Block(["a", "b"], np.ones((2, 1), np.float32), "x", [0, 1])
        yield Block(["c", "b"], np.ones((2, 1), np.float32), "y", [0, 1])

    with pytest.raises(UserError, match=r"^y: row 1: the word 'b' stands already in row 1 of x; option"):
        select(parts, None, False)


def test_a_word_that_stands_twice_before_a_fault_is_named_and_one_behind_it_is_not():
    def parts(names):
        yield Block(names, np.ones((len(names), 1), np.float32), "x", range(len(names)))
        raise UserError("the fault")

    with pytest.raises(UserError, match="x: row 2: the word 'a' stands already in row 0"):
        select(lambda: parts(["a", "b", "a"]), None, False)
    with pytest.raises(UserError, match="the fault"):
        select(lambda: parts(["a", "b"]), None, False)


def test_equal_numbers_of_different_words_are_no_duplicates(monkeypatch):
    monkeypatch.setattr("pipeline.embeddings.selection.hash", len, raising=False)
    assert select(lambda: blocks(["a", "b", "cc"], 2), None, False).words == ["a", "b", "cc"]


@pytest.mark.parametrize(
    ("bad", "said"), [(np.nan, "NaN or infinity"), (-np.inf, "NaN or infinity"), (0, "a zero vector has no direction")]
)
def test_the_rows_before_an_unusable_one_come_before_its_error(bad, said):
    vectors = np.array([[1, 2], [0, 3], [0, bad], [np.nan, 0]], np.float32)
    found = usable(Block(["a", "b", "c", "d"], vectors, "x", range(5, 9)), "line")
    before = next(found)
    assert (before.words, list(before.numbers)) == (["a", "b"], [5, 6])
    np.testing.assert_array_equal(before.vectors, vectors[:2])
    with pytest.raises(UserError, match=rf"^x: line 7 \('c'\): {said}$"):
        next(found)
