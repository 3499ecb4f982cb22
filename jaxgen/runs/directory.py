"""A self-contained run directory.

settings.json      experiment, every setting, the data set's name and version, the members, if several, and the
                   parent of a fork
sessions.json      for each process that worked on it: command, versions, revision, processor, devices, JAX options
metrics.jsonl      one row per logging interval and per evaluation
checkpoints/       orbax; figures/; tensorboard/ on request
result.json        written last; marks the run as finished
page.html, verification-record.json     on request: the run's page, and what its last verification found
"""

import dataclasses
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgen import contract
from jaxgen.contract import Algorithm
from jaxgen.data.dataset import Dataset
from jaxgen.engine.loop import named_leaves
from jaxgen.engine.members import Members
from jaxgen.errors import SettingError, UserError, warn
from jaxgen.files import Json, interpreting, read_json, read_json_list, remove_left_over, write_json
from jaxgen.runs import lock as lock_lib
from jaxgen.runs import machine, renamed
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.settings import Settings


class RunDirectory:
    """An open run directory; only one process holds it at a time."""

    def __init__(self, path: Path, lock: lock_lib.Lock, new: bool) -> None:
        self.path = path
        self.new = new
        """Whether this process created it."""
        self._lock = lock

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.path / "figures"

    @property
    def metrics(self) -> Path:
        """File of the logged rows."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """File that marks the run as finished."""
        return self.path / "result.json"

    def close(self) -> None:
        """Release the directory to other processes."""
        self._lock.release()

    def discard(self) -> None:
        """Remove the directory if this process created it and nothing has been trained."""
        if self.new and not self.checkpoints.exists() and not (self.metrics.exists() and self.metrics.stat().st_size):
            shutil.rmtree(self.path, ignore_errors=True)


def _lock(path: Path) -> lock_lib.Lock:
    lock = lock_lib.attempt(path / ".lock")
    for _ in range(5):  # `lock.is_held` holds it for a moment
        if lock is None:
            time.sleep(0.02)
            lock = lock_lib.attempt(path / ".lock")
    if lock is None:
        raise UserError(f"{path} is in use by another process; wait for it or give another run.name")
    return lock


def _command() -> str:
    return shlex.join(["python", *sys.argv])


def _git_revision() -> str | None:
    """The checkout's revision, with `+` appended if files differ from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return revision.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _session(packages: Sequence[str]) -> Json:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": _command(),
        "git_revision": _git_revision(),
        **machine.description(packages),
    }


class Identity(NamedTuple):
    """The identity of a run: everything that must be the same when it is continued."""

    experiment: str
    algorithm: Algorithm
    settings: Settings
    members: Members | None = None


def find(identity: Identity) -> Path | None:
    """The existing run directory named by the settings, checked against them; None for a new run."""
    run = identity.settings.run
    path = None if run.name is None else run.root / run.name
    if path is None or is_blank(path):
        return None
    saved = read_record(path)
    if saved["experiment"] != identity.experiment:
        raise SettingError(
            f"{path} is a run of {saved['experiment']}, not of {identity.experiment}; give another run.name"
        )
    given, before = identity.settings, dict(saved["settings"])
    for part in ("config", "hparams", "run"):
        before[part] = settings_lib.with_defaults(before[part], getattr(given, part))
    changed = settings_lib.differences(before, settings_lib.of_run(given))
    if _members_with_defaults(saved.get("members"), given.hparams) != describe_members(identity.members):
        changed.append("its members")
    if changed:
        raise SettingError(
            f"{path} exists with other settings ({'; '.join(changed)}); give another run.name, or continue it with "
            f"its own: {_first_command(path)}"
        )
    return path


def is_blank(path: Path) -> bool:
    """Whether a run may begin here: there is nothing, or only what a process leaves that ends before its settings."""
    if not path.exists():
        return True
    _refuse_file(path)
    known = {"sessions.json", "figures"}
    return all(name.startswith(".") or name in known for name in os.listdir(path))


def _refuse_file(path: Path) -> None:
    if not path.is_dir():
        raise UserError(f"{path} is a file, not a run directory; give another run.name or run.root")


def _first_command(path: Path) -> str:
    try:
        return str(read_json_list(path / "sessions.json")[0]["command"])
    except (UserError, OSError, KeyError, IndexError):
        return "the command that started it"


def _sessions(path: Path) -> list[Json]:
    """The sessions so far; a damaged list is set aside, for the run does not depend on it."""
    try:
        return read_json_list(path) if path.exists() else []
    except UserError as error:
        aside = path.with_name("damaged-sessions.json")
        os.replace(path, aside)
        warn(f"{error}; set aside as {aside}, the run goes on")
        return []


def read_record(path: Path) -> Json:
    """`settings.json` of a run directory, converted to the newest format."""
    if not (path / "settings.json").exists():
        raise UserError(f"{path} is not a run directory (it has no settings.json); give another run.name")
    with interpreting(path / "settings.json"):
        return renamed.record(read_json(path / "settings.json"), path)


