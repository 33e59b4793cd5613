"""What the sources that read files of vectors share: options, what is logged, and the table with its facts."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.embeddings.selection import Selected
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError, check_keys
from pipeline.store import EmbeddingTable, digest, versions

log = logging.getLogger("pipeline")


class FileOptions(NamedTuple):
    """`path`; whether the first row of a word that stands twice counts (else it is an error); `licence`."""

    path: str
    first_wins: bool
    licence: str


def options(what: str, given: Mapping[str, Any], others: Sequence[str] = ()) -> FileOptions:
    """The options that all such sources have: `path`, `duplicates` (error or first) and `licence`; `others` may stand
    beside them. Raises UserError, beginning with `what`, for unknown and missing ones and wrong values."""
    check_keys(what, given, ("duplicates", "licence", *others), ("path",))
    duplicates = given.get("duplicates", "error")
    if not isinstance(given["path"], str):
        raise UserError(f"{what}: option path must be a string, not {given['path']!r}")
    if duplicates not in ("error", "first"):
        raise UserError(f"{what}: duplicates {duplicates!r} is not one of error, first")
    return FileOptions(given["path"], duplicates == "first", str(given.get("licence", "as the file's publisher says")))


def refuse_vocabulary(what: str, vocabulary: Vocabulary | None, option: str) -> None:
    """Raises UserError if words are asked of rows that only have numbers; `option` is the one that gives them words."""
    if vocabulary is not None:
        raise UserError(
            f"{what}: without option {option} rows are named by their numbers, which are no words of the vocabulary; "
            "put `vocabulary: all` beside `source`"
        )


def table(
    source: str,
    chosen: FileOptions,
    files: Sequence[str],
    vocabulary: Vocabulary | None,
    selected: Selected,
    *distributions: str,
) -> EmbeddingTable:
    """The table of what was selected from `files`, read with the help of `distributions`; what went unused is logged.

    Raises UserError if no wanted word was found.
    """
    wanted, used = len(vocabulary.words) if vocabulary else 0, len(selected.words)
    if not used:
        raise UserError(f"{chosen.path}: none of the {wanted} wanted words is in it")
    if vocabulary is not None:
        log_use(chosen.path, selected.rows, used, wanted)
    facts = {
        "source": source,
        "model": Path(chosen.path).name,
        "licence": chosen.licence,
        "normalisation": "none: raw values of the source",
        "digests": json.dumps({Path(file).name: digest(file) for file in files}),
        "versions": json.dumps(versions(*distributions)),
        "words_missing": str(wanted - used if vocabulary else 0),
        "words_found_in_other_case": str(selected.other_case),
    }
    return EmbeddingTable(selected.words, selected.vectors, facts)


def log_use(path: str, rows: int, used: int, wanted: int) -> None:
    """Say what went unused; a warning if it is more than half of the file or of the vocabulary."""
    if used < rows or used < wanted:
        level = logging.WARNING if 2 * used < max(rows, wanted) else logging.INFO
        text = "%s: %d rows, %d used; %d words of the vocabulary have no vector"
        log.log(level, text, path, rows, used, wanted - used)
