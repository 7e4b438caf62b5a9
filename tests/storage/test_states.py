"""States on disk: whole, checked, and belonging to one trajectory."""

import dataclasses

import keras
import numpy as np
import pytest

from mnist_attention.storage.checkpoints import next_state
from mnist_attention.storage.states import (
    HISTORY,
    METRICS,
    State,
    latest_state,
    read_state,
    write_state,
)


def a_state(epoch: int = 3, trajectory: str = "t") -> State:
    variables = [np.arange(6, dtype="float32").reshape(2, 3) + epoch, np.array(epoch)]
    history = {name: [0.1] * epoch for name in METRICS}
    return State(trajectory, epoch, history, [1.5] * epoch, variables, "tensorflow")


@pytest.fixture
def path(tmp_path):
    """A state on disk."""
    write_state(tmp_path / "s.npz", a_state())
    return tmp_path / "s.npz"


def test_what_is_read_is_what_was_written(path):
    state, expected = read_state(path, "t"), a_state()
    assert (state.epoch, state.history, state.seconds) == (3, expected.history, [1.5] * 3)
    assert state.backend == "tensorflow"
    for got, value in zip(state.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(got, value)
        assert got.dtype == value.dtype


def test_a_state_names_the_backend_that_made_it_not_the_one_before():
    before = dataclasses.replace(a_state(), backend="another")
    after = next_state(before, dict.fromkeys(HISTORY, 0.5), 1.0, before.variables, 0.01)
    assert (after.epoch, after.backend) == (4, keras.backend.backend())


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_truncated_states_are_refused(path, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if keep == 0.5 else keep])
    with pytest.raises(ValueError, match=rf"{path} is damaged"):
        read_state(path, "t")


def test_whatever_bit_is_wrong_the_state_is_refused(path):
    content = path.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        for where, byte in enumerate(content):
            file.seek(where)
            file.write(bytes([byte ^ (4 if where % 2 else 1 << where // 2 % 8)]))
            with pytest.raises(ValueError, match=f"{path} is damaged"):
                read_state(path, "t")
            file.seek(where)
            file.write(bytes([byte]))
    read_state(path, "t")


BAD_FIELDS = {
    "negative epoch": {"epoch": -1},
    "epoch beyond the history": {"epoch": 4},
    "history shorter than the seconds": {"history": {name: [0.1] * 2 for name in METRICS}},
    "no test loss": {"history": {name: [0.1] * 3 for name in METRICS[:2]}},
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_fields_that_do_not_fit_are_refused(tmp_path, name):
    path = tmp_path / "s.npz"
    write_state(path, dataclasses.replace(a_state(), **BAD_FIELDS[name]))
    with pytest.raises(ValueError, match=rf"{path} is no usable state: Expected .* Received: "):
        read_state(path, "t")


def test_a_run_that_diverged_may_have_nan_in_its_weights(tmp_path):
    history = {name: [0.1, 0.1, np.nan] for name in METRICS}
    ended = dataclasses.replace(a_state(), variables=[np.array([np.nan])], history=history)
    write_state(tmp_path / "s.npz", ended)
    assert np.isnan(read_state(tmp_path / "s.npz", "t").variables[0])


@pytest.mark.parametrize(
    "other",
    [
        [np.zeros((3, 2), "float32"), np.array(0)],
        [np.zeros((2, 3), "float16"), np.array(0)],
        [np.zeros((2, 3), "float32")],
    ],
    ids=["shape", "type", "number"],
)
def test_variables_of_another_network_are_refused(path, other):
    # JAX and TensorFlow count steps in integers of different width.
    read_state(path, "t", like=[np.zeros((2, 3), "float32"), np.array(0, "int32")])
    with pytest.raises(ValueError, match="no usable state: Expected variables"):
        read_state(path, "t", like=other)


def test_the_state_of_another_run_is_refused(tmp_path):
    write_state(tmp_path / "s.npz", a_state(trajectory="other"))
    with pytest.raises(ValueError, match=r"state of another run \(other\)"):
        read_state(tmp_path / "s.npz", "t")


def test_the_furthest_state_not_beyond_the_goal_is_found(tmp_path, capsys):
    for epoch in (5, 10, 20):
        write_state(tmp_path / f"{epoch}.npz", a_state(epoch))
    (tmp_path / "0.npz").write_bytes(b"half a")
    assert latest_state(tmp_path, "t", epochs=15).epoch == 10
    (warning,) = capsys.readouterr().err.splitlines()
    assert "0.npz is damaged" in warning
    assert warning.endswith("It is not used.")


def test_without_states_there_is_none(tmp_path):
    assert latest_state(tmp_path / "nowhere", "t", 9) is None
