"""Things that several runs share, damaged: a sweep, a study, caches of images and of programs, a TFDS set.

Each is made once; a case copies it, damages one of its files and gives the command again.
"""

import csv
import importlib.util
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import server, strikes, systems, verdicts
from .kinds import damage, folders
from .kinds.races import LIMIT, SEARCH, SWEEP
from .verdicts import EQUAL, LOST, SAID, SILENT


class Store(NamedTuple):
    """Something on disk, and the command that uses it."""

    script: str
    args: tuple[str, ...]
    parts: tuple[str, ...]
    """Patterns of the files to damage, in the working directory; each is as likely."""
    first: tuple[str, ...] = ()
    """Arguments of a command that comes before."""
    prepare: Callable[[Path], None] | None = None
    """Makes what the command needs."""
    own_cache: bool = False
    """Whether the user's cache folder is `cache` in the working directory."""
    unfinished: tuple[str, ...] = ()
    """Patterns of files to remove in half of the cases, for more work to be left."""


def _pictures(folder: Path) -> None:
    folders.good(folder / "pictures", random.Random(0), classes=5, images=20)


def _tfds(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("tfds_sets", Path(__file__).parents[1] / "data" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    splits = {"train": module.pictures(90, (12, 12, 1)), "test": module.pictures(30, (12, 12, 1), 1)}
    module.write_set(folder / "tfds", splits)


_TOY = ("--data.source", "toy", "--data.data-dir", "tfds", "--data.size", "12", "--config.batch-size", "32")


def _ae(name: str, *more: str) -> tuple[str, ...]:
    return tuple(systems.args("ae_mnist", name, *more))


STORES = {
    "sweep": Store(
        "sweep",
        ("ae_mnist", *_ae("s"), *SWEEP),
        ("runs/s/sweep.json", "runs/s/group-*/*.json*", "runs/s/group-*/checkpoints/*/*/*", "runs/s/results.*"),
        unfinished=("runs/s/group-001/result.json", "runs/s/results.*"),
    ),
    "search": Store(
        "search",
        ("ae_mnist", *_ae("q"), *SEARCH),
        ("runs/q/search.json", "runs/q/journal.log", "runs/q/journal.log", "runs/q/*/*.json*", "runs/q/*/*/*.json*"),
    ),
    "image cache": Store(
        "vae_flowers",
        tuple(systems.args("vae_flowers", "r", "--data.path", "pictures")),
        ("pictures/.jaxgen/*",),
        prepare=_pictures,
    ),
    "streamed cache": Store(
        "ae_mnist",
        _ae("r", *_TOY, "--data.streaming"),
        ("tfds/.jaxgen/*",),
        first=_ae("r", *_TOY),
        prepare=_tfds,
    ),
    "tfds": Store("ae_mnist", _ae("r", *_TOY), ("tfds/toy/1.0.0/*",), prepare=_tfds),
    "program cache": Store("ae_mnist", _ae("r"), ("cache/jaxgen/xla/*/*",), own_cache=True),
}


def made(kit: systems.Kit, name: str) -> Path:
    """A store, made on first use; also its look, as `wanted`."""
    folder = kit.work / f"store-{name.replace(' ', '-')}"
    if not folder.exists():
        store = STORES[name]
        folder.mkdir()
        if store.prepare is not None:
            server.call(lambda: store.prepare(folder), folder)  # in a child: writers may start threads
        if store.first:
            server.start(store.script, store.first, folder).wait(300)
            shutil.rmtree(folder / "runs")
        listing = _listing(folder)
        done = server.start(store.script, store.args, folder, env=_env(store, folder), listing=listing).wait(300)
        if done.code != 0:
            shutil.rmtree(folder)
            raise RuntimeError(f"the store {name} cannot be made: {done.command}: {done.code} {done.err[-2000:]}")
    return folder


def _listing(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.operations")


def operations(kit: systems.Kit, name: str) -> list[strikes.Operation]:
    """The operations of the command that made a store."""
    return strikes.read(_listing(made(kit, name)))


def _env(store: Store, folder: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(folder / "cache")} if store.own_cache else {}


def table(file: Path) -> list[dict[str, str]]:
    """The rows of results.csv without their times."""
    with open(file, encoding="utf-8", newline="") as opened:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(opened)]


def found_in(kit: systems.Kit, folder: Path, every: bool = False) -> dict[str, Any]:
    """The looks of all runs below a working directory, and its tables."""
    runs = sorted(file.parent for file in (folder / "runs").rglob("settings.json"))
    found: dict[str, Any] = {str(run.relative_to(folder)): kit.look(run) for run in runs}
    found["tables"] = {str(file.relative_to(folder)): table(file) for file in (folder / "runs").rglob("results.csv")}
    return found


def case(kit: systems.Kit, name: str, rng: random.Random, folder: Path) -> tuple[str, str, str]:
    """Damage to one file of a store: (verdict, what, why)."""
    store, source = STORES[name], made(kit, name)
    shutil.rmtree(folder)
    shutil.copytree(source, folder, symlinks=True)
    shared = name not in ("sweep", "search")
    if shared:  # a new run uses it
        shutil.rmtree(folder / "runs")
        if name == "tfds":
            shutil.rmtree(folder / "tfds" / ".jaxgen", ignore_errors=True)
    what = name
    if store.unfinished and rng.random() < 0.5:
        what += " unfinished"
        for file in [file for pattern in store.unfinished for file in folder.glob(pattern)]:
            file.unlink()
    chosen = [
        file for pattern in store.parts if (found := sorted(folder.glob(pattern))) for file in [rng.choice(found)]
    ]
    file = rng.choice([file for file in chosen if file.is_file()])
    how = damage.hurt(file, rng)
    what += f", {how} {file.relative_to(folder)}"
    os.utime(file.parent)
    done = server.start(store.script, store.args, folder, env=_env(store, folder)).wait(LIMIT)
    fault = verdicts.manners(done)
    if fault:
        return fault[0], what, fault[1]
    if done.code:
        lost = shared and name != "tfds"
        if lost and "the same command" in done.err:
            again = server.start(store.script, store.args, folder, env=_env(store, folder)).wait(LIMIT)
            lost = again.code != 0 or bool(verdicts.differences(found_in(kit, folder), found_in(kit, source)))
        return (LOST if lost else SAID), what, verdicts.tail(done.err)
    names = verdicts.differences(found_in(kit, folder), found_in(kit, source))
    if not names or (name == "search" and all(each.endswith(".rows") for each in names)):
        return EQUAL, what, ""  # a search takes the values of finished trials from its journal
    wrong = [each for each in names if ".arrays" in each or (shared and name != "tfds")]
    if done.err.strip() and not wrong:
        return SAID, what, f"{verdicts.shown(names)}: {verdicts.tail(done.err)}"
    return SILENT, what, f"differ: {verdicts.shown(names)}; said: {verdicts.tail(done.err) or 'nothing'}"
