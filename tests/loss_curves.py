"""Loss curves of the flower VAE by both forms of its wide convolutions: Winograd's, and one direct matrix product.

    python tests/loss_curves.py --side 56                            # procedural flowers
    python tests/loss_curves.py --side 56 --folder FLOWERS           # photographs

Their rounding differs about tenfold; training must not show it. Prints each seed's mean loss over the last tenth of the
steps, in nats per image.
"""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tyro

import jaxgen as jg
from jaxgen.algorithms import vae
from jaxgen.data import DataSettings
from jaxgen.nets.ops import conv
from jaxgen.runs import machine

FORMS = {"Winograd": conv._FEW, "direct": 1_000_000}
"""Most channels for which a layer is computed directly."""


def record(out: Path | None, **row) -> None:
    """Append a row to a file, if one is wanted, as `docs/collect.py` reads it."""
    if out is not None:
        on = f"{machine.model()}, {machine.cores()} cores, jax {jax.__version__}"
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, "machine": on}) + "\n")


def main(
    side: int = 80,
    steps: int = 1_000,
    seeds: int = 3,
    batch_size: int = 8,
    folder: Path | None = None,
    out: Path | None = None,
) -> None:
    """Train and print."""
    data = jg.data.load(DataSettings("folder", path=folder, size=side) if folder else DataSettings("petals", size=side))
    config = vae.Config(
        net="flower", image_shape=(side, side, 3), latent_size=10, posterior="full", rate="sampled",
        optimizer="adamax", batch_size=batch_size,
    )  # fmt: skip
    hparams, last = vae.HParams(learning_rate=3e-4, beta=0.0006), max(1, steps // 10)
    losses: dict[str, list[np.ndarray]] = {}
    for form, few in FORMS.items():
        conv._FEW = few
        jax.clear_caches()
        run = jax.jit(partial(jg.train, vae, config=config, steps=steps))
        for seed in range(seeds):
            losses.setdefault(form, []).append(np.asarray(run(jax.random.key(seed), hparams, data.train)[1]["loss"]))
            end = float(losses[form][-1][-last:].mean())
            print(f"{form}, seed {seed}: {end:.1f} nats", flush=True)
            record(out, name=form, seed=seed, loss=end)
    for form, curves in losses.items():
        ends = [curve[-last:].mean() for curve in curves]
        print(f"{form}: {np.mean(ends):.1f} +- {np.std(ends, ddof=1):.1f} nats over {seeds} seeds")
    for count in (10, 100, steps):
        apart = [np.abs(a - b)[:count].max() / a[0] for a, b in zip(*losses.values(), strict=True)]
        print(f"largest difference within {count} steps: {max(apart):.1e} of the first loss")
        record(out, name=f"largest difference within {count} steps", of_first_loss=float(max(apart)))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
