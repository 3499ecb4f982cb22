"""Our side of `results` where a number ends the run, as a user of `jaxgen.fit` would write it.

    python -m benchmarks.reaching cartpole SEED

Prints a line of JSON: the number, whether it is reached, and the steps it took.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import dqn_cartpole
import gan_mnist
import jax
import vae_mnist

import jaxgen
from jaxgen import data as data_lib
from jaxgen.algorithms import dqn, gan, vae
from jaxgen.evaluation import classifier, generator
from jaxgen.launch import command_line, devices
from jaxgen.runs.snapshot import Snapshot

RETURN, NEGATIVE_ELBO, FRECHET = 475.0, 100.0, 2.0
"""The numbers to reach: CartPole's mean return (at least), the others (at most)."""
SAMPLES = 10_000


def cartpole(seed: int, epochs: int = 20) -> dict[str, Any]:
    """The preset solve until the mean return of 100 fresh greedy episodes is 475, tried every 5,000 steps."""
    devices.place(None, 1, small_operations=True)
    settings = dqn_cartpole.SOLVE
    return reach(dqn, settings, None, seed, epochs, lambda now: now.rows[-1]["test/return"], lambda it: it >= RETURN)


def vae_to(seed: int, epochs: int = 40, source: str = "mnist") -> dict[str, Any]:
    """784-500-20, Adam 1e-3, batch 128, until the test split's negative ELBO is 100, tried every epoch."""
    data = data_lib.load(source)
    return reach(
        vae, vae_mnist.MLP, data, seed, epochs, lambda now: now.rows[-1]["test/loss"], lambda it: it <= NEGATIVE_ELBO
    )


def frechet(seed: int, epochs: int = 30, source: str = "mnist") -> dict[str, Any]:
    """The preset better until the Frechet distance of 10,000 samples is 2, tried every epoch."""
    data = data_lib.load(source)
    judge = classifier.load(data)

    def score(now: Snapshot) -> float:
        params = gan.weights(now.state, now.config)

        def sample(key: jax.Array) -> jax.Array:
            return gan.sample(params, key, SAMPLES, now.config)

        return float(generator.evaluate(sample, data, judge, 0)["samples"]["frechet_distance"])

    return reach(gan, gan_mnist.BETTER, data, seed, epochs, score, lambda it: it <= FRECHET)


def reach(
    algorithm: Any,
    settings: Any,
    data: Any,
    seed: int,
    epochs: int,
    score: Callable[[Snapshot], float],
    enough: Callable[[float], bool],
) -> dict[str, Any]:
    """Train until an epoch's score is enough, at most for `epochs`."""
    scores = []

    def judged(now: Snapshot) -> bool:
        scores.append(float(score(now)))
        return enough(scores[-1])

    fitted = jaxgen.fit(
        *(algorithm, data),
        **{"config": settings.config, "hparams": settings.hparams, "epochs": epochs, "seed": seed},
        **{"progress": False, "on_evaluation": judged},
    )
    return {"value": scores[-1], "reached": enough(scores[-1]), "steps": fitted.step}


TASKS = {"cartpole": cartpole, "vae": vae_to, "frechet": frechet}


def main(arguments: Sequence[str]) -> None:
    """Do the task, print the line."""
    command_line.keep_freed_memory()
    command_line.use_compilation_cache()
    print(json.dumps(TASKS[arguments[0]](int(arguments[1]))))


if __name__ == "__main__":
    main(sys.argv[1:])
