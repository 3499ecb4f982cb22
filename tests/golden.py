"""Golden numbers: three short steps of every algorithm and variant, pinned.

    python tests/golden.py          # writes tests/golden.json anew

They pin the derivation of keys, the order of data, initialization, losses and optimizers, which decide whether a saved
run continues as the same run. Change them only where numbers are meant to change, and say so in CHANGELOG.
"""

import json
import platform
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.engine.run import train
from jaxgen.runs import machine

FILE = Path(__file__).with_name("golden.json")
STEPS = 6
SMALL = vae.Config(image_shape=(8, 8, 1), examples=20, latent_size=3, widths=(8,), batch_size=8, inputs="binarized")
TINY_GAN = gan.Config(
    image_shape=(8, 8, 1), noise_size=5, generator_widths=(8,), discriminator_widths=(8,), batch_size=8
)
TINY_DQN = dqn.Config(
    envs=4, collect=2, updates=2, batch_size=8, replay_size=64, learning_starts=32, widths=(8,), evaluation_episodes=4
)
CASES: dict[str, tuple[Any, Any]] = {
    "autoencoder dense": (autoencoder, autoencoder.Config(image_shape=(8, 8, 1), widths=(8,), batch_size=8)),
    "autoencoder conv": (
        autoencoder,
        autoencoder.Config(image_shape=(12, 12, 1), net="conv", optimizer="rmsprop", batch_size=8),
    ),
    "vae mlp": (vae, SMALL),
    "vae conv sampled": (
        vae,
        vae.Config(image_shape=(12, 12, 1), net="conv", latent_size=2, rate="sampled", batch_size=8),
    ),
    "vae full logistic": (
        vae,
        vae.Config(
            image_shape=(8, 8, 3), latent_size=3, widths=(8,), posterior="full", likelihood="logistic",
            learn_scale=True, batch_size=8,
        ),
    ),
    "iwae": (vae, vae.Config(image_shape=(8, 8, 1), widths=(8,), objective="iwae", samples=3, batch_size=8)),
    "gan dense": (gan, gan.Config(
        image_shape=(8, 8, 1), noise_size=5, generator_widths=(8,), discriminator_widths=(8,), dropout=0.25,
        batch_size=8,
    )),
    "gan small r1": (
        gan,
        gan.Config(
            image_shape=(8, 8, 1), net="small", noise_size=5, generator_widths=(4, 4), discriminator_widths=(4,),
            penalty="r1", penalty_every=2, ema=True, batch_size=8,
        ),
    ),
    "dqn": (dqn, TINY_DQN),
}  # fmt: skip


def images(shape: tuple[int, ...], count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8), (np.arange(count) % 3).astype(np.int32)


def numbers(name: str) -> dict[str, list[float]]:
    """Each metric of the steps, and each parameter array's sum of absolute values in the end."""
    algorithm, config = CASES[name]
    data = algorithm.Batch() if algorithm is dqn else algorithm.Batch(*map(jnp.asarray, images(config.image_shape)))
    run = jax.jit(partial(train, algorithm, config=config, steps=STEPS))
    state, metrics = run(jax.random.key(0), algorithm.HParams(), data)
    sums = [float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(algorithm.weights(state, config))]
    return {**{metric: np.asarray(values).tolist() for metric, values in metrics.items()}, "weights": sums}


def main() -> None:
    held = {"jax": jax.__version__, "processor": machine.model(), "machine": platform.machine()}
    FILE.write_text(
        json.dumps({"measured with": held, "cases": {name: numbers(name) for name in CASES}}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
