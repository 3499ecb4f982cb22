"""Prepared TFDS directories, read without TensorFlow."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data import tfds
from jaxgen.data.dataset import Dataset
from jaxgen.data.prepare import check_known
from jaxgen.data.prepared import find_prepared
from jaxgen.errors import SettingError, UserError


def load(data_dir: Path, name: str = "toy", size: int | None = None) -> Dataset:
    return tfds.load(name, data_dir, size, 0.25)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize("channels", [1, 3])
def test_reads_what_was_written(tiny: type, tmp_path: Path, file_format: str, channels: int) -> None:
    train, test = tiny.pictures(20, (6, 5, channels)), tiny.pictures(7, (6, 5, channels), 1)
    tiny.write_set(tmp_path, {"train": train, "test": test}, file_format=file_format)
    for _ in range(2):  # decoded, then from the cache
        dataset = load(tmp_path)
        for split, examples in ((dataset.train, train), (dataset.test, test)):
            assert np.array_equal(split.images, np.stack([image for image, _ in examples]))
            assert split.labels.tolist() == [label for _, label in examples]
    assert (dataset.name, dataset.version, dataset.class_names) == ("toy", "1.0.0", ("0", "1", "2"))


def test_without_array_record_only_its_own_files_are_refused(
    tiny: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {"train": tiny.pictures(9), "test": tiny.pictures(3)}
    for file_format in ("array_record", "tfrecord"):
        tiny.write_set(tmp_path / file_format, splits, file_format=file_format)
    monkeypatch.setitem(sys.modules, "array_record", None)
    assert len(load(tmp_path / "tfrecord").train.labels) == 9
    for read in (load, lambda folder: tfds.stream("toy", folder, None, 0.25)):
        with pytest.raises(UserError, match="array_record: reading it needs the package array-record, which") as error:
            read(tmp_path / "array_record")
        assert "\n" not in str(error.value)


def test_more_records_than_a_chunk_keep_their_order(
    tiny: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfds, "CHUNK", 4)
    monkeypatch.setattr(tfds, "SMALL", 0)  # with threads
    train = tiny.pictures(30)
    tiny.write_set(tmp_path, {"train": train, "test": tiny.pictures(3, seed=1)})
    assert np.array_equal(load(tmp_path).train.images, np.stack([image for image, _ in train]))


def test_validation_stands_in_for_test(tiny: type, tmp_path: Path) -> None:
    validation = tiny.pictures(5, seed=1)
    tiny.write_set(tmp_path, {"train": tiny.pictures(9), "validation": validation})
    assert np.array_equal(load(tmp_path).test.images, np.stack([image for image, _ in validation]))


def test_test_comes_before_validation(tiny: type, tmp_path: Path) -> None:
    splits = {name: tiny.pictures(count) for name, count in (("train", 9), ("validation", 5), ("test", 4))}
    tiny.write_set(tmp_path, splits)
    assert len(load(tmp_path).test.labels) == 4


def test_without_either_a_share_of_train_is_set_apart(tiny: type, tmp_path: Path) -> None:
    tiny.write_set(tmp_path, {"train": tiny.pictures(24)})
    dataset = load(tmp_path)
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    assert len(dataset.train.labels) == 18
    other = tfds.load("toy", tmp_path, None, 0.5)  # the cache must not answer for another share
    assert len(other.test.labels) == 12
    assert other.version != dataset.version


def test_no_train_split(tiny: type, tmp_path: Path) -> None:
    tiny.write_set(tmp_path, {"test": tiny.pictures(4)})
    with pytest.raises(SettingError, match=r"'toy' has no train split \(it has test\)"):
        load(tmp_path)


def test_highest_complete_version_or_the_pinned_one(tiny: type, tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        tiny.write_set(tmp_path, {"train": tiny.pictures(9), "test": tiny.pictures(3)}, version=version)
    (tmp_path / "toy" / "incomplete.ABCDEF_2.0.0").mkdir()
    shutil.copytree(tmp_path / "toy" / "1.9.0", tmp_path / "toy" / "2.1.0")
    (tmp_path / "toy" / "2.1.0" / "features.json").unlink()
    assert load(tmp_path).version == "1.10.0"
    assert load(tmp_path, "toy:1.9.0").version == "1.9.0"
    with pytest.raises(UserError, match=r"toy/2.1.0 is incomplete \(features.json is missing\)"):
        load(tmp_path, "toy:2.1.0")


def test_configurations(tiny: type, tmp_path: Path) -> None:
    for config, count in (("letters", 9), ("digits", 12)):
        folder = tiny.write_set(tmp_path / "staging", {"train": tiny.pictures(count), "test": tiny.pictures(3)})
        (tmp_path / "toy" / config).mkdir(parents=True)
        folder.rename(tmp_path / "toy" / config / "1.0.0")
    assert len(load(tmp_path, "toy/letters").train.labels) == 9
    assert len(load(tmp_path, "toy/digits:1.0.0").train.labels) == 12
    (tmp_path / "toy" / ".config").mkdir()
    (tmp_path / "toy" / ".config" / "metadata.json").write_text('{"default_config_name": "digits"}')
    assert len(load(tmp_path).train.labels) == 12


@pytest.mark.parametrize("shard", ["toy-train", "toy-test"])
def test_missing_shards_are_not_taken_for_complete(tiny: type, tmp_path: Path, shard: str) -> None:
    folder = tiny.write_set(tmp_path, {"train": tiny.pictures(9), "test": tiny.pictures(3)})
    load(tmp_path)  # nor does the cache hide it
    (folder / f"{shard}.array_record-00000-of-00001").unlink()
    with pytest.raises(UserError, match=f"is incomplete \\({shard}.array_record-00000-of-00001 is missing\\)"):
        load(tmp_path)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_damaged_shards_are_one_line(tiny: type, tmp_path: Path, file_format: str, damage: str) -> None:
    folder = tiny.write_set(
        tmp_path, {"train": tiny.pictures(9, (40, 40, 3)), "test": tiny.pictures(3)}, file_format=file_format
    )
    shard = folder / f"toy-train.{file_format}-00000-of-00001"
    data = bytearray(shard.read_bytes())
    for place in range(100, len(data), 50):
        data[place] ^= 255
    shard.write_bytes({"cut": shard.read_bytes()[:-200], "empty": b"", "noise": bytes(data)}[damage])
    with pytest.raises(
        UserError, match=r"toy/1.0.0 \(train\) cannot be read: .*; if it is damaged, delete it and"
    ) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / ".jaxgen").exists()


def test_a_set_too_large_for_memory_is_not_called_damaged(
    tiny: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    tiny.write_set(tmp_path, {"train": tiny.pictures(9), "test": tiny.pictures(3)})
    monkeypatch.setattr(tfds, "_fill", exhausted)
    with pytest.raises(UserError, match=r"does not fit into memory .* try a smaller --data\.size"):
        load(tmp_path)


def test_fewer_records_than_promised_is_damage(tiny: type, tmp_path: Path) -> None:
    folder = tiny.write_set(tmp_path, {"train": tiny.pictures(9), "test": tiny.pictures(3)}, file_format="tfrecord")
    shard = folder / "toy-train.tfrecord-00000-of-00001"
    record = int.from_bytes(shard.read_bytes()[:8], "little") + 16
    shard.write_bytes(shard.read_bytes()[record:])
    with pytest.raises(UserError, match="8 records instead of 9"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"splits": [{}]}'])
def test_damaged_info_is_one_line(tiny: type, tmp_path: Path, text: str) -> None:
    folder = tiny.write_set(tmp_path, {"train": tiny.pictures(9), "test": tiny.pictures(3)})
    (folder / "dataset_info.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset_info\.json is damaged"):
        load(tmp_path)


def test_differing_sizes_need_one(tiny: type, tmp_path: Path) -> None:
    train = [*tiny.pictures(4, (9, 9, 3)), *tiny.pictures(4, (12, 20, 3))]
    tiny.write_set(tmp_path, {"train": train, "test": tiny.pictures(4, (9, 9, 3))})
    with pytest.raises(SettingError, match=r"differ in size \(9x9 and 12x20\); try --data.size"):
        load(tmp_path)
    dataset = load(tmp_path, size=10)
    assert dataset.train.images.shape == (8, 10, 10, 3)
    assert dataset.version.startswith("1.0.0-")
    assert load(tmp_path, size=16).image_shape == (16, 16, 3)


def test_splits_of_differing_sizes_need_one_too(tiny: type, tmp_path: Path) -> None:
    tiny.write_set(tmp_path, {"train": tiny.pictures(4, (9, 9, 3)), "test": tiny.pictures(4, (8, 9, 3))})
    with pytest.raises(SettingError, match="differ in size"):
        load(tmp_path)


@pytest.mark.parametrize("lack", ["image", "label", "kind"])
def test_sets_without_labeled_images(tiny: type, tmp_path: Path, lack: str) -> None:
    folder = tiny.write_set(tmp_path, {"train": tiny.pictures(4), "test": tiny.pictures(4)})
    file = folder / "features.json"
    features = json.loads(file.read_text())
    if lack == "kind":
        features["featuresDict"]["features"]["image"]["image"]["dtype"] = "float32"
    else:
        del features["featuresDict"]["features"][lack]
    file.write_text(json.dumps(features))
    with pytest.raises(SettingError, match="'toy' is not an image-classification set"):
        load(tmp_path)


def test_a_prepared_set_that_was_replaced_is_decoded_again(tiny: type, tmp_path: Path) -> None:
    tiny.write_set(tmp_path, {"train": tiny.pictures(9), "test": tiny.pictures(3)})
    load(tmp_path)
    shutil.rmtree(tmp_path / "toy")
    tiny.write_set(tmp_path, {"train": tiny.pictures(12), "test": tiny.pictures(3)})
    assert len(load(tmp_path).train.labels) == 12


@pytest.mark.parametrize("name", ["MNIST", "mnist:latest", "../mnist", "emnist/", ""])
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="is not allowed"):
        find_prepared(name, tmp_path)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'fashion_mnist'"):
        check_known("fashon_mnist")
    with pytest.raises(SettingError, match="did you mean 'petals'"):
        check_known("petal")
    check_known("kmnist")
    check_known("emnist/letters:3.1.0")


@pytest.mark.slow
def test_mnist_itself(test_data: Path, tmp_path: Path) -> None:
    """Decoded in one process; the next is quick and imports neither TFDS nor TensorFlow."""
    (tmp_path / "mnist").symlink_to(test_data / "tfds" / "mnist")
    program = (
        "import sys, time; from jaxgen.data import tfds; from pathlib import Path; start = time.monotonic(); "
        "d = tfds.load('mnist', Path(sys.argv[1]), None, 0.2); "
        "print(d.train.images.shape, d.train.images.mean(), d.train.labels[:5].tolist(), len(d.test.labels), sep=';'); "
        "print(time.monotonic() - start, 'tensorflow' in sys.modules, 'tensorflow_datasets' in sys.modules)"
    )
    runs = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        runs.append(run.stdout.splitlines())
    assert runs[0][0] == runs[1][0]
    shape, mean, labels, tested = runs[0][0].split(";")
    assert shape == "(60000, 28, 28, 1)"
    assert float(mean) == pytest.approx(33.318421, abs=1e-5)  # 0.1307 of 255, as everybody's normalization has it
    assert labels == "[4, 1, 0, 7, 8]"  # TFDS's order
    assert tested == "10000"
    assert runs[0][1].split()[1:] == ["False", "True"]
    seconds, *imported = runs[1][1].split()
    assert imported == ["False", "False"]
    assert float(seconds) < 1
