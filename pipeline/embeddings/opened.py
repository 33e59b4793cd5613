"""The bytes of a file of vectors, unpacked if it is packed."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from pipeline.stage import UserError


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file's bytes as a stream: unpacked if it ends in .gz, or in .zip, which must hold exactly one file.

    Raises UserError, naming the file, where they cannot be read, also while the caller reads them.
    """
    try:
        if path.endswith(".zip"):
            with zipfile.ZipFile(path) as archive, archive.open(_only_member(archive, path)) as member:
                yield cast(BinaryIO, member)
        else:
            with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
                yield cast(BinaryIO, file)
    except EOFError:
        raise UserError(f"{path}: truncated {'zip' if path.endswith('.zip') else 'gzip'} file") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{path}: not a whole zip file ({error})") from None
    except (OSError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path}: cannot be read ({reason})") from None


def _only_member(archive: zipfile.ZipFile, path: str) -> zipfile.ZipInfo:
    """The one file in an archive. Raises UserError where there are none or several, or where it cannot be unpacked."""
    entries = (member for member in archive.infolist() if not member.is_dir())
    members = [
        member for member in entries if not member.filename.startswith("__MACOSX/")
    ]  # what a Mac packs beside it
    if len(members) != 1:
        names = f": {', '.join(member.filename for member in members[:5])}" if members else ""
        raise UserError(f"{path}: a zip file of vectors must hold exactly one file, not {len(members)}{names}")
    if members[0].flag_bits & 1 or members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{path}: {members[0].filename} in it is encrypted, or packed otherwise than by deflate")
    return members[0]
