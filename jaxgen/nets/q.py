"""Action values Q(observation, .): relu layers, after a small convolution if observations are images."""

from typing import Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxgen.nets.ops import conv
from jaxgen.nets.ops.dense import Dense

Activation = Literal["relu", "tanh", "swish"]
ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh, "swish": nn.swish}
assert ACTIVATIONS.keys() == set(get_args(Activation))


class QNet(nn.Module):
    """Flattened observation (or `channels` of a 3x3 convolution over it), layers of `widths`, one value per action.

    As 4-20-20-2 it has 562 parameters. `dueling`: the last layer gives a state's value V and advantages A, and
    Q = V + A - mean A (Wang et al., ICML 2016; here both from the same hidden layer).
    """

    actions: int
    widths: tuple[int, ...] = (120, 84)
    channels: int = 0
    dueling: bool = False
    activation: Activation = "relu"

    @nn.compact
    def __call__(self, observations: Float[Array, " b *shape"]) -> Float[Array, "b actions"]:
        activation, x = ACTIVATIONS[self.activation], observations
        if self.channels:
            convolution = conv.Conv(self.channels, 3, padding="VALID", layout="CHWN")
            x = activation(conv.to_nhwc(convolution(conv.from_nhwc(x, "CHWN")), "CHWN"))
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = activation(Dense(width)(x))
        outputs = Dense(self.actions + self.dueling)(x)
        if not self.dueling:
            return outputs
        value, advantages = outputs[:, :1], outputs[:, 1:]
        return value + advantages - jnp.mean(advantages, axis=1, keepdims=True)
