"""The chapter's own file, written here with rdata's writer."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data import rda
from jaxgen.errors import UserError

rdata = pytest.importorskip("rdata", reason="rdata is not installed")


def flowers(count: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 5, 4, 3)).astype(float)


def write(path: Path, **change: object) -> Path:
    values = {"train": flowers(6), "labels": np.array([0, 1, 2, 3, 4, 0]), "test": flowers(2, 1), **change}
    rdata.write_rda(path, {"flower": values})
    return path


@pytest.mark.parametrize("kind", [np.float64, np.int32])
def test_reads_doubles_and_integers(tmp_path: Path, kind: type) -> None:
    file = write(tmp_path / "flower.rda", train=flowers().astype(kind))
    dataset = rda.load(file, None)
    assert np.array_equal(dataset.train.images, flowers())
    assert np.array_equal(dataset.test.images, flowers(2, 1))
    assert dataset.train.labels.tolist() == [0, 1, 2, 3, 4, 0]
    assert dataset.test.labels.tolist() == [-1, -1]
    assert dataset.class_names == ("daisy", "dandelion", "rose", "sunflower", "tulip")


def test_the_file_is_column_major_as_r_writes_it(tmp_path: Path) -> None:
    """So that what is read above is what R would have shown."""
    content = gzip.decompress(write(tmp_path / "flower.rda").read_bytes())
    assert flowers().ravel(order="F").astype(">f8").tobytes() in content


def test_unit_range_is_scaled(tmp_path: Path) -> None:
    file = write(tmp_path / "flower.rda", train=flowers() / 255)
    assert np.array_equal(rda.load(file, None).train.images, flowers())


def test_variables_instead_of_a_list(tmp_path: Path) -> None:
    file = tmp_path / "flower.rda"
    rdata.write_rda(file, {"train": flowers(2), "labels": np.array([[1], [2]]), "test": flowers(2, 1)})
    assert rda.load(file, None).train.labels.tolist() == [1, 2]


def test_many_rows_keep_their_order(tmp_path: Path) -> None:
    file = write(tmp_path / "flower.rda", train=flowers(600), labels=np.arange(600) % 5)
    assert np.array_equal(rda.load(file, None).train.images, flowers(600))


def test_resized_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "flower.rda")
    first = rda.load(file, 8)
    assert first.train.images.shape == (6, 8, 8, 3)
    monkeypatch.setattr(rdata, "read_rda", None)
    assert np.array_equal(rda.load(file, 8).train.images, first.train.images)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    first = rda.load(write(tmp_path / "flower.rda"), None)
    second = rda.load(write(tmp_path / "flower.rda", train=255 - flowers()), None)
    assert np.array_equal(second.train.images, 255 - first.train.images)
    assert first.version != second.version


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"train": flowers()[..., 0]}, r"train is float64 \(6, 5, 4\)"),
        ({"test": flowers() * 2}, "the pixels of test lie in"),
        ({"train": np.full((6, 5, 4, 3), np.nan)}, "the pixels of train lie in nan"),
        ({"labels": np.arange(6)}, "labels lie in 0 to 5"),
        ({"labels": np.arange(3)}, r"labels are int\w+ \(3,\) for 6 images"),
        ({"labels": ["rose"] * 6}, "labels are"),
        ({"test": flowers(2, 1)[:, :4, :, :][:, :0]}, "test is"),
        ({"test": np.zeros((2, 9, 9, 3))}, "differ in size"),
    ],
)
def test_other_contents_are_one_line(tmp_path: Path, change: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as error:
        rda.load(write(tmp_path / "flower.rda", **change), None)
    assert "expected a list with train" in str(error.value)
    assert "\n" not in str(error.value)


def test_another_list_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "cars.rda"
    rdata.write_rda(file, {"cars": {"speed": np.arange(3)}})
    with pytest.raises(UserError, match="holds cars: expected a list with train"):
        rda.load(file, None)


@pytest.mark.parametrize("damage", ["half", "empty", "text", "flip"])
def test_damaged_files_are_one_line(tmp_path: Path, damage: str) -> None:
    file = write(tmp_path / "flower.rda")
    data = file.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
    file.write_bytes({"half": data[:middle], "empty": b"", "text": b"<html>404</html>", "flip": flipped}[damage])
    with pytest.raises(UserError, match=r"damaged or not an \.rda file") as error:
        rda.load(file, None)
    assert "\n" not in str(error.value)


def test_without_rdata_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "jaxgen\[rda\]"'):
        rda.load(write(tmp_path / "flower.rda"), None)
