"""Where MNIST comes from: the user's folder, the cache, the network; and what is refused."""

import gzip
import hashlib
import http.server
import shutil
import ssl
import subprocess
import sys
import threading

import numpy as np
import pytest

from mnist_attention import load_dataset
from mnist_attention.storage import mnist as stored
from mnist_attention.storage.mnist import MnistUnavailable


@pytest.fixture
def contents(small, monkeypatch) -> dict[str, bytes]:
    """Four small files that pass for the canonical ones."""
    files = {
        "train-images-idx3-ubyte": bytes(16) + small.train_images.tobytes(),
        "train-labels-idx1-ubyte": bytes(8) + small.train_labels.tobytes(),
        "t10k-images-idx3-ubyte": bytes(16) + small.test_images.tobytes(),
        "t10k-labels-idx1-ubyte": bytes(8) + small.test_labels.tobytes(),
    }
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(stored, "MNIST_FILES", sums)
    return files


@pytest.fixture
def source(contents, tmp_path, monkeypatch):
    """The user's folder with the files as they are published, and an empty cache."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    monkeypatch.setenv("MNIST_ATTENTION_DATA", str(folder))
    monkeypatch.setenv("MNIST_ATTENTION_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def cache(source, monkeypatch):
    """A filled cache, and nothing else; the network gives the files, too."""
    load_dataset("mnist")
    content = {path.name: path.read_bytes() for path in stored.cache_folder().iterdir()}
    monkeypatch.delenv("MNIST_ATTENTION_DATA")
    downloads = []
    monkeypatch.setattr(stored, "_download", lambda: downloads.append(1) or dict(content))
    return stored.cache_folder(), downloads


def test_every_image_keeps_its_label(source, small):
    loaded = load_dataset("mnist")
    labels = {x.tobytes(): y for x, y in zip(small.train_images, small.train_labels, strict=True)}
    found = zip(loaded.train_images, loaded.train_labels, strict=True)
    assert all(labels[image.tobytes()] == label for image, label in found)
    assert (loaded.train_labels != small.train_labels).any()
    assert (loaded.test_labels != small.test_labels).any()


@pytest.mark.slow
def test_tensorflow_datasets_itself_gives_these_arrays(mnist, tmp_path, monkeypatch):
    import os

    import tensorflow_datasets as tfds

    folder = os.environ.get("MNIST_ATTENTION_DATA")
    if not folder:
        pytest.skip("needs the four .gz files in MNIST_ATTENTION_DATA")
    builder = tfds.builder("mnist", data_dir=tmp_path)
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=config)
    for split in ("train", "test"):
        theirs = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        np.testing.assert_array_equal(theirs["image"][..., 0], getattr(mnist, f"{split}_images"))
        np.testing.assert_array_equal(theirs["label"], getattr(mnist, f"{split}_labels"))


def test_loading_needs_neither_keras_nor_tensorflow(source):
    script = (
        "import sys; from mnist_attention.storage import mnist; "
        "mnist.MNIST_FILES = eval(sys.argv[1]); mnist.load_mnist(); "
        "sys.exit(any('tensorflow' in name or 'keras' in name for name in sys.modules))"
    )
    command = [sys.executable, "-c", script, repr(stored.MNIST_FILES)]
    assert subprocess.run(command, check=False).returncode == 0


# A folder of the user's


@pytest.mark.parametrize(
    ("rename", "pack"),
    [
        (lambda name: name, bytes),
        (lambda name: name.replace("-idx", ".idx"), bytes),
        (lambda name: f"{name}.gz", bytes),
        (lambda name: name.replace("-idx", ".idx") + ".gz", lambda x: gzip.compress(x, 1, mtime=0)),
        (lambda name: name, gzip.compress),
        (lambda name: f"{name}/{name}", bytes),
        (lambda name: name.replace("t10k", "test"), bytes),
    ],
    ids=[
        "unpacked",
        "with a dot",
        "unpacked, named .gz",
        "packed again",
        "packed, not named .gz",
        "nested",
        "test",
    ],
)
def test_the_content_counts_not_the_name_or_the_packing(source, contents, rename, pack):
    expected = load_dataset("mnist").digest
    for name, content in contents.items():
        (source / f"{name}.gz").unlink()
        (source / rename(name)).parent.mkdir(exist_ok=True)
        (source / rename(name)).write_bytes(pack(content))
    assert load_dataset("mnist").digest == expected


def test_of_two_files_the_right_one_is_taken(source):
    expected = load_dataset("mnist").digest
    (source / "train-images-idx3-ubyte").write_bytes(b"half of a downl")
    (source / "train-images-old").mkdir()
    assert load_dataset("mnist").digest == expected


def test_a_missing_file_is_named(source):
    (source / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"t10k-labels-idx1-ubyte is missing, .*\.gz\. .*must name"
    ):
        load_dataset("mnist", fallback=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"train-images", gzip.compress(b"other digits"), gzip.compress(b"half")[:-9]],
    ids=["empty", "text", "other digits", "cut off"],
)
def test_a_damaged_file_is_named_with_its_sums(source, content):
    path = source / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(OSError, match=rf"{path} is damaged .*SHA-256 .*received [0-9a-f]{{64}}\."):
        load_dataset("mnist", fallback=True)


def test_a_home_folder_is_expanded(source, monkeypatch):
    monkeypatch.setenv("HOME", str(source.parent))
    monkeypatch.setenv("MNIST_ATTENTION_DATA", f"~/{source.name}")
    assert len(load_dataset("mnist").train_images) == 300


def test_a_folder_of_the_users_needs_no_cache(source, monkeypatch):
    monkeypatch.setenv("MNIST_ATTENTION_CACHE", "/proc/cannot/be/made")
    assert len(load_dataset("mnist").train_images) == 300


# The cache


def test_a_cache_is_enough(cache):
    folder, downloads = cache
    assert len(load_dataset("mnist").train_images) == 300
    assert sorted(path.name for path in folder.iterdir()) == sorted(stored.MNIST_FILES)
    assert not downloads


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:30] + bytes([content[30] ^ 1]) + content[31:],
        lambda content: b"\x1f\x8b" + content[2:],
    ],
    ids=["truncated", "empty", "a wrong bit", "says packed"],
)
def test_a_damaged_cache_is_rebuilt(cache, capsys, damage, name):
    folder, downloads = cache
    expected, sound = load_dataset("mnist").digest, (folder / name).read_bytes()
    (folder / name).write_bytes(damage(sound))
    assert load_dataset("mnist").digest == expected
    assert len(downloads) == 1
    said = capsys.readouterr().err
    assert f"{folder / name} is damaged" in said
    assert "MNIST_ATTENTION_DATA" not in said
    assert (folder / name).read_bytes() == sound


def test_threads_wait_for_one_download(cache):
    folder, downloads = cache
    shutil.rmtree(folder)
    digests = []
    threads = [
        threading.Thread(target=lambda: digests.append(load_dataset("mnist").digest), daemon=True)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert len(downloads) == 1


def test_an_unwritable_cache_is_refused_before_the_download(cache, tmp_path, monkeypatch):
    _, downloads = cache
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNIST_ATTENTION_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"can be written\. .*/file'.*MNIST_ATTENTION_CACHE moves"):
        load_dataset("mnist", fallback=True)
    assert not downloads


@pytest.mark.parametrize("home", [None, "", "here"])
def test_without_a_home_folder_the_variable_is_named(home, monkeypatch):
    for name in ("MNIST_ATTENTION_DATA", "MNIST_ATTENTION_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)

    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(OSError, match=r"Expected a .*home folder.* MNIST_ATTENTION_CACHE"):
        load_dataset("mnist", fallback=True)


# The network


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No cache, no folder, and a network in which no host answers."""
    monkeypatch.delenv("MNIST_ATTENTION_DATA", raising=False)
    monkeypatch.setenv("MNIST_ATTENTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(stored, "MNIST_ADDRESS", "http://127.0.0.1:9/")  # nothing listens there


def test_without_network_the_way_out_is_named(offline):
    with pytest.raises(
        MnistUnavailable, match=r"could not be downloaded.*MNIST_ATTENTION_DATA.*'uci'"
    ):
        load_dataset("mnist")


def test_falling_back_is_loud(offline, uci, capsys):
    assert load_dataset("mnist", fallback=True).digest == uci.digest
    assert "MNIST IS NOT AVAILABLE: USING THE EMBEDDED UCI DIGITS" in capsys.readouterr().err


@pytest.fixture
def server(contents):
    """Serves the files to GET, also as a proxy, and answers 405 to HEAD."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path.rpartition("/")[2])
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def do_HEAD(self):
            self.send_response(405)
            self.end_headers()

        def log_message(self, *_):
            pass

    files = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in contents.items()}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = files
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_proxy_that_refuses_head_will_do(offline, server, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(stored, "MNIST_ADDRESS", "http://mnist.invalid/")
    assert len(load_dataset("mnist").train_images) == 300
    assert len(load_dataset("mnist").test_images) == 50


def test_a_certificate_of_the_companys_own_will_do(offline, server, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subject = ["-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        command = [*make.split(), *subject, "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(stored, "MNIST_ADDRESS", f"https://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert len(load_dataset("mnist").train_images) == 300


@pytest.mark.parametrize("answer", [None, b"<html>please log in</html>"], ids=["404", "a page"])
def test_an_answer_without_the_digits_is_said_to_be_one(offline, server, answer, uci):
    server.files["train-images-idx3-ubyte.gz"] = answer
    stored.MNIST_ADDRESS = f"http://127.0.0.1:{server.server_port}/"  # restored by `offline`
    with pytest.raises(MnistUnavailable, match=r"HTTP code: 404|is damaged or not of MNIST"):
        load_dataset("mnist")
    assert not list(stored.cache_folder().glob("*ubyte*"))
