"""A train and a test split for sources that have none: stratified, and the same on every machine."""

import hashlib
import os
from collections.abc import Sequence

import numpy as np

from jaxgen.errors import UserError


def split_by_hash(names: Sequence[str], labels: np.ndarray, test_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the train and of the test split, each in the order of the hash of the row's name.

    In every class, the share `test_fraction` with the smallest hashes is for testing, at least one row and never all
    (a class of one row is for training). The order of `names` does not matter, and an added row moves at most a few.
    """
    hashes = [hashlib.sha256(os.fsencode(name)).digest() for name in names]
    order = np.array(sorted(range(len(names)), key=hashes.__getitem__), dtype=np.int64)
    tested = np.zeros(len(names), bool)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        tested[rows[: min(len(rows) - 1, max(1, round(test_fraction * len(rows))))]] = True
    if not tested.any():
        raise UserError("no class has two images, so none can be set apart for testing: add images")
    return order[~tested[order]], order[tested[order]]
