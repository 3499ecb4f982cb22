"""Ours against others at the same work, interleaved in one run: medians over rounds, and their ratio.

    pip install -e ".[bench]"
    python experiments/benchmark.py train             # training steps of each model, PyTorch and Keras beside ours
    python experiments/benchmark.py startup           # seconds from Enter to the first finished training step

Images are random bytes of MNIST's shape: the work does not depend on what they show. One JSON line a row goes to
`--out`. A peer that is not installed is said and left out.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from jaxgen.engine import cli
from jaxgen.errors import UserError, check_at_least, check_choice

MODELS = ("dense_ae", "conv_ae")
Trainer = Callable[[int], float]


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    what: str = "train"
    """train or startup; may stand alone as the first word."""
    models: tuple[str, ...] = MODELS
    """Rows of `train`."""
    rounds: int = 5
    """Times each implementation is measured, in turn."""
    steps: int = 468
    """Training steps a measurement."""
    out: Path = Path("benchmark.jsonl")
    """File the JSON lines are appended to."""


def _images(count: int = 60_000) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)


def _autoencoder_config(model: str) -> Any:
    from jaxgen.algorithms import autoencoder

    if model == "dense_ae":
        return autoencoder.Config(), autoencoder.HParams(learning_rate=1e-2)
    return autoencoder.Config(net="conv", optimizer="rmsprop", batch_size=64), autoencoder.HParams()


def ours(model: str, images: np.ndarray) -> dict[str, Trainer]:
    """Our training loop as the engine runs it, and our jitted step called from a Python loop."""
    import jax
    import jax.numpy as jnp

    from jaxgen.algorithms import autoencoder
    from jaxgen.engine import loop

    cfg, hparams = _autoencoder_config(model)
    hp = jax.tree.map(jnp.float32, hparams)
    data = autoencoder.Batch(jax.device_put(images), jnp.zeros(len(images), jnp.int32))
    run_keys, per_epoch = loop.keys(0), len(images) // cfg.batch_size
    start = jax.jit(partial(loop.start, autoencoder, cfg=cfg, metrics=2))
    chunk = jax.jit(partial(loop.run_chunk, algorithm=autoencoder, cfg=cfg, log_every=100, rows=128), donate_argnums=0)
    step = jax.jit(partial(autoencoder.step, cfg=cfg), donate_argnums=0)
    carries = {"chunk": start(run_keys.init, hp), "loop": start(run_keys.init, hp)}

    def in_chunk(steps: int) -> float:
        began = time.perf_counter()
        for first in range(0, steps, per_epoch):
            last = min(steps, first + per_epoch)
            carry, rows = chunk(carries["chunk"], run_keys, hp, data, jnp.int32(first), jnp.int32(last))
            carries["chunk"] = carry
        jax.block_until_ready(rows)
        return time.perf_counter() - began

    def in_loop(steps: int) -> float:
        state = carries["loop"].state
        began = time.perf_counter()
        order = np.random.default_rng(0).permutation(len(images))
        for t in range(steps):
            index = order[(t * cfg.batch_size) % (len(images) - cfg.batch_size) :][: cfg.batch_size]
            batch = jax.tree.map(lambda leaf, index=index: leaf[index], data)
            state, metrics = step(state, batch, run_keys.step, hp)
        jax.block_until_ready(metrics)
        carries["loop"] = carries["loop"]._replace(state=state)
        return time.perf_counter() - began

    return {"ours": in_chunk, "our step in a Python loop": in_loop}


def peers(model: str, images: np.ndarray) -> dict[str, Trainer]:
    """The other side's trainers that can be had here."""
    net, batch_size = ("dense", 128) if model == "dense_ae" else ("conv", 64)
    found: dict[str, Trainer] = {}
    try:
        from peers import pytorch

        make = partial(pytorch.autoencoder_trainer, net, images, batch_size)
        found["PyTorch eager"] = make(channels_last=False, compiled=False)
        if net == "conv":
            found["PyTorch eager, channels last"] = make(channels_last=True, compiled=False)
        found["PyTorch compiled"] = make(channels_last=False, compiled=True)
    except ImportError as error:
        print(f"PyTorch is left out: {error}")
    try:
        from peers import keras

        found["Keras"] = keras.autoencoder_trainer(net, images, batch_size)
    except ImportError as error:
        print(f"Keras is left out: {error}")
    return found


