"""Image-classification sets of TensorFlow Datasets, read from a prepared directory without TensorFlow."""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from jaxgen.data import rows as rows_lib
from jaxgen.data.cache import cached, content_version, mapped
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.decode import to_bytes
from jaxgen.data.parallel import map_threads
from jaxgen.data.prepared import find_prepared, shards
from jaxgen.data.split import split_by_hash
from jaxgen.errors import SettingError, UserError

CHUNK = 512  # records read and decoded at a time
SMALL = 4096  # bytes of an encoded image below which threads cost more than they gain (they wait for each other)


def load(name: str, data_dir: Path, size: int | None, test_fraction: float) -> Dataset:
    """The set `name` (`set`, `set/config`, with `:x.y.z` to pin a version), prepared first if necessary.

    For testing: its test split, else its validation split, else a share of its train split.
    """
    folder = find_prepared(name, data_dir)
    if folder is None:
        from jaxgen.data.prepare import prepare

        folder = prepare(name, data_dir)
    base = name.partition(":")[0]
    splits = _splits(base, folder)
    stem, key = _cache_name(base, folder, splits, size, test_fraction)
    return cached(stem, key, data_dir, lambda: _decode(base, folder, list(splits), size, test_fraction))


def _cache_name(
    base: str, folder: Path, splits: dict[str, list[Path]], size: int | None, test_fraction: float
) -> tuple[str, dict[str, Any]]:
    files = {path.name: path.stat() for paths in splits.values() for path in paths}
    key = {
        "files": {name: (status.st_size, status.st_mtime_ns) for name, status in files.items()},
        "size": size,
        "test_fraction": None if len(splits) == 2 else test_fraction,
    }
    return "-".join([base.replace("/", "."), folder.name, *([str(size)] if size else [])]), key


def stream(name: str, data_dir: Path, size: int | None, test_fraction: float) -> Dataset:
    """The same, but the training split stays on disk; only the test images are decoded right away."""
    folder = find_prepared(name, data_dir)
    if folder is None:
        from jaxgen.data.prepare import prepare

        folder = prepare(name, data_dir)
    base = name.partition(":")[0]
    files = _splits(base, folder)
    stamps = sorted((path.name, path.stat().st_size) for path in files["train"])
    sizes = hashlib.sha256(repr((stamps, size, None if len(files) == 2 else test_fraction)).encode()).hexdigest()[:12]
    version = folder.name if len(files) == 2 and size is None else f"{folder.name}-{sizes}"
    known = mapped(*_cache_name(base, folder, files, size, test_fraction), data_dir)
    if known is not None:  # already decoded: its pages are read as needed
        return Dataset(known.name, version, known.train, known.test, known.class_names)
    builder = _builder(folder)
    image, label = features(base, builder.info)
    decode = _decoder(image, label, 1 if builder.info.features[image].shape[-1] == 1 else 3, size)
    records, tested = _records(builder, "train"), [split for split in files if split != "train"]

    def read(rows: Sequence[int]) -> list[tuple[np.ndarray, int]]:
        return [decode(record) for record in records.__getitems__(list(rows))]

    place = f"{builder.data_path} (train)"
    if tested:
        train = rows_lib.of_reader(read, len(records), place)
        test = _decode_split(base, builder, tested[0], decode)
    else:
        labels = np.concatenate([_labels(records, rows, label) for rows in _chunks(len(records))])
        kept, apart = split_by_hash([str(row) for row in range(len(records))], labels, test_fraction)
        train = rows_lib.of_reader(lambda rows: read(kept[np.asarray(rows)].tolist()), len(kept), place)
        test = Split(*rows_lib.of_reader(read, len(records), place).examples(apart))
    return Dataset(base, version, train, test, tuple(builder.info.features[label].names))


def _labels(records: Any, rows: range, label: str) -> np.ndarray:
    """Labels alone, without decoding an image."""
    from tensorflow_datasets.proto import tf_example_pb2

    parsed = (tf_example_pb2.Example.FromString(record) for record in records.__getitems__(list(rows)))
    return np.array([example.features.feature[label].int64_list.value[0] for example in parsed], np.int32)


def _splits(name: str, folder: Path) -> dict[str, list[Path]]:
    """The train split and the split for testing, if there is one, with their files."""
    files = shards(folder)
    if "train" not in files:
        raise SettingError(f"data.source = {name!r} has no train split (it has {', '.join(files)})")
    tested = next((split for split in ("test", "validation") if split in files), "train")
    return {split: files[split] for split in ("train", tested)}


