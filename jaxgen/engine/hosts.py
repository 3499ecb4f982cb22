"""Messages between the processes of one run: broadcasts from the first, and agreement between chunks."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxgen.errors import UserError


def are_several() -> bool:
    """Whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def from_first(tree: Any) -> Any:
    """The first process's numbers; the others pass numbers of the same shapes."""
    return multihost_utils.broadcast_one_to_all(tree) if are_several() else tree


def agree(steps: int, received: int | None, due: bool) -> tuple[int, int | None, bool]:
    """The first process's steps and whether its checkpoint is due, and a signal received by any process."""
    if not are_several():
        return steps, received, due
    gathered = np.asarray(multihost_utils.process_allgather(np.array([steps, received or 0, due], np.int32)))
    return int(gathered[0, 0]), int(gathered[:, 1].max()) or None, bool(gathered[0, 2])


def check_same(parts: Mapping[str, Any]) -> None:
    """Refuse processes whose JSON-serializable values differ from process 0's; the message names the part."""
    if not are_several():
        return
    sums = np.array([zlib.crc32(json.dumps(part, sort_keys=True).encode()) for part in parts.values()], np.uint32)
    for name, column in zip(parts, np.asarray(multihost_utils.process_allgather(sums)).T, strict=True):
        others = np.flatnonzero(column != column[0]).tolist()
        if others:
            raise UserError(f"process {others[0]} has other {name} than process 0: give all the same")
