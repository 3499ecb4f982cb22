"""A device with jaxgen at work: training steps, deep Q-networks of many seeds, exact resumption.

Runs on the device that JAX finds. Rows come in order of importance until the minutes are over; what did not fit, or
failed, is reported. The arithmetic of a step is counted by XLA on the program before optimization: libraries' kernels
(cuBLAS, cuDNN) are then still convolutions and products, which it counts by definition. The device's peak is its
maker's, for dense products at JAX's default precision (float32 is TF32 where tensor cores have it, and bfloat16 on
TPUs), or that of a large product measured here, for devices not listed.
"""

import dataclasses
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen
from benchmarks import dqn_ours, reporting, work
from benchmarks.measuring import Measurement, Row, Run, compare, interleave, left_out, say
from jaxgen import data as data_lib
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.errors import check_at_least, check_choices, refuse

DTYPES = ("float32", "bfloat16")
SEEDS = (1, 32, 256, 1_024, 4_096)
PEAKS: dict[str, tuple[float, float | None]] = {
    "A100": (156, 312),
    "H100 PCIe": (378, 756),
    "H100": (494.7, 989.4),
    "H200": (494.7, 989.4),
    "L4": (60, 121),
    "T4": (8.1, None),
    "V100": (15.7, None),
    "RTX 4090": (82.6, 165.2),
    "TPU v4": (275, 275),
    "TPU v5 lite": (197, 197),
    "TPU v5e": (197, 197),
    "TPU v5p": (459, 459),
    "TPU v5": (459, 459),
    "TPU v6 lite": (918, 918),
    "TPU v6e": (918, 918),
}
"""TFLOP/s of dense products in float32 and bfloat16, by part of the device's name; the first that fits."""


