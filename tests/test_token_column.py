"""The one check of a column of tokens."""

import pyarrow as pa
import pytest

from pipeline import token_column
from pipeline.stage import UserError

LISTS = pa.list_(pa.int32())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1], None, [2]], "f: row 1{} is null"),
        ([[1], [], [2, None]], "f: row 2{} holds a null token"),
        ([[1], [], [2, 9, 10]], "f: row 2{} holds token 9, expected 0 to 8"),
        ([[], [-2, 8]], "f: row 1{} holds token -2, expected 0 to 8"),
    ],
)
def test_the_first_row_that_cannot_be_used_is_named(rows, said):
    with pytest.raises(UserError, match=f"^{said.format('')}$"):
        token_column.check("f", pa.array(rows, LISTS), 9)
    sliced = pa.array([[3, 3], [], *rows], LISTS)[2:]
    with pytest.raises(UserError, match=f"^{said.format(' of row group 4')}$"):
        token_column.check("f", sliced, 9, group=4)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.list_(pa.string()), pa.int32(), pa.large_list(pa.int32())])
def test_columns_of_another_type_are_refused(kind):
    with pytest.raises(UserError, match=r"^f: column 'tokens' is .*, not list<int32>$"):
        token_column.check("f", pa.array([], kind))


def test_rows_are_those_of_the_column():
    column = pa.array([[9, 9], [1, 2], [], [3]], LISTS)[1:]
    assert token_column.check("f", column, 4) is column
    assert token_column.check("f", column) is column
    assert [row.tolist() for row in token_column.rows(column)] == [[1, 2], [], [3]]
    assert token_column.rows(column[:0]) == []
