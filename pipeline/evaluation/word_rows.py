"""Which row of an embedding table answers for a lower-case word."""

from pipeline.store import EmbeddingTable


def word_rows(table: EmbeddingTable) -> dict[str, int]:
    """Row number of each word as the table writes it, and of each in lower case.

    A table that writes "Paris" has "paris" too: its own row of that spelling, or else the first that lower case makes.
    """
    rows: dict[str, int] = {}
    for row, word in enumerate(table.words):
        rows.setdefault(word.lower(), row)
    return rows | table.rows()