@dataclass(frozen=True)
class Accelerator(Measurement):
    """Training steps in float32 and bfloat16, DQNs of many seeds, and exact resumption, on the device JAX finds."""

    rounds: int = 3
    """Number of times each side is measured, in turn."""
    minutes: float = 9.0
    """Nothing new is begun after this time; a last compilation may take a minute more."""
    quick: bool = False
    """Two models, few seeds and short measurements, to try the command."""
    models: tuple[str, ...] = tuple(work.MODELS)
    """Models to measure."""
    seeds: tuple[int, ...] = SEEDS
    """Numbers of deep Q-networks trained at once."""
    seconds: float = 1.0
    """Length of a measurement."""
    purejaxrl: Path | None = None
    """Folder with a checkout of PureJaxRL, to measure beside ours."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("minutes", self.minutes, 0)
        check_at_least("seconds", self.seconds, 0.001)
        check_choices("models", self.models, work.MODELS)
        for count in self.seeds:
            check_at_least("seeds", count, 1)
        if self.purejaxrl is not None and not self.purejaxrl.is_dir():
            refuse("purejaxrl", str(self.purejaxrl), "a folder with a checkout of that project")

    def measure(self) -> Iterator[Row]:
        """Rows in order of importance."""
        began = time.monotonic()
        settings = replace(self, **_QUICK) if self.quick else self
        device = Device.here(1_024 if self.quick or jax.default_backend() == "cpu" else 8_192)
        say(str(device))
        with work.compiling_anew():
            for name, part in settings.parts(device):
                if time.monotonic() - began > self.minutes * 60:
                    say(f"{name} is left out: {self.minutes:g} minutes are over")
                    continue
                try:
                    for row in part():
                        say(_said(row))
                        yield {**row, "device": device.kind}
                except Exception as error:  # too little memory, say, costs only its own rows
                    left_out(name, error)
        say(f"{time.monotonic() - began:.0f} s in all")

    def parts(self, device: "Device") -> Iterator[tuple[str, Callable[[], Iterator[Row]]]]:
        """Names and functions that yield rows."""
        for name in self.models:
            yield name, partial(self._steps, name, device)
        for name, algorithm in RESUMED.items():
            yield f"resumed {name}", partial(_resumed, name, *algorithm)
        for count in self.seeds:
            yield f"dqn, {count} seeds", partial(self._dqn, count)

    def _steps(self, name: str, device: "Device") -> Iterator[Row]:
        """One row per type of number."""
        runs: dict[str, Run] = {}
        facts: dict[str, Row] = {}
        for dtype in DTYPES:
            step = work.of(name)
            step = step._replace(config=dataclasses.replace(step.config, dtype=dtype))
            programs = work.programs(step)
            runs[f"ours, {dtype}"] = work.trainer(programs)
            facts[dtype] = {"compile_seconds": round(programs.seconds, 2), "gflop": gflop(step)}
        times = interleave(runs, 0, self.seconds, self.rounds, name)
        batch = work.of(name).config.batch_size
        for (dtype, fact), taken in zip(facts.items(), times.values(), strict=True):
            row = compare(f"{name}, {dtype}", taken, None, [])
            rate = 1e3 / row["ours_ms"]
            row |= {"steps_per_s": round(rate, 1), "images_per_s": round(rate * batch), **fact}
            peak, source = device.peak(dtype)
            row |= {"peak_tflops": _short(peak), "peak": source, "product_tflops": _short(device.measured[dtype])}
            if fact["gflop"] is not None:
                achieved = fact["gflop"] * rate / 1e3
                row |= {"tflops": _short(achieved), "share": _short(achieved / peak)}
            yield row

    def _dqn(self, count: int) -> Iterator[Row]:
        """PureJaxRL's settings, and PureJaxRL beside ours if its folder is known."""
        each = 1_000 if count == 1 else 100  # makes call overhead negligible
        runs = {"ours": dqn_ours.trainer("purejaxrl", count, each)}
        if self.purejaxrl is not None:
            try:
                from benchmarks.peers import dqn_purejaxrl

                runs["PureJaxRL"] = dqn_purejaxrl.trainer(str(self.purejaxrl.resolve()), count, each)
            except Exception as error:
                left_out("PureJaxRL", error)
        times = interleave(runs, 0, self.seconds, self.rounds, f"dqn, {count} seeds")
        peer = "PureJaxRL" if "PureJaxRL" in times else None
        row = compare(f"dqn, {count} seeds", times["ours"], peer, times.get("PureJaxRL", []))
        steps = count * each
        row["environment_steps_per_s"] = round(steps / row["ours_ms"] * 1e3)
        row["peer_steps_per_s"] = peer and round(steps / row["peer_ms"] * 1e3)
        yield row

    def table(self, rows: list[Row]) -> str:
        """A line per row."""
        heads = ["name", "steps/s", "images/s", "TFLOP/s", "of peak", "compile s", "env. steps/s", "ratio", "resumed"]
        return reporting.aligned(heads, [_cells(row) for row in rows])


_QUICK = {"models": ("dense_ae", "mlp_vae"), "seeds": (1, 4), "seconds": 0.02, "rounds": 1}


class Device(NamedTuple):
    """A device and its peaks in TFLOP/s by type of number."""

    kind: str
    count: int
    measured: dict[str, float]

    @classmethod
    def here(cls, size: int) -> "Device":
        """The default device, with the peak of products of `size` x `size` matrices."""
        kind = str(jax.devices()[0].device_kind)
        return cls(kind, jax.local_device_count(), {dtype: product_tflops(size, dtype) for dtype in DTYPES})

    def peak(self, dtype: str) -> tuple[float, str]:
        """TFLOP/s, and whose number it is."""
        for part, peaks in PEAKS.items():
            found = peaks[DTYPES.index(dtype)]
            if _is_part(part, self.kind) and found is not None:
                return found, "maker's"
        return self.measured[dtype], "matrix product measured here"

    def __str__(self) -> str:
        peaks = ", ".join(
            f"{dtype}: peak {peak:.4g} TFLOP/s ({source}), measured {self.measured[dtype]:.3g}"
            for dtype, (peak, source) in ((dtype, self.peak(dtype)) for dtype in DTYPES)
        )
        return f"{self.count} x {self.kind}; {peaks}"


