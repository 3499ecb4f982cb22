"""Adversarial losses from logits of real and generated images, one value per image.

Every loss takes logits (B,) of real images and (B,) of generated ones. It returns the discriminator's terms for both
and the generator's for the generated ones, unreduced, in nats if they are likelihoods. Each player minimizes the mean
of its own terms; no term mixes examples.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Name = Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein"]
Critic = Callable[[Float[Array, "b h w c"]], Float[Array, " b"]]


class Losses(NamedTuple):
    """One value per image."""

    real: Float[Array, " b"]
    """Discriminator loss on real images."""
    fake: Float[Array, " b"]
    """Discriminator loss on generated images."""
    generator: Float[Array, " b"]
    """Generator loss on generated images."""


class Targets(NamedTuple):
    """The target probability of "real" for a Bernoulli discriminator; smoothed labels lie inside (0, 1)."""

    real: float | Array = 1.0
    fake: float | Array = 0.0
    generator: float | Array = 1.0
    """The probability of "real" that the generator aims for."""


PLAIN = Targets()


def _check(real: Array, fake: Array) -> None:
    for name, logits in (("real", real), ("fake", fake)):
        if logits.ndim != 1:
            raise ValueError(f"{name} logits must be one number an image, shape (B,), got {logits.shape}")


def _cross_entropy(logits: Array, target: float | Array) -> Array:
    return jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def minimax(real: Float[Array, " b"], fake: Float[Array, " n"], targets: Targets = PLAIN) -> Losses:
    """-log D(x), -log(1 - D(g)), and exactly the opposite for the generator, log(1 - D(g)).

    Goodfellow et al., Generative adversarial nets, NeurIPS 2014, eq. 1. Smoothed targets apply to both players; the
    generator's own is not used.
    """
    _check(real, fake)
    of_fake = _cross_entropy(fake, targets.fake)
    return Losses(_cross_entropy(real, targets.real), of_fake, -of_fake)


def non_saturating(real: Float[Array, " b"], fake: Float[Array, " n"], targets: Targets = PLAIN) -> Losses:
    """-log D(x), -log(1 - D(g)), and -log D(g); with smoothed targets, the cross-entropies to those."""
    _check(real, fake)
    return Losses(
        _cross_entropy(real, targets.real),
        _cross_entropy(fake, targets.fake),
        _cross_entropy(fake, targets.generator),
    )


def least_squares(real: Float[Array, " b"], fake: Float[Array, " n"], targets: Targets = PLAIN) -> Losses:
    """Half the squared distance of the raw outputs from the targets (Mao et al., ICCV 2017, eq. 9)."""
    _check(real, fake)
    return Losses(
        0.5 * (real - targets.real) ** 2, 0.5 * (fake - targets.fake) ** 2, 0.5 * (fake - targets.generator) ** 2
    )


def hinge(real: Float[Array, " b"], fake: Float[Array, " n"], targets: Targets = PLAIN) -> Losses:
    """max(0, 1 - D(x)), max(0, 1 + D(g)), and -D(g) (Lim & Ye, 2017). Targets are not used."""
    _check(real, fake)
    return Losses(jnp.maximum(1 - real, 0), jnp.maximum(1 + fake, 0), -fake)


def wasserstein(real: Float[Array, " b"], fake: Float[Array, " n"], targets: Targets = PLAIN) -> Losses:
    """-D(x), D(g), and -D(g): needs a critic kept nearly 1-Lipschitz (Arjovsky et al., ICML 2017)."""
    _check(real, fake)
    return Losses(-real, fake, -fake)


LOSSES: dict[str, Callable[..., Losses]] = {
    "minimax": minimax,
    "non_saturating": non_saturating,
    "least_squares": least_squares,
    "hinge": hinge,
    "wasserstein": wasserstein,
}


def _squared_slope(critic: Critic, images: Float[Array, "b h w c"]) -> Float[Array, " b"]:
    """|grad_x D(x)|^2 of each image; the critic mixes no examples, so one pull-back gives all."""
    slopes = jax.grad(lambda x: critic(x).sum())(images)
    return jnp.square(slopes).reshape(images.shape[0], -1).sum(-1)


def r1_penalty(critic: Critic, real: Float[Array, "b h w c"]) -> Float[Array, " b"]:
    """|grad_x D(x)|^2 / 2 at real images (Mescheder et al., ICML 2018, eq. 9, before gamma)."""
    return 0.5 * _squared_slope(critic, real)


def gradient_penalty(
    critic: Critic, real: Float[Array, "b h w c"], fake: Float[Array, "b h w c"], share: Float[Array, " b"]
) -> Float[Array, " b"]:
    """(|grad_x D(x)| - 1)^2 at x = share real + (1 - share) fake (Gulrajani et al., NeurIPS 2017, eq. 3)."""
    if real.shape != fake.shape:
        raise ValueError(f"shapes must be equal, got real {real.shape} and fake {fake.shape}")
    share = share.reshape(-1, 1, 1, 1)
    slope = jnp.sqrt(_squared_slope(critic, share * real + (1 - share) * fake) + 1e-12)  # finite gradient at 0
    return (slope - 1) ** 2
