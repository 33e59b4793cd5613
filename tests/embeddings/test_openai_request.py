import pytest

from pipeline.embeddings import openai_request
from pipeline.embeddings.openai_options import Options
from pipeline.stage import UserError


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
    assert openai_request.scrubbed(text, "plain-key-1") == clean


def test_the_key_is_in_no_description_of_an_endpoint():
    with openai_request.opened(Options("m", "http://127.0.0.1:9/v1"), "plain-key-1") as endpoint:
        assert "plain-key-1" not in repr(endpoint)


def test_what_the_client_raises_unexpectedly_is_one_clean_line():
    class Broken:
        @property
        def embeddings(self):
            raise RuntimeError("with plain-key-1\nin it")

    endpoint = openai_request.Endpoint(Broken(), Options("m"), "plain-key-1")
    with pytest.raises(UserError, match=r"openai: RuntimeError: with \*\*\* in it$") as error:
        openai_request.ask(endpoint, ["a"])
    assert error.value.__context__ is None
