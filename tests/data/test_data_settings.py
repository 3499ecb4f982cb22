"""The settings of `jaxgen.data`: refused early, and each source reached through `load`."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgen.data import Dataset, DataSettings, Split, load, validate
from jaxgen.errors import SettingError

DIGITS = DataSettings(source="digits")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"size": 7}, "data.size = 7 is not allowed: 8 to 1024"),
        ({"size": 2000}, "data.size = 2000"),
        ({"test_fraction": 0.0}, "data.test_fraction = 0.0"),
        ({"test_fraction": 1.0}, "data.test_fraction = 1.0"),
        ({"test_fraction": float("nan")}, "data.test_fraction = nan"),
        ({"count": 0}, "data.count = 0"),
        ({"seed": -1}, "data.seed = -1"),
        ({"path": Path("flowers")}, "only with --data.source folder or rda, not digits"),
        ({"source": "folder"}, "data.path = None is not allowed: --data.source folder needs a folder"),
        ({"source": "rda"}, "--data.source rda needs a file"),
        ({"source": "folder", "path": Path("/nowhere")}, "data.path = '/nowhere' is not allowed"),
        ({"source": "rda", "path": Path("/")}, r"data.path = '/' is not allowed: a file such as flower.rda"),
        ({"source": "digit"}, "did you mean 'digits'"),
        ({"source": "Folder"}, "did you mean 'folder'"),
    ],
)
def test_wrong_settings_are_one_line(change: dict, complaint: str, tmp_path: Path) -> None:
    for function in (validate, load):
        with pytest.raises(SettingError, match=complaint) as error:
            function(replace(DIGITS, data_dir=tmp_path, **change))
        assert "\n" not in str(error.value)


def test_digits_end_on_the_device() -> None:
    dataset = load(DIGITS)
    arrays = (dataset.train.images, dataset.train.labels, dataset.test.images, dataset.test.labels)
    assert all(isinstance(array, jax.Array) for array in arrays)
    assert [str(array.dtype) for array in arrays] == ["uint8", "int32"] * 2
    assert dataset.image_shape == (28, 28, 1)
    assert load(replace(DIGITS, size=32)).image_shape == (32, 32, 1)


def test_folder_has_its_default_size(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for row in range(3):
            Image.new("RGB", (9, 9)).save(tmp_path / name / f"{row}.png")
    settings = DataSettings(source="folder", path=tmp_path)
    assert load(settings).image_shape == (80, 80, 3)
    assert load(replace(settings, size=16)).image_shape == (16, 16, 3)


def test_tfds_by_name_and_directory(tiny: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_set(tmp_path, {"train": tiny.pictures(9), "test": tiny.pictures(4)})
    given = load(DataSettings(source="toy", data_dir=tmp_path))
    assert given.image_shape == (6, 5, 1)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert np.array_equal(load(DataSettings(source="toy")).train.images, given.train.images)
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "tensorflow_datasets").symlink_to(tmp_path)
    assert np.array_equal(load(DataSettings(source="toy")).train.images, given.train.images)


def test_petals_get_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(np.zeros((2, 9, 9, 3), np.uint8), np.zeros(2, np.int32))
    asked: list[tuple] = []

    def draw(*arguments: float) -> Dataset:
        asked.append(arguments)
        return Dataset("petals", "1", split, split, ("a",))

    monkeypatch.setattr("jaxgen.data.petals.load", draw)
    load(DataSettings(source="petals"))
    assert load(DataSettings(source="petals", count=20, size=16, test_fraction=0.5, seed=3)).name == "petals"
    assert asked == [(5000, 80, 0.2, 0), (20, 16, 0.5, 3)]


def test_import_is_light() -> None:
    program = (
        "import sys, jaxgen.data; "
        "from jaxgen.data import cache, decode, digits, folder, parallel, rda, rows, tfds, prepare; "
        "print([m for m in ('jax', 'tensorflow_datasets', 'tensorflow', 'sklearn', 'PIL', 'rdata', 'tqdm', 'requests') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_every_setting_is_explained_on_the_command_line(capsys: pytest.CaptureFixture) -> None:
    import tyro

    with pytest.raises(SystemExit):
        tyro.cli(DataSettings, args=["--help"])
    text = capsys.readouterr().out
    for words in (
        "name of a TFDS",
        "TFDS_DATA_DIR",
        "one subfolder a class",
        "Height and width",
        "Share of each class",
    ):
        assert words in " ".join(text.replace("│", " ").split())


def test_training_on_all_adds_the_test_split_and_changes_the_version():
    plain, everything = (
        load(DataSettings(source="petals", count=20, size=16, train_on_all=on)) for on in (False, True)
    )
    assert len(everything.train.labels) == 20
    for name in ("images", "labels"):
        both = np.concatenate([getattr(plain.train, name), getattr(plain.test, name)])
        np.testing.assert_array_equal(getattr(everything.train, name), both)
        np.testing.assert_array_equal(getattr(everything.test, name), getattr(plain.test, name))
    assert everything.version != plain.version
