"""A user cache of its own for every test, and small TFDS directories written without TensorFlow."""

import io
import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Example = tuple[np.ndarray, int]


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache" / "jaxgen" / "data"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of the project's data sets, which is never written to."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("JAXGEN_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no data: set JAXGEN_TEST_DATA to a folder with tfds/mnist and flowers")
    return folder


def pictures(count: int, shape: tuple[int, int, int] = (6, 5, 1), seed: int = 0) -> list[Example]:
    """Random images with labels 0, 1, 2, 0, ..."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return [(image, row % 3) for row, image in enumerate(pixels)]


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG")
    return file.getvalue()


def _serialize(example: Example) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    message = tf_example_pb2.Example()
    message.features.feature["image"].bytes_list.value.append(png(example[0]))
    message.features.feature["label"].int64_list.value.append(example[1])
    return message.SerializeToString()


def _write_records(path: Path, records: Sequence[bytes]) -> None:
    if ".tfrecord" in path.name:
        path.write_bytes(b"".join(struct.pack("<QI", len(record), 0) + record + bytes(4) for record in records))
        return
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def write_set(
    data_dir: Path,
    splits: dict[str, list[Example]],
    name: str = "toy",
    version: str = "1.0.0",
    file_format: str = "array_record",
    image_dtype: str = "uint8",
) -> Path:
    """A prepared TFDS directory as TFDS writes it, one shard a split; returns the version's folder."""
    folder = data_dir / name / version
    folder.mkdir(parents=True)
    entries = []
    for split, examples in splits.items():
        _write_records(folder / f"{name}-{split}.{file_format}-00000-of-00001", [_serialize(e) for e in examples])
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        entries.append({"name": split, "shardLengths": [str(len(examples))], "filepathTemplate": template})
    keys = {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}}
    info = {"name": name, "version": version, "fileFormat": file_format, "splits": entries, "supervisedKeys": keys}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    channels = next(iter(splits.values()))[0][0].shape[-1]
    package = "tensorflow_datasets.core.features."
    shape = {"dimensions": ["-1", "-1", str(channels)]}
    image = {"image": {"dtype": image_dtype, "shape": shape}, "pythonClassName": f"{package}image_feature.Image"}
    label = {"classLabel": {"numClasses": "3"}, "pythonClassName": f"{package}class_label_feature.ClassLabel"}
    features = {"featuresDict": {"features": {"image": image, "label": label}}}
    (folder / "features.json").write_text(
        json.dumps({**features, "pythonClassName": f"{package}features_dict.FeaturesDict"})
    )
    return folder


@pytest.fixture(scope="session")
def tiny() -> type:
    """The helpers above, for tests that cannot import a conftest."""

    class Tiny:
        pictures: Callable = staticmethod(pictures)
        png: Callable = staticmethod(png)
        write_set: Callable = staticmethod(write_set)

    return Tiny
