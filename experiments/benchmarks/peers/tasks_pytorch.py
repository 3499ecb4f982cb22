"""The tasks of `results` in PyTorch, with jaxgen's nets, losses, optimizers and batches: `TASK SEED FOLDER`."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import torch
from benchmarks.peers import pytorch, pytorch_dqn, pytorch_gan, pytorch_vae, tasks
from matplotlib import pyplot
from torch import nn
from torch.nn import functional

Loss = Callable[[torch.Tensor], torch.Tensor]
EVALUATED = 1_000
"""Images in a batch of an evaluation."""


def _bytes(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def epoch(images: torch.Tensor, batch_size: int, update: Callable[[torch.Tensor], Any]) -> None:
    """One pass in random order, without the remainder that fills no batch."""
    order = torch.randperm(len(images))
    for first in range(0, len(images) - batch_size + 1, batch_size):
        update(images[order[first : first + batch_size]])


def updates(optimizer: torch.optim.Optimizer, loss_of: Loss) -> Callable[[torch.Tensor], None]:
    """A function that makes one update on a batch."""

    def update(batch: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(batch).backward()
        optimizer.step()

    return update


def evaluated(images: torch.Tensor, loss_of: Loss) -> float:
    """Mean loss over the batches of a split."""
    with torch.no_grad():
        return float(np.mean([float(loss_of(batch)) for batch in images.split(EVALUATED)]))


def autoencoder(seed: int, folder: str, epochs: int = 5, rate: float = 1e-2) -> dict[str, Any]:
    """The chapter's dense autoencoder and its test loss in nats per image."""
    splits = {name: _bytes(part) for name, part in tasks.images(folder, "mnist").items()}
    return {"value": trained_autoencoder(splits, seed, epochs, rate), "reached": True}


def trained_autoencoder(splits: dict[str, torch.Tensor], seed: int, epochs: int, rate: float) -> float:
    """Test loss after training."""
    torch.manual_seed(seed)
    model = pytorch.dense_autoencoder()
    optimizer = torch.optim.Adamax(model.parameters(), lr=rate, eps=1e-7)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        x = batch.float() / 255
        return functional.binary_cross_entropy_with_logits(model(x), x, reduction="none").sum((1, 2, 3)).mean()

    update = updates(optimizer, loss_of)
    for _ in range(epochs):
        epoch(splits["train"], 128, update)
    return evaluated(splits["test"], loss_of)


def sweep(seed: int, folder: str) -> dict[str, Any]:
    """64 autoencoders of one epoch, one after the other; the best test loss."""
    splits = {name: _bytes(part) for name, part in tasks.images(folder, "mnist").items()}
    losses = [trained_autoencoder(splits, seed + member, 1, float(rate)) for rate, member in tasks.MEMBERS]
    return {"value": min(losses), "reached": True}


def vae(seed: int, folder: str, epochs: int = 40) -> dict[str, Any]:
    """784-500-20 until the test split's negative ELBO is low enough, tried every epoch."""
    torch.manual_seed(seed)
    splits = {name: _bytes(part) for name, part in tasks.images(folder, "mnist").items()}
    parts = pytorch_vae.mlp()
    nets = nn.ModuleList([parts.encoder, parts.decoder])
    optimizer = torch.optim.Adam(nets.parameters(), lr=1e-3, eps=1e-7)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        return pytorch_vae.negative_elbo(parts, torch.bernoulli(batch.float() / 255))

    update = updates(optimizer, loss_of)
    for _ in range(epochs):
        epoch(splits["train"], 128, update)
        value = evaluated(splits["test"], loss_of)
        if value <= tasks.NEGATIVE_ELBO:
            break
    return {"value": value, "reached": value <= tasks.NEGATIVE_ELBO}


def gan(seed: int, folder: str, epochs: int = 20) -> dict[str, Any]:
    """The chapter's dense GAN and a sheet of samples."""
    torch.manual_seed(seed)
    images = tasks.images(folder, "mnist")["train"]
    generator, run = pytorch_gan.trainable("dense_gan", images, 128, channels_last=False, compiled=False)
    run(epochs * (len(images) // 128))
    with torch.no_grad():
        samples = generator(torch.randn(100, pytorch_gan.NOISE))
    _picture([samples[:10].clip(-1, 1) / 2 + 0.5])
    return {"value": None, "reached": True}


def flowers(seed: int, folder: str) -> dict[str, Any]:
    """One epoch of the chapter's flower VAE, and ten pictures above their reconstructions."""
    torch.manual_seed(seed)
    images = tasks.images(folder, "petals")["train"]
    nets, run = pytorch_vae.trainable("flower_vae", images, 20, channels_last=True, compiled=False)
    run(len(images) // 20)
    with torch.no_grad():
        x = _bytes(images[:10]).float() / 255
        code = nets[0](x)[:, :10]
        _picture([x, nets[1](code).sigmoid()])
    return {"value": None, "reached": True}


def _picture(rows: list[torch.Tensor]) -> None:
    """Images in [0, 1] (B, C, H, W), a row each, as a PNG file."""
    figure, axes = pyplot.subplots(len(rows), len(rows[0]), squeeze=False, figsize=(len(rows[0]), len(rows)))
    for line, row in zip(axes, rows, strict=True):
        for place, image in zip(line, row, strict=True):
            place.imshow(image.permute(1, 2, 0).numpy().squeeze(), cmap="gray")
            place.axis("off")
    with tempfile.TemporaryDirectory() as folder:
        figure.savefig(Path(folder, "picture.png"))


TASKS = {
    "cartpole": pytorch_dqn.solve,
    "vae": vae,
    "autoencoder": autoencoder,
    "gan": gan,
    "flowers": flowers,
    "sweep": sweep,
}

if __name__ == "__main__":
    tasks.main(TASKS)
