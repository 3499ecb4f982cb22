"""Bounds on log p(x) of a latent-variable model, and their terms.

With w = p(x, z) / q(z | x), z ~ q: ELBO = E[log w] (Kingma & Welling, 2013), importance-weighted bound
E[log mean_k w_k] (Burda, Grosse & Salakhutdinov, 2015). Everything is in nats per image.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

Estimator = Literal["weighted", "stratified"]


def importance_weighted(log_weights: Float[Array, "b k"]) -> Float[Array, " b"]:
    """log mean_k w_k for each image; with k = 1 the ELBO's one-sample estimate."""
    return jax.nn.logsumexp(log_weights, axis=-1) - math.log(log_weights.shape[-1])


@jax.custom_vjp
def doubly_reparameterized(codes: Float[Array, "b k d"]) -> tuple[Float[Array, "b k d"], Float[Array, "b k"]]:
    """The codes, and zeros to add to the log weights, which give `importance_weighted` the DReG gradient.

    The gradient through code k is multiplied by its normalized weight, so that the encoder's becomes
    sum_k w_k^2 d log w_k / dz_k dz_k / dphi (Tucker et al., 2019, eq. 8; q's density in w must not carry a gradient to
    its parameters). The weight is the cotangent of the zeros.
    """
    return codes, jnp.zeros(codes.shape[:-1])


def _forward(codes: Array) -> tuple[tuple[Array, Array], None]:
    return doubly_reparameterized(codes), None


def _backward(_: None, cotangents: tuple[Array, Array]) -> tuple[Array]:
    to_codes, to_zeros = cotangents
    total = to_zeros.sum(axis=-1, keepdims=True)  # zero for an image that is not in the loss
    weights = to_zeros / jnp.where(total == 0, 1, total)
    return (to_codes * weights[..., None],)


doubly_reparameterized.defvjp(_forward, _backward)


def free_bits(
    kls: Float[Array, "b d"], floor: Float[Array, ""] | float, axis_name: str | None = None
) -> Float[Array, " b"]:
    """sum_j max(floor, mean over the batch of KL_j), spread over the images (Kingma et al., 2016, eq. 15).

    A latent whose mean KL is below the floor counts as `floor` for every image, and so has no gradient.
    """
    means = kls.mean(axis=0)
    if axis_name is not None:
        means = lax.pmean(means, axis_name)
    above = jnp.broadcast_to(means >= floor, kls.shape)
    return jnp.where(above, kls, floor).sum(axis=-1)


def warm_up(weight: Float[Array, ""] | float, step: Array, steps: Float[Array, ""] | float) -> Float[Array, ""]:
    """`weight`, reached linearly from 0 over the first `steps` updates; at once if `steps` is 0."""
    return weight * jnp.minimum(1.0, jnp.float32(step + 1) / jnp.maximum(steps, 1.0))


class Decomposition(NamedTuple):
    """The rate log q(z | x) - log p(z) in three terms that sum to it, each (b,)."""

    mutual_information: Float[Array, " b"]
    total_correlation: Float[Array, " b"]
    dimension_wise: Float[Array, " b"]


def decompose(
    log_pairs: Float[Array, "b n d"],
    own: Bool[Array, "b n"],
    log_prior: Float[Array, " b"],
    estimator: Estimator,
    examples: int,
) -> Decomposition:
    """The rate's terms from log q(z_ij | x_m) of every code i, batch image m, latent j (Chen et al., 2018, eq. 2).

    `own` marks the image m that code i was drawn for. The aggregate posterior over all `examples` images is estimated
    from the batch: weighted is their eq. 5, stratified their appendix C.1.
    """
    weights = log_importance_weights(own, estimator, examples)
    joint = jax.nn.logsumexp(log_pairs.sum(axis=-1) + weights, axis=1)
    marginals = jax.nn.logsumexp(log_pairs + weights[..., None], axis=1).sum(axis=-1)
    given = jnp.where(own, log_pairs.sum(axis=-1), 0).sum(axis=1)
    return Decomposition(given - joint, joint - marginals, marginals - log_prior)


def log_importance_weights(own: Bool[Array, "b n"], estimator: Estimator, examples: int) -> Float[Array, "b n"]:
    """Log weight of each batch image in the estimate of q(z) at each code."""
    batch = own.shape[1]
    if estimator == "weighted":
        return jnp.full(own.shape, -math.log(batch * examples))
    others = batch - 1
    following = jnp.roll(own, 1, axis=1)  # one of the others represents all images outside the batch
    weights = jnp.where(own, 1 / examples, jnp.where(following, (examples - others) / (examples * others), 1 / others))
    return jnp.log(weights)