def read_result(path: Path, warn: Callable[[str], None] = warn) -> Json | None:
    """`result.json` of a run directory; None if there is none, or a damaged one, which can be made again."""
    file = path / "result.json"
    if not file.exists():
        return None
    try:
        result = read_json(file)
        with interpreting(file):
            kinds = {"epochs": int, "step": int, "train_seconds": float, "compile_seconds": float}
            wrong = [name for name, kind in kinds.items() if not isinstance(result[name], kind | int)]
            if wrong:
                raise ValueError(f"{wrong[0]} is {result[wrong[0]]!r}")
    except UserError as error:
        warn(f"{error}; its command writes it again")
        return None
    return result


def check_prolonged(path: Path, hparams: Json, saved: Json) -> None:
    """Refuse to continue a run whose completed hyperparameters, such as a schedule length, would change."""
    before, now = (settings_lib.flat(one, "hparams.") for one in (saved.get("fitted", {}).get("hparams", {}), hparams))
    changed = [f"{name}: {value} -> {now.get(name)}" for name, value in before.items() if value != now.get(name)]
    if changed:
        raise SettingError(
            f"{path} cannot be trained for another length, which would change {'; '.join(changed)}: start a run under "
            "a new run.name, or set the schedule's length yourself"
        )


def create(experiment: str, run: settings_lib.RunSettings) -> Path:
    """The folder `run.name`, created if missing; without a name, a new folder named by the experiment and a number."""
    for folder in (run.root, *run.root.parents):
        if folder.exists():
            _refuse_file(folder)
    run.root.mkdir(parents=True, exist_ok=True)
    if run.name is not None:
        (run.root / run.name).mkdir(exist_ok=True)
        return run.root / run.name
    number = 1
    while True:
        path = run.root / f"{experiment}-{number:03d}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def describe_members(members: Members | None) -> Json | None:
    """Members as recorded in `settings.json`."""
    if members is None:
        return None
    hparams = {name: np.asarray(leaf).tolist() for name, leaf in named_leaves(members.hparams).items()}
    return {"seeds": list(members.seeds), "hparams": hparams}


def _members_with_defaults(saved: Json | None, hparams: Any) -> Json | None:
    """Recorded members, with the defaults of hyperparameters that the record is older than."""
    if not saved:
        return saved
    defaults = settings_lib.flat(settings_lib.with_defaults({}, hparams))
    return {**saved, "hparams": {n: [v] * len(saved["seeds"]) for n, v in defaults.items()} | saved["hparams"]}


def describe(dataset: Dataset | None) -> Json | None:
    """The data set as recorded in `settings.json`."""
    if dataset is None:
        return None
    return {
        "name": dataset.name,
        "version": dataset.version,
        "train": len(dataset.train.labels),
        "test": len(dataset.test.labels),
        "image_shape": list(dataset.image_shape),
        "classes": list(dataset.class_names),
    }


def same_data(saved: Json | None, now: Json | None) -> bool:
    """Whether a record describes these data; format 0 does not name the classes."""
    if saved is None or now is None:
        return saved == now
    return {name: value for name, value in now.items() if name in saved} == saved


def open_run(identity: Identity, data: Json | None, fitted: Json) -> RunDirectory:
    """Create or reopen the run directory.

    `data` describes the data set and must be unchanged; `fitted` holds the adapted configuration and the completed
    hyperparameters.
    """
    path = find(identity) or create(identity.experiment, identity.settings.run)
    lock = _lock(path)
    new = is_blank(path)  # only the owner of the lock knows
    if not new:
        find(identity._replace(settings=_placed(identity.settings, path)))
        saved = read_record(path)
        if not same_data(saved["data"], data):
            raise UserError(f"{path} was trained on {saved['data']}, the data are now {data}; give another run.name")
        check_prolonged(path, fitted["hparams"], saved)
    record = {
        "format": renamed.FORMAT,
        "experiment": identity.experiment,
        "algorithm": contract.name_of(identity.algorithm),
        "settings": settings_lib.of_run(identity.settings),
        "data": data,
        "fitted": fitted,
    }
    if identity.members is not None:
        record["members"] = describe_members(identity.members)
    if not new and "parent" in saved:
        record["parent"] = saved["parent"]
    remove_left_over(path)
    sessions = _sessions(path / "sessions.json")
    session = _session(identity.algorithm.TRAITS.packages)
    if sessions and (path / "checkpoints").exists():
        warning = machine.warning(sessions[-1], session)
        if warning:
            warn(f"{path} continues: {warning}")
    write_json(path / "sessions.json", [*sessions, session])
    write_json(path / "settings.json", record)
    os.makedirs(path / "figures", exist_ok=True)
    return RunDirectory(path, lock, new)


def _placed(settings: Settings, path: Path) -> Settings:
    return dataclasses.replace(settings, run=dataclasses.replace(settings.run, name=path.name, root=path.parent))
