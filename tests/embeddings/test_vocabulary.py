import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embeddings.vocabulary import Vocabulary, first_of_each, read_vocabulary, within
from pipeline.stage import UserError
from pipeline.store import write_parquet


def write(path, words, always):
    write_parquet(path, pa.table({"word": words, "count": [1] * len(words), "always": pa.array(always, pa.bool_())}))
    return path


def test_words_that_are_always_in_come_first_and_order_is_kept(tmp_path):
    path = write(tmp_path / "v.parquet", ["the", "tiger", "of", "cat"], [False, True, False, True])
    assert read_vocabulary(path) == Vocabulary(["tiger", "cat", "the", "of"], 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [([], "without a word"), (["a", "b", "a"], "'a' stands twice"), (["a", ""], "empty word"), ([None], "empty word")],
)
def test_unusable_vocabularies_are_refused_by_file(tmp_path, words, said):
    path = write(tmp_path / "v.parquet", pa.array(words, pa.string()), [True] * len(words))
    with pytest.raises(UserError, match=said) as error:
        read_vocabulary(path)
    assert str(path) in str(error.value)


def test_within_keeps_order_and_counts_what_is_always_in():
    vocabulary = Vocabulary(["tiger", "cat", "the", "of"], 2)
    assert within(vocabulary, ["of", "the", "cat", "else"]) == Vocabulary(["cat", "the", "of"], 1)


@given(st.lists(st.integers(0, 5)), st.randoms())
def test_first_of_each_keeps_one_position_a_key_the_first_in_order(keys, random):
    order = list(range(len(keys)))
    random.shuffle(order)
    kept = first_of_each(keys, order)
    assert kept == sorted(kept)
    assert sorted(keys[i] for i in kept) == sorted(set(keys))
    for i in kept:
        assert all(order.index(i) <= order.index(j) for j in order if keys[j] == keys[i])
