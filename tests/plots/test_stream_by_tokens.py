import numpy as np
import pyarrow as pa
import pytest

from pipeline.plots.stream_by_tokens import Part, continued, drawn_tables, read, stream_by_tokens
from pipeline.stage import UserError
from pipeline.store import write_parquet

TABLES = {"float32": (4 * 684, True), "lossless": (2000, True), "int8": (684, False), "zstd": (2400, True)}


def some_parts(dims=684):
    return [
        Part(
            "own",
            method,
            table,
            dims,
            n,
            n * bits // 8,
            1000 * size,
            4 * dims * n / (n * bits // 8 + 1000 * size),
            exact,
        )
        for method, bits in (("order-0", 10), ("context model", 8), ("PPMd", 9))
        for table, (size, exact) in TABLES.items()
        for n in (1024, 4096, 10_000)
    ]


def test_the_smallest_exact_table_and_the_smallest_other_are_drawn():
    assert drawn_tables(some_parts()) == ["float32", "lossless", "int8"]
    assert drawn_tables([part for part in some_parts() if part.table == "float32"]) == ["float32"]


def test_a_line_goes_on_where_it_was_measured_and_ends_at_its_limit():
    whole = some_parts()[2]
    assert continued(whole, np.array([whole.tokens]))[0] == pytest.approx(whole.ratio_all_in)
    assert continued(whole, np.array([1e15]))[0] == pytest.approx(32 * 684 / 10, rel=1e-4)


def levels(axes):
    return {round(float(line.get_ydata()[0]), 3) for line in axes.lines if list(line.get_xdata()) == [0, 1]}


def test_both_lines_of_the_claim_stand_in_both_panels():
    above, below = stream_by_tokens(some_parts()).axes
    assert levels(above) == {10_000, round(10_000 * 684 / 1836, 3)}
    assert levels(below) == {2.189, 5.875}
    written = [text.get_text() for axes in (above, below) for text in axes.texts]
    assert "10,000 times in 684 dimensions: 2.189 bits a token" in written
    assert "10,000 times in 1,836 dimensions: 5.875 bits a token" in written
    assert "context model: 2,736 times, at 8.00 bits a token" in written
    assert levels(stream_by_tokens(some_parts(1836)).axes[0]) == {10_000}


def test_the_lower_panel_is_bits_of_the_first_table():
    below = stream_by_tokens(some_parts()).axes[1]
    drawn = [
        line.get_ydata().tolist() if hasattr(line.get_ydata(), "tolist") else line.get_ydata() for line in below.lines
    ]
    assert drawn[:3] == [[10, 10, 10], [8, 8, 8], [pytest.approx(9, rel=1e-3)] * 3]


def test_a_table_that_is_not_exact_is_called_so():
    (legend,) = stream_by_tokens(some_parts()).legends
    named = [text.get_text() for text in legend.get_texts()]
    assert {"table: float32", "table: lossless", "table: int8, not exact"} < set(named)


def test_nothing_measured_is_said():
    figure = stream_by_tokens([])
    assert [text.get_text() for text in figure.axes[0].texts] == ["the table holds no measurements"]


def test_read_and_refused(tmp_path):
    write_parquet(tmp_path / "stream.parquet", pa.Table.from_pylist([part._asdict() for part in some_parts()]))
    assert read(tmp_path / "stream.parquet") == some_parts()
    write_parquet(tmp_path / "other.parquet", pa.table({"embedding": ["own"]}))
    with pytest.raises(UserError, match="no column 'method'"):
        read(tmp_path / "other.parquet")
