"""The record that makes a directory a sweep or a search: written once, and compared with what is asked for later."""

from pathlib import Path

from jaxgen.errors import UserError
from jaxgen.files import Json, read_json, write_json
from jaxgen.runs import lock


def recorded(directory: Path, kind: str, record: Json) -> Json:
    """The record that stands in the directory of a `kind`: this one, if the directory was empty.

    Of several processes that begin at once, the first writes it and the others find it. Hidden files, such as those of
    a process killed while it wrote, do not count.
    """
    path = directory / f"{kind}.json"
    if path.exists():
        return read_json(path)
    held = lock.acquire(directory / ".lock")
    try:
        if path.exists():
            return read_json(path)
        if any(not entry.name.startswith(".") for entry in directory.iterdir()):
            raise UserError(f"{directory} exists and is not a {kind} (it has no {path.name}); give another --run.name")
        write_json(path, record)
        return record
    finally:
        held.release()
