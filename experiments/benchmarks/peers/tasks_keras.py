"""Some tasks of `results` in Keras 3 on TensorFlow, with jaxgen's nets, losses and optimizers: `TASK SEED FOLDER`."""

from typing import Any

import numpy as np
import tensorflow as tf
from benchmarks.peers import keras as dense
from benchmarks.peers import keras_gan, keras_vae, tasks

import keras  # isort: skip (the modules above choose its backend)

EVALUATED = 1_000


def autoencoder(seed: int, folder: str, epochs: int = 5) -> dict[str, Any]:
    """The chapter's dense autoencoder and its test loss in nats per image."""
    keras.utils.set_random_seed(seed)
    splits = {name: images.astype(np.float32) / 255 for name, images in tasks.images(folder, "mnist").items()}
    model = dense.autoencoder("dense")
    model.fit(splits["train"], splits["train"], 128, epochs=epochs, verbose=0, shuffle=True)
    loss = model.evaluate(splits["test"], splits["test"], EVALUATED, verbose=0)
    return {"value": float(loss) * splits["test"][0].size, "reached": True}


def vae(seed: int, folder: str, epochs: int = 40) -> dict[str, Any]:
    """784-500-20 until the test split's negative ELBO is low enough, tried every epoch."""
    keras.utils.set_random_seed(seed)
    train, test = (tasks.images(folder, "mnist")[name] for name in ("train", "test"))
    model = keras_vae.Vae("mlp_vae", train.shape[1:])
    model.compile(keras.optimizers.Adam(1e-3))
    negative_elbo = tf.function(model.negative_elbo)
    batches = np.split(test, range(EVALUATED, len(test), EVALUATED))
    for _ in range(epochs):
        model.fit(train, train, 128, epochs=1, verbose=0, shuffle=True)
        value = float(np.mean([float(negative_elbo(tf.constant(batch))) for batch in batches]))
        if value <= tasks.NEGATIVE_ELBO:
            break
    return {"value": value, "reached": value <= tasks.NEGATIVE_ELBO}


def gan(seed: int, folder: str, epochs: int = 20) -> dict[str, Any]:
    """The chapter's dense GAN and a sheet of samples."""
    keras.utils.set_random_seed(seed)
    images = tasks.images(folder, "mnist")["train"]
    generator, run = keras_gan.trainable("dense_gan", images, 128)
    run(epochs * (len(images) // 128))
    samples = generator(np.random.default_rng(seed).normal(size=(10, keras_gan.NOISE)).astype(np.float32))
    keras.utils.save_img("samples.png", np.concatenate(np.asarray(samples)))
    return {"value": None, "reached": True}


TASKS = {"vae": vae, "autoencoder": autoencoder, "gan": gan}

if __name__ == "__main__":
    tasks.main(TASKS)
