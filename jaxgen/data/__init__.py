"""Data sources, all loaded as uint8 (N, H, W, C) images and int labels on the device."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen import memory
from jaxgen.data.dataset import Dataset, Split
from jaxgen.errors import UserError, check_at_least, refuse

__all__ = ["DataSettings", "Dataset", "Split", "from_arrays", "load", "validate"]


@dataclass(frozen=True)
class DataSettings:
    """Source of the images and its options."""

    source: str = "mnist"
    """digits, petals, folder, rda, or the name of a TFDS image-classification set (mnist, fashion_mnist, kmnist,
    emnist/letters, mnist:3.0.1, ...)."""
    data_dir: Path | None = None
    """TFDS: directory of prepared data sets; default $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    path: Path | None = None
    """folder: the folder with one subfolder a class; rda: the file."""
    size: int | None = None
    """Height and width to resize to; default: 28 for digits, 80 for petals and folder, as stored for TFDS and rda."""
    test_fraction: float = 0.2
    """Share of each class held out for testing if the source has no test split of its own."""
    train_on_all: bool = False
    """Train on the test split too (as the chapter's flower GAN does); the test split is unchanged."""
    streaming: bool = False
    """Keep the training images on disk and load them while the device computes, for data sets that do not fit.
    Needs pip install "jaxgen[stream]"; does not affect results."""
    skip_broken: bool = False
    """folder: skip unreadable files instead of failing."""
    count: int = 5000
    """petals: number of flowers drawn, train and test together."""
    seed: int = 0
    """petals: random seed of the flowers."""


def validate(settings: DataSettings) -> None:
    """Raise `SettingError` for invalid settings, before any work."""
    if settings.size is not None and not 8 <= settings.size <= 1024:
        refuse("data.size", settings.size, "8 to 1024")
    if not 0 < settings.test_fraction < 1:
        refuse("data.test_fraction", settings.test_fraction, "more than 0, less than 1")
    if settings.streaming:
        _validate_streaming(settings)
    check_at_least("data.seed", settings.seed, 0)
    check_at_least("data.count", settings.count, 10)
    if settings.source == "petals":
        memory.check_count("data.count", settings.count, 3 * (settings.size or 80) ** 2, "picture")
    if settings.source in ("folder", "rda"):
        _validate_path(settings)
    elif settings.path is not None:
        refuse("data.path", str(settings.path), f"only with --data.source folder or rda, not {settings.source}")
    elif settings.source not in ("digits", "petals"):
        _validate_name(settings)


def _validate_streaming(settings: DataSettings) -> None:
    for field in ("train_on_all", "skip_broken"):
        if getattr(settings, field):
            refuse(f"data.{field}", True, "False with data.streaming")
    if importlib.util.find_spec("grain") is None:
        raise UserError('data.streaming needs grain, which is not installed: pip install "jaxgen[stream]"')


def _validate_path(settings: DataSettings) -> None:
    what = "a folder with one subfolder a class" if settings.source == "folder" else "a file such as flower.rda"
    if settings.path is None:
        refuse("data.path", None, f"--data.source {settings.source} needs {what}")
    if not (settings.path.is_dir() if settings.source == "folder" else settings.path.is_file()):
        refuse("data.path", str(settings.path), f"{what} (there is none)")


def _validate_name(settings: DataSettings) -> None:
    from jaxgen.data.prepared import find_prepared

    if find_prepared(settings.source, _data_dir(settings)) is None:
        from jaxgen.data.prepare import check_known

        check_known(settings.source)


def load(source: str | DataSettings, *, on_device: bool = True, **settings: Any) -> Dataset:
    """Load the images of a source as arrays on the default device or in host memory.

    `source` is a name (digits, petals, mnist, ...) with the fields of `DataSettings` as keywords, or a `DataSettings`.
    """
    import jax

    chosen = DataSettings(source, **settings) if isinstance(source, str) else source
    validate(chosen)
    dataset = _stream(chosen) if chosen.streaming else _load(chosen)
    if chosen.train_on_all:
        dataset = _with_all_in_train(dataset)
    dataset = replace(dataset, settings=chosen)
    if not on_device:
        return dataset

    def put(split: Split) -> Split:
        return Split(*jax.device_put((split.images, split.labels)))

    train = dataset.train if chosen.streaming else put(dataset.train)
    return replace(dataset, train=train, test=put(dataset.test))


def from_arrays(
    *,
    train: tuple[Any, Any] | Any,
    test: tuple[Any, Any] | Any,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
    on_device: bool = True,
) -> Dataset:
    """A data set from your own arrays: `train` and `test` are (images, labels) pairs or images alone.

    Images are (N, H, W) or (N, H, W, C) with C 1 or 3: bytes, or floats in [0, 1], which are rounded to 256 levels.
    Labels are integers from 0. Raises a one-line `SettingError` for anything that does not fit.
    """
    from jaxgen.data.arrays import dataset_of

    dataset = dataset_of(train, test, name, class_names)
    if not on_device:
        return dataset
    import jax

    return replace(dataset, train=Split(*jax.device_put(dataset.train)), test=Split(*jax.device_put(dataset.test)))


def _with_all_in_train(dataset: Dataset) -> Dataset:
    both = (dataset.train, dataset.test)
    train = Split(np.concatenate([s.images for s in both]), np.concatenate([s.labels for s in both]))
    return Dataset(dataset.name, f"{dataset.version} all", train, dataset.test, dataset.class_names)


def _stream(settings: DataSettings) -> Dataset:
    if settings.source == "folder":
        from jaxgen.data import folder

        return folder.stream(settings.path or Path(), settings.size or 80, settings.test_fraction)
    if settings.source not in ("digits", "petals", "rda"):
        from jaxgen.data import tfds

        return tfds.stream(settings.source, _data_dir(settings), settings.size, settings.test_fraction)
    from jaxgen.data.rows import of_arrays

    dataset = _load(settings)
    return Dataset(dataset.name, dataset.version, of_arrays(dataset.train), dataset.test, dataset.class_names)


def _load(settings: DataSettings) -> Dataset:
    source, size, fraction = settings.source, settings.size, settings.test_fraction
    path = settings.path or Path()  # `validate` ensures that it is set where needed
    if source == "digits":
        from jaxgen.data import digits

        return digits.load(size or 28, fraction)
    if source == "petals":
        from jaxgen.data import petals

        return petals.load(settings.count, size or 80, fraction, settings.seed)
    if source == "folder":
        from jaxgen.data import folder

        return folder.load(path, size or 80, fraction, settings.skip_broken)
    if source == "rda":
        from jaxgen.data import rda

        return rda.load(path, size)
    from jaxgen.data import tfds

    return tfds.load(source, _data_dir(settings), size, fraction)


def _data_dir(settings: DataSettings) -> Path:
    return Path(settings.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
