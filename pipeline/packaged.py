"""Data files that ship inside installed Python packages, found without importing those packages.

Importing would run their code (and pull in what they forgot to require); all that is wanted is a path. Each file is
pinned by its SHA-256, so that another version of the package cannot slip in other data under the same name.
"""

from importlib import metadata
from pathlib import Path

from pipeline.stage import UserError
from pipeline.store import digest


def path(distribution: str, name: str, sha256: str | None = None) -> Path:
    """The path of file or folder `name` (relative to site-packages) of an installed distribution.

    Raises UserError where the distribution or file is missing, or where the file's SHA-256 is not `sha256`.
    """
    try:
        found = Path(str(metadata.distribution(distribution).locate_file(name)))
    except metadata.PackageNotFoundError:
        raise UserError(f"package {distribution!r} is not installed; `make` installs it from envs/cpu.txt") from None
    if not found.exists():
        raise UserError(f"package {distribution!r} has no {name!r}; is another version installed than envs/ pins?")
    if sha256 is not None and (actual := digest(found)) != sha256:
        raise UserError(f"{name} of package {distribution!r} has digest {actual[:16]}..., expected {sha256[:16]}...")
    return found
