"""A user's own text: `.txt`, `.jsonl` and `.parquet` files, each also as `.gz` or `.zst`.

Files are read in sorted order and streamed: of a file only the line, paragraph or batch of rows at hand is in memory.
What is one document:
- txt: a line (`document: "line"`, the default), a paragraph (lines up to a blank one) or the whole file;
- jsonl: a line, its text in the field `text_field`;
- Parquet: a row, its text in the column `text_field`.
An identifier is the path as given and the line or row: `texts/a.txt:12`. `on_error: skip` leaves out the rest of a
damaged file, and says so.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from pipeline import stage, store
from pipeline.corpus.source import ON_ERROR, Document, Skipped
from pipeline.stage import UserError

FORMATS = (".txt", ".jsonl", ".parquet")
COMPRESSIONS = (".gz", ".zst")
UNITS = ("line", "paragraph", "file")
CHUNK_BYTES = 1 << 20
BATCH_ROWS = 256


@dataclass(frozen=True)
class Source:
    """The documents of all files that `paths` (one path or glob, or a list of them; `**` crosses folders) names."""

    paths: str | list[str]
    document: str = "line"
    text_field: str = "text"
    on_error: str = "fatal"

    REQUIRED: ClassVar[tuple[str, ...]] = ("paths",)

    def __post_init__(self) -> None:
        given = [self.paths] if isinstance(self.paths, str) else self.paths
        if not isinstance(given, list) or not given or not all(isinstance(path, str) and path for path in given):
            raise UserError(f"corpus source 'files': paths must be a path or a list of paths, not {self.paths!r}")
        if self.document not in UNITS:
            raise UserError(f"corpus source 'files': document is {self.document!r}; known are {', '.join(UNITS)}")
        if self.on_error not in ON_ERROR:
            raise UserError(f"corpus source 'files': on_error is {self.on_error!r}; known are {', '.join(ON_ERROR)}")
        if not isinstance(self.text_field, str):
            raise UserError(f"corpus source 'files': text_field must be a string, not {self.text_field!r}")

    def files(self) -> list[Path]:
        """What `paths` stands for, sorted, each file once. Raises UserError for what is missing or of unknown kind."""
        found: set[Path] = set()
        for pattern in [self.paths] if isinstance(self.paths, str) else self.paths:
            if not has_magic(pattern) or Path(pattern).exists():
                found.add(Path(pattern))
            elif matches := [path for path in map(Path, glob(pattern, recursive=True)) if not path.is_dir()]:
                found.update(matches)
            else:
                raise UserError(f"{pattern}: no file matches")
        for path in found:
            if not path.exists():
                raise UserError(f"{path}: no such file")
            if path.is_dir():
                raise UserError(f"{path}: is a directory; name files, or a glob such as {path}/*.txt")
            _format(path)
        return sorted(found)

    def __iter__(self) -> Iterator[Document | Skipped]:
        for path in self.files():
            try:
                yield from self._documents(path)
            except UserError as error:
                if self.on_error == "fatal":
                    raise
                yield Skipped(str(path), str(error))

    def _documents(self, path: Path) -> Iterator[Document]:
        kind = _format(path)
        if kind == ".parquet":
            return _parquet(path, self.text_field)
        if kind == ".jsonl":
            return _jsonl(path, self.text_field)
        return _txt(path, self.document)

    def facts(self) -> dict[str, str]:
        """Names and digests of the files; their licence is their owner's affair."""
        digests = {}
        for path in stage.progress(self.files(), "digests", unit=" files"):
            try:
                digests[str(path)] = store.digest(path)
            except OSError as error:
                raise _unreadable(path, error) from None
        return {
            "source": f"files: {', '.join(digests)}"[:1000],
            "licence": "the user's own files",
            "sha256": json.dumps(digests),
        }


# --- kinds of files ------------------------------------------------------------------------------------------------


def _format(path: Path) -> str:
    """`.txt`, `.jsonl` or `.parquet`, looking through a compression's suffix. Raises UserError for all others."""
    suffix = Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix
    if suffix not in FORMATS:
        raise UserError(f"{path}: unknown kind of file; known are {', '.join(FORMATS)}, each also .gz or .zst")
    return suffix


