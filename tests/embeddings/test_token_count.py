import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline.embeddings import sentence, token_count
from pipeline.stage import UserError


def test_without_a_tokenizer_bytes_bound_the_tokens():
    assert token_count.counts(["cat", "café", "猫"]) == [3, 5, 3]


def test_a_tokenizer_counts_exactly_also_where_its_file_cuts_and_pads(tmp_path):
    path = sentence.packaged_model() / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    texts = ["cat", "the cat", " ".join(["cat"] * 300)]
    assert token_count.counts(texts, str(tmp_path / "tokenizer.json")) == [3, 4, 302]


def test_no_file_and_no_tokenizer_are_refused_by_name(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match=f"{path}: no such file"):
        token_count.counts(["cat"], str(path))
    path.write_text("{}")
    with pytest.raises(UserError, match=f"{path}: not a tokenizer"):
        token_count.counts(["cat"], str(path))


@given(st.lists(st.integers(1, 20)), st.integers(1, 5), st.integers(1, 30))
def test_requests_cover_all_inputs_in_order_within_both_limits(tokens, most_inputs, most_tokens):
    found = token_count.requests(tokens, most_inputs, most_tokens)
    assert [position for request in found for position in request] == list(range(len(tokens)))
    for request in found:
        assert 1 <= len(request) <= most_inputs
        assert sum(tokens[i] for i in request) <= most_tokens or len(request) == 1
    for request in found[:-1]:  # no smaller than it must be
        after = request.stop
        assert len(request) == most_inputs or sum(tokens[i] for i in (*request, after)) > most_tokens
