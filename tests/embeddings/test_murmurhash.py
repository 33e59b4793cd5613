import pytest

from pipeline.embeddings.murmurhash import murmurhash64a

# Hashes that spaCy's documentation and source print (StringStore, seed 1).
PUBLISHED = {
    "apple": 8566208034543834098,
    "coffee": 3197928453018144401,
    "because": 16950148841647037698,
    "咖啡": 7962530705879205333,
}


@pytest.mark.parametrize("word", PUBLISHED)
def test_published_values(word):
    assert murmurhash64a(word.encode(), seed=1) == PUBLISHED[word]


def test_every_length_of_rest_and_the_seed_count():
    values = {murmurhash64a(b"abcdefghijklmnopqrstuvwxyz"[:n], seed) for n in range(1, 27) for seed in (0, 1)}
    assert len(values) == 52
    assert all(0 <= value < 2**64 for value in values)


def test_nothing_with_seed_zero_is_zero():
    assert murmurhash64a(b"", seed=0) == 0
