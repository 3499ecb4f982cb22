"""PyTorch counterparts of jaxgen's GAN steps: the same nets, losses, optimizers, batches, dropout and precision."""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from benchmarks.peers.pytorch import training
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

NOISE = 100
DROPOUT = 0.3
"""Dropout rate of the flower nets."""


def dense_gan() -> tuple[nn.Module, nn.Module]:
    """100-200-200-784 with tanh, and 784-200-100-1: 217,984 and 177,201 parameters."""

    def layers(*widths: int) -> list[nn.Module]:
        pairs = itertools.pairwise(widths)
        return [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.LeakyReLU(0.3))][:-1]

    generator = nn.Sequential(*layers(NOISE, 200, 200, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
    return generator, nn.Sequential(nn.Flatten(), *layers(784, 200, 100, 1), nn.Flatten(0))


class _SameConv(nn.Conv2d):
    """Stride 2 with TensorFlow's "same" padding of an even side: one more zero at the end for kernels 3 and 5."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=2)
        low = (kernel - 2) // 2
        self._pads = (low, kernel - 2 - low) * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(x, self._pads))


def flower_gan() -> tuple[nn.Module, nn.Module]:
    """The chapter's nets for 80x80x3: 6,443,712 and 530,561 parameters."""

    def after() -> list[nn.Module]:
        return [nn.LeakyReLU(0.3), nn.Dropout(DROPOUT)]

    def up(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
        return nn.ConvTranspose2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, output_padding=stride - 1, bias=False
        )

    generator = nn.Sequential(
        *[nn.Linear(NOISE, 51_200, bias=False), *after(), nn.Unflatten(1, (128, 20, 20))],
        *[up(128, 256, 3, 1), *after(), up(256, 128, 5, 1), *after(), up(128, 64, 5, 2), *after()],
        *[up(64, 3, 5, 2), nn.Tanh()],
    )
    discriminator = nn.Sequential(
        *[_SameConv(3, 64, 5), *after(), _SameConv(64, 128, 5), *after(), _SameConv(128, 256, 3), *after()],
        *[nn.Flatten(), nn.Linear(25_600, 1), nn.Flatten(0)],
    )
    return generator, discriminator


def gan_trainer(
    model: str, images: np.ndarray, batch_size: int, channels_last: bool, compiled: bool
) -> Callable[[int], float]:
    """The second of `trainable`."""
    return trainable(model, images, batch_size, channels_last, compiled)[1]


def trainable(
    model: str, images: np.ndarray, batch_size: int, channels_last: bool, compiled: bool
) -> tuple[nn.Module, Callable[[int], float]]:
    """The generator, and a function that makes n updates of both on bytes (N, H, W, C) and returns the seconds taken.

    One forward pass of the generator, one of the discriminator over real and generated images together; two backward.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    made = dense_gan() if model == "dense_gan" else flower_gan()
    generator, discriminator = (net.to(memory_format=layout).train() for net in made)
    smoothing = 0.0 if model == "dense_gan" else 0.05
    real_label, fake_label = torch.full((batch_size,), 1 - smoothing), torch.full((batch_size,), smoothing)
    labels = torch.cat([real_label, fake_label])
    optimizers = [torch.optim.RMSprop(net.parameters(), lr=1e-4, alpha=0.9, eps=1e-7) for net in made]
    of_generator, of_discriminator = (list(net.parameters()) for net in (generator, discriminator))

    def losses_of(real: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = discriminator(torch.cat([real, generator(noise)]))
        of_both = 2 * binary_cross_entropy_with_logits(logits, labels)
        return binary_cross_entropy_with_logits(logits[batch_size:], real_label), of_both

    losses_function = torch.compile(losses_of) if compiled else losses_of

    def update(batch: torch.Tensor) -> torch.Tensor:
        real = (batch.float() / 127.5 - 1).contiguous(memory_format=layout)
        generator_loss, discriminator_loss = losses_function(real, torch.randn(batch_size, NOISE))
        grads = torch.autograd.grad(generator_loss, of_generator, retain_graph=True)
        grads += torch.autograd.grad(discriminator_loss, of_discriminator)
        for parameter, grad in zip(of_generator + of_discriminator, grads, strict=True):
            parameter.grad = grad
        for optimizer in optimizers:
            optimizer.step()
        return generator_loss

    return generator, training(images, batch_size, update)