def _decode(name: str, folder: Path, splits: list[str], size: int | None, test_fraction: float) -> Dataset:
    builder = _builder(folder)
    image, label = features(name, builder.info)
    channels = 1 if builder.info.features[image].shape[-1] == 1 else 3
    decode = _decoder(image, label, channels, size)
    train, *rest = [_decode_split(name, builder, split, decode) for split in splits]
    if rest:
        test = rest[0]
        if train.images.shape[1:] != test.images.shape[1:]:
            raise _sizes_differ(name, train.images.shape[1:], test.images.shape[1:])
    else:
        rows = split_by_hash([str(row) for row in range(len(train.labels))], train.labels, test_fraction)
        train, test = (Split(train.images[part], train.labels[part]) for part in rows)
    classes = range(len(builder.info.features[label].names))
    for part in (train, test):
        if not np.isin(part.labels, classes).all():
            raise UserError(f"{folder} is damaged: it has labels beyond its classes; copy it again, or delete it")
    version = folder.name if rest and size is None else f"{folder.name}-{content_version(train, test)}"
    return Dataset(name, version, train, test, tuple(builder.info.features[label].names))


def _builder(folder: Path) -> Any:
    """TFDS's reader of a prepared set."""
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # JSON, protobuf and TFDS raise nearly anything for damaged files
        reason = shorten(f"{type(error).__name__}: {error}", 120)
        raise UserError(f"{folder} is damaged ({reason}): copy it again, or delete it") from error


def features(name: str, info: Any) -> tuple[str, str]:
    """Names of the image and of the label feature of a TFDS `DatasetInfo`."""
    import tensorflow_datasets as tfds

    image, label = info.supervised_keys if len(info.supervised_keys or ()) == 2 else ("image", "label")
    if not (
        isinstance(info.features, tfds.features.FeaturesDict)
        and {image, label} <= set(info.features)
        and isinstance(info.features[image], tfds.features.Image)
        and info.features[image].np_dtype != np.float32  # stored as if it were RGBA
        and isinstance(info.features[label], tfds.features.ClassLabel)
    ):
        raise SettingError(f"data.source = {name!r} is not an image-classification set: it has no image with a label")
    return image, label


Decoder = Callable[[bytes], tuple[np.ndarray, int]]


def _decoder(image: str, label: str, channels: int, size: int | None) -> Decoder:
    """A function from a serialized example to its pixels and label; parsing only these two is 7 times faster."""
    import io

    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    def decode(record: bytes) -> tuple[np.ndarray, int]:
        feature = tf_example_pb2.Example.FromString(record).features.feature
        with Image.open(io.BytesIO(feature[image].bytes_list.value[0])) as encoded:
            return to_bytes(encoded, channels, size), feature[label].int64_list.value[0]

    return decode


def _decode_split(name: str, builder: Any, split: str, decode: Decoder) -> Split:
    """All images of a split; an unreadable one raises a UserError."""
    try:
        records = _records(builder, split)
        count, promised = len(records), builder.info.splits[split].num_examples
        if count != promised:
            raise ValueError(f"{count} records instead of {promised}")
        return _fill(name, split, records, decode)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{name} does not fit into memory ({error}): try a smaller --data.size") from error
    except Exception as error:  # array_record, protobuf and Pillow each raise their own errors for damaged bytes
        reason = shorten(str(error), 90) or type(error).__name__
        path = builder.data_path
        raise UserError(
            f"{path} ({split}) cannot be read: {reason}; if it is damaged, delete it and prepare it again"
        ) from error


def _fill(name: str, split: str, records: Any, decode: Decoder) -> Split:
    """The arrays of all records, decoded a chunk at a time."""
    count = len(records)
    chunks = _chunks(count)
    small = len(records.__getitems__([0])[0]) < SMALL

    def decode_chunk(rows: range) -> list[tuple[np.ndarray, int]]:
        return [decode(record) for record in records.__getitems__(list(rows))]

    first, _ = decode_chunk(range(1))[0]
    images, labels = np.empty((count, *first.shape), np.uint8), np.empty(count, np.int32)
    progress = map_threads(decode_chunk, chunks, f"decoding {name} {split}", threads=1 if small else None)
    for rows, examples in zip(chunks, progress, strict=True):
        for row, (pixels, label) in zip(rows, examples, strict=True):
            if pixels.shape != first.shape:
                raise _sizes_differ(name, first.shape, pixels.shape)
            images[row], labels[row] = pixels, label
    return Split(images, labels)


def _chunks(count: int) -> list[range]:
    return [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]


def _records(builder: Any, split: str) -> Any:
    """Random access to the serialized examples of a split."""
    import tensorflow_datasets as tfds

    if builder.info.file_format is tfds.core.FileFormat.TFRECORD:
        from jaxgen.data.tfrecord import TFRecords

        return TFRecords([Path(path) for path in builder.info.splits[split].filepaths])
    if not has_array_record():
        raise UserError(
            f"{builder.data_path} is stored as array_record: reading it needs the package array-record, which is not "
            "installed (Windows has none); prepare the set again on this machine, it is then stored as tfrecord"
        )
    return builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)


def has_array_record() -> bool:
    """Whether array_record files can be read and written; otherwise sets are stored as TFRecord."""
    return importlib.util.find_spec("array_record") is not None


def _sizes_differ(name: str, first: tuple[int, ...], second: tuple[int, ...]) -> SettingError:
    sizes = " and ".join(f"{shape[0]}x{shape[1]}" for shape in (first, second))
    return SettingError(
        f"data.size = None is not allowed: images of {name} differ in size ({sizes}); try --data.size 64"
    )
