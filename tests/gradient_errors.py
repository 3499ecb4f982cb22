"""Errors of a fresh flower net's gradient by both forms of its wide convolutions: Winograd's, and one direct product.

    python tests/gradient_errors.py vae                                       # procedural flowers
    python tests/gradient_errors.py gan --folder FLOWERS --out rows.jsonl     # photographs

Prints for each batch the largest error of a gradient's array, relative to its norm in float64, and the array's name.
"""

from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from loss_curves import FORMS, record

import jaxgen as jg
from jaxgen import batching
from jaxgen.algorithms import gan, vae
from jaxgen.data import DataSettings
from jaxgen.doctor import precise
from jaxgen.engine.loop import named_leaves
from jaxgen.nets.ops import conv


def error(computed, true) -> float:
    """Norm of the difference, relative to the norm of the true array."""
    computed, true = np.asarray(computed, np.float64), np.asarray(true)
    return float(np.linalg.norm(computed - true) / np.linalg.norm(true))


def gradients_of_vae(images, key):
    config = vae.Config(net="flower", image_shape=(80, 80, 3), latent_size=10, posterior="full", rate="sampled")
    hparams = vae.HParams(beta=0.0006)
    params = vae.init(jax.random.key(0), hparams, config).params

    def loss(params, images, key):
        keys = batching.keys(key, len(images))
        return vae.terms(params, images / 255, keys, hparams.beta, hparams, config)[0].loss.mean()

    return jax.grad(loss), (params, images.astype(jnp.float32), key)


def gradients_of_gan(images, key):
    config = gan.Config(net="flower", image_shape=(80, 80, 3), dropout=0.3, batch_size=len(images))
    hparams = gan.HParams(real_target=0.95, fake_target=0.05, generator_target=0.95)
    state = gan.init(jax.random.key(0), hparams, config)

    def gradients(params, images, key):
        draws = gan.draw(key, len(images), config, None)
        return gan.gradients(state._replace(params=params), gan.normalize(images), None, draws, hparams, config)[0]

    return gradients, (state.params, images, key)


GRADIENTS = {"vae": gradients_of_vae, "gan": gradients_of_gan}


def main(
    net: tyro.conf.Positional[Literal["vae", "gan"]],
    batches: int = 4,
    batch_size: int = 8,
    folder: Path | None = None,
    out: Path | None = None,
) -> None:
    """Compute and print."""
    images = jg.data.load(DataSettings("folder", path=folder) if folder else DataSettings("petals")).train.images
    true, arguments = [], []
    for batch in range(batches):
        some = jnp.asarray(np.asarray(images[batch * batch_size : (batch + 1) * batch_size]))
        function, these = GRADIENTS[net](some, jax.random.key(1 + batch))
        arguments.append(these)
        true.append(precise.in_float64(function, *these))
    for form, few in FORMS.items():
        conv._FEW = few
        jax.clear_caches()
        compiled = jax.jit(function)
        for batch in range(batches):
            computed = jax.device_get(compiled(*arguments[batch]))
            errors = named_leaves(jax.tree.map(error, computed, true[batch]))
            name = max(errors, key=errors.__getitem__)
            print(f"{net}, {form}, batch {batch}: {errors[name]:.1e} in {name}", flush=True)
            record(out, name=f"{net}, {form}", batch=batch, error=errors[name], array=name)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
