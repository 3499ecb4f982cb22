"""Messages between the processes of one run: what the first one has, and what all agree on between chunks."""

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
    """Whether this is the process that writes."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def from_first(tree: Any) -> Any:
    """Numbers as the first process has them; the others give some of the same shapes."""
    return multihost_utils.broadcast_one_to_all(tree) if are_several() else tree


def agree(steps: int, received: int | None, due: bool) -> tuple[int, int | None, bool]:
    """The first process's number of steps and whether its checkpoint is due; a signal that any has received."""
    if not are_several():
        return steps, received, due
    gathered = np.asarray(multihost_utils.process_allgather(np.array([steps, received or 0, due], np.int32)))
    return int(gathered[0, 0]), int(gathered[:, 1].max()) or None, bool(gathered[0, 2])


def check_same(parts: Mapping[str, Any]) -> None:
    """Refuses processes of which one has other JSON-able values than process 0; the message names the part."""
    if not are_several():
        return
    sums = np.array([zlib.crc32(json.dumps(part, sort_keys=True).encode()) for part in parts.values()], np.uint32)
    for name, column in zip(parts, np.asarray(multihost_utils.process_allgather(sums)).T, strict=True):
        others = np.flatnonzero(column != column[0]).tolist()
        if others:
            raise UserError(f"process {others[0]} has other {name} than process 0: give all the same")
