"""Keras 3 (on TensorFlow) counterparts of jaxgen's training steps, through `Model.fit`."""

import os
import time
from collections.abc import Callable

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from keras import layers


def _dense() -> keras.Model:
    hidden = [layers.Dense(100, "relu"), layers.Dense(20, "relu"), layers.Dense(2)]
    hidden += [layers.Dense(20, "relu"), layers.Dense(100, "relu"), layers.Dense(784), layers.Reshape((28, 28, 1))]
    return keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), *hidden])


def _conv() -> keras.Model:
    def conv(features: int, padding: str = "same") -> keras.Layer:
        return layers.Conv2D(features, 3, padding=padding, activation="relu")

    def pool() -> keras.Layer:
        return layers.MaxPooling2D(padding="same")

    encoder = [conv(16), pool(), conv(8), pool(), conv(8), pool(), layers.Flatten(), layers.Dense(2)]
    decoder = [layers.Dense(128, "relu"), layers.Reshape((4, 4, 8)), conv(8), layers.UpSampling2D(), conv(8)]
    decoder += [layers.UpSampling2D(), conv(16, "valid"), layers.UpSampling2D(), layers.Conv2D(1, 3, padding="same")]
    return keras.Sequential([keras.Input((28, 28, 1)), *encoder, *decoder])


def autoencoder(net: str) -> keras.Model:
    """The compiled model, for floats in [0, 1]."""
    model = _dense() if net == "dense" else _conv()
    optimizer = keras.optimizers.Adamax(1e-2) if net == "dense" else keras.optimizers.RMSprop(1e-3)
    model.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def autoencoder_trainer(net: str, images: np.ndarray, batch_size: int) -> Callable[[int], float]:
    """A function that makes n updates and returns the seconds taken; pixels are converted to floats beforehand."""
    model = autoencoder(net)
    pixels = images.astype(np.float32) / 255

    def run(steps: int) -> float:
        began = time.perf_counter()
        for first in range(0, steps, len(pixels) // batch_size):
            part = pixels[: min(steps - first, len(pixels) // batch_size) * batch_size]
            model.fit(part, part, batch_size, epochs=1, verbose=0, shuffle=True)
        return time.perf_counter() - began

    return run
