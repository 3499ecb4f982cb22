"""Decoded images cached as plain arrays, so that a data set is decoded only once.

One `.npz` per split, written under a temporary name and renamed, read without pickle. It holds a CRC-32 of each image,
and a SHA-256 of everything else and of these. A damaged file is reported and rebuilt; if the cache cannot be written,
there is a warning.
"""

import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.rows import crc_of_each, of_checked
from jaxgen.errors import warn

FORMAT = 2  # incremented when the format changes; older files are then rebuilt
SPLITS = ("train", "test")


def cached(stem: str, key: Mapping[str, Any], beside: Path | None, build: Callable[[], Dataset]) -> Dataset:
    """The data set that `build` returns, from the cache if it holds a valid one with this `key`.

    stem: start of the file names, one for each choice of settings.
    key: everything the pixels depend on (JSON values); a file with another key is rebuilt and replaced.
    beside: the folder the images come from, None if they come with a package.
    """
    full_key = json.loads(json.dumps({"format": FORMAT, **key}))
    for folder in folders(beside):
        dataset = _read(folder, stem, full_key)
        if dataset is not None:
            return dataset
    dataset = build()
    _write(dataset, stem, full_key, beside)
    return dataset


def mapped(stem: str, key: Mapping[str, Any], beside: Path | None) -> Dataset | None:
    """The cached data set for this `key`, its training images memory-mapped rather than read; None if there is none.

    An image is checked each time it is read; a damaged one raises a `UserError` and removes the file.
    """
    full_key = json.loads(json.dumps({"format": FORMAT, **key}))
    for folder in folders(beside):
        path = _path(folder, stem, "train")
        try:
            test, _ = _read_split(_path(folder, stem, "test"))
            train, header, sums = _map_split(path)
        except Exception:  # zip, JSON and NumPy raise many errors for damaged files
            continue
        if header["key"] == full_key and header["split"] == "train":
            rows = of_checked(train, sums, path)
            return Dataset(header["name"], header["version"], rows, test, tuple(header["class_names"]))
    return None


def _map_split(path: Path) -> tuple[Split, dict[str, Any], np.ndarray]:
    """A split with its images memory-mapped and not yet checked, its header, and the CRC-32 of each image."""
    with np.load(path, allow_pickle=False) as file:
        header, labels, sums, digest = (file[name] for name in ("header", "labels", "sums", "digest"))
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        place = archive.getinfo("images.npy").header_offset
        file.seek(place + 26)  # the lengths of the name and the extra field, which precede the array
        name, extra = np.frombuffer(file.read(4), "<u2")
        file.seek(place + 30 + int(name) + int(extra))
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        images = np.memmap(path, dtype, "r", file.tell(), shape)
    split = Split(images, labels)
    if digest.tobytes() != _seal(split, header.tobytes(), sums):
        raise ValueError("checksum")
    return split, json.loads(header.tobytes()), sums


def content_version(train: Split, test: Split) -> str:
    """A version that changes with any pixel, label or position in the split: 12 hexadecimal digits."""
    return hashlib.sha256(_digest(train) + _digest(test)).hexdigest()[:12]


def folders(beside: Path | None) -> list[Path]:
    """Possible folders for cache files, best first: `.jaxgen` beside the images, then the user's cache folder."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen" / "data"
    if beside is None:
        return [user]
    # Two folders with the same name must not share files in the user's cache.
    place = hashlib.sha256(os.fsencode(beside.resolve())).hexdigest()[:12]
    return [beside / ".jaxgen", user / place]


def _path(folder: Path, stem: str, split: str) -> Path:
    return folder / f"{stem}-{split}.npz"


def _read(folder: Path, stem: str, key: dict[str, Any]) -> Dataset | None:
    """The data set cached in `folder`, None if missing, for another key, or damaged (which is reported)."""
    splits = {}
    for name in SPLITS:
        path = _path(folder, stem, name)
        try:
            split, header = _read_split(path)
        except _OlderFormatError:
            return None
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        except Exception as error:  # zip, JSON and NumPy raise many errors for damaged files
            warn(f"the cache {path} is damaged ({type(error).__name__}) and is built again")
            return None
        if header["key"] != key or header["split"] != name:
            return None
        splits[name] = split
    return Dataset(header["name"], header["version"], **splits, class_names=tuple(header["class_names"]))


def _read_split(path: Path) -> tuple[Split, dict[str, Any]]:
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        if set(file.files) == {"images", "labels", "header", "digest"}:
            raise _OlderFormatError
        split, sums = Split(file["images"], file["labels"]), file["sums"]
        header, digest = file["header"].tobytes(), file["digest"].tobytes()
    if digest != _seal(split, header, sums) or not np.array_equal(sums, crc_of_each(split.images)):
        raise ValueError("checksum")
    return split, json.loads(header)


class _OlderFormatError(Exception):
    """The file is of format 1, which has no checksum of each image."""


def _seal(split: Split, header: bytes, sums: np.ndarray) -> bytes:
    """SHA-256 of everything but the images, of which it covers the shape and the checksums."""
    labels = split.labels
    kinds = f"{split.images.dtype.str}{split.images.shape}{labels.dtype.str}{labels.shape}{sums.dtype.str}{sums.shape}"
    return hashlib.sha256(b"".join([header, kinds.encode(), labels.tobytes(), sums.tobytes()])).digest()


def _digest(split: Split) -> bytes:
    """SHA-256 of the shape and bytes of both arrays."""
    sha = hashlib.sha256()
    for array in (split.images, split.labels):
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.digest()


def _write(dataset: Dataset, stem: str, key: dict[str, Any], beside: Path | None) -> None:
    """Write both splits to the first writable folder; warn if there is none."""
    for folder in folders(beside):
        try:
            for name in SPLITS:
                header = {
                    "key": key,
                    "split": name,
                    "name": dataset.name,
                    "version": dataset.version,
                    "class_names": dataset.class_names,
                }
                _write_split(_path(folder, stem, name), getattr(dataset, name), json.dumps(header).encode())
            return
        except OSError as error:
            refusal = error
    warn(f"the decoded images could not be cached, the next start decodes them again ({refusal})")


def _write_split(path: Path, split: Split, header: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = crc_of_each(split.images)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(temporary, "xb") as file:
            np.savez(
                file,
                images=split.images,
                labels=split.labels,
                header=np.frombuffer(header, np.uint8),
                sums=sums,
                digest=np.frombuffer(_seal(split, header, sums), np.uint8),
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
