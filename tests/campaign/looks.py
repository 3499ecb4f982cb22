"""Looks at a run directory, read without jaxgen: rows, result, arrays of every checkpoint, names of figures."""

import hashlib
import json
from pathlib import Path
from typing import Any

Look = dict[str, Any]
_CLOCKS = ("train_seconds", "compile_seconds", "seconds", "crc32", "sha256")


def rows(path: Path) -> list[Any]:
    """The logged rows without their checksums; a line that is not JSON as its text."""
    if not path.exists():
        return []
    return [_parsed(line) for line in path.read_bytes().decode("utf-8", "replace").splitlines()]


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return {k: v for k, v in value.items() if k not in _CLOCKS} if isinstance(value, dict) else value


def digest(leaf: Any) -> str:
    """SHA-256 of an array's type, shape and bytes."""
    return hashlib.sha256(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes()).hexdigest()


def arrays(checkpoint: Path) -> dict[str, str]:
    """SHA-256 of each array's type, shape and bytes, read through tensorstore alone."""
    import numpy as np
    import tensorstore as ts

    store = {"driver": "ocdbt", "base": f"file://{checkpoint / 'arrays'}/"}
    keys = [key.decode() for key in ts.KvStore.open(store).result().list().result()]
    found = {}
    for name in sorted(key.removesuffix("/.zarray") for key in keys if key.endswith("/.zarray")):
        spec = {"driver": "zarr", "kvstore": {**store, "path": f"{name}/"}}
        found[name] = digest(np.asarray(ts.open(spec, read=True).result().read().result()))
    return found


def steps(run: Path) -> list[int]:
    """Steps of the complete checkpoints."""
    folder = run / "checkpoints"
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()) if folder.exists() else []


def sound(picture: Path) -> bool:
    """Whether a picture can be read to its end."""
    from PIL import Image

    try:
        with Image.open(picture) as image:
            for frame in range(getattr(image, "n_frames", 1)):
                image.seek(frame)
                image.load()
    except Exception:  # Pillow raises nearly anything for damaged files
        return False
    return True


def look(run: Path, every: bool = False) -> Look:
    """A run directory: the newest checkpoint's arrays, or with `every` those of all by step."""
    found = steps(run)
    result = run / "result.json"
    values: Look = {
        "rows": rows(run / "metrics.jsonl"),
        "result": _parsed(result.read_text(encoding="utf-8", errors="replace")) if result.exists() else None,
        "step": found[-1] if found else None,
        "arrays": arrays(run / "checkpoints" / str(found[-1])) if found else {},
        "figures": {str(file.relative_to(run)): sound(file) for file in sorted((run / "figures").rglob("[!.]*.*"))},
    }
    if every:
        values["history"] = {str(step): arrays(run / "checkpoints" / str(step)) for step in found}
    return values
