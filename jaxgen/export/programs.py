"""Functions of a trained model as serialized JAX programs, for any batch size, on CPU, GPU and TPU.

    serve = jax.export.deserialize(bytearray(Path("decode.jax").read_bytes()))    # jax alone, no jaxgen
    images = serve.call(codes)                                                    # weights inside
    images = serve.call(safetensors.numpy.load_file("weights.safetensors"), codes)    # weights apart

**Such files expire**: JAX promises to read them for six months. The weights as safetensors (`jaxgen.export.weights`) do
not, and give the same programs again. Serialization needs `flatbuffers`: pip install "jaxgen[export]".

Besides the functions of `jaxgen.export.functions`:

    sample          images from keys (B, 2), uint32, one for each: `jax.random.key_data(jax.random.split(key, B))`
    log_likelihood  log p(x) in nats of bytes (B, H, W, C), estimated with one key for each
    act             greedy actions
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array

from jaxgen import contract
from jaxgen.algorithms import dqn, gan, vae
from jaxgen.contract import Algorithm, Tree
from jaxgen.errors import UserError
from jaxgen.evaluation import likelihood
from jaxgen.export import functions as functions_lib
from jaxgen.export.functions import Function, named

PLATFORMS = ("cpu", "cuda", "tpu")
SAMPLES = 500
"""Codes for each image, by default, with which its likelihood is estimated."""
SUFFIX = ".jax"


def functions(
    algorithm: Algorithm, state: Any, hparams: Any, config: Any, *, samples: int = SAMPLES
) -> dict[str, Function]:
    """All functions that can be exported by name, for a batch of symbolic size."""
    (batch,) = export.symbolic_shape("batch")
    found = functions_lib.functions(algorithm, state, hparams, config, batch)
    more = _MORE.get(contract.name_of(algorithm))
    return found if more is None else {**found, **more(found, hparams, config, batch, samples)}


def exported(function: Function, *, apart: bool = False, platforms: Sequence[str] = PLATFORMS) -> export.Exported:
    """A function as a program that holds the weights or, `apart`, takes them first: arrays by their names."""
    names, structure = list(named(function.weights)), jax.tree.structure(function.weights)

    def separate(weights: dict[str, Any], *inputs: Any) -> Any:
        return function.call(jax.tree.unflatten(structure, [weights[name] for name in names]), *inputs)

    def joined(*inputs: Any) -> Any:
        return function.call(function.weights, *inputs)

    inputs = list(function.inputs.values())
    if not apart:
        return export.export(jax.jit(joined), platforms=tuple(platforms))(*inputs)
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in named(function.weights).items()}
    return export.export(jax.jit(separate), platforms=tuple(platforms))(shapes, *inputs)


def serialized(function: Function, *, apart: bool = False, platforms: Sequence[str] = PLATFORMS) -> bytes:
    """The program as bytes, for `jax.export.deserialize`."""
    try:
        return bytes(exported(function, apart=apart, platforms=platforms).serialize())
    except ImportError as error:
        raise UserError(
            'programs are serialized by flatbuffers, which is not installed: pip install "jaxgen[export]"'
        ) from error


def write(functions: dict[str, Function], folder: Path, *, apart: bool = False) -> list[Path]:
    """Write a file for each function into an existing folder."""
    paths = []
    for name, function in functions.items():
        paths.append(folder / f"{name}{SUFFIX}")
        paths[-1].write_bytes(serialized(function, apart=apart))
    return paths


def _keys(batch: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch, 2), jnp.uint32)


def _normal(keys: Array, size: int) -> Array:
    """A normal vector for each key, given as its data."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.wrap_key_data(key), (size,)))(keys)


def _of_vae(
    found: dict[str, Function], hparams: Any, config: vae.Config, batch: Any, samples: int
) -> dict[str, Function]:
    decode, hparams = found["decode"], jax.tree.map(float, hparams)

    def sample(params: Tree, keys: Array) -> Array:
        return decode.call(params, _normal(keys, config.latent_size))

    def estimate(params: Tree, image: Array, key: Array) -> Array:
        random = jax.random.wrap_key_data(key)
        blocks = likelihood.log_likelihood(params, image[None], random, samples, hparams, config).blocks[0]
        return jax.nn.logsumexp(blocks) - jnp.log(float(likelihood.BLOCKS))

    def log_likelihood(params: Tree, images: Array, keys: Array) -> Array:
        return jax.vmap(partial(estimate, params))(images, keys)

    images = jax.ShapeDtypeStruct((batch, *config.image_shape), jnp.uint8)
    return {
        "sample": Function(sample, decode.weights, {"keys": _keys(batch)}),
        "log_likelihood": Function(log_likelihood, decode.weights, {"images": images, "keys": _keys(batch)}),
    }


def _of_gan(
    found: dict[str, Function], hparams: Any, config: gan.Config, batch: Any, samples: int
) -> dict[str, Function]:
    generate = found["generate"]
    classes = {name: shape for name, shape in generate.inputs.items() if name == "classes"}

    def sample(weights: Tree, keys: Array, *classes: Array) -> Array:
        return generate.call(weights, _normal(keys, config.noise_size), *classes)

    return {"sample": Function(sample, generate.weights, {"keys": _keys(batch), **classes})}


def _of_dqn(
    found: dict[str, Function], hparams: Any, config: dqn.Config, batch: Any, samples: int
) -> dict[str, Function]:
    values = found["values"]
    return {"act": Function(partial(dqn.act, config=config), values.weights, values.inputs)}


_MORE: dict[str, Callable[[dict[str, Function], Any, Any, Any, int], dict[str, Function]]] = {
    vae.__name__: _of_vae,
    gan.__name__: _of_gan,
    dqn.__name__: _of_dqn,
}
