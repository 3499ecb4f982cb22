"""Small cases of every algorithm and variant; run as a script, prints the metrics of three steps of some of them."""

import json
import sys
from functools import partial
from typing import Any, NamedTuple

import jax
import test_autoencoder
import test_dqn
import test_gan
import test_vae

from jaxgen.algorithms import autoencoder, dqn, gan, vae


class Case(NamedTuple):
    algorithm: Any
    config: Any
    hparams: Any
    batch: Any


CASES = {
    "ae dense": Case(autoencoder, test_autoencoder.DENSE, test_autoencoder.HP, test_autoencoder.batch()),
    "ae conv": Case(autoencoder, test_autoencoder.CONV, test_autoencoder.HP, test_autoencoder.batch()),
    **{
        f"vae {name}": Case(vae, test_vae.variant(name), test_vae.numbers(free_bits=0.1), test_vae.batch())
        for name in test_vae.VARIANTS
    },
    **{
        f"gan {name}": Case(gan, getattr(test_gan, name.upper()), test_gan.HP, test_gan.batch())
        for name in ("plain", "small", "full", "alternating")
    },
    "dqn plain": Case(dqn, test_dqn.TINY, test_dqn.ENOUGH, dqn.Batch()),
    "dqn everything": Case(dqn, test_dqn.EVERYTHING, test_dqn.ENOUGH, dqn.Batch()),
}
STEPS = 3


def metrics_of(case: Case) -> dict[str, list[float]]:
    """Each metric of the first `STEPS` steps, in one program."""
    algorithm, config, hparams, batch = case

    @jax.jit
    def train(key):
        def step(state, t):
            return algorithm.step(state, batch, jax.random.fold_in(key, t), hparams, config)

        return jax.lax.scan(step, algorithm.init(key, hparams, config), jax.numpy.arange(STEPS))[1]

    return {name: values.tolist() for name, values in train(jax.random.key(0)).items()}


def abstract_state(case: Case) -> Any:
    return jax.eval_shape(partial(case.algorithm.init, config=case.config), jax.random.key(0), case.hparams)


if __name__ == "__main__":
    print(json.dumps({name: metrics_of(CASES[name]) for name in sys.argv[1:]}))
