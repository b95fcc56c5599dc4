"""Bodies that are too big for a database row, one file each, on the disk before the row that names them is committed.

A row of 1 MiB costs the database several times what a file costs; below the limit the row is cheaper. Without a spool
directory (several nodes on one PostgreSQL) every body stays in the database, where any node can reach it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

ROW_LIMIT_BYTES = 100 * 1024
ORPHAN_AGE_S = 3600.0


class Spool:
    """Files below one directory, in 256 subdirectories by the end of their name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, content: bytes) -> str:
        """Write and fsync the file and its directory; returns `name`. Raises OSError (disk full, no permission)."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_all(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        _sync_directory(path.parent)
        return name

    def read(self, name: str) -> bytes:
        return self._path(name).read_bytes()

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def remove_orphans(self, known: Callable[[Collection[str]], Collection[str]]) -> int:
        """Delete old files whose row never came or is gone (a crash between the two); `known(names)` answers which
        names still have a row. Returns how many were removed."""
        before = time.time() - ORPHAN_AGE_S
        names = [path.name for path in self.directory.glob("*/*") if path.stat().st_mtime < before]
        orphans = set(names) - set(known(names)) if names else set()
        for name in orphans:
            self.delete(name)
        return len(orphans)

    def _path(self, name: str) -> Path:
        return self.directory / name[-2:] / name


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
