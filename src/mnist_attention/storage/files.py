"""Writing files so that a reader finds the old content or the new, never half of either."""

import contextlib
import fcntl
import glob
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, then rename it to `path`.

    Missing parent folders are made; temporary files that killed writers of `path` left are removed.

    Raises:
        OSError: naming `path`, if the folder cannot be written or the disk is full; `path` is then
            unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with _temporary_file(path) as (file, temporary):
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        reason = f"{error.strerror} (no file was changed)"
        raise OSError(error.errno, reason, str(path)) from error
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # makes the rename itself durable
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside `path` and its name. It is locked as long as its writer lives."""
    while True:
        name = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less the umask
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not name.exists():  # swept before it was locked
                continue
            try:
                yield file, name
            except BaseException:
                name.unlink(missing_ok=True)
                raise
            return


def _sweep(path: Path) -> None:
    """Remove the temporary files of writers that are gone: nobody holds their locks."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[a-z0-9_]' * 8}.tmp"):
        with contextlib.suppress(OSError), open(left, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def require_writable(folder: Path | str, variable: str = "MNIST_ATTENTION_RESULTS") -> Path:
    """Make `folder` and try a write there, so that a run fails before it trains, not after.

    The OSError names the folder, the reason and `variable`, the environment variable that moves it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OSError(
            f"Expected a folder that can be written. Received: {str(folder)!r} "
            f"({error.strerror}). Change its permissions, or choose another one: {variable} moves "
            "the default."
        ) from error
