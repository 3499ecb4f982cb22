"""Older formats of run directories, with names that have changed since.

Format 0 (revision 5cec9fb and before) has no format number, British spellings, and a few different names.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.files import Json

FORMAT = 1
"""Format of newly written run directories."""

VALUES = {"grey": "gray", "binarised": "binarized", "prioritised": "prioritized", "colour": "color"}
"""Renamed values of settings."""
FIELDS = {"target_rate": "tau", "patience": "heartbeat_timeout"}
"""Renamed fields of settings, at any depth."""
ARRAYS = {"state.situation.": "state.env_state."}
"""Renamed prefixes of the names of a checkpoint's arrays."""
ALGORITHMS = {
    "ae_mnist": "autoencoder",
    "conv_ae_mnist": "autoencoder",
    "vae_mnist": "vae",
    "vae_flowers": "vae",
    "iwae_mnist": "vae",
    "gan_mnist": "gan",
    "gan_flowers": "gan",
    "dqn_cartpole": "dqn",
}
"""Algorithm of each experiment of format 0, which does not record it."""


def record(saved: Json, path: Path) -> Json:
    """`settings.json` of any known format, converted to the newest; a newer one raises a `UserError`."""
    if not _is_record(saved):
        raise UserError(f"{path / 'settings.json'} is damaged: it is not a run record")
    number = saved.get("format", 0)
    if number == FORMAT:
        return saved
    if not isinstance(number, int) or number > FORMAT:
        raise UserError(f"{path} is of format {number}, this version of jaxgen reads up to {FORMAT}: update jaxgen")
    settings = _translated(saved["settings"])
    module = ALGORITHMS.get(saved["experiment"])
    name = None if module is None else f"jaxgen.algorithms.{module}"
    likelihood = settings["config"].get("likelihood", "bernoulli")
    if module == "vae" and likelihood != "bernoulli":
        raise UserError(
            f"{path} is of format 0 and has a {likelihood} likelihood, whose mean then began at black and now begins "
            "at mid-gray: read it with the revision that its sessions.json names, or train it again"
        )
    return {**saved, "format": FORMAT, "algorithm": name, "settings": settings}


def _is_record(saved: Json) -> bool:
    """Whether the parts that every format has are there, and are of their types."""
    settings, data = saved.get("settings"), saved.get("data")
    return (
        isinstance(saved.get("experiment"), str)
        and isinstance(settings, dict)
        and all(isinstance(settings.get(part), dict) for part in ("config", "hparams", "run"))
        and "data" in saved
        and (data is None or isinstance(data, dict))
    )


def array(name: str) -> str:
    """The current name of a checkpoint's array, which an older version may have named differently."""
    for old, new in ARRAYS.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def places(shapes: Mapping[str, Sequence[int]], wanted: Collection[str]) -> dict[str, tuple[str, int | None]]:
    """Current name of each stored array: the name it is stored under, and its column there (None: the whole array).

    Format 0 keeps the metric sums in one array, ordered by name; VAEs of gray pixels had one more metric then.
    """
    found: dict[str, tuple[str, int | None]] = {array(name): (name, None) for name in shapes}
    sums = sorted(name for name in wanted if name.startswith("sums."))
    if "sums" in shapes and sums:
        columns = shapes["sums"][-1]
        if columns == len(sums) + 1:
            sums = sorted([*sums, "sums.bits_per_dimension"])
        if columns == len(sums):
            del found["sums"]
            found |= {name: ("sums", column) for column, name in enumerate(sums) if name in wanted}
    return found


def _translated(value: Any) -> Any:
    if isinstance(value, dict):
        return {FIELDS.get(key, key): _translated(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_translated(one) for one in value]
    return VALUES.get(value, value) if isinstance(value, str) else value
