"""Writing files so that a reader finds the old content or the new, never half of either."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

DAMAGE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged archive of NumPy's may raise."""


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, then rename it to `path`.

    Args:
        path: The file to make or replace. Missing parent folders are made.
        write: Called with the open temporary file, in binary mode.

    Raises:
        OSError: naming `path`, if the folder cannot be written or the disk is full; `path` is then
            unchanged.
    """
    try:
        _write_and_rename(path, write)
    except OSError as error:
        if error.errno is None:
            raise
        reason = f"{error.strerror} (no file was changed)"
        raise OSError(error.errno, reason, str(path)) from error
    _sync_folder(path.parent)


def _write_and_rename(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def require_writable(folder: Path) -> Path:
    """Make `folder` and try a write there, so that a run fails before it trains, not after.

    Raises:
        OSError: naming the folder and the reason.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OSError(
            f"Expected a folder that can be written. Received: {str(folder)!r} "
            f"({error.strerror}). Choose another one or change its permissions."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can open a folder (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
