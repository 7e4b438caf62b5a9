"""States on disk: whole, checked, and belonging to one trajectory."""

import errno
import os

import numpy as np
import pytest

from mnist_attention.storage.files import require_writable, write_atomically
from mnist_attention.storage.states import State, latest_state, read_state, write_state


def a_state(epoch: int = 3, trajectory: str = "t") -> State:
    variables = [np.arange(6, dtype="float32").reshape(2, 3) + epoch, np.int64(epoch)]
    return State(trajectory, epoch, {"loss": [0.1] * epoch}, [1.5] * epoch, variables)


def test_what_is_read_is_what_was_written(tmp_path):
    write_state(tmp_path / "s.npz", a_state())
    state = read_state(tmp_path / "s.npz", "t")
    assert (state.epoch, state.history, state.seconds) == (3, {"loss": [0.1] * 3}, [1.5] * 3)
    for got, expected in zip(state.variables, a_state().variables, strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_truncated_states_are_refused(tmp_path, keep):
    path = tmp_path / "s.npz"
    write_state(path, a_state())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if keep == 0.5 else keep])
    with pytest.raises(ValueError, match=rf"{path} is damaged"):
        read_state(path, "t")


def test_any_changed_byte_of_a_variable_is_noticed(tmp_path):
    path = tmp_path / "s.npz"
    write_state(path, a_state())
    content = bytearray(path.read_bytes())
    where = content.index(np.float32(5 + 3).tobytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        read_state(path, "t")


def test_whatever_bit_is_wrong_the_state_is_refused_or_the_same(tmp_path):
    path = tmp_path / "s.npz"
    write_state(path, a_state())
    content = path.read_bytes()
    refused = 0
    for where in range(len(content)):
        damaged = bytearray(content)
        damaged[where] ^= 1 << where % 8
        path.write_bytes(damaged)
        try:
            state = read_state(path, "t")
        except ValueError as error:
            refused += str(path) in str(error)
        else:  # a time stamp, say
            assert (state.epoch, state.history) == (3, {"loss": [0.1] * 3})
            np.testing.assert_equal(state.variables, a_state().variables)
    assert refused > len(content) / 2


def test_the_state_of_another_run_is_refused(tmp_path):
    write_state(tmp_path / "s.npz", a_state(trajectory="other"))
    with pytest.raises(ValueError, match=r"state of another run \(other\)"):
        read_state(tmp_path / "s.npz", "t")


def test_the_furthest_state_not_beyond_the_goal_is_found(tmp_path):
    for epoch in (5, 10, 20):
        write_state(tmp_path / f"{epoch}.npz", a_state(epoch))
    (tmp_path / "0.npz").write_bytes(b"half a")
    state, refused = latest_state(tmp_path, "t", epochs=15)
    assert state.epoch == 10
    assert len(refused) == 1
    assert "0.npz is damaged" in refused[0]


def test_without_states_there_is_none(tmp_path):
    assert latest_state(tmp_path / "nowhere", "t", 9) == (None, [])


# Atomic writing


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def half(file):
        file.write(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_written_files_have_the_usual_permissions(tmp_path):
    write_atomically(tmp_path / "a" / "file", lambda file: file.write(b"x"))
    (tmp_path / "plain").write_bytes(b"x")
    modes = [(tmp_path / name).stat().st_mode for name in ("a/file", "plain")]
    assert modes[0] == modes[1]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Expected a folder that can be written\. Received: .*file"):
        require_writable(tmp_path / "file" / "results")
