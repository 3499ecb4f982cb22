"""The functions of a trained model that other programs need: pixels in [0, 1] and random draws are inputs.

    autoencoder   encode(images) -> codes                      decode(codes) -> images
    vae           encode(images) -> mean, scale                decode(codes) -> images
                  terms(images, noise) -> distortion, rate, image
    gan           generate(noise, classes) -> images           discriminate(images, classes) -> logit
    dqn           values(observations) -> action values

Every input has a leading axis, the batch. The scale of a VAE's posterior is a standard deviation for each latent or,
with full covariance, a lower triangle. Classes are one-hot rows and left out without conditioning. Computations are in
float32, whatever the training's were.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxgen import contract, distributions
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.algorithms.gan import players
from jaxgen.algorithms.vae import objectives
from jaxgen.contract import Algorithm, Tree
from jaxgen.errors import UserError
from jaxgen.export import plain
from jaxgen.rl import environments


class Function(NamedTuple):
    """`call(weights, *inputs)`, which returns an array or a dictionary of arrays."""

    call: Callable[..., Any]
    weights: Tree
    inputs: Mapping[str, jax.ShapeDtypeStruct]
    """By name, with the batch size asked for."""


def functions(algorithm: Algorithm, state: Any, hparams: Any, config: Any, batch: Any = 1) -> dict[str, Function]:
    """The functions of a trained state by name, for batches of `batch`."""
    name = contract.name_of(algorithm)
    if not is_known(algorithm):
        raise UserError(
            f"{name} has no functions that are known here: trace its own with jaxgen.export.plain.trace, for "
            f"{', '.join(sorted(_KNOWN))} they are"
        )
    return _KNOWN[name](state, hparams, config, batch)


def is_known(algorithm: Algorithm) -> bool:
    """Whether `functions` knows the algorithm."""
    return contract.name_of(algorithm) in _KNOWN


def named(weights: Tree) -> dict[str, Any]:
    """The leaves of a tree of weights by their paths, as files and scripts name them."""
    leaves = jax.tree_util.tree_leaves_with_path(weights)
    return {plain.path_name(path) or "weights": leaf for path, leaf in leaves}


def programs(algorithm: Algorithm, state: Any, hparams: Any, config: Any) -> list[plain.Program]:
    """The functions as plain programs for a batch of one."""
    found = functions(algorithm, state, hparams, config)
    return [plain.trace(name, function.call, function.weights, function.inputs) for name, function in found.items()]


def _floats(*shape: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _autoencoder(state: Any, hparams: Any, config: autoencoder.Config, batch: Any) -> dict[str, Function]:
    config = replace(config, dtype="float32")

    def encode(params: Tree, images: Array) -> Array:
        codes: Array = autoencoder.encoder(config).apply({"params": params["encoder"]}, images)
        return codes

    images = {"images": _floats(batch, *config.image_shape)}
    codes = {"codes": _floats(batch, config.code_size)}
    decode = partial(autoencoder.decode, config=config)
    return {
        "encode": Function(encode, state.params, images),
        "decode": Function(decode, state.params, codes),
    }


def _vae(state: Any, hparams: Any, config: vae.Config, batch: Any) -> dict[str, Function]:
    config = replace(config, dtype="float32")
    images = {"images": _floats(batch, *config.image_shape)}
    codes = _floats(batch, config.latent_size)
    hparams = jax.tree.map(float, hparams)
    return {
        "encode": Function(partial(_posterior, config=config), state.params, images),
        "decode": Function(partial(vae.decode, config=config), state.params, {"codes": codes}),
        "terms": Function(partial(_terms, hparams=hparams, config=config), state.params, {**images, "noise": codes}),
    }


def _posterior(params: Tree, images: Array, config: vae.Config) -> dict[str, Array]:
    numbers = objectives.posterior_params(params, images, config)
    if config.posterior == "diagonal":
        marginals = distributions.marginal_posteriors(numbers)
        return {"mean": marginals.mean(), "scale": marginals.stddev()}
    latents = config.latent_size
    triangles = jax.vmap(partial(distributions.scale_triangle, latents=latents))(numbers[:, latents:])
    return {"mean": numbers[:, :latents], "scale": triangles}


def _terms(params: Tree, images: Array, noise: Array, hparams: Any, config: vae.Config) -> dict[str, Array]:
    """Distortion and rate in nats for one code of each image, mean + scale noise, and the image it decodes to."""
    numbers = objectives.posterior_params(params, images, config)

    def code(numbers: Array, noise: Array) -> Array:
        return distributions.reparameterized(distributions.posterior(config.posterior, numbers), noise)[0]

    codes = jax.vmap(code)(numbers, noise)
    return {
        "distortion": objectives.distortions(params, codes[:, None], images, hparams, config)[:, 0],
        "rate": jax.vmap(partial(distributions.kl, config.posterior))(numbers),
        "image": vae.decode(params, codes, config),
    }


def _gan(state: Any, hparams: Any, config: gan.Config, batch: Any) -> dict[str, Function]:
    config = replace(config, dtype="float32")
    classes = {"classes": _floats(batch, config.classes)} if config.classes else {}

    def generate(weights: Tree, noise: Array, classes: Array | None = None) -> Array:
        return (players.generate(weights["generator"], noise, classes, None, config) + 1) / 2

    def discriminate(weights: Tree, images: Array, classes: Array | None = None) -> Array:
        params, vectors = weights["discriminator"], weights["spectral"]
        return players.discriminate(params, vectors, 2 * images - 1, classes, None, config)[0]

    generator = {"generator": gan.weights(state, config)}
    discriminator = {"discriminator": state.params["discriminator"], "spectral": state.spectral}
    noise, images = _floats(batch, config.noise_size), _floats(batch, *config.image_shape)
    return {
        "generate": Function(generate, generator, {"noise": noise, **classes}),
        "discriminate": Function(discriminate, discriminator, {"images": images, **classes}),
    }


def _dqn(state: Any, hparams: Any, config: dqn.Config, batch: Any) -> dict[str, Function]:
    shape = environments.make(config.environment).observation_shape
    return {
        "values": Function(partial(dqn.values, config=config), state.params, {"observations": _floats(batch, *shape)})
    }


_KNOWN: dict[str, Callable[[Any, Any, Any, Any], dict[str, Function]]] = {
    autoencoder.__name__: _autoencoder,
    vae.__name__: _vae,
    gan.__name__: _gan,
    dqn.__name__: _dqn,
}