def gflop(step: work.Work) -> float | None:
    """GFLOP of a step by definition; None if this kind of device does not count them."""
    try:
        costs: Any = work.lowered(step, 2 * step.config.batch_size).cost_analysis()
        return round(costs["flops"] / 1e9, 4)
    except (jax.errors.JaxRuntimeError, KeyError, NotImplementedError, TypeError) as error:
        left_out("the count of operations", error)
        return None


def _is_part(part: str, kind: str) -> bool:
    """Whether the words of `part` are among the device's: L4 is not in L40."""
    return set(part.upper().split()) <= set(kind.upper().replace("-", " ").split())


def product_tflops(size: int, dtype: str) -> float:
    """TFLOP/s of a product of two matrices, the best of ten in a row of products."""
    a = jnp.full((size, size), 1 / size, jnp.dtype(dtype))
    turns = 10

    @jax.jit
    def products(a: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, turns, lambda _, b: b @ a, a)

    products(a).block_until_ready()
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        products(a).block_until_ready()
        taken.append(time.perf_counter() - began)
    return 2 * size**3 * turns / min(taken) / 1e12


RESUMED: dict[str, tuple[Any, Any]] = {
    "autoencoder": (autoencoder, autoencoder.Config(net="conv")),
    "vae": (vae, vae.Config(net="conv", inputs="binarized")),
    "gan": (gan, gan.Config(net="small")),
    "dqn": (dqn, dqn.Config(steps_per_epoch=200, learning_starts=500, replay_size=2_000, evaluation_episodes=8)),
}
"""Algorithms, and what of each is trained twice: whole, and interrupted."""


def _resumed(name: str, algorithm: Any, config: Any) -> Iterator[Row]:
    """Two epochs in one go, and interrupted by Ctrl-C in the second."""
    began = time.perf_counter()
    data = None if algorithm is dqn else data_lib.load("digits")
    with tempfile.TemporaryDirectory() as root:
        fit = partial(jaxgen.fit, algorithm, data, config=config, epochs=2, progress=False, chunk_steps=4)
        whole = fit(directory=Path(root, "whole"))
        part = fit(directory=Path(root, "part"), on_evaluation=lambda _: signal.raise_signal(signal.SIGINT))
        rest = fit(directory=Path(root, "part"))
    exact = part.step < rest.step == whole.step and differing(whole.state, rest.state) == 0
    row = compare(f"resumed {name}", [(time.perf_counter() - began) * 1e3], None, [])
    yield {**row, "interrupted_at": part.step, "steps": rest.step, "exact": exact}


def differing(a: Any, b: Any) -> int:
    """Number of bytes in which two states differ."""
    leaves = zip(jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b)), strict=True)
    return sum(int((_bytes(one) != _bytes(other)).sum()) for one, other in leaves)


def _bytes(leaf: Any) -> np.ndarray:
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.frombuffer(np.ascontiguousarray(leaf).tobytes(), np.uint8)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _said(row: Row) -> str:
    heads = ("steps/s", "images/s", "TFLOP/s", "of the peak", "s to compile", "environment steps/s", "ratio", "")
    cells = zip(_cells(row)[1:], heads, strict=True)
    return f"{row['name']}: " + ", ".join(" ".join(cell).strip() for cell in cells if cell[0])


def _cells(row: Row) -> list[str]:
    def cell(field: str, form: str) -> str:
        value = row.get(field)
        return "" if value is None else format(value, form)

    exact = row.get("exact")
    return [
        row["name"],
        *(cell("steps_per_s", ",.1f"), cell("images_per_s", ","), cell("tflops", ".4g"), cell("share", ".1%")),
        *(cell("compile_seconds", ".1f"), cell("environment_steps_per_s", ","), cell("ratio", ".2f")),
        "" if exact is None else "bit for bit" if exact else "NOT EQUAL",
    ]
