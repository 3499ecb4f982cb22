"""Image-classification sets of TensorFlow Datasets, read from a prepared directory without TensorFlow."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from jaxgen.data.cache import cached, content_version
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.decode import to_bytes
from jaxgen.data.parallel import map_threads
from jaxgen.data.split import split_by_hash
from jaxgen.errors import SettingError, UserError

NAME = re.compile(r"(?P<set>[a-z][a-z0-9_]*)(/(?P<config>[\w.\-+]+))?(:(?P<version>\d+\.\d+\.\d+))?")
CHUNK = 512  # records read and decoded at a time
SMALL = 4096  # bytes of an encoded image below which threads cost more than they bring (they wait for each other)


def default_data_dir() -> Path:
    """`$TFDS_DATA_DIR`, else the folder TFDS itself uses."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def check(name: str, data_dir: Path) -> None:
    """Refuses a name that is neither prepared in `data_dir` nor known to TFDS."""
    if find_prepared(name, data_dir) is None:
        from jaxgen.data.prepare import check_known

        check_known(name)


def load(name: str, data_dir: Path, size: int | None, test_fraction: float) -> Dataset:
    """The set `name` (`set`, `set/config`, with `:x.y.z` to pin a version), prepared first where it is not yet.

    Tested on are the rows of its test split, else of its validation split, else a share of the train split.
    """
    folder = find_prepared(name, data_dir)
    if folder is None:
        from jaxgen.data.prepare import prepare

        folder = prepare(name, data_dir)
    base = name.partition(":")[0]
    splits = _splits(base, folder)
    files = {path.name: path.stat() for paths in splits.values() for path in paths}
    key = {
        "files": {name: (status.st_size, status.st_mtime_ns) for name, status in files.items()},
        "size": size,
        "test_fraction": None if len(splits) == 2 else test_fraction,
    }
    stem = "-".join([base.replace("/", "."), folder.name, *([str(size)] if size else [])])
    return cached(stem, key, data_dir, lambda: _decode(base, folder, list(splits), size, test_fraction))


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """The folder of the pinned, else of the highest complete version, None if there is none.

    Raises UserError if there are only incomplete ones: TFDS would take such a folder for complete.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise SettingError(f"data.source = {name!r} is not allowed: digits, petals, folder, rda, or a TFDS set's name")
    base = data_dir / match["set"]
    base /= match["config"] or _default_config(base)
    versions = sorted((tuple(map(int, path.name.split("."))), path) for path in base.glob("*.*.*") if _is_version(path))
    candidates = [path for _, path in reversed(versions) if match["version"] in (None, path.name)]
    missing = {path: _missing_file(path) for path in candidates}
    for path in candidates:
        if missing[path] is None:
            return path
    if candidates:
        path = candidates[0]
        raise UserError(f"{path} is incomplete ({missing[path]} is missing): copy it again, or delete it")
    return None


def _is_version(path: Path) -> bool:
    return re.fullmatch(r"\d+\.\d+\.\d+", path.name) is not None and path.is_dir()


def _default_config(base: Path) -> str:
    """The configuration TFDS noted as the default of a set that has several, else the empty string."""
    try:
        return json.loads((base / ".config" / "metadata.json").read_text())["default_config_name"]
    except (OSError, ValueError, KeyError):
        return ""


def _missing_file(folder: Path) -> str | None:
    """Name of the first file a version lacks."""
    for name in ("dataset_info.json", "features.json"):
        if not (folder / name).is_file():
            return name
    return next((path.name for paths in _shards(folder).values() for path in paths if not path.is_file()), None)


def _shards(folder: Path) -> dict[str, list[Path]]:
    """The record files of every split, from `dataset_info.json`."""
    try:
        info = json.loads((folder / "dataset_info.json").read_text())
        return {split["name"]: _shard_paths(folder, info, split) for split in info["splits"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}/dataset_info.json is damaged ({error!r}): copy it again, or delete {folder}"
        ) from error


def _shard_paths(folder: Path, info: dict[str, Any], split: dict[str, Any]) -> list[Path]:
    template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    count = len(split["shardLengths"])
    return [
        folder
        / template.format(
            DATASET=info["name"],
            SPLIT=split["name"],
            FILEFORMAT=info.get("fileFormat", "tfrecord"),
            SHARD_INDEX=f"{shard:05d}",
            NUM_SHARDS=f"{count:05d}",
            SHARD_X_OF_Y=f"{shard:05d}-of-{count:05d}",
        )
        for shard in range(count)
    ]


def _splits(name: str, folder: Path) -> dict[str, list[Path]]:
    """The train split and, if there is one, the split to test on, with their files."""
    shards = _shards(folder)
    if "train" not in shards:
        raise SettingError(f"data.source = {name!r} has no train split (it has {', '.join(shards)})")
    tested = next((split for split in ("test", "validation") if split in shards), "train")
    return {split: shards[split] for split in ("train", tested)}


def _decode(name: str, folder: Path, splits: list[str], size: int | None, test_fraction: float) -> Dataset:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    image, label = features(name, builder.info)
    channels = 1 if builder.info.features[image].shape[-1] == 1 else 3
    decode = _decoder(image, label, channels, size)
    decoded = [_decode_split(name, builder, split, decode) for split in splits]
    shapes = {split.images.shape[1:] for split in decoded}
    if len(shapes) > 1:
        raise _sizes_differ(name, *shapes)
    version = folder.name
    if len(decoded) == 1:
        rows = split_by_hash([str(row) for row in range(len(decoded[0].labels))], decoded[0].labels, test_fraction)
        decoded = [Split(decoded[0].images[part], decoded[0].labels[part]) for part in rows]
    if size is not None or len(splits) == 1:
        version += f"-{content_version(*decoded)}"
    return Dataset(name, version, *decoded, tuple(builder.info.features[label].names))


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
    """A function from a serialised example to its pixels and label; parsing only these two is 7 times faster."""
    import io

    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    def decode(record: bytes) -> tuple[np.ndarray, int]:
        feature = tf_example_pb2.Example.FromString(record).features.feature
        with Image.open(io.BytesIO(feature[image].bytes_list.value[0])) as encoded:
            return to_bytes(encoded, channels, size), feature[label].int64_list.value[0]

    return decode


def _decode_split(name: str, builder: Any, split: str, decode: Decoder) -> Split:
    """All images of a split; a damaged record or file is a UserError."""
    try:
        records = _records(builder, split)
        count, promised = len(records), builder.info.splits[split].num_examples
        if count != promised:
            raise ValueError(f"{count} records instead of {promised}")
        small = len(records.__getitems__([0])[0]) < SMALL
        chunks = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
        labels = np.empty(count, np.int32)
        images = None

        def decode_chunk(rows: range) -> list[tuple[np.ndarray, int]]:
            return [decode(record) for record in records.__getitems__(list(rows))]

        progress = map_threads(decode_chunk, chunks, f"decoding {name} {split}", threads=1 if small else None)
        for rows, examples in zip(chunks, progress, strict=True):
            for row, (pixels, label) in zip(rows, examples, strict=True):
                if images is None:
                    images = np.empty((count, *pixels.shape), np.uint8)
                if pixels.shape != images.shape[1:]:
                    raise _sizes_differ(name, images.shape[1:], pixels.shape)
                images[row], labels[row] = pixels, label
    except SettingError:
        raise
    except Exception as error:  # array_record, protobuf and Pillow each have their own for damaged bytes
        reason = shorten(str(error), 90) or type(error).__name__
        raise UserError(
            f"{builder.data_path} ({split}) is damaged: {reason}; delete it and prepare it again"
        ) from error
    return Split(images, labels)


def _records(builder: Any, split: str) -> Any:
    """Random access to the serialised examples of a split."""
    import tensorflow_datasets as tfds

    if builder.info.file_format is tfds.core.FileFormat.TFRECORD:
        from jaxgen.data.tfrecord import TFRecords

        return TFRecords([Path(path) for path in builder.info.splits[split].filepaths])
    return builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)


def _sizes_differ(name: str, first: tuple[int, ...], second: tuple[int, ...]) -> SettingError:
    sizes = " and ".join(f"{shape[0]}x{shape[1]}" for shape in (first, second))
    return SettingError(
        f"data.size = None is not allowed: images of {name} differ in size ({sizes}); try --data.size 64"
    )
