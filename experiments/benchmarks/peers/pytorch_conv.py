"""PyTorch's convolutions and matrix products: the same shapes, strides and number of taps as ours."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional


def _operation(layer: Any) -> Callable[..., torch.Tensor]:
    """The layer as a PyTorch user would write it.

    SAME becomes equal padding on all sides with the same output size. With strides, it may be one pixel off
    TensorFlow's, which puts the odd zero last: the same work, without a `pad` pass over the images.
    """
    k, stride, same = layer.kernel, layer.stride, layer.padding == "SAME"
    if not layer.transposed:
        return partial(functional.conv2d, stride=stride, padding=k // 2 if same else 0)
    padding = (k - stride + 1) // 2 if same else 0
    extra = layer.out - ((layer.size - 1) * stride - 2 * padding + k)
    return partial(functional.conv_transpose2d, stride=stride, padding=padding, output_padding=extra)


def layer_run(layer: Any, channels_last: bool) -> Callable[[int], float]:
    """A function that computes the result and both gradients n times and returns the seconds taken."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    c, k, taps = layer.channels, layer.kernels, (layer.kernel, layer.kernel)
    operation = _operation(layer)
    x = torch.randn(layer.batch, c, layer.size, layer.size).to(memory_format=layout).requires_grad_()
    w = torch.randn(*((c, k) if layer.transposed else (k, c)), *taps) / (layer.kernel * c**0.5)
    w = w.to(memory_format=layout).requires_grad_()
    y = operation(x, w)
    if y.shape != (layer.batch, k, layer.out, layer.out):
        raise ValueError(f"{layer.name}: PyTorch makes {tuple(y.shape)}")
    g = torch.randn_like(y)

    def run(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            torch.autograd.grad(operation(x, w), (x, w), g)
        return time.perf_counter() - began

    return run


def matrix_product_run(size: int) -> Callable[[int], float]:
    """A function that computes n products of two matrices and returns the seconds taken."""
    a = torch.randn(size, size)

    def run(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            torch.mm(a, a)
        return time.perf_counter() - began

    return run
