import pytest

from pipeline.embeddings import openai_key


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Illegal header value b'Bearer plain-key-1'", "Illegal header value b'Bearer ***'"),
        ("got plain-key-1, twice: plain-key-1", "got ***, twice: ***"),
        ("Incorrect API key provided: sk-pro****wxyz. See", "Incorrect API key provided: sk-*** See"),
        ('{"key": "sk-other"}', '{"key": "sk-***"}'),
        ("a task-force, a disk-drive", "a task-force, a disk-drive"),
    ],
)
def test_no_text_keeps_the_key_or_what_looks_like_one(text, clean):
    assert openai_key.scrubbed(text, "plain-key-1") == clean


def test_the_key_comes_from_the_environment_or_there_is_none():
    assert openai_key.of({openai_key.VARIABLE: " plain-key-1\n"}) == "plain-key-1"
    assert openai_key.of({openai_key.VARIABLE: " "}) is openai_key.of({}) is None


@pytest.mark.parametrize("value", ["x plain-key-1", ["a", "plain-key-1"], {"a": ("plain-key-1",)}, {"plain-key-1": 1}])
def test_the_key_is_found_at_any_depth(value):
    assert openai_key.held(value, "plain-key-1") == "the key of OPENAI_API_KEY"
    assert openai_key.held(value, None) is None


@pytest.mark.parametrize("value", ["sk-1", "models/sk-abc", [{"a": "Bearer abc"}]])
def test_what_has_the_form_of_a_key_is_found(value):
    assert openai_key.held(value, None) == "what looks like a key (sk-... or Bearer ...)"


@pytest.mark.parametrize("value", ["a task-force", "bearer of news", 3, None, 2.5, True, "none"])
def test_other_values_hold_nothing(value):
    assert openai_key.held(value, "none") is None  # too short a key to be compared
