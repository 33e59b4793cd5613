import numpy as np
import pytest

from pipeline.codec import Codes, Strings
from pipeline.layout import check_layout, check_padding, check_strings
from pipeline.stage import UserError

LAYOUT = {"bits": (np.uint8, (3,)), "level": (np.float16, ())}


def codes(bits=np.uint8, width=(3,), level=np.float16, **more):
    return Codes({"bits": np.zeros((5, *width), bits), "level": np.zeros(5, level), **more})


def test_codes_of_that_layout_are_returned_whatever_their_number():
    own = codes()
    assert check_layout(own, "mine", LAYOUT) is own
    assert len(check_layout(own.take(np.arange(2)), "mine", LAYOUT)) == 2


@pytest.mark.parametrize(
    ("wrong", "has"),
    [
        (codes(width=(4,)), "bits uint8[4], level float16"),
        (codes(width=()), "bits uint8, level float16"),
        (codes(bits=np.int8), "bits int8[3], level float16"),
        (codes(level=np.float32), "bits uint8[3], level float32"),
        (codes(norm=np.zeros((5, 1), np.float32)), "bits uint8[3], level float16, norm float32[1]"),
        (Codes({"bits": np.zeros((5, 3), np.uint8)}), "bits uint8[3]"),
        (Codes({"bits": Strings.of([b"a", b"bc"])}), "bits strings"),
        (codes(text=Strings.of([b"a"] * 5)), "bits uint8[3], level float16, text strings"),
    ],
)
def test_others_are_refused_in_one_line_that_says_what_they_have(wrong, has):
    with pytest.raises(UserError) as caught:
        check_layout(wrong, "mine", LAYOUT)
    assert str(caught.value) == (
        f"mine: codes of another codec or dimension: a vector has {has}; expected is bits uint8[3], level float16"
    )


def test_a_width_of_none_is_any_width_and_no_other_shape():
    layout = {"values": (np.float16, (None,))}
    for width in (1, 7):
        check_layout(Codes({"values": np.zeros((2, width), np.float16)}), "mine", layout)
    for wrong in (np.zeros((2, 3), np.float32), np.zeros(2, np.float16), np.zeros((2, 3, 4), np.float16)):
        with pytest.raises(UserError, match=r"mine: codes of another .*; expected is values float16\[d\]"):
            check_layout(Codes({"values": wrong}), "mine", layout)


@pytest.mark.parametrize("count", range(9, 17))
def test_padding_where_the_lowest_bit_is_the_first(count):
    packed = np.packbits(np.ones((4, count), bool), axis=1, bitorder="little")
    check_padding(packed, count, "mine", highest_first=False)
    for place in range(count, 16):
        damaged = packed.copy()
        damaged[2, 1] |= 1 << (place - 8)
        with pytest.raises(UserError, match=f"vector 2 has more than {count} bits"):
            check_padding(damaged, count, "mine", highest_first=False)


@pytest.mark.parametrize("count", range(9, 17))
def test_padding_is_zero(count):
    packed = np.packbits(np.ones((4, count), bool), axis=1)
    check_padding(packed, count, "mine")
    for place in range(count, 16):
        damaged = packed.copy()
        damaged[2, 1] |= 1 << (15 - place)
        with pytest.raises(UserError, match=f"vector 2 has more than {count} bits"):
            check_padding(damaged, count, "mine")


def test_strings_are_told_from_arrays():
    strings = Strings.of([b"a", b""])
    assert check_strings(Codes({"text": strings}), "x", "text") is strings
    for codes in ({"other": strings}, {"text": np.zeros((2, 3), np.uint8)}, {"text": strings, "more": strings}):
        with pytest.raises(UserError, match=r"x: codes of another codec: a vector has .*; expected is text strings"):
            check_strings(Codes(codes), "x", "text")
