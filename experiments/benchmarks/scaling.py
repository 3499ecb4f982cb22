"""One run on many devices, or with images streamed from disk, against the same run on one device holding the images."""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks.measuring import Row, Run, compare, interleave, say
from benchmarks.train import OfModels
from benchmarks.work import MODELS, images
from jaxgen import data as data_lib
from jaxgen.engine import batches, loop, parallel, placements
from jaxgen.engine.programs import Programs
from jaxgen.engine.streaming import Stream
from jaxgen.errors import UserError, check_at_least
from jaxgen.launch import devices

PLAIN, OURS = "one device", "ours"


def runner(programs: Programs, per_epoch: int) -> Run:
    """The engine's chunks, one after the other, epoch after epoch.

    A stream restarts cold for every measurement, so that prefetching between measurements does not count.
    """
    carry, step = programs.start(), 0

    def run(steps: int) -> float:
        nonlocal carry, step
        began, last = time.perf_counter(), step + steps
        stream = programs.stream = programs.stream and programs.stream.restarted()
        while step < last:
            first, ends = step, [last, (step // per_epoch + 1) * per_epoch]
            step = min(ends + ([] if stream is None else [stream.end(step)]))
            carry, _ = programs.chunk(carry, first, step)
        seconds = time.perf_counter() - began
        if stream is not None:
            stream.close()
        return seconds

    return run


@dataclass(frozen=True)
class _Models(OfModels):
    def _compare(self, name: str, runs: dict[str, Run]) -> Row:
        times = interleave(runs, self.steps, self.seconds, self.rounds, name)
        (peer,) = set(times) - {OURS}
        row = compare(name, times[OURS], peer, times[peer])
        say(f"{name}: {row['ours_ms']:.3f} ms a step, {peer} {row['peer_ms']:.3f} ms, ratio {row['ratio']:.3f}")
        return row


@dataclass(frozen=True)
class Scaling(_Models):
    """Weak scaling over single-threaded devices, one per core, and the overhead of sharding on one device."""

    models: tuple[str, ...] = ("dense_ae", "conv_ae", "mlp_vae", "dense_gan")
    """Models to measure."""
    devices: int = 2
    """Number of devices; each gets as many examples as the single device it is compared with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("devices", self.devices, 2)

    def measure(self) -> Iterator[Row]:
        """Two rows per model; their ratios are 1 minus the overhead and the efficiency of weak scaling."""
        devices.use_single_threads(self.devices)
        for name in self.models:
            plain, shared = self._run(name, 0), self._run(name, 1)
            yield self._compare(f"{name}, sharded on one device", {OURS: shared, PLAIN: plain})
            many = self._run(name, self.devices)
            row = f"{name}, {self.devices} devices, {self.devices} times the batch"
            yield self._compare(row, {OURS: many, PLAIN: plain})

    def _run(self, name: str, count: int) -> Run:
        """Run on `count` devices with `count` times the batch; 0: one device without sharding."""
        model = MODELS[name]
        config = dataclasses.replace(model.config, batch_size=model.config.batch_size * max(1, count))
        mesh = Mesh(np.array(jax.devices()[:count]), (parallel.AXIS,)) if count else None
        pixels = images(config.image_shape)
        split = model.algorithm.Batch(pixels, np.zeros(len(pixels), np.int32))
        few = jax.tree.map(lambda leaf: leaf[:100], split)
        per_epoch = batches.steps_per_epoch(model.algorithm, split, config)
        placed = (split, few) if mesh else jax.device_put((split, few))
        programs = Programs(model.algorithm, config, placed, placements.of(0, mesh=mesh), max(1, per_epoch // 10))
        programs.compile(model.hparams)
        return runner(programs, per_epoch)


@dataclass(frozen=True)
class Streaming(_Models):
    """MNIST streamed from disk and decoded during training, against MNIST on the device."""

    models: tuple[str, ...] = ("conv_ae", "mnist_vae")
    """Models to measure."""
    steps: int = 500
    """Training steps per measurement, the same for both; ours includes waiting for the first images."""
    data_dir: Path | None = None
    """Directory of the prepared TFDS sets, like data.data_dir of the experiments."""

    def measure(self) -> Iterator[Row]:
        """One row per model; the ratio is the fraction of device-resident speed."""
        settings = data_lib.DataSettings(data_dir=self.data_dir)
        resident = data_lib.load(settings)
        streamed = data_lib.load(dataclasses.replace(settings, streaming=True))
        for name in self.models:
            model = MODELS[name]
            stream = Stream(streamed.train, model.algorithm.Batch, model.config.batch_size, loop.keys(0).order, None)
            ours = self._run(model, streamed.train, resident.test, stream)
            other = self._run(model, resident.train, resident.test)
            yield self._compare(f"{name}, streamed", {OURS: ours, "on the device": other})

    def _run(self, model: Any, train: Any, test: Any, stream: Stream | None = None) -> Run:
        if model.config.image_shape != tuple(train.images.shape[1:]):
            raise UserError(
                f"models: images are {model.config.image_shape}, MNIST's are {tuple(train.images.shape[1:])}"
            )
        splits = tuple(model.algorithm.Batch(split.images, split.labels) for split in (train, test))
        per_epoch = batches.steps_per_epoch(model.algorithm, splits[0], model.config)
        programs = Programs(model.algorithm, model.config, splits, placements.of(0), max(1, per_epoch // 10), stream)
        programs.compile(model.hparams)
        return runner(programs, per_epoch)
