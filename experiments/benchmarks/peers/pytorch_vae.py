"""PyTorch counterparts of jaxgen's VAE training steps: the same nets, losses, optimizers, batches and precision."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from benchmarks.peers.pytorch import _Upsample, training
from torch import nn
from torch.nn import functional

Encoded = tuple[torch.Tensor, torch.Tensor]


class Vae(NamedTuple):
    """The parts that differ between the models."""

    encoder: nn.Module
    decoder: nn.Module
    latents: int
    full: bool
    """Posterior with a lower-triangular scale; else diagonal."""
    analytic: bool
    """KL in closed form; else its one-sample estimate."""
    beta: float
    binarize: bool


def mlp() -> Vae:
    """784-500-(20, 20), 20-500-784."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 40))
    decoder = nn.Sequential(nn.Linear(20, 500), nn.ReLU(), nn.Linear(500, 784), nn.Unflatten(1, (1, 28, 28)))
    return Vae(encoder, decoder, 20, False, True, 1.0, True)


def mnist() -> Vae:
    """The chapter's convolutional VAE, 5,285 parameters."""

    def conv(a: int, b: int, padding: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=padding), nn.ReLU()]

    def pool() -> nn.Module:
        return nn.MaxPool2d(2, ceil_mode=True)

    encoder = [*conv(1, 16), pool(), *conv(16, 8), pool(), *conv(8, 8), pool(), nn.Flatten(), nn.Linear(128, 4)]
    decoder = [nn.Linear(2, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)), *conv(8, 8), _Upsample(), *conv(8, 8)]
    decoder += [_Upsample(), *conv(8, 16, padding=0), _Upsample(), nn.Conv2d(16, 1, 3, padding=1)]
    return Vae(nn.Sequential(*encoder), nn.Sequential(*decoder), 2, False, False, 1.0, False)


def flower() -> Vae:
    """The chapter's flower VAE, 2,394,337 parameters."""
    encoder: list[nn.Module] = []
    for a, b, size, stride in ((3, 32, 5, 1), (32, 32, 5, 2), (32, 64, 5, 1), (64, 64, 5, 2), (64, 128, 7, 1)):
        encoder += [nn.Conv2d(a, b, size, stride), nn.LeakyReLU(0.2)]
    encoder += [nn.Flatten(), nn.Linear(8192, 65)]
    decoder: list[nn.Module] = [nn.Linear(10, 8192), nn.ReLU(), nn.Unflatten(1, (128, 8, 8))]
    for a, b, size, stride in ((128, 128, 7, 1), (128, 64, 5, 2), (64, 64, 5, 1), (64, 32, 5, 2), (32, 32, 5, 1)):
        decoder += [nn.ConvTranspose2d(a, b, size, stride, bias=False), nn.LeakyReLU(0.2)]
    decoder += [nn.ConvTranspose2d(32, 3, 4, bias=False)]
    return Vae(nn.Sequential(*encoder), nn.Sequential(*decoder), 10, True, False, 0.0006, False)


def _code(vae: Vae, numbers: torch.Tensor) -> Encoded:
    """One code per image, and its rate."""
    mean, raw = numbers[:, : vae.latents], numbers[:, vae.latents :]
    noise = torch.randn_like(mean)
    if vae.full:
        rows, columns = torch.tril_indices(vae.latents, vae.latents)
        triangle = torch.zeros(len(mean), vae.latents, vae.latents).index_put(
            (torch.arange(len(mean))[:, None], rows, columns), raw
        )
        scale = functional.softplus(triangle.diagonal(dim1=1, dim2=2)) + 1e-5
        triangle = triangle.tril(-1) + torch.diag_embed(scale)
        code = mean + (triangle @ noise[..., None])[..., 0]
    else:
        scale = functional.softplus(raw)
        code = mean + scale * noise
    if vae.analytic:
        return code, (0.5 * (scale**2 + mean**2 - 1) - scale.log()).sum(1)
    return code, (0.5 * (code**2 - noise**2) - scale.log()).sum(1)


def negative_elbo(vae: Vae, x: torch.Tensor) -> torch.Tensor:
    """Mean over images (B, C, H, W) in [0, 1], from one code each, with the rate weighted by beta."""
    code, rate = _code(vae, vae.encoder(x))
    each = functional.binary_cross_entropy_with_logits(vae.decoder(code), x, reduction="none")
    return (each.sum((1, 2, 3)) + vae.beta * rate).mean()


def vae_trainer(
    model: str, images: np.ndarray, batch_size: int, channels_last: bool, compiled: bool
) -> Callable[[int], float]:
    """The second of `trainable`."""
    return trainable(model, images, batch_size, channels_last, compiled)[1]


def trainable(
    model: str, images: np.ndarray, batch_size: int, channels_last: bool, compiled: bool
) -> tuple[nn.ModuleList, Callable[[int], float]]:
    """Encoder and decoder, and a function that makes n updates on bytes (N, H, W, C) and returns the seconds taken.

    model: mlp_vae (binarized inputs, closed-form KL, Adam), mnist_vae or flower_vae (one-sample KL, Adamax).
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    vae = {"mlp_vae": mlp, "mnist_vae": mnist, "flower_vae": flower}[model]()
    nets = nn.ModuleList([vae.encoder, vae.decoder]).to(memory_format=layout)
    optimizer: torch.optim.Optimizer
    if model == "mlp_vae":
        optimizer = torch.optim.Adam(nets.parameters(), lr=1e-3, eps=1e-7)
    else:
        optimizer = torch.optim.Adamax(nets.parameters(), lr=2e-3 if model == "mnist_vae" else 3e-4, eps=1e-7)

    loss_of = partial(negative_elbo, vae)
    loss_function = torch.compile(loss_of) if compiled else loss_of

    def update(batch: torch.Tensor) -> torch.Tensor:
        x = batch.float() / 255
        x = (torch.bernoulli(x) if vae.binarize else x).contiguous(memory_format=layout)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(x)
        loss.backward()
        optimizer.step()
        return loss

    return nets, training(images, batch_size, update)
