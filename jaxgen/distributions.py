"""The distributions of a latent-variable model: posterior, prior and likelihood, with explicit event dimensions.

The only module that uses distrax: it turns the nets' raw outputs into distributions.
"""

import functools
import math
import sys
import warnings
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.losses import reconstruction

Distribution = Any
Family = Literal["diagonal", "full"]
Likelihood = Literal["bernoulli", "gaussian", "logistic"]

SHIFT = 1e-5
"""Added to the diagonal of a triangular scale to keep it invertible."""


@functools.cache
def _distrax() -> Any:
    """distrax, imported on first use: it takes 0.5 s, which other runs should not pay.

    It imports TensorFlow without using it; hiding TensorFlow during the import saves 4 s.
    """
    hidden = sys.modules.pop("tensorflow", None)
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its dependencies' warnings about one another
            import distrax
    finally:
        del sys.modules["tensorflow"]
        if hidden is not None:
            sys.modules["tensorflow"] = hidden
    return distrax


def posterior_outputs(family: Family, latents: int) -> int:
    """Number of encoder outputs for a posterior over `latents` latents."""
    return 2 * latents if family == "diagonal" else latents + latents * (latents + 1) // 2


def _latents(family: Family, outputs: int) -> int:
    return outputs // 2 if family == "diagonal" else (math.isqrt(9 + 8 * outputs) - 3) // 2


def _diagonal(outputs: Float[Array, "*b n"]) -> tuple[Float[Array, "*b d"], Float[Array, "*b d"]]:
    mean, raw_scale = jnp.split(outputs, 2, axis=-1)
    return mean, jax.nn.softplus(raw_scale)


def marginal_posteriors(outputs: Float[Array, "*b n"]) -> Distribution:
    """A diagonal posterior's independent factors: batch shape (*b, d), no event axis."""
    return _distrax().Normal(*_diagonal(outputs))


def scale_triangle(raw: Float[Array, " m"], latents: int) -> Float[Array, "d d"]:
    """m = d (d + 1) / 2 numbers as a lower triangle with a positive diagonal."""
    triangle = jnp.zeros((latents, latents)).at[jnp.tril_indices(latents)].set(raw)
    return jnp.tril(triangle, -1) + jnp.diag(jax.nn.softplus(jnp.diagonal(triangle)) + SHIFT)


def posterior(family: Family, outputs: Float[Array, " n"]) -> Distribution:
    """q(z | x) of one image: no batch axis, event shape (latents,). `jax.vmap` gives a batch of them.

    diagonal: mean and softplus of the scales. full: mean and a lower-triangular scale L, covariance L L^T.
    """
    if family == "diagonal":
        return _distrax().MultivariateNormalDiag(*_diagonal(outputs))
    latents = _latents(family, outputs.shape[-1])
    return _distrax().MultivariateNormalTri(outputs[:latents], scale_triangle(outputs[latents:], latents))


def reparameterized(q: Distribution, noise: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    """z = mean + scale noise for standard normal noise, and log q(z | x), without inverting the scale."""
    z, log_det = q.bijector.forward_and_log_det(noise)
    return z, q.distribution.log_prob(noise) - log_det


def prior(latents: int) -> Distribution:
    """p(z) = N(0, I): no batch axis, event shape (latents,)."""
    return _distrax().MultivariateNormalDiag(jnp.zeros(latents), jnp.ones(latents))


def marginal_kls(family: Family, outputs: Float[Array, " n"]) -> Float[Array, " d"]:
    """KL(q(z_j | x) || p(z_j)) for each latent j; with a diagonal posterior they sum to `kl`."""
    if family == "diagonal":
        marginals = marginal_posteriors(outputs)
    else:
        q = posterior(family, outputs)
        marginals = _distrax().Normal(q.mean(), q.stddev())
    ones = jnp.ones(marginals.batch_shape)
    return marginals.kl_divergence(_distrax().Normal(jnp.zeros_like(ones), ones))


def kl(family: Family, outputs: Float[Array, " n"]) -> Float[Array, ""]:
    """KL(q(z | x) || p(z)) of one image in nats, in closed form."""
    if family == "diagonal":
        return marginal_kls(family, outputs).sum()
    q = posterior(family, outputs)
    return q.kl_divergence(prior(*q.event_shape))


def likelihood(kind: Likelihood, outputs: Float[Array, "b h w c"], scale: Float[Array, ""] | float) -> Distribution:
    """p(x | z) over pixels in [0, 1], batch shape (b,), event shape (h, w, c).

    bernoulli: outputs are logits. gaussian: outputs are means. logistic: outputs are means of a logistic distribution
    rounded to the 256 levels and clipped at both ends; its values are bytes 0..255 (as floats), not in [0, 1].
    """
    distrax = _distrax()
    match kind:
        case "bernoulli":
            pixels = distrax.Bernoulli(logits=outputs)
        case "gaussian":
            pixels = distrax.Normal(outputs, jnp.broadcast_to(scale, outputs.shape))
        case "logistic":  # rounding up after shifting down by half a level rounds to nearest
            levels = distrax.Logistic(255 * outputs - 0.5, jnp.broadcast_to(255 * scale, outputs.shape))
            with jax.numpy_rank_promotion("allow"):  # distrax finds a sample's dtype by broadcasting one
                pixels = distrax.Quantized(levels, 0.0, 255.0)
    return distrax.Independent(pixels, 3)


def negative_log_likelihood(
    kind: Likelihood, outputs: Float[Array, "b h w c"], pixels: Float[Array, "b h w c"], scale: Float[Array, ""] | float
) -> Float[Array, " b"]:
    """-log p(x | z), nats per image, of pixels in [0, 1]: as `likelihood`, by faster formulas where available."""
    match kind:
        case "bernoulli":
            return reconstruction.bernoulli_cross_entropy(outputs, pixels)
        case "gaussian":
            return reconstruction.gaussian_nll(outputs, pixels, scale)
    return -likelihood(kind, outputs, scale).log_prob(jnp.round(255 * pixels))


def mean_image(kind: Likelihood, outputs: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Mean image in [0, 1] for the net's outputs."""
    return jax.nn.sigmoid(outputs) if kind == "bernoulli" else jnp.clip(outputs, 0, 1)
