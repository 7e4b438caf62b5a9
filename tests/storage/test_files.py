"""Atomic writing, its leftovers, and folders that cannot be written."""

import errno
import os
import subprocess
import sys

import pytest

from mnist_attention.storage.files import require_writable, write_atomically


def leave_half_a_file(path, text="half"):
    """A process that is killed while it writes."""
    script = (
        "import os, pathlib, signal, sys; from mnist_attention.storage.files import *\n"
        "os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_atomically(pathlib.Path(sys.argv[1]), {text.encode()!r})"
    )
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == -9


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_leaves_is_swept_by_the_next_one(tmp_path):
    path = tmp_path / "REPORT.md"
    leave_half_a_file(path)
    (left,) = names(tmp_path)
    assert left.startswith(".REPORT.md.")
    write_atomically(path, b"whole")
    assert names(tmp_path) == ["REPORT.md"]
    assert path.read_bytes() == b"whole"


def test_files_of_living_writers_and_of_others_are_not_swept(tmp_path, monkeypatch):
    path = tmp_path / "a[b].json"
    others = [".a[b].json.swp", ".a[b].json.backup.tmp", ".a.json.12345678.tmp", "a[b].json.tmp"]
    for other in others:
        (tmp_path / other).write_text("")
    leave_half_a_file(tmp_path / "a[b].json.gz")  # another target

    def write_meanwhile(descriptor):
        monkeypatch.undo()
        write_atomically(path, b"second")
        assert path.read_bytes() == b"second"

    monkeypatch.setattr(os, "fsync", write_meanwhile)
    write_atomically(path, b"first")
    assert path.read_bytes() == b"first"
    assert len(names(tmp_path)) == len(others) + 2


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x"
    monkeypatch.setattr(os, "fsync", lambda descriptor: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_atomically(path, b"new")
    assert names(tmp_path) == []
    path.write_text("old")

    def fill_the_disk(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_files_are_as_readable_as_the_user_wants(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new" / "x", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "x").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_cannot_be_written_is_refused_with_the_variable_that_moves_it(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=rf"Received: '{folder}'.*MNIST_ATTENTION_RESULTS moves"):
            require_writable(folder)
    with pytest.raises(OSError, match="MNIST_ATTENTION_WEIGHTS moves"):
        require_writable(tmp_path / "file", "MNIST_ATTENTION_WEIGHTS")