def interleave(trainers: dict[str, Trainer], steps: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of each trainer, `rounds` times in turn after one warm-up; one that fails is left out."""
    times: dict[str, list[float]] = {}
    for name, run in trainers.items():
        try:
            run(max(10, steps // 10))
            times[name] = []
        except Exception as error:  # a peer's own trouble (no compiler for torch.compile, say) ends only its row
            if name.startswith("our"):
                raise
            print(f"{name} is left out: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
    for _ in range(rounds):
        for name in times:
            times[name].append(trainers[name](steps) / steps * 1e3)
    return times


def train(settings: Settings) -> list[dict[str, Any]]:
    """One row a model and peer."""
    rows = []
    images = _images()
    for model in settings.models:
        times = interleave({**ours(model, images), **peers(model, images)}, settings.steps, settings.rounds)
        mine = times["ours"]
        for peer, theirs in times.items():
            if peer == "ours":
                continue
            row = {
                "name": model,
                "ours_ms": round(median(mine), 4),
                "peer": peer,
                "peer_ms": round(median(theirs), 4),
                "ratio": round(median(theirs) / median(mine), 3),
                "ratios": [round(b / a, 3) for a, b in zip(mine, theirs, strict=True)],
                "rounds": settings.rounds,
            }
            rows.append(row)
            spread = f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}"
            print(
                f"{model:10} ours {row['ours_ms']:8.3f} ms  {peer:30} {row['peer_ms']:8.3f} ms  "
                f"x{row['ratio']:.2f} ({spread})"
            )
    return rows


def startup(settings: Settings) -> list[dict[str, Any]]:
    """Seconds of a whole process that makes one training step, with an empty and a filled compilation cache."""
    rows = []
    scripts = {"dense_ae": "ae_mnist", "conv_ae": "conv_ae_mnist"}
    for model in settings.models:
        for cache in ("cold", "warm"):
            seconds = []
            for _ in range(settings.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    environment = {**os.environ}
                    if cache == "cold":
                        environment["JAX_COMPILATION_CACHE_DIR"] = folder
                    script = str(Path(__file__).with_name(f"{scripts[model]}.py"))
                    command = [sys.executable, "-c", _FIRST_STEP, script, folder]
                    began = time.perf_counter()
                    done = subprocess.run(command, env=environment, capture_output=True, text=True)
                    seconds.append(time.perf_counter() - began)
                    if done.returncode:
                        raise UserError(f"{script} failed: {done.stderr.strip().splitlines()[-1]}")
            rows.append({"name": f"startup {model} {cache}", "seconds": round(median(seconds), 2), "all": seconds})
            print(f"{model:10} {cache}: {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    return rows


_FIRST_STEP = """
import os, runpy, sys
script, folder = sys.argv[1:]
from jaxgen.engine import train
def stop(*_): os._exit(0)
train._check_finite = stop  # called when the first chunk has come back
sys.argv = [script, "--data.source", "digits", "--run.root", folder, "--run.chunk-steps", "1"]
runpy.run_path(script, run_name="__main__")
sys.exit("the run ended before its first step")
"""


def main(settings: Settings) -> None:
    """Measures and appends the rows to the file."""
    check_choice("what", settings.what, ("train", "startup"))
    check_at_least("rounds", settings.rounds, 1)
    check_at_least("steps", settings.steps, 1)
    for model in settings.models:
        check_choice("models", model, MODELS)
    rows = {"train": train, "startup": startup}[settings.what](settings)
    with open(settings.out, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        sys.argv[1:2] = ["--what", sys.argv[1]]
    cli.main(Settings(), main, __doc__)
