"""Decoded images cached as plain arrays, so that a data set is decoded only once.

One `.npz` per split, written under a temporary name and renamed, read without pickle, and trusted only if the SHA-256
inside matches. A damaged file is reported and rebuilt; if the cache cannot be written, there is a warning.
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
from jaxgen.errors import warn

FORMAT = 1  # incremented when the format changes; older files are then rebuilt
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
    """The cached data set for this `key`, its arrays memory-mapped rather than read; None if there is none.

    Pages are read on access, so their checksum is not verified.
    """
    full_key = json.loads(json.dumps({"format": FORMAT, **key}))
    for folder in folders(beside):
        try:
            splits = {name: _map_split(_path(folder, stem, name), full_key) for name in SPLITS}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            continue
        header = splits["train"][1]
        parts = {name: split for name, (split, _) in splits.items()}
        return Dataset(header["name"], header["version"], **parts, class_names=tuple(header["class_names"]))
    return None


def _map_split(path: Path, key: dict[str, Any]) -> tuple[Split, dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        header, labels = json.loads(file["header"].tobytes()), file["labels"]
    if header["key"] != key:
        raise ValueError("another key")
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        place = archive.getinfo("images.npy").header_offset
        file.seek(place + 26)  # the lengths of the name and the extra field, which precede the array
        name, extra = np.frombuffer(file.read(4), "<u2")
        file.seek(place + 30 + int(name) + int(extra))
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        images = np.memmap(path, dtype, "r", file.tell(), shape)
    return Split(images, labels), header


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
        split = Split(file["images"], file["labels"])
        header, digest = file["header"].tobytes(), file["digest"].tobytes()
    if digest != _digest(split, header):
        raise ValueError("checksum")
    return split, json.loads(header)


def _digest(split: Split, header: bytes = b"") -> bytes:
    """SHA-256 of the header, and of the shape and bytes of both arrays."""
    sha = hashlib.sha256(header)
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
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(temporary, "xb") as file:
            np.savez(
                file,
                images=split.images,
                labels=split.labels,
                header=np.frombuffer(header, np.uint8),
                digest=np.frombuffer(_digest(split, header), np.uint8),
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
