"""bfloat16 against float32 on one machine: matrix products, then whole training steps, ours and PyTorch's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks import train, work
from benchmarks.measuring import Measurement, Row, Run, compare, geometric_mean, interleave, left_out, say
from jaxgen.algorithms import vae
from jaxgen.errors import check_at_least, check_choice, check_choices
from jaxgen.nets.autoencoders import DenseEncoder
from jaxgen.nets.ops import dense

Clock = Literal["wall", "processor"]
HALF, SINGLE = "bfloat16", "our float32"
_iwae = partial(vae.Config, inputs="binarized", objective="iwae", activation="tanh", widths=(200, 200), latent_size=50)
MODELS = {
    **work.MODELS,
    "iwae": work.MODELS["mlp_vae"]._replace(config=_iwae(samples=50, batch_size=20), pytorch=""),
}
Q_NETS = {f"q_net_{width}": width for width in (64, 128, 256)}
"""Nets 4-w-w-2, trained by Q-learning on a fixed replay buffer."""
PRODUCTS = ((2048, 2048, 2048), (128, 784, 500), (128, 500, 784), (128, 500, 20), (1000, 200, 200), (128, 128, 128))
"""m, k and n of products of an m x k with a k x n matrix."""
TRANSITIONS, BATCH = 10_000, 128


@dataclass(frozen=True)
class Bfloat16(Measurement):
    """GFLOP/s of products, and milliseconds per training step: our bfloat16, our float32 and PyTorch."""

    models: tuple[str, ...] = ("dense_ae", "mlp_vae", "iwae", "dense_gan", "conv_ae", "mnist_vae", *Q_NETS)
    """Models to measure."""
    products: bool = True
    """Measure matrix products first."""
    seconds: float = 1.0
    """Length of a measurement."""
    clock: Clock = "wall"
    """wall; or processor: only the seconds in which this process computed, for one thread on a shared machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("seconds", self.seconds, 0.01)
        check_choice("clock", self.clock, get_args(Clock))
        check_choices("models", self.models, [*MODELS, *Q_NETS])

    def measure(self) -> Iterator[Row]:
        """One row per product or model, and peer."""
        for shape in PRODUCTS if self.products else ():
            name = f"product {' x '.join(map(str, shape))}"
            yield from self._rows(name, products(*shape), gflops=2e-9 * shape[0] * shape[1] * shape[2])
        for name in self.models:
            yield from self._rows(name, q_updates(Q_NETS[name]) if name in Q_NETS else steps(MODELS[name]))

    def _rows(self, name: str, runs: dict[str, Run], gflops: float | None = None) -> Iterator[Row]:
        if self.clock == "processor":
            runs = {side: _by_processor(run) for side, run in runs.items()}
        times = interleave(runs, 0, self.seconds, self.rounds, name)
        for peer, theirs in times.items():
            if peer != HALF:
                row = compare(name, times[HALF], peer, theirs)
                say(f"{name}: bfloat16 {row['ours_ms']:.3f} ms, {peer} {row['peer_ms']:.3f} ms: {row['ratio']:.2f}")
                yield row if gflops is None else {**row, "gflops": round(gflops / row["ours_ms"] * 1e3, 1)}

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """The models' mean ratio."""
        ratios = [row["ratio"] for row in rows if row["name"] in self.models and row["peer"] == SINGLE]
        if ratios:
            yield f"bfloat16 against our float32, geometric mean over the models: {geometric_mean(ratios):.2f}"


def _by_processor(run: Run) -> Run:
    def processor_seconds(count: int) -> float:
        began = time.process_time()
        run(count)
        return time.process_time() - began

    return processor_seconds


def products(m: int, k: int, n: int) -> dict[str, Run]:
    """A layer's product as `nets.ops.dense` computes it; of operands that are rounded already; and in other ways."""
    random = np.random.default_rng(0)
    single = [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in ((m, k), (k, n))]
    half = [operand.astype(jnp.bfloat16) for operand in single]
    return {
        HALF: _repeated(dense.rounded_product, *half),
        "our product with rounding": _repeated(dense.rounded_product, *single),
        "our transposed product": _repeated(lambda a, b: dense.rounded_product(a, b, "a'b"), half[0].T.copy(), half[1]),
        SINGLE: _repeated(jnp.matmul, *single),
        "our float32, transposed": _repeated(lambda a, b: a.T @ b, single[0].T.copy(), single[1]),
        "our bfloat16 results": _repeated(jnp.matmul, *half),
    }


def _repeated(function: Callable[..., jax.Array], *operands: jax.Array) -> Run:
    compiled = jax.jit(function)

    def run(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            result = compiled(*operands)
        result.block_until_ready()
        return time.perf_counter() - began

    return run


def steps(model: work.Model) -> dict[str, Run]:
    """A model's training loop in both precisions, and PyTorch's."""
    runs = {
        name: work.trainer(work.programs(model.work._replace(config=replace(model.config, dtype=dtype))))
        for name, dtype in ((HALF, "bfloat16"), (SINGLE, "float32"))
    }
    return {**runs, **(_pytorch(model) if model.pytorch else {})}


def _pytorch(model: work.Model) -> dict[str, Run]:
    try:
        import torch
    except ImportError as error:
        left_out("PyTorch", error)
        return {}
    make, images = train.function(model.pytorch), work.images(model.config.image_shape)
    eager, cast = (
        make(model.net, images, model.config.batch_size, channels_last=False, compiled=False) for _ in range(2)
    )

    def autocast(count: int) -> float:
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # a cached kernel would be the first step's
            return cast(count)

    return {"PyTorch eager": eager, "PyTorch autocast(bfloat16)": autocast}


def q_updates(width: int) -> dict[str, Run]:
    """Double Q-learning of a net with two layers of `width`, one Adam update on 128 transitions a step."""
    return {name: _q_learner(width, dtype) for name, dtype in ((HALF, jnp.bfloat16), (SINGLE, jnp.float32))}


def _q_learner(width: int, dtype: Any) -> Run:
    net, optimizer = DenseEncoder(2, (width, width), dtype), optax.adam(1e-3)
    replay = jax.random.normal(jax.random.key(0), (2, TRANSITIONS, 4))
    params = net.init(jax.random.key(1), replay[0, :1])

    def update(t: jax.Array, carry: Any) -> Any:
        params, opt_state = carry
        place = jax.random.randint(jax.random.key(t), (BATCH,), 0, TRANSITIONS)
        before, after = replay[0, place], replay[1, place]

        def loss(params: Any) -> jax.Array:
            target = lax.stop_gradient(1.0 + 0.99 * net.apply(params, after).max(axis=1))
            return optax.huber_loss(net.apply(params, before)[:, 0], target).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    train_for = jax.jit(lambda carry, count: lax.fori_loop(0, count, update, carry))
    carry = params, optimizer.init(params)

    def run(count: int) -> float:
        nonlocal carry
        began = time.perf_counter()
        carry = train_for(carry, jnp.int32(count))
        jax.block_until_ready(carry)
        return time.perf_counter() - began

    return run
