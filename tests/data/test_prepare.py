"""First-time preparation: one message where it cannot be, and the real thing where TensorFlow is installed."""

import functools
import gzip
import http.server
import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data import prepare, tfds
from jaxgen.data.prepared import find_prepared
from jaxgen.errors import SettingError, UserError

REMEDIES = ('pip install "jaxgen[tfds]"', "--data.data-dir or TFDS_DATA_DIR", "--data.source digits")
needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason='TensorFlow is not installed: pip install "jaxgen[tfds]"'
)


def refusal(data_dir: Path, name: str = "mnist") -> str:
    """The error of loading a set that is not there; asserts that it is one line with every remedy, and soon."""
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        tfds.load(name, data_dir, None, 0.2)
    assert time.monotonic() - start < 30
    message = str(error.value)
    assert message.startswith(f"{name} is not prepared in {data_dir}")
    assert all(remedy in message for remedy in REMEDIES)
    assert "\n" not in message
    assert find_prepared(name, data_dir) is None  # what a failed attempt left is not taken for the set
    return message


def test_without_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "(TensorFlow is not installed)" in refusal(tmp_path)


@pytest.mark.parametrize(("there", "file_format"), [(True, "array_record"), (False, "tfrecord")])
def test_sets_are_stored_in_a_format_that_can_be_read_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, file_format: str
) -> None:
    import tensorflow_datasets

    def builder(name: str, data_dir: Path, file_format: str) -> None:
        raise RuntimeError(f"asked for {file_format}")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(prepare, "has_array_record", lambda: there)
    monkeypatch.setattr(tensorflow_datasets, "builder", builder)
    assert f"(RuntimeError: asked for {file_format})" in refusal(tmp_path)


def test_requests_get_time_limits_and_lose_them_again() -> None:
    import requests

    before = requests.Session.request, socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "READ_SECONDS", 0.2)
        with prepare._impatient(), requests.Session() as session, pytest.raises(requests.Timeout):
            session.get(f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert (requests.Session.request, socket.getdefaulttimeout()) == before


def download_from(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets TFDS's MNIST come from this machine, 30 training images and 12 test images of it."""
    from tensorflow_datasets.image_classification import mnist

    monkeypatch.setattr(mnist.MNIST, "URL", f"http://127.0.0.1:{port}/")
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 30)
    monkeypatch.setattr(mnist, "_TEST_EXAMPLES", 12)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served over loopback, holding a small MNIST in the original's format (IDX)."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, count in (("train", 30), ("t10k", 12)):
        images = np.arange(count * 784, dtype=np.uint32).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        download_from(server.server_port, monkeypatch)
        yield folder
        server.shutdown()


@needs_tensorflow
def test_prepares_once_and_reads_without_preparing(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tfds.load("mnist", tmp_path / "tfds", None, 0.2)
    assert first.version == "3.0.1"
    assert first.train.images.shape == (30, 28, 28, 1)
    assert sorted(first.test.labels) == sorted([*range(10), 0, 1])
    assert list((tmp_path / "tfds" / "mnist" / "3.0.1").glob("*.array_record-*"))
    monkeypatch.setattr(prepare, "prepare", None)
    second = tfds.load("mnist", tmp_path / "tfds", None, 0.2)
    assert np.array_equal(second.train.images, first.train.images)


@needs_tensorflow
def test_after_a_failure_the_next_start_succeeds(mirror: Path, tmp_path: Path) -> None:
    file = mirror / "train-images-idx3-ubyte.gz"
    sound = file.read_bytes()
    file.write_bytes(sound[: len(sound) // 2])
    refusal(tmp_path / "tfds")  # half a download
    assert not [path for path in (tmp_path / "tfds").rglob("*") if ".tmp" in path.name or "incomplete" in path.name]
    file.unlink()
    assert "HTTP code: 404" in refusal(tmp_path / "other")
    file.write_bytes(sound)
    assert len(tfds.load("mnist", tmp_path / "other", None, 0.2).train.labels) == 30


@needs_tensorflow
def test_refused_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    download_from(port, monkeypatch)
    assert "(no answer from 127.0.0.1)" in refusal(tmp_path / "new")
    assert not (tmp_path / "new").exists()  # nothing is left behind
    said = capfd.readouterr().err.splitlines()
    assert len(said) < 3, said


@needs_tensorflow
def test_server_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "READ_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        download_from(server.getsockname()[1], monkeypatch)
        assert "(no answer from 127.0.0.1)" in refusal(tmp_path)


@needs_tensorflow
def test_sets_of_other_things_are_refused_before_the_download(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="'imdb_reviews' is not an image-classification set"):
        tfds.load("imdb_reviews", tmp_path, None, 0.2)


@needs_tensorflow
def test_versions_that_cannot_be_prepared(tmp_path: Path) -> None:
    assert "9.9.9" in refusal(tmp_path, "mnist:9.9.9").partition("cannot be now")[2]
