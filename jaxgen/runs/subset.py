"""Some members of a run, split off into a run directory of their own."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.files import read_json, write_atomically, write_json
from jaxgen.runs import metrics
from jaxgen.runs.checkpoint import Checkpoints, Reader


def subset(path: Path, new: Path, places: Sequence[int]) -> None:
    """Create `new` from the multi-member run `path` as if only the members at `places` had been trained.

    `train` then continues `new` from the newest checkpoint of `path`, bit for bit as `path` would have. Created
    atomically.
    """
    temporary = new.with_name(f".{new.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    record = read_json(path / "settings.json")
    record["settings"]["run"]["name"] = new.name
    record["members"] = {
        "seeds": _take(record["members"]["seeds"], places),
        "hparams": {name: _take(values, places) for name, values in record["members"]["hparams"].items()},
    }
    write_json(temporary / "settings.json", record)
    shutil.copy(path / "sessions.json", temporary / "sessions.json")
    rows = [
        {name: _take(value, places) if isinstance(value, list) else value for name, value in row.items()}
        for row in metrics.read(path / "metrics.jsonl")
    ]
    write_atomically(temporary / "metrics.jsonl", "".join(metrics.to_line(row) + "\n" for row in rows))
    _copy_checkpoint(path / "checkpoints", temporary / "checkpoints", places)
    temporary.rename(new)


def _take(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [values[place] for place in places]


def _copy_checkpoint(old: Path, new: Path, places: Sequence[int]) -> None:
    with contextlib.closing(Reader(old)) as source:
        found = source.newest()
    if found is None:
        raise UserError(f"{old} has no checkpoint that can be read")
    step, arrays, manifest = found
    with contextlib.closing(Checkpoints(new, 1)) as target:
        target.save(step, {name: leaf[list(places)] for name, leaf in arrays.items()}, manifest["meta"])
