"""Work spread over threads, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_threads(function: Callable[[T], R], items: Sequence[T], what: str, threads: int | None = None) -> Iterator[R]:
    """`function` of every item, in order, with a progress bar labeled `what` on stderr (terminals only)."""
    from tqdm import tqdm

    pool = ThreadPoolExecutor(threads or os.cpu_count())
    try:
        yield from tqdm(pool.map(function, items), desc=what, total=len(items), disable=None, leave=False)
    finally:  # also if the reader stops early: pending items never start
        pool.shutdown(cancel_futures=True)
