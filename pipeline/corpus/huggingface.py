"""Documents from a Hugging Face dataset, streamed: OpenWebText by default.

`repository` is a name on the hub, a local folder, or a builder such as `parquet` together with `data_files`; so the
code that streams OpenWebText's Parquet shards from the hub reads the same shards from a disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.corpus.files import text_of
from pipeline.corpus.source import Document
from pipeline.stage import UserError


@dataclass(frozen=True)
class Source:
    """Rows of `split`, in the dataset's order; the text is in `text_field`. Identifiers: `repository/split:row`."""

    repository: str = "Skylion007/openwebtext"
    split: str = "train"
    text_field: str = "text"
    config: str | None = None
    revision: str | None = None
    data_files: str | list[str] | None = None

    REQUIRED: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for key in ("repository", "split", "text_field"):
            if not isinstance(getattr(self, key), str):
                raise UserError(f"corpus source 'huggingface': {key} must be a string, not {getattr(self, key)!r}")

    def __iter__(self) -> Iterator[Document]:
        import datasets  # seconds: only where it is used

        name = f"{self.repository}/{self.split}"
        number = 0
        try:
            rows: Any = datasets.load_dataset(
                self.repository,
                self.config,
                split=self.split,
                revision=self.revision,
                data_files=self.data_files,
                streaming=True,
            )
            for number, row in enumerate(rows, start=1):
                yield Document(f"{name}:{number}", text_of(row, self.text_field, f"{name}: row {number}"))
        except UserError:
            raise
        # The hub, the network, the file system and every reader have their own errors; all mean: this cannot be read.
        except Exception as error:
            where = f"after row {number}" if number else "cannot be opened"
            raise UserError(f"Hugging Face dataset {name} {where}: {type(error).__name__}: {error}") from None

    def facts(self) -> dict[str, str]:
        return {
            "source": f"huggingface: {self.repository}, split {self.split}",
            "licence": "as the dataset's card states; OpenWebText: CC0 packaging, the pages are their authors'",
            "revision": self.revision or "as of this run",
        }
