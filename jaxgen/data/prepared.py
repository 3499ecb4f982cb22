"""Locations of TFDS sets on disk, found by listing directories, without TFDS."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxgen.errors import SettingError, UserError, nearest

NAME = re.compile(r"(?P<set>[a-z0-9_]+)(/(?P<config>[\w.\-+]+))?(:(?P<version>\d+\.\d+\.\d+))?")


def unknown(name: str, known: Iterable[str]) -> SettingError:
    """The error for an unknown source, suggesting the nearest of ours and of the `known` sets."""
    ours = ("digits", "petals", "folder", "rda")
    close = nearest(re.split("[/:]", name.lower())[0], (*ours, *known))
    return SettingError(f"data.source = {name!r} is not allowed: {', '.join(ours)}, or a TFDS set's name{close}")


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """The folder of the pinned version, else of the highest complete one; None if there is none.

    Raises UserError if all are incomplete: TFDS would take such a folder for complete.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise unknown(name, ("mnist", "fashion_mnist", "kmnist", "emnist"))
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
    """The configuration TFDS recorded as the default of a set with several, else the empty string."""
    try:
        return str(json.loads((base / ".config" / "metadata.json").read_text(encoding="utf-8"))["default_config_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _missing_file(folder: Path) -> str | None:
    """Name of the first file missing from a version."""
    for name in ("dataset_info.json", "features.json"):
        if not (folder / name).is_file():
            return name
    return next((path.name for paths in shards(folder).values() for path in paths if not path.is_file()), None)


def shards(folder: Path) -> dict[str, list[Path]]:
    """The record files of every split, from `dataset_info.json`."""
    try:
        info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        return {split["name"]: _shard_paths(folder, info, split) for split in info["splits"]}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
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
