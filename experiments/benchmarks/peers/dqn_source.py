"""Other projects' scripts: read from a checkout, patched in memory, executed."""

from pathlib import Path
from typing import Any


def read(path: Path, patches: dict[str, str]) -> str:
    """Text of a script with each key of `patches`, which must occur exactly once, replaced by its value."""
    text = path.read_text(encoding="utf-8")
    for old, new in patches.items():
        if text.count(old) != 1:
            raise ValueError(f"{path} has {old!r} {text.count(old)} times: not the version this patch was made for")
        text = text.replace(old, new)
    return text


def execute(source: str, name: str, **names: Any) -> dict[str, Any]:
    """Run a script as the module `name` with `names` predefined; returns its namespace."""
    namespace = {"__name__": name, **names}
    exec(compile(source, name, "exec"), namespace)
    return namespace
