"""Silencing stderr: in threads, and where there is none."""

import contextlib
import os
import subprocess
import sys

import pytest

from mnist_attention.storage.quiet import silence_stderr


def stderr_now() -> tuple[int, int]:
    found = os.fstat(2)
    return found.st_dev, found.st_ino


def test_the_last_of_overlapping_blocks_restores():
    before, descriptors = stderr_now(), len(os.listdir("/dev/fd"))
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(silence_stderr())
    second.enter_context(silence_stderr())
    first.close()
    assert stderr_now() != before
    second.close()
    assert stderr_now() == before
    assert len(os.listdir("/dev/fd")) == descriptors


@pytest.mark.parametrize("closing", ["at the start", "later"])
def test_public_names_can_be_imported_without_stderr(closing):
    script = (
        "import os, sys; later = sys.argv[1] == 'later'; later and os.close(2); "
        "from mnist_attention import PAPER, load_dataset; "
        "print(os.path.exists('/dev/fd/2'), 'keras' in sys.modules)"
    )
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh"] if closing == "at the start" else []
    run = subprocess.run(
        [*command, sys.executable, "-c", script, closing], check=True, stdout=subprocess.PIPE
    )
    assert run.stdout.strip() == b"False False"


def test_a_file_that_took_the_number_of_stderr_is_left_alone(tmp_path):
    script = (
        "import os, sys; from mnist_attention.storage.quiet import silence_stderr\n"
        "file = open(sys.argv[1], 'w', buffering=1); assert file.fileno() == 2\n"
        "with silence_stderr(): file.write('kept\\n')"
    )
    path = tmp_path / "mine"
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", script, path]
    subprocess.run(command, check=True)
    assert path.read_text() == "kept\n"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["layer", "keras", "train"])
def test_first_use_in_threads_works_and_restores_stderr(first):
    script = """
import os, sys, threading, mnist_attention

def import_keras():
    import keras
    done.append(keras.layers.Layer)

uses = {
    "layer": lambda: done.append(mnist_attention.AttentionMask1x1),
    "keras": import_keras,
    "train": lambda: done.append(mnist_attention.train),
}
done, before = [], os.fstat(2)
names = sorted(uses, key=lambda name: name != sys.argv[1])
threads = [threading.Thread(target=uses[name]) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(done) == 3
assert os.path.samestat(os.fstat(2), before)
"""
    subprocess.run([sys.executable, "-c", script, first], check=True, timeout=300)
