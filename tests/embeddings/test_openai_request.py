import pytest

from pipeline.embeddings import openai_request
from pipeline.embeddings.openai_options import Options
from pipeline.stage import UserError


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
