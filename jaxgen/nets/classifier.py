"""A small convolutional classifier whose features score samples (`jaxgen.evaluation.classifier`)."""

from functools import partial
from typing import Any

import flax.linen as nn
from jax import lax
from jaxtyping import Array, Float

from jaxgen.nets.ops import conv

CHANNELS = (24, 48, 64, 64)
FEATURES = 128
SMALLEST_MAP = 5
"""Convolutions halve the image until its side is at most this."""
LAYOUT: conv.Layout = "HWNC"


class Classifier(nn.Module):
    """Convolutions of stride 2 until the map is small, `FEATURES` relu units, one logit per class: (features, logits).

    `plain` uses the platform's own convolution at full float32 precision in place of `nets.conv`, with the same
    parameters: slower gradients, but features independent of our formulations.
    """

    classes: int
    plain: bool = False

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> Any:
        x = images if self.plain else conv.from_nhwc(images, LAYOUT)
        for layer, channels in enumerate(CHANNELS):
            size = x.shape[1] if self.plain else x.shape[LAYOUT.index("H")]
            if layer and size <= SMALLEST_MAP:
                break
            taps = 5 if layer == 0 else 3
            if self.plain:
                x = nn.Conv(channels, (taps, taps), strides=2, precision=lax.Precision.HIGHEST)(x)
            else:
                x = conv.Conv(channels, taps, strides=2, layout=LAYOUT)(x)
            x = nn.relu(x)
        x = (x if self.plain else conv.to_nhwc(x, LAYOUT)).reshape(images.shape[0], -1)
        dense = partial(nn.Dense, precision=lax.Precision.HIGHEST)
        features = nn.relu(dense(FEATURES)(x))
        return features, dense(self.classes)(features)
