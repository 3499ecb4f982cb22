"""Spectral normalization as a function of parameters: every kernel divided by its largest singular value.

Miyato et al., Spectral normalization for generative adversarial networks, ICLR 2018. One power iteration per call; the
caller keeps its vectors. Layers need no change: they are applied with the returned parameters.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Params = Any
Vectors = dict[str, Float[Array, " _"]]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="-")


def _unit(vector: Array) -> Array:
    return vector / (jnp.linalg.norm(vector) + 1e-12)


def init_vectors(key: Array, params: Params) -> Vectors:
    """A random unit vector for every kernel (leaves of two or more axes, the last one the outputs)."""
    kernels = [(_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params) if leaf.ndim > 1]
    keys = jax.random.split(key, len(kernels))
    return {name: _unit(jax.random.normal(k, leaf.shape[-1:])) for (name, leaf), k in zip(kernels, keys, strict=True)}


def normalize(params: Params, vectors: Vectors) -> tuple[Params, Vectors]:
    """Kernels divided by their estimated largest singular value, and the vectors after one more power iteration.

    Gradients flow through the singular value, not through its vectors.
    """
    updated = {}

    def one(path: Any, leaf: Array) -> Array:
        name = _name(path)
        if name not in vectors:
            return leaf
        matrix = leaf.reshape(-1, leaf.shape[-1])
        left = _unit(lax.stop_gradient(matrix @ vectors[name]))
        right = updated[name] = _unit(lax.stop_gradient(left @ matrix))
        return leaf / (left @ matrix @ right)

    return jax.tree_util.tree_map_with_path(one, params), updated
