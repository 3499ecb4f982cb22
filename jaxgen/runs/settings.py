"""Settings of a run, which of them may change when it is continued, and their form on disk."""

import dataclasses
import re
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, cast, get_args, get_origin, get_type_hints

import numpy as np
from typing_extensions import TypeVar

from jaxgen.contract import Algorithm, DataFacts
from jaxgen.data import DataSettings
from jaxgen.data.dataset import Dataset
from jaxgen.errors import UserError, check_at_least, refuse
from jaxgen.files import Json

T = TypeVar("T")
C = TypeVar("C", default=Any)
H = TypeVar("H", default=Any)


def free(default: T) -> T:
    """A setting that does not affect results (beyond rounding) and may change when a run is continued."""
    return cast(T, field(default=default, metadata={"free": True}))


@dataclass(frozen=True)
class RunSettings:
    """Length, location, devices and outputs of a run."""

    name: str | None = None
    """Run directory; a new name starts a run, an existing one continues it. Default: the script's name and a number."""
    root: Path = free(Path("runs"))
    """Parent folder of the run directories."""
    seed: int = 0
    """Seed of all randomness in the run."""
    seeds: int = 1
    """Runs in one program, with seeds `seed`, `seed` + 1, ...; above 1, metrics are lists, one number per run."""
    cpu_devices: int | None = free(None)
    """Single-threaded CPU devices that members (`seeds`) or batch shards (`devices`) are spread over; 0: one device
    with all threads. Default: one per core with several members, else as many as `devices`."""
    devices: int = free(1)
    """Devices each batch is sharded over; 0: all available. May change when a run is continued: results then match
    the uninterrupted run to rounding, no longer bit for bit. Multiple processes use all of their devices."""
    distributed: bool = free(False)
    """Train the run jointly with the other processes started by Slurm, Open MPI, Kubernetes or a Cloud TPU."""
    coordinator: str | None = free(None)
    """Outside such an environment: host:port at which process 0 waits for the others."""
    processes: int = free(1)
    """With coordinator: total number of processes."""
    process: int = free(0)
    """With coordinator: index of this process, from 0."""
    heartbeat_timeout: int = free(60)
    """Seconds after which an unresponsive process counts as lost and the others stop."""
    epochs: int = 5
    """Passes over the training split; raise it to continue a finished run."""
    log_every: int = 0
    """Steps averaged into one logged row; 0: a tenth of an epoch."""
    evaluate_every: int = 1
    """Epochs between evaluations on the test split."""
    draw_every: int = free(0)
    """Epochs between figures; 0: only at the end."""
    save_every: int = free(0)
    """Epochs between checkpoints; 0: time-based, taking at most a tenth of the training time."""
    keep: int = free(3)
    """Most recent checkpoints kept, besides the best one and twenty to seventy-five evenly spaced ones."""
    chunk_steps: int = free(0)
    """Steps per call of the compiled loop; 0: about one second's worth. Does not affect results."""
    tensorboard: bool = free(False)
    """Also write TensorBoard event files."""
    page: bool = free(False)
    """At the end, write page.html into the run directory: curves, figures and the model at work (jaxgen report)."""
    progress: bool = free(True)
    """Show a progress bar (in a terminal)."""

    def intervals(self, per_epoch: int) -> tuple[int, int]:
        """Steps between logged rows, and between evaluations."""
        return self.log_every or max(1, per_epoch // 10), self.evaluate_every * per_epoch


@dataclass(frozen=True)
class Settings(Generic[C, H]):
    """All settings of a run."""

    config: C
    hparams: H
    run: RunSettings = field(default_factory=RunSettings)
    data: DataSettings | None = None
    """None if the algorithm takes no data or the data are user-supplied arrays."""
    preset: str | None = None
    """Name of the preset these settings started from."""


MOST_DEVICES = 256
"""Virtual CPU devices; each takes time to make."""


def validate(run: RunSettings) -> None:
    """Refuse out-of-range run settings."""
    for name in ("epochs", "seeds", "evaluate_every", "keep", "processes", "heartbeat_timeout"):
        check_at_least(f"run.{name}", getattr(run, name), 1)
    if run.cpu_devices is not None:
        check_at_least("run.cpu_devices", run.cpu_devices, 0)
        if run.cpu_devices > MOST_DEVICES:
            refuse("run.cpu_devices", run.cpu_devices, f"at most {MOST_DEVICES}")
    if run.devices != 1 and run.seeds > 1:
        refuse("run.devices", run.devices, "1 with many run.seeds: these are spread over all devices already")
    _validate_processes(run)
    for name in ("seed", "devices", "log_every", "draw_every", "save_every", "chunk_steps"):
        check_at_least(f"run.{name}", getattr(run, name), 0)
    if run.seed + run.seeds > 2**32:
        refuse("run.seed", run.seed, "less than 2**32, all run.seeds of them")
    if run.name is not None and not (run.name.strip(" .") and run.name.isprintable() and "/" not in run.name):
        refuse("run.name", run.name, "a folder's name of printable characters without '/'")


def check_numbers(part: str, values: Any) -> None:
    """Refuse numbers of a settings dataclass that the device cannot represent: it computes in single precision."""
    for entry in dataclasses.fields(values):
        name, value = f"{part}.{entry.name}", getattr(values, entry.name)
        if dataclasses.is_dataclass(value):
            check_numbers(name, value)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not (number == 0 or _TINY <= abs(number) <= _HUGE):
                refuse(name, value, f"0, or a number from {_TINY:.2g} to {_HUGE:.2g} in size (single precision)")
            if isinstance(number, int) and abs(number) >= 2 ** (32 if entry.name == "seed" else 31):
                refuse(name, value, f"an integer below {2 ** (32 if entry.name == 'seed' else 31):,}")


_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def _validate_processes(run: RunSettings) -> None:
    if run.seeds > 1 and (run.distributed or run.coordinator):
        refuse("run.seeds", run.seeds, "1 with several processes, which share one run's batches")
    if run.coordinator is None and (run.processes, run.process) != (1, 0):
        refuse("run.coordinator", None, "host:port where run.processes or run.process are given")
    host, _, port = (run.coordinator or "").rpartition(":")
    known = re.fullmatch(r"\[[^\]]+\]|[^:\[\]\s]+", host) is not None
    if run.coordinator is not None and not (known and port.isdecimal() and 0 < int(port) < 2**16):
        refuse("run.coordinator", run.coordinator, "host:port, as node1:1234")
    if not 0 <= run.process < run.processes:
        refuse("run.process", run.process, f"0 to {run.processes - 1}, as there are {run.processes} run.processes")


def facts(dataset: Dataset) -> DataFacts:
    """Properties of the data that a configuration may adapt to."""
    return DataFacts(dataset.name, dataset.image_shape, len(dataset.train.labels), len(dataset.class_names))


def settings_from(plain: Json, algorithm: Algorithm) -> Settings:
    """The settings in a run's record."""
    data = from_dict(DataSettings, plain["data"]) if "data" in plain else None
    config, hparams = from_dict(algorithm.Config, plain["config"]), from_dict(algorithm.HParams, plain["hparams"])
    return Settings(config, hparams, from_dict(RunSettings, plain["run"]), data, plain.get("preset"))


def shared(settings: Settings) -> Json:
    """Settings that must agree across all processes of a run."""
    plain = of_run(settings)
    for part, name in (("run", "root"), ("run", "process"), ("data", "data_dir"), ("data", "path")):
        plain.get(part, {}).pop(name, None)
    return plain


def of_run(settings: Settings) -> Json:
    """Settings in recorded form, without parts that are None."""
    return {name: value for name, value in to_dict(settings).items() if value is not None}


def to_dict(settings: Any) -> Json:
    """Nested dataclasses as JSON-serializable dictionaries (named tuples become lists)."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return plain(dataclasses.asdict(value))
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        if isinstance(value, tuple | list):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(settings)


def from_dict(kind: type[T], plain: Json) -> T:
    """Rebuild a dataclass of type `kind` from the output of `to_dict`.

    Missing fields take their defaults; a field that `kind` does not have raises a `UserError`.
    """
    hints = get_type_hints(kind)
    unknown = sorted(plain.keys() - hints.keys())
    if unknown:
        raise UserError(f"the settings hold {', '.join(unknown)}, which this version of the code does not know")
    return kind(**{name: _typed(hints[name], value) for name, value in plain.items()})


def _typed(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(hint) is types.UnionType:
        hint = next(kind for kind in get_args(hint) if kind is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return from_dict(cast(type, hint), value)
    if hint is Path:
        return Path(value)
    return tuple(value) if get_origin(hint) is tuple else value


def with_defaults(plain: Json, like: Any) -> Json:
    """Recorded settings of a class like that of `like`, with the defaults of fields that the record is older than."""
    filled = dict(plain)
    for entry in dataclasses.fields(like):
        value = getattr(like, entry.name)
        if entry.name not in plain:
            if entry.default is not dataclasses.MISSING:
                filled |= to_dict({entry.name: entry.default})
            elif entry.default_factory is not dataclasses.MISSING:
                filled |= to_dict({entry.name: entry.default_factory()})
        elif dataclasses.is_dataclass(value) and isinstance(plain[entry.name], dict):
            filled[entry.name] = with_defaults(plain[entry.name], value)
    return filled


def flat(tree: Json, prefix: str = "") -> Json:
    """Nested settings by their full names."""
    found: Json = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def differences(saved: Json, new: Json) -> list[str]:
    """`field: saved -> new` for each setting that would change the run; more epochs do not count."""
    wanted = flat(new)
    old = wanted | flat(saved)
    if wanted.get("run.epochs", 0) >= old.get("run.epochs", 0):
        wanted["run.epochs"] = old.get("run.epochs")
    names = sorted((old.keys() | wanted.keys()) - {*FREE, "run.name"})
    return [f"{n}: {old.get(n)} -> {wanted.get(n)}" for n in names if old.get(n) != wanted.get(n)]


FREE = tuple(f"run.{f.name}" for f in dataclasses.fields(RunSettings) if f.metadata.get("free"))