def _txt(path: Path, unit: str) -> Iterator[Document]:
    pending: list[str] = []  # lines of a paragraph or file that is not complete yet
    first = 1
    for number, line in _lines(path):
        if unit == "line":
            yield Document(f"{path}:{number}", line)
        elif unit == "file" or line.strip():
            first = first if pending else number
            pending.append(line)
        elif pending:
            yield Document(f"{path}:{first}", "\n".join(pending))
            pending = []
    if pending:
        yield Document(str(path) if unit == "file" else f"{path}:{first}", "\n".join(pending))


def _jsonl(path: Path, text_field: str) -> Iterator[Document]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: line {number} is not JSON ({error.msg} at character {error.pos})") from None
        except RecursionError:
            raise UserError(f"{path}: line {number} is JSON nested too deeply") from None
        except ValueError as error:  # an integer of thousands of digits
            raise UserError(f"{path}: line {number} cannot be read ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}: line {number} is not a JSON object")
        yield Document(f"{path}:{number}", text_of(row, text_field, f"{path}: line {number}"))


def _parquet(path: Path, text_field: str) -> Iterator[Document]:
    if path.suffix in COMPRESSIONS:  # Parquet is read from its end, so it has to be unpacked first
        with tempfile.TemporaryDirectory() as folder:
            unpacked = Path(folder) / "unpacked.parquet"
            with open(unpacked, "wb") as file:
                for chunk in _chunks(path):
                    file.write(chunk)
            yield from _rows(unpacked, path, text_field)
    else:
        yield from _rows(path, path, text_field)


def _rows(parquet: Path, name: Path, text_field: str) -> Iterator[Document]:
    """Documents of `parquet`; errors and identifiers call it `name`."""
    number = 0
    try:
        with store.open_parquet(parquet, [text_field]) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=[text_field]):
                for text in batch.column(0):
                    number += 1
                    row = {text_field: text.as_py()}
                    yield Document(f"{name}:{number}", text_of(row, text_field, f"{name}: row {number}"))
    except UnicodeDecodeError:
        raise UserError(f"{name}: row {number} is not UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: damaged Parquet file after row {number} ({error})") from None
    except UserError as error:
        raise UserError(str(error).replace(str(parquet), str(name))) from None


def text_of(row: dict[str, Any], text_field: str, where: str) -> str:
    """The text of a row. Raises UserError that opens with `where` if it is missing, no string, or not Unicode text."""
    if text_field not in row:
        raise UserError(f"{where} has no field {text_field!r}; it has {', '.join(map(repr, row)) or 'none'}")
    text = row[text_field]
    if not isinstance(text, str):
        raise UserError(f"{where}: field {text_field!r} is {type(text).__name__}, not a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: half a surrogate pair at character {error.start}, not Unicode text") from None
    return text


# --- bytes and lines -----------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines from 1 on, without line ends (LF, CRLF) and byte order mark. Raises UserError, naming it."""
    number = 0
    rest: list[bytes] = []  # the beginning of a line, in the chunks read so far
    for chunk in _chunks(path):
        *whole, last = chunk.split(b"\n")
        for line in whole:
            number += 1
            yield number, _decode(b"".join([*rest, line]), path, number)
            rest = []
        rest.append(last)
    if line := b"".join(rest):
        yield number + 1, _decode(line, path, number + 1)


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        text = line.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise UserError(f"{path}: line {number}, byte {error.start + 1} (0x{byte:02x}) is not UTF-8") from None
    return text.removeprefix("\ufeff") if number == 1 else text


def _chunks(path: Path) -> Iterator[bytes]:
    """The decompressed bytes of a file, about a mebibyte at a time.

    Raises UserError for a file that cannot be opened or read, and for a compressed one that is damaged or cut short.
    """
    kind = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    try:
        if kind and not path.stat().st_size:
            raise UserError(f"{path}: damaged or truncated (no bytes at all)")
        # Arrow's stream, since zstandard's own takes a truncated file for a short one.
        with pa.input_stream(str(path), compression=kind, buffer_size=CHUNK_BYTES) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except OSError as error:
        if kind and error.errno is None:  # not the system's error but the decompressor's
            raise UserError(f"{path}: damaged or truncated ({error})") from None
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror or error})")
