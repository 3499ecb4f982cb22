"""A small classifier trained here, once a data set, whose features judge samples: no download, no Inception.

Its numbers compare generators of one data set under one classifier, which the SHA-256 of its weights names; they say
nothing beside published scores from other features.
"""

import hashlib
import os
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from jaxgen.algorithms.examples import map_batches
from jaxgen.data.dataset import Dataset
from jaxgen.errors import UserError
from jaxgen.nets import conv

FORMAT = 1  # raised when net or training change; older weights are then trained again
UPDATES = 1000
BATCH = 128
SEED = 0
CHANNELS = (16, 32, 64, 64)
LAYOUT: conv.Layout = "HWNC"
FEATURES = 128
SMALLEST_MAP = 7
"""Convolutions halve the image until its side is at most this."""
SCALE = "feature_scale"
"""Kept beside the weights: root of the features' mean square on the training split, by which features are divided."""


class Net(nn.Module):
    """Convolutions of stride 2 until the map is small, `FEATURES` relu units, a logit a class: (features, logits)."""

    classes: int

    @nn.compact
    def __call__(self, images: Float[Array, "b h w c"]) -> Any:
        x = conv.from_nhwc(images, LAYOUT)
        for layer, channels in enumerate(CHANNELS):
            if layer and x.shape[LAYOUT.index("H")] <= SMALLEST_MAP:
                break
            x = nn.relu(conv.Conv(channels, 5 if layer == 0 else 3, strides=2, layout=LAYOUT)(x))
        x = conv.to_nhwc(x, LAYOUT).reshape(images.shape[0], -1)
        features = nn.relu(nn.Dense(FEATURES)(x))
        return features, nn.Dense(self.classes)(features)


class Classifier(NamedTuple):
    """A trained classifier and what must be said wherever its numbers stand."""

    params: Any
    classes: int
    accuracy: float
    """Share of the test split it names rightly."""
    sha256: str
    """Of its weights."""

    def features_and_classes(self, images: Float[Array, "n h w c"]) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
        """Features, and the class each image is taken for, of bytes or of images in [0, 1].

        Features are scaled so that their mean square on the training split is 1.
        """
        return _apply_all(self.params, images, self.classes)


def _normalised(images: Array) -> Array:
    return (images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images) - 0.5


def _apply(params: Any, images: Array, classes: int) -> Any:
    return Net(classes).apply({"params": params}, _normalised(images))


@partial(jax.jit, static_argnames="classes")
def _apply_all(params: Any, images: Array, classes: int) -> tuple[Array, Array]:
    def of_batch(part: Array) -> tuple[Array, Array]:
        features, logits = _apply(params, part, classes)
        return features / params[SCALE], logits.argmax(-1)

    return map_batches(of_batch, images)


def _moved(images: Array, key: Array, pad: int) -> Array:
    """The batch moved as one by up to `pad` pixels each way: the classifier must not read positions."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    down, right = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return lax.dynamic_slice(padded, (0, down, right, 0), (images.shape[0], height, width, images.shape[3]))


@partial(jax.jit, static_argnames=("classes", "updates", "batch"))
def _train(
    key: Array, images: UInt8[Array, "n h w c"], labels: Int[Array, " n"], classes: int, updates: int, batch: int
) -> Any:
    """Cross-entropy by Adam with a cosine learning rate; batches drawn with replacement."""
    net = Net(classes)
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, updates))
    init_key, key = jax.random.split(key)
    params = net.init(init_key, jnp.zeros((1, *images.shape[1:])))["params"]
    pad = max(1, images.shape[1] // 14)

    def loss(params: Any, x: Array, y: Array) -> Array:
        logits = net.apply({"params": params}, x)[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def update(carry: Any, key: Array) -> tuple[Any, None]:
        params, state = carry
        index_key, move_key = jax.random.split(key)
        index = jax.random.randint(index_key, (batch,), 0, images.shape[0])
        x = _moved(_normalised(images[index]), move_key, pad)
        changes, state = optimizer.update(jax.grad(loss)(params, x, labels[index]), state)
        return (optax.apply_updates(params, changes), state), None

    (params, _), _ = lax.scan(update, (params, optimizer.init(params)), jax.random.split(key, updates))
    features = map_batches(lambda x: _apply(params, x, classes)[0], images)
    return {**params, SCALE: jnp.sqrt(jnp.square(features).mean())}


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen" / "classifiers"


def _flat(params: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def _sha256(params: Any) -> str:
    digest = hashlib.sha256()
    for name, leaf in sorted(_flat(params).items()):
        digest.update(f"{name}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf, np.float32).tobytes())
    return digest.hexdigest()


def _read(path: Path, like: Any) -> Any | None:
    """Weights from the cache; None if there are none, or if they are not what was written."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        written = str(arrays.pop("sha256"))
        params = jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(arrays[name]) for name in _flat(like)])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return params if _sha256(params) == written else None


def _write(path: Path, params: Any) -> None:
    """Weights into the cache, in one step; a disk that takes none costs the next call another training."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {"sha256": np.array(_sha256(params)), **_flat(params)}
        np.savez(temporary, **arrays)
        os.replace(temporary, path)
    except OSError:
        return


def load(dataset: Dataset, updates: int = UPDATES) -> Classifier:
    """The classifier of a data set: from the cache, or trained now on its training split and cached."""
    classes = len(dataset.class_names)
    if classes < 2:
        raise UserError(f"{dataset.name} has no classes to train a classifier on: its samples cannot be judged so")
    identity = f"{FORMAT} {dataset.name} {dataset.version} {dataset.image_shape} {classes} {updates} {SEED}"
    stem = dataset.name.replace("/", "-").replace(":", "-")
    path = _folder() / f"{stem}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.npz"
    like = jax.eval_shape(Net(classes).init, jax.random.key(0), jnp.zeros((1, *dataset.image_shape)))["params"]
    params = _read(path, {**jax.tree.map(lambda x: np.zeros(x.shape), like), SCALE: np.zeros(())})
    if params is None:
        train = dataset.train
        batch = min(BATCH, len(train.labels))
        params = _train(jax.random.key(SEED), train.images, train.labels, classes, updates, batch)
        _write(path, params)
    taken_for = _apply_all(params, dataset.test.images, classes)[1]
    accuracy = float((taken_for == dataset.test.labels).mean())
    return Classifier(params, classes, accuracy, _sha256(params))
