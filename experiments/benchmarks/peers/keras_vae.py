"""Keras 3 (on TensorFlow) counterparts of jaxgen's VAE training steps, through `Model.fit`."""

import os
import time
from collections.abc import Callable

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from keras import layers


def mlp() -> tuple[list[keras.Layer], list[keras.Layer]]:
    """784-500-(20, 20), 20-500-784."""
    decoder = [layers.Dense(500, "relu"), layers.Dense(784), layers.Reshape((28, 28, 1))]
    return [layers.Flatten(), layers.Dense(500, "relu"), layers.Dense(40)], decoder


def mnist() -> tuple[list[keras.Layer], list[keras.Layer]]:
    """The chapter's convolutional VAE, 5,285 parameters."""

    def conv(features: int, padding: str = "same") -> keras.Layer:
        return layers.Conv2D(features, 3, padding=padding, activation="relu")

    def pool() -> keras.Layer:
        return layers.MaxPooling2D(padding="same")

    encoder = [conv(16), pool(), conv(8), pool(), conv(8), pool(), layers.Flatten(), layers.Dense(4)]
    decoder = [layers.Dense(128, "relu"), layers.Reshape((4, 4, 8)), conv(8), layers.UpSampling2D(), conv(8)]
    decoder += [layers.UpSampling2D(), conv(16, "valid"), layers.UpSampling2D(), layers.Conv2D(1, 3, padding="same")]
    return encoder, decoder


def flower() -> tuple[list[keras.Layer], list[keras.Layer]]:
    """The chapter's flower VAE, 2,394,337 parameters."""
    encoder: list[keras.Layer] = []
    for features, size, strides in ((32, 5, 1), (32, 5, 2), (64, 5, 1), (64, 5, 2), (128, 7, 1)):
        encoder += [layers.Conv2D(features, size, strides), layers.LeakyReLU(0.2)]
    encoder += [layers.Flatten(), layers.Dense(65)]
    decoder: list[keras.Layer] = [layers.Dense(8192, "relu"), layers.Reshape((8, 8, 128))]
    for features, size, strides in ((128, 7, 1), (64, 5, 2), (64, 5, 1), (32, 5, 2), (32, 5, 1)):
        decoder += [layers.Conv2DTranspose(features, size, strides, use_bias=False), layers.LeakyReLU(0.2)]
    decoder += [layers.Conv2DTranspose(3, 4, use_bias=False)]
    return encoder, decoder


class Vae(keras.Model):
    """Encoder, one code per image, decoder; the rate is added to the loss."""

    def __init__(self, model: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        encoder, decoder = {"mlp_vae": mlp, "mnist_vae": mnist, "flower_vae": flower}[model]()
        self.latents = {"mlp_vae": 20, "mnist_vae": 2, "flower_vae": 10}[model]
        self.full, self.closed = model == "flower_vae", model == "mlp_vae"
        self.binarize, self.beta = model == "mlp_vae", 0.0006 if model == "flower_vae" else 1.0
        self.encoder = keras.Sequential([keras.Input(shape), *encoder])
        self.decoder = keras.Sequential([keras.Input((self.latents,)), *decoder])
        rows, columns = np.tril_indices(self.latents)
        self.places = np.zeros((len(rows), self.latents**2), np.float32)
        self.places[np.arange(len(rows)), rows * self.latents + columns] = 1

    def code(self, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One code per image, and its rate."""
        mean, raw = numbers[:, : self.latents], numbers[:, self.latents :]
        noise = tf.random.normal(tf.shape(mean))
        if self.full:
            triangle = tf.reshape(raw @ self.places, (-1, self.latents, self.latents))
            scale = tf.nn.softplus(tf.linalg.diag_part(triangle)) + 1e-5
            code = mean + tf.linalg.matvec(tf.linalg.set_diag(triangle, scale), noise)
        else:
            scale = tf.nn.softplus(raw)
            code = mean + scale * noise
        squares = scale**2 + mean**2 - 1 if self.closed else code**2 - noise**2
        return code, tf.reduce_sum(0.5 * squares - tf.math.log(scale), axis=1)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update on bytes."""
        with tf.GradientTape() as tape:
            loss = self.negative_elbo(data[0])
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}

    def negative_elbo(self, images: tf.Tensor) -> tf.Tensor:
        """Mean over images, from one code each, with the rate weighted by beta."""
        x = tf.cast(images, tf.float32) / 255
        if self.binarize:
            x = tf.cast(tf.random.uniform(tf.shape(x)) < x, tf.float32)
        code, rate = self.code(self.encoder(x))
        each = tf.nn.sigmoid_cross_entropy_with_logits(x, self.decoder(code))
        return tf.reduce_mean(tf.reduce_sum(each, axis=(1, 2, 3)) + self.beta * rate)


def vae_trainer(model: str, images: np.ndarray, batch_size: int) -> Callable[[int], float]:
    """A function that makes n updates on bytes (N, H, W, C) and returns the seconds taken."""
    vae = Vae(model, images.shape[1:])
    rate = {"mlp_vae": 1e-3, "mnist_vae": 2e-3, "flower_vae": 3e-4}[model]
    vae.compile(keras.optimizers.Adam(rate) if model == "mlp_vae" else keras.optimizers.Adamax(rate))

    def run(steps: int) -> float:
        began = time.perf_counter()
        for first in range(0, steps, len(images) // batch_size):
            part = images[: min(steps - first, len(images) // batch_size) * batch_size]
            vae.fit(part, part, batch_size, epochs=1, verbose=0, shuffle=True)
        return time.perf_counter() - began

    return run
