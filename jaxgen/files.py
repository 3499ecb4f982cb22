"""Small files: written atomically, so that a reader never sees half of one, and sealed with a SHA-256."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError

Json = dict[str, Any]
"""A JSON object; any table by name."""


_LEFT_OVER = re.compile(r"\.\d+\..+")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path with the same suffix in the same folder, which replaces `path` if the body succeeds."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> None:
    """Remove the temporary files of killed processes below `folder`, to which no other process may be writing."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if _LEFT_OVER.fullmatch(name):
                Path(parent, name).unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` in one step; a crash leaves the old file or the new one."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


SEAL = "sha256"
"""The entry of a JSON object that holds the SHA-256 of all others."""


def sealed(value: Json) -> Json:
    """A JSON object with its seal."""
    return {**value, SEAL: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()}


def unsealed(value: Json) -> Json:
    """A JSON object without its seal, which older files lack; a broken one raises `ValueError`."""
    inner = {name: one for name, one in value.items() if name != SEAL}
    if SEAL in value and value != sealed(inner):
        raise ValueError("its contents do not have its SHA-256")
    return inner


def write_json(path: Path, value: Json | list[Json]) -> None:
    """Write an object, or a list of them, as indented JSON, atomically; each is sealed."""
    plain = json.loads(json.dumps(value))
    done = [sealed(one) for one in plain] if isinstance(plain, list) else sealed(plain)
    write_atomically(path, json.dumps(done, indent=2) + "\n")


def read_json(path: Path) -> Json:
    """Read a JSON object; a damaged file raises a `UserError` that names it."""
    with interpreting(path):
        return unsealed(_object(json.loads(path.read_text(encoding="utf-8"))))


def read_json_list(path: Path) -> list[Json]:
    """Read a list of JSON objects; a damaged file raises a `UserError` that names it."""
    with interpreting(path):
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list):
            raise ValueError("no list")
        return [unsealed(_object(one)) for one in found]


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


@contextlib.contextmanager
def interpreting(path: Path) -> Iterator[None]:
    """Report any error in the interpretation of a file's contents as a `UserError` that names the file."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path} is damaged ({reason}); restore it or start a run under a new name") from error
