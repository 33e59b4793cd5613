import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.embeddings import text_blocks, word2vec_text
from pipeline.embeddings.text_blocks import Lines
from pipeline.embeddings.word2vec_text import Format, parse_block, parse_lines
from pipeline.stage import UserError

PLAIN = b"the 0.1 -2e-3\ncat 3 4.25\n"

plain_values = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda x: b"%r" % x)
decimals = st.from_regex(rb"[+-]?[0-9]{0,20}\.?[0-9]{0,20}([eE][+-]?[0-9]{1,3})?", fullmatch=True)
odd_values = st.sampled_from(
    [
        *(b"0", b"-0.0", b"nan", b"inf", b"-Infinity", b"1e39", b"1e-60", b"1e400", b"1e-400", b"", b"x", b"1_0"),
        *(b"1,5", b"+1.0", b"\t1", b"1\r", b"1\v", b"1\x00", b'"1"', b"1.", b".5", b"-", b"1e", b"\xff", b"NA", b"0x1"),
        *(b"3.4028235677973366e38", b"1.00000017881393432617187499", b"true", "１".encode(), b"1d5", b"nan(1)", b"1f"),
        b"null",
    ]
)
plain_words = st.text(st.characters(categories=["L"]), min_size=1, max_size=5).map(str.encode)
odd_words = st.sampled_from(
    [
        *(b"", b'"', b'"a', b"'", b"\\", b"a\tb", b"New York", b"3", b"of 3", b"\xff", b"\xed\xa0\x80", b"\x00", b"#"),
        *("\ufeff".encode(), "\ufeffa".encode(), "\xa0".encode(), "a\u3000b".encode(), "\x85".encode(), b"a,b"),
        *(b"NA", b"\x1c"),
    ]
)
spaces = st.sampled_from([b" "] * 30 + [b"  ", b"\t", b"\v", b"\f"])
ends = st.sampled_from([b"\n"] * 12 + [b" \n"] * 12 + [b"\r\n", b" \r\n", b"  \n", b"\n\n", b"\n \n", b"\r", b"\t\n"])


@st.composite
def lines(draw, odd):
    """Lines of two values, some of them odd in one of the many ways."""
    one_in = st.integers(0, 9 if odd else 0).map(lambda n: n == 9)
    written = []
    for _ in range(draw(st.integers(1, 6))):
        word = draw(odd_words if draw(one_in) else plain_words)
        count = draw(st.integers(0, 4)) if draw(one_in) else 2
        values = [draw(odd_values if draw(one_in) else st.one_of(plain_values, decimals)) for _ in range(count)]
        space = draw(spaces) if odd else b" "
        written.append(space.join([word, *values]) + draw(ends if odd else st.sampled_from([b"\n", b" \n", b"\r\n"])))
    content = b"".join(written)
    return content.rstrip(b"\n") if draw(st.booleans()) else content


def same(found, reference):
    assert found.block.words == reference.block.words
    assert list(found.block.numbers) == list(reference.block.numbers)
    assert found.block.vectors.dtype == np.float32
    assert found.block.vectors.tobytes() == reference.block.vectors.tobytes()
    assert str(found.fault) == str(reference.fault)


@given(st.one_of(lines(odd=False), lines(odd=True)), st.booleans())
@example("\ufeffa 1 2\n".encode(), False)
@example(b"a 1 2\n\nb 1 2\n", False)
@example(b'"a" 1 2\n', False)
@example(b"a 1.00000017881393432617187499 2\n", False)  # float32 at once would round it down
@example(b"a 1e39 2\n", False)
@example(b"a 1\t2 3\n", False)
@example(b"a\tb 1 2\n", False)
@example(b"of\t3 1 2\n", True)
@example(b"a 1 2\rb 1 2\n", False)
@example(b" 1 2\n", False)
@example(b"a 0 1e-60\n", False)
@example(b"a nan 2\n", False)
def test_a_block_gives_what_its_lines_give_bit_for_bit_or_their_fault(content, spaces_in_words):
    how = Format("x.vec", 2, spaces_in_words)
    same(parse_block(Lines(7, content), how), parse_lines(Lines(7, content), how))


@given(st.binary(max_size=30), st.integers(1, 3))
def test_any_bytes_give_what_their_lines_give(content, dims):
    how = Format("x.vec", dims, False)
    same(parse_block(Lines(1, content), how), parse_lines(Lines(1, content), how))


@given(st.lists(decimals.filter(lambda text: any(c in b"0123456789" for c in text.split(b"e")[0])), min_size=1))
def test_the_quick_parser_rounds_as_python_does(values):
    with np.errstate(over="ignore"):
        try:
            expected = np.array([float(value) for value in values], np.float64).astype(np.float32)
        except ValueError:
            return
    found = text_blocks.parse(b" ".join([b"a", *values]) + b"\n", len(values))
    if found is not None:
        assert found[1][0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("ends", [b"\n", b" \n", b"\r\n", b" \r\n"])
def test_plain_lines_are_parsed_at_once(ends):
    words, vectors = text_blocks.parse(PLAIN.replace(b"\n", ends), 2)
    assert words == ["the", "cat"]
    np.testing.assert_array_equal(vectors, np.array([[0.1, -2e-3], [3, 4.25]], np.float32))
    assert vectors.flags.c_contiguous


def test_more_dimensions_than_the_lines_have_are_refused_before_anything_is_made_for_them():
    assert text_blocks.parse(PLAIN, 999_999_999_999) is None


@given(st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"")), max_size=9), st.integers(1, 12))
def test_blocks_are_whole_lines_in_order_with_their_numbers(written, size):
    content = b"\n".join(written)
    found = list(text_blocks.split(io.BytesIO(content), 5, b"head\n", size))
    assert b"".join(block.content for block in found) == b"head\n" + content
    assert all(block.content.endswith(b"\n") for block in found[:-1])
    first = 5
    for block in found:
        assert block.first == first
        first += block.content.count(b"\n")


def outcome(path, **how):
    """All rows of a file and its fault, as one."""
    words, numbers, values, fault = [], [], b"", None
    try:
        for block in word2vec_text.blocks(str(path), False, **how):
            words += block.words
            numbers += block.numbers
            values += block.vectors.tobytes()
    except UserError as error:
        fault = str(error)
    return words, numbers, values, fault


@given(st.lists(lines(odd=False), min_size=1, max_size=3), st.one_of(st.just(b""), lines(odd=True)), st.integers(1, 99))
def test_a_file_in_blocks_of_any_size_is_the_file_line_by_line(tmp_path_factory, plain, odd, size):
    path = tmp_path_factory.mktemp("blocks") / "x.vec"
    path.write_bytes(b"".join(part if part.endswith(b"\n") else part + b"\n" for part in plain) + odd)
    assert outcome(path, block_bytes=size) == outcome(path, block_bytes=1 << 20, parser=parse_lines)
