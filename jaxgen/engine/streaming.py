"""Training images streamed from disk: blocks of batches, loaded onto the devices ahead of the compiled loop.

An epoch is cut into blocks of a fixed number of steps; the last one may be shorter. The examples of a block depend only
on the run's key and the step, as for images on the device: a run may be stopped anywhere, and sees the same batches
streamed or not.
"""

import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgen.data.rows import StreamedSplit
from jaxgen.engine import batches, parallel
from jaxgen.errors import UserError

BLOCK_BYTES = 2**25
"""Maximum bytes per block on the device (at least one batch); up to four blocks exist at a time."""
BLOCK_STEPS = 64
AHEAD = 2
"""Blocks waiting on the device."""
THREADS = 2
"""Threads that read batches."""


class Stream:
    """The blocks of a run, in the order of its steps."""

    def __init__(self, split: StreamedSplit, batch: Any, batch_size: int, key: jax.Array, mesh: Mesh | None) -> None:
        self._split, self._batch, self._batch_size, self._key, self._mesh = split, batch, batch_size, key, mesh
        self._per_epoch = len(split.labels) // batch_size
        bytes_a_batch = batch_size * int(np.prod(split.images.shape[1:]))
        self.steps = max(1, min(self._per_epoch, BLOCK_STEPS, BLOCK_BYTES // bytes_a_batch))
        """Steps per block."""
        self._order = jax.jit(lambda epoch: batches.order_of(key, epoch, len(split.labels)))
        self._current: tuple[int, Any] = (-1, None)
        self._queue: Queue[Any] = Queue(AHEAD)
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def restarted(self) -> "Stream":
        """The same stream with nothing read yet."""
        return Stream(self._split, self._batch, self._batch_size, self._key, self._mesh)

    def end(self, step: int) -> int:
        """The end (exclusive) of the block that contains `step`."""
        epoch, place = divmod(step, self._per_epoch)
        return epoch * self._per_epoch + min(self._per_epoch, (place // self.steps + 1) * self.steps)

    def shapes(self) -> Any:
        """The shape of a block, for compiling programs."""
        sharding = None if self._mesh is None else NamedSharding(self._mesh, P(None, parallel.AXIS))

        def shape(column: Any) -> jax.ShapeDtypeStruct:
            whole = (self.steps, self._batch_size, *column.shape[1:])
            return jax.ShapeDtypeStruct(whole, column.dtype, sharding=sharding)

        return self._batch(shape(self._split.images), shape(self._split.labels))

    def block(self, step: int) -> Any:
        """The block that contains the batch of `step`; request steps in order."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._fill, args=(step,), daemon=True)
            self._thread.start()
        end = self.end(step)
        while self._current[0] != end:
            self._current = self._queue.get()
            if isinstance(self._current[1], BaseException):
                raise self._current[1]
        return self._current[1]

    def close(self) -> None:
        """Stop reading ahead."""
        self._closed.set()
        while self._thread is not None and self._thread.is_alive():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._thread.join(0.05)

    def _fill(self, step: int) -> None:
        try:
            for block in self._blocks(step):
                self._queue.put(block)
                if self._closed.is_set():
                    return
        except UserError as error:  # re-raised where the block is awaited, without grain's additions
            self._queue.put((-1, type(error)(str(error).splitlines()[0])))
        except BaseException as error:
            self._queue.put((-1, error))

    def _blocks(self, step: int) -> Iterator[tuple[int, Any]]:
        import grain

        options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=2 * THREADS)
        while True:
            epoch, place = divmod(step, self._per_epoch)
            order = np.asarray(self._order(epoch))
            first, end = place // self.steps * self.steps, self.end(step)
            rest = grain.MapDataset.range(first, self._per_epoch).map(lambda t, order=order: self._examples(order, t))
            rows: list[Any] = []
            for t, examples in enumerate(rest.to_iter_dataset(options), start=first):
                rows.append(examples)
                if epoch * self._per_epoch + t + 1 == end:
                    yield end, self._place(rows)
                    end, rows = self.end(end), []
            step = (epoch + 1) * self._per_epoch

    def _examples(self, order: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        """This process's share of the batch of step t of an epoch."""
        share = self._batch_size // jax.process_count() if self._mesh is not None else self._batch_size
        first = t * self._batch_size + (jax.process_index() * share if self._mesh is not None else 0)
        return self._split.examples(order[first : first + share])

    def _place(self, rows: list[Any]) -> Any:
        rows += rows[-1:] * (self.steps - len(rows))  # pad an epoch's last block
        local = self._batch(*(np.stack(column) for column in zip(*rows, strict=True)))
        if self._mesh is None:
            return jax.device_put(local)
        at = NamedSharding(self._mesh, P(None, parallel.AXIS))
        return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(at, leaf), local)
