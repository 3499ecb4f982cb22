"""Forward pass and both gradients of each convolutional layer, against PyTorch in its better layout.

Ours is called from Python, and also runs in a compiled loop as in training. The loop carries the images, the kernel,
the output's gradient and the three results. Each iteration depends on the previous one through the kernel and one pixel
of the others, so the compiler cannot remove any of it or hoist it out of the loop.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from benchmarks.layers import FLOWERS, SMALL, Layer
from benchmarks.measuring import Measurement, Row, Run, compare, geometric_mean, interleave, left_out, say
from jaxgen.errors import SettingError
from jaxgen.nets.ops import conv

OURS, LOOP = "ours", "ours, in a compiled loop"
GEMM = 2048
"""Side of the square matrices whose product measures the machine's peak."""
NUDGE = 1e-6
"""Weight of one iteration's results in the next one's inputs."""

Operands = tuple[Array, Array, Array]


@dataclass(frozen=True)
class Conv(Measurement):
    """Milliseconds for the forward pass and both gradients of each convolutional layer: ours and PyTorch's."""

    layers: tuple[str, ...] = ()
    """Measure layers whose names contain one of these; empty: all 25."""
    seconds: float = 0.3
    """Approximate length of a measurement."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.chosen()

    def chosen(self) -> list[Layer]:
        """The layers to measure."""
        every = [*FLOWERS, *SMALL]
        for text in self.layers:
            if not any(text in layer.name for layer in every):
                raise SettingError(f"layers = {text!r} is in no layer's name, such as {every[0].name!r}")
        return [layer for layer in every if not self.layers or any(text in layer.name for text in self.layers)]

    def measure(self) -> Iterator[Row]:
        """The peak of matrix products, then one row per layer."""
        yield self._peak()
        for layer in self.chosen():
            times = interleave({**ours(layer), **peers(layer)}, 0, self.seconds, self.rounds, layer.name)
            yield layer_row(layer, times)

    def _peak(self) -> Row:
        times = interleave(matrix_products(), 0, self.seconds, self.rounds, "matrix product")
        flops = 2 * GEMM**3
        row = _best(f"matrix product {GEMM}", times[OURS], {k: v for k, v in times.items() if k != OURS})
        row["gflops"] = round(flops / row["ours_ms"] / 1e6, 1)
        row["peer_gflops"] = row["peer_ms"] and round(flops / row["peer_ms"] / 1e6, 1)
        say(f"{row['name']}: ours {row['gflops']} GFLOP/s, {row['peer'] or 'no peer'} {row['peer_gflops'] or ''}")
        return row

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """Geometric means of the ratios, called from Python and in a loop."""
        flowers = {layer.name for layer in FLOWERS}
        layers = [row for row in rows if row.get("loop_ratio")]
        groups = {"flower layers": [row for row in layers if row["name"] in flowers], "layers in all": layers}
        for what, group in groups.items():
            if group:
                means = [geometric_mean(row[field] for row in group) for field in ("ratio", "loop_ratio")]
                least = min(min(row["ratio"], row["loop_ratio"]) for row in group)
                yield (
                    f"{len(group)} {what}: geometric mean of the ratios {means[0]:.2f}, in a loop {means[1]:.2f}; "
                    f"least {least:.2f}"
                )


def layer_row(layer: Layer, times: dict[str, list[float]]) -> Row:
    """Row of a layer; like `ratio`, `loop_ratio` is a ratio of medians."""
    row = _best(layer.name, times[OURS], {k: v for k, v in times.items() if k not in (OURS, LOOP)})
    loop_ms = median(times[LOOP])
    row["loop_ms"] = round(loop_ms, 4)
    row["loop_ratio"] = row["peer_ms"] and round(row["peer_ms"] / loop_ms, 3)
    row["gflops"] = round(layer.flops / min(loop_ms, row["ours_ms"]) / 1e6, 1)
    return row


def _best(name: str, mine: list[float], others: dict[str, list[float]]) -> Row:
    """Comparison with the fastest of the others; `others_ms` has them all."""
    if not others:
        return compare(name, mine, None, [])
    peer = min(others, key=lambda other: median(others[other]))
    medians = {other: round(median(times), 4) for other, times in others.items()}
    return {**compare(name, mine, peer, others[peer]), "others_ms": medians}


def ours(layer: Layer) -> dict[str, Run]:
    """Forward pass and both gradients with `jaxgen.nets.ops.conv`."""
    convolution = conv.conv_transpose2d if layer.transposed else conv.conv2d
    convolve = partial(convolution, strides=layer.stride, padding=layer.padding, layout=layer.layout)

    def passes(x: Array, w: Array, g: Array) -> Operands:
        y, pull = jax.vjp(convolve, x, w)
        return (y, *pull(g))

    operands = _operands(layer, convolve)
    once, looped = jax.jit(passes), jax.jit(partial(in_loop, passes))
    return {
        OURS: _timed(lambda steps: [once(*operands) for _ in range(steps)][-1]),
        LOOP: _timed(lambda steps: looped(operands, jnp.int32(steps))),
    }


def _operands(layer: Layer, convolve: Callable[..., Array]) -> Operands:
    sizes = {"N": layer.batch, "H": layer.size, "W": layer.size, "C": layer.channels}
    x_key, w_key, g_key = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(x_key, [sizes[axis] for axis in layer.layout])
    w = jax.random.normal(w_key, (layer.kernel, layer.kernel, layer.channels, layer.kernels))
    w = w / (layer.kernel * layer.channels**0.5)
    return x, w, jax.random.normal(g_key, jax.eval_shape(convolve, x, w).shape)


def in_loop(passes: Callable[..., Operands], operands: Operands, turns: Array) -> tuple[Operands, Operands]:
    """Run `passes` `turns` times, each time on inputs that depend on all results of the previous run."""

    def body(_: Array, carry: tuple[Operands, Operands]) -> tuple[Operands, Operands]:
        (x, w, g), _ = carry
        y, dx, dw = passes(x, w, g)
        nudge = NUDGE * (_corner(y) + _corner(dx) + _corner(dw))
        return (_nudged(x, nudge), w + NUDGE * dw, _nudged(g, nudge)), (y, dx, dw)

    x, w, g = operands
    return lax.fori_loop(0, turns, body, (operands, (jnp.zeros_like(g), jnp.zeros_like(x), jnp.zeros_like(w))))


def _corner(x: Array) -> Array:
    return x[:1, :1, :1, :1]


def _nudged(x: Array, by: Array) -> Array:
    return lax.dynamic_update_slice(x, _corner(x) + by, (0, 0, 0, 0))


def peers(layer: Layer) -> dict[str, Run]:
    """PyTorch in both layouts, if installed."""
    try:
        from benchmarks.peers import pytorch_conv
    except ImportError as error:
        left_out("PyTorch", error)
        return {}
    return {
        "PyTorch NCHW": pytorch_conv.layer_run(layer, channels_last=False),
        "PyTorch channels last": pytorch_conv.layer_run(layer, channels_last=True),
    }


def matrix_products() -> dict[str, Run]:
    """Ours and PyTorch's product of two large matrices."""
    a = jax.random.normal(jax.random.key(0), (GEMM, GEMM))
    dot = jax.jit(jnp.dot)
    found = {OURS: _timed(lambda steps: [dot(a, a) for _ in range(steps)][-1])}
    try:
        from benchmarks.peers import pytorch_conv
    except ImportError:
        return found
    return {**found, "PyTorch": pytorch_conv.matrix_product_run(GEMM)}


def _timed(call: Callable[[int], Any]) -> Run:
    def run(steps: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(call(steps))
        return time.perf_counter() - began

    return run
