"""The log of a run as Parquet: it grows by whole files, and a resumed run neither repeats nor loses a step.

Columns: `step` (steps made), `epoch` (epochs of data seen, with a fraction), `seconds` (since the start, pauses left
out), `loss` (the weighted sum), `loss_<part>` (each part of a weight above 0, without that, of this step's batch),
`learning_rate`, `gradient_norm` (before clipping), `samples_per_s` (training alone, since the row before) and
`held_out_<metric>`. A cell is null where nothing was measured: step 0 has the held-out metrics alone.

Rows are flushed before each checkpoint, so a file lies either before or behind it, and those behind it are removed when
the run goes on from there.
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.store import read_parquet, write_parquet

WHOLE = "log.parquet"


class Log:
    """Rows to `folder/log`, merged into `folder/log.parquet` at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Remove what a run left whose checkpoint is gone."""
        shutil.rmtree(self.folder / "log", ignore_errors=True)
        (self.folder / WHOLE).unlink(missing_ok=True)

    def resume(self, step: int) -> None:
        """Forget what was logged behind step `step`, the checkpoint's."""
        for part in _parts(self.folder):
            if int(part.stem.split("-")[1]) > step:
                part.unlink()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)

    def flush(self) -> None:
        """Write the rows since the last flush, under the first one's step."""
        if self._rows:
            columns = dict.fromkeys(key for row in self._rows for key in row)
            kinds = {key: pa.int64() if key == "step" else pa.float64() for key in columns}
            table = pa.Table.from_pylist(self._rows, pa.schema(kinds))
            write_parquet(self.folder / "log" / f"part-{self._rows[0]['step']:09d}.parquet", table)
            self._rows = []

    def merge(self) -> None:
        """One file of all that was flushed. A merge that was killed is finished."""
        self.flush()
        write_parquet(self.folder / WHOLE, read(self.folder))
        shutil.rmtree(self.folder / "log", ignore_errors=True)


def read(folder: str | Path) -> pa.Table:
    """The log of a run, whether it has ended or goes on. Raises UserError if there is none."""
    parts = _parts(Path(folder))
    whole = Path(folder) / WHOLE
    if whole.exists() or not parts:
        return read_parquet(whole)
    return pa.concat_tables([read_parquet(part) for part in parts], promote_options="default")


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / "log").glob("part-*.parquet"))
