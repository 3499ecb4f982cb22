"""Settings of a run, what may change when it is continued, and their form on disk."""

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jaxgen.errors import check_at_least, refuse

S = TypeVar("S")


@dataclass(frozen=True)
class RunSettings:
    """How long a run is, where it goes, and what it leaves behind."""

    name: str | None = None
    """Run directory; a new name starts a run, an existing one continues it. Default: script's name and a number."""
    root: Path = Path("runs")
    """Folder of all run directories."""
    seed: int = 0
    """Root of everything random in the run."""
    epochs: int = 5
    """Passes over the training split; may be raised to go on with a finished run."""
    log_every: int = 0
    """Steps averaged into one logged row; 0: a tenth of an epoch."""
    evaluate_every: int = 1
    """Epochs between evaluations on the test split."""
    draw_every: int = 0
    """Epochs between figures; 0: only at the end."""
    save_every: int = 1
    """Epochs between checkpoints."""
    keep: int = 3
    """Newest checkpoints kept, besides the one with the lowest test loss."""
    chunk_steps: int = 0
    """Steps in one call of the compiled loop; 0: about a second's worth. Changes no number."""
    tensorboard: bool = False
    """Also write TensorBoard event files."""
    progress: bool = True
    """Show a progress bar (on a terminal)."""


FREE = (
    "run.root",
    "run.draw_every",
    "run.save_every",
    "run.keep",
    "run.chunk_steps",
    "run.tensorboard",
    "run.progress",
)
"""Settings that change no number of a run, and may differ when it is continued."""


def validate(run: RunSettings) -> None:
    """Refuses run settings out of range."""
    for field in ("epochs", "evaluate_every", "save_every", "keep"):
        check_at_least(f"run.{field}", getattr(run, field), 1)
    for field in ("seed", "log_every", "draw_every", "chunk_steps"):
        check_at_least(f"run.{field}", getattr(run, field), 0)
    if run.seed >= 2**32:
        refuse("run.seed", run.seed, "less than 2**32")
    if run.name is not None and (not run.name.strip() or run.name in (".", "..") or "/" in run.name):
        refuse("run.name", run.name, "a folder's name without '/'")


def to_dict(settings: Any) -> dict[str, Any]:
    """Nested dataclasses as JSON-able dictionaries."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        if isinstance(value, tuple | list):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    return plain(dataclasses.asdict(settings))


def from_dict(kind: type[S], values: dict[str, Any]) -> S:
    """The inverse of `to_dict`: a `kind` from JSON; fields it does not hold keep their defaults."""
    hints = typing.get_type_hints(kind)

    def one(name: str, value: Any) -> Any:
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            return from_dict(typing.cast(type, hint), value)
        if isinstance(value, list):
            return tuple(value)
        is_path = Path in (hint, *typing.get_args(hint))
        return Path(value) if is_path and value is not None else value

    return kind(**{name: one(name, value) for name, value in values.items()})


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def differences(saved: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """`field: saved -> new` for each setting that would change the run; more epochs are no difference."""
    old, wanted = _flat(saved), _flat(new)
    if wanted.get("run.epochs", 0) >= old.get("run.epochs", 0):
        wanted["run.epochs"] = old.get("run.epochs")
    names = sorted((old.keys() | wanted.keys()) - {*FREE, "run.name"})
    return [f"{n}: {old.get(n)} -> {wanted.get(n)}" for n in names if old.get(n) != wanted.get(n)]
