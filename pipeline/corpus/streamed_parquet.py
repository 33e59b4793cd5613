"""Streamed Parquet files, read a batch of rows at a time, in order and not ahead.

`datasets` reads them with Arrow's dataset scanner. Whatever readahead that is given, it decodes what follows in the
background until a gigabyte waits to be taken (Arrow's backpressure limit), so that behind a consumer which is slower
than it, as one that compresses is, a whole file comes to lie in memory. Arrow's Parquet reader decodes what is asked
for: of a file there is the column chunk at hand, as it is stored, and a batch of its rows.
"""

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 64


def read_in_order(builder: Any) -> None:
    """Have a `datasets` builder of Parquet files read them so; those of other formats stay as they are.

    The rows, their order and their types (those of the first file's schema) are what they were. Of a damaged file the
    rows in front of the first batch that cannot be decoded are read.
    """
    from datasets import DownloadConfig
    from datasets.packaged_modules.parquet.parquet import Parquet
    from datasets.utils.file_utils import xopen

    if not isinstance(builder, Parquet):
        return
    access = DownloadConfig(token=builder.token, storage_options=builder.storage_options)

    def tables(
        files: Iterable[str], row_groups_list: Iterable[Iterable[int] | None] = repeat(None)
    ) -> Iterator[tuple[str, pa.Table]]:
        """The tables of the files' batches, each with a key; of a file, of all row groups or those that are given."""
        for path, groups in zip(files, row_groups_list, strict=False):
            with xopen(path, "rb", download_config=access) as opened, pq.ParquetFile(opened, pre_buffer=False) as file:
                # A row group after the other: no batch crosses into one that may be damaged.
                for group in range(file.num_row_groups) if groups is None else groups:
                    for number, batch in enumerate(file.iter_batches(BATCH_ROWS, row_groups=[group])):
                        yield f"{path}:{group}:{number}", builder._cast_table(pa.Table.from_batches([batch]))

    builder._generate_tables = tables
