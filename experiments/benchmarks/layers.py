"""Convolutional layers of the nets for 28x28 and 80x80 images."""

from typing import NamedTuple

from jaxgen.nets.ops.conv import Layout


class Layer(NamedTuple):
    """A convolution of square images, possibly transposed."""

    name: str
    batch: int
    size: int
    channels: int
    kernels: int
    kernel: int
    stride: int
    padding: str
    transposed: bool
    layout: Layout

    @property
    def out(self) -> int:
        """Height and width of the result."""
        if self.transposed:
            return self.size * self.stride + (max(self.kernel - self.stride, 0) if self.padding == "VALID" else 0)
        covered = self.size if self.padding == "SAME" else self.size - self.kernel + 1
        return -(-covered // self.stride)

    @property
    def flops(self) -> int:
        """FLOP of the result and both gradients by definition: 2 for each product of a pixel and a tap."""
        pixels = self.size if self.transposed else self.out
        return 3 * 2 * self.batch * pixels**2 * self.channels * self.kernels * self.kernel**2


def _net(
    net: str,
    batch: int,
    padding: str,
    transposed: bool,
    layout: Layout,
    layers: list[tuple[int, int, int, int, int]],
    first: int = 1,
) -> list[Layer]:
    """Layers of a net, numbered from `first`, given as (size, channels, kernels, kernel, stride)."""
    found = []
    for number, (size, c, k, kernel, stride) in enumerate(layers, first):
        name = f"{net} {number}: {c}->{k} k{kernel} s{stride}"
        found.append(Layer(name, batch, size, c, k, kernel, stride, padding, transposed, layout))
    return found


FLOWERS = [
    *_net(
        *("flower VAE encoder", 20, "VALID", False, "HWNC"),
        [(80, 3, 32, 5, 1), (76, 32, 32, 5, 2), (36, 32, 64, 5, 1), (32, 64, 64, 5, 2), (14, 64, 128, 7, 1)],
    ),
    *_net(
        *("flower VAE decoder", 20, "VALID", True, "HWNC"),
        [
            (8, 128, 128, 7, 1),
            (14, 128, 64, 5, 2),
            (31, 64, 64, 5, 1),
            (35, 64, 32, 5, 2),
            (73, 32, 32, 5, 1),
            (77, 32, 3, 4, 1),
        ],
    ),
    *_net(
        *("flower GAN generator", 32, "SAME", True, "HWNC"),
        [(20, 128, 256, 3, 1), (20, 256, 128, 5, 1), (20, 128, 64, 5, 2), (40, 64, 3, 5, 2)],
    ),
    *_net(
        *("flower GAN discriminator", 32, "SAME", False, "HWNC"),
        [(80, 3, 64, 5, 2), (40, 64, 128, 5, 2), (20, 128, 256, 3, 2)],
    ),
]
SMALL = [
    *_net("28x28 encoder", 64, "SAME", False, "CHWN", [(28, 1, 16, 3, 1), (14, 16, 8, 3, 1), (7, 8, 8, 3, 1)]),
    *_net("28x28 decoder", 64, "SAME", False, "CHWN", [(4, 8, 8, 3, 1), (8, 8, 8, 3, 1)]),
    *_net("28x28 decoder", 64, "VALID", False, "CHWN", [(16, 8, 16, 3, 1)], first=3),
    *_net("28x28 decoder", 64, "SAME", False, "CHWN", [(28, 16, 1, 3, 1)], first=4),
]
"""Decoder layers 2 to 4 take upsampled images; our nets upsample and convolve in one operation."""
