"""Atomic writes of small files: a reader never sees half of one."""

import json
import os
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError

Json = dict[str, Any]
"""A JSON object; any table by name."""


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` in one step; a crash leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file raises a `UserError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); restore it or start a run under a new name") from error
