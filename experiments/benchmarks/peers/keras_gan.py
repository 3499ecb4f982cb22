"""Keras 3 (on TensorFlow) counterparts of jaxgen's GAN steps, as a `tf.function` of both players' updates."""

import os
import time
from collections.abc import Callable

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from keras import layers

NOISE = 100
DROPOUT = 0.3
"""Dropout rate of the flower nets."""


def _dense() -> tuple[keras.Model, keras.Model]:
    def hidden(width: int) -> list[keras.Layer]:
        return [layers.Dense(width), layers.LeakyReLU(0.3)]

    end = [layers.Dense(784, "tanh"), layers.Reshape((28, 28, 1))]
    generator = keras.Sequential([keras.Input((NOISE,)), *hidden(200), *hidden(200), *end])
    start = [keras.Input((28, 28, 1)), layers.Flatten()]
    return generator, keras.Sequential([*start, *hidden(200), *hidden(100), layers.Dense(1)])


def _flower() -> tuple[keras.Model, keras.Model]:
    def after() -> list[keras.Layer]:
        return [layers.LeakyReLU(0.3), layers.Dropout(DROPOUT)]

    def up(features: int, kernel: int, strides: int, **more: object) -> keras.Layer:
        return layers.Conv2DTranspose(features, kernel, strides, padding="same", use_bias=False, **more)

    generator = keras.Sequential(
        [
            *[keras.Input((NOISE,)), layers.Dense(51_200, use_bias=False), layers.LeakyReLU(0.3)],
            *[layers.Reshape((20, 20, 128)), layers.Dropout(DROPOUT)],
            *[up(256, 3, 1), *after(), up(128, 5, 1), *after(), up(64, 5, 2), *after()],
            up(3, 5, 2, activation="tanh"),
        ]
    )
    convolutions = [(64, 5), (128, 5), (256, 3)]
    down = [layer for f, k in convolutions for layer in (layers.Conv2D(f, k, 2, padding="same"), *after())]
    return generator, keras.Sequential([keras.Input((80, 80, 3)), *down, layers.Flatten(), layers.Dense(1)])


def gan_trainer(model: str, images: np.ndarray, batch_size: int) -> Callable[[int], float]:
    """The second of `trainable`."""
    return trainable(model, images, batch_size)[1]


def trainable(model: str, images: np.ndarray, batch_size: int) -> tuple[keras.Model, Callable[[int], float]]:
    """The generator, and a function that makes n updates of both players and returns the seconds taken."""
    generator, discriminator = _dense() if model == "dense_gan" else _flower()
    smoothing = 0.0 if model == "dense_gan" else 0.05
    optimizers = [keras.optimizers.RMSprop(1e-4) for _ in range(2)]
    for optimizer, net in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.build(net.trainable_variables)
    labels = tf.concat([tf.fill([batch_size], 1 - smoothing), tf.fill([batch_size], smoothing)], 0)

    def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits))

    @tf.function
    def update(real: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            fake = generator(tf.random.normal((batch_size, NOISE)), training=True)
            real = tf.cast(real, tf.float32) / 127.5 - 1
            logits = discriminator(tf.concat([real, fake], 0), training=True)[:, 0]
            generator_loss = cross_entropy(logits[batch_size:], labels[:batch_size])
            discriminator_loss = 2 * cross_entropy(logits, labels)
        grads = [
            tape.gradient(generator_loss, generator.trainable_variables),
            tape.gradient(discriminator_loss, discriminator.trainable_variables),
        ]
        for optimizer, grad, net in zip(optimizers, grads, (generator, discriminator), strict=True):
            optimizer.apply(grad, net.trainable_variables)
        return generator_loss

    per_epoch = len(images) // batch_size

    def run(steps: int) -> float:
        began = time.perf_counter()
        for step in range(steps):
            if step % per_epoch == 0:
                order = np.random.default_rng(step).permutation(len(images))
            at = (step % per_epoch) * batch_size
            loss = update(tf.constant(images[order[at : at + batch_size]]))
        float(loss)
        return time.perf_counter() - began

    return generator, run
