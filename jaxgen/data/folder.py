"""A folder of images with one subfolder per class, such as the Kaggle flowers."""

import hashlib
import os
import warnings
from pathlib import Path
from textwrap import shorten

import numpy as np

from jaxgen import memory
from jaxgen.data.cache import cached, content_version, warn
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.decode import to_bytes
from jaxgen.data.parallel import map_threads
from jaxgen.data.rows import StreamedSplit, of_reader
from jaxgen.data.split import split_by_hash
from jaxgen.errors import UserError, printable

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
SHOWN = 5  # broken files named in a message


def load(path: Path, size: int, test_fraction: float, skip_broken: bool) -> Dataset:
    """The images below `path`, squashed to uint8 (N, size, size, 3); the subfolders' sorted names are the classes.

    The split depends on the files' names only. Broken files raise an error that lists them, or are skipped on request.
    """
    classes, listing = _list(path)
    key = {"files": listing, "skip_broken": skip_broken}
    stem = f"folder-{size}-{test_fraction}"
    return cached(stem, key, path, lambda: _build(path, classes, size, test_fraction, skip_broken))


def stream(path: Path, size: int, test_fraction: float) -> Dataset:
    """The same, but training images are decoded on demand, each time they are read."""
    classes, _ = _list(path)
    files = [file for members in classes.values() for file in members]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(members) for members in classes.values()])
    kept, apart = split_by_hash([_name(file) for file in files], labels, test_fraction)

    def read(row: int) -> tuple[np.ndarray, int]:
        try:
            return _read(files[row], size), labels[row]
        except Exception as error:  # Pillow's readers raise nearly anything for damaged files
            raise UserError(f"{files[row]} cannot be read ({shorten(str(error), 90)}): mend or remove it") from error

    def of(rows: np.ndarray) -> StreamedSplit:
        return of_reader(lambda places: [read(rows[place]) for place in places], len(rows), str(path))

    sizes = [(_name(file), file.stat().st_size) for file in files]
    version = hashlib.sha256(repr((sizes, size, test_fraction)).encode()).hexdigest()[:12]
    test = Split(*of(apart).examples(np.arange(len(apart))))
    return Dataset(printable(path.resolve().name), version, of(kept), test, tuple(map(printable, classes)))


def _list(path: Path) -> tuple[dict[str, list[Path]], str]:
    """The images of every class, and a hash of their names, sizes and times."""
    try:
        classes = find_images(path)
        listing = hashlib.sha256()
        for file in (file for files in classes.values() for file in files):
            status = file.stat()
            listing.update(os.fsencode(f"{_name(file)}\0{status.st_size}\0{status.st_mtime_ns}\0"))
    except OSError as error:
        raise UserError(f"{path} cannot be listed: {error}") from error
    return classes, listing.hexdigest()


def find_images(path: Path) -> dict[str, list[Path]]:
    """The image files of every class, sorted. Hidden folders and files of other suffixes do not count."""
    folders = sorted(entry for entry in path.iterdir() if _is_class(entry, path))
    if not folders:
        raise UserError(f"{path} has no subfolders: {_layout(path)}")
    classes = {folder.name: _images_in(folder) for folder in folders}
    _refuse_empty(path, {name: len(files) for name, files in classes.items()})
    return classes


def _is_class(entry: Path, path: Path) -> bool:
    """Whether `entry` is a visible folder that does not link back to the folder it is in or above."""
    hidden = entry.name.startswith(".")
    return not hidden and entry.is_dir() and not path.resolve().is_relative_to(entry.resolve())


def _images_in(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    return sorted(file for file in files if file.is_file())


def _refuse_empty(path: Path, counts: dict[str, int]) -> None:
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        more = f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
        names = f"{', '.join(empty[:SHOWN])}{more}{_inner(path, empty[0])}"
        raise UserError(f"{path} has no images in {names}: {_layout(path)}")


def _inner(path: Path, name: str) -> str:
    """A hint for archives that unpack into a folder in a folder."""
    nested = any(entry.is_dir() for entry in (path / name).iterdir())
    return f" but further folders (did you mean {path / name}?)" if nested else ""


def _layout(path: Path) -> str:
    return f"expected {path}/<class>/<image>, with files of {', '.join(sorted(SUFFIXES))}"


def _name(file: Path) -> str:
    """`class/file`, the same on every machine."""
    return f"{file.parent.name}/{file.name}"


def _build(path: Path, classes: dict[str, list[Path]], size: int, test_fraction: float, skip_broken: bool) -> Dataset:
    files = [file for members in classes.values() for file in members]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(members) for members in classes.values()])
    memory.check_count(f"data.size = {size}: number of images", len(files), 3 * size**2, "picture")
    images, broken = _decode(files, size)
    if broken:
        _report(path, broken, len(files), skip_broken)
        sound = np.array([file not in broken for file in files])
        files = [file for file in files if file not in broken]
        images, labels = images[sound], labels[sound]
        _refuse_empty(path, {name: int((labels == label).sum()) for label, name in enumerate(classes)})
    rows = split_by_hash([_name(file) for file in files], labels, test_fraction)
    train, test = (Split(images[part], labels[part]) for part in rows)
    return Dataset(
        printable(path.resolve().name), content_version(train, test), train, test, tuple(map(printable, classes))
    )


def _decode(files: list[Path], size: int) -> tuple[np.ndarray, dict[Path, str]]:
    """uint8 (N, size, size, 3), and the error of each unreadable file (its row is black)."""
    from PIL import Image

    images = np.zeros((len(files), size, size, 3), np.uint8)
    broken = {}

    def read(row: int) -> None:
        try:
            images[row] = _read(files[row], size)
        except Exception as error:  # Pillow's readers raise nearly anything for damaged files
            unknown = isinstance(error, Image.UnidentifiedImageError)
            broken[files[row]] = "not an image" if unknown else shorten(str(error), 90) or type(error).__name__

    with warnings.catch_warnings():  # set here for all threads: the filters belong to the process
        warnings.simplefilter("ignore")  # remarks on harmless oddities, such as damaged EXIF data
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for _ in map_threads(read, range(len(files)), "decoding images"):
            pass
    return images, dict(sorted(broken.items()))


def _read(file: Path, size: int) -> np.ndarray:
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        image.draft("RGB", (2 * size, 2 * size))  # decode a large JPEG at a reduced size, at least twice the target
        return to_bytes(ImageOps.exif_transpose(image), 3, size)


def _report(path: Path, broken: dict[Path, str], count: int, skip_broken: bool) -> None:
    """Name the first broken files, in a warning if they may be skipped, else in the error."""
    named = "; ".join(f"{printable(_name(file))} ({reason})" for file, reason in list(broken.items())[:SHOWN])
    more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    message = f"{len(broken)} of {count} images in {path} cannot be read: {named}{more}"
    if not skip_broken:
        raise UserError(f"{message}. Mend or remove them, or leave them out with --data.skip-broken")
    warn(f"{message}. Left out")
