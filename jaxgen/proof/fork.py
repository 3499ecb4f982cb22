"""A new run from a step of another one, with other hyperparameters."""

import contextlib
import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.contract import Algorithm
from jaxgen.data.dataset import Dataset
from jaxgen.engine import members as members_lib
from jaxgen.errors import SettingError, check_at_least, nearest, refuse
from jaxgen.files import Json, write_atomically, write_json
from jaxgen.proof import recorded
from jaxgen.proof.recorded import Recorded, Say
from jaxgen.proof.replay import reached
from jaxgen.runs import checkpoint, metrics, renamed
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.checkpoint import Checkpoints, Reader
from jaxgen.runs.load import members_of

Value = float | Sequence[float]
"""A number, or one for each member."""


class Forked(NamedTuple):
    """A new run directory, which trains on as any run does."""

    directory: Path
    parent: Path
    step: int
    checkpoint: int
    """The parent's checkpoint that the state at `step` was made from."""
    changes: tuple[str, ...]
    """Each setting that differs from the parent's, as `field: old -> new`."""

    def lines(self) -> list[str]:
        """The new run and its differences, for people."""
        made = "" if self.checkpoint == self.step else f", made again from checkpoint {self.checkpoint}"
        return [
            f"{self.directory} begins with step {self.step} of {self.parent}{made}",
            *(f"  {change}" for change in self.changes),
        ]

    def to_json(self) -> Json:
        """All of it as JSON values."""
        paths = {"directory": str(self.directory), "parent": str(self.parent)}
        return {**self._asdict(), **paths, "changes": list(self.changes)}


def fork(
    path: str | Path,
    step: int,
    name: str,
    hparams: Mapping[str, Value] | None = None,
    *,
    epochs: int | None = None,
    algorithm: Algorithm | None = None,
    dataset: Dataset | None = None,
    say: Say = recorded.silent,
) -> Forked:
    """Create the run `name` beside `path`: its first `step` steps are those of `path`, the others have these `hparams`.

    Fields of nested hyperparameters are named as `generator.learning_rate`; with several members, a value is one number
    for all or a list of one each. `epochs` is its length in total, by default that of `path`. A state without a
    checkpoint is made again from the one before it. Rows up to `step` are copied; the best evaluation counts from there
    on. Created atomically; `path` is left as it is.
    """
    path, changed = Path(path), dict(hparams or {})
    new = path.parent / name
    if new.exists() or new.parent != path.parent:
        refuse("name", name, f"a name that {path.parent} does not hold yet, without '/'")
    run = recorded.opened(path, algorithm, dataset)
    record = _record(run, name, changed, epochs)
    _check_step(run, step, record)
    start, carry = reached(run, step, say)
    with contextlib.closing(Reader(run.checkpoints)) as reader:
        manifest = reader.manifest(start) if start else None
    record["parent"] = {
        "directory": str(path.absolute()),
        "step": step,
        "checkpoint": start,
        "manifest": None if manifest is None else manifest.get("sha256"),
    }
    temporary = new.with_name(f".{name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        _write(run, temporary, record, step, jax.device_get(recorded.stored(run, carry)), manifest)
        temporary.rename(new)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Forked(new, path, step, start, tuple(_changes(run.record["settings"], record["settings"])))


def _changes(old: Json, new: Json) -> list[str]:
    lengths = old["run"]["epochs"], new["run"]["epochs"]
    same_length = {**new, "run": {**new["run"], "epochs": lengths[0]}}
    longer = [f"run.epochs: {lengths[0]} -> {lengths[1]}"] if lengths[0] != lengths[1] else []
    return settings_lib.differences(old, same_length) + longer


def _record(run: Recorded, name: str, changed: dict[str, Value], epochs: int | None) -> Json:
    """The new settings.json, checked as a new run's settings are."""
    record = copy.deepcopy(run.record)
    record.pop("parent", None)
    settings, algorithm = record["settings"], run.job.algorithm
    settings["run"] |= {"name": name, "root": str(run.path.parent)}
    if epochs is not None:
        check_at_least("epochs", epochs, 1)
        settings["run"]["epochs"] = epochs
    for field, value in changed.items():
        _change(record, field, value)
    made = settings_lib.settings_from(settings, algorithm)
    settings_lib.validate(made.run)
    settings_lib.check_numbers("hparams", made.hparams)
    algorithm.validate(made.hparams, run.job.config)
    members = members_of(algorithm, record.get("members"))
    for i in range(len(members.seeds) if members else 0):
        one = jax.tree.map(float, members_lib.member(members.hparams, i))  # type: ignore[union-attr]
        algorithm.validate(one, run.job.config)
    hparams = algorithm.TRAITS.complete(made.hparams, run.job.config, made.run.epochs * run.plan.per_epoch)
    record["fitted"] = settings_lib.to_dict({"config": run.job.config, "hparams": hparams})
    return {**record, "format": renamed.FORMAT}


def _change(record: Json, field: str, value: Value) -> None:
    """Set a hyperparameter in the settings and for the members, if any."""
    inner: Any = record["settings"]["hparams"]
    *folders, last = field.split(".")
    for folder in folders:
        inner = inner.get(folder) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner or isinstance(inner[last], dict):
        known = _names(record["settings"]["hparams"])
        raise SettingError(
            f"hparams.{field} is not a hyperparameter: there are {', '.join(known)}{nearest(field, known)}"
        )
    members = record.get("members")
    values = [float(one) for one in np.atleast_1d(value)]  # type: ignore[arg-type]
    count = 1 if members is None else len(members["seeds"])
    if len(values) not in (1, count):
        refuse(
            f"hparams.{field}", value, "one number" if count == 1 else f"one number, or one for each of {count} members"
        )
    inner[last] = values[0]
    if members is not None:
        members["hparams"][field] = [float(np.float32(one)) for one in values * (count // len(values))]


def _names(tree: Json, prefix: str = "") -> list[str]:
    nested = (
        [f"{prefix}{name}"] if not isinstance(value, dict) else _names(value, f"{prefix}{name}.")
        for name, value in tree.items()
    )
    return [name for names in nested for name in names]


def _check_step(run: Recorded, step: int, record: Json) -> None:
    total = record["settings"]["run"]["epochs"] * run.plan.per_epoch
    last = min(max(checkpoint.steps(run.checkpoints), default=0), total - 1)
    if not max(1, run.beginning) <= step <= last:
        more = "; more epochs leave steps to be trained" if step == total else ""
        refuse("step", step, f"{max(1, run.beginning)} to {last}, steps that {run.path} has done{more}")


def _write(run: Recorded, folder: Path, record: Json, step: int, stored: Any, manifest: Json | None) -> None:
    write_json(folder / "settings.json", record)
    rows = metrics.read(run.path / "metrics.jsonl")
    kept = [row for row in rows if row["step"] <= step and not row.get("partial")]
    write_atomically(folder / "metrics.jsonl", "".join(metrics.to_line(row) + "\n" for row in kept))
    meta = {"train_seconds": 0.0 if manifest is None else manifest["meta"]["train_seconds"]}
    with contextlib.closing(Checkpoints(folder / "checkpoints", 1)) as checkpoints:
        checkpoints.save(step, stored, meta)
