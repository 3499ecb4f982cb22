"""Data sets whose training images stay on disk: the same images, read when they are asked for."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgen import data
from jaxgen.data import DataSettings, folder, rows, tfds
from jaxgen.errors import SettingError, UserError


def assert_same_images(streamed, resident):
    assert isinstance(streamed.train, rows.StreamedSplit)
    order = np.random.default_rng(0).permutation(len(resident.train.labels))[:7]
    images, labels = streamed.train.examples(order)
    np.testing.assert_array_equal(images, resident.train.images[order])
    np.testing.assert_array_equal(labels, resident.train.labels[order])
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(streamed.train.images[2:5], resident.train.images[2:5])
    np.testing.assert_array_equal(streamed.train.labels[-1], resident.train.labels[-1])
    assert streamed.train.images.shape == resident.train.images.shape
    assert streamed.image_shape == resident.image_shape
    for name in ("images", "labels"):
        np.testing.assert_array_equal(getattr(streamed.test, name), getattr(resident.test, name))
    assert (streamed.name, streamed.class_names) == (resident.name, resident.class_names)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_tfds_set_with_a_test_split(tiny, tmp_path, file_format):
    tiny.write_set(
        tmp_path, {"train": tiny.pictures(20), "test": tiny.pictures(7, seed=1)}, file_format=file_format
    )  # fmt: skip
    streamed = tfds.stream("toy", tmp_path, None, 0.25)
    assert_same_images(streamed, tfds.load("toy", tmp_path, None, 0.25))
    assert streamed.version == "1.0.0"


def test_a_tfds_set_without_one_is_split_by_its_labels(tiny, tmp_path):
    tiny.write_set(tmp_path, {"train": tiny.pictures(24)})
    streamed = tfds.stream("toy", tmp_path, 8, 0.25)
    assert_same_images(streamed, tfds.load("toy", tmp_path, 8, 0.25))
    assert tfds.stream("toy", tmp_path, 8, 0.5).version != streamed.version


def test_nothing_of_the_training_split_is_decoded_before_it_is_asked_for(tiny, tmp_path, monkeypatch):
    tiny.write_set(tmp_path, {"train": tiny.pictures(20), "test": tiny.pictures(7, seed=1)})
    decoded = []
    monkeypatch.setattr(tfds, "to_bytes", lambda image, *args: decoded.append(1) or np.asarray(image)[..., None])
    streamed = tfds.stream("toy", tmp_path, None, 0.25)
    assert len(decoded) <= 7 + 2
    decoded.clear()
    streamed.train.examples(np.arange(5))
    assert len(decoded) == 5


def test_a_damaged_cache_is_noticed_while_it_streams_and_made_again(tiny, tmp_path):
    tiny.write_set(tmp_path, {"train": tiny.pictures(40), "test": tiny.pictures(4)})
    whole = tfds.load("toy", tmp_path, None, 0.2)
    streamed = tfds.stream("toy", tmp_path, None, 0.2)
    (file,) = (tmp_path / ".jaxgen").glob("*-train.npz")
    sound = file.read_bytes()
    images = np.asarray(whole.train.images)
    place = sound.index(images.tobytes()) + 7 * images[0].nbytes + 11
    numbers = np.arange(40)
    for at in (place, place + 3):
        damaged = bytearray(sound)
        damaged[at] ^= 1
        file.write_bytes(damaged)
        streamed = tfds.stream("toy", tmp_path, None, 0.2)
        np.testing.assert_array_equal(streamed.train.examples(numbers[8:])[0], whole.train.images[8:])
        with pytest.raises(UserError, match=r"was damaged and has been removed: the same command"):
            streamed.train.examples(numbers)
        assert not file.exists()
    again = tfds.stream("toy", tmp_path, None, 0.2)
    np.testing.assert_array_equal(again.train.examples(numbers)[0], whole.train.images)


def test_what_was_decoded_before_is_mapped_and_not_decoded_again(tiny, tmp_path, monkeypatch):
    tiny.write_set(tmp_path, {"train": tiny.pictures(24)})
    unknown = tfds.stream("toy", tmp_path, None, 0.25)
    resident = tfds.load("toy", tmp_path, None, 0.25)
    monkeypatch.setattr(tfds, "to_bytes", None)
    streamed = tfds.stream("toy", tmp_path, None, 0.25)
    assert_same_images(streamed, resident)
    assert isinstance(streamed.train.images, rows.Column)  # read as needed
    assert streamed.version == unknown.version


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    root = tmp_path / "flowers"
    for label, name in enumerate(["daisy", "rose", "tulip"]):
        (root / name).mkdir(parents=True)
        for row in range(6):
            Image.new("RGB", (12, 9), (40 * row, 100 * label, 7)).save(root / name / f"{row}.png")
    return root


def test_a_folder(flowers):
    assert_same_images(folder.stream(flowers, 8, 0.3), folder.load(flowers, 8, 0.3, False))


def test_a_broken_image_is_named_when_it_is_met(flowers):
    streamed = folder.stream(flowers, 8, 0.3)
    for file in flowers.rglob("*.png"):
        file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(UserError, match=r"flowers/\w+/\d.png cannot be read \(.*\): mend or remove it"):
        streamed.train.examples(np.arange(3))


def test_sets_that_come_with_the_package_can_be_streamed_too():
    settings = DataSettings(source="petals", count=20, size=16)
    resident = data.load(settings, on_device=False)
    assert_same_images(data.load(DataSettings(source="petals", count=20, size=16, streaming=True)), resident)


@pytest.mark.parametrize("field", ["train_on_all", "skip_broken"])
def test_what_needs_all_images_is_refused(field):
    with pytest.raises(SettingError, match=rf"data.{field} = True is not allowed: False with data.streaming"):
        data.validate(DataSettings(source="digits", streaming=True, **{field: True}))


def test_without_grain_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs grain, which is not installed: pip install "jaxgen\[stream\]"'):
        data.validate(DataSettings(source="digits", streaming=True))
