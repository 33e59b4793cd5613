import base64
import json

import numpy as np
import pytest

from pipeline.embeddings.openai_reply import ReplyError, parse, unusable, usable


def body(*embeddings, **more):
    items = [{"index": index, "embedding": embedding} for index, embedding in enumerate(embeddings)]
    return {"data": items, "model": "m-1", "usage": {"prompt_tokens": 3, "total_tokens": 3}, **more}


def packed(*values):
    return base64.b64encode(np.array(values, "<f4").tobytes()).decode()


def parsed(value, inputs=2):
    return parse(json.dumps(value).encode(), inputs)


def test_lists_and_base64_are_the_same_vectors():
    values = [[0.1, -2, 3e-8], [1, 2, 3]]
    reply = parsed(body(packed(*values[0]), values[1]))
    assert reply.vectors.dtype == np.float32
    np.testing.assert_array_equal(reply.vectors, np.array(values, np.float32))
    np.testing.assert_array_equal(parsed(body(*values)).vectors, reply.vectors)
    assert (reply.model, reply.tokens) == ("m-1", 3)


def test_the_index_counts_not_the_order():
    shuffled = body([1.0], [2.0], [3.0])
    shuffled["data"] = [shuffled["data"][i] for i in (2, 0, 1)]
    assert parsed(shuffled, 3).vectors.ravel().tolist() == [1, 2, 3]


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": "3"}, {"total_tokens": -1}, 3, {"total_tokens": True}])
def test_a_server_that_does_not_count_is_fine(usage):
    assert parsed(body([1.0], [2.0], usage=usage)).tokens is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "no list of embeddings"),
        ({"error": "x"}, "the server says: x$"),
        ({"error": {"message": "no model is loaded", "code": 3}}, "the server says: no model is loaded$"),
        ({"error": {"code": 3}, "data": None}, "the server says: {'code': 3}$"),
        ({"error": None}, "no list of embeddings"),
        ({"data": ["x", "y"]}, "no list of embeddings"),
        (body([1.0]), "1 vectors for 2 inputs"),
        (body([1.0], [1.0], [1.0]), "3 vectors for 2 inputs"),
        (body([1.0], [1.0, 2.0]), "between 1 and 2 values"),
        (body([1.0], []), "without a value"),
        (body([1.0], None), "without an embedding"),
        (body([1.0], ["1.0"]), "not a list of numbers"),
        (body([1.0], [None]), "not a list of numbers"),
        (body([1.0], [[1.0]]), "not a list of numbers"),
        (body([1.0], [1.0, [2.0]]), "not a list of numbers"),
        (body([1.0], "AAA"), "base64"),
        (body([1.0], "AAAA"), "base64"),  # three bytes
        (body([1.0], "ä"), "base64"),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, "indices"),
        ({"data": [{"index": i, "embedding": [1.0]} for i in (1, 2)]}, "indices"),
        ({"data": [{"index": i, "embedding": [1.0]} for i in (0, True)]}, "indices"),
        ({"data": [{"embedding": [1.0]}] * 2}, "indices"),
    ],
)
def test_other_replies_are_refused(value, said):
    with pytest.raises(ReplyError, match=said):
        parsed(value)


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"data": [', b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused(content):
    with pytest.raises(ReplyError, match="not JSON"):
        parse(content, 1)


def test_a_refused_reply_still_says_what_it_took():
    with pytest.raises(ReplyError) as error:
        parsed(body([1.0]))
    assert error.value.tokens == 3
    for silent in ([], body([1.0], usage=None)):
        with pytest.raises(ReplyError) as error:
            parsed(silent)
        assert error.value.tokens is None


@pytest.mark.parametrize(
    ("row", "what"), [([0, np.nan], "NaN or infinity"), ([np.inf, 1], "NaN or infinity"), ([0, 0], "a zero vector")]
)
def test_the_first_vector_without_a_direction_is_found(row, what):
    assert unusable(np.array([[0, 1], row, row], np.float32)) == (1, what)
    assert usable(np.array([[0, 1], row], np.float32)).tolist() == [True, False]
    assert unusable(np.ones((2, 2), np.float32)) is None


def test_values_beyond_float32_are_infinite():
    assert unusable(parsed(body([1.0], [1e39])).vectors) == (1, "NaN or infinity")
