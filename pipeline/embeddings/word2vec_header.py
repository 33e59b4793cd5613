"""The first line of word2vec's formats: how many rows, of how many dimensions."""

from pipeline.stage import UserError

HEADER_DIGITS = 12  # more is no file's size


def parse_header(line: bytes, name: str) -> tuple[int, int] | None:
    """(rows, dimensions) if the first line is a header: two whole numbers and nothing else. None if it is a row.

    Raises UserError, naming file and line, for numbers that cannot be a file's.
    """
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    if any(len(part) > HEADER_DIGITS for part in parts):
        raise UserError(f"{name}: line 1: a header of numbers of more than {HEADER_DIGITS} digits; damaged?")
    return int(parts[0]), int(parts[1])
